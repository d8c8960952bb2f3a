"""Limits from standard errors: normal ones by hand, edges that are never crossed, and slopes against differences."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from lmmlib.equations.limits import SCALES, normal_limits, slopes

KINDS = [("sd", 0), ("sd", 1), ("corr", 0, 1), ("sigma",)]
D, SIGMA2 = np.array([[2.0, 0.6], [0.6, 0.5]]), 1.5


def values(D, sigma2):
    sd = np.sqrt(np.diag(D))
    return np.array([*sd, D[0, 1] / (sd[0] * sd[1]), np.sqrt(sigma2)])


def test_normal_limits_by_hand():
    estimate, se = pd.Series([1.0, -2.0], ["a", "b"]), pd.Series([0.5, 0.1], ["a", "b"])
    table = normal_limits(estimate, se, 0.9)
    assert list(table.columns) == ["estimate", "se", "lower", "upper"]
    assert_allclose(table["upper"], estimate + norm.ppf(0.95) * se)
    assert_allclose(table["lower"], estimate - norm.ppf(0.95) * se)


@pytest.mark.parametrize(
    ("kind", "edges"), [("sd", (0, np.inf)), ("sigma", (0, np.inf)), ("corr", (-1, 1)), ("icc", (0, 1))]
)
def test_limits_stay_between_the_edges(kind, edges):
    """However large the standard error; and for a small one they are those of the parameter itself."""
    wide, narrow = (normal_limits(pd.Series([0.4]), pd.Series([se]), 0.95, [kind]) for se in (2.0, 1e-6))
    assert edges[0] <= wide["lower"][0] < 0.4 < wide["upper"][0] <= edges[1]
    assert_allclose(narrow, normal_limits(pd.Series([0.4]), pd.Series([1e-6]), 0.95), rtol=0, atol=1e-11)


def test_no_standard_error_gives_no_limits():
    table = normal_limits(pd.Series([0.4, 1.0]), pd.Series([np.nan, 1.0]), 0.95, ["sd", "effect"])
    assert table.loc[0, ["lower", "upper"]].isna().all() and table.loc[1].notna().all()


@pytest.mark.parametrize("kind", SCALES)
def test_a_scale_has_its_inverse_and_its_slope(kind):
    scale, back, slope = SCALES[kind]
    x, h = np.array([0.2, 0.7]), 1e-6
    assert_allclose(back(scale(x)), x)
    assert_allclose(slope(x), (scale(x + h) - scale(x - h)) / (2 * h), rtol=1e-7)


def test_slopes_are_those_of_differences():
    """By each entry of a D that need not be symmetric, of which a correlation takes the first off-diagonal one."""
    J, h = slopes(KINDS, D, SIGMA2), 1e-6
    by_sigma2 = (values(D, SIGMA2 + h) - values(D, SIGMA2 - h)) / (2 * h)
    assert_allclose(J[:, -1], by_sigma2, atol=1e-9)
    for k in range(4):
        E = np.zeros(4)
        E[k] = h
        E = E.reshape(2, 2)
        assert_allclose(J[:, k], (values(D + E, SIGMA2) - values(D - E, SIGMA2)) / (2 * h), atol=1e-9)


def test_slopes_of_the_intraclass_correlation():
    """D / (D + sigma2), the derivative by D is sigma2 over the square of the sum, that by sigma2 minus D over it."""
    assert_allclose(slopes([("icc",)], np.array([[2.0]]), 1.5), [[1.5 / 3.5**2, -2.0 / 3.5**2]])
