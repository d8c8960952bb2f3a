"""Rounded text in rows and columns: fixed-width text, HTML and LaTeX of the same cells."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

# What LaTeX reads as something else than itself.
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def latex(text: str) -> str:
    """The text as LaTeX prints it.

    >>> latex("corr x_1 & (Intercept)")
    'corr x\\\\_1 \\\\& (Intercept)'
    """
    return "".join(_LATEX.get(c, c) for c in text)


@lru_cache
def _labels(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)


def labels(names: tuple[str, ...]) -> pd.Index:
    """Names as the index of a result, which may have a name of its own.

    They are made once: for a small fit that takes as long as a step of the optimiser.
    """
    return _labels(names).view()


def written(frame: pd.DataFrame, ways: Iterable[Callable[[float], str]]) -> tuple[tuple[str, ...], ...]:
    """The rows of a frame of numbers as text: the label, and each of the first columns in its way."""
    cells = [list(map(way, numbers)) for way, numbers in zip(ways, frame.to_numpy().T, strict=False)]
    return tuple(zip(frame.index, *cells, strict=True))


@dataclass(frozen=True)
class Table:
    """Rounded text in rows and columns, shown as HTML in a notebook and as fixed-width text elsewhere.

    ``columns`` are the headings, ``rows`` tuples of text as long as ``columns``, ``numeric`` says which
    columns are aligned right, ``caption`` may be None. The first column heads its row. ``ids``, if there are any,
    identify the rows, in small print. ``widths`` are characters that the columns of the text have at least.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    caption: str | None = None
    ids: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()

    def lines(self) -> list[str]:
        """The headings and rows as lines of text."""
        grid = [self.columns, *self.rows]
        if self.ids:
            grid = [(*row, id) for row, id in zip(grid, ("id", *self.ids), strict=True)]
        columns, least = [], [*self.widths, *[0] * (len(grid[0]) - len(self.widths))]
        for cells, right, at_least in zip(zip(*grid, strict=True), (*self.numeric, False), least, strict=False):
            width = max(at_least, *map(len, cells))
            columns.append([cell.rjust(width) if right else cell.ljust(width) for cell in cells])
        return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]

    def __repr__(self) -> str:
        return "\n".join([*([self.caption] if self.caption else []), *self.lines()])

    def _repr_html_(self) -> str:
        escape = html.escape
        kinds = [' class="num"' if right else "" for right in self.numeric]
        headings = zip(self.columns, kinds, strict=True)
        head = "".join(f'<th scope="col"{k}>{escape(c)}</th>' for c, k in headings)
        lines = ['<table class="lmm-table">']
        if self.caption:
            lines.append(f"<caption>{escape(self.caption)}</caption>")
        lines += [f"<thead><tr>{head}</tr></thead>", "<tbody>"]
        for (first, *rest), id in zip(self.rows, self.ids or [""] * len(self.rows), strict=True):
            named = escape(first) + (f"<br><code>{escape(id)}</code>" if id else "")
            cells = "".join(f"<td{k}>{escape(c)}</td>" for c, k in zip(rest, kinds[1:], strict=True))
            lines.append(f'<tr><th scope="row"{kinds[0]}>{named}</th>{cells}</tr>')
        return "\n".join([*lines, "</tbody>", "</table>"])

    def to_latex(self) -> str:
        """A ``tabular`` with the rules of the package booktabs."""
        kinds = "".join("r" if right else "l" for right in self.numeric)
        head, *rows = (" & ".join(map(latex, row)) + r" \\" for row in (self.columns, *self.rows))
        body = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
        return "\n".join([*([latex(self.caption) + r"\par"] if self.caption else []), *body, r"\end{tabular}"])
