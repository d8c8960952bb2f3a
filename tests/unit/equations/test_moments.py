"""Means, variances and correlations of the model; the formulas on numbers that can be done by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.equations import icc, moments
from lmmlib.errors import ParameterError

Z = np.array([[1.0, 0.0], [1.0, 2.0]])
D = np.array([[4.0, 1.0], [1.0, 2.0]])


def test_marginal_mean_and_covariance_by_hand():
    assert_allclose(moments.marginal_mean(Z, [3, -1]), [3, 1])
    # Var(y_1) = 4 + 1, Var(y_2) = 4 + 2 * 2 * 1 + 4 * 2 + 1, Cov = 4 + 2 * 1.
    assert_allclose(moments.marginal_covariance(Z, D, 1.0), [[5, 6], [6, 17]], rtol=1e-15)
    assert_allclose(moments.variance_function(Z, D, 1.0), [5, 17], rtol=1e-15)
    assert_allclose(moments.covariance_function(Z[0], Z[1], D), [[6]], rtol=1e-15)


def test_one_row_may_be_given_as_a_vector():
    assert moments.variance_function([1, 2], D, 1.0) == pytest.approx([17])
    assert moments.marginal_covariance([1, 2], D, 1.0).shape == (1, 1)


def test_random_intercept_takes_a_number():
    V = moments.marginal_covariance(np.ones((3, 1)), 2.0, 1.0)
    assert_allclose(V, 2 + np.eye(3))
    assert_allclose(moments.correlation(V), np.full((3, 3), 2 / 3) + np.eye(3) / 3)
    assert icc(2.0, 1.0) == pytest.approx(2 / 3, rel=1e-15)


def test_variance_function_is_a_parabola_with_its_minimum_at_minus_d12_over_d22():
    t = np.linspace(-3, 3, 601)
    variance = moments.variance_function(np.column_stack([np.ones_like(t), t]), D, 1.0)
    assert t[variance.argmin()] == pytest.approx(-0.5, abs=0.005)
    assert (np.diff(variance, 2) > 0).all()


@pytest.mark.parametrize("D", [D, np.zeros((2, 2)), np.outer([2, -1], [2, -1])])
def test_woodbury_and_the_determinant_lemma(D):
    V = moments.marginal_covariance(Z, D, 0.5)
    assert_allclose(moments.precision(Z, D, 0.5), np.linalg.inv(V), rtol=1e-12, atol=1e-13)
    assert moments.log_determinant(Z, D, 0.5) == pytest.approx(np.log(np.linalg.det(V)), rel=1e-12)


def test_correlation_of_a_variance_of_zero_is_undefined():
    corr = moments.correlation([[4.0, 0.0], [0.0, 0.0]])
    assert corr[0, 0] == 1
    assert np.isnan(corr[[0, 1, 1], [1, 0, 1]]).all()


def test_icc_at_the_boundary():
    assert icc(0, 1) == 0
    assert 0 < icc(1e6, 1e-6) < 1


@pytest.mark.parametrize("tau2", [-1, np.nan, np.inf, [1, 2], "a", None], ids=repr)
def test_icc_needs_a_variance(tau2):
    with pytest.raises(ParameterError, match="tau2 must be"):
        icc(tau2, 1.0)


@pytest.mark.parametrize("function", [moments.marginal_covariance, moments.precision, moments.log_determinant])
def test_shapes_must_fit(function):
    with pytest.raises(ParameterError, match=r"D must be \(2, 2\).*got shape \(3, 3\)"):
        function(Z, np.eye(3), 1.0)
    with pytest.raises(ParameterError, match="Z must be"):
        function([[1.0, np.nan]], D, 1.0)
    with pytest.raises(ParameterError, match="Z must be"):
        function([["a", "b"]], D, 1.0)


def test_means_and_covariances_of_different_columns():
    with pytest.raises(ParameterError, match="beta must .* 2 "):
        moments.marginal_mean(Z, [1, 2, 3])
    with pytest.raises(ParameterError, match="same columns"):
        moments.covariance_function([1, 2], [1, 2, 3], D)
