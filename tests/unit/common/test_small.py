"""Small matrices, entries first, against NumPy's, one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lmmlib.common import small


def many(q, shape=(3, 5), seed=1):
    """Positive definite matrices, entries first."""
    A = np.random.default_rng(seed).normal(size=(*shape, q, q + 1))
    return np.moveaxis(A @ A.mT, (-2, -1), (0, 1))


def last(A):
    return np.moveaxis(A, (0, 1), (-2, -1))


@pytest.mark.parametrize("q", [1, 2, 3, 5])
def test_products_and_factors(q):
    S, T = many(q), many(q, seed=2)
    np.testing.assert_allclose(last(small.product(S, T)), last(S) @ last(T), rtol=1e-12)
    np.testing.assert_allclose(last(small.square(S)), last(S) @ last(S).mT, rtol=1e-12)
    C = small.cholesky(S)
    np.testing.assert_allclose(last(C), np.linalg.cholesky(last(S)), rtol=1e-9, atol=1e-12)
    identity = np.broadcast_to(np.eye(q), (3, 5, q, q))
    np.testing.assert_allclose(last(small.product(C, small.inverse_lower(C))), identity, atol=1e-9)
    np.testing.assert_array_equal(last(small.transposed(C)), last(C).mT)


def test_products_of_unequal_shapes():
    A, B = np.random.default_rng(1).normal(size=(3, 1, 4)), np.random.default_rng(2).normal(size=(1, 2, 4))
    np.testing.assert_allclose(last(small.product(A, B)), last(A) @ last(B))


def test_gram():
    A = np.random.default_rng(1).normal(size=(3, 2, 7))
    np.testing.assert_allclose(small.gram(A), np.einsum("acg,bcg->cab", A, A))


@pytest.mark.parametrize("df", [7.0, 2.5])
def test_bartlett_gives_a_wishart_matrix(df):
    A = small.bartlett(np.random.default_rng(3), 2, df, (20_000,))
    assert (A[0, 1] == 0).all()
    W = small.square(A)
    for row, freedom in ((W[0, 0], df), (W[1, 1], df), (W[0, 0] - W[0, 1] ** 2 / W[1, 1], df - 1)):
        assert stats.kstest(row, stats.chi2(freedom).cdf).pvalue > 1e-4
        assert stats.kstest(row, stats.chi2(freedom + 0.3).cdf).pvalue < 1e-4
    assert abs(W[0, 1].mean()) < 4.5 * np.sqrt(df / 20_000)


@pytest.mark.parametrize("df", [0, 1, 2])
def test_few_degrees_of_freedom_give_that_rank(df):
    """As the sum of df squares, entry by entry of its first two moments."""
    A = small.bartlett(np.random.default_rng(4), 3, np.array([df]), (20_000, 1))
    W = last(small.square(A))[:, 0]
    assert np.linalg.matrix_rank(W[:100]).max() <= df
    assert np.abs(W.mean(axis=0) - df * np.eye(3)).max() < 4.5 * np.sqrt(2 * max(df, 1) / 20_000)
    assert abs((W[:, 2, 1] ** 2).mean() - df) < 4.5 * np.sqrt(30 * max(df, 1) / 20_000)


def test_inverse_wishart():
    scale = np.array([[2.0, 0.5], [0.5, 1.0]])
    F = small.inverse_wishart_factor(np.random.default_rng(5), 9.0, np.repeat(scale[:, :, None], 20_000, axis=2))
    D = last(small.square(F))
    exact = stats.invwishart(9.0, scale)
    assert (np.abs(D.mean(axis=0) - exact.mean()) < 4.5 * D.std(axis=0) / np.sqrt(20_000)).all()
    assert stats.kstest(D[:, 0, 0], stats.invgamma(4.0, scale=1.0).cdf).pvalue > 1e-4
    # A third functional: the determinant, a product of independent chi-squares under the line.
    ratio = np.linalg.det(scale) / np.linalg.det(D)
    product = stats.chi2(9).rvs(20_000, random_state=6) * stats.chi2(8).rvs(20_000, random_state=7)
    assert stats.ks_2samp(ratio, product).pvalue > 1e-4


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
