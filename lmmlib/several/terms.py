r"""A formula with several random terms, and the design of each of them.

.. math:: y = X\beta + \sum_t Z_tb_t + \varepsilon, \qquad b_t \sim N(0, A_t \otimes D_t)

The term :math:`(z_t \mid g_t)` has a vector of random effects for each group of its own grouping :math:`g_t`. Its
groups are independent, :math:`A_t = I`, unless their relationship is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from lmmlib.design.design import Design
from lmmlib.design.formula import build_design, read, require_columns
from lmmlib.design.frames import check_frame
from lmmlib.design.known import known_values
from lmmlib.design.syntax import Terms, several_terms
from lmmlib.errors import DataError, FormulaError
from lmmlib.several.relationship import Relationship, relationship_of


@dataclass(frozen=True, eq=False)
class Term:
    """One random term: the ``columns`` whose cells are its groups, and the ``design`` of its Z and its groups."""

    columns: tuple[str, ...]
    design: Design

    @property
    def grouping(self) -> str:
        """The name of its grouping, such as ``plate`` or ``batch:cask``."""
        return self.design.grouping


@dataclass(frozen=True, eq=False)
class SeveralDesign:
    """``fixed``, the design of response and fixed effects; ``terms``; ``known``, relationships by grouping.

    Equations :eq:`several-model` and :eq:`several-covariance` of the book.
    """

    fixed: Design
    terms: tuple[Term, ...]
    known: dict[str, Relationship] = field(default_factory=dict)

    def with_response(self, y) -> SeveralDesign:
        """The same design with another response of the same length."""
        return replace(self, fixed=self.fixed.with_response(y))

    @property
    def names(self) -> tuple[str, ...]:
        """The groupings in the order of the formula."""
        return tuple(dict.fromkeys(term.grouping for term in self.terms))


def with_cells(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """The frame with a column ``a:b`` of the cells of its columns a and b, whose labels read ``1:x``.

    Raises
    ------
    DataError
        If two cells read alike.
    """
    if len(columns) == 1 or (name := ":".join(columns)) in frame:
        return frame
    place, labels, gap = np.zeros(len(frame), int), [""], np.zeros(len(frame), bool)
    for column in columns:
        codes, values = pd.factorize(frame[column], sort=True)
        cells, place = np.unique(place * (len(values) + 1) + codes + 1, return_inverse=True)
        parts = [(labels[c // (len(values) + 1)], c % (len(values) + 1)) for c in cells]
        labels = [f"{before}{':' if before else ''}{values[c - 1] if c else None}" for before, c in parts]
        gap |= codes < 0
    there = np.unique(place[~gap])
    if len({labels[c] for c in there}) < len(there):
        raise DataError(f"two cells of {name} have one name; rename the categories of {columns[0]!r}")
    place = np.where(gap, -1, np.searchsorted(there, place))
    return frame.assign(**{name: pd.Categorical.from_codes(place, [labels[c] for c in there])})


def build(
    formula: str, data: pd.DataFrame, *, missing="error", weights=None, offset=None, drop=None, relationship=None
) -> SeveralDesign:
    """The designs of all terms of a formula, on the rows that are complete in all of them.

    Parameters
    ----------
    formula : str
        As :func:`lmmlib.design.syntax.several_terms` takes it.
    data, missing, weights, offset, drop
        As :func:`lmmlib.build_design` takes them.
    relationship : mapping, optional
        As :func:`lmmlib.fit` takes it.

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`.
    """
    terms = several_terms(formula, always=True)
    if terms is None:
        raise FormulaError(f"{formula!r} has no random term, such as + (1 | g)")
    check_frame(data)
    texts = [f"{terms.response} ~ 1 + ({one} {'||' if double else '|'} g)" for one, _, double in terms.bars]
    fixed = f"{terms.response} ~ {terms.fixed}"
    sides = [side for text in (fixed, *texts) for side in read(text)[1:] if side]
    groups = {column for _, columns, _ in terms.bars for column in columns}
    used = {name for side in sides for name in side.columns} | groups
    require_columns(sorted(used), data, formula)
    frame, given, n_rows = *_complete(data, sorted(used), missing, weights, offset), len(data)
    base = build_design(fixed, frame, drop=drop, **given)
    columns: dict[str, Any] = {
        f"{key}_column": one for key, one in (("weights", weights), ("offset", offset)) if isinstance(one, str)
    }
    base = replace(base, formula=formula, n_dropped=n_rows - len(frame), **columns)
    known = relationship_of(relationship, list(dict.fromkeys(":".join(columns) for _, columns, _ in terms.bars)))
    return SeveralDesign(base, tuple(_term(terms, bar, frame) for bar in terms.bars), known)


def _complete(data: pd.DataFrame, used: list[str], missing: str, weights, offset) -> tuple[pd.DataFrame, dict]:
    """The rows without gaps, and the weights and offsets of these rows."""
    given = {name: one for name, one in {"weights": weights, "offset": offset}.items() if one is not None}
    values, there = known_values(given, data, missing) if given else ({}, np.ones(len(data), bool))
    gaps = data[used].isna().to_numpy()
    if gaps.any() and missing != "drop":
        counts = ", ".join(f"{name} {n}" for name, n in zip(used, gaps.sum(axis=0), strict=True) if n)
        raise DataError(f"missing values: {counts}; pass missing='drop' to leave those rows out")
    keep = there & ~gaps.any(axis=1)
    frame = data if keep.all() else data[keep]
    return frame.reset_index(drop=True), {name: v[keep[there]] for name, v in values.items()}


def _term(terms: Terms, bar: tuple[str, tuple[str, ...], bool], frame: pd.DataFrame) -> Term:
    """The design of one term: its Z and its groups."""
    text, columns, double = bar
    one = f"{terms.response} ~ 1 + ({text} {'||' if double else '|'} `{':'.join(columns)}`)"
    return Term(columns, build_design(one, with_cells(frame, columns)))
