r"""Marginal means of a fit: what the model says of the levels of a factor, the other variables being equal."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from lmmlib.common.arguments import perhaps, several, shown
from lmmlib.design.design import Design
from lmmlib.design.evaluation import names_in
from lmmlib.design.expressions import column_name, single_column
from lmmlib.design.formula import fixed_matrix
from lmmlib.design.frames import check_frame
from lmmlib.errors import DesignError, ParameterError
from lmmlib.fitting.fitted import Linear
from lmmlib.inference.contrasts import contrasts


def mean_rows(fit: Linear, factors, *, at=None, over: pd.DataFrame | None = None) -> pd.DataFrame:
    r"""The rows L of the marginal means, equation :eq:`marginal-means` of the book.

    Parameters
    ----------
    fit : Fit
    factors : str or list of str
        Columns with categories in the fixed effects.
    at : mapping of column to value, optional
        Where the other variables are held. A factor that is not named here is averaged over, each of its levels
        weighing the same; a number is held at its mean over the rows of the fit.
    over : DataFrame, optional
        Average over these rows instead, each of which is given every level in its turn: with the data of the fit,
        factors weigh as they were observed.

    Returns
    -------
    DataFrame
        A row for each level, or combination of levels, (rows, p); a column for each fixed effect. Any weights and
        differences of the rows are contrasts of the fit.

    Raises
    ------
    ParameterError
        If a name is no factor of the fixed effects or no variable of theirs, or the mean of a number is unknown
        because it is no column of X by itself.
    DesignError
        If the design was made from arrays.
    DataError
        If a value is none that the design has seen, or a combination of levels has no mean, its columns having been
        left out.
    """
    design, factors, at = fit.design, several("factors", factors), {} if at is None else at
    if not isinstance(at, Mapping):
        raise ParameterError(f"at is a mapping of column to value; got {shown(at)}")
    levels, numbers = _variables(design)
    for name in factors:
        if not isinstance(name, str) or name not in levels:
            known = f"they are {', '.join(levels)}{perhaps(str(name), levels)}" if levels else "there are none"
            raise ParameterError(f"{shown(name)} is no factor of the fixed effects; {known}")
    for name in at:
        if name not in {*levels, *numbers} - set(factors):
            raise ParameterError(f"at names {name!r}, which is no other variable of the fixed effects")
    cells = list(product(*(levels[name] for name in factors)))
    if over is None:
        free = [name for name in levels if name not in {*factors, *at}]
        over = pd.DataFrame(list(product(*(levels[name] for name in free))), columns=free)
        over = over.assign(**{name: _mean(design, name) for name in numbers if name not in at})
    check_frame(over)
    L = [
        fixed_matrix(design, over.assign(**dict(zip(factors, cell, strict=True)), **at)).mean(axis=0) for cell in cells
    ]
    index = pd.MultiIndex.from_tuples(cells, names=factors)
    return pd.DataFrame(L, index if len(factors) > 1 else index.get_level_values(0), list(fit.beta.index))


def marginal_means(
    fit: Linear, factors, *, at=None, over: pd.DataFrame | None = None, df=None, level: float = 0.95
) -> pd.DataFrame:
    r"""Marginal means (least-squares means) of the levels of factors: :math:`L\hat\beta`, L from :func:`mean_rows`.

    Parameters
    ----------
    fit : Fit
    factors : str or list of str
    at : mapping of column to value, optional
    over : DataFrame, optional
        As in :func:`mean_rows`.
    df : {"satterthwaite", "kenward-roger", "z"} or float, optional
        As in :func:`lmmlib.inference.contrasts.contrast`.
    level : float
        Coverage of each interval by itself.

    Returns
    -------
    DataFrame
        Columns ``estimate``, ``se``, ``df``, ``lower``, ``upper``; no ``df`` where the law is normal. An offset of the
        model is not added.
    """
    rows = mean_rows(fit, factors, at=at, over=over)
    table = contrasts(fit, dict(enumerate(rows.to_numpy())), df=df, level=level)
    return table.drop(columns=["t", "z", "p"], errors="ignore").set_axis(rows.index)


def _variables(design: Design) -> tuple[dict[str, list], list[str]]:
    """The factors of the fixed effects with their levels, in the order of their coding, and the other columns."""
    if design.x_spec is None:
        raise DesignError("the design was made from arrays, so its columns belong to no factors; use Fit.contrasts")
    spec: Any = design.x_spec
    coded = {
        single_column(key) or column_name(key): list(state["categories"])
        for key, (_, state) in spec.encoder_state.items()
        if "categories" in state
    }
    used = names_in(spec.formula)
    levels = {name: coded.get(name, list(own)) for name, own in design.columns.items() if name in used and own}
    return levels, [name for name in design.columns if name in used and name not in levels]


def _mean(design: Design, name: str) -> float:
    """The mean of a number over the rows of the fit, if it is a column of X."""
    if name not in design.x_names:
        raise ParameterError(
            f"{name!r} is no column of X by itself, so its mean is not known; give it: at={{{name!r}: ...}}"
        )
    return float(np.mean(design.X[:, design.x_names.index(name)]))
