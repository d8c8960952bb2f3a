"""The factor behind every draw of random effects."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lmmlib import draws


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 10**6))
def test_the_factor_of_D_also_when_it_is_singular(q, rank, seed):
    A = np.random.default_rng(seed).standard_normal((q, rank))
    D = A @ A.T
    L = draws.semidefinite_cholesky(D)
    np.testing.assert_allclose(L @ L.T, D, atol=1e-6 * max(1.0, np.abs(D).max()))
    assert np.array_equal(L, np.tril(L)) and (np.diag(L) >= 0).all()


def test_a_small_but_real_variance_is_kept():
    D = np.array([[1.0, 0.999999], [0.999999, 1.0]])  # a millionth from singular
    L = draws.semidefinite_cholesky(D)
    np.testing.assert_allclose(L, np.linalg.cholesky(D), rtol=1e-9)
