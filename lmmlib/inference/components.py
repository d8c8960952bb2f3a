r"""Variance components as a table: variances, standard deviations, correlations and the ICC, with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from lmmlib.common.arguments import checked_level
from lmmlib.common.tails import half_width
from lmmlib.equations.moments import icc
from lmmlib.equations.names import parameter_names
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.held_parameters import HeldRatio
from lmmlib.inference.intervals import (
    bootstrap_draws,
    checked_interval_method,
    confint,
    percentile_limits,
    variance_covariance,
)
from lmmlib.inference.profile import reach


def variance_components(
    fit: Fitted, level: float = 0.95, method: str = "profile", size: int = 1000, rng=None
) -> pd.DataFrame:
    r"""The random part of a fit, with confidence intervals.

    Those of standard deviations and correlations are by :func:`lmmlib.inference.intervals.confint`, those of a variance
    are their squares. The intraclass correlation :math:`\rho = r^2 / (1 + r^2)`, equation :eq:`icc` of the book, rises
    with
    :math:`r = \tau/\sigma`: its profile limits are those of r, equation :eq:`profile-interval`; by "wald" they are
    those of logit :math:`\rho`.

    Parameters
    ----------
    fit : Fit
    level : float
        Coverage of each interval by itself.
    method : {"profile", "wald", "bootstrap"}
    size : int
        Bootstrap samples.
    rng : numpy.random.Generator
        For the bootstrap.

    Returns
    -------
    DataFrame
        One row each for the ``quantity`` "variance" and "sd" of every random column and of the term "Residual",
        "correlation" of every pair, such as the term "(Intercept), week", and "icc", if the only random column is the
        intercept; ``estimate``, ``lower``, ``upper``. ``attrs`` as :func:`lmmlib.inference.intervals.confint` has them.

    Raises
    ------
    ParameterError
        If the method or the level is unknown, or the bootstrap has no generator.
    """
    checked_interval_method(method)
    level, names = checked_level(level), parameter_names(fit.design)
    kinds = {name: kind for name, kind in names.items() if kind[0] != "effect"}
    draws = None
    if method == "bootstrap":
        draws, failed = bootstrap_draws(fit, size, rng)
        limits = percentile_limits(fit, kinds, level, draws, failed)
    else:
        limits = confint(fit, method, level, list(kinds))
    rows = []
    for name, values in limits[["estimate", "lower", "upper"]].iterrows():
        if kinds[name][0] == "corr":
            rows.append((name.removeprefix("corr "), "correlation", *values))
        else:
            term = "Residual" if name == "sigma" else name.removeprefix("sd ")
            rows += [(term, "variance", *values**2), (term, "sd", *values)]
    if fit.cross.z_names == ("(Intercept)",):
        ends = {"profile": _icc_profile, "wald": _icc_wald, "bootstrap": _icc_bootstrap}[method](fit, level, draws)
        rows.append(("(Intercept)", "icc", icc(fit.D.iloc[0, 0], fit.sigma2), *ends))
    table = pd.DataFrame(rows, columns=["term", "quantity", "estimate", "lower", "upper"])
    table.attrs.update(limits.attrs)
    return table


def _icc_profile(fit: Fitted, level: float, draws) -> np.ndarray:
    root, model = half_width(level), HeldRatio(fit)
    ratio2 = np.array([reach(model, -root), reach(model, root)]) ** 2
    return 1 - 1 / (1 + ratio2)


def _icc_wald(fit: Fitted, level: float, draws) -> np.ndarray:
    A = variance_covariance(fit)
    if not np.isfinite(A).all():
        return np.full(2, np.nan)
    tau2, sigma2 = fit.D.iloc[0, 0], fit.sigma2
    slope = np.array([1 / tau2, -1 / sigma2])  # of logit icc = log tau2 - log sigma2
    reach = half_width(level) * np.sqrt(slope @ A @ slope)
    return expit(logit(icc(tau2, sigma2)) + np.array([-reach, reach]))


def _icc_bootstrap(fit: Fitted, level: float, draws) -> np.ndarray:
    tau2, sigma2 = draws[1][:, 0, 0], draws[2]
    return np.quantile(tau2 / (tau2 + sigma2), [(1 - level) / 2, (1 + level) / 2])
