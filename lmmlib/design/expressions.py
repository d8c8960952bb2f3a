"""What a formula may say in Python: names of columns, numbers, arithmetic, comparisons and the functions listed here.

An expression is read before anything evaluates it, and what is not listed is refused: a formula is text that may come
from anywhere, and it is no program. Numbers are computed in double precision, and comparisons are zeros and ones.
"""

from __future__ import annotations

import ast
import difflib
import re
from functools import lru_cache

import numpy as np
from formulaic.transforms import ContrastsRegistry

from lmmlib.errors import FormulaError

# Of each row by itself, so that new rows get what the old ones got; the number of arguments.
ELEMENTWISE = {
    name: getattr(np, name).nin
    for name in """
    abs add arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil cos cosh deg2rad degrees divide equal
    exp exp2 expm1 fabs floor floor_divide fmax fmin fmod greater greater_equal heaviside hypot isfinite less less_equal
    absolute log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor maximum minimum mod multiply
    negative not_equal positive power rad2deg radians reciprocal remainder rint sign sin sinh sqrt square subtract tan
    tanh true_divide trunc
    """.split()  # noqa: SIM905 - sixty names
} | {"where": 3, "clip": 3, "sinc": 1}
CONSTANTS = {"pi", "e"}
PLAIN = {"log", "log10", "log2", "exp", "exp2"}
STATEFUL = {"scale", "center", "standardize", "poly", "bs", "cr", "cs", "cc"}
CODINGS = {"Treatment", "Sum", "Helmert", "Diff", "Poly"}
CONTRASTS = {name for name in vars(ContrastsRegistry) if not name.startswith("_")}
KNOWN = PLAIN | STATEFUL | {"I", "C"}
AGGREGATES = set(
    """
    mean average median sum prod std var min max ptp quantile percentile cumsum cumprod cummax cummin diff rank shift
    nanmean nanstd nanmin nanmax nansum amin amax count size first last iloc loc values lag gradient sort argsort
    """.split()  # noqa: SIM905
)
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.FloorDiv, ast.Mod, ast.BitAnd)
RELATIONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)
INSTEAD = "center(x) for x - mean, scale(x) for (x - mean) / sd, poly(x, 2), bs(x, df=4), or a column of your own"
MASKED = re.compile(r"_q([0-9a-f]+)_")


def mask(name: str) -> str:
    """An identifier that stands for a column of any name."""
    return f"_q{name.encode('utf-8', 'surrogatepass').hex()}_"


def unmask(text: str, quote: str = "`") -> str:
    """The names again, in backticks."""
    return MASKED.sub(lambda m: f"{quote}{bytes.fromhex(m[1]).decode('utf-8', 'surrogatepass')}{quote}", text)


def masked(text: str) -> str:
    """A formula with its backtick names as identifiers; also a plain name that looks like one of these."""

    def one(match: re.Match) -> str:
        found = match[0]
        return mask(found.strip("`")) if found[0] not in "\"'" else found

    return re.sub(r"\"[^\"]*\"|'[^']*'|`[^`]+`|\b_q[0-9a-f]+_\b", one, text)


def column_name(identifier: str) -> str:
    """The column that an identifier of a masked formula stands for."""
    return unmask(identifier, "") if MASKED.fullmatch(identifier) else identifier


@lru_cache(maxsize=512)
def columns_of(expression: str) -> frozenset[str]:
    """Names of the columns in an expression, after the check that it holds nothing but what is listed.

    Raises
    ------
    FormulaError
        Names the part that is not.
    """
    if "#" in re.sub(r"\"[^\"]*\"|'[^']*'", "", expression):
        raise FormulaError(f"{unmask(expression)!r} does not parse: # has no meaning in it")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        where = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise FormulaError(f"{unmask(expression)!r} does not parse{where}") from None
    names = frozenset(_names(tree))
    if not names:
        raise FormulaError(f"{unmask(expression)!r} has no column in it; multiply a column by it, as in I(2 * x)")
    return names


