"""A formula is not code: what it may hold, what is refused and how, and numbers that overflow nowhere."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from formulaic.errors import DataMismatchWarning
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import build_design
from lmmlib.design import evaluation
from lmmlib.design.expressions import ELEMENTWISE, columns_of, mask, masked, unmask
from lmmlib.design.formula import fixed_matrix
from lmmlib.errors import DataError, DesignError, FormulaError


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


def test_every_listed_function_works_row_by_row(data):
    """On single rows it gives what it gives on all of them, which is what numpy gives."""
    for name, n_arguments in ELEMENTWISE.items():
        arguments = ["u / 2", "u", "u * 2"][:n_arguments] if n_arguments > 1 else ["(u - 1)" if "arc" in name else "u"]
        arguments = ["u + 1"] if name == "arccosh" else arguments
        text = f"np.{name}({', '.join(arguments)})"
        if name == "arctanh":
            text = "np.arctanh(u - 1.0001)"
        design = build_design(f"y ~ 0 + {text} + (1 | g)", data)
        expected = [float(eval(text, {"np": np, "u": value})) for value in data["u"]]
        assert_allclose(design.X[:, 0], expected, rtol=1e-14, err_msg=name)
        assert_allclose(fixed_matrix(design, data[5:6]), design.X[5:6], rtol=1e-14, err_msg=name)


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


# ---------------------------------------------------------------- right numbers


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64", "Int8", "int8[pyarrow]", bool])
def test_integers_do_not_overflow_and_truth_values_add(data, dtype):
    if "pyarrow" in str(dtype):
        pytest.importorskip("pyarrow")
    largest = {"8": 127, "16": 30_000, "32": 2e9, "64": 9e15}.get("".join(filter(str.isdigit, str(dtype))), 1)
    a = np.round(data["u"] / 2 * largest) if largest > 1 else data["u"] > 1.5
    b = np.round(data["x"].abs() / 9 * largest) if largest > 1 else data["x"] > 3
    whole, typed = data.assign(a=a.astype(float), b=b.astype(float)), data.assign(a=a.astype(dtype), b=b.astype(dtype))
    texts = ["a:b", "I(a**3)", "I(a - b - 3)", "I(a + b)", "poly(a, 1, raw=True)", "a*b", "I(-a)", "np.square(a)"]
    for text in texts:
        design = build_design(f"y ~ 0 + {text} + (0 + {text} | g)", typed)
        expected = build_design(f"y ~ 0 + {text} + (0 + {text} | g)", whole).X
        assert_allclose(design.X, expected, rtol=1e-15, err_msg=text)
        assert_allclose(design.Z, expected, rtol=1e-15, err_msg=text)
        assert_allclose(fixed_matrix(design, typed), expected, rtol=1e-15, err_msg=text)
        if ":" not in text and "*" not in text.replace("**", "") and "poly" not in text:
            assert_allclose(build_design(f"{text} ~ x + (1 | g)", typed).y, expected[:, 0], rtol=1e-15)
    assert_allclose(build_design("y ~ 0 + I(a**3) + (1 | g)", typed).X[:, 0], whole["a"] ** 3, rtol=1e-15)


def test_the_slope_of_a_product_of_integers():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(12), 10)
    a, b = rng.integers(20_000, 90_000, (2, 120))
    y = 1e-9 * a * b + rng.normal(size=120)
    d = pd.DataFrame({"g": g, "a": a.astype("int32"), "b": b.astype("int32"), "y": y})
    fit, same = (lmmlib.fit("y ~ a:b + (1 | g)", frame) for frame in (d, d.astype({"a": float, "b": float})))
    assert fit.beta["a:b"] == pytest.approx(same.beta["a:b"], rel=1e-12)
    assert fit.beta["a:b"] == pytest.approx(1e-9, abs=4 * same.se["a:b"])


def test_comparisons_are_numbers_and_logic_is_logic(data):
    low, high = data["x"] < 2, data["u"] > 1.5
    cases = {"I((x < 2) + (u > 1.5))": low * 1 + high, "I((x < 2) & (u > 1.5))": low & high}
    cases |= {
        "np.logical_or(x < 2, u > 1.5)": low | high,
        "I(-(x < 2))": -1.0 * low,
        "I(np.logical_not(x < 2) * x)": data["x"] * ~low,
    }
    cases |= {"I((t == 'p') + (t != 'q'))": (data["t"] == "p") * 1 + (data["t"] != "q")}
    for text, expected in cases.items():
        assert_allclose(build_design(f"y ~ {text} + (1 | g)", data).X[:, 1], expected.astype(float), err_msg=text)
    assert build_design("y ~ C(x > 3) + (1 | g)", data).x_names[1] == "C(x > 3)True"


def test_predictions_do_not_depend_on_the_other_new_rows(data):
    for text in (
        "scale(x)",
        "center(x)",
        "poly(x, 3)",
        "bs(x, df=5)",
        "cr(x, df=4)",
        "standardize(x)",
        "np.exp(scale(x))",
    ):
        design = build_design(f"y ~ {text} + ({text} | g)", data)
        assert_allclose(fixed_matrix(design, data[3:4]), design.X[3:4], rtol=1e-12, atol=1e-14, err_msg=text)


# ---------------------------------------------------------------- categories and names


def test_categories_outside_levels(data):
    for text in ("C(t, levels=['p', 'q'])", "x:C(t, levels=['p', 'q'])"):
        with pytest.raises(DataError, match=r"'t' has the category 'r', which levels=\['p', 'q'\] leaves out"):
            build_design(f"y ~ {text} + (1 | g)", data)
    design = build_design("y ~ C(t, levels=['r', 'q', 'p']) + (1 | g)", data)
    assert_allclose(design.X[:, 1:], np.column_stack([data["t"] == "q", data["t"] == "p"]))
    with pytest.raises(FormulaError, match="names a category twice"):
        build_design("y ~ C(t, levels=['p', 'q', 'q', 'r']) + (1 | g)", data)


def test_no_warning_of_another_library_is_the_only_sign(data):
    """New categories of an expression: formulaic warns, and takes them for the reference."""
    design = build_design("y ~ C(np.floor(u)) + (1 | g)", data.assign(u=np.tile([0.0, 1.0], 60)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=r"categories that the design has not: \{.*7"):
            fixed_matrix(design, data.assign(u=7.0))


TOLD = [DataMismatchWarning, RuntimeWarning, UserWarning]


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("formula", ["y ~ C(t) + (1 | g)", "y ~ x + (C(t) | g)", "I(x + C(t)) ~ x + (1 | g)"])
def test_what_a_library_warns_of_is_an_error(data, monkeypatch, kind, formula):
    """While a design is made, of any side of the formula, also for someone who ignores warnings."""

    def warning(values, **_):
        warnings.warn("only a warning, of {'z'}", kind, stacklevel=1)
        return values

    monkeypatch.setitem(evaluation.CONTEXT, "C", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((DataError, FormulaError), match=f"{re.escape(formula)}.*(warning|{{'z'}})"):
            build_design(formula, data)


def test_the_warning_about_levels_is_an_error_too(data, monkeypatch):
    """formulaic's own C(), which warns of categories outside levels and takes them for the reference."""
    monkeypatch.setitem(evaluation.CONTEXT, "C", evaluation.formulaic_C)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((DataError, FormulaError), match=r"\{'r'\}"):
            build_design("y ~ C(t, levels=['p', 'q']) + (1 | g)", data)


