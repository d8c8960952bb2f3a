"""lme4 formulas with one grouping factor, from text and data frame to a :class:`~lmmlib.design.Design`.

Only the random terms ``( ... | g)`` are taken apart here; both sides are expanded by formulaic.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec, model_matrix
from formulaic.errors import FactorEvaluationError, FormulaicError, FormulaParsingError

from lmmlib.design import Design
from lmmlib.errors import DataError, FormulaError
from lmmlib.frames import checked_rows, is_text

CONTEXT = {"np": np}


@dataclass(frozen=True)
class Parts:
    """A formula taken apart: ``response ~ fixed + (random | group)``."""

    response: str
    fixed: str
    random: str | None
    group: str | None
    diagonal: bool


def parse(formula: str) -> Parts:
    """Take an lme4 formula apart.

    ``(x || g)``, and ``(1 | g) + (0 + x | g)``, mean uncorrelated random effects (D diagonal).

    Parameters
    ----------
    formula : str
        ``y ~ x``, ``y ~ x + (1 | g)``, ``(x | g)``, ``(0 + x | g)``, ``(1 + x + I(x**2) | g)``, ``(x || g)``.

    Raises
    ------
    FormulaError
        If the formula does not parse or has several grouping factors.
    """
    if not isinstance(formula, str):
        raise FormulaError(f"the formula must be text such as 'y ~ x + (1 | g)'; got {type(formula).__name__}")
    sides = formula.split("~")
    if len(sides) != 2 or not sides[0].strip() or not sides[1].strip():
        raise FormulaError(f"{formula!r} must have the form 'response ~ terms', with one ~ and something on both sides")
    fixed, bars = _take_bars(sides[1], formula)
    if not bars:
        return Parts(sides[0].strip(), fixed or "1", None, None, False)
    groups = {group for _, group, _ in bars}
    if len(groups) > 1 or any(re.search(r"[:/*+]", g) for g in groups if not g.startswith("`")):
        raise FormulaError(
            f"{formula!r} has several grouping factors ({', '.join(sorted(groups))}); lmmlib fits one. For a cell of "
            "two factors, make one column of both and group by it; for crossed or nested effects use lme4 in R, "
            "MixedModels.jl, or bambi and PyMC in Python"
        )
    group = groups.pop()
    if not re.fullmatch(r"`[^`]+`|[^\W\d]\w*", group):
        raise FormulaError(f"the grouping factor in {formula!r} must be the name of a column; got {group!r}")
    if len(bars) == 1:
        random, _, double = bars[0]
        return Parts(sides[0].strip(), fixed or "1", random, group.strip("`"), double)
    columns = [_single_column(text, double) for text, _, double in bars]
    if None in columns or len(set(columns)) < len(columns):
        raise FormulaError(
            f"{formula!r} has several random terms for {group} that are not one column each; lmmlib has one full D, "
            f"(x | {group}), or one diagonal D, (x || {group}), which is (1 | {group}) + (0 + x | {group})"
        )
    random = " + ".join(["1" if "1" in columns else "0", *(c for c in columns if c != "1")])
    return Parts(sides[0].strip(), fixed or "1", random, group.strip("`"), True)


def _single_column(text: str, double: bool) -> str | None:
    """The one column of a random term such as ``1`` or ``0 + x``; None if it has more."""
    summands = [s.strip() for s in re.sub(r"-\s*1\b", "+ 0", text).split("+") if s.strip()]
    if summands == ["1"]:
        return "1"
    return summands[1] if len(summands) == 2 and summands[0] == "0" and not double else None


def _take_bars(text: str, formula: str) -> tuple[str, list[tuple[str, str, bool]]]:
    """Split the right-hand side into its fixed part and its ``(random | group)`` terms."""
    bars, fixed, depth, start = [], "", 0, 0
    for position, char in enumerate(text):
        if char == "(":
            if depth == 0:
                start = position
            depth += 1
        if depth == 0:
            fixed += char
        if char == ")":
            depth -= 1
            if depth < 0:
                raise FormulaError(f"{formula!r} has a closing parenthesis too many")
            if depth == 0:
                inside = text[start + 1 : position]
                if "|" in inside and re.search(r"(^|\+)\s*$", fixed):
                    bars.append(_bar(inside, formula))
                    fixed = re.sub(r"\+?\s*$", "", fixed) + " "
                else:
                    fixed += text[start : position + 1]
    if depth:
        raise FormulaError(f"{formula!r} has an opening parenthesis without its closing one")
    if "|" in fixed:
        raise FormulaError(f"a random term in {formula!r} needs parentheses of its own: + (x | g)")
    return re.sub(r"^\s*\+", "", fixed).strip(), bars


def _bar(inside: str, formula: str) -> tuple[str, str, bool]:
    match = re.fullmatch(r"([^|]*)(\|\|?)([^|]*)", inside)
    if not match or not match[1].strip() or not match[3].strip():
        raise FormulaError(f"the random term ({inside}) in {formula!r} must read (terms | group) or (terms || group)")
    return match[1].strip(), match[3].strip(), match[2] == "||"


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
    spec: ModelSpec = design.x_spec
    used = [name for name in data.columns if any(_mentions(str(t), name) for t in spec.formula)]
    for term, (kind, state) in spec.encoder_state.items():
        levels = state.get("categories") if hasattr(state, "get") else None
        if levels is not None and term in data.columns:
            unknown = sorted(set(data[term].astype(object)) - set(levels), key=str)
            if unknown:
                raise DataError(f"column {term!r} has the category {unknown[0]!r}; known are {', '.join(map(str, levels))}")
    frame, _ = checked_rows(data, used, [n for n in used if not _coded(n, design.formula)], "error")
    return _matrix(spec, frame, design.formula).to_numpy(float)


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
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"the data must be a pandas DataFrame; got {type(data).__name__}")
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
    return (
        f"{formula!r} uses {name!r}, which is not a column of the data ({', '.join(known)})"
        + (f"; perhaps you want {near[0]!r}" if near else "")
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
