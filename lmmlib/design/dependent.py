"""Fixed-effects columns that are linear combinations of others, and so are left out of a design.

As in R the later column of a formula goes. What it would need is then refused by name: its coefficient, and predictions
for rows in which it is not the combination that it is in the data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lmmlib.design.basis import dependence
from lmmlib.design.cross import cross_products
from lmmlib.design.design import Design
from lmmlib.errors import DataError, ParameterError

# New rows in which a combination holds up to this share are like those of the data.
ALIKE = 1e-6


def without_dependent(design: Design) -> Design:
    """The design without the columns of X that are linear combinations of those before them.

    Parameters
    ----------
    design : Design

    Returns
    -------
    Design
        With their names as ``dropped`` and what they are as ``combinations``; the design itself if there are none.
    """
    lost, weights = cross_products(design).dependent
    if not len(lost):
        return design
    keep = np.delete(np.arange(len(weights)), lost)
    return replace(
        design,
        X=design.X[:, keep],
        x_names=tuple(design.x_names[j] for j in keep),
        dropped=tuple(design.x_names[j] for j in lost),
        combinations=weights[keep],
    )


def without_dropped(design: Design, X: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Of new rows X with all columns of the formula those that the design has, (rows, p).

    Raises
    ------
    DataError
        If a column that was left out is not the same combination of the others in the new rows; names both.
    """
    W = design.combinations
    if W is None:
        return X
    kept, lost = (X[:, [names.index(name) for name in part]] for part in (design.x_names, design.dropped))
    told = np.sqrt(((design.X @ W) ** 2).mean(axis=0)) + np.abs(lost) + np.abs(kept) @ np.abs(W)
    differs = np.abs(lost - kept @ W) > ALIKE * told
    if differs.any():
        row, j = np.argwhere(differs)[0]
        raise DataError(
            f"in row {row} (rows count from 0) {design.dropped[j]!r} is {lost[row, j]:.6g} and not the combination of "
            f"the other columns that it is in the data of the fit, {(kept @ W)[row, j]:.6g}, for which it was left "
            "out: these data say nothing of such a row; leave it out"
        )
    return kept


def require_kept(design: Design, name) -> None:
    """Raise if this is the name of a column that was left out.

    Raises
    ------
    ParameterError
        Names the combination that it is, and the coefficients that there are.
    """
    if name in design.dropped and design.combinations is not None:
        what = dependence(name, design.x_names, design.combinations[:, design.dropped.index(name)])
        raise ParameterError(
            f"{name!r} was left out because it {what}, so it has no coefficient; there are those of "
            f"{', '.join(design.x_names)}"
        )


def left_out(design: Design) -> list[str]:
    """The line of a summary that says what was left out, if anything was."""
    return [f"left out, as they depend on other columns: {', '.join(design.dropped)}"] if design.dropped else []
