r"""Mixtures of distributions: moments by total expectation and variance, and exact quantiles.

What is known of b when a parameter alpha is uncertain is a mixture over alpha of what is known of b for each alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, ndtr, ndtri, stdtr, stdtrit

from lmmlib.common.arguments import numbers, standard_deviations
from lmmlib.design.basis import chunks
from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.errors import ParameterError
from lmmlib.inference.bootstrap import CHUNK
from lmmlib.prediction.errors import batched_effects

# A quantile is found when it moves by less than this share of the spread of the components.
QUANTILE = 1e-10
MAX_STEPS = 500


def total_moments(means, covariances, weights=None) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and covariance of b from those given alpha, averaged over alpha.

    .. math:: E(b) = E\{E(b \mid \alpha)\}, \qquad
        \operatorname{Var}(b) = E\{\operatorname{Var}(b \mid \alpha)\} + \operatorname{Var}\{E(b \mid \alpha)\}

    Equations :eq:`total-expectation` and :eq:`total-variance` of the book. A plug-in estimate of alpha keeps only the
    first term of the second.

    Parameters
    ----------
    means : (S, ..., q) array
        Mean of b for each of S values of alpha.
    covariances : (S, ..., q, q) array
        Covariance of b for each.
    weights : (S,) or (S, ...) array, optional
        Their probabilities, up to a factor; equal by default.

    Returns
    -------
    mean : (..., q) array
    covariance : (..., q, q) array

    Raises
    ------
    ParameterError
        If the shapes do not fit, or the weights are no probabilities.
    """
    means, covariances = numbers(means, "means"), numbers(covariances, "covariances")
    if means.ndim < 2 or covariances.shape != (*means.shape, means.shape[-1]):
        raise ParameterError(
            "means must be (S, ..., q) and covariances (S, ..., q, q); got "
            f"{means.shape} and {covariances.shape}; for one random effect q is 1"
        )
    w = numbers(np.ones(len(means)) if weights is None else weights, "weights")
    if w.shape != means.shape[: w.ndim] or not w.ndim or not (w >= 0).all() or not (w.sum(axis=0) > 0).all():
        raise ParameterError(f"weights must be {means.shape[:1]} numbers of at least 0, not all 0; got {weights!r}")
    w = (w / w.sum(axis=0)).reshape(w.shape + (1,) * (means.ndim - 1 - w.ndim))
    mean = (w[..., None] * means).sum(axis=0)
    gap = means - mean
    return mean, (w[..., None, None] * (covariances + gap[..., :, None] * gap[..., None, :])).sum(axis=0)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Mixtures of S normal, or t, distributions of single numbers: one mixture for each place of the last axes.

    Attributes
    ----------
    means, scales : (S, ...) arrays
        Of the components; a scale of zero is a point.
    weights : array that broadcasts to (S, ...)
        Probabilities of the components.
    df : float
        Of the t distributions; infinity for the normal.
    """

    means: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    df: float = np.inf

    def cdf(self, x) -> np.ndarray:
        """Probability of values up to x (...)."""
        z = self._standardised(x)
        return (self.weights * (ndtr(z) if np.isinf(self.df) else stdtr(self.df, z))).sum(axis=0)

    def density(self, x) -> np.ndarray:
        """Density at x (...) of the components that are no points."""
        z2, df = self._standardised(x) ** 2, self.df
        if np.isinf(df):
            law = np.exp(-z2 / 2) / np.sqrt(2 * np.pi)
        else:
            constant = np.exp(gammaln((df + 1) / 2) - gammaln(df / 2)) / np.sqrt(np.pi * df)
            law = constant * np.exp(-(df + 1) / 2 * np.log1p(z2 / df))
        return (self.weights * law / np.where(self.scales > 0, self.scales, np.inf)).sum(axis=0)

    def quantile(self, p: float) -> np.ndarray:
        r"""The x (...) with :math:`\sum_s w_s F_s(x) = p`, by Newton's method between known bounds; 0 < p < 1."""
        if np.ndim(p) or not 0 < numbers(p, "p") < 1:
            raise ParameterError(f"p must be one number between 0 and 1; got {p!r}")
        shape = self.means.shape
        m, s, w = (np.broadcast_to(a, shape).reshape(shape[0], -1) for a in (self.means, self.scales, self.weights))
        return _quantile(p, m, s, w, self.df).reshape(shape[1:])

    def _standardised(self, x) -> np.ndarray:
        """(x - m) / s; plus or minus infinity for a point."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (np.asarray(x) - self.means) / self.scales
        if (self.scales > 0).all():
            return z
        return np.where(self.scales > 0, z, np.where(x >= self.means, np.inf, -np.inf))

    def __repr__(self) -> str:
        law = "normal" if np.isinf(self.df) else f"t({self.df:g})"
        return f"Mixture of {len(self.means)} {law} distributions, for {' x '.join(map(str, self.means.shape[1:]))}"


def averaged(
    cross: CrossProducts, beta: np.ndarray, D: np.ndarray, sigma2: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, Mixture]:
    r"""Mean (n_groups, q), covariance (n_groups, q, q) and law of b, averaged over values of the parameters.

    .. math:: p(b_i \mid y) = \sum_sw_s\,p(b_i \mid y, \beta_s, D_s, \sigma_s^2)

    Parameters
    ----------
    cross : CrossProducts
    beta, D, sigma2 : (S, p), (S, q, q) and (S,) arrays
    weights : (S,) array, optional
        Of sum one; equal ones by default.
    """
    data, index = Responses.of_cross(cross), cross.patterns[1]
    parts = [batched_effects(cross, data, beta[part], D[part], sigma2[part]) for part in chunks(len(beta), CHUNK)]
    means, covariances = (np.concatenate(both) for both in zip(*parts, strict=True))
    covariances = covariances[:, index]
    b, cov = total_moments(means, covariances, weights)
    scales = standard_deviations(covariances, "the random effects")
    weights = np.full(len(beta), 1 / len(beta)) if weights is None else weights
    return b, cov, Mixture(means, scales, weights[:, None, None])


def _quantile(p: float, means, scales, weights, df) -> np.ndarray:
    """Quantiles of mixtures in columns (S, members)."""
    # The quantile of a mixture lies between the least and the largest of its components.
    ends = means + scales * (ndtri(p) if np.isinf(df) else stdtrit(df, p))
    lower, upper = ends.min(axis=0), ends.max(axis=0)
    x, spread = (weights * ends).sum(axis=0), (weights * scales).sum(axis=0)
    active = np.flatnonzero(upper - lower > QUANTILE * spread)
    for step in range(1, MAX_STEPS):
        if not len(active):
            break
        some, now = Mixture(means[:, active], scales[:, active], weights[:, active], df), x[active]
        missing = p - some.cdf(now)
        lower[active] = np.where(missing > 0, now, lower[active])
        upper[active] = np.where(missing > 0, upper[active], now)
        with np.errstate(divide="ignore", invalid="ignore"):
            new = now + missing / some.density(now)
        # Newton's step may leave the bounds, or creep; then they are halved.
        newton = (new >= lower[active]) & (new <= upper[active]) & (step % 8 > 0)
        x[active] = np.where(newton, new, (lower[active] + upper[active]) / 2)
        small = QUANTILE * spread[active]
        done = newton & (np.abs(x[active] - now) <= small) | (upper[active] - lower[active] <= small)
        active = active[~done]
    return x
