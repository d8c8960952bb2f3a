"""Tails and quantiles are those of scipy.stats, which is too slow to import for them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from lmmlib.common.tails import chi2_quantile, chi2_tail, f_tail, half_width, two_sided
from lmmlib.errors import ParameterError

DIGITS = {"rtol": 1e-14}
DF = [0.3, 1, 2, 8.3, 100, 1e8, np.inf]


@pytest.mark.parametrize("level", [0.01, 0.5, 0.9, 0.95, 0.999])
def test_half_widths(level):
    each = [stats.norm.ppf((1 + level) / 2) if np.isinf(df) else stats.t.ppf((1 + level) / 2, df) for df in DF]
    assert_allclose([half_width(level, df) for df in DF], each, **DIGITS)
    assert_allclose(half_width(level, np.array(DF)), each, **DIGITS)
    assert half_width(level) == half_width(level, np.inf)


@pytest.mark.parametrize("df", DF)
def test_tails(df):
    x = np.array([-40.0, -3.0, -1e-9, 0.0, 0.2, 1.0, 7.0, 37.0])
    t = 2 * stats.norm.sf(abs(x)) if np.isinf(df) else 2 * stats.t.sf(abs(x), df)
    assert_allclose(two_sided(x, df), t, **DIGITS)
    for rows in (1, 2, 5):
        theirs = stats.chi2.sf(rows * x, rows) if np.isinf(df) else stats.f.sf(x, rows, df)
        assert_allclose([f_tail(value, rows, df) for value in x], theirs, **DIGITS)
        assert_allclose([chi2_tail(value, rows) for value in x], stats.chi2.sf(x, rows), **DIGITS)


def test_quantiles_of_chi_square():
    p = np.linspace(0.01, 0.99, 9)
    for df in (1, 2, 7):
        assert_allclose(chi2_quantile(p, df), stats.chi2.ppf(p, df), **DIGITS)


def test_what_is_no_number_has_no_tail():
    assert np.isnan([two_sided(np.nan), two_sided(np.nan, 3), f_tail(np.nan, 2, 3), chi2_tail(np.nan, 2)]).all()


def test_a_level_is_a_coverage():
    with pytest.raises(ParameterError, match="level must lie between 0 and 1"):
        half_width(95)
