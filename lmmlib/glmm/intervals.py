"""All parameters of a Poisson fit with standard errors and limits: the delta method and Wald intervals.

The parameters are the fixed effects under their names, ``sd (Intercept)`` and ``corr (Intercept), week``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import standard_deviations
from lmmlib.common.tails import half_width, two_sided
from lmmlib.equations.moments import correlation
from lmmlib.glmm.fitted import FittedGlmm


def coefficients(fit: FittedGlmm, level: float = 0.95) -> pd.DataFrame:
    """Fixed effects: estimate, standard error, z, p, limits, and ``ratio``, the factor by which they change the mean.

    Parameters
    ----------
    fit : FittedGlmm
    level : float
        Coverage of each interval by itself.

    Returns
    -------
    DataFrame
    """
    reach = half_width(level) * fit.se
    z = fit.beta / fit.se
    with np.errstate(over="ignore"):  # of a column in tiny units
        ratio = np.exp(fit.beta)
    return pd.DataFrame(
        {
            "estimate": fit.beta,
            "se": fit.se,
            "z": z,
            "p": two_sided(z),
            "lower": fit.beta - reach,
            "upper": fit.beta + reach,
            "ratio": ratio,
        }
    )


def _pairs(fit: FittedGlmm) -> list[tuple[int, int]]:
    q = len(fit.D)
    return [] if fit.design.diagonal else [(a, b) for b in range(q) for a in range(b + 1, q)]


def _names(fit: FittedGlmm) -> list[str]:
    z = fit.design.z_names
    return [*fit.beta.index, *(f"sd {name}" for name in z), *(f"corr {z[b]}, {z[a]}" for a, b in _pairs(fit))]


def parameters(fit: FittedGlmm) -> pd.Series:
    """All parameters: fixed effects, standard deviations and correlations of the random effects.

    Parameters
    ----------
    fit : FittedGlmm

    Returns
    -------
    Series
        A correlation with a standard deviation of zero does not exist: NaN.
    """
    D = fit.D.to_numpy()
    r = correlation(D)
    values = [*fit.beta, *np.sqrt(np.diag(D)), *(np.clip(r[a, b], -1, 1) for a, b in _pairs(fit))]
    return pd.Series(values, _names(fit), dtype=float)


def cov_parameters(fit: FittedGlmm) -> pd.DataFrame:
    r"""Covariance of :func:`parameters` by the delta method.

    .. math:: \operatorname{Var}\{g(\hat\psi)\} \approx G(-H)^{-1}G', \qquad G = dg/d\psi

    Parameters
    ----------
    fit : FittedGlmm

    Returns
    -------
    DataFrame
        NaN for standard deviations and correlations where D is singular: there the curvature of the log-likelihood
        says nothing of how far they may be off.
    """
    names, p, q = _names(fit), len(fit.beta), len(fit.D)
    G = np.zeros((len(names), len(fit.psi)))
    G[:p, :p] = fit.counts.basis.x_back
    if q and fit.is_singular:
        G[p:] = np.nan
    elif q:
        dD = fit.counts.basis.D_back(fit.counts.coordinates @ fit.L.T)
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


def confint(fit: FittedGlmm, level: float = 0.95) -> pd.DataFrame:
    """Wald limits: of standard deviations on the logarithmic scale, of correlations on Fisher's.

    Parameters
    ----------
    fit : FittedGlmm
    level : float
        Coverage of each interval by itself.

    Returns
    -------
    DataFrame
        ``estimate``, ``se``, ``lower``, ``upper``; NaN for standard deviations and correlations of a singular D.
    """
    reach = half_width(level)
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
