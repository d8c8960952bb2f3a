r"""Whether the posterior of a Bayesian mixed model is a distribution: a finite integral of likelihood times prior.

Improper priors are constants over infinite ranges, or rise without bound at zero; a sampler runs all the same, and its
draws are of nothing. So the condition is checked before the first draw. With an improper prior of a standard deviation
the likelihood decides, by how it behaves

* as a standard deviation of random effects tends to zero: it tends to a positive number, the likelihood without them,
  so that :math:`p(\tau^2) \propto 1/\tau^2` has an infinite integral there, whatever the data;
* as it tends to infinity: it falls like :math:`\tau^{-k}`, where k is the number of random effects less the number of
  flat coefficients that they can replace, so that a flat prior of tau needs k > 1;
* as sigma tends to zero: to zero, if the rows say something about sigma alone.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from lmmlib.bayes.priors import Flat, InverseGamma, Normal, Priors, Reciprocal
from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.errors import ParameterError

RANK = 1e-10
# A residual that is rounding alone: its square over that of the response, and over a sum that it is the rest of.
NO_RESIDUAL, LOST = 1e-26, 1e-13


def require_proper(cross: CrossProducts, priors: Priors) -> None:
    r"""Raise unless the posterior is proper, with the reason.

    Equation :eq:`propriety` of the book; for flat standard deviations see also Gelman (2006).

    Parameters
    ----------
    cross : CrossProducts
    priors : Priors

    Raises
    ------
    DesignError
        If the columns of X are dependent and the prior of beta does not help.
    ParameterError
        If a prior is improper and the data do not make up for it; names it and says what to use instead.
    """
    if not isinstance(priors.beta, Normal):
        cross.require_full_rank()
    if isinstance(priors.D, Reciprocal) and cross.z_names:
        raise ParameterError(
            "with p(D) proportional to 1/|D|, that is 1/tau^2 for one variance, the posterior is improper: as D tends "
            "to zero the likelihood tends to that of a model without random effects, which is not zero, and the "
            "integral of 1/tau^2 from zero is infinite. Use HalfCauchy, HuangWand or InverseWishart"
        )
    _require_sigma(cross, priors)
    if isinstance(priors.D, Flat):
        _require_flat_D(cross, priors)


def _require_sigma(cross: CrossProducts, priors: Priors) -> None:
    """Rows that tell of sigma, as the prior of sigma needs them."""
    if isinstance(priors.sigma, InverseGamma):
        return
    spare = cross.n_obs - _rank_with(cross, range(len(cross.z_names)))
    if spare > 0 and _within(cross) <= max(NO_RESIDUAL * cross.yty, LOST * cross.work.yty):
        raise ParameterError(
            "the fixed and random effects fit the response exactly, so the likelihood is infinite at sigma = 0 and "
            f"{priors.sigma} does not keep the posterior from being improper; use InverseGamma for sigma"
        )
    if spare <= 0 and isinstance(priors.sigma, Reciprocal):
        raise ParameterError(
            f"with p(sigma2) proportional to 1/sigma2 the posterior is improper: the {cross.n_obs} rows are no more "
            "than the effects that fit them, so that the likelihood does not fall to zero as sigma does. Use "
            "HalfCauchy or InverseGamma for sigma, or data with more rows in a group"
        )
    tails = [isinstance(priors.sigma, Flat)] + [isinstance(priors.D, Flat)] * len(cross.z_names)
    free = cross.n_obs - (0 if isinstance(priors.beta, Normal) else len(cross.x_names))
    if isinstance(priors.sigma, Flat | Reciprocal) and free <= sum(tails):
        raise ParameterError(
            f"{cross.n_obs} rows are too few for {len(cross.x_names)} fixed effects and a prior of sigma that is "
            "improper; use HalfCauchy or InverseGamma for sigma"
        )


def _require_flat_D(cross: CrossProducts, priors: Priors) -> None:
    """Enough groups for flat standard deviations, one by one and together."""
    q, free_beta = len(cross.z_names), not isinstance(priors.beta, Normal)
    for size in range(1, q + 1):
        for columns in combinations(range(q), size):
            effects = int(_ranks(cross, columns).sum())
            replaced = len(cross.x_names) - (_rank_with(cross, columns) - effects) if free_beta else 0
            if effects - replaced <= size:
                names = ", ".join(cross.z_names[k] for k in columns)
                raise ParameterError(
                    f"with a flat prior of the standard deviation of {names} the posterior is improper: its "
                    f"{effects} random effects, less {replaced} fixed effects that they can replace, must be more than "
                    f"{size}. Use HalfCauchy, HuangWand or InverseWishart"
                )


def _ranks(cross: CrossProducts, columns) -> np.ndarray:
    """Rank of these columns of Z_i of the formula in each group."""
    take, (patterns, index) = cross.basis.Rz[:, list(columns)], cross.patterns
    gram = take.T @ patterns @ take
    tol = RANK * np.abs(gram).max(axis=(1, 2), initial=0)
    return np.linalg.matrix_rank(gram, tol=tol, hermitian=True)[index]


def _rank_with(cross: CrossProducts, columns) -> int:
    """Rank of X and these columns of Z_i of all groups."""
    left = _left(cross, cross.basis.Rz[:, list(columns)])[:-1, :-1]
    return int((np.linalg.eigvalsh(left) > RANK * cross.n_obs).sum() + _ranks(cross, columns).sum())


def _within(cross: CrossProducts) -> float:
    """Residual sum of squares of the response on X and all Z_i."""
    left = _left(cross, np.eye(len(cross.z_names)))
    values, vectors = np.linalg.eigh(left[:-1, :-1])
    there = values > RANK * cross.n_obs
    return float(left[-1, -1] - np.sum((left[-1, :-1] @ vectors[:, there]) ** 2 / values[there]))


def _left(cross: CrossProducts, take: np.ndarray) -> np.ndarray:
    """[X, y]'[X, y] of what combinations (q, k) of the Z_i leave of the columns, (p+1, p+1)."""
    data = Responses.of_cross(cross)
    ZtW = take.T @ data.ZtW[0]
    inverse = np.linalg.pinv(take.T @ cross.work.ZtZ @ take, rcond=RANK, hermitian=True)
    return data.WtW[0] - np.einsum("gav,gab,gbw->vw", ZtW, inverse, ZtW)
