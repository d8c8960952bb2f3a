r"""Analysis-of-variance tables of a fit: which hypothesis on the fixed effects a term stands for, and its F test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from numbers import Integral

import numpy as np
import pandas as pd

from lmmlib.common.arguments import shown
from lmmlib.design.design import Design
from lmmlib.design.expressions import unmask
from lmmlib.design.formula import lme4_names
from lmmlib.errors import DesignError, ParameterError
from lmmlib.fitting.fitted import Linear
from lmmlib.inference.contrasts import checked_df, joint_test

TYPES = (1, 2, 3)


@dataclass(frozen=True, eq=False)
class Column:
    """A column of X: a product of codings of factors, ``coding`` (levels,) of each, and of ``numeric`` columns."""

    coding: dict
    numeric: frozenset


@dataclass(frozen=True, eq=False)
class Term:
    """A term: its ``place`` among the columns of X, and its factors of ``categories`` and of ``numbers``."""

    name: str
    place: np.ndarray
    categories: frozenset
    numbers: frozenset

    def within(self, other: Term) -> bool:
        """Whether the other term is this one for each level of further factors: then it contains it."""
        return self.numbers == other.numbers and self.categories < other.categories


def anova(fit: Linear, type: int = 3, *, df=None) -> pd.DataFrame:
    r"""F tests of the terms of the fixed effects.

    Each is the test :eq:`wald-f` of the rows of :func:`hypotheses`, as :func:`lmmlib.inference.contrasts.contrast`
    makes it.

    Parameters
    ----------
    fit : Fit
    type : {1, 2, 3}
        1: each term after those before it in the formula. 2: after all terms that do not contain it. 3: after all
        others, a main effect within an interaction being the mean over the levels of the other factor, whatever the
        coding of the columns.
    df : {"satterthwaite", "kenward-roger", "z"} or float, optional
        As in :func:`lmmlib.inference.contrasts.contrast`.

    Returns
    -------
    DataFrame
        A row for each term but the intercept: ``num_df``, ``den_df``, ``F``, ``p``; no F for a term without columns.

    Raises
    ------
    ParameterError
        If type or df is unknown.
    DesignError
        If the design was made from arrays, so that its columns belong to no terms, or, for type 3, columns of the
        formula were left out.
    """
    df, rows, table = checked_df(fit, df), hypotheses(fit.design, fit.root, type), {}
    for name, L in rows.items():
        if not len(L):
            table[name] = [0, np.nan, np.nan, np.nan]
            continue
        w = joint_test(fit, L, df, 0.0, 0.95)
        F = w.statistic if w.is_f else w.statistic**2
        table[name] = [w.df[0] if w.is_f else 1, w.df[-1], F, w.p]
    frame = pd.DataFrame.from_dict(table, orient="index", columns=["num_df", "den_df", "F", "p"])
    return frame.astype({"num_df": int}).rename_axis("term")


def hypotheses(design: Design, root: np.ndarray, type: int = 3) -> dict[str, np.ndarray]:
    r"""Rows L (rows, p) of the hypothesis :math:`L\beta = 0` of each term.

    Types 1 and 2 are rows of ``root``, the factor R (p, p) of :math:`X'X = R'R`, with the columns of X in the order in
    which the terms enter. Type 3 is the one of SAS: of all estimable functions of the model with a column for every
    level, those of the term that are orthogonal to the functions of the terms that contain it. With all cells filled
    they are differences of unweighted means over the cells.

    Raises
    ------
    ParameterError
        If the type is unknown.
    DesignError
        If the design was made from arrays, or columns were left out and the type is 3.
    """
    if not isinstance(type, Integral) or isinstance(type, bool) or type not in TYPES:
        raise ParameterError(f"type is 1, 2 or 3; got {shown(type)}")
    if design.x_spec is None:
        raise DesignError("the design was made from arrays, so its columns belong to no terms; use Fit.contrast")
    terms, columns = _terms(design.x_spec)
    names = lme4_names(design.x_spec)
    kept = [names.index(name) for name in design.x_names]
    if type == 3 and len(kept) < len(names):
        left_out = [name for name in names if name not in design.x_names]
        raise DesignError(
            f"the columns {', '.join(left_out)} were left out, so that not all hypotheses of type 3 are about "
            "coefficients that there are; use type=1, type=2, or Fit.contrast"
        )
    terms = [replace(term, place=np.flatnonzero(np.isin(kept, term.place))) for term in terms]
    rows = _estimable(terms, columns) if type == 3 else _sequential(terms, root, type)
    return {term.name: L for term, L in zip(terms, rows, strict=True) if term.categories or term.numbers}


def _terms(spec) -> tuple[list[Term], list[Column]]:
    """The terms of one side of a formula, and its columns."""
    terms: list[Term] = []
    columns: list[Column] = []
    widths = _widths(spec)
    for entry in spec.structure:
        first = len(columns)
        for scoped in entry.scoped_terms:
            # The first factor of a product varies fastest.
            for parts in product(*(_codes(spec, one, widths) for one in reversed(scoped.factors))):
                numeric = frozenset((name, part) for name, part in parts if name in widths)
                columns.append(Column({name: code for name, code in parts if name not in widths}, numeric))
        names = frozenset(map(str, entry.term.factors)) - {"1"}
        name, place, numbers = unmask(str(entry.term), ""), np.arange(first, len(columns)), names & set(widths)
        terms.append(Term(name, place, names - numbers, numbers))
    return terms, columns


def _codes(spec, scoped, widths: dict) -> list[tuple]:
    """The columns of a factor: the coding of its levels, or the numbers of its columns."""
    name = str(scoped.factor)
    if name in widths:
        return [(name, part) for part in range(widths[name])]
    state = spec.encoder_state[name][1]["contrasts"]
    coding = state.contrasts.get_coding_matrix(state.levels, reduced_rank=scoped.reduced)
    return [(name, column) for column in coding.to_numpy(float).T]


def _widths(spec) -> dict[str, int]:
    """How many columns each factor of numbers has, such as two of poly(x, 2)."""
    widths: dict[str, int] = {}
    numbers = {k for k, (kind, _) in spec.encoder_state.items() if kind.value == "numerical"}
    for entry in sorted(spec.structure, key=lambda entry: len(entry.term.factors)):
        own = {str(factor) for factor in entry.term.factors} & numbers
        new = sorted(own - set(widths))
        known = dict.fromkeys(numbers, 1) | widths
        cells = sum(np.prod([len(_codes(spec, f, known)) for f in s.factors], dtype=int) for s in entry.scoped_terms)
        width = len(entry.columns) // cells if cells else 1
        if len(new) > 1 and width > 1:
            term, one = unmask(str(entry.term)), unmask(new[0])
            raise DesignError(f"the columns of {term} cannot be told apart without main effects; add {one}")
        widths |= dict.fromkeys(new, width)
    return widths


def _sequential(terms: list[Term], R: np.ndarray, type: int) -> list[np.ndarray]:
    """What a term adds to the columns before it, those of terms that contain it coming last for type 2."""
    rows = []
    for term in terms:
        last = [term, *(other for other in terms if term.within(other))] if type == 2 else []
        late = [k for other in last for k in other.place]
        order = [*np.setdiff1d(np.arange(len(R)), late), *late]
        factor = np.empty_like(R)
        factor[:, order] = np.linalg.qr(R[:, order], mode="r")
        rows.append(factor[np.isin(order, term.place)])
    return rows


def _estimable(terms: list[Term], columns: list[Column]) -> list[np.ndarray]:
    """Type 3, by the relation of X to a matrix with a column for every level and product of levels."""
    down, up = _overparametrised(terms, columns)
    functions = down.T
    for term in sorted(terms, key=lambda term: -len(term.categories)):
        above = [other.place for other in terms if term.within(other)]
        if above:
            F, own = functions[:, np.concatenate(above)], functions[:, term.place]
            functions[:, term.place] = own - F @ np.linalg.lstsq(F, own)[0]
    return [functions[:, term.place].T @ up for term in terms]


def _overparametrised(terms: list[Term], columns: list[Column]) -> tuple[np.ndarray, np.ndarray]:
    """M and J with W = X M and X = W J, W having a column for every cell of the factors of every term."""
    levels = {name: len(code) for c in columns for name, code in c.coding.items()}
    M, J = [], []
    for term in terms:
        for numeric in dict.fromkeys(columns[k].numeric for k in term.place):
            seen = [k for k, c in enumerate(columns) if c.numeric == numeric and set(c.coding) <= term.categories]
            coding = np.array([_over_cells(columns[k], term, levels) for k in seen]).T
            M.append(np.zeros((len(columns), len(coding))))
            M[-1][seen] = np.linalg.pinv(coding)
            J.append(np.zeros((len(coding), len(columns))))
            own = np.isin(seen, term.place)
            J[-1][:, np.array(seen)[own]] = coding[:, own]
    return np.hstack(M), np.vstack(J)


def _over_cells(column: Column, term: Term, levels: dict) -> np.ndarray:
    """The coding of a column in each cell of the factors of a term."""
    parts = [column.coding.get(name, np.ones(levels[name])) for name in sorted(term.categories)]
    return reduce(np.multiply.outer, parts, np.ones(())).ravel()
