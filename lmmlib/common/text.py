"""Numbers to text, the same text on every machine.

Two machines compute the same number up to a rounding error; what is printed must not show it. So
zero has no sign, and a tie goes away from zero also when the computed value lies a rounding
error below the tie.
"""

import math
from decimal import ROUND_HALF_UP, Context, Decimal

from lmmlib.errors import ParameterError

# Enough digits to hold any float exactly, so that quantize cannot overflow.
_EXACT = Context(prec=800, rounding=ROUND_HALF_UP)
# Characters of a number in the table of a fit; extreme units of a column would take hundreds.
LONGEST = 12


def rounded(x: float, exponent: int, tie: float = 1e-12) -> Decimal:
    """Finite `x` to a whole number of 10^`exponent`; within `tie`, relative, of a tie counts as one."""
    nudged = _EXACT.multiply(Decimal(float(x)), 1 + Decimal(tie))
    return _unsigned_zero(_EXACT.quantize(nudged, Decimal(1).scaleb(exponent)))


def _unsigned_zero(number: Decimal) -> Decimal:
    return number if number else abs(number)


def fixed(x: float, digits: int) -> str:
    """`x` with `digits` decimals (>= 0); "NaN", "inf" and "-inf" for what is not finite.

    >>> fixed(2.675, 2), fixed(-0.0001, 3), fixed(12345.6, 0)
    ('2.68', '0.000', '12346')
    """
    return f"{rounded(x, -digits):f}" if math.isfinite(x) else _not_finite(x)


def significant(x: float, digits: int) -> str:
    """`x` with `digits` significant digits (>= 1) and no exponent: for what an optimiser or a sampler gave.

    >>> significant(0.00123456, 3), significant(33.97605, 4), significant(9.9996, 4)
    ('0.00123', '33.98', '10.00')
    """
    if not math.isfinite(x):
        return _not_finite(x)
    if x == 0:
        return fixed(0.0, digits - 1)
    return f"{_to_digits(x, digits):f}"


def _to_digits(x: float, digits: int) -> Decimal:
    exponent = Decimal(float(x)).adjusted() - digits + 1
    carried = rounded(x, exponent).adjusted() - digits + 1  # 9.9996 becomes 10.00, one digit longer
    return rounded(x, max(exponent, carried))


def short(text: str, x: float, digits: int = 5) -> str:
    """The text, which is `x` rounded, or `x` with an exponent where the text is longer than a table has room for.

    >>> short("0.0000012346", 1.23456e-6), short("0.00000012346", 1.23456e-7), short(fixed(-2e20, 3), -2e20)
    ('0.0000012346', '1.2346e-7', '-2.0000e+20')
    """
    return text if len(text) <= LONGEST else f"{_to_digits(x, digits):.{digits - 1}e}"


def brief(x: float, digits: int = 5) -> str:
    """`x` with that many significant digits, and an exponent where it needs one to be short."""
    return short(significant(x, digits), x, digits)


def p(x: float) -> str:
    """A p-value: four decimals, or "<0.001".

    >>> p(0.01681003), p(2.1e-6)
    ('0.0168', '<0.001')
    """
    if not (math.isnan(x) or 0 <= x <= 1):
        raise ParameterError(f"A p-value lies between 0 and 1; not {x!r}: check the statistic and its df.")
    return "<0.001" if x < 0.001 else fixed(x, 4)


def p_equals(x: float) -> str:
    """A p-value after its letter.

    >>> p_equals(0.01681003), p_equals(2.1e-6)
    ('= 0.0168', '< 0.001')
    """
    text = p(x)
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


def _not_finite(x: float) -> str:
    return "NaN" if math.isnan(x) else f"{float(x)}"
