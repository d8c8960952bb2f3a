"""Fits: boundary, units, refusals, and what the summary shows."""

from decimal import Decimal, localcontext
from typing import get_overloads

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense, equations
from lmmlib.errors import DataError, DesignError, ParameterError


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
    ols = equations.ols(fitted.cross)
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
    plain = lmmlib.fit("y ~ t + (t | g)", data, method=method)
    N, p = plain.n_obs, len(plain.beta)
    shifted = lmmlib.fit("y ~ t + (t | g)", data.assign(t=data["t"] + 2000), method=method)
    assert_allclose(shifted.loglik, plain.loglik, rtol=1e-11)
    assert_allclose(shifted.D.loc["t", "t"], plain.D.loc["t", "t"], rtol=1e-6)
    tonnes = lmmlib.fit("y ~ t + (t | g)", data.assign(y=data["y"] * 1e-6), method=method)
    m = N if method == "ML" else N - p
    assert_allclose(tonnes.loglik, plain.loglik + m * np.log(1e6), rtol=1e-11)
    assert_allclose(tonnes.theta, plain.theta, atol=1e-7)
    hours = lmmlib.fit("y ~ t + (t | g)", data.assign(t=data["t"] * 24), method=method)
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
    fitted = lmmlib.fit("y ~ 1 + (1 | g)", data, method="ML")
    assert fitted.converged and not fitted.is_singular
    score = equations.score_variance(fitted.cross, fitted.D.to_numpy(), fitted.sigma2, method="ML")
    # Scores are of the size of N; the curvature of this likelihood is near 1 and 1000.
    assert_allclose(score, 0, atol=1e-4)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ x", r"no random term.*lmmlib\.equations\.ols.*\(0 \| g\)"),
        (
            "y ~ x + (1 | row)",
            r"do not identify D\[\(Intercept\), \(Intercept\)\] and sigma2.*Each group of 'row' has one row",
        ),
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
    text = str(fitted.summary())
    assert text == repr(fitted)
    shown = ["REML", "1743.6283", "180 observations in 18 groups", "612.09", "24.740", "0.066", "251.41", "1.5458"]
    assert [part for part in shown if part not in text] == []
    assert "singular" not in text and "converged" not in text
    assert "singular" in str(lmmlib.fit("y ~ x + (1 | g)", grouped()).summary())
    assert "corr" in text and "NaN" not in text


# ---------------------------------------------------------------- no random effects: (0 | g)


@pytest.mark.parametrize("formula", ["y ~ x + (0 | g)", "y ~ x * t + (0 | g)", "y ~ 0 + (0 | g)"])
@pytest.mark.parametrize("method", ["ML", "REML"])
def test_no_random_effects_is_least_squares(formula, method):
    fitted = lmmlib.fit(formula, grouped(tau=1.0), method=method)
    d, p = fitted.design, len(fitted.beta)
    beta, _, _, _ = np.linalg.lstsq(d.X, d.y, rcond=None)
    rss = ((d.y - d.X @ beta) ** 2).sum()
    m = 100 if method == "ML" else 100 - p
    assert_allclose(fitted.beta, beta, rtol=1e-10)
    assert_allclose(fitted.sigma2, rss / m, rtol=1e-12)
    loglik = -0.5 * m * (np.log(2 * np.pi * rss / m) + 1)
    loglik -= 0.5 * np.linalg.slogdet(d.X.T @ d.X)[1] if method == "REML" else 0.0
    assert_allclose(fitted.loglik, loglik, rtol=1e-12)
    stored = equations.profile_loglik if method == "ML" else equations.restricted_loglik
    assert_allclose(fitted.loglik, stored(fitted.cross, np.zeros((0, 0)), fitted.sigma2), rtol=1e-12)
    assert_allclose(fitted.cov_beta, fitted.sigma2 * np.linalg.inv(d.X.T @ d.X), rtol=1e-9, atol=1e-12)
    assert fitted.converged and not fitted.is_singular and fitted.theta.shape == (0,) and fitted.D.shape == (0, 0)
    assert (fitted.n_groups, fitted.n_parameters) == (20, p + 1)
    assert_allclose(fitted.residuals(), d.y - d.X @ beta, atol=1e-10)


