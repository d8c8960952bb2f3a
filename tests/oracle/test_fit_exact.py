"""lmmlib.fit finds the optima that 60-digit arithmetic found.

Tolerances: the criterion is flat at its minimum, so the optimiser's error in theta enters squared; 1e-8 is far above
the rounding of a sum of 400 terms of size 10. theta is where Newton's step stops, 1e-7 at worst.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.lmm.fit import fit_design


@pytest.fixture
def fitted(fit):
    return fit_design(fit.design, method=fit.method)


def test_criterion(fit, fitted):
    assert_allclose(fitted.criterion, fit.exact["criterion"], rtol=0, atol=1e-8)
    assert_allclose(fitted.loglik, fit.exact["loglik"], rtol=0, atol=1e-8)
    assert fitted.converged and not fitted.is_singular


def test_theta_and_variances(fit, fitted):
    assert_allclose(fitted.theta, fit.exact["theta"], rtol=0, atol=1e-6)
    assert_allclose(fitted.sigma2, fit.exact["sigma2"], rtol=1e-7)
    D = np.diag(np.diag(fit.D)) if fit.design.diagonal else fit.D
    assert_allclose(fitted.D, D, rtol=1e-6, atol=1e-6 * np.abs(D).max())


def test_fixed_effects(fit, fitted):
    assert list(fitted.beta.index) == fit.exact["coef_names"]
    assert_allclose(fitted.beta, fit.exact["fixef"], rtol=1e-7)
    assert_allclose(fitted.se, fit.exact["se"], rtol=1e-7)


def test_aic_and_bic_count_as_lme4(fit, fitted):
    assert_allclose([fitted.aic, fitted.bic], [fit.lme4["AIC"], fit.lme4["BIC"]], rtol=0, atol=1e-7)


def test_planting_density_has_a_covariance_of_rank_one():
    curve = "density + I(density**2)"
    reml = lmmlib.fit(f"yield ~ {curve} + ({curve} | block)", lmmlib.load("planting"))
    assert reml.is_singular and reml.converged
    assert_allclose(reml.sigma2, 0.69872, atol=5e-6)
    r = lmmlib.equations.moments.correlation(reml.D.to_numpy())
    assert_allclose(r[np.tril_indices(3, -1)], [-1, 1, -1], atol=1e-6)
