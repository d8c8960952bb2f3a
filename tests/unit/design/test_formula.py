"""From formula and frame to design: columns and names as lme4's, new rows coded alike, and what is said of errors."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import build_design, equations
from lmmlib.design import evaluation
from lmmlib.design import formula as formula_module
from lmmlib.design.formula import fixed_matrix, read
from lmmlib.errors import DataError, FormulaError


@pytest.fixture
def data():
    """24 rows: numbers x and u, groups g of four, a treatment t with the levels p, r, s in this order."""
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "y": rng.normal(size=24) + 10,
            "x": np.tile([1.0, 2.0, 3.0, 5.0], 6),
            "u": rng.uniform(1, 2, size=24),
            "t": pd.Categorical(np.repeat(["p", "s", "r"], 8), ["p", "r", "s"]),
            "g": np.repeat([10, 2, 33, 4, 5, 6], 4),
            "b": np.tile([True, False], 12),
        }
    )


# Column names of model.matrix in R, except I(x^2), which Python writes I(x ** 2).
NAMES = {
    "x": ["(Intercept)", "x"],
    "1": ["(Intercept)"],
    "0 + x": ["x"],
    "x - 1": ["x"],
    "-1 + x": ["x"],
    "t": ["(Intercept)", "tr", "ts"],
    "0 + t": ["tp", "tr", "ts"],
    "x * t": ["(Intercept)", "x", "tr", "ts", "x:tr", "x:ts"],
    "t * x": ["(Intercept)", "tr", "ts", "x", "tr:x", "ts:x"],
    "t : x": ["(Intercept)", "tp:x", "tr:x", "ts:x"],
    "t + t:x": ["(Intercept)", "tr", "ts", "tp:x", "tr:x", "ts:x"],
    "x / t": ["(Intercept)", "x", "x:tr", "x:ts"],
    "(x + u)^2": ["(Intercept)", "x", "u", "x:u"],
    "(x + u)**2": ["(Intercept)", "x", "u", "x:u"],
    "x * u - x:u": ["(Intercept)", "x", "u"],
    "x + I(x**2)": ["(Intercept)", "x", "I(x ** 2)"],
    "x + I(x * u)": ["(Intercept)", "x", "I(x * u)"],
    "poly(x, 2)": ["(Intercept)", "poly(x, 2)1", "poly(x, 2)2"],
    "log(x) + exp(u)": ["(Intercept)", "log(x)", "exp(u)"],
    "np.sqrt(x)": ["(Intercept)", "np.sqrt(x)"],
    "scale(x) + center(u)": ["(Intercept)", "scale(x)", "center(u)"],
    "C(g)": ["(Intercept)", "C(g)4", "C(g)5", "C(g)6", "C(g)10", "C(g)33"],
}


@pytest.mark.parametrize("fixed", NAMES)
def test_names_of_fixed_effects(data, fixed):
    assert list(build_design(f"y ~ {fixed} + (1 | g)", data).x_names) == NAMES[fixed]
    assert list(build_design(f"y ~ {fixed}", data).x_names) == NAMES[fixed]


@pytest.mark.parametrize(
    "random", ["x", "0 + x", "x - 1", "t", "0 + t", "x * t", "x + I(x**2)", "poly(x, 2)", "t + t:x"]
)
def test_names_of_random_effects(data, random):
    design = build_design(f"y ~ x + ({random} | g)", data)
    assert list(design.z_names) == NAMES[random]
    assert design.Z.shape == (24, len(NAMES[random]))
    assert not design.diagonal


def test_columns_are_what_their_names_say(data):
    d = build_design("y ~ x * t + I(x**2) + log(u) + (x | g)", data)
    X = dict(zip(d.x_names, d.X.T, strict=True))
    r, s = (data["t"] == "r").to_numpy(float), (data["t"] == "s").to_numpy(float)
    expected = {"(Intercept)": np.ones(24), "x": data["x"], "tr": r, "ts": s, "I(x ** 2)": data["x"] ** 2}
    expected |= {"log(u)": np.log(data["u"]), "x:tr": data["x"] * r, "x:ts": data["x"] * s}
    assert set(X) == set(expected)
    for name, column in expected.items():
        assert_allclose(X[name], column, rtol=1e-15, err_msg=name)
    assert_allclose(d.y, data["y"])
    assert_allclose(d.Z, np.column_stack([np.ones(24), data["x"]]))
    assert d.group_names == (2, 4, 5, 6, 10, 33)
    assert [d.group_names[i] for i in d.group] == data["g"].tolist()


def test_poly_is_orthonormal_as_in_r(data):
    X = build_design("y ~ poly(x, 2) + (1 | g)", data).X
    assert_allclose(X[:, 1:].T @ X[:, 1:], np.eye(2), atol=1e-14)
    assert_allclose(X[:, 1:].sum(axis=0), 0, atol=1e-14)


@pytest.mark.parametrize(
    "formula",
    ["y ~ x + (x || g)", "y ~ x + (1 | g) + (0 + x | g)", "y ~ x + (0 + x | g) + (1 | g)", "y ~ x + (1|g) + (x - 1|g)"],
)
def test_uncorrelated_effects(data, formula):
    design = build_design(formula, data)
    assert design.diagonal
    assert design.z_names == ("(Intercept)", "x")


@pytest.mark.parametrize("random", ["t || g", "0 + t || g", "poly(x, 2) || g", "x:t || g", "C(x) || g"])
def test_uncorrelated_effects_of_several_columns_are_refused(data, random):
    """lme4 reads (t || g) as (1 | g) + (0 + t | g), a block of its own for the columns of t: no diagonal D."""
    with pytest.raises(FormulaError, match=r"uncorrelated.*single bar"):
        build_design(f"y ~ x + ({random})", data)


@pytest.mark.parametrize("response", ["log(y)", "np.log(y)", "I(y**2)", "y - 1", "y + u", "2 * y", "(y - 1) / u"])
def test_responses(data, response):
    expected = {"log(y)": np.log(data.y), "np.log(y)": np.log(data.y), "I(y**2)": data.y**2, "y - 1": data.y - 1}
    expected |= {"y + u": data.y + data.u, "2 * y": 2 * data.y, "(y - 1) / u": (data.y - 1) / data.u}
    assert_allclose(build_design(f"{response} ~ x + (1 | g)", data).y, expected[response], rtol=1e-15)


def test_names_that_python_or_r_would_not_allow(data):
    renamed = data.rename(columns={"y": "yield", "x": "class", "g": "lambda"})
    assert build_design("yield ~ class + (1 | lambda)", renamed).x_names == ("(Intercept)", "class")
    renamed = data.rename(columns={"y": "y (cm)", "x": "a|b", "g": "g/h", "u": "x.1"})
    d = build_design("`y (cm)` ~ `a|b` + `x.1` + (`a|b` | `g/h`)", renamed)
    assert d.x_names == ("(Intercept)", "a|b", "x.1") and d.z_names == ("(Intercept)", "a|b")
    assert_allclose(d.X[:, 1], data["x"])
    for column in ("log", "I", "C", "np", "T", "größe"):
        d = build_design(f"y ~ {column} + (1 | g)", data.rename(columns={"x": column}))
        assert_allclose(d.X[:, 1], data["x"], err_msg=column)


def test_a_column_called_intercept_is_not_lost(data):
    with pytest.raises(DataError, match="'Intercept'.*rename"):
        build_design("y ~ Intercept + (1 | g)", data.rename(columns={"x": "Intercept"}))


def test_no_fixed_effects(data):
    d = build_design("y ~ 0 + (1 | g)", data)
    cross = lmmlib.cross_products(d)
    assert d.x_names == () and d.X.shape == (24, 0)
    assert_allclose(equations.restricted_loglik(cross, 1.0, 2.0), lmmlib.dense.loglik(d, [], 1.0, 2.0), rtol=1e-12)


def test_no_random_effects(data):
    """One group and no columns of Z: every quantity is that of independent rows."""
    d = build_design("y ~ x", data)
    cross, none = lmmlib.cross_products(d), np.zeros((0, 0))
    assert d.n_groups == 1 and d.z_names == () and d.grouping == "all"
    ols = equations.ols(cross)
    assert_allclose(equations.gls(cross, none, ols.sigma2).cov, ols.cov, rtol=1e-13)
    assert_allclose(equations.information_variance(cross, none, 2.0, method="REML"), [[22 / 2 / 2.0**2]], rtol=1e-13)
    assert_allclose(equations.score_variance(cross, none, ols.sigma2), [0], atol=1e-12)
    assert equations.satterthwaite(cross, [0, 1], none, ols.sigma2) == pytest.approx(22)
    assert_allclose(lmmlib.dense.gls(d, none, ols.sigma2)[1], ols.cov, rtol=1e-12)


# ---------------------------------------------------------------- new rows


@pytest.mark.parametrize("fixed", [f for f in NAMES if f != "C(g)"])
def test_new_rows_are_coded_as_the_old_ones(data, fixed):
    """Also a single row, in which a category stands alone and poly, scale and center cannot be computed anew."""
    d = build_design(f"y ~ {fixed} + (1 | g)", data)
    assert_allclose(fixed_matrix(d, data), d.X, rtol=1e-14, atol=1e-14)
    for rows in ([3], [20, 1], range(8, 16)):
        assert_allclose(fixed_matrix(d, data.iloc[list(rows)].drop(columns=["y", "g"])), d.X[list(rows)], atol=1e-14)


def test_new_rows_with_text_or_other_categories(data):
    d = build_design("y ~ x * t + (1 | g)", data)
    new = pd.DataFrame({"x": [2, 3], "t": ["s", "s"]})
    expected = [[1, 2, 0, 1, 0, 2], [1, 3, 0, 1, 0, 3]]
    assert_allclose(fixed_matrix(d, new), expected)
    assert_allclose(fixed_matrix(d, new.assign(t=pd.Categorical(new["t"]))), expected)
    d = build_design("y ~ C(t) + (1 | g)", data.assign(t=data["t"].astype(str)))
    assert_allclose(fixed_matrix(d, new), [[1, 0, 1], [1, 0, 1]])


NEW_ERRORS = {
    "unknown category": (lambda n: n.assign(t="z"), "'t' has the category 'z', which.*p, s, r"),
    "column missing": (lambda n: n.drop(columns="x"), "uses 'x', which is not a column"),
    "value missing": (lambda n: n.assign(x=np.nan), "missing values: x 2"),
    "category missing": (lambda n: n.assign(t=None), "missing values: t 2"),
    "infinite": (lambda n: n.assign(x=np.inf), "'x' is infinite in row 0"),
    "text": (lambda n: n.assign(x="a"), "'x'.*numbers"),
    "numbers as text": (lambda n: n.assign(x="1"), "'x' holds numbers stored as text"),
    "empty": (lambda n: n[:0], "no rows"),
    "list": (lambda n: [1], "DataFrame; got list"),
    "dictionary": (lambda n: {"x": [1]}, "DataFrame; got dict"),
    "twice": (lambda n: pd.concat([n, n[["x"]]], axis=1), "two columns named 'x'"),
    "domain": (lambda n: n.assign(x=-1.0), r"'log\(x\)' is not finite in row 0"),
}


@pytest.mark.parametrize("name", NEW_ERRORS)
def test_new_rows_that_cannot_be_coded(data, name):
    change, words = NEW_ERRORS[name]
    design = build_design("y ~ log(x) + t + (1 | g)", data)
    with pytest.raises(DataError, match=words):
        fixed_matrix(design, change(pd.DataFrame({"x": [2.0, 3.0], "t": ["s", "p"]})))


def test_an_unknown_category_of_a_declared_factor(data):
    for formula in ("y ~ C(t) + (1 | g)", "y ~ x : C(t) + (1 | g)"):
        with pytest.raises(DataError, match="'t' has the category 'z'"):
            fixed_matrix(build_design(formula, data), data.assign(t="z"))


def test_new_rows_of_a_design_from_arrays(data):
    design = lmmlib.Design.from_arrays(data["y"], np.ones((24, 1)), np.ones((24, 1)), data["g"])
    with pytest.raises(DataError, match="made from arrays"):
        fixed_matrix(design, data)


# ---------------------------------------------------------------- errors

ERRORS = {
    "y ~ xx + (1 | g)": (DataError, r"'xx', which is not a column of the data \(y, x, .*perhaps you want 'x'"),
    "yy ~ x + (1 | g)": (DataError, "perhaps you want 'y'"),
    "y ~ x + (1 | gg)": (DataError, "perhaps you want 'g'"),
    "y ~ x + (xx | g)": (DataError, "perhaps you want 'x'"),
    "y ~ log(xx) + (1 | g)": (DataError, "'xx', which is not a column"),
    "y ~ I(x^2) + (1 | g)": (FormulaError, r"\*\*"),
    "I(y^2) ~ x + (1 | g)": (FormulaError, r"\*\*"),
    "y ~ x + (I(x^2) | g)": (FormulaError, r"\*\*"),
    "y ~ foo(x) + (1 | g)": (FormulaError, r"function foo\(\)"),
    "y ~ sqrt(x) + (1 | g)": (FormulaError, r"function sqrt\(\).*np\.sqrt"),
    "y ~ factor(x) + (1 | g)": (FormulaError, r"function factor\(\).*C\(\)"),
    "y ~ offset(x) + (1 | g)": (FormulaError, r"function offset\(\).*pass offset= to lmmlib.fit or lmmlib.fit_glmm"),
    "y ~ . + (1 | g)": (FormulaError, "dot for all other columns; name the columns"),
    "y ~ x + + + (1 | g) + ": (FormulaError, "does not parse"),
    "y ~ x ++ (1 | g) * ": (FormulaError, "parse|added"),
    "y ~ x + 2 + (1 | g)": (FormulaError, "does not parse"),
    "y ~ x u + (1 | g)": (FormulaError, "does not parse"),
    "y ~ 'a' + (1 | g)": (FormulaError, "does not parse"),
    "y ~ x + (0 + 0 | g)": (FormulaError, r"no columns; write \(1 \| g\), or \(0 \| g\) for no random effects"),
    "y ~ x + (-1 | g)": (FormulaError, "no columns"),
    "y ~ x + (1 | g) + (0 | g)": (FormulaError, "several random terms"),
    "y ~ log(x - 1) + (1 | g)": (DataError, r"'log\(x - 1\)' is not finite in row 0"),
    "log(y - 20) ~ x + (1 | g)": (DataError, "not finite in row 0"),
    "y ~ x + (log(x - 5) | g)": (DataError, "not finite in row"),
    "t ~ x + (1 | g)": (DataError, "response 't' must be one numeric column"),
    "y ~ poly(x, 4) + (1 | g)": (FormulaError, r"poly\(x, 4\) needs more than 4 distinct values of 'x'; there are 4"),
    "y ~ x + (poly(x, 9) | g)": (FormulaError, "needs more than 9 distinct values"),
}


@pytest.mark.parametrize("formula", ERRORS)
def test_errors_name_variable_and_remedy(data, formula):
    error, words = ERRORS[formula]
    with pytest.raises(error, match=words):
        build_design(formula, data)


@pytest.mark.parametrize("formula", ["y ~ x + (0 | g)", "y ~ x + ( 0 | g)", "y ~ (0|g) + x", "y ~ x + (0 || g)"])
def test_groups_without_random_effects(data, formula):
    design, with_one = build_design(formula, data), build_design("y ~ x + (1 | g)", data)
    assert design.Z.shape == (24, 0) and design.z_names == () and design.grouping == "g"
    assert design.group_names == with_one.group_names and design.n_groups > 1
    assert (design.group == with_one.group).all() and (design.X == with_one.X).all()
    with pytest.raises(DataError, match="perhaps you want 'g'"):
        build_design("y ~ x + (0 | gg)", data)


def test_a_power_of_integers_is_no_silent_xor(data):
    """On integers Python computes x ^ 2 without complaint: 1, 2, 3, 5 become 3, 0, 1, 7."""
    with pytest.raises(FormulaError, match=r"\*\*"):
        build_design("y ~ I(x^2) + (1 | g)", data.assign(x=data["x"].astype(int)))


def test_messages_hold_no_terminal_codes(data):
    for formula in ("y ~ x u + (1 | g)", "y ~ x + 2 + (1 | g)", "y ~ log(x, x, x) + (1 | g)"):
        with pytest.raises(FormulaError) as caught:
            build_design(formula, data)
        assert str(caught.value).isprintable()
        assert "⧛" not in str(caught.value)


def test_random_slopes_of_the_grouping_column_itself(data):
    """g as a number in the fixed part and as labels of the groups."""
    design = build_design("y ~ g + (1 | g)", data)
    assert_allclose(design.X[:, 1], data["g"])
    with pytest.raises(DataError, match="'g' is infinite"):
        build_design("y ~ g + (1 | g)", data.assign(g=data["g"].replace(33, np.inf)))


@pytest.mark.parametrize(
    ("formula", "same"),
    [("y ~ x + (x | g)", True), ("y ~ 1 + x + (x + 1 | g)", True), ("y ~ x + u + (u + x | g)", False)],
)
def test_equal_sides_are_one_array(data, formula, same):
    """It saves memory; with another order of the columns they are two."""
    design = build_design(formula, data)
    assert (design.Z is design.X) is same
    assert_allclose(design.Z, np.column_stack([np.ones(len(data)), *(data[c] for c in design.z_names[1:])]))


def test_a_design_shares_no_memory_with_the_frame(data):
    """Whoever changes the frame later does not change the design."""
    data = data[["y", "x", "g"]].copy()  # columns that pandas hands out without copying them
    design = build_design("y ~ 0 + x + (0 + x | g)", data)
    for array, name in ((design.y, "y"), (design.X, "x"), (design.group, "g")):
        assert not np.shares_memory(array, data[name].to_numpy())


KINDS = pd.DataFrame(
    {
        "y": np.arange(12.0),
        "x": np.sin(np.arange(12.0)),
        "z": np.cos(np.arange(12)) - 2,
        "whole": np.arange(12) % 5,
        "is": np.arange(12) % 2 > 0,
        "text": list("abcabcabccba"),
        "numbers": pd.Categorical([3, 1, 2] * 4, [3, 2, 1]),
        "floats": pd.Categorical([3.0, 1.0, 2.0] * 4),
        "ordered": pd.Categorical(list("uvuwuvuwwvuw"), ["w", "v", "u"], ordered=True),
        "mixed": pd.Series(["a", 1, 2.5] * 4, dtype=object),
        "a b": list("pqqp" * 3),
    }
)
SIDES = """
    1 | 0 | x | 0 + x | x * z * whole | text | 0 + text | text * x | x:text | text * numbers | 0 + text:numbers
    is + text | numbers + floats + ordered | x:text:numbers + z | mixed * x | 0 + x:mixed | `a b` * x + text:`a b`
    (x + text + is)**2 | x:z:whole:text | ordered/x | text:x + text | 0 + x + text | x + x:z + z
