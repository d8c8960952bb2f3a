"""All parameters of a Poisson fit with standard errors and limits: the delta method and Wald intervals.

The parameters are the fixed effects under their names, ``sd (Intercept)`` and ``corr (Intercept), week``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from lmmlib.moments import correlation
from lmmlib.parameters import checked_level, standard_deviations

if TYPE_CHECKING:
    from lmmlib.poisson_result import PoissonFit

# Curvature, with each parameter in the unit in which its own is one, that is none; and what differences leave of none.
FLAT, ROUGH = 1e-12, 1e-8
# A saddle so shallow that the search sees nothing higher beside it is flat.
SADDLE = 1e-3


def curvature(hessian: np.ndarray, n_fixed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (P,) and vectors (P, P) of minus the Hessian in units of its diagonal, and those units (P,).

    Each parameter is measured in the unit in which its own curvature is one, so that neither large counts nor the
    units of a column make a direction look flat. Of the parameters after the first ``n_fixed``, which are of one kind,
    one without curvature beside the others keeps their unit.

    Parameters
    ----------
    hessian : matrix of P rows
    n_fixed : int

    Returns
    -------
    tuple of arrays
    """
    size = np.diag(-hessian)
    rest = size[n_fixed:].max(initial=0.0)
    own = size > np.where(np.arange(len(size)) < n_fixed, 0.0, FLAT * rest)
    unit = 1 / np.sqrt(np.where(own, size, rest or 1.0))
    return *np.linalg.eigh(-hessian * np.outer(unit, unit)), unit


def whitening(hessian: np.ndarray, size: float) -> np.ndarray:
    r"""A matrix A (P, P) with :math:`-A'HA` = ``size`` times the identity, or minus that where it rises."""
    values, vectors, unit = curvature(hessian)
    return unit[:, None] * vectors * np.sqrt(size / np.maximum(np.abs(values), FLAT))


def covariance(hessian: np.ndarray, n_fixed: int = 0, flat: float = FLAT) -> np.ndarray:
    r"""Covariance of the estimates from the Hessian of the log-likelihood, (P, P).

    .. math:: \operatorname{Var}(\hat\psi) \approx (-H)^{-1}

    Turning the factor of a singular D changes nothing, so the Hessian may have directions without curvature, which are
    left out. NaN if it is no maximum, and for a fixed effect that changes in such a direction.

    Parameters
    ----------
    hessian : matrix of P rows
    n_fixed : int
        Fixed effects, which come first.
    flat : float
        Scale-free curvature below which a direction has none; more for a Hessian by differences.

    Returns
    -------
    (P, P) array
    """
    values, vectors, unit = curvature(hessian, n_fixed)
    if not np.isfinite(values).all() or (values < -SADDLE).any():
        return np.full_like(hessian, np.nan)
    steep = values > flat
    cov = (vectors[:, steep] / values[steep]) @ vectors[:, steep].T * np.outer(unit, unit)
    lost = ((vectors[:, ~steep] ** 2).sum(axis=1) > 1e-6) & (np.arange(len(unit)) < n_fixed)
    return np.where(lost[:, None] | lost, np.nan, cov)


def without_curvature(hessian: np.ndarray, A: np.ndarray | None = None) -> np.ndarray:
    """Which parameters change in a direction in which the log-likelihood has no curvature, (P,): boolean.

    Parameters
    ----------
    hessian : matrix of P rows
    A : matrix of P columns, optional
        The parameters in those of the Hessian, by default the same.

    Returns
    -------
    (P,) array
    """
    values, vectors, unit = curvature(hessian)
    moves = unit[:, None] * vectors if A is None else A @ (unit[:, None] * vectors)
    return (moves[:, values <= ROUGH] ** 2).sum(axis=1) > 1e-6 * (moves**2).sum(axis=1)


def coefficients(fit: PoissonFit, level: float = 0.95) -> pd.DataFrame:
    """Fixed effects: estimate, standard error, z, p, limits, and ``ratio``, the factor by which they change the mean.

    Parameters
    ----------
    fit : PoissonFit
    level : float
        Coverage of each interval by itself.

    Returns
    -------
    DataFrame
    """
    reach = norm.ppf((1 + checked_level(level)) / 2) * fit.se
    z = fit.beta / fit.se
    with np.errstate(over="ignore"):  # of a column in tiny units
        ratio = np.exp(fit.beta)
    return pd.DataFrame(
        {
            "estimate": fit.beta,
            "se": fit.se,
            "z": z,
            "p": 2 * norm.sf(np.abs(z)),
            "lower": fit.beta - reach,
            "upper": fit.beta + reach,
            "ratio": ratio,
        }
    )


