"""Sums of rows that come in chunks: how they become columns is fixed once, chunks are summed anywhere and merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

import numpy as np
import pandas as pd
from formulaic import ModelSpec

from lmmlib.common.arguments import checked_made, shown
from lmmlib.design.basis import Basis, Sums
from lmmlib.design.cross import CrossProducts, joined
from lmmlib.design.design import Design
from lmmlib.design.evaluation import matrix, names_in
from lmmlib.design.formula import build_design, fixed_matrix, random_matrix, read, require_columns
from lmmlib.design.frames import check_frame, checked_rows, group_codes, is_text
from lmmlib.errors import DataError, DesignError, FormulaError, LmmError, NoRowsError, ParameterError

ROWS = ("y", "X", "Z", "group")
NUMBERS = frozenset({"integer", "floating", "mixed-integer-float", "boolean", "decimal"})


@dataclass(frozen=True, eq=False, repr=False)
class Coding(Design):
    """How the rows of a formula become columns, without the rows: the same for every chunk.

    A :class:`lmmlib.Design` that has names, categories and the expansions of both sides of the formula; it can be
    pickled. Its ``y``, ``X``, ``Z`` and ``group`` do not exist: asking for them raises NoRowsError, a DesignError.

    Attributes
    ----------
    basis : Basis
        Working basis in which the sums of all chunks are kept.
    y_spec : object
        Expansion of the response.
    """

    y: np.ndarray = field(init=False)
    X: np.ndarray = field(init=False)
    Z: np.ndarray = field(init=False)
    group: np.ndarray = field(init=False)
    basis: Basis = field(kw_only=True)
    y_spec: ModelSpec = field(kw_only=True)

    def __getattr__(self, name: str):
        if name in ROWS or hasattr(Design, name):  # rows, or what asks for them
            raise NoRowsError(
                f"a fit from sums has no rows, and so no {name!r}: read the chunks a second time for residuals and "
                "predictions, and compare models by their criteria"
            )
        return object.__getattribute__(self, name)  # says that there is none

    def __repr__(self) -> str:
        return f"Coding: {self.formula}\n  fixed:  {', '.join(self.x_names)}\n  random: {', '.join(self.z_names)}"


def coding(formula: str, example: pd.DataFrame, levels: Mapping | None = None) -> Coding:
    """The coding of a formula, to be used for every chunk.

    The columns are those of :func:`lmmlib.build_design`, equation :eq:`lmm` of the book. Transformations that look at
    the data, such as ``center(x)`` and ``poly(x, 2)``, are those of the example: another basis of the same model.

    Parameters
    ----------
    formula : str
        lme4 syntax with one grouping factor.
    example : DataFrame
        Some rows, such as the first chunk; better a sample, since the working basis in which the sums keep their digits
        is made from it: a column that is constant in the example, and large, has no scale there.
    levels : mapping of column to list, optional
        All categories of the columns of text, the first being the reference. Columns that are not named have the
        categories of the example, in alphabetical order.

    Returns
    -------
    Coding

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`; also if the response is a transformation that looks at all rows.
    DesignError
        If the formula has no random term.
    ParameterError
        If ``levels`` names no column, a column of numbers that is not in ``C()``, or leaves out a category of the
        example.
    """
    if not isinstance(levels, Mapping | None):
        raise ParameterError(f"levels must map columns to their categories; got {shown(levels)}")
    rows = _with_levels(example, levels or {}, formula)
    design = build_design(formula, rows)
    if design.grouping == "all":
        raise DesignError(f"{formula!r} has no random term, such as + (1 | g), so there are no sums by group")
    response = read(formula)[1]
    used = sorted(response.columns)
    y_spec = matrix(response, checked_rows(rows, used, set(used), "error")[0], formula)[1]
    if y_spec.transform_state:
        raise FormulaError(
            f"the response {design.response!r} depends on all rows, of which a chunk has some; transform it yourself"
        )
    kept = {f.name: getattr(design, f.name) for f in fields(Design) if f.name not in ROWS}
    basis = Basis.of(design.y[: len(example)], design.X[: len(example)], design.Z[: len(example)])
    return Coding(**kept | {"group_names": (), "n_dropped": 0}, basis=basis, y_spec=y_spec)


def _with_levels(example: pd.DataFrame, levels: Mapping, formula: str) -> pd.DataFrame:
    """The example, followed by repetitions of its first row that show each category once."""
    check_frame(example)
    coded = {column for side in read(formula)[1:] if side for column in side.coded} if levels else set()
    for name, all_of_it in levels.items():
        if name not in example:
            raise ParameterError(f"levels names {name!r}, which is not a column ({', '.join(map(str, example))})")
        if not is_text(example[name]) and name not in coded:
            raise ParameterError(f"levels names {name!r}, a column of numbers; write C({name}) if they are categories")
        unknown = [v for v in pd.unique(example[name].dropna()) if v not in all_of_it]
        if unknown:
            raise ParameterError(f"levels[{name!r}] leaves out {unknown[0]!r}, which the example has")
    if not levels or not len(example):
        return example
    more = example.iloc[[0] * max(map(len, levels.values()))].copy()
    for name, all_of_it in levels.items():
        more[name] = [all_of_it[k % len(all_of_it)] for k in range(len(more))]
    rows = pd.concat([example, more], ignore_index=True)
    for name, all_of_it in levels.items():
        if is_text(example[name]):
            rows[name] = pd.Categorical(rows[name], categories=list(all_of_it))
    return rows


def chunk_sums(coding: Coding, rows: pd.DataFrame, missing: str = "error", name: str = "chunk") -> CrossProducts:
    r"""The cross-products of a chunk of rows.

    .. math:: \{Z_{ik}'Z_{ik},\; Z_{ik}'X_{ik},\; Z_{ik}'y_{ik}\}_i,\quad X_k'X_k,\; X_k'y_k,\; y_k'y_k

    for chunk k, whose groups i may have rows in other chunks too. The terms of equation :eq:`chunk-sums` of the book.

    Parameters
    ----------
    coding : Coding
    rows : DataFrame
        Any rows of the data; there may be none.
    missing : {"error", "drop"}
        What to do with rows in which a column that the formula uses is missing.
    name : str
        What errors call the chunk.

    Returns
    -------
    CrossProducts

    Raises
    ------
    DataError
        If a column is missing, or has missing, infinite or unknown values; names chunk, column and row.
    """
    try:
        y, X, Z, group, names = _rows_of(coding, rows, missing)
    except LmmError as error:
        raise type(error)(f"{name}: {error}") from None
    work = Sums.of(y, X, Z, group, len(names), coding.basis)
    n_i = np.bincount(group, minlength=len(names))
    return CrossProducts(work, coding.basis, n_i, names, coding.x_names, coding.z_names, coding.diagonal)


def _rows_of(coding: Coding, rows: pd.DataFrame, missing: str) -> tuple:
    """y, X, Z, the groups' numbers and their names."""
    check_frame(rows)
    used = list(dict.fromkeys([*coding.columns, coding.grouping]))
    require_columns(used, rows, coding.formula)
    if missing == "drop":
        rows = rows.dropna(subset=used)
    if not len(rows):
        p, q = len(coding.x_names), len(coding.z_names)
        return np.zeros(0), np.zeros((0, p)), np.zeros((0, q)), np.zeros(0, int), ()
    label = coding.grouping if coding.grouping not in coding.columns else None
    numeric = {column for column in used if column != label and coding.columns[column] is None}
    frame, _ = checked_rows(rows, used, numeric, missing, label, new=True)
    X = fixed_matrix(coding, frame)
    Z = X if coding.z_spec is coding.x_spec else random_matrix(coding, frame)
    if any(is_text(frame[column]) for column in names_in(coding.y_spec.formula)):
        raise DataError(f"the response {coding.response!r} must be one numeric column")
    y = matrix(coding.y_spec, frame, coding.formula)[0]
    return y[:, 0], X, Z, *group_codes(frame[coding.grouping])


def merge(parts: Iterable[CrossProducts]) -> CrossProducts:
    r"""The cross-products of all rows, from those of chunks.

    .. math:: Z_i'Z_i = \sum_k Z_{ik}'Z_{ik}, \quad\dots,\quad y'y = \sum_k y_k'y_k

    Equation :eq:`chunk-sums` of the book. The same as ``a + b + ...``, in one step however many groups there are.
    All parts are held until the last has come, also those of a generator: to save memory, merge a few at a time.

    Parameters
    ----------
    parts : iterable of CrossProducts
        Of any chunks of rows in any order; a group may occur in several.

    Returns
    -------
    CrossProducts
        Its groups are sorted, as :func:`lmmlib.build_design` sorts them.

    Raises
    ------
    DesignError
        If there are no parts, or they have different columns.
    DataError
        If the groups are numbers in one part and text in another.
    """
    for part in (parts := list(parts) if np.iterable(parts) else [parts]):
        checked_made("parts", part, CrossProducts, "cross_products")
    parts = [part for part in parts if part.n_obs]
    if not parts:
        raise DesignError("there are no sums to merge, or none of any rows")
    first = parts[0]
    for k, part in enumerate(parts):
        if (part.x_names, part.z_names, part.diagonal) != (first.x_names, first.z_names, first.diagonal):
            raise DesignError(
                f"part {k} has the columns {part.x_names} and {part.z_names}, part 0 has {first.x_names} and "
                f"{first.z_names}; use one coding for all chunks"
            )
    _one_kind([part.group_names for part in parts])
    labels = np.array([name for part in parts for name in part.group_names] + [None], dtype=object)[:-1]
    codes, names = group_codes(labels)
    places = np.split(codes, np.cumsum([part.n_groups for part in parts])[:-1])
    return joined(parts, places, names)


def _one_kind(labels: list[tuple]) -> None:
    """Raise if the labels are numbers here and text there: 1 and "1" would be two groups."""
    kinds = [pd.api.types.infer_dtype(names) for names in labels]
    kinds = ["number" if kind in NUMBERS else kind for kind in kinds]
    for k, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise DataError(
                f"the groups of part {k} are of the kind {kind} (such as {labels[k][0]!r}), those of part 0 of the "
                f"kind {kinds[0]} (such as {labels[0][0]!r}): read the grouping column with one dtype in every chunk"
            )
