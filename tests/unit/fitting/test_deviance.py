"""The profiled deviance: its value by the likelihoods, its derivatives by differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense, equations
from lmmlib.design.responses import Responses
from lmmlib.equations import pieces as pieces_module
from lmmlib.fitting.deviance import degrees, deviance, surface

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
    B = cross.theta_coordinates
    d = deviance(cross, theta_of(B), B, method)
    half = np.linalg.solve(cross.basis.Rz, np.tensordot(d.theta, B, 1))
    loglik = equations.profile_loglik if method == "ML" else equations.restricted_loglik
    at_best = loglik(cross, d.sigma2 * half @ half.T, d.sigma2)
    assert_allclose(d.value, -2 * at_best, rtol=1e-13)
    for factor in (0.9, 1.1):
        assert loglik(cross, factor * d.sigma2 * half @ half.T, factor * d.sigma2) < at_best


def test_derivatives(cross, method):
    B = cross.theta_coordinates
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
    B = cross.theta_coordinates
    half = np.linalg.solve(cross.basis.Rz, np.tensordot([0.9, 0.2], B, 1))
    length = np.linalg.norm(cross.basis.Rz, axis=0)  # what keeps theta of order one in any units
    assert_allclose(half, np.diag([0.9, 0.2] / length), atol=1e-12)


# ---------------------------------------------------------------- many theta, many responses


def shifted(cross, many=4):
    """Several theta, negative entries and zero among them."""
    B = cross.theta_coordinates
    theta = 0.3 * np.random.default_rng(8).standard_normal((many, len(B)))
    theta[-1] = 0.0
    return B, theta


PARTS = ("value", "gradient", "hessian", "beta", "sigma2", "R_inverse")


def test_many_theta_are_the_single_ones(cross, method):
    B, theta = shifted(cross)
    together = deviance(cross, theta, B, method)
    assert together.value.shape == (4,) and together.hessian.shape == (4, len(B), len(B))
    for k, one in enumerate(theta):
        alone = deviance(cross, one, B, method)
        assert alone.value.shape == ()
        for name in PARTS:
            # beta is kept less the OLS estimate, near zero in a nearly balanced design.
            assert_allclose(getattr(together, name)[k], getattr(alone, name), rtol=1e-11, atol=1e-9)


def test_many_responses_are_the_single_ones(method):
    sleep = lmmlib.load("sleep")
    design = lmmlib.build_design(FORMULAS[0], sleep[sleep.index % 7 != 3])
    cross = lmmlib.cross_products(design)
    Y = design.y[:, None] + 30 * np.random.default_rng(4).standard_normal((design.n_obs, 4))
    B, theta = shifted(cross)
    together = deviance(cross, theta, B, method, Responses.of_columns(cross, design, Y))
    same_theta = deviance(cross, np.tile(theta[1], (4, 1)), B, method, Responses.of_columns(cross, design, Y))
    for k, y in enumerate(Y.T):
        own = lmmlib.cross_products(design.with_response(y))
        for at, many in ((theta[k], together), (theta[1], same_theta)):
            alone = deviance(own, at, B, method)
            for name in ("value", "gradient", "hessian", "sigma2", "R_inverse"):
                scale = np.abs(getattr(alone, name)).max()
                assert_allclose(getattr(many, name)[k], getattr(alone, name), rtol=1e-9, atol=1e-10 * scale)


@pytest.mark.parametrize("block", [1, 30, 10**9])
def test_blocks_of_groups_add_up(cross, method, monkeypatch, block):
    B, theta = shifted(cross)
    whole = deviance(cross, theta, B, method)
    monkeypatch.setattr(pieces_module, "BLOCK", block)
    parts = deviance(cross, theta, B, method)
    for name in PARTS:
        assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-10, atol=1e-9)


def test_the_two_parts_and_their_derivatives(cross, method):
    """h and r2 by the dense matrices, their gradients and Hessians by differences."""
    B, theta = cross.theta_coordinates, theta_of(cross.theta_coordinates, 3)
    data, reml, e = Responses.of_cross(cross), method == "REML", 1e-5

    def at(point):
        return surface(cross, data, point[None], B, reml)

    here = at(theta)
    ends = [(at(theta + d), at(theta - d)) for d in e * np.eye(len(B))]
    for part in ("h", "r2"):
        value, gradient, hessian = (getattr(here, part + end)[0] for end in ("", "_gradient", "_hessian"))
        slope = np.array([(getattr(a, part)[0] - getattr(b, part)[0]) / (2 * e) for a, b in ends])
        bend = np.array(
            [(getattr(a, part + "_gradient") - getattr(b, part + "_gradient"))[0] / (2 * e) for a, b in ends]
        )
        # Central differences: rounding 1e-16 |value| / e, truncation e^2.
        assert_allclose(gradient, slope, rtol=1e-6, atol=1e-10 * abs(value))
        assert_allclose(hessian, bend, rtol=1e-6, atol=1e-8 * np.abs(bend).max())
        assert_allclose(hessian, hessian.T, rtol=0)


def test_the_two_parts_are_those_of_the_dense_matrices(method):
    sleep = lmmlib.load("sleep")
    design = lmmlib.build_design(FORMULAS[0], sleep[sleep.index % 7 != 3])
    cross = lmmlib.cross_products(design)
    B = cross.theta_coordinates
    theta = theta_of(B, 3)
    half = np.linalg.solve(cross.basis.Rz, np.tensordot(theta, B, 1))
    V0 = dense.V(design, half @ half.T, 1.0)
    W = np.linalg.inv(V0)
    s = surface(cross, Responses.of_cross(cross), theta[None], B, method == "REML")
    h = np.linalg.slogdet(V0)[1]
    h += np.linalg.slogdet(design.X.T @ W @ design.X)[1] if method == "REML" else 0.0
    assert_allclose(s.h[0], h, rtol=1e-12)
    assert_allclose(s.r2[0], design.y @ dense.projection(design, half @ half.T, 1.0) @ design.y, rtol=1e-10)


def test_degrees_are_n_or_n_less_p(cross):
    n_fixed = len(cross.x_names)
    assert degrees(cross, "ML") == cross.n_obs and degrees(cross, "REML") == cross.n_obs - n_fixed


def test_no_digits_left_is_nan_for_that_response_alone(cross, method):
    """At an L of 1e12 X'V0^-1X is rounding: no error, no value, and the neighbour is what it was."""
    B = cross.theta_coordinates
    theta = np.stack([theta_of(B), np.full(len(B), 1e12)])
    d = deviance(cross, theta, B, method)
    assert not np.isfinite(d.value[1]) or d.sigma2[1] > 0
    assert_allclose(d.value[0], deviance(cross, theta[0], B, method).value, rtol=1e-13)
