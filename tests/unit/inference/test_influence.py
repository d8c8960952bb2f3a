"""One group left out: against the printed formulas without it, and against fits of the other rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense
from lmmlib.inference.influence import influence
from lmmlib.residual import ar1, independent, unstructured
from lmmlib.several.fit import fit_several
from tests.property.test_fast_equals_dense import models
from tests.several import FORMULAS, Dense, frame
from tests.unit.residual import dense as of_visits

FORMULA = "lead ~ week + (week | child)"


@pytest.fixture
def fit(many):
    return lmmlib.fit(FORMULA, many)


def test_the_estimate_without_a_group_is_gls_without_it(fit):
    found, (beta, D, sigma2) = influence(fit), fit.estimates
    V = dense.V(fit.design, D, sigma2)
    for i, name in enumerate(fit.design.group_names):
        alone, Phi = dense.gls(fit.design.take(fit.design.group != i), D, sigma2)
        move, rows = alone - beta, fit.design.rows(i)
        X, W = fit.design.X[rows], np.linalg.inv(V[np.ix_(rows, rows)])
        assert_allclose(found.loc[name, list(fit.beta.index)].astype(float), move, rtol=1e-7, atol=1e-10)
        assert_allclose(found.loc[name, "cook"], move @ np.linalg.solve(fit.cov_beta, move) / 2, rtol=1e-7)
        assert_allclose(found.loc[name, "leverage"], np.trace(fit.cov_beta @ X.T @ W @ X), rtol=1e-8)
    assert_allclose(found["leverage"].sum(), len(beta), rtol=1e-10)
    assert found.index.name == "child" and fit.influence().equals(found)


@given(models(least_groups=3))
def test_weights_offsets_and_singular_covariances(m):
    """The same on random designs of all kinds, at their own estimates."""
    try:
        fit = lmmlib.fit_design(m.design)
    except lmmlib.errors.DesignError:
        return
    found, (beta, D, sigma2) = influence(fit), fit.estimates
    for i in range(fit.n_groups):
        other = fit.design.take(fit.design.group != i)
        if np.linalg.matrix_rank(other.X, tol=1e-6) < len(beta):
            continue
        move, ours = dense.gls(other, D, sigma2)[0] - beta, found.iloc[i, 2:].to_numpy()
        if np.isfinite(ours).all():
            assert_allclose(ours, move, rtol=1e-6, atol=1e-6 * np.abs(beta).max())


def test_refits_are_fits_of_the_other_rows(fit, many):
    found = influence(fit, refit=True)
    for name in fit.design.group_names[:3]:
        other = lmmlib.fit(FORMULA, many[many["child"] != name])
        move = other.parameters() - fit.parameters()
        assert list(found.columns) == ["leverage", "cook", *move.index]
        assert_allclose(found.loc[name, list(move.index)].astype(float), move, rtol=1e-6, atol=1e-7)
        beta = move.to_numpy()[:2]
        assert_allclose(found.loc[name, "cook"], beta @ np.linalg.solve(fit.cov_beta, beta) / 2, rtol=1e-6)
    assert_allclose(found["leverage"], influence(fit)["leverage"], rtol=0)


def test_a_group_that_alone_carries_a_column_has_no_distance(many):
    """Without its only child an arm has no mean: NaN for that child, numbers for the others."""
    frame = many.assign(alone=(many["child"] == many["child"].iloc[0]).astype(float))
    fit = lmmlib.fit("lead ~ week + alone + (1 | child)", frame)
    for refit in (False, True):
        found = influence(fit, refit=refit)
        lost = found["cook"].isna() if refit else found.iloc[:, 2:].isna().any(axis=1)
        assert list(found.index[lost]) == [frame["child"].iloc[0]]
    assert influence(fit)["leverage"].idxmax() == frame["child"].iloc[0]


def test_the_outlying_group_is_found():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(12), 4)
    frame = pd.DataFrame({"g": group, "x": np.tile(np.arange(4.0), 12), "y": rng.standard_normal(48)})
    frame.loc[frame["g"] == 7, "y"] += 5 * frame["x"]
    fit = lmmlib.fit("y ~ x + (1 | g)", frame)
    assert influence(fit)["cook"].idxmax() == 7 == influence(fit)["x"].idxmin()


@pytest.mark.parametrize("seed", range(50, 58))
def test_groups_of_several_groupings(seed):
    """GLS of the other rows, with their rows and columns of V, whichever grouping a group is of."""
    formula, data = FORMULAS[seed % len(FORMULAS)], frame(seed, 60)
    fit = lmmlib.fit(formula, data, weights="w" if seed % 2 else None, offset="o")
    full = Dense(fit.terms, {t: D.to_numpy() for t, D in fit.D.items()}, fit.sigma2)
    found, inside = fit.influence(), np.linalg.inv(full.Phi)
    assert found.index.names == ["grouping", "group"] if len(fit.n_groups) > 1 else True
    for term in fit.terms.terms:
        for name in term.design.group_names:
            left = np.array([term.design.group_names[i] != name for i in term.design.group])
            X, W = full.X[left], np.linalg.inv(full.V[np.ix_(left, left)])
            if np.linalg.cond(X.T @ W @ X) > 1e10:
                continue
            move = np.linalg.solve(X.T @ W @ X, X.T @ W @ full.y[left]) - full.beta
            row = found.loc[(term.grouping, name)] if len(fit.n_groups) > 1 else found.loc[name]
            assert_allclose(row[list(fit.beta.index)].astype(float), move, rtol=1e-6, atol=1e-8)
            assert_allclose(row["cook"], move @ inside @ move / len(move), rtol=1e-6, atol=1e-10)
            assert_allclose(row["leverage"], len(move) - np.trace(full.Phi @ X.T @ W @ X), rtol=1e-6, atol=1e-8)


def some_children():
    return lmmlib.load("tlc").assign(id=lambda d: d["id"].astype(int)).query("id < 30")


@pytest.mark.parametrize("structure", [ar1("week"), unstructured("week")])
def test_groups_with_a_residual_covariance(structure):
    tlc = some_children().drop(index=[3, 8], errors="ignore")
    fit = lmmlib.fit("lead ~ week * treatment + (0 | id)", tlc, residual=structure)
    found, code, R = fit.influence(), fit.model.visits.code, fit.R()[0]
    V = of_visits.V(fit.design, np.zeros((0, 0)), lambda rows: R[np.ix_(code[rows], code[rows])])
    for i, name in enumerate(fit.design.group_names):
        left = fit.design.group != i
        beta, _ = of_visits.gls(V[np.ix_(left, left)], fit.design.X[left], fit.design.y[left])
        assert_allclose(found.loc[name, list(fit.beta.index)].astype(float), beta - fit.beta, rtol=1e-6, atol=1e-9)
    assert_allclose(found["leverage"].sum(), len(fit.beta), rtol=1e-10)


def test_refits_of_other_models_are_fits_of_the_other_rows():
    data = frame(11)
    fit = lmmlib.fit("y ~ x + (1 | h) + (1 | k)", data)
    found = fit.influence(refit=True)
    for grouping, name in (("h", 2), ("k", 1)):
        other = lmmlib.fit("y ~ x + (1 | h) + (1 | k)", data[data[grouping] != name])
        move = (other.parameters() - fit.parameters()).to_numpy()
        assert_allclose(found.loc[(grouping, name)].iloc[2:].astype(float), move, rtol=1e-5, atol=1e-6)
    tlc = some_children()
    fit = lmmlib.fit("lead ~ week + (0 | id)", tlc, residual=ar1("week"))
    name = fit.design.group_names[0]
    other = lmmlib.fit("lead ~ week + (0 | id)", tlc[tlc["id"] != name], residual=ar1("week"))
    move = (other.parameters() - fit.parameters()).to_numpy()
    assert_allclose(fit.influence(refit=True).loc[name].iloc[2:].astype(float), move, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("refit", [False, True])
def test_of_one_grouping_influence_is_that_of_a_fit(refit):
    dental, formula = lmmlib.load("dental"), "distance ~ age + (age | Subject)"
    one = lmmlib.fit(formula, dental).influence(refit=refit)
    for other in (fit_several(formula, dental), lmmlib.fit(formula, dental, residual=independent())):
        assert_allclose(other.influence(refit=refit), one, rtol=1e-6, atol=1e-7)
