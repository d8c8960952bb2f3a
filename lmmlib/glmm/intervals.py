"""All parameters of a fit with standard errors and limits: the delta method and Wald intervals.

The parameters are the fixed effects under their names, ``sd (Intercept)`` and ``corr (Intercept), week``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import standard_deviations
from lmmlib.common.table import labels
from lmmlib.common.tails import two_sided
from lmmlib.equations.limits import normal_limits, slopes
from lmmlib.equations.names import chosen, derived, parameter_names
from lmmlib.glmm.fitted import FittedGlmm


def fixed_effects(fit: FittedGlmm, level: float = 0.95) -> pd.DataFrame:
    """Fixed effects: estimate, standard error, z, p, limits, and ``ratio``, the factor by which they change the mean.

    Each interval has the coverage ``level`` by itself.
    """
    estimate, se, lower, upper = normal_limits(fit.beta, fit.se, level).to_numpy().T
    with np.errstate(all="ignore"):  # of a column in tiny units
        z, ratio = estimate / se, np.exp(estimate)
    columns = labels(("estimate", "se", "z", "p", "lower", "upper", "ratio"))
    return pd.DataFrame(np.stack([estimate, se, z, two_sided(z), lower, upper, ratio], axis=1), fit.beta.index, columns)


def parameters(fit: FittedGlmm) -> pd.Series:
    """All parameters: fixed effects, standard deviations and correlations of the random effects.

    A correlation with a standard deviation of zero does not exist: NaN.
    """
    return _estimates(fit, parameter_names(fit.design, sigma=False))


def _estimates(fit: FittedGlmm, kinds: dict[str, tuple]) -> pd.Series:
    return derived(kinds, fit.beta.to_numpy()[None], fit.D.to_numpy()[None], np.full(1, np.nan)).iloc[0].rename(None)


def cov_parameters(fit: FittedGlmm) -> pd.DataFrame:
    r"""Covariance of :func:`parameters` by the delta method.

    .. math:: \operatorname{Var}\{g(\hat\psi)\} \approx G(-H)^{-1}G', \qquad G = dg/d\psi

    NaN for standard deviations and correlations where D is singular: there the curvature of the log-likelihood says
    nothing of how far they may be off.
    """
    kinds, basis, B = parameter_names(fit.design, sigma=False), fit.rows.basis, fit.rows.coordinates
    p, q = len(fit.beta), len(fit.D)
    G = np.zeros((len(kinds), len(fit.psi)))
    G[:p, :p] = basis.x_back
    if not fit.is_singular:
        dD = basis.D_back(B @ fit.L.T)
        dD = (dD + np.swapaxes(dD, 1, 2)).reshape(len(B), q * q)  # of vec D by each entry of theta
        G[p:, p:] = slopes(list(kinds.values())[p:], fit.D.to_numpy())[:, :-1] @ dD.T
    cov = G @ fit.cov_psi @ G.T
    if fit.is_singular:
        cov[p:], cov[:, p:] = np.nan, np.nan
    return pd.DataFrame(cov, list(kinds), list(kinds))


def confint(fit: FittedGlmm, level: float = 0.95, parameters=None) -> pd.DataFrame:
    """Wald limits: of standard deviations on the logarithmic scale, of correlations on Fisher's.

    Parameters
    ----------
    fit : FittedGlmm
    level : float
        Coverage of each interval by itself.
    parameters : str or list of str, optional
        Names that :func:`parameters` lists; by default all.

    Returns
    -------
    DataFrame
        ``estimate``, ``se``, ``lower``, ``upper``; NaN for standard deviations and correlations of a singular D.

    Raises
    ------
    ParameterError
        If there is no parameter of a name.
    """
    kinds, cov = chosen(parameter_names(fit.design, sigma=False), fit.design, parameters), cov_parameters(fit)
    se, names = pd.Series(standard_deviations(cov, "the parameters"), cov.index), list(kinds)
    return normal_limits(_estimates(fit, kinds), se[names], level, [kind for kind, *_ in kinds.values()])
