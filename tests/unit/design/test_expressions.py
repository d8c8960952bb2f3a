"""A formula is not code: what it may hold, what is refused and how, and columns of any name."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lmmlib import build_design
from lmmlib.design.expressions import columns_of, mask, masked, unmask
from lmmlib.errors import DataError, FormulaError


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "x": rng.normal(3, 1, 120), "u": rng.uniform(1, 2, 120)})
    frame["t"] = np.tile(["p", "q", "r"], 40)
    return frame.assign(y=frame["x"] + rng.normal(size=120))


# ---------------------------------------------------------------- refused

REFUSED = {
    "I(x*0 + np.f2py.os.system('touch {path}'))": "np.f2py.os.system.* is not what a formula may hold",
    "np.savetxt('{path}', x)": "np.savetxt is not among the functions",
    "I(__import__('os').system('touch {path}'))": "not what a formula may hold",
    "(lambda: open('{path}', 'w'))()(x)": r"function open\(\)|not what a formula may hold",
    "I([open('{path}', 'w') for _ in x])": "not what a formula may hold",
    "I(x.__class__)": "not what a formula may hold",
    "I(x[0])": "not what a formula may hold",
    "I(f'{x}')": "not what a formula may hold",
    "np.zeros(3)": "np.zeros is not among the functions",
    "np.sqr(x)": "not among the functions.*perhaps you want np.sqrt",
    "np.log(x, u)": r"np.log takes 1 argument and no more",  # the second would be written over
    "np.log(x, where=x > 3)": "np.log takes 1 argument and no more",
    "np.add(x, u, out=x)": "np.add takes 2 arguments and no more",
    "scale(x, _state=1)": "options by name",
    "I(x.mean())": r"x.mean\(\) looks at all rows.*center\(x\).*scale\(x\).*poly.*bs",
    "I((x - x.mean()) / x.std())": "looks at all rows",
    "I(x - np.mean(x))": r"np.mean\(x\) looks at all rows",
    "np.cumsum(x)": "looks at all rows",
    "lag(x)": "looks at all rows",
    "exp10(x)": r"function exp10\(\)",  # of formulaic, where it is x**10
    "I(1 < x < 3)": "compare two things at a time",
    "I(x > 1 and x < 3)": "compare two things at a time",
    "I(3)": "no column in it",
    "2:x": "2 is no term",
    "x:2": "2 is no term",
    "x + np": "'np', which is not a column",
    "x %in% (0)": "instead of %in%",
    "(x + u)**10": "the power 10 of terms must be a whole number from 1 to 9",
    "x + (week [ g)": "square brackets",
    "{}": "nothing between its braces",
    "`x` + quoted_0_": "'quoted_0_', which is not a column",
    "`x` + quoted_9_": "'quoted_9_', which is not a column",
    "`x` + ``": "nothing between two",
    "I(x * (-1)**0.5)": "imaginary",
    "I(10**10**10 * x)": "OverflowError",
    "poly(x, 0)": "positive whole number",
    "poly(x, 2.5)": "positive whole number",
    "I(x) #": "parenthesis|#",
    "I('": "parenthesis|parse",
    "I(\0x)": "parse",
}


@pytest.mark.parametrize("term", REFUSED)
def test_what_is_not_listed_is_refused_before_anything_runs(data, term, tmp_path):
    path = tmp_path / "written"
    formulas = [f"y ~ {term} + (1 | g)", f"y ~ x + ({term} | g)", f"{term} ~ x + (1 | g)"]
    for formula in formulas[: 2 if term == "(x + u)**10" else 3]:  # as a response it is arithmetic
        text = formula.replace("{path}", str(path))
        with pytest.raises((FormulaError, DataError), match=REFUSED[term] if formula[0] == "y" else None) as caught:
            build_design(text, data)
        assert repr(text)[1:-1] in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("response", ["0", "1", "2.5", "", "I(2)", "'y'", "y#", "y, ", "{}"])
def test_a_response_without_a_column(data, response):
    with pytest.raises(FormulaError, match="no column in it|no term|both sides|parse|not what a formula|braces"):
        build_design(f"{response} ~ x + (1 | g)", data)


def test_columns_of():
    assert columns_of("I(a ** 2) + np.log(b) * np.pi") == {"a", "b"}
    assert columns_of("C(t, contr.treatment('q')) ") == {"t"}
    assert columns_of("Q('a b') + " + mask("c|d")) == {"a b", "c|d"}


@pytest.mark.parametrize("name", ["a b", "x.1", "_q61_", "é", "it's", "class", "a|b~c", "\ud800", "x[1]", "{", "I"])
def test_masks_are_undone(name):
    assert unmask(masked(f"x + `{name}`")) == f"x + `{name}`"
    assert mask(name).isidentifier()


def test_a_plain_name_like_a_mask_is_its_own_column(data):
    d = build_design("y ~ `x` + _q78_ + (1 | g)", data.assign(_q78_=data["u"]))
    assert_allclose(d.X[:, 1:], data[["x", "u"]])
    assert d.x_names == ("(Intercept)", "x", "_q78_")


@pytest.mark.parametrize("name", ["log", "I", "C", "np", "poly", "class", "a b", "_number", "contr", "x.y", "µ"])
def test_a_column_may_have_any_name_in_an_expression(data, name):
    named = data.rename(columns={"x": name})
    for text, expected in ((f"`{name}`", data["x"]), (f"I(`{name}`**2)", data["x"] ** 2), (f"log(`{name}` + 9)", None)):
        expected = np.log(data["x"] + 9) if expected is None else expected
        assert_allclose(build_design(f"y ~ {text} + (1 | g)", named).X[:, 1], expected, rtol=1e-14)
