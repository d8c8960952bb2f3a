"""The columns of a formula: numbers that overflow nowhere, and what the libraries below say is an error."""

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
from lmmlib.design.expressions import ELEMENTWISE
from lmmlib.design.formula import fixed_matrix
from lmmlib.errors import DataError, DesignError, FormulaError


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "x": rng.normal(3, 1, 120), "u": rng.uniform(1, 2, 120)})
    frame["t"] = np.tile(["p", "q", "r"], 40)
    return frame.assign(y=frame["x"] + rng.normal(size=120))


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


@pytest.mark.parametrize(
    "formula", ["y ~ k + x + (1 | g)", "y ~ I(x**2) + k + (1 | g)", "y ~ `k k` * I(x**2) + (1 | g)"]
)
def test_categories_that_are_numbers_in_new_rows(data, formula):
    """A category 3 is no number 3, in a formula with a function or without."""
    kinds = pd.Categorical(np.tile([1, 2, 3, 4], 30))
    data = data.assign(k=kinds, **{"k k": kinds})
    new = data.assign(k=kinds.astype(int), **{"k k": kinds.astype(int)}).iloc[:7]
    design = build_design(formula, data)
    assert_allclose(fixed_matrix(design, new), design.X[:7])


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
