"""Weights and offsets: what they mean, how they are given, and everything that a fit says with them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense, equations
from lmmlib.errors import DataError, DesignError, ParameterError

LME4 = json.loads((Path(__file__).parents[2] / "reference/anova/weights.json").read_text())
FORMULA = "y ~ x + (x | g)"


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(LME4["data"])


@pytest.fixture(scope="module")
def fitted(frame):
    return lmmlib.fit(FORMULA, frame, weights="w", offset="o")


@pytest.mark.parametrize("row", LME4["fits"], ids=lambda row: f"{row['formula']} {row['method']}")
def test_lme4_has_the_same_fits(row, frame):
    f = lmmlib.fit(row["formula"], frame, method=row["method"], weights=row["weights"], offset=row["offset"])
    assert_allclose(f.loglik, row["loglik"], atol=1e-7)
    assert_allclose([f.aic, f.bic], [row["aic"], row["bic"]], atol=1e-6)
    assert_allclose(f.beta, row["beta"], rtol=1e-5)
    assert_allclose(f.se, row["se"], rtol=1e-5)
    assert_allclose([f.sigma2, *f.D.to_numpy().ravel()], [row["sigma2"], *np.ravel(row["D"])], rtol=1e-4)
    assert_allclose(f.fitted(), row["fitted"], rtol=1e-4)
    assert_allclose(f.residuals(kind="scaled"), row["scaled"], atol=1e-4)
    assert_allclose(f.blups().b, row["b"], atol=1e-4)
    assert_allclose(f.blups().known, np.array(row["condvar"]), rtol=1e-3, atol=1e-5)
    assert_allclose(f.predict(frame.head(5))["estimate"], row["fitted"][:5], rtol=1e-4)


def test_the_summary_names_them(fitted, frame):
    assert "33 observations in 9 groups, weights w, offset o\n" in str(fitted.summary())
    assert ", weights given\n" in str(lmmlib.fit(FORMULA, frame, weights=frame["w"]).summary())


def test_residuals(fitted, frame):
    D, d = fitted.D.to_numpy(), fitted.design
    V = dense.V(d, D, fitted.sigma2)
    Z = dense.big_Z(d)
    assert_allclose(V - Z @ np.kron(np.eye(9), D) @ Z.T, np.diag(fitted.sigma2 / frame["w"]), atol=1e-12)
    mean = d.X @ fitted.beta + frame["o"]
    assert_allclose(fitted.fitted(of="population"), mean, rtol=1e-12)
    raw = frame["y"] - mean
    assert_allclose(fitted.residuals(of="population"), raw, atol=1e-12)
    white = fitted.residuals(of="population", kind="scaled")
    assert_allclose(white @ white, raw @ np.linalg.solve(V, raw), rtol=1e-10)
    assert_allclose(white @ white, len(frame) - 2, rtol=1e-6)


def test_simulated_responses_have_the_covariance_of_the_model(fitted, frame):
    Y = fitted.simulate(40_000, rng=np.random.default_rng(1))
    assert_allclose(Y.mean(axis=1), fitted.fitted(of="population"), atol=0.1)
    V = dense.V(fitted.design, fitted.D.to_numpy(), fitted.sigma2)
    assert_allclose(np.cov(Y), V, atol=0.04 * V.max())
    # The residual part by itself, where weights differ by a factor of twenty.
    none = replace(fitted.design, Z=fitted.design.Z[:, :0])
    Y = lmmlib.simulate.lmm(none, fitted.beta, np.zeros((0, 0)), 2.0, np.random.default_rng(2), 20_000)
    assert_allclose(Y.var(axis=1), 2.0 / frame["w"], rtol=0.06)


def test_refits_and_bootstraps_keep_them(fitted, frame):
    again = fitted.refit(frame["y"])
    assert_allclose([again.loglik, again.sigma2], [fitted.loglik, fitted.sigma2], rtol=1e-12)
    moved = fitted.refit(frame["y"] + 3)
    assert_allclose(moved.beta - fitted.beta, [3, 0], atol=1e-6)
    many = lmmlib.fit_many(fitted.design, np.column_stack([frame["y"], frame["y"] + 3]))
    assert_allclose(many.loglik, [fitted.loglik, moved.loglik], rtol=1e-10)
    rng = np.random.default_rng(3)
    assert_allclose(fitted.confint(method="bootstrap", size=60, rng=rng).loc["x"].mean(), fitted.beta["x"], atol=0.3)


def test_profiles_have_their_minimum_at_the_criterion(frame):
    ml = lmmlib.fit(FORMULA, frame, method="ML", weights="w", offset="o")
    for name in ("x", "sigma", "sd (Intercept)"):
        assert_allclose(ml.profile(name)["criterion"].min(), ml.criterion, atol=1e-6)


def test_predictions_of_new_rows(fitted, frame):
    new = frame.iloc[[3, 7, 12]].reset_index(drop=True)
    plain = fitted.predict(new)
    assert_allclose(plain["estimate"], fitted.fitted()[[3, 7, 12]], rtol=1e-9)
    shifted = fitted.predict(new, offset=new["o"] + 2)
    assert_allclose(shifted["estimate"], plain["estimate"] + 2, rtol=1e-12)
    c, p = (fitted.predict(new, interval=kind) for kind in ("confidence", "prediction"))
    assert_allclose(p["se"] ** 2 - c["se"] ** 2, fitted.sigma2 / new["w"], rtol=1e-9)
    heavy = fitted.predict(new, interval="prediction", weights=[1.0, 4.0, 100.0])
    assert_allclose(heavy["se"] ** 2 - c["se"] ** 2, fitted.sigma2 / np.array([1, 4, 100]), rtol=1e-9)
    rng = np.random.default_rng(4)
    boot = fitted.predict(new, interval="prediction", method="bootstrap", size=300, rng=rng)
    assert_allclose(boot["se"], p["se"], rtol=0.3)
    # A confidence interval needs no weights.
    assert "lower" in fitted.predict(new.drop(columns="w"), interval="confidence")
    with pytest.raises(DataError, match="weights='w' is not a column"):
        fitted.predict(new.drop(columns="w"), interval="prediction")
    with pytest.raises(DataError, match="offset='o' is not a column"):
        fitted.predict(new.drop(columns="o"))
    arrays = lmmlib.fit(FORMULA, frame, weights=frame["w"].to_numpy(), offset=frame["o"].to_numpy())
    with pytest.raises(DataError, match="the fit has offset from an array; pass offset="):
        arrays.predict(new)
    with pytest.raises(DataError, match="the fit has weights from an array; pass weights="):
        arrays.predict(new, interval="prediction", offset=new["o"])
    assert_allclose(arrays.predict(new, offset="o")["estimate"], plain["estimate"], rtol=1e-9)


FORMS = {
    "column": lambda v: v.name,
    "Series": lambda v: v,
    "shuffled Series": lambda v: v.sample(frac=1, random_state=1),
    "array": lambda v: v.to_numpy(),
    "list": lambda v: v.tolist(),
    "nullable": lambda v: v.astype("Float64"),
    "tuple": tuple,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same(form, frame, fitted):
    data = frame.set_index(np.arange(len(frame))[::-1] * 3)
    f = lmmlib.fit(FORMULA, data, weights=FORMS[form](data["w"]), offset=FORMS[form](data["o"]))
    assert_allclose([f.loglik, *f.beta], [fitted.loglik, *fitted.beta], rtol=1e-10)


def test_constant_weights_are_units_of_sigma2(frame):
    plain, heavy = (lmmlib.fit(FORMULA, frame, weights=w) for w in (None, np.full(len(frame), 4.0)))
    assert_allclose(heavy.sigma2, 4 * plain.sigma2, rtol=1e-6)
    assert_allclose([heavy.loglik, *heavy.D.to_numpy().ravel()], [plain.loglik, *plain.D.to_numpy().ravel()], rtol=1e-6)


def test_missing_values(frame):
    data = frame.copy()
    data.loc[3, "w"] = data.loc[5, "o"] = data.loc[9, "x"] = np.nan
    with pytest.raises(DataError, match="the weights and offset are missing in 2 rows, the first being row 3"):
        lmmlib.fit(FORMULA, data, weights="w", offset="o")
    one = lmmlib.fit(FORMULA, data, missing="drop", weights="w", offset="o")
    other = lmmlib.fit(FORMULA, data.drop(index=[3, 5, 9]), weights="w", offset="o")
    assert one.design.n_dropped == 3 and one.loglik == other.loglik
    assert_allclose(one.design.weights, frame["w"].drop([3, 5, 9]))


BAD = {
    "zero": (lambda v: v.mask(v.index == 4, 0.0), "weights is 0 in row 4 .*above zero"),
    "negative": (lambda v: v.mask(v.index == 4, -1.0), "weights is -1 in row 4"),
    "infinite": (lambda v: v.mask(v.index == 4, np.inf), "weights is inf in row 4"),
    "short": (lambda v: v.to_numpy()[:-1], r"one value for each of the \d+ rows; got shape"),
    "matrix": (lambda v: np.c_[v, v], "got shape"),
    "text": (lambda v: ["a"] * len(v), "must be real numbers"),
    "no column": (lambda v: "ww", "weights='ww' is not a column of the data"),
    "other index": (lambda v: v.set_axis(v.index + 1), "missing in 1 rows, the first being row 0"),
    "twice": (lambda v: v.set_axis(v.index // 2), "labels twice; pass an array"),
    "number": (lambda v: 2.0, r"got shape \(\)"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_weights_are_named(kind, frame):
    make, words = BAD[kind]
    with pytest.raises(DataError, match=words):
        lmmlib.fit(FORMULA, frame, weights=make(frame["w"]))


def test_bad_offsets_are_named(frame):
    with pytest.raises(DataError, match="offset is -inf in row 2 .*finite"):
        lmmlib.fit(FORMULA, frame, offset=frame["o"].mask(frame.index == 2, -np.inf))
    with pytest.raises(DataError, match="the data must be a pandas DataFrame"):
        lmmlib.fit(FORMULA, frame["y"], offset="o")


def test_arrays(frame, fitted):
    d = fitted.design
    other = lmmlib.Design.from_arrays(d.y, d.X, d.Z, d.group, weights=frame["w"], offset=list(frame["o"]))
    assert_allclose(lmmlib.fit_design(other).loglik, fitted.loglik, rtol=1e-12)
    with pytest.raises(DataError, match="weights is 0 in row 0"):
        lmmlib.Design.from_arrays(d.y, d.X, d.Z, d.group, weights=np.zeros(d.n_obs))


def test_fits_with_different_weights_do_not_compare(frame, fitted):
    small = "y ~ x + (1 | g)"
    assert lmmlib.compare(lmmlib.fit(small, frame, weights="w", offset="o"), fitted).statistic > 0
    for known, words in (({"weights": "w"}, "offset"), ({"offset": "o"}, "weights"), ({}, "weights")):
        with pytest.raises(ParameterError, match=f"different {words}; use the same"):
            lmmlib.compare(lmmlib.fit(small, frame, **known), fitted)
    with pytest.raises(ParameterError, match="different weights"):
        lmmlib.aic_table({"a": fitted, "b": lmmlib.fit(small, frame, weights=2 * frame["w"], offset="o")})


def test_chunks_add_up(frame, fitted):
    half = len(frame) // 2
    parts = [fitted.design.take(slice(0, half)), fitted.design.take(slice(half, None))]
    total = lmmlib.cross_products(parts[0]) + lmmlib.cross_products(parts[1])
    at = fitted.beta, fitted.D, fitted.sigma2
    assert_allclose(equations.loglik(total, *at), equations.loglik(fitted.cross, *at), rtol=1e-10)


def test_counts_have_none(frame):
    counts = frame.assign(y=np.arange(len(frame)) % 5)
    with pytest.raises(DesignError, match="counts take no weights"):
        lmmlib.glmm.fit.fit_glmm_design(lmmlib.build_design("y ~ x + (1 | g)", counts, weights="w"))
