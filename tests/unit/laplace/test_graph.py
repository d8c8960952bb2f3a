"""The symbolic factors of the blocks, and the compiled derivatives."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.laplace import graph

pt = pytest.importorskip("pytensor.tensor")


def test_factors_and_solutions_of_many_blocks():
    rng = np.random.default_rng(1)
    A = rng.normal(size=(6, 3, 4))
    H, g = A @ np.swapaxes(A, 1, 2), rng.normal(size=(6, 3))
    entries = [[pt.constant(H[:, a, b]) for b in range(3)] for a in range(3)]
    C = graph._cholesky(pt, entries)
    for a in range(3):
        for b in range(a + 1):
            assert_allclose(C[a][b].eval(), np.linalg.cholesky(H)[:, a, b], rtol=1e-10)
    assert_allclose(graph._solve(pt, C, pt.constant(g)).eval(), np.linalg.solve(H, g[..., None])[..., 0], rtol=1e-9)


def test_derivatives_of_a_density_with_a_closed_form():
    """f = -sum exp(b - m): Hessian exp(b - m), and d2f / db dm = -exp(b - m)."""
    c = graph.compile_joint(lambda b, m: -pt.exp(b - m).sum(), {"m": np.array(0.5)}, 4, 1)
    b, psi = np.linspace(-1, 1, 4)[:, None], np.array([0.5])
    value, g, H = c.inner(b, psi)
    e = np.exp(b - 0.5)
    assert_allclose(value, -e.sum())
    assert_allclose(g, -e)
    assert_allclose(H[:, :, 0], e)
    assert_allclose(c.cross(b, psi, np.ones(1)), e)
    assert_allclose(c.along(b, psi, np.full((4, 1), 2.0)), -2 * e)
    assert_allclose(c.outer(b, psi)[0], -e.sum() - np.log(e).sum() / 2 + 2 * np.log(2 * np.pi))
