"""How the book prints: tables, single numbers, two routes to one number, and ours next to theirs.

These functions print or render by design; all others of lmmlib return their results in silence.
"""

import hashlib
import html
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd

from lmmlib.book import datasets, ledger
from lmmlib.common.arguments import require_known
from lmmlib.common.table import Table
from lmmlib.common.text import fixed, p, significant
from lmmlib.errors import ParameterError, ReproductionError

__all__ = ["Table", "answer", "check", "fixed", "p", "reproduces", "reproduction_table", "show", "significant", "table"]

_EXPLAINED = tuple(ledger.KINDS[kind] for kind in ("early-stop", "source-error", "other-rule"))
Digits = int | Callable[[float], str]


def _text(value, digits: Digits) -> tuple[str, bool]:
    """A cell as text, and whether it is a number."""
    if value is None:
        return "", False
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        return str(value), False
    if callable(digits):
        return digits(float(value)), True
    return (str(int(value)) if isinstance(value, Integral) else fixed(float(value), digits)), True


def table(rows, digits: Digits | Mapping[str, Digits] = 3, caption: str | None = None) -> Table:
    """A table of rounded numbers.

    Parameters
    ----------
    rows : DataFrame, or list of dict, or dict of lists
        The columns in order. A frame whose index has a name, or is not 0, 1, ..., shows it first.
    digits : int, function, or mapping of column to int or function
        Decimals of the floats, 3 in columns that the mapping does not name; or a function from a
        number to text, such as :func:`lmmlib.common.text.p`. Whole numbers (int) and text are shown as they are.
    caption : str, optional

    Returns
    -------
    Table
    """
    frame = pd.DataFrame(rows)
    plain = frame.index.name is None and frame.index.equals(pd.RangeIndex(len(frame)))
    frame = frame if plain else frame.reset_index()
    names = [str(c) for c in frame.columns]
    unknown = set(digits) - set(frame.columns) if isinstance(digits, Mapping) else ()
    if unknown:
        raise ParameterError(f"digits names {sorted(unknown)}, which are not among the columns {names}.")
    columns, numeric = [], []
    for name, values in frame.items():
        places = digits.get(name, 3) if isinstance(digits, Mapping) else digits
        # pandas marks a gap in a column of text with NaN; only among numbers is NaN a value to show.
        gaps = not pd.api.types.is_numeric_dtype(values.dtype)
        cells = [("", False) if gaps and pd.isna(v) else _text(v, places) for v in values.tolist()]
        columns.append([text for text, _ in cells])
        numeric.append(any(number for _, number in cells))
    return Table(tuple(names), tuple(zip(*columns, strict=True)), tuple(numeric), caption)


def show(label: str, value, digits: Digits = 3) -> None:
    """Print ``label: value``; a vector as (a, b, c), a matrix as aligned rows below the label."""
    array = np.asarray(value, dtype=object)
    texts = [[_text(v, digits)[0] for v in row] for row in np.atleast_2d(array)]
    if array.ndim == 0:
        print(f"{label}: {texts[0][0]}")
    elif array.ndim == 1:
        print(f"{label}: ({', '.join(texts[0])})")
    else:
        width = max(len(t) for row in texts for t in row)
        print("\n".join([f"{label}:", *("  " + "  ".join(t.rjust(width) for t in row) for row in texts)]))


@dataclass(frozen=True)
class Tick:
    """One line for a check that held: what agrees; the number and the tolerance on demand in a notebook."""

    label: str
    detail: str

    def __repr__(self) -> str:
        return f"\N{CHECK MARK} {self.label}: {self.detail}"

    def _repr_html_(self) -> str:
        label, detail = html.escape(self.label), html.escape(self.detail)
        mark = '<span role="img" aria-label="checked:">\N{CHECK MARK}</span>'
        return f'<details class="check"><summary>{mark} {label}</summary>{detail}</details>'


