r"""Variance components as a table: variances, standard deviations, correlations and the ICC, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from lmmlib.held import HeldRatio, Peak
from lmmlib.intervals import bootstrap_draws, checked_interval_method, confint, parameters, variance_covariance
from lmmlib.parameters import checked_level
from lmmlib.profile import reach

if TYPE_CHECKING:
    from lmmlib.fit import Fit


def variance_components(
    fit: Fit, level: float = 0.95, method: str = "profile", size: int = 1000, rng=None
) -> pd.DataFrame:
    r"""The random part of a fit, with confidence intervals.

    Parameters
    ----------
    fit : Fit
    level : float
    method : {"profile", "wald", "bootstrap"}
        As :func:`lmmlib.intervals.confint`, whose limits these are; those of a variance are the squares of those of
        its root.
    size : int
        Bootstrap samples.
    rng : numpy.random.Generator
        For the bootstrap.

    Returns
    -------
    DataFrame
        ``term``, ``quantity`` ("variance", "sd", "correlation", "icc"), ``estimate``, ``lower``, ``upper``. The ICC
        :eq:`icc` is there for a random intercept alone.
    """
    checked_interval_method(method)
    names = list(parameters(fit).index[len(fit.beta) :])
    state = rng.bit_generator.state if method == "bootstrap" and isinstance(rng, np.random.Generator) else None
    limits = confint(fit, method, level, names, size, rng)[["estimate", "lower", "upper"]]
    rows = []
    for name in names:
        if name.startswith("corr "):
            rows.append((name.removeprefix("corr "), "correlation", *limits.loc[name]))
        else:
            term = "Residual" if name == "sigma" else name.removeprefix("sd ")
            rows.append((term, "variance", *(limits.loc[name] ** 2)))
            rows.append((term, "sd", *limits.loc[name]))
    if list(fit.D.index) == ["(Intercept)"]:
        if state is not None:
            rng.bit_generator.state = state  # the same refits again
        rows.append(("(Intercept)", "icc", *_icc(fit, level, method, size, rng)))
    return pd.DataFrame(rows, columns=["term", "quantity", "estimate", "lower", "upper"])


def _icc(fit: Fit, level: float, method: str, size: int, rng) -> tuple[float, float, float]:
    """The intraclass correlation with its limits: by profile, those of tau over sigma, of which it is a function."""
    tau2, sigma2 = fit.D.to_numpy()[0, 0], fit.sigma2
    estimate = tau2 / (tau2 + sigma2)
    if method == "bootstrap":
        (_, D, s2), _ = bootstrap_draws(fit, size, rng)
        rho = D[:, 0, 0] / (D[:, 0, 0] + s2)
        return estimate, *np.quantile(rho, [(1 - level) / 2, (1 + level) / 2])
    if method == "profile":
        root, model = np.sqrt(chi2.ppf(checked_level(level), 1)), HeldRatio(Peak.of(fit.cross, fit.method))
        ends = np.array([reach(model, -root), reach(model, root)]) ** 2
        return estimate, *(ends / (1 + ends))
    A = variance_covariance(fit)  # of tau2 and sigma2: the delta method for the logit, log tau2 - log sigma2
    slope = np.array([1 / tau2, -1 / sigma2]) if tau2 > 0 else np.full(2, np.nan)
    se, z = np.sqrt(slope @ A @ slope), norm.ppf((1 + level) / 2)
    logit = np.log(tau2 / sigma2) if tau2 > 0 else np.nan
    return estimate, *(1 / (1 + np.exp(-(logit + np.array([-z, z]) * se))))
