"""The optimum, whatever the order of terms and rows, labels, units and origins; and what tests need of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DesignError
from lmmlib.fitting.batch import NO_SIGMA
from lmmlib.several.criterion import State, criterion
from lmmlib.several.effects import predictions
from lmmlib.several.fit import fit_several
from lmmlib.several.fitted import Variances
from tests.several import FORMULAS, Dense, frame, pairs

FITTED = [FORMULAS[0], "y ~ x + f + (1 | g) + (x | h)", "y ~ x + (x || h) + (1 | k)"]


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_estimates_are_those_of_the_full_matrix(formula, method):
    fit = lmmlib.fit(formula, frame(11), method=method)
    dense = Dense(fit.terms, fit.D, fit.sigma2)
    assert fit.converged
    assert_allclose(fit.criterion, dense.criterion(method), rtol=1e-9)
    assert_allclose(fit.beta, dense.beta, rtol=1e-8)
    assert_allclose(fit.cov_beta, dense.Phi, rtol=1e-6, atol=1e-8)
    # No other point is lower.
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-1, 1):
        theta = fit.log[-1].working + size * rng.normal(size=len(fit.theta))
        assert criterion(fit.state.sums, method, theta[None]).value[0] > fit.criterion - 1e-8


@pytest.mark.parametrize("formula", FITTED)
def test_orders_and_labels_do_not_matter(formula):
    data = frame(11)
    fit = lmmlib.fit(formula, data)
    fixed, *terms = formula.split(" + (")
    turned = f"{fixed} + {' + '.join('(' + term for term in reversed(terms))}"
    other = lmmlib.fit(turned, data.sample(frac=1, random_state=1).assign(g=lambda d: "q" + (99 - d["g"]).astype(str)))
    assert_allclose(other.criterion, fit.criterion, rtol=1e-11)
    assert_allclose(other.beta, fit.beta, rtol=1e-7)
    k = len(terms)
    for t in range(k):
        assert_allclose(other.D[k - 1 - t], fit.D[t], rtol=1e-5, atol=1e-7)


def test_units_and_origins_do_not_matter():
    data = frame(11)
    fit = lmmlib.fit(FITTED[1], data)
    far = lmmlib.fit(FITTED[1], data.assign(x=1e4 * data["x"] + 2e7, y=1e-3 * data["y"]))
    assert_allclose(far.beta["x"], 1e-7 * fit.beta["x"], rtol=1e-6)
    assert_allclose(far.D[1].loc["x", "x"], 1e-14 * fit.D[1].loc["x", "x"], rtol=1e-6)
    assert_allclose(far.D[0], 1e-6 * fit.D[0], rtol=1e-6)
    assert_allclose(
        far.fixed_effects().loc["x", ["df", "t", "p"]], fit.fixed_effects().loc["x", ["df", "t", "p"]], rtol=1e-6
    )
    assert_allclose(far.criterion - fit.criterion, 2 * 86 * np.log(1e-3) + 2 * np.log(1e4), atol=1e-7)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("tlc", "lead ~ week * treatment + (week | id)"),
        ("sleep", "Reaction ~ Days + (Days | Subject)"),
        ("sleep", "Reaction ~ Days + (Days || Subject)"),
        ("dental", "distance ~ age * Sex + (1 | Subject)"),
        ("chicks", "weight ~ day + (day + I(day**2) | chick)"),
    ],
)
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_one_grouping_is_the_fit_that_it_was(name, formula, method):
    data = lmmlib.load(name)
    fit, one = fit_several(formula, data, method=method), lmmlib.fit(formula, data, method=method)
    assert_allclose(fit.criterion, one.criterion, atol=1e-8)
    assert_allclose(fit.theta, one.theta, rtol=1e-8, atol=1e-8)
    assert_allclose(fit.beta, one.beta, rtol=1e-8)
    assert_allclose(fit.cov_beta, one.cov_beta, rtol=1e-8, atol=1e-10)
    assert (fit.aic, fit.n_parameters, fit.is_singular) == (pytest.approx(one.aic), one.n_parameters, one.is_singular)
    assert fit.bic == pytest.approx(one.bic)
    names = [name.partition(" | ")[0] for name in fit.parameters().index]
    assert names == list(one.parameters().index)
    assert_allclose(fit.parameters(), one.parameters(), rtol=1e-7, atol=1e-7)
    assert_allclose(fit.cov_parameters(), one.cov_parameters(), rtol=1e-6, atol=1e-6)
    mine, theirs = fit.random_effects(), one.random_effects()
    columns = ["estimate", "se_known", "se_pev", "lower", "upper"]
    assert_allclose(mine[columns], theirs[columns], rtol=1e-7, atol=1e-7)
    assert list(mine["group"]) == list(theirs["group"]) and list(mine["term"]) == list(theirs["term"])
    if method == "REML":
        for df in ("satterthwaite", "kenward-roger"):
            assert_allclose(fit.fixed_effects(df=df), one.fixed_effects(df=df), rtol=1e-6)
            assert_allclose(fit.anova(df=df), one.anova(df=df), rtol=1e-6)


@pytest.mark.parametrize("formula", FITTED)
def test_degrees_of_freedom_are_those_of_the_full_information(formula):
    fit = lmmlib.fit(formula, frame(11))
    dense = Dense(fit.terms, fit.D, fit.sigma2)
    assert not fit.is_singular
    for kind in ("observed", "expected"):
        shared = getattr(fit, kind)
        found = [shared.satterthwaite(row[None]) for row in np.eye(len(fit.beta))]
        assert_allclose(found, [dense.satterthwaite(row, kind) for row in np.eye(len(fit.beta))], rtol=1e-6)
    cov = fit.expected.kenward_roger(np.eye(len(fit.beta))).cov
    assert_allclose(cov, dense.kenward_roger(), rtol=1e-6, atol=1e-9)
    table = fit.fixed_effects(df="kenward-roger")
    assert_allclose(table["se"], np.sqrt(np.diag(dense.kenward_roger())), rtol=1e-6)


def test_weights_and_offset():
    data = frame(12)
    fit = lmmlib.fit(FITTED[0], data, weights="w", offset="o")
    dense = Dense(fit.terms, fit.D, fit.sigma2)
    assert_allclose(fit.criterion, dense.criterion("REML"), rtol=1e-9)
    assert_allclose(fit.beta, dense.beta, rtol=1e-8)
    plain = lmmlib.fit(FITTED[0], data.assign(y=data["y"] - data["o"]), weights=data["w"])
    assert_allclose(plain.theta, fit.theta, rtol=1e-6)


def test_a_variance_of_zero_is_an_answer():
    rng = np.random.default_rng(1)
    data = frame(1)
    data["y"] = rng.normal(size=len(data))
    data["y"] -= data.groupby("h")["y"].transform("mean")
    fit = lmmlib.fit("y ~ 1 + (1 | g) + (1 | h)", data)
    assert fit.converged and fit.is_singular and fit.singular_terms[1]
    assert fit.D[1].iloc[0, 0] == 0.0
    alone = lmmlib.fit("y ~ 1 + (1 | g)", data)
    assert_allclose([fit.criterion, fit.sigma2], [alone.criterion, alone.sigma2], rtol=1e-9)
    assert np.isfinite(fit.fixed_effects()["df"]).all()
    assert "variance zero" in str(fit) and "of h has" in str(fit)
    effects = fit.random_effects()
    assert (effects.loc[effects["grouping"] == "h", ["estimate", "se_pev"]].abs() < 1e-9).all(axis=None)
    assert fit.cov_parameters().iloc[1:, 1:].isna().all(axis=None)


def test_a_second_start_finds_what_the_first_did_not(monkeypatch):
    data = frame(11)
    fit = lmmlib.fit(FITTED[0], data)
    monkeypatch.setattr("lmmlib.several.fitted.start", lambda sums, found: np.zeros(2))
    assert_allclose(lmmlib.fit(FITTED[0], data).criterion, fit.criterion, rtol=1e-10)


def test_what_has_no_residual():
    data = frame(1)
    for y in (0 * data["x"], 2 * data["x"]):
        try:
            fit = lmmlib.fit("y ~ x + (1 | g) + (1 | h)", data.assign(y=y))
        except DesignError as error:
            assert "no residual" in str(error) or "fit the response exactly" in str(error)
        else:
            assert not fit.converged and "fit the response exactly" in fit.reason


def test_information_of_a_saddle_is_an_error():
    fit = lmmlib.fit(FITTED[0], frame(11))
    far = State(fit.state.sums, [5 * L for L in fit.state.L], True)
    with pytest.raises(DesignError, match="the observed information on the variance parameters is not positive"):
        Variances(far, fit.sigma2, "observed")


def test_calves_of_mrode():
    """The animal model at known variances: random effects of all animals, also of those without records."""
    stored = json.loads((Path(__file__).parents[2] / "reference" / "crossed" / "mrode.json").read_text())
    parents = pd.DataFrame(
        {key: pair for key, pair in stored["pedigree"].items() if key.isdigit()}, index=["sire", "dam"], dtype=object
    ).T
    parents.index = parents.index.astype(int)
    data = pd.DataFrame(stored["records"])
    fit = fit_several("gain ~ 0 + sex + (1 | calf)", data, relationship={"calf": parents})
    sums = fit.state.sums
    sigma_e, sigma_a = 40.0, 20.0
    state = State(sums, [sums.first.B[:0].sum(axis=0), np.sqrt(sigma_a / sigma_e) * np.ones((1, 1))], True)
    beta = sums.beta0 + sums.cross.basis.x_back @ state.beta
    assert_allclose(beta, [stored["solution"]["female"], stored["solution"]["male"]], atol=5.1e-4)
    names = list(sums.rest[0].names)
    a = sums.rest[0].bases[0].b_back(predictions(state)[1])[[names.index(animal) for animal in range(1, 9)], 0]
    assert_allclose(a, stored["solution"]["a"], atol=5.1e-4)


def test_a_sigma_that_tends_to_zero_is_no_estimate():
    """Also where rounding ends the search, which then is at some small sigma2 or other."""
    for seed in (12, 13, 15):
        fit = fit_several("y ~ x + (x | g)", pairs(seed))
        assert not fit.converged and fit.reason == NO_SIGMA
        with pytest.raises(DesignError, match="sigma2 tends to zero"):
            lmmlib.fit("y ~ x + (x | g)", pairs(seed))