def test_no_random_effects_is_the_limit_of_a_variance_of_zero():
    data = grouped()
    for method in ("ML", "REML"):
        zero, none = (lmmlib.fit(f"y ~ x + ({k} | g)", data, method=method) for k in (1, 0))
        assert zero.is_singular
        assert_allclose(none.loglik, zero.loglik, rtol=1e-13)
        assert zero.n_parameters == none.n_parameters + 1


# ---------------------------------------------------------------- from variance without end to none


@pytest.mark.parametrize("ratio", [1.0, 100.0, 3000.0])
def test_reml_is_analysis_of_variance_in_a_balanced_design(ratio):
    """Also where the groups differ by thousands of residual standard deviations."""
    data = grouped(tau=ratio).assign(y=lambda d: d["y"] - 2 * d["x"] - 0.3 * d["t"])
    fitted = lmmlib.fit("y ~ 1 + (1 | g)", data)
    y = data["y"].to_numpy().reshape(20, 5)
    between, within = 5 * y.mean(axis=1).var(ddof=1), y.var(axis=1, ddof=1).mean()
    assert fitted.converged
    # Cross-products lose the digits of ratio squared.
    assert_allclose(fitted.sigma2, within, rtol=1e-13 * ratio**2 + 1e-9)
    assert_allclose(fitted.D.iloc[0, 0], (between - within) / 5, rtol=1e-6)
    assert_allclose(fitted.se.iloc[0], np.sqrt(between / 100), rtol=1e-6)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_fixed_effects_are_continuous_in_an_unbalanced_design(method):
    """statsmodels issue 10239, where a between-group effect jumps at tau2 = 0."""
    base = grouped(n_groups=12).iloc[lambda d: np.flatnonzero((np.arange(len(d)) * 7) % 10 > 2)]
    direction = base["g"] % 3 - 1.0
    steps = np.arange(0, 1, 0.02)
    fits = [lmmlib.fit("y ~ x + (1 | g)", base.assign(y=base["y"] + k * direction), method=method) for k in steps]
    singular, slopes = np.array([f.is_singular for f in fits]), np.array([f.beta["x"] for f in fits])
    assert singular.any() and not singular.all()
    # A jump would be of the size of the slope, 2; one step changes the data by 0.02.
    assert np.abs(np.diff(slopes)).max() < 0.05 and np.abs(slopes).min() > 1


# ---------------------------------------------------------------- simulate and refit


def test_a_refit_is_the_fit_of_that_response():
    data = grouped(tau=1.0)
    fitted = lmmlib.fit("y ~ x + (t | g)", data, method="ML")
    y = fitted.simulate(rng=np.random.default_rng(4))
    again, stored = fitted.refit(y), lmmlib.fit("y ~ x + (t | g)", data.assign(y=y), method="ML")
    assert again.method == "ML" and again.formula == fitted.formula
    for name in ("criterion", "beta", "cov_beta", "D", "sigma2", "theta"):
        assert_allclose(getattr(again, name), getattr(stored, name), rtol=1e-12)
    assert abs(again.criterion - fitted.criterion) > 1e-3
    for y in (data["y"], data["y"].tolist()):
        assert_allclose(fitted.refit(y).criterion, fitted.criterion, rtol=1e-13)


def test_simulated_shapes_and_seeds():
    fitted = lmmlib.fit("y ~ x + (1 | g)", grouped(tau=1.0))
    one, many = (fitted.simulate(size, rng=np.random.default_rng(9)) for size in (None, 3))
    assert one.shape == (100,) and many.shape == (100, 3)
    assert fitted.simulate(1, rng=np.random.default_rng(9)).shape == (100, 1)
    assert (fitted.simulate(3, rng=np.random.default_rng(9)) == many).all()
    assert (fitted.simulate(3, rng=np.random.default_rng(10)) != many).all()
    assert (np.diff(many, axis=1) != 0).all()
    rng = np.random.default_rng(9)
    assert (fitted.simulate(rng=rng) != fitted.simulate(rng=rng)).all()


