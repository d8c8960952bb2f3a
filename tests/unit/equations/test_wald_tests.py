"""Wald tests: by hand, contrasts in any basis and any units, bad contrasts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import f, norm, t

from lmmlib import equations
from lmmlib.errors import ParameterError

D, SIGMA2 = np.array([[1.4, 0.3], [0.3, 0.9]]), 0.8


# ---------------------------------------------------------------- wald


def test_wald_by_hand(cross):
    result = equations.gls(cross, D, SIGMA2)
    one = equations.wald(result, [0, 1], null=-0.5, level=0.9)
    assert one.estimate[0] == result.beta[1] and not one.is_f and one.df == (np.inf,)
    assert one.statistic == pytest.approx((result.beta[1] + 0.5) / result.se[1], rel=1e-13)
    assert one.p == pytest.approx(2 * norm.sf(abs(one.statistic)), rel=1e-12)
    assert one.upper[0] - one.lower[0] == pytest.approx(2 * norm.ppf(0.95) * result.se[1], rel=1e-12)
    with_df = equations.wald(result, [0, 1], df=7.5)
    assert with_df.p == pytest.approx(2 * t.sf(abs(with_df.statistic), 7.5), rel=1e-12)
    both = equations.wald(result, np.eye(2), df=7.5)
    F = result.beta @ np.linalg.inv(result.cov) @ result.beta / 2
    assert both.is_f and both.df == (2, 7.5)
    assert both.statistic == pytest.approx(F, rel=1e-11)
    assert both.p == pytest.approx(f.sf(F, 2, 7.5), rel=1e-9)


def test_t_squared_is_f_and_the_basis_of_l_does_not_matter(cross):
    result = equations.gls(cross, D, SIGMA2)
    one = equations.wald(result, np.eye(2), df=9)
    other = equations.wald(result, [[1, 1], [1e6, -1e6]], df=9)
    assert other.statistic == pytest.approx(one.statistic, rel=1e-9)


def test_interval_and_test_agree(cross):
    """The interval holds the nulls that are not rejected."""
    result = equations.gls(cross, D, SIGMA2)
    ends = equations.wald(result, [0, 1], df=6, level=0.95)
    for end in (ends.lower[0], ends.upper[0]):
        assert equations.wald(result, [0, 1], df=6, null=end).p == pytest.approx(0.05, abs=1e-10)


BAD_L = [
    [0, 0],
    [1],
    [1, 2, 3],
    [[1, 0], [0, 0]],
    np.eye(3),
    [np.nan, 1],
    [np.inf, 1],
    "a",
    None,
    [],
    np.zeros((0, 2)),
    [[[1, 0]]],
    1.0,
]


@pytest.mark.parametrize("L", BAD_L, ids=repr)
def test_contrasts_are_rows_of_p_independent_numbers(cross, L):
    for call in (
        lambda: equations.wald(equations.gls(cross, D, SIGMA2), L),
        lambda: equations.satterthwaite(cross, L, D, SIGMA2, kind="expected"),
        lambda: equations.kenward_roger(cross, L, D, SIGMA2),
    ):
        with pytest.raises(ParameterError, match=r"L must (have 2 finite|be real)|rows of L must not be zero"):
            call()


def test_rows_of_l_in_different_units_are_independent(cross):
    assert equations.wald(equations.gls(cross, D, SIGMA2), [[1, 0], [0, 1e-20]]).is_f


@pytest.mark.parametrize("null", [[1, 2], np.nan, np.inf, "a", [[0]]], ids=repr)
def test_null_is_one_number_for_each_row(cross, null):
    with pytest.raises(ParameterError, match="null must"):
        equations.wald(equations.gls(cross, D, SIGMA2), [0, 1], null=null)
    with pytest.raises(ParameterError, match="null must"):
        equations.kenward_roger(cross, [0, 1], D, SIGMA2, null=null)


@pytest.mark.parametrize("df", [0, -1, np.nan, "a", [1, 2]], ids=repr)
def test_df_is_above_zero(cross, df):
    with pytest.raises(ParameterError, match="df must be"):
        equations.wald(equations.gls(cross, D, SIGMA2), [0, 1], df=df)


@pytest.mark.parametrize("level", [0, 1, 95, np.nan, "a"], ids=repr)
def test_level_is_a_share(cross, level):
    with pytest.raises(ParameterError, match="level must"):
        equations.wald(equations.gls(cross, D, SIGMA2), [0, 1], level=level)


def test_a_null_that_contradicts_a_dependence_is_an_error(cross):
    gls = equations.gls(cross, D, SIGMA2)
    for L, null in (([[0, 1], [0, 2]], [0.3, 0.3]), ([[1, 0], [0, 1], [1, 1]], 1)):
        with pytest.raises(ParameterError, match="of L have rank .*contradicts"):
            equations.wald(gls, L, null=null)
        with pytest.raises(ParameterError, match="of L have rank .*contradicts"):
            equations.kenward_roger(cross, L, D, SIGMA2, null=null)


@pytest.mark.parametrize("df", [None, 4])
def test_rows_that_are_tested_together_have_the_limits_of_each_alone(cross, df):
    result = equations.gls(cross, D, SIGMA2)
    rows = np.array([[1.0, 0.0], [1.0, 3.0]])
    both = equations.wald(result, rows, df=df)
    for k, row in enumerate(rows):
        one = equations.wald(result, row, df=df)
        for name in ("estimate", "se", "lower", "upper"):
            assert_allclose(getattr(both, name)[k], getattr(one, name)[0], rtol=1e-12, err_msg=name)
