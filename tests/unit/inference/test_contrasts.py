"""Contrasts of a fit: forms of L, exact degrees of freedom, and the tests that they stand for."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import f, norm, t

import lmmlib
from lmmlib import equations
from lmmlib.errors import ParameterError

COLUMNS = ["estimate", "se", "df", "t", "p", "lower", "upper"]


@pytest.fixture(scope="module")
def sleep():
    return lmmlib.load("sleep")


@pytest.fixture(scope="module")
def dental():
    """Unbalanced, three fixed effects with an interaction."""
    frame = lmmlib.load("dental")
    return lmmlib.fit("distance ~ age * Sex + (1 | Subject)", frame[frame.index % 6 != 1])


def placebo():
    tlc = lmmlib.load("tlc")
    return tlc[tlc["treatment"] == "placebo"].drop(columns="treatment")


EXACT = {
    "distance ~ age + (age | Subject)": ("dental", 26),
    "distance ~ age * Sex + (age | Subject)": ("dental", 25),
    "Reaction ~ Days + (Days | Subject)": ("sleep", 17),
    "lead ~ week + (week | id)": ("placebo", 49),
    "Yield ~ 1 + (1 | Batch)": ("dyestuff", 5),
}


@pytest.mark.parametrize("kind", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("formula", EXACT)
def test_degrees_of_freedom_of_balanced_designs_are_integers(formula, kind):
    name, df = EXACT[formula]
    fitted = lmmlib.fit(formula, placebo() if name == "placebo" else lmmlib.load(name))
    table = fitted.fixed_effects(df=kind)
    # The df are a ratio of second derivatives at an optimum that is found to 1e-7.
    assert_allclose(table["df"], df, rtol=1e-6)
    assert_allclose(table["t"], table["estimate"] / fitted.se, rtol=1e-7)
    assert_allclose(table["p"], 2 * t.sf(np.abs(table["t"]), df), rtol=1e-4)


def test_degrees_of_freedom_of_uncorrelated_effects(sleep):
    """lmerTest and pbkrtest print 18.156 and 18.187."""
    fitted = lmmlib.fit("Reaction ~ Days + (Days || Subject)", sleep)
    assert_allclose(fitted.fixed_effects()["df"], 18.1562040572579, rtol=1e-7)
    kr = fitted.fixed_effects(df="kenward-roger")
    assert_allclose(kr["df"], 18.1874764247, rtol=1e-7)
    assert_allclose(kr["se"], [6.8853813117176, 1.55956593500271], rtol=1e-7)
    assert_allclose(kr["t"], [36.512880473394, 6.71166619164353], rtol=1e-7)
    assert_allclose(kr["p"], [1.79602526798336e-18, 2.57084505165006e-06], rtol=1e-5)


L1 = np.array([0.0, 1.0, 0.0, 0.5])
L2 = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.5]])


@pytest.mark.parametrize("L", [L1, L2], ids=["t", "F"])
def test_the_tests_are_those_of_the_module_inference(dental, L):
    at = dental.cross, L, dental.D.to_numpy(), dental.sigma2
    gls = equations.gls(dental.cross, dental.D.to_numpy(), dental.sigma2)
    df = equations.satterthwaite(*at)
    w, theirs = dental.contrast(L), equations.wald(gls, L, df=df)
    assert w.df[-1] == pytest.approx(df, rel=1e-10) and w.is_f == (L.ndim == 2)
    assert_allclose([w.statistic, w.p], [theirs.statistic, theirs.p], rtol=1e-6)
    assert_allclose(w.lower, theirs.lower, rtol=1e-6)
    kr, w = equations.kenward_roger(*at), dental.contrast(L, df="kenward-roger")
    assert w.df[-1] == pytest.approx(kr.df, rel=1e-10)
    assert w.p == pytest.approx(kr.p, rel=1e-7)
    assert w.statistic ** (2 if L.ndim == 1 else 1) == pytest.approx(kr.statistic, rel=1e-7)
    assert_allclose(w.se, np.sqrt(np.diag(np.atleast_2d(L) @ kr.cov @ np.atleast_2d(L).T)), rtol=1e-9)
    # The two differ, so that neither can stand for the other.
    assert abs(kr.p / dental.contrast(L).p - 1) > 1e-4


def test_a_t_test_by_hand(dental):
    df = lmmlib.dense.satterthwaite(dental.design, L1, dental.D, dental.sigma2, kind="observed")
    estimate, se = L1 @ dental.beta, np.sqrt(L1 @ dental.cov_beta @ L1)
    w = dental.contrast(L1, null=0.4, level=0.9)
    assert_allclose([w.estimate[0], w.se[0], w.statistic], [estimate, se, (estimate - 0.4) / se], rtol=1e-10)
    assert w.df == (pytest.approx(df, rel=1e-6),)
    assert w.p == pytest.approx(2 * t.sf(abs(w.statistic), df), rel=1e-6)
    reach = t.ppf(0.95, df) * se
    assert_allclose([w.lower[0], w.upper[0]], [estimate - reach, estimate + reach], rtol=1e-7)


def test_an_f_test_by_hand(dental):
    w, null = dental.contrast(L2, df=12.5, null=[0.5, 0.6]), [0.5, 0.6]
    gap = L2 @ dental.beta - null
    F = gap @ np.linalg.solve(L2 @ dental.cov_beta.to_numpy() @ L2.T, gap) / 2
    assert w.df == (2, 12.5)
    assert_allclose([w.statistic, w.p], [F, f.sf(F, 2, 12.5)], rtol=1e-9)
    z = dental.contrast(L1, df="z")
    assert z.df == (np.inf,) and z.p == pytest.approx(2 * norm.sf(abs(z.statistic)), rel=1e-10)
    kr = dental.contrast(L2, df="kenward-roger", null=null)
    assert kr.statistic == pytest.approx(
        equations.kenward_roger(dental.cross, L2, dental.D, dental.sigma2, null=null).statistic, rel=1e-8
    )


def test_one_contrast_in_every_form(dental):
    weights = {"age": 1, "age:SexFemale": 0.5}
    labelled = pd.Series({"age:SexFemale": 0.5, "age": 1.0, "SexFemale": 0.0, "(Intercept)": 0.0})
    forms = [L1, L1.tolist(), tuple(L1), L1[None], [L1.tolist()], pd.Series(L1), weights, [weights], labelled]
    forms += [pd.DataFrame([labelled]), pd.DataFrame(L1[None])]
    stored = dental.contrast(L1)
    for form in forms:
        w = dental.contrast(form)
        assert_allclose([w.estimate[0], w.p, w.df[0]], [stored.estimate[0], stored.p, stored.df[0]], rtol=1e-12)
    both = dental.contrast([{"SexFemale": 1}, weights])
    assert_allclose([both.statistic, both.p], [dental.contrast(L2).statistic, dental.contrast(L2).p], rtol=1e-12)
    frame = pd.DataFrame(L2[:, ::-1], columns=dental.beta.index[::-1])
    assert dental.contrast(frame).p == pytest.approx(both.p, rel=1e-12)


BAD = {
    "unknown name": ({"Age": 1}, r"'Age' is no fixed effect; they are \(Intercept\), age, SexFemale, age:SexFemale"),
    "unknown label": (pd.Series({"Age": 1.0}), "'Age' is no fixed effect"),
    "number as name": ({1: 1}, "1 is no fixed effect"),
    "text": ("age", "real numbers"),
    "names": (["age"], "real numbers"),
    "text weight": ({"age": "a"}, "real numbers"),
    "missing weight": ({"age": np.nan}, "finite"),
    "None": (None, "4 finite"),
    "no names": ({}, "not be zero"),
    "no rows": ([], "4 finite"),
    "zero": (np.zeros(4), "not be zero"),
    "short": ([0, 1], "4 finite numbers in a row"),
    "three axes": (np.zeros((1, 1, 4)), "4 finite"),
    "one zero": ([L1, 0 * L1], "row 1 is"),
    "mixed forms": ([{"age": 1}, [0, 1, 0, 0]], "some of each"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_contrast_says_what_is_wrong(dental, kind):
    L, words = BAD[kind]
    for call in (dental.contrast, lambda L: dental.contrasts({"row": L})):
        with pytest.raises(ParameterError, match=words):
            call(L)


@pytest.mark.parametrize("df", ["satt", "Satterthwaite", "", 0, -3, np.nan, [1, 2], {}], ids=repr)
def test_df_are_known(dental, df):
    for call in (
        lambda: dental.contrast(L1, df=df),
        lambda: dental.contrasts({"a": L1}, df=df),
        lambda: dental.fixed_effects(df=df),
    ):
        with pytest.raises(ParameterError, match="df (is 'satterthwaite'|must be)"):
            call()


@pytest.mark.parametrize("level", [0, 1, 95, "a", np.nan], ids=repr)
def test_level_is_a_share(dental, level):
    for call in (lambda: dental.contrast(L1, level=level), lambda: dental.fixed_effects(level=level)):
        with pytest.raises(ParameterError, match="level must"):
            call()


@pytest.mark.parametrize("null", [[1, 2], "a", np.inf], ids=repr)
@pytest.mark.parametrize("df", [None, "kenward-roger"])
def test_null_is_one_number_for_each_row(dental, null, df):
    with pytest.raises(ParameterError, match="null must"):
        dental.contrast(L1, df=df, null=null)


def test_ml_has_z_and_no_derived_df(sleep):
    fitted = lmmlib.fit("Reaction ~ Days + (Days | Subject)", sleep, method="ML")
    table = fitted.fixed_effects()
    assert list(table.columns) == ["estimate", "se", "z", "p", "lower", "upper"]
    assert fitted.fixed_effects(df=np.inf).equals(table)
    assert_allclose(table["p"], 2 * norm.sf(table["estimate"] / fitted.se), rtol=1e-9)
    assert fitted.contrast([0, 1], df=17).df == (17.0,)
    for df in ("satterthwaite", "kenward-roger"):
        with pytest.raises(ParameterError, match=f"{df} degrees of freedom are derived for REML.*df='z'"):
            fitted.contrast([0, 1], df=df)


def test_tables(dental):
    table = dental.fixed_effects(level=0.8)
    assert list(table.columns) == COLUMNS and list(table.index) == list(dental.beta.index)
    assert_allclose(table["estimate"], dental.beta, rtol=1e-12)
    assert_allclose(table["se"], dental.se, rtol=1e-12)
    reach = t.ppf(0.9, table["df"]) * table["se"]
    assert_allclose(table[["lower", "upper"]], np.c_[dental.beta - reach, dental.beta + reach], rtol=1e-9)
    two = dental.contrasts({"boys": {"age": 1}, "girls": {"age": 1, "age:SexFemale": 1}}, df="kenward-roger")
    assert list(two.index) == ["boys", "girls"] and list(two.columns) == COLUMNS
    for label, L in (("boys", [0, 1, 0, 0]), ("girls", [0, 1, 0, 1])):
        w = dental.contrast(L, df="kenward-roger")
        stored = [w.estimate[0], w.se[0], w.df[0], w.statistic, w.p, w.lower[0], w.upper[0]]
        assert_allclose(two.loc[label], stored, rtol=1e-12)
    w = dental.contrast({"age": 1}, df="kenward-roger", level=0.8)
    assert_allclose(w.upper[0] - w.estimate[0], t.ppf(0.9, w.df[0]) * w.se[0], rtol=1e-9)
    assert dental.contrasts({}).shape == (0, 7)


@pytest.mark.parametrize(
    "rows", [None, [[0, 1, 0, 0]], np.eye(4), "age", pd.DataFrame(np.eye(4))], ids=lambda r: type(r).__name__
)
def test_a_table_needs_labels(dental, rows):
    with pytest.raises(ParameterError, match="mapping of label to contrast"):
        dental.contrasts(rows)


def test_a_row_of_a_table_is_one_contrast(dental):
    with pytest.raises(ParameterError, match="contrast 'both' has 2 rows; test them together with Fit.contrast"):
        dental.contrasts({"age": L1, "both": L2})


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ x + (x || g)"])
def test_singular_fits_have_finite_tests(formula):
    """With the expected information; at D of zero the observed one need not be definite."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.repeat(range(10), 4), "x": rng.normal(size=40), "y": rng.normal(size=40)})
    frame["y"] -= 0.9 * frame.groupby("g")["y"].transform("mean")
    fitted = lmmlib.fit(formula, frame)
    assert fitted.is_singular
    for df in ("satterthwaite", "kenward-roger", "z"):
        table = fitted.fixed_effects(df=df)
        assert np.isfinite(table.to_numpy()).all()
        assert ("df" in table) == (df != "z") and (df == "z" or table["df"].between(1, 40).all())
    dense = lmmlib.dense.satterthwaite(fitted.design, [0, 1], fitted.D, fitted.sigma2, kind="expected")
    assert fitted.contrast([0, 1]).df[0] == pytest.approx(dense, rel=1e-6)


