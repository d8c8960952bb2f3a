"""The inner problem: densities, modes for all groups at once, the working basis."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.stats import norm, poisson

import lmmlib
from lmmlib.glmm import rows as module
from lmmlib.glmm.rows import Conditional, Rows, modes
from tests.unit.glmm.designs import design, offsets

L = {1: np.array([[0.8]]), 2: np.array([[0.8, 0.0], [0.3, 0.5]]), 3: np.tril(np.full((3, 3), 0.4))}


def joint(d, i, beta, factor, u, offset):
    """log p(y_i, u_i) from the definitions, in the basis of the formula."""
    rows = d.rows(i)
    eta = offset[rows] + d.X[rows] @ beta + d.Z[rows] @ factor @ u
    return poisson.logpmf(d.y[rows], np.exp(eta)).sum() + norm.logpdf(u).sum()


@pytest.mark.parametrize("q", [1, 2, 3])
def test_joint_density_is_that_of_the_definition(q):
    d = design(q=q)
    o = offsets(d)
    c = Rows.of(replace(d, offset=o))
    beta, u = np.array([0.4, -0.3]), np.random.default_rng(0).normal(size=(q, d.n_groups))
    at = Conditional.of(c, beta, L[q]).at(u)
    beta_f, factor = np.linalg.solve(c.basis.Rx, beta), np.linalg.solve(c.basis.Rz, L[q])
    expected = sum(joint(d, i, beta_f, factor, u[:, i], o) for i in range(d.n_groups))
    # Sums of some 30 terms of order one.
    constants = c.family.constant - d.n_groups * q / 2 * np.log(2 * np.pi)
    assert_allclose(at.joint.sum() + constants, expected, rtol=1e-12)


@pytest.mark.parametrize("q", [1, 2, 3])
def test_modes_are_those_of_a_general_optimiser(q):
    d = design(q=q)
    o = offsets(d)
    c, beta = Rows.of(replace(d, offset=o)), np.array([0.4, -0.3])
    found = modes(c, beta, L[q])
    beta_f, factor = np.linalg.solve(c.basis.Rx, beta), np.linalg.solve(c.basis.Rz, L[q])
    for i in range(d.n_groups):
        best = minimize(lambda u, i=i: -joint(d, i, beta_f, factor, u, o), np.zeros(q), tol=1e-12)
        # A minimum of a function with 15 digits is seen to 7 at best, where BFGS does not stop before.
        assert_allclose(found.u[:, i], best.x, atol=1e-4)
    slope = L[q].T @ found.score - found.u
    assert np.abs(slope).max() < 1e-10


@pytest.mark.parametrize("q", [1, 2])
def test_curvature_is_that_of_differences(q):
    d, h = design(q=q), 1e-4
    density = Conditional.of(Rows.of(d), np.array([0.4, -0.3]), L[q])
    u = np.random.default_rng(3).normal(size=(q, d.n_groups))
    at = density.at(u)
    S = np.linalg.inv(np.einsum("ban,bcn->nac", at.half, at.half))
    e = h * np.eye(q)[:, :, None]
    for a in range(q):
        for b in range(q):
            seen = [density.at(u + s * e[a] + t * e[b]).joint for s, t in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            # Differences of second order: an error of h^2 and one of 1e-14 / h^2.
            assert_allclose(-(seen[0] - seen[1] - seen[2] + seen[3]) / (4 * h * h), S[:, a, b], rtol=1e-4, atol=1e-5)


def test_far_starts_reach_the_same_modes():
    d = design(q=2, level=3)
    c, beta = Rows.of(d), np.array([1.0, -0.5])
    right = modes(c, beta, L[2]).u
    for far in (0.0, 50.0, -50.0, 900.0, np.nan):
        assert_allclose(modes(c, beta, L[2], np.full_like(right, far)).u, right, atol=1e-10)


def test_steps_are_halved_where_the_density_would_fall(monkeypatch):
    """From the left a full Newton step goes to e^100; without halving there is no way back."""
    y = np.array([5000.0, 4900.0, 0.0, 0.0])
    d = lmmlib.Design.from_arrays(y, np.ones((4, 1)), np.ones((4, 1)), [0, 0, 1, 1])
    c = Rows.of(d)
    density, beta, factor = Conditional.of(c, np.array([-3.0]), np.array([[5.0]])), np.array([-3.0]), np.array([[5.0]])
    start = density.at(np.zeros((1, 2)))
    right = modes(c, beta, factor)
    assert (right.joint > start.joint - 1e-12).all() and np.isfinite(right.mu).all()
    monkeypatch.setattr(module, "NEAR", np.inf)
    assert_allclose(modes(c, beta, factor, np.zeros((1, 2))).u, right.u, atol=1e-9)
    monkeypatch.setattr(module, "_uphill", lambda now, decrement: now.density.at(now.u + now.solve(now.slope)))
    with np.errstate(all="ignore"):
        spoilt = modes(c, beta, factor, np.zeros((1, 2))).u
    assert not np.allclose(spoilt, right.u, atol=1e-9)


def test_no_variance_means_no_random_effects():
    d = design()
    found = modes(Rows.of(d), np.array([0.2, 0.1]), np.zeros((1, 1)))
    assert_allclose(found.b, 0) and assert_allclose(found.logdet, 0)


def test_order_of_rows_and_units_change_nothing():
    d = design(q=2, p=2)
    c = Rows.of(d)
    turned = lmmlib.Design.from_arrays(d.y[::-1], d.X[::-1] * [1, 1e6], d.Z[::-1] * [1, 1e6], d.group[::-1])
    t = Rows.of(turned)
    assert_allclose(modes(t, np.array([0.4, -0.3]), L[2]).u, modes(c, np.array([0.4, -0.3]), L[2]).u, atol=1e-9)
    assert_allclose(t.family.y[np.argsort(t.order)], d.y[::-1])
