"""fit_glmm with successes of trials finds the optima that another program found, by Laplace and by 80 nodes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

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
