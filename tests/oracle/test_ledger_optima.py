"""The mixed models in the ledger: the reference is the optimum in 60-digit arithmetic, the stop is lme4's."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib import equations
from lmmlib.book import datasets
from tests.oracle.conftest import REFERENCE, case

LEDGER = datasets.published().set_index("id")
FITS = {
    "001-dental-ml": "orthodont_age_ml",
    "001-dental-reml": "orthodont_age_reml",
    "003-lead-week-1-id": "tlc_week_reml",
    "003-lead-week-treatment-1-id": "tlc_week_treat_reml",
    "003-lead-week-week-id-placebo-only": "tlc_placebo_slope_reml",
}
NAMES = {"(Intercept)": "intercept"}


def exact(name):
    return json.loads((REFERENCE / "exact" / f"{name}.json").read_text())


def optimum(name):
    """{end of an id: value} of what an optimum in tests/reference/exact says."""
    fit = exact(name)
    names = [NAMES.get(one, one) for one in fit["coef_names"]]
    random = names[: len(fit["varcorr"]["sd"])]
    cov = np.array(fit["vcov_fixef"])
    said = {"reml-criterion": fit["criterion"], "variance-residual": fit["sigma2"]}
    said["standard-deviation-residual"] = fit["sigma"]
    for k, one in enumerate(names):
        said |= {f"estimate-of-{one}": fit["fixef"][k], f"standard-error-of-{one}": fit["se"][k]}
        said |= {f"t-of-{one}": fit["fixef"][k] / fit["se"][k]}
        said |= {f"satterthwaite-df-of-{one}": fit["satterthwaite_df"][k]}
    for prefix in ("", "id-"):
        for k, one in enumerate(random):
            said[f"standard-deviation-{prefix}{one}"] = fit["varcorr"]["sd"][k]
            said[f"variance-{prefix}{one}"] = fit["varcorr"]["cov"][k][k]
    said["correlation-of-random-intercept-and-slope"] = fit["varcorr"]["corr"][0][-1]
    corr = cov / np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    said["correlation-of-fixed-effects-week-with-intercept"] = corr[0, 1]
    said["correlation-of-fixed-effects-treatment-with-intercept"] = corr[0, -1]
    said["correlation-of-fixed-effects-treatment-with-week"] = corr[1, -1]
    return said


@pytest.mark.parametrize("prefix", FITS)
def test_the_reference_is_the_optimum(prefix):
    said = optimum(FITS[prefix])
    rows = LEDGER[LEDGER.index.str.startswith(f"{prefix}-")]
    # All but the scaled residuals and the p-values, which tests/unit/equations and lme4's answers hold.
    ends = [id.removeprefix(f"{prefix}-") for id in rows.index]
    held = [end for end in ends if end in said]
    assert {end for end in ends if end not in said} <= {
        *(f"scaled-residual-{q}" for q in ("minimum", "first-quartile", "median", "third-quartile", "maximum")),
        *(f"p-value-of-{one}" for one in ("week", "treatmentsuccimer")),
    }
    assert len(held) >= 10
    for end in held:
        value = rows.loc[f"{prefix}-{end}", "reference"]
        assert_allclose(value, said[end], rtol=1e-13, atol=1e-15, err_msg=end)


@pytest.mark.parametrize("prefix", [prefix for prefix in FITS if prefix.startswith("003")])
def test_the_stop_is_that_of_lme4(prefix):
    stored = case(FITS[prefix]).lme4["lme4_default_control"]
    stopped = LEDGER["stopped"].rename(lambda id: id.removeprefix(f"{prefix}-"))
    theta, sigma = list(stored["theta"].values()), stored["sigma"]
    assert_allclose(stopped["standard-deviation-residual"], sigma, rtol=1e-13)
    assert_allclose(stopped["standard-deviation-id-intercept"], theta[0] * sigma, rtol=1e-13)
    for name, value in stored["fixef"].items():
        one = NAMES.get(name, name)
        assert_allclose(stopped[f"estimate-of-{one}"], value, rtol=1e-13)
        assert_allclose(stopped[f"standard-error-of-{one}"], stored["se"][name], rtol=1e-13)


def gradient(function, steps):
    """The gradient of a function by differences of sixth order, as a function."""
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}

    def at(point):
        moves = np.diag(steps)
        return np.array(
            [
                sum(w * (function(point + j * h) - function(point - j * h)) for j, w in weights.items()) / h.sum()
                for h in moves
            ]
        )

    return at


def satterthwaite_in_theta_and_sigma(cross, k, point, steps):
    """2 f^2 / (g' A g) for the variance f of fixed effect k, with A from the Hessian in theta and sigma."""

    def moments(theta_sigma):
        *theta, sigma = theta_sigma
        L = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
        return sigma**2 * L @ L.T, sigma**2

    def criterion(theta_sigma):
        return -2 * equations.restricted_loglik(cross, *moments(theta_sigma))

    def variance(theta_sigma):
        return equations.gls(cross, *moments(theta_sigma)).cov[k, k]

    A = 2 * np.linalg.inv(gradient(gradient(criterion, steps), steps)(point))
    g = gradient(variance, steps)(point)
    return 2 * variance(point) ** 2 / (g @ A @ g)


@pytest.mark.parametrize(("k", "name"), enumerate(["intercept", "week"]))
def test_the_degrees_of_freedom_are_those_of_the_stop(k, name):
    """49.0108 and 49.0007 are Satterthwaite's formula in lmerTest's parameters, where lme4 stopped: no noise."""
    one = case("tlc_placebo_slope_reml")
    stored = one.lme4["lme4_default_control"]
    printed = LEDGER.loc[f"003-lead-week-week-id-placebo-only-satterthwaite-df-of-{name}"]
    stop = np.array([*stored["theta"].values(), stored["sigma"]])
    best = np.array([*one.exact["theta"], one.exact["sigma"]])
    steps = 0.05 * np.sqrt(np.diag(one.exact["vcov_theta_sigma"]))
    at_stop = satterthwaite_in_theta_and_sigma(one.cross, k, stop, steps)
    assert abs(at_stop - printed["stopped"]) < 5e-6 < abs(at_stop - 49) / 100
    assert abs(satterthwaite_in_theta_and_sigma(one.cross, k, best, steps) - 49) < 1e-6
    assert printed["reference"] == 49
