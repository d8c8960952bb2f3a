"""The profiled deviance: its value by the likelihoods, its derivatives by differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.deviance import deviance, theta_coordinates

FORMULAS = ["Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (Days || Subject)", "Reaction ~ 1 + (1 | Subject)"]


@pytest.fixture(params=FORMULAS)
def cross(request):
    sleep = lmmlib.load("sleep")
    return lmmlib.cross_products(lmmlib.build_design(request.param, sleep[sleep.index % 7 != 3]))


@pytest.fixture(params=["ML", "REML"])
def method(request):
    return request.param


def theta_of(B, seed=0):
    return 0.6 + 0.5 * np.random.default_rng(seed).standard_normal(len(B))


def test_value_is_the_likelihood_at_the_best_sigma2(cross, method):
    B = theta_coordinates(cross)
    d = deviance(cross, theta_of(B), B, method)
    half = np.linalg.solve(cross.basis.Rz, np.tensordot(d.theta, B, 1))
    loglik = lmmlib.profile_loglik if method == "ML" else lmmlib.restricted_loglik
    at_best = loglik(cross, d.sigma2 * half @ half.T, d.sigma2)
    assert_allclose(d.value, -2 * at_best, rtol=1e-13)
    for factor in (0.9, 1.1):
        assert loglik(cross, factor * d.sigma2 * half @ half.T, factor * d.sigma2) < at_best


def test_derivatives(cross, method):
    B = theta_coordinates(cross)
    here, h = theta_of(B), 1e-5
    d = deviance(cross, here, B, method)
    ends = [(deviance(cross, here + e, B, method), deviance(cross, here - e, B, method)) for e in h * np.eye(len(B))]
    # Central differences of a value near 1e3: rounding 1e-13 * 1e3 / h, truncation h^2.
    assert_allclose(d.gradient, [(a.value - b.value) / (2 * h) for a, b in ends], atol=1e-6)
    differences = np.array([(a.gradient - b.gradient) / (2 * h) for a, b in ends])
    assert_allclose(d.hessian, differences, rtol=1e-7, atol=1e-7 * np.abs(differences).max())


def test_a_diagonal_D_is_diagonal_for_the_columns_of_the_formula():
    design = lmmlib.build_design(FORMULAS[1], lmmlib.load("sleep"))
    cross = lmmlib.cross_products(design)
    B = theta_coordinates(cross)
    half = np.linalg.solve(cross.basis.Rz, np.tensordot([0.9, 0.2], B, 1))
    assert_allclose(half, np.diag([0.9, 0.2]), atol=1e-12)
