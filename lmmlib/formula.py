"""lme4 formulas with one grouping factor, from text and data frame to a :class:`~lmmlib.design.Design`.

The random terms ``( ... | g)`` are taken apart in :mod:`lmmlib.syntax`; both sides are expanded by formulaic.
"""

from __future__ import annotations

import difflib
import re

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec, model_matrix
from formulaic.errors import FactorEvaluationError, FormulaicError, FormulaParsingError

from lmmlib.design import Design
from lmmlib.errors import DataError, FormulaError
from lmmlib.frames import checked_rows, is_text
from lmmlib.syntax import Parts, parse

CONTEXT = {"np": np}


def build_design(formula: str, data: pd.DataFrame, missing: str = "error") -> Design:
    """Design of a mixed model from an lme4 formula and a data frame.

    Equation :eq:`lmm` of the book. Categorical columns are coded by treatment contrasts, the first level
    being the reference, and columns are named as lme4 names them.

    Parameters
    ----------
    formula : str
        lme4 syntax with at most one grouping factor, such as ``"lead ~ week * treatment + (week | id)"``.
    data : DataFrame
        One row per observation, in any order.
    missing : {"error", "drop"}
        What to do with rows in which a column that the formula uses is missing.

    Returns
    -------
    Design
        ``y``, ``X``, ``Z`` and the groups. Without a random term ``Z`` has no columns and all rows are one group.

    Raises
    ------
    FormulaError
        If the formula does not parse or asks for several grouping factors.
    DataError
        If a column is missing, or holds missing values, infinities, or text among numbers; names column and row.
    """
    parts = parse(formula)
    used = _columns_used(parts, data, formula)
    numeric = [name for name in used if name != parts.group and not _coded(name, formula)]
    frame, n_dropped = checked_rows(data, used, numeric, missing)

    y = _matrix(f"0 + {_bare(parts.response)}", frame, formula)
    if y.shape[1] != 1 or any(is_text(frame[name]) for name in used if _mentions(parts.response, name)):
        raise DataError(f"the response {parts.response!r} must be one numeric column")
    X = _matrix(parts.fixed, frame, formula)
    if parts.random is None:
        group, names, Z, z_spec = np.zeros(len(frame), int), ("all",), np.zeros((len(frame), 0)), None
        z_names = ()
    else:
        Zframe = _matrix(parts.random, frame, formula)
        if parts.diagonal and any(re.search(r"\[T?\.?", c) and "poly" not in c for c in Zframe.columns):
            raise FormulaError(
                f"uncorrelated random effects (||) of a categorical column depend on its coding; in {formula!r} write "
                "its indicator columns as numbers, or use a single bar"
            )
        labels = frame[parts.group]
        labels = labels.cat.remove_unused_categories() if isinstance(labels.dtype, pd.CategoricalDtype) else labels
        group, uniques = pd.factorize(labels, sort=True)
        names, Z = tuple(uniques.tolist()), Zframe.to_numpy(float)
        z_spec, z_names = Zframe.model_spec, tuple(map(_lme4_name, Zframe.columns))
    return Design(
        y=y.to_numpy(float)[:, 0],
        X=X.to_numpy(float),
        Z=Z,
        group=group,
        group_names=names,
        x_names=tuple(map(_lme4_name, X.columns)),
        z_names=z_names,
        response=parts.response,
        grouping=parts.group or "all",
        formula=formula,
        diagonal=parts.diagonal,
        n_dropped=n_dropped,
        columns={name: _levels(frame[name], _coded(name, formula)) for name in used if name != parts.group},
        x_spec=X.model_spec,
        z_spec=z_spec,
    )


def fixed_matrix(design: Design, data: pd.DataFrame) -> np.ndarray:
    """Fixed-effects rows X of new data, coded as the design's own, (rows, p).

    Raises
    ------
    DataError
        If a column is missing or holds a category that the design has not seen.
    """
    if design.x_spec is None:
        raise DataError("this design was made from arrays, so new rows must be given as an array too")
    _require_frame(data)
    spec: ModelSpec = design.x_spec
    used = [name for name in design.columns if any(_mentions(str(term), name) for term in spec.formula)]
    for name in used:
        if name not in data.columns:
            raise DataError(_unknown_column(name, data.columns, design.formula))
        levels = design.columns[name]
        unknown = [] if levels is None else sorted(set(data[name].dropna()) - set(levels), key=str)
        if levels is None and is_text(data[name]):
            raise DataError(f"column {name!r} holds {data[name].dtype} values where the design has numbers")
        if unknown:
            known = ", ".join(map(str, levels))
            raise DataError(
                f"column {name!r} has the category {unknown[0]!r}, which the design has not; it has {known}"
            )
    frame, _ = checked_rows(data, used, [n for n in used if design.columns[n] is None], "error")
    return _matrix(spec, frame, design.formula).to_numpy(float)


