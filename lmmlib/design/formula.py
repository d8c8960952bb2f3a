"""lme4 formulas with one grouping factor, from text and data frame to a :class:`~lmmlib.design.design.Design`.

The random terms ``( ... | g)`` are taken apart in :mod:`lmmlib.design.syntax`; what a side may hold is checked in
:mod:`lmmlib.design.expressions`, and both sides are expanded in :mod:`lmmlib.design.evaluation`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec
from formulaic.errors import FormulaicError
from formulaic.parser.algos.tokenize import tokenize

from lmmlib.common.arguments import checked_choice, checked_made, perhaps
from lmmlib.design.dependent import without_dependent, without_dropped
from lmmlib.design.design import Design, check_names
from lmmlib.design.evaluation import Side, matrix, names_in, plain
from lmmlib.design.expressions import columns_of, masked, single_column, unmask
from lmmlib.design.frames import check_frame, checked_rows, group_codes, is_text
from lmmlib.design.known import known_values
from lmmlib.design.syntax import Parts, parse
from lmmlib.errors import DataError, FormulaError

# (a + b)^k has a number of terms that grows with the power of k.
LARGEST_POWER = 9


def read(formula: str) -> tuple[Parts, Side, Side, Side | None]:
    """A formula taken apart, and its response, fixed and random sides after all checks that need no data.

    Raises
    ------
    FormulaError
        With the formula and the place where reading it stops.
    """
    parts = parse(formula)
    if re.search(r"\{\s*\}", formula):
        raise FormulaError(f"{formula!r} has nothing between its braces")
    # A response such as y - 1 is arithmetic, not formula algebra.
    plain_name = re.fullmatch(r"[\w.]+|`[^`]+`", parts.response)
    response = f"0 + {parts.response}" if plain_name else f"0 + {{{parts.response}}}"
    try:
        y, x = _side(masked(response)), _side(masked(parts.fixed))
        z = None if parts.random is None else _side(masked(parts.random))
    except FormulaError as error:
        raise FormulaError(f"{formula!r}: {error}") from None
    if not y.columns:
        raise FormulaError(f"{formula!r}: the response {parts.response!r} has no column in it")
    return parts, y, x, z


@lru_cache(maxsize=512)
def _side(text: str) -> Side:
    if re.search(r"(^|[\s+(])\.($|[\s+)])", text):
        raise FormulaError("it uses a dot for all other columns; name the columns instead")
    try:
        tokens = [(token.token, token.kind.value) for token in tokenize(text)]
    except Exception as error:
        raise FormulaError(f"does not parse: {plain(error)}") from None
    _check_tokens(tokens)
    try:
        terms = Formula(text)
    except FormulaicError as error:
        raise FormulaError(f"does not parse: {plain(error)}") from None
    except Exception:  # formulaic's parser stumbles in many ways over what it cannot read
        raise FormulaError(f"{unmask(text)!r} does not parse: its operators and parentheses do not fit") from None
    calls = [factor.expr for term in terms for factor in term.factors if factor.eval_method.value == "python"]
    coded = frozenset(name for name in map(single_column, calls) if name)
    return Side(terms, frozenset(names_in(terms)), coded)


def _check_tokens(tokens: list[tuple[str, str]]) -> None:
    """Raise at what formulaic would evaluate, or read in a way of its own."""
    for (before, _), (token, kind) in zip([("", ""), *tokens], tokens, strict=False):
        if kind == "python":
            columns_of(token)  # reading it as formulaic does is evaluating some of it
        elif token == "in":
            raise FormulaError("write a/b for b within a, or the interaction a:b, instead of %in%")
        elif token in {"[", "]"}:
            raise FormulaError("does not parse: square brackets have no meaning in it")
        elif before in {"^", "**"} and not (token.isdecimal() and 0 < int(token) <= LARGEST_POWER):
            raise FormulaError(f"the power {token} of terms must be a whole number from 1 to {LARGEST_POWER}")
        elif kind == "value" and before not in {"^", "**"} and token[0] not in "\"'" and token not in {"0", "1"}:
            raise FormulaError(f"does not parse: {token} is no term; write I({token} * x) for a multiple of x")


def build_design(
    formula: str,
    data: pd.DataFrame,
    *,
    missing: str = "error",
    weights=None,
    offset=None,
    trials=None,
    drop: str | None = None,
) -> Design:
    """Design of a mixed model from an lme4 formula and a data frame.

    Equation :eq:`lmm` of the book. Categorical columns are coded by treatment contrasts, the first level
    being the reference, and columns are named as lme4 names them.

    A formula is no program: besides the operators it may hold columns (in backticks if their names need it), numbers,
    arithmetic, comparisons joined by ``&`` and ``|``, numpy's functions of single values (``np.log(x)``), ``I()``,
    ``C()``, and ``poly``, ``bs``, ``cr``, ``cc``, ``scale`` and ``center``, which keep for new rows what they took from
    these. Numbers, truth values too, are computed in double precision. Anything else is an error before it is
    evaluated.

    Parameters
    ----------
    formula : str
        lme4 syntax with at most one grouping factor, such as ``"lead ~ week * treatment + (week | id)"``.
    data : DataFrame
        One row per observation, in any order.
    missing : {"error", "drop"}
        What to do with rows in which a column that the formula uses is missing.
    weights : str, Series or (n_obs,) array, optional
        A column of the data or values: known precisions, the residual variance of a row being sigma2 over its weight.
    offset : str, Series or (n_obs,) array, optional
        A column of the data or values: a known part of the mean.
    trials : str, Series or (n_obs,) array, optional
        A column of the data or values: of how many trials the response counts the successes.
    drop : {"dependent"}, optional
        Leave out columns of the fixed effects that are linear combinations of earlier ones, at which fits stop
        otherwise; the design names them as ``dropped``.

    Returns
    -------
    Design
        ``y``, ``X``, ``Z`` and the groups. Without a random term ``Z`` has no columns and all rows are one group;
        with ``(0 | g)`` it has no columns either, and the groups are kept.

    Raises
    ------
    FormulaError
        If the formula does not parse, asks for several grouping factors, or holds what is not listed above.
    DataError
        If a column is missing, a category is not among the levels, or a column holds missing values, infinities, or
        text among numbers; names column and row.
    """
    if drop is not None:
        checked_choice("drop", drop, ("dependent",))
    parts, response, fixed, random = read(formula)
    check_frame(data)
    given = {"weights": weights, "offset": offset, "trials": trials}
    given = {name: one for name, one in given.items() if one is not None}
    known, n_rows = dict[str, Any](), len(data)
    if given:
        known, there = known_values(given, data, missing)
        data = data[there]
    sides = [side for side in (response, fixed, random) if side]
    variables, coded = ({name for side in sides for name in getattr(side, key)} for key in ("columns", "coded"))
    used = _columns_used(variables | ({parts.group} if parts.group else set()), data, formula)
    # A grouping column that is also a predictor is checked as one.
    label = parts.group if parts.group not in variables else None
    frame, complete = checked_rows(data, used, set(used) - {parts.group} - coded, missing, label)
    y = matrix(response, frame, formula)[0]
    if y.shape[1] != 1 or any(is_text(frame[name]) for name in response.columns):
        raise DataError(
            f"the response {parts.response!r} must be one numeric column; of texts such as yes and no make truth "
            "values, as in data['y'] == 'yes'"
        )
    X, x_spec = matrix(fixed, frame, formula)
    if random is None:
        group, names = np.zeros(len(frame), int), ("all",)
        Z, z_spec = np.zeros((len(frame), 0)), None
    else:
        group, names = group_codes(frame[parts.group])
        # Often the two sides are the same; then they are the same array too.
        Z, z_spec = (X, x_spec) if random.terms == fixed.terms else matrix(random, frame, formula)
        _check_random(z_spec, parts, formula)
    known = {name: values[complete] for name, values in known.items()}
    known |= {f"{name}_column": one for name, one in given.items() if isinstance(one, str)}
    design = Design(
        y=y[:, 0],
        X=X,
        Z=Z,
        group=group,
        group_names=names,
        x_names=lme4_names(x_spec),
        z_names=() if z_spec is None else lme4_names(z_spec),
        response=parts.response,
        grouping=parts.group or "all",
        formula=formula,
        diagonal=parts.diagonal,
        n_dropped=n_rows - len(frame),
        columns={name: _levels(frame[name], name in coded) for name in used if name != label},
        x_spec=x_spec,
        z_spec=z_spec,
        **known,
    )
    return without_dependent(design) if drop else design


def _check_random(spec: ModelSpec, parts: Parts, formula: str) -> None:
    """Raise if the random side has no columns, or uncorrelated ones that depend on the coding of a factor."""
    if not spec.column_names and parts.random != "0":
        raise FormulaError(
            f"the random term of {formula!r} has no columns; write (1 | {parts.group}), or (0 | {parts.group}) for no "
            "random effects"
        )
    wide = [unmask(str(term)) for term, s in spec.term_slices.items() if s.stop - s.start > 1]
    wide += [unmask(column) for column in spec.column_names if "[T." in column]
    if parts.diagonal and wide:
        raise FormulaError(
            f"uncorrelated random effects (||) of {wide[0]}, which stands for several columns, depend on its coding; "
            f"in {formula!r} write its columns as numbers, one term each, or use a single bar"
        )


def fixed_matrix(design: Design, data: pd.DataFrame) -> np.ndarray:
    """Fixed-effects rows X of new data, coded as the design's own, (rows, p).

    Raises
    ------
    DataError
        If a column is missing or holds a category that the design has not seen, or one that was left out of the
        design is not the same combination of the others here.
    """
    checked_made("design", design, Design, "build_design")
    X = _new_matrix(design, design.x_spec, data)
    return without_dropped(design, X, lme4_names(design.x_spec))


def random_matrix(design: Design, data: pd.DataFrame) -> np.ndarray:
    """Random-effects rows Z of new data, coded as the design's own, (rows, q); the grouping column is not used.

    Raises
    ------
    DataError
        As :func:`fixed_matrix`.
    """
    checked_made("design", design, Design, "build_design")
    return _new_matrix(design, design.z_spec, data)


def _new_matrix(design: Design, spec: ModelSpec | None, data: pd.DataFrame) -> np.ndarray:
    """One side of the formula for new data."""
    if design.x_spec is None:
        raise DataError("this design was made from arrays, so new rows must be given as an array too")
    check_frame(data)
    if spec is None:
        return np.zeros((len(data), 0))
    needed = names_in(spec.formula)
    used = [name for name in design.columns if name in needed]
    require_columns(used, data, design.formula)
    numeric = {name for name in used if design.columns[name] is None}
    frame, _ = checked_rows(data, used, numeric, None, new=True)
    for name in used:
        levels = design.columns[name]
        if levels is None and is_text(frame[name]):
            raise DataError(f"column {name!r} holds {data[name].dtype} values where the design has numbers")
        unknown = [] if levels is None else sorted(set(frame[name]) - set(levels), key=str)
        if unknown:
            known = ", ".join(map(str, levels))
            raise DataError(
                f"column {name!r} has the category {unknown[0]!r}, which the design has not; it has {known}"
            )
    return matrix(spec, frame, design.formula)[0]


def _levels(column: pd.Series, coded: bool) -> tuple | None:
    """The categories of a column, None for numbers."""
    return tuple(pd.unique(column)) if coded or is_text(column) else None


def _columns_used(needed: set[str], data: pd.DataFrame, formula: str) -> list[str]:
    """Names of the columns that the formula needs, in the order of the data."""
    if "Intercept" in needed:
        raise DataError("a column named 'Intercept' cannot be told from the intercept of the model; rename it")
    require_columns(sorted(needed), data, formula)
    return [name for name in data.columns if name in needed]


def require_columns(names: list[str], data: pd.DataFrame, formula: str) -> None:
    """Raise at the first of these names that is no column of the data."""
    for name in names:
        if name not in data.columns:
            known = [str(c) for c in data.columns]
            there = f"({', '.join(known)}){perhaps(name, known)}"
            raise DataError(f"{formula!r} uses {name!r}, which is not a column of the data {there}")


# A name that stands alone, the category of a factor, a name in an expression: of formulaic's name of a column.
_PARTS = re.compile(r"(?<![^:])(_q[0-9a-f]+_)(?=$|[:\[])|(?<=[\w)])\[(?:T\.)?([^\]]*)\]|(_q[0-9a-f]+_)")


def lme4_names(spec: ModelSpec) -> tuple[str, ...]:
    """lme4's names of the columns: "(Intercept)", and categories without formulaic's brackets."""

    def part(match: re.Match) -> str:
        return unmask(match[1], "") if match[1] else unmask(match[3]) if match[3] else match[2]

    names = ["(Intercept)" if name == "Intercept" else _PARTS.sub(part, name) for name in spec.column_names]
    check_names(names, [unmask(name) for name in spec.column_names])
    return tuple(names)
