"""Dependent columns that are left out: the design with the columns removed by hand, and what is then refused."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lmmlib
from lmmlib.errors import DataError, DesignError, ParameterError

RNG = np.random.default_rng(11)
N = 96


def frame():
    """Twelve groups; two factors with an empty cell, and columns that depend on others."""
    a, b = RNG.choice(list("pqr"), N), RNG.choice(list("uvw"), N)
    b[(a == "r") & (b == "w")] = "u"
    x = RNG.normal(size=N)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 8), "x": x, "a": a, "b": b, "again": 3 * x - 1, "same": a})
    data["five"], data["w"], data["off"] = 5.0, RNG.uniform(0.5, 2, N), RNG.normal(size=N)
    data["y"] = x + (a == "q") + RNG.normal(size=12)[data["g"]] + RNG.normal(size=N)
    data["n"] = RNG.poisson(np.exp(1 + 0.3 * x + 0.5 * RNG.normal(size=12)[data["g"]]))
    # The same columns as numbers, so that the formula has none too many.
    for name, on in {"aq": a == "q", "ar": a == "r", "bv": b == "v", "bw": b == "w"}.items():
        data[name] = on * 1.0
    return data


DATA = frame()
CELLS = "y ~ x + aq + ar + bv + bw + aq:bv + ar:bv + aq:bw + (x | g)"
CASES = {
    "copy": ("y ~ x + again + a + (1 | g)", "y ~ x + a + (1 | g)", ("again",)),
    "constant": ("y ~ five + x + (1 | g)", "y ~ x + (1 | g)", ("five",)),
    "zero": ("y ~ I(0 * x) + x + (1 | g)", "y ~ x + (1 | g)", ("I(0 * x)",)),
    "factor": ("y ~ a + same + x + (x | g)", "y ~ a + x + (x | g)", ("sameq", "samer")),
    "empty cell": ("y ~ x + a * b + (x | g)", CELLS, ("ar:bw",)),
    "none": ("y ~ x + (1 | g)", "y ~ x + (1 | g)", ()),
}


def alike(ours, hand):
    """The same numbers under the same names, those of cells being written otherwise."""
    assert_allclose(ours.to_numpy(float), hand.to_numpy(float), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("known", [{}, {"weights": "w", "offset": "off"}], ids=["plain", "weights"])
def test_a_fit_is_that_of_the_columns_that_stay(case, known):
    formula, hand, names = CASES[case]
    ours, theirs = lmmlib.fit(formula, DATA, drop="dependent", **known), lmmlib.fit(hand, DATA, **known)
    assert ours.dropped == ours.design.dropped == names
    assert_allclose(ours.loglik, theirs.loglik, rtol=1e-12)
    assert ours.n_parameters == theirs.n_parameters
    for name in ("beta", "se", "D"):
        alike(getattr(ours, name), getattr(theirs, name))
    new = DATA.iloc[RNG.permutation(N)[:20]]
    alike(ours.predict(new, interval="confidence"), theirs.predict(new, interval="confidence"))
    assert_array_equal(lmmlib.design.formula.fixed_matrix(ours.design, DATA), ours.design.X)
    alike(ours.fixed_effects(), theirs.fixed_effects())
    assert_allclose(ours.refit(DATA["n"]).loglik, theirs.refit(DATA["n"]).loglik, rtol=1e-12)


def test_the_later_column_goes():
    """again = 3 x - 1 and a constant: whichever comes last."""
    design = lmmlib.build_design("y ~ 0 + again + five + x + b", DATA, drop="dependent")
    assert design.dropped == ("x", "bw")
    assert_allclose(design.combinations[:2, 0], [1 / 3, 1 / 15])


def test_the_rank_is_that_of_all_columns():
    for _ in range(50):
        terms = RNG.permutation(["x", "again", "five", "a", "same", "b", "a:b", "w"])[:5]
        plain = lmmlib.build_design("y ~ " + " + ".join(terms), DATA)
        design = lmmlib.build_design("y ~ " + " + ".join(terms), DATA, drop="dependent")
        assert design.X.shape[1] == np.linalg.matrix_rank(plain.X) == np.linalg.matrix_rank(design.X)
        assert len(plain.x_names) == len(design.x_names) + len(design.dropped)
        places = [plain.x_names.index(name) for name in design.dropped]
        assert_allclose(design.X @ design.combinations, plain.X[:, places], atol=1e-9)


@pytest.mark.parametrize("case", ["copy", "empty cell"])
def test_counts(case):
    formula, hand = (text.replace("y ~", "n ~").replace("(x |", "(1 |") for text in CASES[case][:2])
    names = CASES[case][2]
    for known in ({}, {"offset": "off"}):
        ours, theirs = (
            lmmlib.fit_glmm(formula, DATA, drop="dependent", **known),
            lmmlib.fit_glmm(hand, DATA, **known),
        )
        assert ours.dropped == names
        assert_allclose(ours.loglik, theirs.loglik, rtol=1e-10)
        alike(ours.predict(DATA), theirs.predict(DATA))
        assert f"left out, as they depend on other columns: {', '.join(names)}" in str(ours.summary())


def test_samplers():
    formula, hand, names = CASES["copy"]
    run = {"draws": 20, "chains": 2, "warmup": 10, "rng": 4, "progress": False}
    ours, theirs = lmmlib.sample(formula, DATA, drop="dependent", **run), lmmlib.sample(hand, DATA, **run)
    assert ours.dropped == names and "left out, as they depend on other columns: again" in repr(ours)
    assert_array_equal(ours.beta, theirs.beta)
    assert_array_equal(ours.D, theirs.D)
    cloned, by_hand = lmmlib.clone(formula, DATA, drop="dependent", **run), lmmlib.clone(hand, DATA, **run)
    assert cloned.dropped == names and "left out, as they depend on other columns: again" in repr(cloned)
    assert_array_equal(cloned.draws(), by_hand.draws())
    for refused in (lambda: ours["again"], lambda: cloned.on("again")):
        with pytest.raises(
            ParameterError, match=r"'again' was left out because .* \(again = -1 \(Intercept\) \+ 3 x\)"
        ):
            refused()


def test_what_needs_a_column_that_was_left_out_is_refused():
    fit = lmmlib.fit(CASES["empty cell"][0], DATA, drop="dependent")
    for refused in (
        lambda: fit.contrast({"ar:bw": 1, "x": 2}),
        lambda: fit.contrasts({"cell": {"ar:bw": 1}}),
        lambda: fit.confint(parameters=["ar:bw"], method="wald"),
        lambda: fit.profile("ar:bw"),
    ):
        with pytest.raises(ParameterError, match="'ar:bw' was left out because it is zero in every row.* those of"):
            refused()
    assert "left out, as they depend on other columns: ar:bw" in str(fit.summary())
    assert "(without ar:bw)" in repr(fit.design)


def test_a_new_row_that_needs_it_is_refused():
    """In an empty cell, or where a copy is none, the coefficient that is not there would be taken as zero."""
    fit = lmmlib.fit(CASES["empty cell"][0], DATA, drop="dependent")
    empty = DATA.head(3).assign(a=["p", "r", "r"], b=["u", "u", "w"])
    with pytest.raises(DataError, match="in row 2 .*'ar:bw' is 1 and not .*, 0, for which it was left out"):
        fit.predict(empty)
    assert np.isfinite(fit.predict(empty.head(2))["estimate"]).all()
    copy = lmmlib.fit(CASES["copy"][0], DATA, drop="dependent")
    with pytest.raises(DataError, match="in row 0 .*'again' is "):
        copy.predict(DATA.assign(x=DATA["x"] + 1))
    assert_allclose(
        copy.predict(DATA.assign(x=DATA["x"] * 1e6, again=3e6 * DATA["x"] - 1))["estimate"],
        lmmlib.fit(CASES["copy"][1], DATA).predict(DATA.assign(x=DATA["x"] * 1e6))["estimate"],
        rtol=1e-7,
    )


def test_tables_of_terms():
    formula, hand, _ = CASES["empty cell"]
    ours, theirs = lmmlib.fit(formula, DATA, drop="dependent"), lmmlib.fit(hand, DATA)
    L = np.eye(len(ours.beta))[-3:]
    wald = theirs.contrast(L)
    for kind in (1, 2):
        row = ours.anova(kind).loc["a:b"]
        assert_allclose(
            [row["num_df"], row["den_df"], row["F"], row["p"]], [*wald.df, wald.statistic, wald.p], rtol=1e-6
        )
    with pytest.raises(DesignError, match=r"columns ar:bw were left out.* type=1, type=2"):
        ours.anova(3)
    copy = lmmlib.fit(CASES["copy"][0], DATA, drop="dependent").anova(1)
    assert copy.loc["again", "num_df"] == 0 and np.isnan(copy.loc["again", "F"])
    assert_allclose(copy.drop(index="again"), lmmlib.fit(CASES["copy"][1], DATA).anova(1), rtol=1e-6)


def test_without_it_they_are_an_error_that_names_it():
    formula = CASES["copy"][0]
    for refused in (lmmlib.fit, lmmlib.fit_glmm):
        with pytest.raises(DesignError, match="'again'.* leave it out, as build_design with drop='dependent' does"):
            refused(formula.replace("y ~", "n ~"), DATA)
    for name in (lmmlib.fit, lmmlib.build_design, lmmlib.fit_glmm, lmmlib.sample, lmmlib.clone):
        with pytest.raises(ParameterError, match="drop is 'dependent'; got 'all'"):
            name(formula.replace("y ~", "n ~"), DATA, drop="all")
