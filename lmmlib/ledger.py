"""Comparison of a number with the one that a source document prints.

The ledger ``data/published.csv`` gives for each printed number its digits, and what kind of
number it is; the kind decides what agreement means (:data:`KINDS`).
"""

import difflib
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from lmmlib import datasets
from lmmlib.errors import ParameterError
from lmmlib.rounding import rounded, significant

#: What a value must satisfy, by the kind of the printed number, and the verdict when it does.
KINDS = {
    "exact": "agrees",
    "bound": "agrees with the printed bound",
    "early-stop": "agrees with the optimum",
    "source-error": "agrees, but the printed number is wrong",
    "monte-carlo": "agrees within Monte Carlo error",
}
#: Every passing verdict starts with this word, every failing one with ``FAILED``.
PASSED, FAILED = "agrees", "DISAGREES"

# A printed digit may come from a tie (4.4535 printed as 4.454): rounding error must not decide it.
_SLACK = 1e-9
_EARLY_STOP_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Comparison:
    """One number against the ledger.

    ``id``, ``place`` and ``quantity`` name it; ``ours`` is the value with two digits more than ``printed``;
    ``digits`` says how many of the printed digits agree ("4 of 4"); ``passed`` and ``verdict``
    are the outcome; ``note`` is the ledger's remark, and for a printed value that stopped short of
    the optimum it begins with how far it is off.
    """

    id: str
    place: str
    quantity: str
    ours: str
    printed: str
    digits: str
    passed: bool
    verdict: str
    note: str


@cache
def _rows() -> dict:
    return {row["id"]: row for row in datasets.published().to_dict("records")}


def compare(id: str, value: float, mcse: float | None = None) -> Comparison:
    """Compare `value` with the printed number `id`.

    ======================  =====================================================================
    kind of the number      what `value` must satisfy
    ======================  =====================================================================
    exact, source-error     at most half a unit of the last printed digit away from it (a tie counts)
    bound ("<2e-16")        smaller than the bound, and not negative
    early-stop              within 1e-6, relative, of the ledger's reference (the true optimum)
    monte-carlo             at most 4 `mcse` and half a unit of the last printed digit away
    ======================  =====================================================================

    Parameters
    ----------
    id : str
        Row of the ledger.
    value : float
        Our number, in the unit of the printed one.
    mcse : float, optional
        Monte Carlo standard error of the difference, >= 0; required for kind ``monte-carlo``.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If the id is not in the ledger, or `mcse` is missing or negative.
    """
    row = _rows().get(id)
    if row is None:
        near = difflib.get_close_matches(str(id), _rows(), n=3)
        hint = f" Did you mean one of {', '.join(near)}?" if near else ""
        raise ParameterError(f"The ledger data/published.csv has no row {id!r}.{hint}")
    kind, printed, value = row["kind"], row["printed"], float(value)
    if kind == "monte-carlo" and not (mcse is not None and 0 <= mcse < math.inf):
        raise ParameterError(f"{id} is a Monte Carlo average: give a standard error mcse >= 0, not {mcse}.")
    if kind == "bound":
        bound = float(printed.lstrip("<"))
        passed = 0 <= value < bound
        return _comparison(row, printed if passed else f"{value:.1e}", "the bound", passed, row["note"])
    theirs, unit = float(printed), _unit(printed)
    half = unit / 2 + _SLACK * abs(theirs)
    difference, note = abs(value - theirs), row["note"]
    if kind == "early-stop":
        optimum = row["reference"]
        passed = abs(value - optimum) <= _EARLY_STOP_TOLERANCE * abs(optimum)
        note = f"printed value off by {significant(abs(theirs - optimum), 2)}; {note}"
    else:
        passed = difference <= half + (4 * mcse if kind == "monte-carlo" else 0)
    return _comparison(row, _like(printed, value), _agreement(printed, value), passed, note)


def _comparison(row, ours, digits, passed, note) -> Comparison:
    verdict = KINDS[row["kind"]] if passed else FAILED
    named = (row[key] for key in ("id", "place", "quantity"))
    return Comparison(*named, ours, row["printed"], digits, passed, verdict, note)


def _unit(printed: str) -> float:
    """The unit of the last printed digit: 1e-4 for "22.9760", 1e-7 for "2.1e-06"."""
    return 10.0 ** Decimal(printed).as_tuple().exponent


def _like(printed: str, value: float) -> str:
    """`value` in the notation of `printed`, with two digits more (a whole number stays one)."""
    if not math.isfinite(value):
        return str(value)
    exponent = Decimal(printed).as_tuple().exponent
    if exponent == 0 and value == round(value):
        return f"{value:.0f}"
    close = rounded(value, exponent - 2)
    if "e" in printed.lower():
        mantissa = printed.lower().split("e")[0]
        return f"{float(close):.{len(mantissa.partition('.')[2]) + 2}e}"
    return f"{close:f}"


def _agreement(printed: str, value: float) -> str:
    """How many of the printed digits a rounded `value` shares: "3 of 4"."""
    number, theirs = Decimal(printed), float(printed)
    exponent, first = number.as_tuple().exponent, number.adjusted()
    if number == 0:
        first = -1
    total = max(first - exponent + 1, 1)
    agree = 0
    for count in range(1, total + 1):
        place = exponent + total - count
        if math.isfinite(value) and rounded(value, place, _SLACK) == rounded(theirs, place, _SLACK):
            agree = count
    return f"{agree} of {total}"
