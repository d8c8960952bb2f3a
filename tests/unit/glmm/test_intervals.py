"""Standard errors and limits: the delta method against differences, singular fits, coverage."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from lmmlib.glmm.fit import fit_glmm_design
from lmmlib.laplace.curvature import covariance, whitening, without_curvature
from tests.unit.glmm.designs import design, differences


@pytest.mark.parametrize("diagonal", [False, True])
def test_the_delta_method_is_that_of_differences(diagonal):
    fit = fit_glmm_design(design(q=2, n=40, diagonal=diagonal))
    Rx, Rz, B = fit.rows.basis.Rx, fit.rows.basis.Rz, fit.rows.coordinates

    def values(psi):
        half = np.linalg.solve(Rz, np.tensordot(psi[2:], B, 1))
        D = half @ half.T
        sd = np.sqrt(np.diag(D))
        return np.array([*np.linalg.solve(Rx, psi[:2]), *sd, *([] if diagonal else [D[0, 1] / sd.prod()])])

    G = differences(values, fit.psi).T
    assert_allclose(fit.parameters(), values(fit.psi), rtol=1e-10)
    assert_allclose(fit.cov_parameters(), G @ fit.cov_psi @ G.T, rtol=1e-6, atol=1e-10)
    names = ["x0", "x1", "sd z0", "sd z1"] + ([] if diagonal else ["corr z0, z1"])
    assert list(fit.parameters().index) == names == list(fit.cov_parameters().index)
    assert_allclose(np.sqrt(np.diag(fit.cov_parameters()))[:2], fit.se)


def test_limits():
    fit = fit_glmm_design(design(q=2, n=40))
    table, z = fit.confint(0.9), norm.ppf(0.95)
    assert_allclose(table.lower.iloc[0], fit.beta.iloc[0] - z * fit.se.iloc[0])
    sd = table.loc["sd z0"]
    assert_allclose(np.log([sd.lower, sd.upper]), np.log(sd.estimate) + z * np.array([-1, 1]) * sd.se / sd.estimate)
    r = table.loc["corr z0, z1"]
    assert -1 < r.lower < r.estimate < r.upper < 1
    assert_allclose(np.arctanh(r.upper) - np.arctanh(r.estimate), z * r.se / (1 - r.estimate**2))
    coefficients = fit.fixed_effects()
    assert_allclose(coefficients.ratio, np.exp(fit.beta))
    assert_allclose(coefficients.p, 2 * norm.sf(np.abs(fit.beta / fit.se)))


def test_a_singular_fit_has_no_limits_for_its_variances():
    d = design(n=20)
    fit = fit_glmm_design(d.with_response(np.full(d.n_obs, 3.0)))
    table = fit.confint()
    assert fit.is_singular and table.loc["sd z0", ["se", "lower", "upper"]].isna().all()
    assert table.iloc[:2].notna().all(axis=None)


@pytest.mark.parametrize("units", [(1.0, 1e9), (1e-9, 1.0), (1e-9, 1e-9), (1e9, 1e9)])
def test_units_make_no_direction_flat(units):
    """Curvatures of 1 and 1e18 beside each other, as of an intercept beside a slope of counts in the millions."""
    R, units = np.array([[1.0, 0.5], [0.5, 1.0]]), np.array(units)
    H = -R * np.outer(units, units)
    assert_allclose(covariance(H, 2), np.linalg.inv(R) / np.outer(units, units), rtol=1e-12)


def test_like_curvatures_are_whitened_in_any_unit():
    for unit in (1e-9, 1.0, 1e9):
        H = -(unit**2) * np.array([[1.0, 0.5], [0.5, 2.0]])
        A = whitening(H, 3.0)
        assert_allclose(-A.T @ H @ A, 3 * np.eye(2), atol=1e-10)
        assert not without_curvature(H).any()


def test_covariance_is_minus_the_inverse():
    """As printed in the document, without the minus, all variances would be negative."""
    H = -np.array([[4.0, 1.0], [1.0, 3.0]])
    assert_allclose(covariance(H), np.linalg.inv(-H))
    assert (np.diag(np.linalg.inv(H)) < 0).all()
    assert np.isnan(covariance(-H)).all()
    flat = covariance(np.diag([-4.0, 0.0]))
    assert_allclose(flat, np.diag([0.25, 0.0]))
    # A fixed effect in tiny units beside another: small curvature is not none.
    assert_allclose(covariance(np.diag([-1e-14, -1.0]), 1), np.diag([1e14, 1.0]), rtol=1e-12)


def test_intervals_cover():
    """Wald limits of the slope hold the truth in 95 % of 400 samples, and those of half the width do not."""
    from lmmlib.glmm.rows import Rows
    from lmmlib.glmm.search import maximise

    d, rng = design(q=1, n=40, level=1.0), np.random.default_rng(6)
    truth = fit_glmm_design(d)
    slope, inside, half = truth.beta.iloc[1], 0, 0
    for y in truth.simulate(400, rng=rng).T:
        c = Rows.of(d.with_response(y))
        peak = maximise(c)
        cov = np.linalg.inv(c.basis.Rx) @ covariance(peak.hessian)[:2, :2] @ np.linalg.inv(c.basis.Rx).T
        z = abs(np.linalg.solve(c.basis.Rx, peak.psi[:2])[1] - slope) / np.sqrt(cov[1, 1])
        inside, half = inside + (z < 1.96), half + (z < 0.98)
    # Binomial: 380 with a standard deviation of 4.4; the half width covers 67 %.
    assert abs(inside - 380) < 5 * 4.4 and half < 320
