r"""Confidence intervals for every parameter of a fit: by profile, by standard errors, by parametric bootstrap.

The parameters are the fixed effects under their names, ``sd (Intercept)``, ``corr (Intercept), week`` and ``sigma``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from lmmlib.common.arguments import checked_choice, checked_level
from lmmlib.common.tails import half_width
from lmmlib.equations.information import _information, directions
from lmmlib.equations.names import chosen, derived, parameter_names
from lmmlib.errors import ParameterError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.bootstrap import parametric_bootstrap
from lmmlib.inference.contrasts import coefficients
from lmmlib.inference.profile import held, reach

METHODS = ("profile", "wald", "bootstrap")


def parameters(fit: Fitted) -> pd.Series:
    """All parameters of a fit: fixed effects, standard deviations and correlations of the random effects, sigma.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    Series
        A correlation with a standard deviation of zero does not exist: NaN.
    """
    values = derived(
        parameter_names(fit.design), fit.beta.to_numpy()[None], fit.D.to_numpy()[None], np.array([fit.sigma2])
    )
    return values.iloc[0].rename(None)


def confint(fit: Fitted, method="profile", level: float = 0.95, parameters=None, size=1000, rng=None) -> pd.DataFrame:
    r"""Confidence intervals of parameters.

    .. math:: \{\psi : \zeta(\psi)^2 \le \chi^2_{1,\,\mathrm{level}}\}

    Equation :eq:`profile-interval` of the book, for ``method="profile"``. A side on which zeta is never so large ends
    at the edge of the parameter space: 0 for a standard deviation, -1 or 1 for a correlation; a correlation that does
    not exist has these limits on both sides. ``"wald"`` has estimates plus and minus standard errors: for fixed effects
    as :meth:`lmmlib.lmm.fit.Fit.coefficients`, for standard deviations on the logarithmic scale, for correlations on
    Fisher's, from the observed information on D and sigma2; where D is singular they have none, and the limits are NaN.
    ``"bootstrap"`` has the quantiles of what refits of simulated responses find.

    Parameters
    ----------
    fit : Fit
    method : {"profile", "wald", "bootstrap"}
    level : float
        Coverage of each interval by itself.
    parameters : str or list of str, optional
        Names that :func:`parameters` lists; by default all.
    size : int
        Bootstrap samples.
    rng : numpy.random.Generator
        For the bootstrap.

    Returns
    -------
    DataFrame
        Indexed by parameter: ``estimate``, ``lower``, ``upper``; for profiles also ``likelihood``, the one that was
        profiled: that of the fit, for fixed effects always "ML". For the bootstrap ``attrs`` has the numbers of refits
        that ``failed`` and were left out and, for each correlation, of those in which it did not exist, ``undefined``.

    Raises
    ------
    ParameterError
        If the method, the level or a name is unknown, or the bootstrap has no generator.
    DesignError
        If the optimum to profile from has not been found.
    """
    checked_interval_method(method)
    level, kinds = checked_level(level), chosen(fit.design, parameters)
    if method == "profile":
        return _profile_limits(fit, kinds, level)
    if method == "wald":
        return _wald_limits(fit, kinds, level)
    draws, failed = bootstrap_draws(fit, size, rng)
    return percentile_limits(fit, kinds, level, draws, failed)


def checked_interval_method(method: str) -> None:
    """Raise ParameterError unless the method is one of the three."""
    checked_choice("method", method, METHODS)


def _estimates(fit: Fitted, kinds: dict[str, tuple]) -> pd.Series:
    return parameters(fit)[list(kinds)]


def _frame(estimate: pd.Series, limits) -> pd.DataFrame:
    limits = np.reshape(limits, (len(estimate), 2))
    frame = pd.DataFrame({"estimate": estimate, "lower": limits[:, 0], "upper": limits[:, 1]})
    return frame.rename_axis("parameter")


def _profile_limits(fit: Fitted, kinds: dict[str, tuple], level: float) -> pd.DataFrame:
    root = half_width(level)
    models = [held(fit, kind) for kind in kinds.values()]
    limits = [[reach(model, -root), reach(model, root)] for model in models]
    return _frame(_estimates(fit, kinds), limits).assign(likelihood=[model.fit.method for model in models])


def _wald_limits(fit: Fitted, kinds: dict[str, tuple], level: float) -> pd.DataFrame:
    estimate, z = _estimates(fit, kinds), half_width(level)
    effects = coefficients(fit, level=level) if any(kind[0] == "effect" for kind in kinds.values()) else None
    A, limits = variance_covariance(fit), []
    for name, (kind, *at) in kinds.items():
        if kind == "effect":
            limits.append(effects.iloc[at[0]][["lower", "upper"]])
        else:
            limits.append(_variance_limits(fit, kind, at, estimate[name], A, z))
    return _frame(estimate, limits)


def variance_covariance(fit: Fitted) -> np.ndarray:
    """Covariance of (vec of D, sigma2) by the observed information, (q q + 1, q q + 1); NaN if there is none.

    There is none at a singular D, an edge of the parameter space where the likelihood need not be flat, and where the
    information has a direction without curvature.
    """
    cross, q = fit.cross, len(fit.D)
    nothing = np.full((q * q + 1, q * q + 1), np.nan)
    if fit.is_singular:
        return nothing
    # By the entries of D in the working basis, where the information has its digits whatever the units of z.
    information = _information(directions(cross, fit.D.to_numpy(), fit.sigma2, working=True), fit.method, "observed")
    scale = np.sqrt(np.abs(np.diag(information)))
    relative = information / np.outer(scale, scale)
    if not np.linalg.eigvalsh(relative).min() > 1e-10:
        return nothing
    E = cross.D_directions(working=True)
    if q:
        half = solve_triangular(cross.basis.Rz, np.eye(q))
        E = half @ E @ half.T
    change = np.zeros((q * q + 1, len(E) + 1))
    change[:-1, :-1], change[-1, -1] = E.reshape(len(E), q * q).T, 1.0
    change = change / scale
    return change @ np.linalg.inv(relative) @ change.T


def _variance_limits(fit: Fitted, kind: str, at, estimate: float, A: np.ndarray, z: float) -> np.ndarray:
    """Delta method on a scale on which the parameter has no edge."""
    if not np.isfinite(A).all():
        return np.full(2, np.nan)
    D, q, ends = fit.D.to_numpy(), len(fit.D), np.array([-z, z])
    if kind != "corr":
        row, variance = (q * q, fit.sigma2) if kind == "sigma" else (at[0] * (q + 1), D[at[0], at[0]])
        return estimate * np.exp(ends * np.sqrt(A[row, row]) / (2 * variance))
    a, b = at
    slope = np.zeros(q * q + 1)
    slope[a * q + b] = 1 / np.sqrt(D[a, a] * D[b, b])
    slope[a * (q + 1)], slope[b * (q + 1)] = -estimate / (2 * D[a, a]), -estimate / (2 * D[b, b])
    se = np.sqrt(slope @ A @ slope) / (1 - estimate**2)
    return np.tanh(np.arctanh(estimate) + ends * se)


def bootstrap_draws(fit: Fitted, size: int, rng) -> tuple[tuple, int]:
    """beta, D and sigma2 of the refits that did not fail, and how many did.

    Raises
    ------
    ParameterError
        If size is no count, there is no generator, or no refit succeeds.
    """
    fits = parametric_bootstrap(fit, size, rng)
    good = ~fits.failed
    if not good.any():
        raise ParameterError(f"all {size} refits failed, the first with: {fits.reason[0]}; look at the model first")
    return (fits.beta[good], fits.D[good], fits.sigma2[good]), int(fits.failed.sum())


def percentile_limits(fit: Fitted, kinds: dict[str, tuple], level: float, draws: tuple, failed: int) -> pd.DataFrame:
    """Quantiles of the refits' parameters; a correlation's are those of the refits in which it exists."""
    values = derived(kinds, *draws)
    frame = _frame(_estimates(fit, kinds), values.quantile([(1 - level) / 2, (1 + level) / 2]).to_numpy().T)
    frame.attrs["failed"] = failed
    frame.attrs["undefined"] = {name: int(values[name].isna().sum()) for name in kinds if kinds[name][0] == "corr"}
    return frame