@pytest.mark.parametrize("formula", ["y ~ x + (t | g)", "y ~ x + (0 | g)", "y ~ x + (1 | g)"])
def test_simulated_responses_have_the_mean_and_covariance_of_the_fit(formula):
    """The deviations, whitened by the fit's V, are standard normal; by another V they are seen not to be."""
    fitted, size = lmmlib.fit(formula, grouped(tau=1.0, n_groups=6, n_i=4)), 4000
    d, V = fitted.design, dense.V(fitted.design, fitted.D, fitted.sigma2)
    raw = fitted.simulate(size, rng=np.random.default_rng(12)) - fitted.fitted(of="population")[:, None]

    def off(V, raw):
        """Largest z of the means and of the covariances of the whitened deviations."""
        white = np.linalg.solve(np.linalg.cholesky(V), raw)
        mean = np.abs(white.mean(axis=1)).max() * np.sqrt(size)
        square = (white @ white.T / size - np.eye(len(V))) * np.sqrt(size)
        return mean, np.abs(square / np.sqrt(1 + np.eye(len(V)))).max()

    # Largest of 24 and of 300 standard normals: beyond 5 in less than one of 5000 seeds.
    assert max(off(V, raw)) < 5
    same = d.group[:, None] == d.group
    assert off(V, raw + 0.15)[0] > 5 and off(1.2 * V, raw)[1] > 5
    assert off(V + np.where(same, 0.3 * fitted.sigma2, 0), raw)[1] > 5
    assert off(V + 0.2 * fitted.sigma2, raw)[1] > 5


@pytest.mark.parametrize("size", [0, -1, 2.5, "a", True], ids=repr)
def test_size_is_a_whole_number(size):
    with pytest.raises(ParameterError, match="size must be a whole number"):
        lmmlib.fit("y ~ x + (1 | g)", grouped(tau=1.0)).simulate(size, rng=np.random.default_rng(1))


@pytest.mark.parametrize("rng", [None, -3, 2.5, "a"], ids=repr)
def test_rng_is_a_generator_or_a_seed(rng):
    fitted = lmmlib.fit("y ~ x + (1 | g)", grouped(tau=1.0))
    assert_allclose(fitted.simulate(rng=3), fitted.simulate(rng=np.random.default_rng(3)), rtol=0)
    with pytest.raises(ParameterError, match="rng must be a numpy Generator"):
        lmmlib.fit("y ~ x + (1 | g)", grouped(tau=1.0)).simulate(rng=rng)


SQUARES = np.repeat(np.arange(20.0) ** 2, 5)


BAD_Y = {
    "short": ([1.0, 2.0], DataError, r"\(100,\) finite numbers"),
    "table": (np.zeros((100, 1)), DataError, r"\(100,\) finite numbers"),
    "missing": (np.full(100, np.nan), DataError, "finite numbers"),
    "text": (["a"] * 100, ParameterError, "y must be real numbers"),
    "complex": (np.ones(100) * 1j, ParameterError, "y must be real numbers"),
    "nothing": (None, DataError, "finite numbers"),
    "constant": (np.ones(100), DesignError, "no variance to estimate; is 'y' the response that you mean"),
    "constant within groups": (SQUARES, DesignError, "sigma2 tends to zero.*no estimate.*within groups exactly"),
}


@pytest.mark.parametrize("kind", BAD_Y)
def test_a_bad_response_says_what_is_wrong(kind):
    y, error, words = BAD_Y[kind]
    with pytest.raises(error, match=words):
        lmmlib.fit("y ~ x + (1 | g)", grouped(tau=1.0)).refit(y)


