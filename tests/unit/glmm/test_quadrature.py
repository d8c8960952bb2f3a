"""Adaptive quadrature: nodes, value against brute-force integrals, exact gradient."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.errors import ParameterError
from lmmlib.glmm import quadrature
from lmmlib.glmm.objective import Objective
from lmmlib.glmm.rows import Rows
from tests.unit.glmm.designs import design, differences, integral, offsets, with_offset


def slope(o, psi):
    """The log-likelihood by quadrature and its gradient."""
    return quadrature.loglik(o.slopes(psi), o.rule)


@pytest.mark.parametrize("q", [1, 2])
def test_the_rule_has_the_moments_of_the_normal(q):
    r = quadrature.rule(7, q)
    assert r.nodes.shape == (7**q, q)
    for power, moment in ((0, 1), (1, 0), (2, 1), (4, 3), (12, 10395)):
        assert_allclose(r.weights @ r.nodes[:, -1] ** power, moment, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("n", [0, -1, 2.5, True, 201, "9"])
def test_a_wrong_number_of_nodes_is_named(n):
    with pytest.raises(ParameterError, match="n_quadrature must be a whole number"):
        quadrature.rule(n, 1)


def test_three_random_effects_are_too_many():
    with pytest.raises(ParameterError, match="laplace"):
        quadrature.rule(5, 3)


@pytest.mark.parametrize(("q", "diagonal"), [(1, False), (2, False), (2, True)])
def test_one_node_is_laplace(q, diagonal):
    d = design(q=q, diagonal=diagonal)
    c = Rows.of(with_offset(d))
    one, laplace = Objective(c, "aghq", 1), Objective(c, "laplace", 1)
    psi = 0.5 * np.random.default_rng(1).normal(size=2 + len(one.rows.coordinates))
    value, gradient = slope(one, psi)
    assert_allclose(value, laplace.derivatives(psi)[0], rtol=1e-13)
    assert_allclose(gradient, laplace.derivatives(psi)[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("q", "diagonal", "nodes"), [(1, False, 2), (1, False, 9), (2, False, 5), (2, True, 4)])
def test_gradient(q, diagonal, nodes):
    d = design(q=q, diagonal=diagonal)
    o = Objective(Rows.of(with_offset(d)), "aghq", nodes)
    psi = 0.5 * np.random.default_rng(4).normal(size=2 + len(o.rows.coordinates))
    # As for Laplace.
    assert_allclose(slope(o, psi)[1], differences(lambda at: slope(o, at)[0], psi), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", [1, 2])
def test_converges_to_the_integral_over_one_effect(seed):
    d = design(seed, level=0.3)
    offset = offsets(d)
    c = Rows.of(replace(d, offset=offset))
    psi = np.array([0.3, 0.2, 0.9 * abs(c.basis.Rz[0, 0])])
    exact = integral(d, np.linalg.solve(c.basis.Rx, psi[:2]), np.array([[0.81]]), offset)
    errors = [abs(slope(Objective(c, "aghq", k), psi)[0] - exact) for k in (1, 5, 11, 25)]
    # One node is Laplace, which is visibly off.
    assert errors[0] > 1e-3 and errors[1] < errors[0] / 5 and errors[2] < errors[1] / 5 and errors[3] < 1e-8


def test_converges_to_the_integral_over_two_effects():
    d = design(3, q=2, n=4, level=0.3)
    c = Rows.of(d)
    L = np.array([[0.7, 0.0], [0.3, 0.5]])
    psi = np.array([0.3, 0.2, 0.7, 0.3, 0.5])
    half = np.linalg.solve(c.basis.Rz, L)
    exact = integral(d, np.linalg.solve(c.basis.Rx, psi[:2]), half @ half.T)
    errors = [abs(slope(Objective(c, "aghq", k), psi)[0] - exact) for k in (1, 5, 21)]
    assert errors[0] > 1e-3 and errors[1] < errors[0] / 3 and errors[2] < 1e-8


def test_an_effect_without_variance_changes_nothing():
    d = design(q=2)
    c = Rows.of(d)
    psi = np.array([0.3, 0.2, 0.7, 0.3, 0.0])
    value, gradient = slope(Objective(c, "aghq", 15), psi)
    assert np.isfinite(value) and abs(gradient[-1]) < 1e-10
