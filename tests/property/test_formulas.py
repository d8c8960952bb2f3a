"""Random formulas, and broken ones: an lmmlib error, or columns that plain Python computes alike, row by row."""

import re

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lmmlib import build_design
from lmmlib.design.formula import fixed_matrix
from lmmlib.errors import DataError, DesignError, FormulaError

# `make fuzz` asks for more.
EXAMPLES = max(300, settings().max_examples)
ROWS = 24
rng = np.random.default_rng(8)
DATA = pd.DataFrame(
    {
        "y": rng.normal(size=ROWS),
        "a": rng.uniform(0.5, 3, ROWS),
        "b": rng.normal(size=ROWS),
        "k": rng.integers(90, 128, ROWS).astype(np.int8),  # any sum or product overflows
        "u": rng.integers(0, 4, ROWS).astype(np.uint8),
        "flag": rng.uniform(size=ROWS) > 0.4,
        "sign": rng.uniform(size=ROWS) > 0.5,
        "c d": rng.uniform(size=ROWS),
        "log": rng.uniform(1, 2, ROWS),
        "t": np.tile(["p", "q", "r"], ROWS // 3),
        "g": np.repeat(np.arange(6), 4),
    }
)
NUMERIC = ["a", "b", "k", "u", "flag", "sign", "`c d`", "log"]

expression = st.recursive(
    st.sampled_from([*NUMERIC, "2", "0.5", "3"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner),
        st.builds("{} ** {}".format, st.sampled_from(NUMERIC), st.sampled_from(["2", "3"])),
        st.builds("(-{})".format, inner),
        st.builds("np.{}({})".format, st.sampled_from(["exp", "sqrt", "abs", "log1p", "tanh", "floor"]), inner),
        st.builds("np.{}({}, {})".format, st.sampled_from(["maximum", "minimum", "hypot", "power"]), inner, inner),
        st.builds("np.where({} > {}, {}, {})".format, inner, inner, inner, inner),
    ),
    max_leaves=6,
)
stateful = st.sampled_from(["scale(k)", "center(a)", "poly(a, 2)", "bs(b, df=4)", "C(u)", "C(t, contr.sum)", "t"])
factor = st.one_of(st.sampled_from(NUMERIC), st.builds("I({})".format, expression), stateful)
term = st.lists(factor, min_size=1, max_size=2, unique=True).map(":".join)
side = st.builds("{}{}".format, st.sampled_from(["", "0 + "]), st.lists(term, min_size=1, max_size=3).map(" + ".join))
response = st.one_of(st.just("y"), st.builds("I({})".format, expression), expression)
random = st.one_of(st.just("1"), st.just("0 + a"), term)
formula = st.builds("{} ~ {} + ({} | g)".format, response, side, random)

WEIRD = [
    *"()[]{}`'\"~|+-*/^:%$#@!.,;=<>&\\?\n\t\0 019",
    *"""
    a b k t g y x np I C Q C( I( ) || ** %in% == := ... `c d` (1|g) é ﬁ µ _q61_ quoted_0_ quoted_9_ 1e400 0x1f 1j
    x.mean() np.mean(a) a.mean() np.os np.zeros(3) __import__('os') lambda None True b'a' f'{a}' a[0] a.values 1_000
    np.log(a,b) exp10(a) lag(a) hashed(t,levels=2) poly(a,99) poly(a,-1) bs(a,df=1) if else for in not is Q('a') Q('zz')
    C(t,levels=['p','q']) C(t,levels=['p','p','q','r']) scale(a,_state=1) np.add(a,b,out=a) center(a,b) poly(raw=a)
    """.split(),  # noqa: SIM905
]


@st.composite
def broken(draw):
    """A formula of which some characters are dropped, doubled or replaced, or into which something weird is put."""
    text = draw(formula)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 3)))
        text = text[:start] + draw(st.sampled_from(["", text[start:end] * 2, *WEIRD])) + text[end:]
    return text


class OfFloats:
    """numpy's functions from Python's floats to Python's floats: numpy's own truth values neither add nor take exp."""

    def __getattr__(self, name):
        return getattr(np, name) if name in {"pi", "e"} else lambda *args: float(getattr(np, name)(*map(float, args)))


