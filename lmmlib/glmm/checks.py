r"""What counts and designs must be for a Poisson mixed model to have an estimate, said by name, row and remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy  # which imports scipy.optimize when it is first asked for

from lmmlib.common.arguments import shown
from lmmlib.design.basis import divide, triangle
from lmmlib.design.cross import cross_products
from lmmlib.design.design import Design
from lmmlib.design.identify import require_identified
from lmmlib.errors import DataError, DesignError

# Beyond, the logarithms of counts have too few digits for what Poisson variation adds.
LARGEST_COUNT = 1e11
# A linear predictor of this size is beyond what the exponential function can take.
LARGEST_LOGARITHM = 700.0
# Smallest share of a direction of X that the rows with counts above zero must see, in the working basis.
UNSEEN = 1e-12
# Exposures whose logarithms spread more than this differ by a factor of 10^21.
WIDEST_OFFSET = 50.0
# Standard deviation of a logarithmic mean, by random effects that no count above zero bounds, that is on its way to
# infinity.
ENDLESS = 5.0


def checked_counts(design: Design) -> None:
    """Raise unless the response holds counts, not all of them zero.

    Raises
    ------
    DataError
        A negative, fractional, infinite or too large value; names the first and its row.
    DesignError
        If all counts are zero.
    """
    y, name = design.y, design.response
    remedies = {
        "is negative": (y < 0, "counts are 0, 1, 2, ..."),
        "is not a whole number": (
            y != np.round(y),
            "for a rate model the count, with offset= the logarithm of the exposure; for a measurement use lmmlib.fit",
        ),
        f"is above {LARGEST_COUNT:g}": (
            y > LARGEST_COUNT,
            "Poisson variation of such counts is lost in rounding; use lmmlib.fit for their logarithms",
        ),
    }
    for what, (wrong, remedy) in remedies.items():
        if wrong.any():
            row = int(np.argmax(wrong))
            more = f", and {int(wrong.sum()) - 1} others" if wrong.sum() > 1 else ""
            raise DataError(f"the count {name!r} {what} in row {row}: {y[row]:g}{more} (rows count from 0); {remedy}")
    if not y.any():
        raise DesignError(
            f"all {len(y)} counts in {name!r} are zero, so the likelihood rises as the mean tends to zero and the "
            "fixed effects have no estimate"
        )


def checked_offset(offset, n_obs: int) -> np.ndarray:
    """The offset as finite logarithms, (n_obs,).

    Raises
    ------
    DataError
        If it is not one number for each row, or not finite, or spreads too far to be a logarithm.
    """
    try:
        values = np.asarray(offset, float)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"the offset must be real numbers, logarithms of exposures; got {shown(offset)}") from None
    if values.shape != (n_obs,):
        raise DataError(f"the offset must have one value for each of the {n_obs} rows; got shape {values.shape}")
    wrong = ~(np.abs(values) <= LARGEST_LOGARITHM)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"the offset is {values[row]:g} in row {row} (rows count from 0); it is the logarithm of an exposure above "
            "zero, such as np.log(hours)"
        )
    if np.ptp(values) > WIDEST_OFFSET:
        raise DataError(
            f"the offset runs from {values.min():g} to {values.max():g}, a factor of e^{np.ptp(values):.0f} between "
            "means; is this the exposure itself? pass its logarithm, such as np.log(hours)"
        )
    return values


def offset_of(offset, data: pd.DataFrame) -> np.ndarray | None:
    """The offset of every row of a data frame: a column by its name, a series by its index, an array as it is.

    None stays None.

    Raises
    ------
    DataError
        If there is no such column, the array does not fit, or the index of a series is another.
    """
    if offset is None:
        return None
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"the data must be a pandas DataFrame; got {type(data).__name__}")
    if isinstance(offset, str):
        if offset not in data.columns:
            known = ", ".join(map(str, data.columns))
            raise DataError(f"the offset {offset!r} is not a column of the data ({known})")
        offset = data[offset]
    elif isinstance(offset, pd.Series) and not offset.index.equals(data.index):
        if len(offset) != len(data) or not offset.index.is_unique or not data.index.isin(offset.index).all():
            raise DataError(
                "the index of the offset is not that of the data, so its rows cannot be told; hand in "
                "its .to_numpy() if they are in the order of the data"
            )
        offset = offset[data.index]
    try:
        values = np.asarray(pd.Series(np.ravel(offset)), float)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"the offset must be real numbers, logarithms of exposures; got {shown(offset)}") from None
    if np.shape(offset) != (len(data),):
        raise DataError(
            f"the offset must have one value for each of the {len(data)} rows; got shape {np.shape(offset)}"
        )
    return values


def require_estimable(design: Design) -> None:
    """Raise unless beta and D can have finite estimates.

    Raises
    ------
    DesignError
        No random term, an empty group, dependent columns, entries of D that are not identified, or separation.
    """
    if not design.z_names and design.grouping == "all":
        raise DesignError(
            "the formula has no random term, such as + (1 | g); (0 | g) keeps the groups without random effects"
        )
    if (design.n_i == 0).any():
        empty = design.group_names[int(np.argmin(design.n_i))]
        raise DesignError(f"the group {empty!r} has no rows; leave it out")
    cross = cross_products(design)
    require_identified(cross, design.grouping, sigma2=False)
    _require_overlap(design, divide(design.X, cross.basis.Rx))


def _require_overlap(design: Design, X: np.ndarray) -> None:
    r"""Raise if counts are zero wherever some :math:`x'\gamma` is not, and that is never above zero.

    The likelihood then rises without end along gamma, whatever the random effects are.
    """
    seen = design.y > 0
    values, vectors = np.linalg.eigh(X[seen].T @ X[seen] / design.n_obs)
    free = vectors[:, values < UNSEEN]
    if not free.shape[1]:
        return
    slopes = X[~seen] @ free
    d = free.shape[1]
    best = scipy.optimize.linprog(slopes.sum(axis=0), A_ub=slopes, b_ub=np.zeros(len(slopes)), bounds=[(-1, 1)] * d)
    if best.status == 0 and best.fun < -1e-8 * np.abs(slopes).sum():
        move = free @ best.x
        gamma = np.linalg.solve(triangle(design.X), move)
        size = np.abs(gamma) * np.sqrt((design.X**2).mean(axis=0))
        names = [name for name, s in zip(design.x_names, size, strict=True) if s > 1e-6 * size.max()]
        where = np.abs(X @ move) > 1e-8 * np.abs(X @ move).max()
        raise DesignError(
            f"the counts {design.response!r} are all zero in the {int(where.sum())} rows that a combination of "
            f"{', '.join(names)} singles out (separation), the first being row {int(np.argmax(where))}: its "
            "coefficient has no finite estimate; leave the column, or those rows, out, or pool categories"
        )


def require_bounded(design: Design, D: np.ndarray) -> None:
    """Raise if a random effect varies without end because nothing but zero counts goes with it.

    Where the counts are zero in every row in which a random column is not, and the column has one sign in each group,
    the likelihood may rise with its variance to a limit that it never reaches.

    Raises
    ------
    DesignError
        Names the column and a row.
    """
    for k, name in enumerate(design.z_names):
        z = design.Z[:, k]
        used = z != 0
        signs = np.zeros((design.n_groups, 2), bool)
        signs[design.group[used], (z[used] > 0).astype(int)] = True
        endless = not design.y[used].any() and not signs.all(axis=1).any()
        if endless and np.sqrt(D[k, k]) * np.abs(z).max() > ENDLESS:
            raise DesignError(
                f"the counts {design.response!r} are all zero in the {int(used.sum())} rows in which the random column "
                f"{name} is not (separation), the first being row {int(np.argmax(used))}: its variance has no finite "
                "estimate; leave the column, or those rows, out"
            )


def notes(design: Design) -> tuple[str, ...]:
    """What a reader of the fit should know of the data."""
    found = []
    if len(design.z_names) and (design.n_i == 1).all():
        found.append("every group has one row: the random effects are overdispersion of single counts")
    zero = int((np.bincount(design.group, design.y, design.n_groups) == 0).sum())
    if zero:
        found.append(f"{zero} of {design.n_groups} groups have no count above zero; their modes are finite through D")
    return tuple(found)
