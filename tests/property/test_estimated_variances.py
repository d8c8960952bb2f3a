"""Errors corrected for estimated variances: of several groupings by full matrices, of one those of a fit."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag

import lmmlib
from lmmlib.residual import independent
from lmmlib.several.fit import fit_several
from tests.several import FORMULAS, Dense, frame


def perturbed(D, sigma2, design, step):
    """D and sigma2 with each entry of a term's D, then sigma2, a step more."""
    for t, term in enumerate(design.terms):
        q = len(D[t])
        for b in range(q):
            for a in range(b, q):
                if a == b or not term.design.diagonal:
                    E = np.zeros((q, q))
                    E[a, b] = E[b, a] = step
                    yield {**D, t: D[t] + E}, sigma2
    yield D, sigma2 + step


@pytest.mark.parametrize("seed", range(40, 46))
def test_several_groupings(seed):
    formula, data = FORMULAS[seed % len(FORMULAS)], frame(seed, 70)
    fit = lmmlib.fit(formula, data, method=("REML", "ML")[seed % 2], weights="w" if seed % 3 else None)
    D, design = {t: one.to_numpy() for t, one in fit.D.items()}, fit.terms
    full = Dense(design, D, fit.sigma2)
    W = np.linalg.inv(full.information("expected"))
    rows = data.index[:9]
    plain, corrected = (fit.predict(data.loc[rows], method=method)["se"] for method in ("plugin", "corrected"))
    for i in rows:
        c, x = sum(Z @ G @ Z[i] for Z, G in zip(full.Z, full.G, strict=True)), full.X[i]
        weights = full.P @ c + full.Vi @ full.X @ full.Phi @ x
        m = [part[:, i] - part @ weights for part in full.parts[:-1]] + [-full.parts[-1] @ weights]
        added = sum(W[r, s] * (m[r] @ full.P @ m[s]) for r in range(len(m)) for s in range(len(m)))
        assert_allclose(corrected[i] ** 2 - plain[i] ** 2, 2 * added, rtol=1e-6, atol=1e-9 * plain[i] ** 2)

    def S(D, sigma2):
        at = Dense(design, D, sigma2)
        return block_diag(*at.G) @ np.hstack(at.Z).T @ at.Vi

    step = 1e-5 * fit.sigma2
    pairs = zip(perturbed(D, fit.sigma2, design, step), perturbed(D, fit.sigma2, design, -step), strict=True)
    slopes = [(S(*up) - S(*down)) / (2 * step) for up, down in pairs]
    added = sum(
        W[r, s] * np.einsum("ei,ij,ej->e", slopes[r], full.V, slopes[s])
        for r in range(len(slopes))
        for s in range(len(slopes))
    )
    table = fit.random_effects(error="corrected")
    size = (table["se_pev"] ** 2).max()
    assert_allclose(table["se_corrected"] ** 2 - table["se_pev"] ** 2, 2 * added, rtol=1e-4, atol=1e-7 * size)
    assert "se_corrected" not in fit.random_effects()


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_of_one_grouping_and_independent_residuals_all_is_that_of_a_fit(method):
    dental, formula = lmmlib.load("dental"), "distance ~ age + (age | Subject)"
    one = lmmlib.fit(formula, dental, method=method)
    new = pd.concat([dental.iloc[[0, 5, 9]].assign(age=[9.0, 15.0, 12.0]), dental.head(2).assign(Subject="new")])
    for other in (
        fit_several(formula, dental, method=method),
        lmmlib.fit(formula, dental, method=method, residual=independent()),
    ):
        tables = [fit.random_effects(error="corrected") for fit in (one, other)]
        columns = ["estimate", "se_known", "se_pev", "se_corrected", "lower", "upper"]
        assert_allclose(tables[1][columns], tables[0][columns], rtol=1e-7, atol=1e-9)
        for of in ("group", "population"):
            for interval in (None, "confidence", "prediction"):
                about = {"of": of, "interval": interval, "method": "corrected"}
                ours, theirs = (fit.predict(new, **about).to_numpy(float) for fit in (other, one))
                assert_allclose(ours, theirs, rtol=1e-7)
