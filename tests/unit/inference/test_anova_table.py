"""Tables of terms: against sums of squares, unweighted means and other codings of the same model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DesignError, ParameterError
from lmmlib.inference.anova_table import hypotheses


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(14), rng.integers(3, 8, 14))
    N = len(g)
    d = pd.DataFrame({"g": g, "a": rng.choice(list("uvw"), N), "b": rng.choice(list("pq"), N)})
    d = d.assign(x=rng.normal(1, 1, N), z=rng.normal(size=N))
    return d.assign(y=rng.normal(size=14)[g] + (d["a"] == "v") * (d["b"] == "q") + 0.3 * d["x"] + rng.normal(size=N))


def rss(y, X):
    return np.sum((y - X @ np.linalg.lstsq(X, y)[0]) ** 2)


# For each type and term: the columns without which the sum of squares is compared with that of all before, by the
# number of the term (coded by sums to zero, in the order 1, a, b, x, a:b).
LEFT = {
    1: {"a": ([0], [0, 1]), "b": ([0, 1], [0, 1, 2]), "x": ([0, 1, 2], [0, 1, 2, 3]), "a:b": ([0, 1, 2, 3], None)},
    2: {"a": ([0, 2, 3], [0, 1, 2, 3]), "b": ([0, 1, 3], [0, 1, 2, 3]), "x": ([0, 1, 2, 4], None)},
    3: {"a": ([0, 2, 3, 4], None), "b": ([0, 1, 3, 4], None), "x": ([0, 1, 2, 4], None), "a:b": ([0, 1, 2, 3], None)},
}


@pytest.mark.parametrize("type", [1, 2, 3])
def test_without_random_effects_it_is_the_table_of_sums_of_squares(frame, type):
    a = np.array([[1.0, 0], [0, 1], [-1, -1]])[frame["a"].map("uvw".index)]
    b = np.where(frame["b"] == "p", 1.0, -1.0)[:, None]
    parts = [np.ones((len(frame), 1)), a, b, frame[["x"]].to_numpy(), a * b]
    y = frame["y"].to_numpy()
    fitted = lmmlib.fit("y ~ a + b + x + a:b + (0 | g)", frame)
    full, table = rss(y, np.hstack(parts)), fitted.anova(type)
    df = len(frame) - sum(p.shape[1] for p in parts)
    for term, (small, large) in LEFT[type].items():
        X0 = np.hstack([parts[k] for k in small])
        X1 = np.hstack(parts if large is None else [parts[k] for k in large])
        num = X1.shape[1] - X0.shape[1]
        F = (rss(y, X0) - rss(y, X1)) / num / (full / df)
        assert_allclose(table.loc[term, ["num_df", "den_df", "F"]].astype(float), [num, df, F], rtol=1e-8)
    kr = fitted.anova(type, df="kenward-roger")
    assert_allclose(kr, table, rtol=1e-6)


CODINGS = {
    "y ~ a * b * x + (1 | g)": [
        "y ~ C(a, contr.sum) * C(b, contr.helmert) * x + (1 | g)",
        "y ~ C(a, contr.treatment(base='w')) * b * x + (1 | g)",
        "y ~ 0 + a * b * x + (1 | g)",
        "y ~ x * a * b + (1 | g)",
        "y ~ a + b + x + b:a + x:a + x:b + x:a:b + (1 | g)",
    ],
    "y ~ a * poly(x, 2) + (1 | g)": ["y ~ C(a, contr.sum) * poly(x, 2) + (1 | g)"],
    "y ~ a:b + (1 | g)": ["y ~ C(a, contr.sum):b + (1 | g)"],
}


@pytest.mark.parametrize("type", [2, 3])
@pytest.mark.parametrize("formula, other", [(f, o) for f, others in CODINGS.items() for o in others])
def test_coding_and_order_do_not_matter(frame, formula, other, type):
    def plain(table):
        names = [term.replace("C(a, contr.sum)", "a").replace("C(b, contr.helmert)", "b") for term in table.index]
        names = [name.replace("C(a, contr.treatment(base='w'))", "a") for name in names]
        return table.set_axis([":".join(sorted(name.split(":"))) for name in names]).sort_index()

    tables = [plain(lmmlib.fit(f, frame).anova(type)) for f in (formula, other)]
    # Without an intercept the first factor has a mean for each level, and its own hypothesis.
    drop = ["a"] if "0 +" in other else []
    assert_allclose(tables[1].drop(drop), tables[0].drop(drop), rtol=1e-6)


def test_type_3_compares_unweighted_means(frame):
    fitted = lmmlib.fit("y ~ a * b + (1 | g)", frame)
    cells = pd.DataFrame([{"a": a, "b": b} for a in "uvw" for b in "pq"])
    X = lmmlib.design.formula.fixed_matrix(fitted.design, cells)
    means = X.reshape(3, 2, -1).mean(axis=1)
    for df in ("satterthwaite", "kenward-roger"):
        w = fitted.contrast(means[1:] - means[0], df=df)
        assert_allclose(fitted.anova(3, df=df).loc["a"], [*w.df, w.statistic, w.p], rtol=1e-8)


def test_without_interactions_types_2_and_3_are_the_coefficients(frame):
    fitted = lmmlib.fit("y ~ b + x + z + (1 | g)", frame)
    for df in ("satterthwaite", "kenward-roger", "z", 17):
        c = fitted.fixed_effects(df=df).iloc[1:]
        for type in (2, 3):
            table = fitted.anova(type, df=df)
            assert list(table.index) == ["b", "x", "z"] and table.index.name == "term"
            den_df, t = (np.full(3, np.inf), c["z"]) if df == "z" else (c["df"], c["t"])
            assert_allclose(table, np.c_[np.ones(3), den_df, t**2, c["p"]], rtol=1e-8)


def test_a_fit_by_ml_has_z(frame):
    table = lmmlib.fit("y ~ a + x + (1 | g)", frame, method="ML").anova()
    assert np.isinf(table["den_df"]).all() and table["num_df"].tolist() == [2, 1]


def test_only_an_intercept_has_an_empty_table(frame):
    for type in (1, 2, 3):
        assert lmmlib.fit("y ~ 1 + (1 | g)", frame).anova(type).shape == (0, 4)


def test_units_do_not_matter(frame):
    one, other = (lmmlib.fit("y ~ a * x + (1 | g)", frame.assign(x=frame["x"] * c)) for c in (1, 1e-6))
    for type in (1, 2, 3):
        assert_allclose(other.anova(type), one.anova(type), rtol=1e-6)


@pytest.mark.parametrize("type", [0, 4, "3", "III", None, True, 2.5, [1]], ids=repr)
def test_type_is_known(frame, type):
    with pytest.raises(ParameterError, match="type is 1, 2 or 3; got"):
        lmmlib.fit("y ~ a + (1 | g)", frame).anova(type)


def test_columns_that_were_left_out(frame):
    """The model without the cell (w, q): types 1 and 2 of the columns that there are; a term may have none."""
    d = lmmlib.build_design("y ~ a * b + x + (1 | g)", frame)

    def without(*names):
        keep = [k for k, name in enumerate(d.x_names) if name not in names]
        left = replace(d, X=d.X[:, keep], x_names=tuple(d.x_names[k] for k in keep))
        return lmmlib.fit_design(left)

    part, none = without("aw:bq"), without("aw:bq", "av:bq")
    for type in (1, 2):
        assert part.anova(type)["num_df"].tolist() == [2, 1, 1, 1]
        assert_allclose(part.anova(type).loc["a:b", "F"], part.contrast({"av:bq": 1}).statistic ** 2, rtol=1e-8)
        assert none.anova(type)["num_df"].tolist() == [2, 1, 1, 0] and none.anova(type).loc["a:b"].isna().sum() == 3
        main = lmmlib.fit("y ~ a + b + x + (1 | g)", frame).anova(type)
        assert_allclose(none.anova(type).drop("a:b"), main, rtol=1e-7)
    with pytest.raises(DesignError, match="columns aw:bq were left out.*type=1, type=2"):
        part.anova()


def test_names_in_backticks(frame):
    other = lmmlib.fit("y ~ `the a` * x + (1 | g)", frame.rename(columns={"a": "the a"})).anova()
    assert list(other.index) == ["the a", "x", "the a:x"]
    assert_allclose(other, lmmlib.fit("y ~ a * x + (1 | g)", frame).anova(), rtol=1e-9)


def test_arrays_have_no_terms(frame):
    design = lmmlib.Design.from_arrays(frame["y"], np.ones((len(frame), 1)), np.ones((len(frame), 1)), frame["g"])
    with pytest.raises(DesignError, match="from arrays.*Fit.contrast"):
        lmmlib.fit_design(design).anova()


def test_columns_that_cannot_be_told_apart_are_an_error(frame):
    design = lmmlib.build_design("y ~ poly(x, 2):poly(z, 2) + (1 | g)", frame)
    with pytest.raises(DesignError, match="without main effects; add"):
        hypotheses(design, np.linalg.qr(design.X, mode="r"), 3)
