"""Ordinary least squares, its covariance under the mixed model, and the cluster-robust covariance."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import equations
from lmmlib.errors import DesignError, ParameterError


def test_a_line_through_four_points_by_hand():
    X = np.column_stack([np.ones(4), [-1.0, -1.0, 1.0, 1.0]])
    cross = lmmlib.cross_products(lmmlib.Design.from_arrays([1.0, 3.0, 5.0, 7.0], X, X[:, :1], [0, 0, 1, 1]))
    result = equations.ols(cross)
    # Means 2 and 6; residuals of 1 each, RSS = 4 on 2 degrees of freedom; X'X = 4 I.
    assert_allclose(result.beta, [4, 2])
    assert_allclose([result.rss, result.sigma2, result.df], [4, 2, 2])
    assert_allclose(result.cov, np.eye(2) / 2, atol=1e-15)


def test_a_perfect_fit_has_no_negative_rss():
    x = np.arange(8.0)
    X = np.column_stack([np.ones(8), x])
    result = equations.ols(lmmlib.cross_products(lmmlib.Design.from_arrays(3 + 1e6 * x, X, X, np.zeros(8))))
    assert 0 <= result.rss < 1e-12 * 1e12
    assert np.isfinite(result.se).all()


def test_ols_needs_more_rows_than_columns(design):
    with pytest.raises(DesignError, match="2 coefficients cannot be estimated from 2 rows"):
        equations.ols(lmmlib.cross_products(design.take([0, 1])))


def test_covariance_of_ols_exceeds_that_of_gls(cross, D):
    """Gauss and Markov: the difference is positive semidefinite, and without random effects there is none."""
    excess = equations.ols_covariance(cross, D, 0.8) - equations.gls(cross, D, 0.8).cov
    assert np.linalg.eigvalsh(excess).min() > -1e-14
    assert np.linalg.eigvalsh(excess).max() > 1e-4
    zero = np.zeros((2, 2))
    assert_allclose(equations.ols_covariance(cross, zero, 0.8), equations.gls(cross, zero, 0.8).cov, rtol=1e-12)


def test_sandwich_with_one_row_per_group_is_whites():
    rng = np.random.default_rng(6)
    X = np.column_stack([np.ones(20), rng.normal(size=20)])
    y = rng.normal(size=20)
    design = lmmlib.Design.from_arrays(y, X, X[:, :1], range(20))
    beta = np.linalg.lstsq(X, y, rcond=None)[0]
    bread, r = np.linalg.inv(X.T @ X), y - X @ beta
    white = bread @ (X.T * r**2) @ X @ bread
    assert_allclose(equations.sandwich(design, beta, 0.0, 1.0), white, rtol=1e-12)
    # With n = N groups the correction is N / (N - p).
    assert_allclose(equations.sandwich(design, beta, 0.0, 1.0, correction="groups"), white * 20 / 18, rtol=1e-12)


def test_sandwich_does_not_depend_on_the_scale_of_both_variances(design, cross, D):
    beta = equations.gls(cross, D, 0.8).beta
    assert_allclose(
        equations.sandwich(design, beta, D, 0.8),
        equations.sandwich(design, beta, 5 * D, 4.0),
        rtol=1e-11,
        atol=1e-14,
    )


def test_sandwich_of_no_coefficients(design, D):
    bare = lmmlib.Design.from_arrays(design.y, np.zeros((design.n_obs, 0)), design.Z, design.group)
    assert equations.sandwich(bare, [], D, 1.0).shape == (0, 0)


def test_sandwich_needs_groups(design, D):
    one = lmmlib.Design.from_arrays(design.y, design.X, design.Z, np.zeros(design.n_obs))
    with pytest.raises(DesignError, match="at least two groups"):
        equations.sandwich(one, [1, 1], D, 1.0)


@pytest.mark.parametrize("correction", ["hc1", None, True], ids=repr)
def test_corrections_are_none_and_groups(design, D, correction):
    with pytest.raises(ParameterError, match="correction is 'none' or 'groups'"):
        equations.sandwich(design, [1, 1], D, 1.0, correction=correction)
