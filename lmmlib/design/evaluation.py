"""Model matrices from checked terms: formulaic expands and codes them, in double precision, its errors in our words."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec
from formulaic.errors import FormulaicWarning
from formulaic.materializers import PandasMaterializer
from formulaic.transforms import C as formulaic_C
from formulaic.transforms import poly as formulaic_poly
from formulaic.transforms import stateful_transform

from lmmlib.design.expressions import CONSTANTS, ELEMENTWISE, KNOWN, PLAIN, column_name, columns_of, mask, unmask
from lmmlib.design.frames import check_size, is_text, numbered
from lmmlib.errors import DataError, FormulaError, LmmError

# Warnings of the libraries below that say something about numbers; those about their future do not.
TELLING = (FormulaicWarning, RuntimeWarning, UserWarning)


def _number(values):
    """Numbers and truth values as float64, on which arithmetic neither overflows nor turns into logic."""
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    return values.astype(float) if kind in "biuf" and not _is_categorical(values) else values


def _is_categorical(values) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype)


def _C(data, contrasts=None, *, levels=None, spans_intercept: bool = True):
    """formulaic's C(), which warns of categories outside ``levels`` and takes them for the reference."""
    if levels is not None:
        _check_levels(data, list(levels))
    return formulaic_C(data, contrasts, levels=levels, spans_intercept=spans_intercept)


def _check_levels(data, levels: list) -> None:
    outside = [value for value in pd.unique(pd.Series(data).astype(object)) if value not in levels]
    name = column_name(str(getattr(data, "name", "")))
    if outside:
        raise DataError(
            f"column {name!r} has the category {outside[0]!r}, which levels={levels} leaves out; add it, or leave its "
            "rows out"
        )
    if len(set(levels)) < len(levels):
        raise FormulaError(f"levels={levels} of {name!r} names a category twice")


@stateful_transform
def _poly(x, degree: int = 1, raw: bool = False, _state=None):
    """formulaic's poly(), whose columns beyond the number of distinct values are rounding noise."""
    if not isinstance(degree, int) or degree < 1:
        raise FormulaError(f"the degree of poly() must be a positive whole number; got {degree!r}")
    n = len(np.unique(x))
    if not _state and n <= degree:
        name = column_name(str(getattr(x, "name", "x")))
        raise FormulaError(
            f"poly({name}, {degree}) needs more than {degree} distinct values of {name!r}; there are {n}"
        )
    _state["degree"] = degree  # raw powers have no state of their own, and yet must not be judged by new rows
    return formulaic_poly(x, degree, raw, _state=_state)


CONTEXT = {
    "np": SimpleNamespace(**{name: getattr(np, name) for name in [*ELEMENTWISE, *CONSTANTS]}),
    "C": _C,
    "poly": _poly,
    "_number": _number,
    "_and": np.logical_and,
}


class _InDoubles(ast.NodeTransformer):
    """An expression whose columns, constants and comparisons are float64, but for what is directly in C()."""

    def visit_Name(self, node):
        return _call(ast.Name(mask(column_name(node.id)), ast.Load()))

    def visit_Constant(self, node):
        return ast.Constant(float(node.value)) if type(node.value) is int else node

    def visit_Attribute(self, node):
        return node

    def visit_Compare(self, node):
        return _call(self.generic_visit(node))

    def visit_BinOp(self, node):
        logical = isinstance(node.op, ast.BitAnd)
        node = self.generic_visit(node)
        return _call(_call(node.left, node.right, function="_and")) if logical else node

    def visit_Call(self, node):
        name = getattr(node.func, "id", None)
        if name == "Q":
            return _call(ast.Name(mask(node.args[0].value), ast.Load()))
        # The other arguments of these are options, not numbers to compute with.
        first, rest = (node.args[:1], node.args[1:]) if name in KNOWN - PLAIN else (node.args, [])
        if name == "C" and isinstance(first[0], ast.Name):
            first = [ast.Name(mask(column_name(first[0].id)), ast.Load())]
        elif name == "C" and isinstance(first[0], ast.Compare):
            first = [self.generic_visit(first[0])]
        else:
            first = [self.visit(arg) for arg in first]
        call = ast.Call(node.func, [*first, *rest], node.keywords)
        return _call(call) if isinstance(node.func, ast.Attribute) else call


def _call(*args: Any, function: str = "_number") -> ast.Call:
    return ast.Call(ast.Name(function, ast.Load()), list(args), [])


@lru_cache(maxsize=512)
def _in_doubles(expression: str) -> str:
    tree = _InDoubles().visit(ast.parse(expression.strip(), mode="eval"))
    return ast.unparse(ast.fix_missing_locations(tree))


class Rows(PandasMaterializer):
    """formulaic's evaluation of checked terms, in double precision; the columns are there under their masks."""

    @PandasMaterializer.override
    def _lookup(self, name):
        values, variables = super()._lookup(mask(column_name(name)))
        return _number(values), variables

    @PandasMaterializer.override
    def _evaluate(self, expr, metadata, spec):
        return super()._evaluate(_in_doubles(expr), metadata, spec)