def _pairs(fit: PoissonFit) -> list[tuple[int, int]]:
    q = len(fit.D)
    return [] if fit.design.diagonal else [(a, b) for b in range(q) for a in range(b + 1, q)]


def _names(fit: PoissonFit) -> list[str]:
    z = fit.design.z_names
    return [*fit.beta.index, *(f"sd {name}" for name in z), *(f"corr {z[b]}, {z[a]}" for a, b in _pairs(fit))]


def parameters(fit: PoissonFit) -> pd.Series:
    """All parameters: fixed effects, standard deviations and correlations of the random effects.

    Parameters
    ----------
    fit : PoissonFit

    Returns
    -------
    Series
        A correlation with a standard deviation of zero does not exist: NaN.
    """
    D = fit.D.to_numpy()
    r = correlation(D)
    values = [*fit.beta, *np.sqrt(np.diag(D)), *(np.clip(r[a, b], -1, 1) for a, b in _pairs(fit))]
    return pd.Series(values, _names(fit), dtype=float)


def cov_parameters(fit: PoissonFit) -> pd.DataFrame:
    r"""Covariance of :func:`parameters` by the delta method.

    .. math:: \operatorname{Var}\{g(\hat\psi)\} \approx G(-H)^{-1}G', \qquad G = dg/d\psi

    Parameters
    ----------
    fit : PoissonFit

    Returns
    -------
    DataFrame
        NaN for standard deviations and correlations where D is singular: there the curvature of the log-likelihood
        says nothing of how far they may be off.
    """
    names, p, q = _names(fit), len(fit.beta), len(fit.D)
    G = np.zeros((len(names), len(fit.psi)))
    G[:p, :p] = np.linalg.inv(fit.counts.basis.Rx) if p else 0.0
    if q and fit.is_singular:
        G[p:] = np.nan
    elif q:
        Rz = fit.counts.basis.Rz
        dD = np.linalg.solve(Rz, fit.B @ fit.L.T)
        dD = np.linalg.solve(Rz, np.swapaxes(dD, 1, 2))
        dD = dD + np.swapaxes(dD, 1, 2)
        D = fit.D.to_numpy()
        sd, r = np.sqrt(np.diag(D)), correlation(D)
        d_sd = np.einsum("kaa->ak", dD) / (2 * sd[:, None])
        G[p : p + q, p:] = d_sd
        for row, (a, b) in enumerate(_pairs(fit), start=p + q):
            G[row, p:] = dD[:, a, b] / (sd[a] * sd[b]) - r[a, b] * (d_sd[a] / sd[a] + d_sd[b] / sd[b])
    return pd.DataFrame(_quadratic(G, fit.cov_psi), names, names)


def _quadratic(G: np.ndarray, V: np.ndarray) -> np.ndarray:
    """G V G', in which a row of G that is not a number spoils its own row and column only."""
    wrong = np.isnan(G).any(axis=1)
    out = np.where(wrong[:, None], 0.0, G)
    out = out @ V @ out.T
    out[wrong], out[:, wrong] = np.nan, np.nan
    return out


def confint(fit: PoissonFit, level: float = 0.95) -> pd.DataFrame:
    """Wald limits: of standard deviations on the logarithmic scale, of correlations on Fisher's.

    Parameters
    ----------
    fit : PoissonFit
    level : float
        Coverage of each interval by itself.

    Returns
    -------
    DataFrame
        ``estimate``, ``se``, ``lower``, ``upper``; NaN for standard deviations and correlations of a singular D.
    """
    reach = norm.ppf((1 + checked_level(level)) / 2)
    value, se = parameters(fit), pd.Series(standard_deviations(cov_parameters(fit), "the parameters"), _names(fit))
    out = pd.DataFrame({"estimate": value, "se": se, "lower": value - reach * se, "upper": value + reach * se})
    for name in value.index[len(fit.beta) :]:
        v, s = value[name], se[name]
        if np.isnan(s):
            continue
        if name.startswith("sd "):
            limits = v * np.exp(np.array([-1, 1]) * reach * s / v)
        else:
            limits = np.tanh(np.arctanh(v) + np.array([-1, 1]) * reach * s / (1 - v**2))
        out.loc[name, ["lower", "upper"]] = limits
    return out