NAMES = {
    "y ~ f + fb + (1 | g)": ("fb", r"f\[T.b\] and fb"),
    "y ~ `x[1]` + x1 + (1 | g)": None,
    "y ~ `a:b` + a:b + (1 | g)": ("a:b", "a:b"),
    "y ~ `(Intercept)` + (1 | g)": (r"\(Intercept\)", r"\(Intercept\)"),
    "y ~ x1 + (`(Intercept)` | g)": (r"\(Intercept\)", r"\(Intercept\)"),
}


@pytest.mark.parametrize("formula", NAMES)
def test_two_coefficients_of_one_name(data, formula):
    columns = {
        n: np.random.default_rng(1).normal(size=120) for n in ("fb", "x[1]", "x1", "a:b", "a", "b", "(Intercept)")
    }
    frame = data.assign(f=np.tile(list("abc"), 40), **columns)
    if NAMES[formula] is None:
        design = build_design(formula, frame)
        assert design.x_names == ("(Intercept)", "x[1]", "x1")
        return
    name, both = NAMES[formula]
    with pytest.raises(DesignError, match=f"two coefficients have the name '{name}': .*{both}.*rename"):
        build_design(formula, frame)


def test_two_columns_of_arrays_with_one_name(data):
    X = np.column_stack([np.ones(120), data["x"]])
    for names in ({"x_names": ["a", "a"]}, {"z_names": ["a", "a"]}):
        with pytest.raises(DesignError, match="two coefficients have the name 'a': column 0 and column 1"):
            lmmlib.Design.from_arrays(data["y"], X, X, data["g"], **names)
