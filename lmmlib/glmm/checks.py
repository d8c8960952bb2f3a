r"""What counts and designs must be for a Poisson mixed model to have an estimate, said by name, row and remedy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy  # which imports scipy.optimize when it is first asked for

from lmmlib.design.basis import Basis
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
        If there are weights, or all counts are zero.
    """
    if design.weights is not None:
        raise DesignError("counts take no weights; build the design without them")
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


def require_logarithms(offset: np.ndarray | None) -> None:
    """Raise unless the offset may be made of logarithms, those of exposures."""
    if offset is None:
        return
    low, high = offset.min(), offset.max()
    if max(-low, high) > LARGEST_LOGARITHM:
        row = int(np.argmax(np.abs(offset) > LARGEST_LOGARITHM))
        raise DataError(
            f"the offset is {offset[row]:g} in row {row} (rows count from 0); it is the logarithm of an exposure "
            "above zero, such as np.log(hours)"
        )
    if high - low > WIDEST_OFFSET:
        raise DataError(
            f"the offset runs from {low:g} to {high:g}, a factor of e^{high - low:.0f} between means; is this the "
            "exposure itself? pass its logarithm, such as np.log(hours)"
        )


def checked_basis(design: Design) -> Basis:
    """The working basis, after checks that beta and D can have estimates, whatever the responses are.

    Raises
    ------
    DesignError
        No random term, an empty group, dependent columns, or entries of D that are not identified.
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
    return replace(cross.basis, beta0=np.zeros(len(design.x_names)))


def require_overlap(design: Design, basis: Basis) -> None:
    r"""Raise if counts are zero wherever some :math:`x'\gamma` is not, and that is never above zero (separation).

    The likelihood then rises without end along gamma, whatever the random effects are.
    """
    X, seen = basis.x_work(design.X), design.y > 0
    values, vectors = np.linalg.eigh(X[seen].T @ X[seen] / design.n_obs)
    free = vectors[:, values < UNSEEN]
    if not free.shape[1]:
        return
    slopes = X[~seen] @ free
    best = scipy.optimize.linprog(slopes.sum(axis=0), A_ub=slopes, b_ub=np.zeros(len(slopes)), bounds=(-1, 1))
    if best.status == 0 and best.fun < -1e-8 * np.abs(slopes).sum():
        move = free @ best.x
        size = np.abs(basis.x_back @ move) * np.sqrt((design.X**2).mean(axis=0))
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