def by_hand(name: str) -> np.ndarray | None:
    """A column or the response from its name, in plain Python, row by row; None for categories and bases."""
    code = name.replace("(Intercept)", "1.0").replace("`c d`", "c_d").replace("c d", "c_d").replace(":", ")*(")
    code = re.sub(r"\blog(?!\w|\()", "log_", code)
    if re.search(r"(scale|center|poly|bs|cr|cc|C|standardize|Q)\(|[~\n]|(?<![\w'\"])t[pqr]?(?![\w(])", code):
        return None
    space = {"__builtins__": {}, "np": OfFloats(), "I": lambda v: v}
    space |= {f: getattr(OfFloats(), f) for f in ("log", "log2", "log10", "exp", "exp2")}
    compiled, values = compile(f"({code.strip()})", "name", "eval"), []
    for row in DATA.drop(columns="t").to_dict("records"):
        row = {k: v if isinstance(v, bool) else float(v) for k, v in row.items()}
        row |= {"c_d": row["c d"], "log_": row["log"]}
        try:
            with np.errstate(all="ignore"):
                values.append(float(eval(compiled, space, row)))  # names that the package let through
        except (ZeroDivisionError, OverflowError, TypeError):
            return None
    return np.array(values)


def check(text: str) -> bool:
    """True if there is a design, after its columns are compared; False after an lmmlib error that shows the formula."""
    try:
        design = build_design(text, DATA)
    except (FormulaError, DataError, DesignError) as error:
        assert str(error).strip() and ("_q61_" in text or "_q61_" not in str(error))
        return False
    for name, column in zip(design.x_names, design.X.T, strict=True):
        expected = by_hand(name)
        if expected is not None:
            assert_allclose(column, expected, rtol=1e-12, atol=1e-300, err_msg=f"{name} of {text!r}")
    expected = by_hand(design.response)
    if expected is not None:
        assert_allclose(design.y, expected, rtol=1e-12, atol=1e-300, err_msg=text)
    scale = np.abs(design.X).max(axis=0, initial=1e-300)
    new = fixed_matrix(design, DATA.iloc[[20, 3]])
    assert_allclose(new / scale, design.X[[20, 3]] / scale, rtol=1e-9, atol=1e-12, err_msg=text)
    return True


@given(formula)
@settings(max_examples=EXAMPLES // 3)
def test_columns_are_what_their_names_say(text):
    check(text)


@given(broken())
@settings(max_examples=EXAMPLES - EXAMPLES // 3)
def test_a_broken_formula_is_a_named_error_or_another_formula(text):
    check(text)


def test_the_grammar_makes_formulas_that_fit():
    """Not vacuous: most of the whole formulas give a design, most of the broken ones do not."""
    found = {}
    for name, strategy in {"whole": formula, "broken": broken()}.items():
        outcomes = found[name] = []

        @settings(max_examples=100, derandomize=True, database=None, deadline=None)
        @given(strategy.map(check))
        def collect(fits):
            outcomes.append(fits)  # noqa: B023 - called in the same turn

        collect()
    assert np.mean(found["whole"]) > 0.4 and np.mean(found["broken"]) < 0.6


@given(st.data())
@settings(max_examples=40)
def test_factors_span_what_their_full_dummies_span(data):
    """Terms of numbers and categories: the columns span the products with all dummies, as in R."""
    values = {name: DATA[name].to_numpy(float)[:, None] for name in ("a", "b", "u")}
    values |= {f"C({n})" if n == "u" else n: pd.get_dummies(DATA[n]).to_numpy(float) for n in ("t", "u")}
    values["u"] = DATA["u"].to_numpy(float)[:, None]
    factors = st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=2, unique=True)
    terms = data.draw(st.lists(factors, min_size=1, max_size=3))
    intercept = data.draw(st.booleans())
    text = "y ~ " + ("1" if intercept else "0") + "".join(f" + {':'.join(names)}" for names in terms) + " + (1 | g)"
    full = [np.ones((ROWS, 1))] * intercept
    for names in terms:
        product = np.ones((ROWS, 1))
        for name in names:
            product = np.einsum("ni,nj->nij", product, values[name]).reshape(ROWS, -1)
        full.append(product)
    full, X = np.column_stack(full), build_design(text, DATA).X
    for one, other in ((full, X), (X, full)):
        assert_allclose(one @ np.linalg.lstsq(one, other)[0], other, atol=1e-8, err_msg=text)
