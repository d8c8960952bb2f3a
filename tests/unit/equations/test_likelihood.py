"""The three log-likelihoods: constants, relations among them, and the boundary."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

import lmmlib
from lmmlib import equations


def test_one_observation_by_hand():
    """y = 2 with mean 0 and variance D + sigma2 = 4: the normal density itself, 2 pi included."""
    cross = lmmlib.cross_products(lmmlib.Design.from_arrays([2.0], [[1.0]], [[1.0]], ["a"]))
    assert equations.loglik(cross, [0.0], 3.0, 1.0) == pytest.approx(norm.logpdf(2, 0, 2), abs=1e-14)


def test_profile_is_the_maximum_over_beta(cross, D):
    beta = equations.gls(cross, D, 0.8).beta
    top = equations.profile_loglik(cross, D, 0.8)
    assert equations.loglik(cross, beta, D, 0.8) == pytest.approx(top, abs=1e-12)
    for step in ([0.1, 0], [0, 0.1], [-0.1, 0.05]):
        drop = top - equations.loglik(cross, beta + step, D, 0.8)
        # Exactly quadratic in beta, with the information as its curvature.
        assert drop == pytest.approx(0.5 * np.array(step) @ equations.information_beta(cross, D, 0.8) @ step, rel=1e-9)


def test_restricted_is_profile_and_the_determinant(cross, D):
    information = equations.information_beta(cross, D, 0.8)
    difference = equations.restricted_loglik(cross, D, 0.8) - equations.profile_loglik(cross, D, 0.8)
    assert difference == pytest.approx(np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(information)[1], abs=1e-12)


def test_restricted_is_the_likelihood_integrated_over_beta():
    """One coefficient: the integral of exp(loglik) over beta, by quadrature."""
    from scipy.integrate import quad

    y, group = [1.0, 2.0, 4.0, 3.0, 0.5], [0, 0, 1, 1, 1]
    cross = lmmlib.cross_products(lmmlib.Design.from_arrays(y, np.ones((5, 1)), np.ones((5, 1)), group))
    integral, _ = quad(lambda b: np.exp(equations.loglik(cross, [b], 0.7, 1.3)), -20, 25, epsabs=0, epsrel=1e-11)
    assert equations.restricted_loglik(cross, 0.7, 1.3) == pytest.approx(np.log(integral), abs=1e-9)


def test_restricted_is_the_likelihood_of_error_contrasts(design, cross, D):
    """The density of K'y for orthonormal contrasts K'X = 0, plus a term of X alone; Harville (1974)."""
    from scipy.linalg import null_space
    from scipy.stats import multivariate_normal

    K = null_space(design.X.T)
    contrasts = multivariate_normal(cov=K.T @ lmmlib.dense.V(design, D, 0.8) @ K).logpdf(K.T @ design.y)
    # lme4's restricted likelihood leaves out |X'X|^(1/2), which neither D nor sigma2 move.
    constant = -0.5 * np.linalg.slogdet(design.X.T @ design.X)[1]
    assert equations.restricted_loglik(cross, D, 0.8) == pytest.approx(contrasts + constant, abs=1e-9)


def test_without_random_effects_it_is_that_of_independent_rows(design, cross):
    beta, zero = np.array([20.0, -1.0]), np.zeros((2, 2))
    independent = norm.logpdf(design.y, design.X @ beta, np.sqrt(0.8)).sum()
    assert equations.loglik(cross, beta, zero, 0.8) == pytest.approx(independent, abs=1e-10)


def test_groups_are_independent(design, cross, D):
    beta = [24.0, -1.0]
    parts = [equations.loglik(lmmlib.cross_products(design.take(design.rows(i))), beta, D, 0.8) for i in range(7)]
    assert equations.loglik(cross, beta, D, 0.8) == pytest.approx(sum(parts), abs=1e-10)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_boundary_is_approached_continuously(cross, rank):
    direction = np.outer([2.0, 1.0], [2.0, 1.0]) * rank
    at = equations.restricted_loglik(cross, direction, 0.8)
    near = [equations.restricted_loglik(cross, direction + e * np.eye(2), 0.8) for e in (1e-4, 1e-6, 1e-8)]
    assert_allclose(near, at, rtol=0, atol=1e-1)
    assert abs(near[2] - at) < 1e-5 < abs(near[0] - at)


def test_extreme_but_possible_variances(cross, D):
    for likelihood in (equations.profile_loglik, equations.restricted_loglik):
        assert np.isfinite(likelihood(cross, 1e-12 * D, 1e-6))
        assert np.isfinite(likelihood(cross, D, 1e12))
        assert np.isfinite(likelihood(cross, 1e6 * D, 1.0))
