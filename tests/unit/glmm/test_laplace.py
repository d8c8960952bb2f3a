"""Laplace's log-likelihood, and its exact derivatives against differences."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.glmm import laplace
from lmmlib.glmm.objective import Objective
from lmmlib.glmm.rows import Rows, modes
from tests.unit.glmm.designs import design, differences, integral, with_offset

CASES = [(1, 2, False), (1, 0, False), (2, 2, False), (2, 1, True), (2, 3, False), (3, 2, False)]


def objective(q, p, diagonal, seed=1):
    d = design(seed, q, p, diagonal)
    o = Objective(Rows.of(with_offset(d)), "laplace", 1)
    return o, 0.5 * np.random.default_rng(seed).normal(size=p + len(o.rows.coordinates))


@pytest.mark.parametrize(("q", "p", "diagonal"), CASES)
def test_gradient_and_hessian(q, p, diagonal):
    o, psi = objective(q, p, diagonal)
    _, gradient, hessian = o.derivatives(psi)
    # Central differences at 1e-5: an error of 1e-10 times the third derivative, here up to 1e3.
    assert_allclose(gradient, differences(lambda at: o.derivatives(at)[0], psi), rtol=1e-6, atol=1e-6)
    scale = np.abs(hessian).max()
    assert_allclose(hessian, differences(lambda at: o.derivatives(at)[1], psi), rtol=1e-6, atol=1e-7 * scale)


@pytest.mark.parametrize(("q", "p", "diagonal"), CASES)
def test_slopes_of_the_modes(q, p, diagonal):
    o, psi = objective(q, p, diagonal)
    s = o.slopes(psi)

    def at(psi, name):
        return getattr(modes(o.rows, *o.rows.split(psi)), name)

    assert_allclose(np.moveaxis(s.du, 1, 0), differences(lambda x: at(x, "u"), psi), rtol=1e-6, atol=1e-7)
    assert_allclose(np.moveaxis(s.db, 1, 0), differences(lambda x: at(x, "b"), psi), rtol=1e-6, atol=1e-7)
    size = np.abs(s.dM).max()
    assert_allclose(np.moveaxis(s.dM, 2, 0), differences(lambda x: at(x, "M"), psi), rtol=1e-6, atol=1e-8 * size)


def test_without_the_moving_mode_the_gradient_is_wrong():
    """Negative control: the implicit part matters."""
    o, psi = objective(2, 2, False)
    s = o.slopes(psi)
    L = o.rows.split(psi)[1]
    right = differences(lambda at: o.derivatives(at)[0], psi)
    still = np.zeros_like(s.dS)
    LtM = np.einsum("ba,bcn->acn", L, s.inner.M)
    for k, B in enumerate(o.rows.coordinates):
        side = np.einsum("acn,cd->adn", LtM, B)
        still[:, :, 2 + k] = side + side.swapaxes(0, 1)
    frozen = replace(s)
    vars(frozen)["dS"] = still
    partial = laplace.gradient(frozen)
    assert_allclose(laplace.gradient(s), right, rtol=1e-6, atol=1e-6)
    assert np.abs(partial - right).max() > 0.01


def test_close_to_the_integral_and_exact_where_b_has_no_variance():
    d = design(n=4, level=2.5)
    o = Objective(Rows.of(d), "laplace", 1)
    R = o.rows.basis
    for tau, error in ((0.0, 1e-12), (0.3, 0.02), (0.8, 0.15)):
        beta = np.array([2.5, 0.2])
        value = o.derivatives(np.array([*R.Rx @ beta, tau * abs(R.Rz[0, 0])]))[0]
        exact = integral(d, beta, np.array([[max(tau, 1e-5) ** 2]]))
        assert abs(value - exact) < max(error, 1e-6)
        assert tau < 0.5 or abs(value - exact) > 1e-4


def test_sign_of_the_factor_does_not_matter():
    o, psi = objective(2, 2, False)
    turned = psi.copy()
    turned[2:4] *= -1
    assert_allclose(o.derivatives(turned)[0], o.derivatives(psi)[0], rtol=1e-13)


def test_the_gradient_by_a_vanished_column_is_zero():
    o, psi = objective(2, 2, False)
    psi[-1] = 0.0
    assert abs(o.derivatives(psi)[1][-1]) < 1e-12