"""


@pytest.mark.parametrize("side", [side.strip() for line in SIDES.strip().split("\n") for side in line.split(" | ")])
def test_a_side_of_columns_is_expanded_as_formulaic_does(side):
    """The structure is formulaic's, kept by the kinds of the columns; the columns are its columns, bit by bit."""
    fixed = read(f"y ~ {side} + (1 | whole)")[2]
    for frame in (KINDS, KINDS[3:].reset_index(drop=True), KINDS):
        assert evaluation._is_plain(fixed.terms)
        X, spec = evaluation.matrix(fixed, frame, side)
        made, expanded = evaluation._expanded(fixed.terms, frame)
        np.testing.assert_array_equal(X, made)
        assert np.array_equal(np.signbit(X), np.signbit(made)) and X.flags.f_contiguous
        assert spec.column_names == expanded.column_names
        assert str(spec.structure) == str(expanded.structure)
        assert str(spec.encoder_state) == str(expanded.encoder_state) and not spec.transform_state
        for rows in (slice(None, None, -1), slice(4, 9), slice(2, 3)):  # new rows, perhaps without some categories
            there = frame[rows].reset_index(drop=True)
            np.testing.assert_array_equal(evaluation.matrix(spec, there, side)[0], evaluation._expanded(spec, there)[0])


