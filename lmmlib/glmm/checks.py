"""What designs must be for a generalised linear mixed model to have an estimate, whatever its family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy  # which imports scipy.optimize when it is first asked for

from lmmlib.design.basis import Basis
from lmmlib.design.cross import cross_products
from lmmlib.design.design import Design
from lmmlib.design.identify import require_seen
from lmmlib.errors import DesignError

# A linear predictor of this size is beyond what the exponential function can take.
LARGEST_LOGARITHM = 700.0
# Smallest share of a direction of X that the rows whose response is at no end must see, in the working basis.
UNSEEN = 1e-12
# Share of the variance by a random column that is seen without doubt.
EVIDENT = 1e-3
# Standard deviation of a linear predictor, by random effects that no response bounds, that is on its way to infinity.
ENDLESS = 5.0


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
    cross.require_full_rank()
    if not _seen(design):
        require_seen(cross, design.grouping, sigma2=False)
    return replace(cross.basis, beta0=np.zeros(len(design.x_names)))


def _seen(design: Design) -> bool:
    r"""Whether the variance of a single random column is seen in any case, which is cheaper than to look.

    X takes p directions: of the squares :math:`d_i^2` in :math:`\operatorname{tr}\{(ZZ')^2\} = \sum_id_i^2` with
    :math:`d_i = z_i'z_i` it leaves at least those of all but the p largest (Cauchy's interlacing).
    """
    if design.Z.shape[1] != 1 or design.n_groups <= design.X.shape[1]:
        return False
    squares = np.sort(np.bincount(design.group, design.Z[:, 0] ** 2)) ** 2
    return bool(squares[: design.n_groups - design.X.shape[1]].sum() > EVIDENT * squares.sum())


def overlap(X: np.ndarray, left: np.ndarray, side: np.ndarray) -> bool:
    r"""Whether residuals y - mu of a model without random effects, (N,), prove that there is no :func:`separation`.

    A separating gamma has :math:`\sum_is_i|w_i|\,x_i'\gamma > 0` for all weights that are not zero at the ends, so none
    exists if :math:`X'w = 0` for weights of the signs :math:`s_i` there. At the maximum the residuals are such weights;
    near it they are, less what makes X'w zero, if that is less than half of each. X (p, N) is in the working basis.
    """
    if not np.isfinite(left).all():
        return False
    size, ends = np.abs(left), side != 0
    exact = left - np.linalg.solve(X @ X.T, X @ left) @ X if len(X) else left
    return bool(((side * exact > size / 2) & (size > 1e-12 * size.max()))[ends].all())


def separation(design: Design, basis: Basis, side: np.ndarray) -> tuple[list[str], np.ndarray] | None:
    r"""Columns whose coefficients go to infinity, and the rows (N,) that their combination singles out; None for none.

    ``side`` (N,) is -1 for responses at the lower end of their range, 1 at the upper, 0 between. If
    :math:`s_ix_i'\gamma` is nowhere below zero, zero for every response between, and above zero somewhere, the
    likelihood rises without end along gamma, whatever the random effects are.
    """
    X, ends = basis.x_work(design.X), side != 0
    values, vectors = np.linalg.eigh(X[~ends].T @ X[~ends] / design.n_obs)
    free = vectors[:, values < UNSEEN]
    if not free.shape[1]:
        return None
    slopes = -side[ends, None] * (X[ends] @ free)
    best = scipy.optimize.linprog(slopes.sum(axis=0), A_ub=slopes, b_ub=np.zeros(len(slopes)), bounds=(-1, 1))
    if best.status != 0 or best.fun >= -1e-8 * np.abs(slopes).sum():
        return None
    move = free @ best.x
    size = np.abs(basis.x_back @ move) * np.sqrt((design.X**2).mean(axis=0))
    names = [name for name, s in zip(design.x_names, size, strict=True) if s > 1e-6 * size.max()]
    return names, np.abs(X @ move) > 1e-8 * np.abs(X @ move).max()


def endless(design: Design, D: np.ndarray, side: np.ndarray) -> tuple[str, np.ndarray] | None:
    """A random column whose variance is on its way to infinity, and the rows (N,) in which it is not zero.

    Where the responses are at an end (``side`` as for :func:`separation`) in every row in which a random column is not
    zero, and side times column has one sign in each group, the likelihood may rise with its variance to a limit that it
    never reaches.
    """
    for k, name in enumerate(design.z_names):
        z = side * design.Z[:, k]
        used = design.Z[:, k] != 0
        signs = np.zeros((design.n_groups, 2), bool)
        signs[design.group[used], (z[used] > 0).astype(int)] = True
        one_sided = side[used].all() and not signs.all(axis=1).any()
        if one_sided and np.sqrt(D[k, k]) * np.abs(z).max() > ENDLESS:
            return name, used
    return None