def _names(node: ast.AST) -> set[str]:
    """Columns that a part of an expression uses; raises at the first thing that is not listed."""
    match node:
        case ast.Name(id=name):
            return {column_name(name)}
        case ast.Constant(value=bool() | int() | float() | str()):
            return set()
        case ast.Attribute(value=ast.Name(id="np"), attr=name) if name in CONSTANTS:
            return set()
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, OPERATORS):
            return _names(left) | _names(right)
        case ast.BinOp(op=ast.BitXor()):
            raise FormulaError(f"in {_text(node)} write the power in Python's way, as in I(x**2)")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _names(operand)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if isinstance(op, RELATIONS):
            return _names(left) | _names(right)
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            raise FormulaError(
                f"in {_text(node)} compare two things at a time, joined by & or np.logical_or: (1 < x) & (x < 3)"
            )
        case ast.Call():
            return _names_of_call(node)
    raise FormulaError(_refusal(node))


def _names_of_call(node: ast.Call) -> set[str]:
    """Columns in a call of a listed function, whose further arguments may be lists of numbers or texts, or codings."""
    match node:
        case ast.Call(func=ast.Name(id="Q"), args=[ast.Constant(value=str() as name)], keywords=[]):
            return {name}
        case ast.Call(func=ast.Name(id="Q")):
            raise FormulaError(f"{_text(node)} must name one column, as in Q('a name')")
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in KNOWN - PLAIN:
            if not args or any(k.arg is None or k.arg.startswith("_") for k in keywords):
                raise FormulaError(f"{_text(node)} must be given a column first, then options by name")
            for option in [*args[1:], *(k.value for k in keywords)]:
                _require_option(option)
            return _names(args[0])
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr=name)) if name in ELEMENTWISE:
            wanted = ELEMENTWISE[name]
        case ast.Call(func=ast.Name(id=name)) if name in PLAIN:
            wanted = 1
        case _:
            raise FormulaError(_refusal(node))
    if len(node.args) != wanted or node.keywords:
        raise FormulaError(
            f"{_text(node.func)} takes {wanted} argument{'s' * (wanted > 1)} and no more; got {_text(node)}"
        )
    return set().union(*map(_names, node.args))


def _require_option(node: ast.AST) -> None:
    """Raise unless the argument of a function is made of constants, or is a coding of categories."""
    parts: list = []
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str()):
            pass
        case ast.Name(id=name) if name in CODINGS:
            pass
        case ast.Attribute(value=ast.Name(id="contr"), attr=name) if name in CONTRASTS:
            pass
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            parts = [inner]
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            parts = elements
        case ast.Dict(keys=keys, values=values) if None not in keys:
            parts = [*keys, *values]
        case ast.Call(func=ast.Name() | ast.Attribute() as function, args=args, keywords=keywords):
            parts = [function, *args, *(k.value for k in keywords)]
            if isinstance(function, ast.Name) and function.id not in CODINGS:
                raise FormulaError(_refusal(node))
        case _:
            raise FormulaError(_refusal(node))
    for part in parts:
        _require_option(part)


def _refusal(node: ast.AST) -> str:
    """Why a part of an expression is refused, and what to write instead."""
    called = node.func if isinstance(node, ast.Call) else node
    name = getattr(called, "attr", None) or getattr(called, "id", None)
    if name in AGGREGATES:
        return (
            f"{_text(node)} looks at all rows, so that a prediction would depend on the other new rows; write {INSTEAD}"
        )
    if isinstance(node, ast.Call) and isinstance(called, ast.Name):
        known = f"write np.{name}()" if name in ELEMENTWISE else "write C() for categories, or make it a column"
        known = "pass offset= to lmmlib.fit or lmmlib.fit_glmm" if name == "offset" else known
        return f"it uses the function {name}(), which is not known here; {known}"
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in {"np", "contr"}:
        close = difflib.get_close_matches(called.attr, [*ELEMENTWISE, *CONTRASTS], n=1)
        near = f"; perhaps you want {called.value.id}.{close[0]}" if close else ""
        return f"{_text(called)} is not among the functions that a formula may use{near}; make it a column of the data"
    return (
        f"{_text(node)} is not what a formula may hold: columns, numbers, arithmetic, comparisons, numpy's functions "
        "of single values, C(), I(), poly(), bs(), scale(), center(); a name such as a.b is written `a.b`; compute "
        "anything else as a column"
    )


def _text(node: ast.AST) -> str:
    return unmask(ast.unparse(node))


def single_column(expression: str) -> str | None:
    """The column x of an expression C(x, ...), None for any other expression."""
    match ast.parse(expression.strip(), mode="eval").body:
        case ast.Call(func=ast.Name(id="C"), args=[ast.Name(id=name), *_]):
            return column_name(name)
    return None
