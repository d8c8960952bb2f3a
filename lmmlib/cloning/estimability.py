r"""Diagnostics of data cloning, and what they say of each parameter: estimable, or not, or not known.

Where a parameter can be estimated its posterior variance falls as 1/K, and its distribution tends to the normal. Chains
that have not mixed can imitate the first by being stuck close together, so that of all that the draws say, convergence
comes first. Before it comes only what needs no draws: a direction in which the likelihood of the model itself is flat.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import eigh

from lmmlib.common.arguments import numbers
from lmmlib.common.tails import chi2_quantile
from lmmlib.errors import ParameterError

# R-hat from which chains count as different, and the effective draws below which they say too little.
CONVERGED, ENOUGH = 1.05, 100.0
# Share of the 1/K law, as a power of K, from which a variance counts as falling.
FALLING = 0.5
# Skewness by quantiles beyond which a posterior counts as far from normal: that of a gamma distribution of shape 3.
SKEWED = 0.3

# Standard errors between the estimates and the maximum of the likelihood from which the prior still rules.
FAR = 0.5

ESTIMABLE, NOT_ESTIMABLE, NOT_CONVERGED = "estimable", "not estimable", "not converged"
BOUNDARY, TOO_FEW = "at a boundary", "too few clones"


def lambda_max(cov) -> float:
    r"""Largest eigenvalue of the posterior covariance, not multiplied by K.

    .. math:: \lambda_{\max}(K) = \max_{\|v\| = 1} v'\operatorname{Var}(\theta \mid y^{(K)})\,v

    Equation :eq:`lambda-max` of the book. It falls as 1/K if all functions of the parameters can be estimated, and
    tends to a positive number if one cannot. It depends on the units of the parameters, so that no number is small by
    itself; compare it with its value at K = 1.

    Parameters
    ----------
    cov : (p, p) array

    Returns
    -------
    float
    """
    cov = numbers(cov, "cov")
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1] or not cov.size:
        raise ParameterError(f"cov must be square; got shape {cov.shape}")
    return float(np.linalg.eigvalsh(cov)[-1])


def mahalanobis(draws) -> np.ndarray:
    """Squared distances (S,) of draws (S, p) from their mean, in units of their covariance; NaN if it is singular."""
    draws = numbers(draws, "draws")
    if draws.ndim != 2 or len(draws) < 2:
        raise ParameterError(f"draws must be (S, p) with S of at least 2; got shape {draws.shape}")
    away = draws - draws.mean(axis=0)
    sd = away.std(axis=0, ddof=1)
    away = away / np.where(sd > 0, sd, 1.0)
    correlation = away.T @ away / (len(away) - 1)
    values, vectors = np.linalg.eigh(correlation)
    if values[0] < 1e-14 * len(values):
        return np.full(len(draws), np.nan)
    return ((away @ vectors) ** 2 / values).sum(axis=1)


def chi_square_fit(draws) -> tuple[float, float]:
    r"""How far draws are from normal: ``ms_error`` and ``r_squared`` of dclone.

    .. math:: \frac1S\sum_s(d_{(s)} - c_s)^2, \qquad 1 - \operatorname{cor}(d_{(s)}, c_s)^2

    with the sorted squared Mahalanobis distances d and the quantiles c of the chi-square distribution with p degrees of
    freedom at (s - 1/2)/S. Both tend to zero as the posterior tends to a normal distribution. The second is one less
    what is usually called R squared.

    Parameters
    ----------
    draws : (S, p) array

    Returns
    -------
    tuple of float
        NaN if the covariance of the draws is singular.
    """
    d = np.sort(mahalanobis(draws))
    c = chi2_quantile((np.arange(len(d)) + 0.5) / len(d), np.shape(draws)[1])
    return float(np.mean((d - c) ** 2)), float(1 - np.corrcoef(d, c)[0, 1] ** 2)


def multivariate_r_hat(draws) -> float:
    r"""R-hat of the combination of parameters in which the chains differ most; Brooks and Gelman (1998).

    .. math:: \frac{T - 1}T + \frac{m + 1}m\,\max_v\frac{v'Bv}{v'Wv}

    with W the mean of the covariances within the m chains of T draws, and B the covariance of their means.

    Parameters
    ----------
    draws : (C, T, p) array

    Returns
    -------
    float
        Infinity if a combination does not move within the chains; NaN for one chain.
    """
    draws = numbers(draws, "draws")
    m, T, p = draws.shape
    if m < 2:
        return float("nan")
    sd = draws.reshape(-1, p).std(axis=0)
    unit = (draws - draws.mean(axis=(0, 1))) / np.where(sd > 0, sd, 1.0)
    means = unit.mean(axis=1)
    away = unit - means[:, None]
    W, B = np.einsum("mta,mtb->ab", away, away) / (m * (T - 1)), np.cov(means.T, ddof=1).reshape(p, p)
    if np.linalg.eigvalsh(W)[0] <= 1e-14:
        return float("inf")
    return float((T - 1) / T + (m + 1) / m * eigh(B, W, eigvals_only=True)[-1])


def spread(values) -> np.ndarray:
    """Squared distance between the quartiles of draws (S, ...): a variance, up to a factor, that heavy tails leave."""
    low, high = np.quantile(values, [0.25, 0.75], axis=0)
    return (high - low) ** 2


def skewness(values) -> np.ndarray:
    """How far the median of draws (S, ...) is from the middle of the 5 % and 95 % quantiles, in half their distance."""
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(high > low, (high + low - 2 * middle) / (high - low), 0.0)


def falling(few: np.ndarray, many: np.ndarray, ratio: float) -> np.ndarray:
    """The power of 1/K by which variances fell when the clones became ``ratio`` times as many: 1 in theory."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(few / many) / np.log(ratio)


