r"""Confidence intervals for every parameter of a fit: by profile, by standard errors, by parametric bootstrap.

The parameters are the fixed effects under their names, ``sd (Intercept)``, ``corr (Intercept), week`` and ``sigma``.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from lmmlib.common.arguments import checked_choice, checked_level, standard_deviations
from lmmlib.common.tails import half_width
from lmmlib.equations.information import information_of, inverse
from lmmlib.equations.limits import normal_limits, slopes
from lmmlib.equations.names import chosen, derived, parameter_names
from lmmlib.errors import DesignError, ParameterError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.bootstrap import refits
from lmmlib.inference.contrasts import fixed_effects
from lmmlib.inference.parametrised import Parametrised
from lmmlib.inference.profile import reach

METHODS = ("profile", "wald", "bootstrap")
# What the intraclass correlation is made of.
ICC = ["sd (Intercept)", "sigma"]


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
    beta, D, sigma2 = fit.estimates
    return derived(parameter_names(fit.design), beta[None], D[None], np.array([sigma2])).iloc[0].rename(None)


def cov_parameters(fit: Fitted) -> pd.DataFrame:
    r"""Covariance of the estimates of all parameters, those of :func:`parameters`.

    .. math:: \operatorname{cov}\hat\psi = J A J', \qquad J = \partial\psi / \partial(\operatorname{vec}D, \sigma^2)

    for standard deviations and correlations, by the delta method, with A the inverse of the observed information
    :eq:`information-variance` of the book. Fixed effects have ``cov_beta``; the likelihood does not correlate the two.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    DataFrame
        NaN for the parameters of D and sigma2 where D is singular: their likelihood has no such curvature there.

    Raises
    ------
    DesignError
        If the response has units in which the information overflows or vanishes.
    """
    kinds, A = parameter_names(fit.design), variance_covariance(fit)
    others = list(kinds.values())[len(fit.beta) :]
    J = np.ones((len(others), len(A))) if np.isnan(A).any() else slopes(others, *fit.estimates[1:])
    return pd.DataFrame(block_diag(fit.cov_beta.to_numpy(), J @ A @ J.T), list(kinds), list(kinds))


def variance_covariance(fit: Fitted) -> np.ndarray:
    """Covariance of (vec of D, sigma2) by the observed information, (q q + 1, q q + 1); NaN if there is none.

    There is none at a singular D, an edge of the parameter space where the likelihood need not be flat, and where the
    information has a direction without curvature.
    """
    # By the entries of D in the working basis, where the information has its digits whatever the units of z.
    A = None if fit.is_singular else inverse(information_of(fit.directions, fit.method, "observed"))
    if A is None:
        return np.full((fit.D.size + 1, fit.D.size + 1), np.nan)
    E = fit.cross.basis.D_back(fit.cross.D_directions(working=True))
    change = block_diag(E.reshape(len(E), fit.D.size).T, 1.0)
    return change @ A @ change.T


def confint(
    fit: Parametrised, level: float = 0.95, *, method: str = "profile", parameters=None, size: int = 1000, rng=None
) -> pd.DataFrame:
    r"""Confidence intervals of parameters.

    .. math:: \{\psi : \zeta(\psi)^2 \le \chi^2_{1,\,\mathrm{level}}\}

    Equation :eq:`profile-interval` of the book, for ``method="profile"``. A side on which zeta is never so large ends
    at the edge of the parameter space: 0 for a standard deviation, -1 or 1 for a correlation; a correlation that does
    not exist has these limits on both sides. ``"wald"`` has estimates plus and minus standard errors: for fixed effects
    as :meth:`lmmlib.lmm.fit.Fit.fixed_effects`, for standard deviations on the logarithmic scale, for correlations on
    Fisher's, from the observed information on D and sigma2; where D is singular they have none, and the limits are NaN.
    ``"bootstrap"`` has the quantiles of what refits of simulated responses find.

    Parameters
    ----------
    fit : Fit
    level : float
        Coverage of each interval by itself.
    method : {"profile", "wald", "bootstrap"}
    parameters : str or list of str, optional
        Names that its ``parameters()`` lists; by default all.
    size : int
        Bootstrap samples.
    rng : numpy.random.Generator or int
        For the bootstrap; a whole number is a seed.

    Returns
    -------
    DataFrame
        Indexed by parameter: ``estimate``, ``se``, ``lower``, ``upper``. Standard errors are those of
        ``cov_parameters()``, of the bootstrap standard deviations of the refits; NaN where there is none. ``attrs``
        has for profiles the ``likelihood`` that was profiled: that of the fit, for fixed effects always "ML"; for the
        bootstrap the number of refits that ``failed`` and were left out and, for each correlation, of those in which it
        did not exist, ``undefined``.

    Raises
    ------
    ParameterError
        If the method, the level or a name is unknown, or the bootstrap has no generator.
    DesignError
        If the optimum to profile from has not been found.
    """
    return limits(fit, chosen(fit.kinds, fit.design, parameters), level, method, size, rng)


def limits(fit: Parametrised, kinds: dict[str, tuple], level: float, method: str, size: int, rng) -> pd.DataFrame:
    """:func:`confint` of parameters by their kinds; ``("icc",)`` is the intraclass correlation."""
    checked_choice("method", method, METHODS)
    level, estimate = checked_level(level), _of(kinds, fit.parameters())
    attrs: dict[str, object] = {}
    if method == "bootstrap":
        draws, attrs = _refitted(fit, kinds, size, rng)
        ends = [draws.quantile(p) for p in ((1 - level) / 2, (1 + level) / 2)]
        frame = pd.DataFrame({"estimate": estimate, "se": draws.std(), "lower": ends[0], "upper": ends[1]})
    elif method == "wald":
        frame = normal_limits(estimate, _standard_errors(fit, kinds), level, [kind for kind, *_ in kinds.values()])
        if effects := [name for name, (kind, *_) in kinds.items() if kind == "effect"]:
            frame.loc[effects, ["lower", "upper"]] = fixed_effects(fit, level)  # with their df
    else:
        models, root, se = [fit._held(kind) for kind in kinds.values()], half_width(level), np.nan
        for name, model in zip(kinds, models, strict=True):
            model.name = name
        ends = [[model.parameter(reach(model, side * root)) for model in models] for side in (-1, 1)]
        attrs = {"likelihood": {name: model.fit.method for name, model in zip(kinds, models, strict=True)}}
        with suppress(DesignError):  # units in which there is no information
            se = _standard_errors(fit, kinds)
        frame = pd.DataFrame({"estimate": estimate, "se": se, "lower": ends[0], "upper": ends[1]})
    frame.attrs = attrs
    return frame.rename_axis("parameter")


def _of(kinds: dict[str, tuple], table):
    """Those parameters of a Series, or of the columns of a frame; the intraclass correlation is made of two."""
    if "icc" in kinds:
        table = table.copy()
        table["icc"] = table[ICC[0]] ** 2 / (table[ICC[0]] ** 2 + table[ICC[1]] ** 2)
    return table[list(kinds)]


def _standard_errors(fit: Parametrised, kinds: dict[str, tuple]) -> pd.Series:
    cov = fit.cov_parameters()
    se = pd.Series(standard_deviations(cov, "the parameters"), cov.index)
    if "icc" in kinds:
        sd, sigma = at = fit.parameters()[ICC].to_numpy()
        slope = 2 * at * slopes([("icc",)], np.array([[sd**2]]), sigma**2)[0]
        se["icc"] = np.sqrt(slope @ cov.loc[ICC, ICC].to_numpy() @ slope)
    return se[list(kinds)]


def _refitted(fit: Parametrised, kinds: dict[str, tuple], size: int, rng) -> tuple[pd.DataFrame, dict]:
    """Parameters of the refits that did not fail, and how many did; a correlation is NaN where it does not exist.

    Raises
    ------
    ParameterError
        If size is no count, there is no generator, or no refit succeeds.
    """
    (fits,) = refits(fit, [fit], size, rng)
    if fits.failed.all():
        raise ParameterError(f"all {size} refits failed, the first with: {fits.reason[0]}; look at the model first")
    draws = _of(kinds, fits.parameters()[~fits.failed])
    undefined = {name: int(draws[name].isna().sum()) for name, kind in kinds.items() if kind[0] in ("corr", "rho")}
    return draws, {"failed": int(fits.failed.sum()), "undefined": undefined}
