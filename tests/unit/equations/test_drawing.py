"""The factor behind every draw of random effects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmlib.common import small
from lmmlib.equations import drawing
from lmmlib.errors import ParameterError


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 10**6))
def test_the_factor_of_D_also_when_it_is_singular(q, rank, seed):
    A = np.random.default_rng(seed).standard_normal((q, rank))
    D = A @ A.T
    L = small.semidefinite_cholesky(D)
    np.testing.assert_allclose(L @ L.T, D, atol=1e-6 * max(1.0, np.abs(D).max()))
    assert np.array_equal(L, np.tril(L)) and (np.diag(L) >= 0).all()


def test_a_small_but_real_variance_is_kept():
    D = np.array([[1.0, 0.999999], [0.999999, 1.0]])  # a millionth from singular
    L = small.semidefinite_cholesky(D)
    np.testing.assert_allclose(L, np.linalg.cholesky(D), rtol=1e-9)


def test_the_factors_of_many_D_are_the_single_ones():
    """Also where one is singular and its neighbour is not."""
    rng = np.random.default_rng(2)
    A = rng.standard_normal((4, 3, 3))
    A[1, :, 2] = A[2] = A[3, 1] = 0.0  # ranks 3, 2, 0, and a variance of zero in between
    D = (A @ np.swapaxes(A, 1, 2)).reshape(2, 2, 3, 3)
    together = small.semidefinite_cholesky(D)
    for at in np.ndindex(2, 2):
        np.testing.assert_allclose(together[at], small.semidefinite_cholesky(D[at]), rtol=1e-14)
        np.testing.assert_allclose(together[at] @ together[at].T, D[at], atol=1e-7)
    assert small.semidefinite_cholesky(np.zeros((5, 0, 0))).shape == (5, 0, 0)


@pytest.mark.parametrize("rng", [None, 1, "seed", np.random, np.random.RandomState(1)], ids=lambda r: type(r).__name__)
def test_randomness_is_a_generator(rng):
    one = np.ones((4, 1))
    with pytest.raises(ParameterError, match=r"rng must be a numpy Generator, such as numpy\.random\.default_rng\(1\)"):
        drawing.responses(rng, one, one, np.array([0, 0, 1, 1]), 2, [1.0], np.eye(1), 1.0, 3)
