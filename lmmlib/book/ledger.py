"""Comparison of a number with the one that a source document or another program prints.

The ledgers ``data/published.csv`` (documents) and ``data/peers.csv`` (programs) give for each printed number its
digits, and what kind of number it is; the kind decides what agreement means (:data:`KINDS`).
"""

import difflib
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from lmmlib.book import datasets
from lmmlib.common.text import rounded, significant
from lmmlib.errors import ParameterError

#: What a value must satisfy, by the kind of the printed number, and the verdict when it does.
KINDS = {
    "exact": "agrees",
    "bound": "agrees with the printed bound",
    "early-stop": "agrees with the optimum",
    "source-error": "agrees, but the printed number is wrong",
    "monte-carlo": "agrees within Monte Carlo error",
    "other-rule": "agrees with the reference",
}
#: Every passing verdict starts with this word, every failing one with ``FAILED``.
PASSED, FAILED = "agrees", "DISAGREES"

# A printed digit may come from a tie (4.4535 printed as 4.454): rounding error must not decide it.
_SLACK = 1e-9
_REFERENCE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Comparison:
    """One number against the ledger.

    ``id``, ``place`` and ``quantity`` name it; ``ours`` is the value with two digits more than ``printed``;
    ``digits`` says how many of the printed digits agree ("4 of 4"); ``passed`` and ``verdict``
    are the outcome; ``note`` is the ledger's remark, and for a printed value that stopped short of
    the optimum it begins with how far it is off, and where the optimiser stopped.
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
    return {row["id"]: row for table in (datasets.published(), datasets.peers()) for row in table.to_dict("records")}


def compare(id: str, value: float, mcse: float | None = None) -> Comparison:
    """Compare `value` with the printed number `id`.

    ======================  =====================================================================
    kind of the number      what `value` must satisfy
    ======================  =====================================================================
    exact, source-error     at most half a unit of the last printed digit away from it (a tie counts)
    bound ("<2e-16")        smaller than the bound, and not negative
    early-stop              within 1e-6, relative, of the ledger's reference (the true optimum); and the
                            ledger's ``stopped``, where the optimiser was when it stopped, must round to
                            the printed digits, or they would be unexplained
    monte-carlo             at most 4 `mcse` and half a unit of the last printed digit away
    other-rule              within 1e-6, relative, of the ledger's reference; the printed number follows another
                            rule, which the note names, and `value` does not round to it
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
        raise ParameterError(f"Neither data/published.csv nor data/peers.csv has a row {id!r}.{hint}")
    kind, printed, note, value = row["kind"], row["printed"], row["note"], float(value)
    if kind == "monte-carlo" and not (mcse is not None and 0 <= mcse < math.inf):
        raise ParameterError(f"{id} is a Monte Carlo average: give a standard error mcse >= 0, not {mcse}.")
    if kind == "bound":
        passed = 0 <= value < float(printed.lstrip("<"))
        ours, digits = printed if passed else f"{value:.1e}", "the bound"
    else:
        theirs, ours, digits = float(printed), _like(printed, value), _agreement(printed, value)
        if kind in ("early-stop", "other-rule"):
            optimum, stopped = row["reference"], row["stopped"]
            passed = abs(value - optimum) <= _REFERENCE_TOLERANCE * abs(optimum)
            if kind == "other-rule":
                passed &= not rounds_to(printed, value)
            else:
                passed &= rounds_to(printed, stopped)
                far = abs(theirs - optimum)
                off = f"printed value off by {significant(far, 2) if far >= 1e-6 else format(far, '.1e')}"
                stop = f"printed by an optimiser that stopped early (it gave {stopped:.7f})"
                note = "; ".join(text for text in (off, stop, note) if text)
        else:
            passed = rounds_to(printed, value, 4 * mcse if mcse and kind == "monte-carlo" else 0.0)
    verdict = KINDS[kind] if passed else FAILED
    return Comparison(row["id"], row["place"], row["quantity"], ours, printed, digits, passed, verdict, note)


def rounds_to(printed: str, value: float, error: float = 0.0) -> bool:
    """Whether `value` is at most half a unit of the last printed digit, and `error`, away from `printed`."""
    half = 10.0 ** _last_place(printed) / 2 + _SLACK * abs(float(printed))
    return bool(abs(value - float(printed)) <= half + error)


def _last_place(printed: str) -> int:
    """The power of ten of the last printed digit: -4 for "22.9760", -7 for "2.1e-06"."""
    return int(Decimal(printed).as_tuple().exponent)


def _like(printed: str, value: float) -> str:
    """`value` in the notation of `printed`, with two digits more, eight decimals at most (whole numbers stay so)."""
    if not math.isfinite(value):
        return str(value)
    exponent = _last_place(printed)
    if exponent == 0 and value == round(value):
        return f"{value:.0f}"
    scientific = "e" in printed.lower()
    close = rounded(value, exponent - 2 if scientific else max(exponent - 2, -8))
    if scientific:
        mantissa = printed.lower().split("e")[0]
        return f"{float(close):.{len(mantissa.partition('.')[2]) + 2}e}"
    return f"{close:f}"


def _agreement(printed: str, value: float) -> str:
    """How many of the printed digits a rounded `value` shares: "3 of 4"."""
    number, last = Decimal(printed), _last_place(printed)
    total = max((number.adjusted() if number else -1) - last + 1, 1)
    places = range(last, last + total) if math.isfinite(value) else ()
    shared = (p for p in places if rounded(value, p, _SLACK) == rounded(float(printed), p, _SLACK))
    return f"{total + last - next(shared, total + last)} of {total}"