def test_categories_that_are_equal_but_of_another_type_are_another_structure():
    frame = pd.DataFrame({"y": np.arange(6.0), "g": list("aabbcc")})
    names = [
        build_design("y ~ c + (1 | g)", frame.assign(c=pd.Categorical(values * 2))).x_names[1:]
        for values in ([1, 2, 3], [1.0, 2.0, 3.0], ["1", "2", "3"])
    ]
    assert names == [("c2", "c3"), ("c2.0", "c3.0"), ("c2", "c3")]


def test_a_formula_is_read_once(data, monkeypatch):
    """And a side of columns alone is expanded once for each set of kinds; nothing of the data is kept."""
    build_design("y ~ x + u + (x | g)", data)
    monkeypatch.setattr(formula_module, "tokenize", None)
    monkeypatch.setattr(evaluation, "_expanded", None)
    again = build_design("y ~ x + u + (x | g)", data.assign(x=data["x"] + 1))
    assert_allclose(again.X[:, 1], data["x"] + 1)


def test_a_refit_reads_no_formula(data, monkeypatch):
    fit = lmmlib.fit("y ~ x + (1 | g)", data)
    monkeypatch.setattr(formula_module, "read", None)
    monkeypatch.setattr(evaluation, "matrix", None)
    y = data["y"].to_numpy()[::-1].copy()
    assert_allclose(fit.refit(y).beta, lmmlib.fit_design(fit.design.with_response(y)).beta)
