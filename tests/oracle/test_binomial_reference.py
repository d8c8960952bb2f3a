"""fit_glmm with successes of trials finds the optima that other programs found, by Laplace and by many nodes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.glmm.fit import fit_glmm

FOLDER = Path(__file__).parents[1] / "reference" / "binomial"
METHODS = {"cbpp_laplace": {"method": "laplace"}, "cbpp_exact": {"method": "aghq", "n_quadrature": 80}}


@pytest.mark.parametrize("kind", METHODS)
def test_optimum(kind):
    stored = json.loads((FOLDER / "cbpp.json").read_text())[kind]
    frame = pd.read_csv(FOLDER / "cbpp.csv")
    fit = fit_glmm("incidence ~ C(period) + (1 | herd)", frame, "binomial", trials="size", **METHODS[kind])
    # Its largest gradient is 1e-10, so that its parameters have ten digits.
    assert fit.converged
    assert_allclose(fit.beta, stored["beta"], rtol=0, atol=1e-9)
    assert_allclose(np.sqrt(fit.D.iloc[0, 0]), stored["sd"], rtol=0, atol=1e-9)
    assert_allclose(fit.loglik, stored["loglik"], rtol=0, atol=1e-9)
    # Its standard errors are by differences of its gradient.
    assert_allclose(fit.se, stored["se_beta"], rtol=1e-7)
    se_log_sd = np.sqrt(fit.cov_parameters().iloc[-1, -1]) / stored["sd"]
    assert_allclose(se_log_sd, stored["se_log_sd"], rtol=1e-6)


@pytest.mark.parametrize("kind", ["scipy", "nAGQ_1", "nAGQ_50"])
def test_trial_in_eight_centres(kind):
    """The exact optimum by SciPy alone, and both fits of lme4's glmer."""
    stored = json.loads((FOLDER / "cream.json").read_text())
    answer = stored["cream_scipy"] if kind == "scipy" else stored["cream_glmer"][kind]
    how = {"method": "laplace"} if kind == "nAGQ_1" else {"method": "aghq", "n_quadrature": 50}
    fit = fit_glmm("cured ~ treatment + (1 | centre)", lmmlib.load("cream"), "binomial", trials="patients", **how)
    # SciPy's Newton steps are on differences; glmer stops at steps of 1e-11, and its errors are by differences.
    assert_allclose(fit.beta, answer["beta"], rtol=0, atol=1e-6)
    assert_allclose(fit.D.iloc[0, 0], answer.get("variance", answer.get("sd", 0) ** 2), rtol=1e-6)
    assert_allclose(fit.se, answer["se_beta"], rtol=1e-6)
    if "loglik" in answer:
        assert_allclose(fit.loglik, answer["loglik"], rtol=0, atol=1e-8)
    if "se_log_sd" in answer:
        assert_allclose(np.sqrt(fit.cov_parameters().iloc[-1, -1]) / answer["sd"], answer["se_log_sd"], rtol=1e-6)
