"""Cloning never calls a parameter estimable that is not: weak and unidentified models, and priors that still rule.

What may be estimable is said by hand; where the model has a maximum, the estimate and its error are those of `fit`.
"""

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.bayes.priors import InverseGamma, InverseWishart, Normal, Priors
from lmmlib.cloning.gaussian import distance

# Unidentified models are refused unless they are asked for.
ALLOW = {"unidentified": "allow"}
TAU2, SIGMA2 = "D[(Intercept), (Intercept)]", "sigma2"
SLOPES = {TAU2, "D[x, (Intercept)]", "D[x, x]"}


def data(n, m, sd=0.8, seed=0):
    """n groups of m rows; x varies in them, c does not."""
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(n), m), rng.normal(size=n * m)
    frame = pd.DataFrame({"g": g, "x": x, "c": rng.normal(size=n)[g]})
    return frame.assign(y=1 + x / 2 + sd * rng.normal(size=n)[g] + rng.normal(size=n * m), twice=2 * x)


def equal_means(n, m):
    e = np.random.default_rng(8).normal(size=(n, m))
    return pd.DataFrame({"g": np.repeat(np.arange(n), m), "y": (e - e.mean(axis=1, keepdims=True)).ravel()})


def rank_one():
    frame, rng = data(30, 6), np.random.default_rng(3)
    b = rng.normal(size=30)[frame["g"]]
    return frame.assign(y=1 + b + 0.8 * b * frame["x"] + rng.normal(size=180) / 2)


PLAIN, SLOPE, MANY = "y ~ x + (1 | g)", "y ~ x + (x | g)", (1, 10, 25)
BETA = {"(Intercept)", "x"}
# Formula, data, clones, priors, and what may be called estimable.
MODELS = {
    "all is well": (PLAIN, data(12, 10), MANY, None, BETA | {TAU2, SIGMA2}),
    "prior of the mean": ("y ~ 1 + (1 | g)", data(12, 10), MANY, Priors(Normal(100, 0.01)), set()),
    "prior of a slope": (PLAIN, data(12, 10), MANY, Priors(Normal([1, 10], np.diag([1e4, 1e-4]))), set()),
    "prior of sigma": (PLAIN, data(12, 10), MANY, Priors(sigma=InverseGamma(1e6, 1e8)), set()),
    "prior of a large D": (PLAIN, data(12, 10), MANY, Priors(D=InverseGamma(1e6, 1e8)), set()),
    "prior of a small D": (PLAIN, data(12, 10), MANY, Priors(D=InverseGamma(1e6, 1e2)), set()),
    "prior of a matrix": (SLOPE, data(12, 10), MANY, Priors(D=InverseWishart(1e5, 1e7 * np.eye(2))), set()),
    "one row in a group": (PLAIN, data(60, 1), MANY, None, BETA),
    "slope of a constant": ("y ~ 1 + (c | g)", data(20, 5), MANY, None, {"(Intercept)", SIGMA2}),
    "two rows and a slope": (SLOPE, data(30, 2).assign(x=np.tile([0.0, 1.0], 30)), MANY, None, BETA),
    "two groups and a slope": (SLOPE, data(2, 20), MANY, None, BETA | {SIGMA2}),
    "one group": (PLAIN, data(1, 20), MANY, None, BETA | {SIGMA2}),
    "one group and a slope": (SLOPE, data(1, 20), MANY, None, BETA | {SIGMA2}),
    "dependent columns": (
        "y ~ x + twice + (1 | g)",
        data(12, 10),
        MANY,
        Priors(Normal(0, 100.0)),
        {"(Intercept)", TAU2, SIGMA2},
    ),
    "groups as fixed effects": (
        "y ~ C(g) + (1 | g)",
        data(5, 8),
        MANY,
        None,
        {"(Intercept)", "C(g)1", "C(g)2", "C(g)3", "C(g)4", SIGMA2},
    ),
    "D at zero": ("y ~ 1 + (1 | g)", equal_means(30, 4), MANY, None, {"(Intercept)", SIGMA2}),
    "D of rank one": (SLOPE, rank_one(), MANY, None, BETA | {SIGMA2}),
    "one number of clones": (PLAIN, data(12, 10), 25, None, set()),
    "two clones": (PLAIN, data(12, 10), (1, 2), Priors(Normal(100, 0.01)), set()),
}


@pytest.fixture(scope="module")
def cloned():
    """Each model, cloned when it is first asked for."""
    done = {}

    def get(name):
        if name not in done:
            formula, frame, K, priors, _ = MODELS[name]
            done[name] = lmmlib.clone(formula, frame, K, priors, draws=200, chains=20, rng=1, **ALLOW)
        return done[name]

    return get


@pytest.mark.parametrize("name", MODELS)
def test_what_is_called_estimable_is(cloned, name):
    formula, frame, _, priors, may = MODELS[name]
    found = cloned(name)
    table = found.verdicts()
    good = set(table.index[table["verdict"] == "estimable"])
    assert good <= may
    if priors is None and good and name in {"all is well", "D at zero", "D of rank one"}:
        fit = lmmlib.fit(formula, frame, method="ML")
        assert good == may
        away = (table["estimate"] - fit.beta)[list(good & BETA)] / fit.se
        assert np.abs(away).max() < 0.2
        np.testing.assert_allclose(table.loc[fit.se.index, "se"], fit.se, rtol=0.1)
        assert table.loc[SIGMA2, "estimate"] == pytest.approx(fit.sigma2, rel=0.03)


@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith("prior")])
def test_a_prior_that_rules_one_parameter_leaves_none(cloned, name):
    """Not those that shrink as they should either, nor a function that does not name the one that is ruled."""
    found = cloned(name)
    assert not found.verdicts()["verdict"].isin(["estimable", "at a boundary"]).any()
    assert found.verdicts()["rate"].max() > 0.8
    assert set(found.on(half=lambda f: f["sigma2"] / 2).verdicts()["verdict"]) <= {"too few clones", "not converged"}
    assert "too few clones: by the score, the likelihood is largest" in repr(found)
    assert "D tends to a matrix" not in repr(found)


def test_more_clones_outvote_the_prior():
    """The same prior against ten thousand clones."""
    formula, frame, _, priors, _ = MODELS["prior of the mean"]
    found = lmmlib.clone(formula, frame, (100, 10**6), priors, draws=200, chains=20, rng=1)
    assert set(found.verdicts()["verdict"]) == {"estimable"}
    assert found.away < 0.05


def test_the_distance_is_that_of_the_score(cloned):
    """In a balanced one-way model: from the mean, the mean squares and their expectations, by hand."""
    found = cloned("prior of the mean")
    est, n, m = found.parameters(), 12, 10
    y = MODELS["prior of the mean"][1]["y"].to_numpy().reshape(n, m)
    mu, tau2, s2 = est["(Intercept)"], est[TAU2], est["sigma2"]
    between = s2 + m * tau2
    ssb, ssw = m * np.sum((y.mean(axis=1) - mu) ** 2), np.sum((y - y.mean(axis=1, keepdims=True)) ** 2)
    # Scores over standard errors of the three orthogonal parameters mu, between and sigma2.
    z = [
        (y.mean() - mu) / np.sqrt(between / (n * m)),
        (ssb / between - n) / np.sqrt(2 * n),
        (ssw / s2 - n * (m - 1)) / np.sqrt(2 * n * (m - 1)),
    ]
    assert distance(found.source) == pytest.approx(np.linalg.norm(z), rel=1e-6)