def check(label: str, one, other, tol: float = 1e-8, digits: int = 6) -> None:
    """Assert that two routes lead to the same number (or array of numbers), and show a tick that says so.

    The largest difference must be at most `tol` > 0: absolute where `other` is at most 1 in size,
    otherwise relative to its largest entry. The tick is a line of text, or HTML in a notebook.

    Raises
    ------
    ReproductionError
        If shapes differ, a difference exceeds `tol`, or a value is not finite.
    """
    a, b = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if a.shape != b.shape:
        raise ReproductionError(f"{label}: the shapes {a.shape} and {b.shape} differ.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ReproductionError(f"{label}: {one!r} and {other!r} are not all finite.")
    scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
    difference = float(np.max(np.abs(a - b), initial=0.0)) / scale
    if difference > tol:
        raise ReproductionError(f"{label}: {one!r} and {other!r} differ by {difference:.3g} > {tol:g}.")
    what = "difference" if scale == 1.0 else "relative difference"
    amount = fixed(a.item(), digits) if a.ndim == 0 else f"{a.size} number{'s' * (a.size != 1)}"
    tick = Tick(label, f"{amount} ({what} < {tol:g})")
    shell = sys.modules.get("IPython")
    if shell is None or shell.get_ipython() is None:
        print(tick)
    else:
        shell.display.display(tick)


def answer(problem: str, value: float) -> None:
    """Print whether `value` answers a problem of the book, to the decimals that the problem asks for.

    The file ``data/answers.csv`` holds no answer, only a salted digest of each, so that nobody reads one by accident.

    Examples
    --------
    >>> from lmmlib import report
    >>> report.answer("pr-00-1", 0.26)
    pr-00-1: not the answer, to 2 decimals
    >>> report.answer("pr-00-1", 0.2501)
    pr-00-1: right, to 2 decimals

    Raises
    ------
    ParameterError
        If there is no such problem, or `value` is not a finite number.
    """
    lines = datasets.answers()
    require_known("problem", problem, lines)
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ParameterError(f"value must be a finite number; got {value!r}.")
    line = lines[problem]
    right = digest(problem, fixed(float(value), int(line["decimals"])), line["salt"]) == line["digest"]
    places = "1 decimal" if line["decimals"] == "1" else f"{line['decimals']} decimals"
    print(f"{problem}: {'right' if right else 'not the answer'}, to {places}")


def digest(problem: str, text: str, salt: str) -> str:
    """The salted digest of an answer as text; a tenth of a second each, so that trying a thousand takes minutes."""
    return hashlib.pbkdf2_hmac("sha256", f"{problem}={text}".encode(), salt.encode(), 200_000).hex()


def reproduces(id: str, value: float, mcse: float | None = None) -> None:
    """Print our number next to the one that a source document or another program prints.

    What agreement means, :func:`lmmlib.book.ledger.compare` says.

    Raises
    ------
    ReproductionError
        If the two do not agree as their kind demands.
    ParameterError
        If the id is unknown, or a Monte Carlo average comes without `mcse`.
    """
    c = ledger.compare(id, value, mcse)
    line = f"{c.id}: ours {c.ours}, printed {c.printed}, digits {c.digits}: {c.verdict}"
    line += f" ({c.note})" if c.note else ""
    if not c.passed:
        raise ReproductionError(line)
    print(line)


def reproduction_table(
    values: Mapping[str, float], mcse: Mapping[str, float] | None = None, caption: str | None = None
) -> Table:
    """Our numbers next to the printed ones, one row each: {id: value}; errors as :func:`reproduces`."""
    compared = [ledger.compare(id, value, (mcse or {}).get(id)) for id, value in values.items()]
    failed = [f"{c.id}: ours {c.ours}, printed {c.printed}" for c in compared if not c.passed]
    if failed:
        raise ReproductionError("These do not agree with what is printed: " + "; ".join(failed))
    several = len({c.place for c in compared}) > 1
    rows = []
    for c in compared:
        quantity = f"{c.place}: {c.quantity}" if several else c.quantity
        verdict = f"{c.verdict}: {c.note}" if c.verdict in _EXPLAINED else c.verdict
        rows.append((quantity, c.ours, c.printed, c.digits, verdict))
    columns = ("quantity", "ours", "printed", "digits that agree", "verdict")
    caption = caption or "What the document prints, and what this chapter computes"
    return Table(columns, tuple(rows), (False, True, True, True, False), caption, tuple(values))
