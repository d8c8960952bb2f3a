"""GLS results and the means predicted from them; tests/oracle and tests/property test the formulas themselves."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm, t

import lmmlib
from lmmlib import equations
from lmmlib.errors import ParameterError


def test_a_random_intercept_by_hand():
    """Two groups of two: V = [[3, 1], [1, 3]] gives the mean weight 1 / (D + sigma2 / 2) for each group."""
    y = [1.0, 3.0, 8.0, 8.0]
    design = lmmlib.Design.from_arrays(y, np.ones((4, 1)), np.ones((4, 1)), [0, 0, 1, 1])
    result = equations.gls(lmmlib.cross_products(design), 1.0, 2.0)
    assert_allclose(result.beta, [5.0])
    assert_allclose(result.cov, [[(1 + 2 / 2) / 2]])
    assert_allclose(result.se, [1.0])


def test_score_is_zero_at_the_estimate(cross, D):
    beta = equations.gls(cross, D, 0.8).beta
    assert_allclose(equations.score_beta(cross, beta, D, 0.8), 0, atol=1e-11)
    assert np.abs(equations.score_beta(cross, beta + 0.01, D, 0.8)).min() > 1e-3


def test_covariance_is_the_inverse_information(cross, D):
    cov = equations.gls(cross, D, 0.8).cov
    assert_allclose(cov @ equations.information_beta(cross, D, 0.8), np.eye(2), atol=1e-12)
    assert_allclose(cov, cov.T, rtol=1e-14)


def test_the_scale_of_both_variances_does_not_move_the_estimate(cross, D):
    one, other = equations.gls(cross, D, 0.8), equations.gls(cross, 9 * D, 7.2)
    assert_allclose(other.beta, one.beta, rtol=1e-12)
    assert_allclose(other.cov, 9 * one.cov, rtol=1e-12)


def test_frame_and_repr_name_the_coefficients(cross, D):
    result = equations.gls(cross, D, 0.8)
    table = result.frame()
    assert table.index.tolist() == ["(Intercept)", "week"]
    assert_allclose(table["estimate"], result.beta)
    assert_allclose(table["se"], result.se)
    assert repr(result).startswith("GLS") and "week" in repr(result) and f"{result.beta[1]:.4f}" in repr(result)


def test_predicted_means(cross, D):
    result = equations.gls(cross, D, 0.8)
    X_new = np.array([[1.0, 0.0], [1.0, 6.0]])
    band = equations.predict_mean(result, X_new, level=0.9)
    se = [np.sqrt(x @ result.cov @ x) for x in X_new]
    assert band.columns.tolist() == ["estimate", "se", "lower", "upper"]
    assert_allclose(band["estimate"], X_new @ result.beta)
    assert_allclose(band["se"], se, rtol=1e-13)
    assert_allclose(band["upper"] - band["estimate"], norm.ppf(0.95) * np.array(se), rtol=1e-12)
    # Degrees of freedom: one for all rows, or one for each.
    for df in (5.5, [5.5, 8.0]):
        band = equations.predict_mean(result, X_new, df=df)
        assert_allclose(band["estimate"] - band["lower"], t.ppf(0.975, df) * np.array(se), rtol=1e-12)
    assert_allclose(
        equations.predict_mean(equations.ols(cross), [1, 2.0])["estimate"],
        [1, 2.0] @ equations.ols(cross).beta,
    )


BAD_ROWS = [[[1, 2, 3]], [[1]], [[np.nan, 1]], [[np.inf, 1]], "a", None, [], [[[1, 2]]]]


@pytest.mark.parametrize("X_new", BAD_ROWS, ids=repr)
def test_rows_must_fit_the_coefficients(cross, D, X_new):
    with pytest.raises(ParameterError, match="X_new must be|X_new must have 2 columns"):
        equations.predict_mean(equations.gls(cross, D, 1.0), X_new)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, np.nan, "a", None], ids=repr)
def test_level_is_a_share(cross, D, level):
    with pytest.raises(ParameterError, match="level must"):
        equations.predict_mean(equations.gls(cross, D, 1.0), [1, 2], level=level)


@pytest.mark.parametrize("df", [0, -1, np.nan, "a", [1, 2, 3], [1, 0]], ids=repr)
def test_df_are_above_zero(cross, D, df):
    with pytest.raises(ParameterError, match="df must be"):
        equations.predict_mean(equations.gls(cross, D, 1.0), np.eye(2), df=df)
