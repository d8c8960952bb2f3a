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
from lmmlib.frames import check_size, checked_rows, group_codes, is_text
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
    # A grouping column that is also a predictor is checked as one.
    label = parts.group if parts.group not in _in_terms(parts) else None
    frame, n_dropped = checked_rows(data, used, numeric, missing, label)

    y = _matrix(f"0 + {_bare(parts.response)}", frame, formula)
    if y.shape[1] != 1 or any(is_text(frame[name]) for name in used if _mentions(parts.response, name)):
        raise DataError(f"the response {parts.response!r} must be one numeric column")
    X = _matrix(parts.fixed, frame, formula)
    _check_poly(X, frame, formula)
    if parts.random is None:
        group, names, Z, z_spec = np.zeros(len(frame), int), ("all",), np.zeros((len(frame), 0)), None
        z_names = ()
    else:
        Zframe = _matrix(parts.random, frame, formula)
        _check_poly(Zframe, frame, formula)
        if not Zframe.shape[1]:
            raise FormulaError(
                f"the random term of {formula!r} has no columns; write (1 | {parts.group}), or leave it out"
            )
        wide = [str(term) for term, s in Zframe.model_spec.term_slices.items() if s.stop - s.start > 1]
        wide += [str(column) for column in Zframe.columns if "[T." in str(column)]
        if parts.diagonal and wide:
            raise FormulaError(
                f"uncorrelated random effects (||) of {wide[0]}, which stands for several columns, depend on its "
                f"coding; in {formula!r} write its columns as numbers, one term each, or use a single bar"
            )
        labels = frame[parts.group]
        labels = labels.cat.remove_unused_categories() if isinstance(labels.dtype, pd.CategoricalDtype) else labels
        (group, names), Z = group_codes(labels), Zframe.to_numpy(float)
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
        columns={name: _levels(frame[name], _coded(name, formula)) for name in used if name != label},
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
    _check_frame(data)
    spec: ModelSpec = design.x_spec
    used = [name for name in design.columns if any(_mentions(str(term), name) for term in spec.formula)]
    for name in used:
        if name not in data.columns:
            raise DataError(_unknown_column(name, data.columns, design.formula))
        levels = design.columns[name]
        unknown = [] if levels is None else sorted(set(data[name].dropna()) - set(levels), key=str)
        if unknown:
            known = ", ".join(map(str, levels))
            raise DataError(
                f"column {name!r} has the category {unknown[0]!r}, which the design has not; it has {known}"
            )
    frame, _ = checked_rows(data, used, [n for n in used if design.columns[n] is None], "error", new=True)
    for name in used:
        if design.columns[name] is None and is_text(frame[name]):
            raise DataError(f"column {name!r} holds {frame[name].dtype} values where the design has numbers")
    return _matrix(spec, frame, design.formula).to_numpy(float)


def _levels(column: pd.Series, coded: bool) -> tuple | None:
    """The categories of a column, None for numbers."""
    return tuple(pd.unique(column)) if coded or is_text(column) else None


def _matrix(terms, frame: pd.DataFrame, formula: str) -> pd.DataFrame:
    """Model matrix by formulaic, its errors said in our words."""
    try:
        with np.errstate(all="ignore"):
            matrix = model_matrix(terms, frame, context=CONTEXT, na_action="ignore")
    except FactorEvaluationError as error:
        missing = re.search(r"name '(\w+)' is not defined|`(\w+)` is not present", str(error))
        if missing:
            raise DataError(_unknown_column(missing[1] or missing[2], frame.columns, formula)) from None
        raise FormulaError(f"{formula!r}: {_plain(error)}") from None
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
    check_size(values, f"{formula!r}")
    return matrix


def _columns_used(parts: Parts, data: pd.DataFrame, formula: str) -> list[str]:
    """Names of the columns that the formula needs; formulaic says which names are missing."""
    _check_frame(data)
    texts = [_bare(parts.response), parts.fixed] + ([parts.random] if parts.random else [])
    needed = {parts.group} if parts.group else set()
    for text in texts:
        if re.search(r"(^|[\s+(])\.($|[\s+)])", text):
            raise FormulaError(f"{formula!r} uses a dot for all other columns; name the columns instead")
        try:
            terms = Formula(text)
            needed |= _variables(terms) - (set(CONTEXT) - set(data.columns))
        except (FormulaicError, SyntaxError) as error:
            raise FormulaError(f"{formula!r} does not parse: {_plain(error)}") from None
        _check_powers(terms, formula)
    if "Intercept" in needed:
        raise DataError("a column named 'Intercept' cannot be told from the intercept of the model; rename it")
    for name in sorted(needed):
        if name not in data.columns:
            if any(re.search(rf"(?<![\w.`]){re.escape(name)}\(", text) for text in texts):
                known = f"write np.{name}()" if hasattr(np, name) else "write C() for categories, or make it a column"
                raise FormulaError(f"{formula!r} uses the function {name}(), which is not known here; {known}")
            raise DataError(_unknown_column(name, data.columns, formula))
    text = " ".join(texts)
    return [name for name in data.columns if name in needed or _mentions(text, str(name))]


def _check_powers(terms, formula: str) -> None:
    """Inside a call Python reads x^2 as a bitwise operation, which integers silently allow."""
    for factor in (factor for term in terms for factor in term.factors):
        if factor.eval_method.value == "python" and "^" in re.sub(r"`[^`]*`", "", factor.expr):
            raise FormulaError(f"{formula!r}: in {factor.expr} write the power in Python's way, as in I(x**2)")


def _check_frame(data) -> None:
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"the data must be a pandas DataFrame; got {type(data).__name__}")
    if not data.columns.is_unique:
        twice = data.columns[data.columns.duplicated()][0]
        raise DataError(f"the data have two columns named {twice!r}; rename one")


def _in_terms(parts: Parts) -> set[str]:
    """Columns that the terms use, whatever the data are grouped by."""
    texts = [_bare(parts.response), parts.fixed, parts.random or "1"]
    return {name for text in texts for name in _variables(Formula(text))}


def _variables(terms) -> set[str]:
    """Names that the terms use; formulaic reads the quoted name `x.1` as an attribute of x."""
    plain = {factor.expr for term in terms for factor in term.factors if factor.eval_method.value == "lookup"}
    dotted = {name.split(".")[0] for name in plain if "." in name}
    return plain | {str(name) for name in terms.required_variables} - dotted


def _check_poly(matrix, frame: pd.DataFrame, formula: str) -> None:
    """Beyond the number of distinct values the columns of poly() are rounding noise."""
    for term, columns in matrix.model_spec.term_slices.items():
        name = re.match(r"poly\(`?([^,`]+)", str(term))
        if name and name[1] in frame and frame[name[1]].nunique() <= columns.stop - columns.start:
            raise FormulaError(
                f"{formula!r}: {term} needs more than {columns.stop - columns.start} distinct values of {name[1]!r}; "
                f"there are {frame[name[1]].nunique()}"
            )


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
