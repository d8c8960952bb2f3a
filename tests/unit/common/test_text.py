"""Numbers to text: the same on every machine."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmlib.common import text as common_text
from lmmlib.errors import ParameterError

FINITE = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


@given(FINITE, st.integers(0, 6))
def test_fixed_is_the_nearest_decimal_and_never_a_negative_zero(x, digits):
    text = common_text.fixed(x, digits)
    assert len(text.partition(".")[2]) == digits
    assert abs(float(text) - x) <= 0.5 * 10.0**-digits + 2e-12 * abs(x)
    assert not (float(text) == 0 and text.startswith("-"))


@given(st.integers(-(10**6), 10**6), st.integers(0, 4), st.floats(-3e-14, 3e-14))
def test_ties_do_not_hang_on_rounding_error(k, digits, error):
    tie = (k + 0.5) / 10**digits if k >= 0 else (k - 0.5) / 10**digits
    away = (abs(k) + 1) / 10**digits
    assert common_text.fixed(tie * (1 + error), digits).lstrip("-") == f"{away:.{digits}f}"


def test_fixed_says_what_is_not_finite():
    assert [common_text.fixed(x, 2) for x in (math.nan, math.inf, -math.inf)] == ["NaN", "inf", "-inf"]


@given(st.floats(1e-8, 1e8), st.integers(1, 6))
def test_significant_keeps_that_many_digits(x, digits):
    text = common_text.significant(x, digits)
    assert float(text) == pytest.approx(x, rel=0.51 * 10.0 ** (1 - digits))
    shown = text.replace(".", "").lstrip("0")
    assert len(shown) >= digits and not shown[digits:].strip("0")
    assert common_text.significant(-x, digits) == f"-{text}"


def test_significant_at_the_edges():
    given = [(33.97605, 4), (9.9996, 4), (0.0, 3), (123456.0, 3), (math.nan, 3)]
    assert [common_text.significant(*g) for g in given] == ["33.98", "10.00", "0.00", "123000", "NaN"]


@given(st.floats(1e-300, 1e300), st.integers(2, 6))
def test_brief_is_significant_or_has_an_exponent(x, digits):
    text, plain = common_text.brief(x, digits), common_text.significant(x, digits)
    assert ("e" in text) == (len(plain) > 12) and (text == plain or len(text) <= digits + 6)
    assert float(text) == float(plain)
    assert common_text.brief(-x, digits) in (f"-{text}", f"-{float(text):.{digits - 1}e}".replace("e-0", "e-"))


def test_a_short_number_at_the_edges():
    given = [0.0, math.nan, -math.inf, 1.23456e-6, 9.99999e-8, 123456789012.0, 9999999.0e6, -5e-324]
    shown = ["0.0000", "NaN", "-inf", "0.0000012346", "1.0000e-7", "123460000000", "1.0000e+13", "-4.9407e-324"]
    assert [common_text.brief(x) for x in given] == shown


def test_p_values():
    assert [common_text.p(x) for x in (0.01681, 0.00116, 2.1e-6, 0.0, 1.0)] == [
        "0.0168",
        "0.0012",
        "<0.001",
        "<0.001",
        "1.0000",
    ]
    with pytest.raises(ParameterError, match="between 0 and 1"):
        common_text.p(1.2)