# ---------------------------------------------------------------- the optimum is one


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("formula", ["y ~ x + t + (t | g)", "y ~ x + t + (t || g)", "y ~ x + t + (1 | g)"])
def test_no_other_parameters_are_better(formula, method):
    """The dense likelihood at the estimate and around it; D stays positive semidefinite by its factor."""
    data = grouped(tau=1.0).iloc[np.flatnonzero(np.arange(100) % 7 > 1)]
    fitted = lmmlib.fit(formula, data, method=method)
    loglik = dense.profile_loglik if method == "ML" else dense.restricted_loglik
    D, sigma2 = fitted.D.to_numpy(), fitted.sigma2
    best = loglik(fitted.design, D, sigma2)
    assert_allclose(fitted.loglik, best, rtol=1e-10)
    rng, L = np.random.default_rng(7), np.linalg.cholesky(D + 1e-14 * np.eye(len(D)))
    for _ in range(20):
        change = np.tril(rng.normal(size=D.shape))
        change = 0.05 * (np.diag(np.diag(change)) if "||" in formula else change)
        near = (L + change) @ (L + change).T
        assert loglik(fitted.design, near, sigma2 * (1 + 0.05 * rng.normal())) < best
    assert_allclose(fitted.cov_beta, dense.gls(fitted.design, D, sigma2)[1], rtol=1e-8, atol=1e-12)
    assert_allclose(fitted.beta, dense.gls(fitted.design, D, sigma2)[0], rtol=1e-8)


@pytest.mark.parametrize(("ratio", "singular"), [(0.0, True), (1e-5, True), (5e-4, False)])
def test_a_variance_that_cannot_be_told_from_zero_is_singular(ratio, singular):
    """Balanced, F = 1 + 5 ratio^2: near F = 1 the deviance is flat to its last digit until tau / sigma is 1e-4."""
    y = np.random.default_rng(3).standard_normal((50, 5))
    y -= y.mean(axis=1, keepdims=True)
    between = np.arange(50.0) - 24.5
    mean_square = (y**2).sum() / 200
    y += (np.sqrt(mean_square * (1 + 5 * ratio**2) / 5 / between.var(ddof=1)) * between)[:, None]
    one = np.ones((250, 1))
    fitted = lmmlib.fit_design(lmmlib.Design.from_arrays(y.ravel(), one, one, np.repeat(np.arange(50), 5)))
    assert fitted.converged and fitted.is_singular is singular
    assert_allclose(fitted.theta, ratio, atol=1e-4)


def one_way(rows):
    """REML of the balanced model with a random intercept, in 50 digits: mean, its SE, D and sigma2; (n, m) numbers."""
    with localcontext(prec=50):
        rows = [[Decimal(float(value)) for value in row] for row in rows]
        n, m = len(rows), len(rows[0])
        means = [sum(row) / m for row in rows]
        mean = sum(means) / n
        within = sum((v - c) ** 2 for row, c in zip(rows, means, strict=True) for v in row) / (n * (m - 1))
        between = m * sum((c - mean) ** 2 for c in means) / (n - 1)
        return [float(x) for x in (mean, (between / (n * m)).sqrt(), (between - within) / m, within)]


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("ratio", [1e3, 1e4, 1e5, 1e6])
def test_random_effects_that_dwarf_the_residuals(ratio, shift):
    """Four digits of every number, its df too, or an error that says why there are none."""
    answers = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = shift + ratio * rng.normal(size=(15, 1)) + rng.normal(size=(15, 4))
        data = pd.DataFrame({"y": rows.ravel(), "g": np.repeat(np.arange(15), 4)})
        try:
            fitted = lmmlib.fit("y ~ 1 + (1 | g)", data)
        except DesignError as error:
            assert "sigma2 tends to zero, the edge of its range, or is too small beside D" in str(error)
            continue
        mean, se, D, sigma2 = one_way(rows)
        assert_allclose([fitted.se.iloc[0], fitted.D.iloc[0, 0], fitted.sigma2], [se, D, sigma2], rtol=5e-5)
        assert fitted.converged and fitted.beta.iloc[0] == pytest.approx(mean, abs=5e-5 * se)
        for df in ("satterthwaite", "kenward-roger"):
            assert fitted.fixed_effects(df=df)["df"].item() == pytest.approx(14, rel=2e-4)
        answers += 1
    assert answers >= {1e3: 5, 1e4: 5, 1e5: 4, 1e6: 0}[ratio]


def test_what_is_fitted_has_its_own_type():
    """With a residual covariance, by a formula, with a relationship: what a type checker is told."""
    kinds = [one.__annotations__["return"] for one in get_overloads(lmmlib.fit)]
    assert kinds == ["ResidualFit", "Fit | SeveralFit", "SeveralFit"]
