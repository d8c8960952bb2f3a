"""Fits: boundary, units, refusals, and what the summary shows."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DesignError, ParameterError


def grouped(seed=1, tau=0.0, n_groups=20, n_i=5):
    """y on a covariate of the group, with or without a random intercept."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": np.repeat(np.arange(n_groups), n_i), "x": np.repeat(rng.normal(size=n_groups), n_i)})
    frame["t"] = np.tile(np.arange(n_i, dtype=float), n_groups)
    b = np.repeat(rng.normal(size=n_groups), n_i)
    return frame.assign(y=1 + 2 * frame["x"] + 0.3 * frame["t"] + tau * b + rng.normal(size=len(frame)))


def test_a_variance_of_zero_is_an_answer():
    fitted = lmmlib.fit("y ~ x + (1 | g)", grouped())
    assert fitted.is_singular and fitted.converged
    assert fitted.D.iloc[0, 0] == 0.0 and fitted.theta.tolist() == [0.0]
    ols = lmmlib.ols(fitted.cross)
    assert_allclose(fitted.beta, ols.beta, rtol=1e-12)
    assert_allclose([fitted.sigma2, *fitted.se], [ols.sigma2, *ols.se], rtol=1e-10)


def test_fixed_effects_are_continuous_as_the_variance_goes_to_zero():
    """A between-group effect must not become 0 where tau2 does (statsmodels issue 10239)."""
    base = grouped()
    fits = [lmmlib.fit("y ~ x + (1 | g)", base.assign(y=base["y"] + 0.05 * k * (base["g"] % 3))) for k in range(25)]
    singular = [f.is_singular for f in fits]
    assert any(singular) and not all(singular)
    slopes = np.array([f.beta["x"] for f in fits])
    assert np.abs(slopes).min() > 1
    # OLS is GLS here (balanced, x between groups): the slope is linear in k, on both sides of the boundary.
    assert_allclose(np.diff(slopes, 2), 0, atol=1e-9)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_units_do_not_matter(method):
    data = grouped(tau=1.0)
    plain = lmmlib.fit("y ~ t + (t | g)", data, method)
    N, p = plain.n_obs, len(plain.beta)
    shifted = lmmlib.fit("y ~ t + (t | g)", data.assign(t=data["t"] + 2000), method)
    assert_allclose(shifted.loglik, plain.loglik, rtol=1e-11)
    assert_allclose(shifted.D.loc["t", "t"], plain.D.loc["t", "t"], rtol=1e-6)
    tonnes = lmmlib.fit("y ~ t + (t | g)", data.assign(y=data["y"] * 1e-6), method)
    m = N if method == "ML" else N - p
    assert_allclose(tonnes.loglik, plain.loglik + m * np.log(1e6), rtol=1e-11)
    assert_allclose(tonnes.theta, plain.theta, atol=1e-7)
    hours = lmmlib.fit("y ~ t + (t | g)", data.assign(t=data["t"] * 24), method)
    assert_allclose(hours.loglik, plain.loglik - (np.log(24) if method == "REML" else 0), rtol=1e-11)
    assert tonnes.is_singular == hours.is_singular == shifted.is_singular == plain.is_singular


def test_a_singular_slope_in_any_units():
    data = grouped(tau=1.0)
    for scale in (1e-6, 1.0, 1e6):
        fitted = lmmlib.fit("y ~ t + (t | g)", data.assign(t=data["t"] * scale))
        assert fitted.is_singular == lmmlib.fit("y ~ t + (t | g)", data).is_singular


def test_very_unequal_groups():
    rng = np.random.default_rng(3)
    sizes = np.r_[2000, np.ones(40, int), 3]
    g = np.repeat(np.arange(len(sizes)), sizes)
    y = rng.normal(size=len(sizes))[g] + rng.normal(size=len(g))
    data = pd.DataFrame({"y": y, "g": g}).sample(frac=1, random_state=1)
    fitted = lmmlib.fit("y ~ 1 + (1 | g)", data, "ML")
    assert fitted.converged and not fitted.is_singular
    score = lmmlib.score_variance(fitted.cross, fitted.D.to_numpy(), fitted.sigma2, "ML")
    # Scores are of the size of N; the curvature of this likelihood is near 1 and 1000.
    assert_allclose(score, 0, atol=1e-4)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ x", "no random term"),
        ("y ~ x + (1 | row)", "100 rows in 100 groups"),
        ("y ~ x + I(2 * x) + (1 | g)", "linear combination"),
        ("y ~ x + (t + I(3 * t) | g)", "linearly dependent"),
    ],
)
def test_refusals_name_the_reason(formula, words):
    with pytest.raises(DesignError, match=words):
        lmmlib.fit(formula, grouped().assign(row=np.arange(100)))


def test_method_is_reml_or_ml():
    with pytest.raises(ParameterError, match="'REML' or 'ML'"):
        lmmlib.fit("y ~ x + (1 | g)", grouped(), method="MLE")


def test_missing_values_are_dropped_on_demand():
    data = grouped(tau=1.0)
    data.loc[[3, 17], "y"] = np.nan
    fitted = lmmlib.fit("y ~ x + (1 | g)", data, missing="drop")
    assert fitted.n_obs == 98 and fitted.design.n_dropped == 2


def test_summary_shows_the_attributes():
    fitted = lmmlib.fit("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"))
    text = fitted.summary()
    assert text == repr(fitted)
    shown = ["REML", "1743.6283", "180 observations in 18 groups", "612.09", "24.740", "0.066", "251.41", "1.5458"]
    assert [part for part in shown if part not in text] == []
    assert "singular" not in text and "converged" not in text
    assert "singular" in lmmlib.fit("y ~ x + (1 | g)", grouped()).summary()
    assert "corr" in text and "NaN" not in text


def test_a_fit_is_frozen_and_keeps_its_way():
    fitted = lmmlib.fit("y ~ x + (1 | g)", grouped(tau=1.0), "ML")
    with pytest.raises(AttributeError):
        fitted.sigma2 = 1.0
    assert fitted.log[-1].deviance == pytest.approx(fitted.criterion, abs=1e-9)
    assert "gradient" in fitted.reason
