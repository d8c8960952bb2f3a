"""Diagnostics of cloning on made-up draws whose answer is known, and what the verdicts make of them."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmmlib.cloning.estimability import (
    BOUNDARY,
    ESTIMABLE,
    NOT_CONVERGED,
    NOT_ESTIMABLE,
    TOO_FEW,
    chi_square_fit,
    falling,
    lambda_max,
    mahalanobis,
    multivariate_r_hat,
    oriented,
    reference,
    said,
    skewness,
    spread,
    verdict,
    wide_directions,
)
from lmmlib.errors import ParameterError

RNG = np.random.default_rng


def test_largest_eigenvalue():
    assert lambda_max([[4.0, 0.0], [0.0, 9.0]]) == 9.0
    assert lambda_max([[2.0, 1.0], [1.0, 2.0]]) == pytest.approx(3.0)
    assert lambda_max([[2.5]]) == 2.5


@pytest.mark.parametrize("bad", [[1.0, 2.0], [[1.0, 2.0]], np.empty((0, 0)), [["a"]]])
def test_covariances_are_square(bad):
    with pytest.raises(ParameterError, match="cov must be"):
        lambda_max(bad)


def test_mahalanobis_distances_are_those_of_the_inverse():
    draws = RNG(1).normal(size=(50, 3)) @ [[1, 0, 0], [2, 0.1, 0], [0, 3, 1e6]]
    away = draws - draws.mean(axis=0)
    expected = np.einsum("sa,ab,sb->s", away, np.linalg.inv(np.cov(draws.T)), away)
    np.testing.assert_allclose(mahalanobis(draws), expected, rtol=1e-6)
    assert expected.sum() == pytest.approx(3 * 49)
    assert np.isnan(mahalanobis(np.column_stack([draws[:, 0], draws[:, 0]]))).all()
    with pytest.raises(ParameterError, match="draws must be"):
        mahalanobis(np.arange(4.0))


def test_chi_square_fit_by_hand():
    """Three draws of one parameter: distances 1, 0, 1 against the quantiles at 1/6, 1/2, 5/6."""
    d, c = np.array([0.0, 1.0, 1.0]), stats.chi2(1).ppf([1 / 6, 1 / 2, 5 / 6])
    ms, r2 = chi_square_fit([[0.0], [1.0], [2.0]])
    assert ms == pytest.approx(np.mean((d - c) ** 2))
    assert r2 == pytest.approx(1 - np.corrcoef(d, c)[0, 1] ** 2)


def test_chi_square_fit_tells_normal_from_not():
    normal = chi_square_fit(RNG(2).normal(size=(20_000, 3)))
    heavy = chi_square_fit(RNG(2).standard_t(4, size=(20_000, 3)))
    two = chi_square_fit(np.sign(RNG(2).normal(size=(20_000, 3))) + 0.1 * RNG(3).normal(size=(20_000, 3)))
    assert normal[0] < 0.01 and normal[1] < 0.001
    assert heavy[0] > 1 and heavy[1] > 0.05
    assert two[0] > 1


def test_multivariate_r_hat_finds_the_worst_combination():
    """Chains that agree in both coordinates but for a shift across their correlation."""
    rng = RNG(4)
    common = rng.normal(size=(4, 500, 1))
    draws = common + 0.02 * rng.normal(size=(4, 500, 2))
    assert multivariate_r_hat(draws) < 1.02
    draws[0, :, 1] += 0.1
    assert multivariate_r_hat(draws) > 1.5
    one = np.array([multivariate_r_hat(draws[:, :, [k]]) for k in (0, 1)])
    assert (one < 1.02).all()
    assert multivariate_r_hat(draws * [1, 1e6]) == pytest.approx(multivariate_r_hat(draws))


def test_multivariate_r_hat_of_one_parameter_by_hand():
    draws = np.array([[[0.0], [2.0]], [[1.0], [3.0]]])  # W = 2, B = 1/2
    assert multivariate_r_hat(draws) == pytest.approx(1 / 2 + 3 / 2 * 0.25)
    assert np.isnan(multivariate_r_hat(draws[:1]))
    assert multivariate_r_hat(np.array([[[1.0], [1.0]], [[2.0], [2.0]]])) == np.inf


def test_spread_and_skewness():
    normal = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    assert spread(3 * normal) == pytest.approx(9 * spread(normal))
    assert skewness(normal) == pytest.approx(0, abs=1e-9)
    exponential = -np.log(1 - (np.arange(20_000) + 0.5) / 20_000)
    low, middle, high = stats.expon.ppf([0.05, 0.5, 0.95])
    assert skewness(exponential) == pytest.approx((high + low - 2 * middle) / (high - low), rel=1e-3)
    assert skewness(-exponential) == pytest.approx(-skewness(exponential))
    assert skewness(np.ones(5)) == 0


def test_falling_is_a_power():
    np.testing.assert_allclose(falling(np.array([1.0, 1.0, 1.0]), np.array([0.1, 1.0, 0.01]), 10), [1, 0, 2])


@pytest.mark.parametrize(
    ("K", "expected"), [((1, 10, 25), 10), ((1, 10, 15), 1), ((1, 10**6), 1), ((7,), None), ((3, 4), None)]
)
def test_what_is_compared(K, expected):
    assert reference(K) == expected


GOOD = {"r_hat": 1.001, "ess": 1000.0, "rate": 1.0, "skew": 0.05, "null": False, "boundary": False}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ESTIMABLE),
        ({"null": None, "boundary": None}, ESTIMABLE),
        ({"null": True}, NOT_ESTIMABLE),
        ({"null": True, "r_hat": 3.0}, NOT_ESTIMABLE),  # the model knows, whatever the chains do
        ({"r_hat": 1.2}, NOT_CONVERGED),
        ({"r_hat": np.nan}, NOT_CONVERGED),
        ({"ess": 20.0}, NOT_CONVERGED),
        ({"r_hat": 1.8, "rate": 1.6}, NOT_CONVERGED),  # document 000 at K = 10: the spread fell, because chains stuck
        ({"r_hat": 1.8, "rate": 0.0, "null": None}, NOT_CONVERGED),
        ({"rate": 0.02, "null": None}, NOT_ESTIMABLE),
        ({"rate": 0.02}, TOO_FEW),  # the likelihood is not flat, so it is the prior
        ({"rate": np.nan}, TOO_FEW),
        ({"rate": 2.0, "skew": 0.6, "boundary": True}, BOUNDARY),
        ({"rate": 2.0, "skew": 0.6, "boundary": None}, BOUNDARY),
        ({"skew": 0.6}, TOO_FEW),
        ({"skew": -0.6, "boundary": True}, BOUNDARY),
        ({"boundary": True}, ESTIMABLE),
    ],
)
def test_verdicts(change, expected):
    assert verdict(**GOOD | change) == expected


def test_wide_directions():
    """A ridge along which two of three parameters trade off."""
    rng = RNG(5)
    draws = {}
    for K in (10, 100):
        t, e = rng.normal(size=4000), rng.normal(size=(4000, 3)) / np.sqrt(K)
        draws[K] = pd.DataFrame(e + t[:, None] * [0.0, -2.0, 1.0], columns=["mu", "tau2", "sigma2"])
    found = wide_directions(draws[10], draws[100], 10)
    assert len(found) == 1
    np.testing.assert_allclose(found.iloc[0], [0, -1, 0.5], atol=0.03)
    assert said(found.iloc[0]) == "sigma2 up, tau2 down"
    shrunken = draws[10] / np.sqrt(10)
    assert len(wide_directions(draws[10], shrunken, 10)) == 0


def test_orientation():
    np.testing.assert_allclose(oriented(np.array([0.5, 0.001, -0.25])), [-1.0, 0.0, 0.5])
    np.testing.assert_allclose(oriented(np.array([3.0, 0.0])), [1.0, 0.0])
