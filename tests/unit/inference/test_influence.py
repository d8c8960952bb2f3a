"""One group left out: against the printed formulas without it, and against fits of the other rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense
from lmmlib.inference.influence import influence
from tests.property.test_fast_equals_dense import models

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