def test_without_random_effects_the_df_are_those_of_ols(sleep):
    fitted = lmmlib.fit("Reaction ~ Days + (0 | Subject)", sleep)
    for df in ("satterthwaite", "kenward-roger"):
        assert_allclose(fitted.fixed_effects(df=df)["df"], 178, rtol=1e-9)
    ols = equations.wald(equations.ols(fitted.cross), np.eye(2))
    w = fitted.contrast(np.eye(2))
    assert_allclose([w.statistic, w.p, w.df[1]], [ols.statistic, ols.p, ols.df[1]], rtol=1e-6)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
def test_units_do_not_matter(df, sleep):
    """y in millionths or millions, days since the start or in years AD."""
    plain = lmmlib.fit("Reaction ~ Days + (Days | Subject)", sleep.iloc[np.arange(180) % 7 != 3])
    part = plain.contrast([0, 1], df=df)
    for scale, shift in ((1e-6, 0.0), (1e6, 0.0), (1.0, 2000.0)):
        frame = sleep.iloc[np.arange(180) % 7 != 3]
        frame = frame.assign(Reaction=frame["Reaction"] * scale, Days=frame["Days"] + shift)
        w = lmmlib.fit("Reaction ~ Days + (Days | Subject)", frame).contrast([0, 1], df=df)
        assert_allclose([w.df[0], w.statistic], [part.df[0], part.statistic], rtol=1e-5)