def names_in(terms: Formula) -> set[str]:
    """The columns that checked terms use."""
    names = set()
    for factor in (factor for term in terms for factor in term.factors):
        if factor.eval_method.value == "lookup":
            names.add(column_name(factor.expr))
        elif factor.eval_method.value == "python":
            names |= columns_of(factor.expr)
    return names


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a formula: its checked terms, the columns that they use, and those of them that C() codes."""

    terms: Formula
    columns: frozenset[str]
    coded: frozenset[str]

    @cached_property
    def plain(self) -> bool:
        """Whether all factors are columns as they are."""
        return _is_plain(self.terms)


def _is_plain(terms: Formula) -> bool:
    """True if all factors are columns as they are."""
    return all(factor.eval_method.value != "python" for term in terms for factor in term.factors)


def _spec(side: Side, frame: pd.DataFrame) -> ModelSpec:
    """What formulaic makes of a plain side, which depends on the kinds of its columns and on nothing else."""
    categories = {name: frame[name].astype("category").cat.categories for name in side.columns if is_text(frame[name])}
    return _spec_of_kinds(side, tuple((name, tuple((type(c), c) for c in some)) for name, some in categories.items()))


@lru_cache(maxsize=512)
def _spec_of_kinds(side: Side, kinds: tuple[tuple[str, tuple], ...]) -> ModelSpec:
    """The same for categories, each with its type, of columns by name; the others are numbers."""
    n = max((len(some) for _, some in kinds), default=1)
    rows = pd.DataFrame(dict.fromkeys(side.columns, 1.0), index=range(n))
    for name, some in kinds:
        rows[name] = pd.Categorical.from_codes(np.arange(n) % len(some), [value for _, value in some])
    return _expanded(side.terms, rows)[1]


def _products(spec: ModelSpec, frame: pd.DataFrame) -> np.ndarray:
    """Columns of a plain side: products of numbers and of indicators of categories, as its structure names them."""
    columns, rows = {}, len(frame)
    for name, (_, state) in spec.encoder_state.items():
        column, levels = frame[column_name(name)], state.get("categories")
        if levels is None:
            columns[name] = column.to_numpy(float)[None]
        else:
            codes = pd.Categorical(column, categories=levels).codes
            columns[name] = (codes == np.arange(len(levels))[:, None]).astype(float)
    made = [np.zeros((0, rows))]
    for scoped in (scoped for term in spec.structure for scoped in term.scoped_terms):
        own = [columns[factor.factor.expr][int(factor.reduced) :] for factor in scoped.factors]
        product = reduce(lambda left, right: (right[:, None] * left).reshape(-1, rows), own or [np.ones((1, rows))])
        made.append(product if scoped.scale == 1 else product * float(scoped.scale))
    return np.concatenate(made).T


def _expanded(terms: Formula | ModelSpec, frame: pd.DataFrame) -> tuple[np.ndarray, ModelSpec]:
    """Model matrix of any terms, or of new rows by how it was made."""
    rows = numbered({mask(name): frame[name] for name in names_in(getattr(terms, "formula", terms))}, frame.index)
    for name, (_, state) in getattr(terms, "encoder_state", {}).items():
        if (column := mask(column_name(name))) in rows and state.get("categories") is not None:
            rows[column] = pd.Categorical(rows[column], categories=state["categories"])  # though they be numbers
    with warnings.catch_warnings():
        for kind in TELLING:
            warnings.simplefilter("error", kind)
        made = Rows(rows, context=CONTEXT).get_model_matrix(terms, na_action="ignore", output="numpy")
    return np.asfortranarray(made, float), made.model_spec


def matrix(side: Side | ModelSpec, frame: pd.DataFrame, formula: str) -> tuple[np.ndarray, ModelSpec]:
    """Model matrix of one side of a formula, or of new rows by how it was made, which is returned too.

    Raises
    ------
    FormulaError, DataError
        Whatever formulaic says, warnings included; values that are not finite, or whose squares overflow.
    """
    try:
        with np.errstate(all="ignore"):
            if side.plain if isinstance(side, Side) else _is_plain(side.formula):
                spec = _spec(side, frame) if isinstance(side, Side) else side
                values = _products(spec, frame)
            else:
                values, spec = _expanded(side.terms if isinstance(side, Side) else side, frame)
    except Exception as error:  # whatever it is that the expansion stumbles over, it is about this formula
        raise _in_our_words(error, formula) from None
    if values.shape[1] < len(spec.column_names):
        twice = sorted({name for name in spec.column_names if spec.column_names.count(name) > 1})
        raise DataError(f"{formula!r} makes two columns named {unmask(twice[0])!r}; rename a category or a column")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(
            f"the term {unmask(spec.column_names[column])!r} is not finite in row {row} (rows count from 0): "
            "the transformation is undefined there"
        )
    check_size(values, f"{formula!r}")
    return values, spec


def _in_our_words(error: Exception, formula: str) -> LmmError:
    """The error that the expansion of a formula ends with."""
    cause = error.__cause__ or error
    if isinstance(cause, LmmError):
        return type(cause)(f"{formula!r}: {cause}")
    if isinstance(error, FormulaicWarning):
        unseen = re.search(r"\{.*\}", str(error))
        return DataError(f"{formula!r}: there are categories that the design has not: {unseen and unseen[0]}")
    return FormulaError(f"{formula!r}: {plain(error)}")


def plain(error: Exception) -> str:
    """What formulaic says, in one line: the place in >> <<, without colours and masks."""
    text = re.sub(r"\x1b?\[[0-9;]*m", "", str(error)).replace("⧛", ">>").replace("⧚", "<<")
    return unmask(" ".join(text.split())) or type(error).__name__
