"""What a fit is: frozen, with its way to the optimum and its criteria."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib


def grouped(seed=1, tau=0.0, n_groups=20, n_i=5):
    """y on a covariate of the group, with or without a random intercept."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": np.repeat(np.arange(n_groups), n_i), "x": np.repeat(rng.normal(size=n_groups), n_i)})
    frame["t"] = np.tile(np.arange(n_i, dtype=float), n_groups)
    b = np.repeat(rng.normal(size=n_groups), n_i)
    return frame.assign(y=1 + 2 * frame["x"] + 0.3 * frame["t"] + tau * b + rng.normal(size=len(frame)))


def test_a_fit_is_frozen_and_keeps_its_way():
    fitted = lmmlib.fit("y ~ x + (1 | g)", grouped(tau=1.0), method="ML")
    with pytest.raises(AttributeError):
        fitted.sigma2 = 1.0
    assert fitted.log[-1].deviance == pytest.approx(fitted.criterion, abs=1e-9)
    assert "gradient" in fitted.reason


@pytest.mark.parametrize("formula", ["y ~ x + t + (t | g)", "y ~ x + t + (t || g)", "y ~ t + (0 | g)"])
def test_the_covariance_of_the_search_is_that_at_its_end(formula):
    fitted = lmmlib.fit(formula, grouped(tau=1.0))
    again = replace(fitted)
    assert "Phi" in vars(fitted) and "Phi" not in vars(again)
    assert_allclose(fitted.Phi, again.Phi, rtol=1e-10, atol=1e-14)
    assert_allclose(fitted.cross.basis.cov_beta_back(fitted.Phi), fitted.cov_beta, rtol=1e-12)


def test_criteria_count_the_parameters():
    fitted = lmmlib.fit("y ~ x + t + (t | g)", grouped(tau=1.0), method="ML")
    assert fitted.n_parameters == 3 + 3 + 1 and fitted.criterion == -2 * fitted.loglik
    assert fitted.aic == pytest.approx(fitted.criterion + 14, rel=1e-14)
    assert fitted.bic == pytest.approx(fitted.criterion + 7 * np.log(100), rel=1e-14)
    assert lmmlib.fit("y ~ x + t + (t || g)", grouped(tau=1.0)).n_parameters == 3 + 2 + 1