def reference(n_clones) -> int | None:
    """Of numbers of clones that rise, the largest that is at most half of the last; None if there is none."""
    below = [K for K in n_clones if 2 * K <= n_clones[-1]]
    return below[-1] if below else None


def verdict(r_hat: float, ess: float, rate: float, skew: float, null: bool | None, boundary: bool | None) -> str:
    """What is known of one parameter.

    Parameters
    ----------
    r_hat, ess : float
        Of the draws at the most clones and at the number that they are compared with: the larger, and the smaller.
    rate : float
        :func:`falling`; NaN if there is nothing to compare with.
    skew : float
        :func:`skewness` at the most clones.
    null : bool or None
        Whether the model itself has a direction in which this parameter changes and the likelihood does not; None if
        that is not known.
    boundary : bool or None
        Whether a variance, or a correlation, tends to the end of its range; None if that is not known.

    Returns
    -------
    str
        "not estimable" if the model says so; "not converged" if the chains differ, whatever else they show; then "not
        estimable" or "too few clones" if the variance did not fall (the latter if the model has no null direction, so
        that it is the prior that still rules), and "at a boundary" if it did and the distribution is far from normal.
    """
    if null:
        return NOT_ESTIMABLE
    if not (r_hat < CONVERGED and ess >= ENOUGH):
        return NOT_CONVERGED
    if not np.isfinite(rate):
        return TOO_FEW
    if rate < FALLING:
        return NOT_ESTIMABLE if null is None else TOO_FEW
    if abs(skew) > SKEWED:
        return TOO_FEW if boundary is False else BOUNDARY
    return ESTIMABLE


def wide_directions(few: pd.DataFrame, many: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """Directions in which draws at many clones spread as widely as at few, a row each, widest first.

    Eigenvectors of the covariance at many clones, in units of the standard deviations at few; scaled so that the
    largest change is one, the last parameter that changes going up. A direction is wide if its variance fell by less
    than the power 1/2 of 1/K.
    """
    unit = few.std().to_numpy()
    unit = np.where(unit > 0, unit, 1.0)
    values, vectors = np.linalg.eigh(np.cov((many / unit).T.to_numpy()).reshape(len(unit), len(unit)))
    before = np.var(few.to_numpy() / unit @ vectors, axis=0, ddof=1)
    wide = np.flatnonzero(falling(before, values, ratio) < FALLING)[::-1]
    return pd.DataFrame([oriented(vectors[:, k] * unit) for k in wide], columns=many.columns)


def oriented(direction: np.ndarray, small: float = 0.02) -> np.ndarray:
    """A direction with largest change one, small ones cut off, the last that is left upwards."""
    direction = direction / np.abs(direction).max()
    direction = np.where(np.abs(direction) < small, 0.0, direction)
    return direction * np.sign(direction[np.flatnonzero(direction)[-1]])


def said(direction: pd.Series) -> str:
    """A direction in words: "sigma2 up, D[...] down"."""
    words = {name: "up" if change > 0 else "down" for name, change in direction.items() if change}
    return ", ".join(f"{name} {word}" for name, word in sorted(words.items(), key=lambda item: item[1], reverse=True))
