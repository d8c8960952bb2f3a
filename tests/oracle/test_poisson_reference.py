"""fit_glmm finds the optima of the Laplace and of the exact likelihood that 60-digit arithmetic found.

Also TMB's and glmmTMB's standard errors of the modes, which include the uncertainty of the parameters, and glmer's,
which do not. What other programs print is no better than their own stopping rules; tolerances follow those.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import poisson

from lmmlib.glmm.fit import fit_glmm

FOLDER = Path(__file__).parents[1] / "reference" / "poisson"
NAMES = ["pois_4x2", "pois_50x10", "pois_50x10_low"]
FORMULA = "count ~ 1 + (1 | site)"
METHODS = {"laplace": {"method": "laplace"}, "exact": {"method": "aghq", "n_quadrature": 40}}


def frame(name):
    return pd.read_csv(FOLDER / f"{name}.csv")


def stored(file, name):
    return json.loads((FOLDER / file).read_text())[name]


@pytest.fixture(params=[(name, kind) for name in NAMES for kind in METHODS], ids="-".join)
def case(request):
    name, kind = request.param
    return fit_glmm(FORMULA, frame(name), **METHODS[kind]), stored("exact.json", name)[kind]


def test_optimum(case):
    fit, exact = case
    mu, sigma, loglik = (float(exact[key]) for key in ("mu", "sigma", "logLik"))
    assert fit.converged and not fit.is_singular
    # The answers have 15 digits; so do the derivatives, and Newton's method stops where they are zero.
    assert_allclose([fit.beta.iloc[0], fit.theta[0]], [mu, sigma], rtol=0, atol=1e-10)
    assert_allclose(fit.loglik, loglik, rtol=0, atol=1e-9)
    assert_allclose(fit.aic, 4 - 2 * loglik, rtol=0, atol=1e-8)


def test_standard_errors(case):
    fit, exact = case
    cov, sigma = fit.cov_parameters().to_numpy(), float(exact["sigma"])
    # With quadrature the Hessian is a difference of gradients.
    close = {"rtol": 1e-9 if fit.method == "laplace" else 1e-7}
    assert_allclose(fit.se.iloc[0], float(exact["se_mu"]), **close)
    assert_allclose(np.sqrt(cov[1, 1]) / sigma, float(exact["se_log_sigma"]), **close)
    assert_allclose(cov[0, 1] / sigma, float(exact["cov"]), rtol=1e-6)


def test_modes_and_their_conditional_errors(case):
    fit, exact = case
    modes = fit.modes()
    assert_allclose(modes.b.iloc[:, 0], exact["modes"], rtol=0, atol=1e-9)
    assert_allclose(modes.se("known").iloc[:, 0], exact["mode_se_conditional"], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_full_errors_of_the_modes_are_those_of_tmb(name):
    fit, reference = fit_glmm(FORMULA, frame(name)), stored("poisson_fits.json", name)
    se = fit.modes().se("estimated").iloc[:, 0]
    # sdreport's Hessian is made of differences; glmmTMB stops at 2e-5.
    assert_allclose(se, reference["TMB"]["mode_se"], rtol=2e-6)
    assert_allclose(se, reference["glmmTMB"]["mode_se"], rtol=1e-4)
    assert_allclose(fit.modes().se("known").iloc[:, 0], reference["glmer_nAGQ1"]["mode_se"], rtol=2e-5)
    assert_allclose(fit.loglik, reference["TMB"]["logLik"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_the_loglik_of_quadrature_in_glmer_lacks_the_saturated_one(name):
    y = frame(name)["count"].to_numpy()
    theirs = stored("poisson_fits.json", name)["glmer_nAGQ25"]["logLik"]
    ours = fit_glmm(FORMULA, frame(name), method="aghq").loglik
    assert_allclose(ours, theirs + poisson.logpmf(y, y).sum(), rtol=0, atol=1e-6)
    assert abs(ours - theirs) > 10


@pytest.mark.parametrize("name", NAMES)
def test_more_nodes_come_closer(name):
    exact = float(stored("exact.json", name)["exact"]["logLik"])
    errors = [
        abs(fit_glmm(FORMULA, frame(name), method="aghq", n_quadrature=k).loglik - exact) for k in (1, 5, 9, 15, 25)
    ]
    assert all(b < a / 3 for a, b in zip(errors, errors[1:], strict=False)) and errors[-1] < 1e-9
    laplace = float(stored("exact.json", name)["laplace"]["logLik"])
    assert errors[0] == pytest.approx(abs(laplace - exact), abs=1e-9)


def test_the_constant_of_laplace_matters():
    """Without (q/2) log 2 pi a group the value of the document appears: 3.7 lower."""
    fit = fit_glmm(FORMULA, frame("pois_4x2"))
    assert_allclose(fit.loglik - 2 * np.log(2 * np.pi), -27.286, atol=5e-4)


def test_laplace_is_not_the_exact_likelihood():
    """Negative control: the two optima differ by more than all tolerances here."""
    for name in NAMES:
        answers = stored("exact.json", name)
        assert abs(float(answers["laplace"]["sigma"]) - float(answers["exact"]["sigma"])) > 3e-4
        fit = fit_glmm(FORMULA, frame(name))
        gap = float(answers["laplace"]["logLik"]) - float(answers["exact"]["logLik"])
        assert fit.laplace_error() < -0.015 and fit.laplace_error() == pytest.approx(gap, abs=2e-3)