def _levels(column: pd.Series, coded: bool) -> tuple | None:
    """The categories of a column, None for numbers."""
    return tuple(pd.unique(column)) if coded or is_text(column) else None


def _require_frame(data) -> None:
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"the data must be a pandas DataFrame; got {type(data).__name__}")


def _matrix(terms, frame: pd.DataFrame, formula: str) -> pd.DataFrame:
    """Model matrix by formulaic, its errors said in our words."""
    try:
        with np.errstate(all="ignore"):
            matrix = model_matrix(terms, frame, context=CONTEXT, na_action="ignore")
    except FactorEvaluationError as error:
        missing = re.search(r"name '(\w+)' is not defined|`(\w+)` is not present", str(error))
        if missing:
            raise DataError(_unknown_column(missing[1] or missing[2], frame.columns, formula)) from None
        hint = "; in Python a power is written x**2" if "xor" in str(error) else ""
        raise FormulaError(f"{formula!r}: {_plain(error)}{hint}") from None
    except (FormulaParsingError, SyntaxError) as error:
        raise FormulaError(f"{formula!r} does not parse: {_plain(error)}") from None
    except FormulaicError as error:
        raise FormulaError(f"{formula!r}: {_plain(error)}") from None
    values = matrix.to_numpy(float)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(
            f"the term {matrix.columns[column]!r} is not finite in row {row} (rows count from 0): "
            "the transformation is undefined there"
        )
    return matrix


def _columns_used(parts: Parts, data: pd.DataFrame, formula: str) -> list[str]:
    """Names of the columns that the formula needs; formulaic says which names are missing."""
    _require_frame(data)
    if not data.columns.is_unique:
        twice = data.columns[data.columns.duplicated()][0]
        raise DataError(f"the data have two columns named {twice!r}; rename one")
    texts = [_bare(parts.response), parts.fixed] + ([parts.random] if parts.random else [])
    needed = {parts.group} if parts.group else set()
    for text in texts:
        try:
            needed |= {str(name) for name in Formula(text).required_variables} - set(CONTEXT)
        except (FormulaicError, SyntaxError) as error:
            raise FormulaError(f"{formula!r} does not parse: {_plain(error)}") from None
    for name in sorted(needed):
        if name not in data.columns:
            raise DataError(_unknown_column(name, data.columns, formula))
    text = " ".join(texts)
    return [name for name in data.columns if name in needed or _mentions(text, str(name))]


def _unknown_column(name: str, columns, formula: str) -> str:
    known = [str(c) for c in columns]
    near = difflib.get_close_matches(name, known, n=1)
    return f"{formula!r} uses {name!r}, which is not a column of the data ({', '.join(known)})" + (
        f"; perhaps you want {near[0]!r}" if near else ""
    )


def _mentions(text: str, name: str) -> bool:
    return bool(re.search(rf"(?<!\w)`?{re.escape(name)}`?(?!\w)", text))


def _coded(name: str, formula: str) -> bool:
    """True if the formula declares the column categorical: C(name)."""
    return bool(re.search(rf"\bC\(\s*`?{re.escape(name)}`?\s*[,)]", formula))


def _bare(response: str) -> str:
    """A response such as y - 1 is arithmetic, not formula algebra."""
    return response if re.fullmatch(r"[\w.]+|`[^`]+`|[\w.]+\(.*\)", response) else f"{{{response}}}"


def _lme4_name(column: str) -> str:
    """lme4's name of a column: "(Intercept)", and levels without formulaic's brackets."""
    return "(Intercept)" if column == "Intercept" else re.sub(r"\[(?:T\.)?([^\]]*)\]", r"\1", column)


def _plain(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", str(error))
    return " ".join(re.sub(r"\[[0-9;]*m", "", text).split())
