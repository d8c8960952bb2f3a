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
from lmmlib.syntax import parse

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
        ``y``, ``X``, ``Z`` and the groups. Without a random term ``Z`` has no columns and all rows are one group;
        with ``(0 | g)`` it has no columns either, and the groups are kept.

    Raises
    ------
    FormulaError
        If the formula does not parse or asks for several grouping factors.
    DataError
        If a column is missing, or holds missing values, infinities, or text among numbers; names column and row.
    """
    parts = parse(formula)
    _check_frame(data)
    texts = [_bare(parts.response), parts.fixed] + ([parts.random] if parts.random else [])
    # A response that is one column is not arithmetic, so there is nothing to parse.
    plain = {texts[0]: (None, {texts[0]})} if texts[0].isidentifier() else {}
    sides = plain | {text: _terms(text, formula) for text in dict.fromkeys(texts[len(plain) :])}
    variables = set().union(*(names for _, names in sides.values()))
    used = _columns_used(parts.group, texts, variables, data, formula)
    numeric = [name for name in used if name != parts.group and not _coded(name, formula)]
    # A grouping column that is also a predictor is checked as one.
    label = parts.group if parts.group not in variables else None
    frame, n_dropped = checked_rows(data, used, numeric, missing, label)

    if parts.random is None:
        group, names = np.zeros(len(frame), int), ("all",)
    else:
        labels = frame[parts.group]
        labels = labels.cat.remove_unused_categories() if isinstance(labels.dtype, pd.CategoricalDtype) else labels
        group, names = group_codes(labels)
    y = _response(texts[0], frame, formula)
    if y.ndim != 1 or any(is_text(frame[name]) for name in used if _mentions(parts.response, name)):
        raise DataError(f"the response {parts.response!r} must be one numeric column")
    fixed = sides[parts.fixed][0]
    X, x_spec = _matrix(fixed, frame, formula)
    _check_poly(x_spec, frame, formula)
    if parts.random is None:
        Z, z_spec, z_names = np.zeros((len(frame), 0)), None, ()
    else:
        # Often the two sides are the same; then they are the same array too.
        random = sides[parts.random][0]
        Z, z_spec = (X, x_spec) if random == fixed else _matrix(random, frame, formula)
        _check_poly(z_spec, frame, formula)
        if not Z.shape[1] and parts.random != "0":
            raise FormulaError(
                f"the random term of {formula!r} has no columns; write (1 | {parts.group}), or (0 | {parts.group}) for "
                "no random effects"
            )
        wide = [str(term) for term, s in z_spec.term_slices.items() if s.stop - s.start > 1]
        wide += [column for column in z_spec.column_names if "[T." in column]
        if parts.diagonal and wide:
            raise FormulaError(
                f"uncorrelated random effects (||) of {wide[0]}, which stands for several columns, depend on its "
                f"coding; in {formula!r} write its columns as numbers, one term each, or use a single bar"
            )
        z_names = tuple(map(_lme4_name, z_spec.column_names))
    return Design(
        y=y,
        X=X,
        Z=Z,
        group=group,
        group_names=names,
        x_names=tuple(map(_lme4_name, x_spec.column_names)),
        z_names=z_names,
        response=parts.response,
        grouping=parts.group or "all",
        formula=formula,
        diagonal=parts.diagonal,
        n_dropped=n_dropped,
        columns={name: _levels(frame[name], _coded(name, formula)) for name in used if name != label},
        x_spec=x_spec,
        z_spec=z_spec,
    )


def fixed_matrix(design: Design, data: pd.DataFrame) -> np.ndarray:
    """Fixed-effects rows X of new data, coded as the design's own, (rows, p).

    Raises
    ------
    DataError
        If a column is missing or holds a category that the design has not seen.
    """
    return _new_matrix(design, design.x_spec, data)


def random_matrix(design: Design, data: pd.DataFrame) -> np.ndarray:
    """Random-effects rows Z of new data, coded as the design's own, (rows, q); the grouping column is not used.

    Raises
    ------
    DataError
        As :func:`fixed_matrix`.
    """
    return _new_matrix(design, design.z_spec, data)


def _new_matrix(design: Design, spec: ModelSpec | None, data: pd.DataFrame) -> np.ndarray:
    """One side of the formula for new data."""
    if design.x_spec is None:
        raise DataError("this design was made from arrays, so new rows must be given as an array too")
    _check_frame(data)
    if spec is None:
        return np.zeros((len(data), 0))
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
    return _matrix(spec, frame, design.formula)[0]


def _levels(column: pd.Series, coded: bool) -> tuple | None:
    """The categories of a column, None for numbers."""
    return tuple(pd.unique(column)) if coded or is_text(column) else None


def _response(text: str, frame: pd.DataFrame, formula: str) -> np.ndarray:
    """The response, (n_obs,); with more columns if it is none."""
    if text in frame and frame[text].dtype.kind in "iuf":
        y = np.array(frame[text], float)  # a copy: the frame may change
        check_size(y, f"{formula!r}")
        return y
    y, _ = _matrix(f"0 + {text}", frame, formula)
    return y[:, 0] if y.shape[1] == 1 else y


def _matrix(terms, frame: pd.DataFrame, formula: str) -> tuple[np.ndarray, ModelSpec]:
    """Model matrix by formulaic and how it was made, its errors said in our words."""
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
    values, spec = matrix.to_numpy(float), matrix.model_spec
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise DataError(
            f"the term {spec.column_names[column]!r} is not finite in row {row} (rows count from 0): "
            "the transformation is undefined there"
        )
    check_size(values, f"{formula!r}")
    return values, spec


def _terms(text: str, formula: str) -> tuple[Formula, set[str]]:
    """One side of the formula as formulaic reads it, and the names in it."""
    if re.search(r"(^|[\s+(])\.($|[\s+)])", text):
        raise FormulaError(f"{formula!r} uses a dot for all other columns; name the columns instead")
    try:
        terms = Formula(text)
        variables = _variables(terms)
    except (FormulaicError, SyntaxError) as error:
        raise FormulaError(f"{formula!r} does not parse: {_plain(error)}") from None
    _check_powers(terms, formula)
    return terms, variables


def _columns_used(group: str | None, texts: list[str], variables: set[str], data, formula: str) -> list[str]:
    """Names of the columns that the formula needs, in the order of the data; formulaic says which names are missing."""
    needed = variables - (set(CONTEXT) - set(data.columns)) | ({group} if group else set())
    if "Intercept" in needed:
        raise DataError("a column named 'Intercept' cannot be told from the intercept of the model; rename it")
    for name in sorted(needed):
        if name not in data.columns:
            if any(re.search(rf"(?<![\w.`]){re.escape(name)}\(", text) for text in texts):
                known = f"write np.{name}()" if hasattr(np, name) else "write C() for categories, or make it a column"
                known = "pass offset= to lmmlib.fit_poisson" if name == "offset" else known
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


def _variables(terms) -> set[str]:
    """Names that the terms use; formulaic reads the quoted name `x.1` as an attribute of x."""
    plain = {factor.expr for term in terms for factor in term.factors if factor.eval_method.value == "lookup"}
    dotted = {name.split(".")[0] for name in plain if "." in name}
    return plain | {str(name) for name in terms.required_variables} - dotted


def _check_poly(spec: ModelSpec, frame: pd.DataFrame, formula: str) -> None:
    """Beyond the number of distinct values the columns of poly() are rounding noise."""
    for term, columns in spec.term_slices.items():
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
