"""What a result says of itself: one summary as text, HTML and LaTeX, made once and kept."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property

from lmmlib.common.table import Table, latex


@dataclass(frozen=True)
class Summary:
    """A result in lines and tables: ``print`` shows text, a notebook HTML, :meth:`to_latex` is for a paper.

    ``head`` are the lines before the tables, ``tables`` the tables by name, ``notes`` the lines after them.
    """

    head: tuple[str, ...]
    tables: dict[str, Table] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [f"  {line}" for table in self.tables.values() for line in table.lines()]
        return "\n".join([*self.head, *rows, *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def block(lines):
            return [f"<p>{'<br>'.join(map(html.escape, lines))}</p>"] if lines else []

        tables = (table._repr_html_() for table in self.tables.values())
        return "\n".join(['<div class="lmm-summary">', *block(self.head), *tables, *block(self.notes), "</div>"])

    def to_latex(self) -> str:
        """The lines as paragraphs, the tables as ``tabular`` with the rules of the package booktabs."""
        tables = [table.to_latex() for table in self.tables.values()]
        return "\n\n".join([*map(latex, self.head), *tables, *map(latex, self.notes)])


class Shown(ABC):
    """A result that shows its summary, as text and in a notebook as HTML. It is made once; showing never raises."""

    @abstractmethod
    def summary(self) -> Summary:
        """The result in lines and tables."""

    @cached_property
    def _shown(self) -> Summary:
        try:
            return self.summary()
        except Exception as error:  # a debugger or a notebook shows results that are half made or broken
            return Summary((f"{type(self).__name__}, which cannot be shown: {type(error).__name__}: {error}",))

    def __repr__(self) -> str:
        return str(self._shown)

    def _repr_html_(self) -> str:
        return self._shown._repr_html_()
