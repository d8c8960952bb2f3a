"""Random unbalanced designs with several groupings: the optimum is that of the full matrices, whatever is permuted."""

import itertools

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import lmmlib
from lmmlib.several import sparse, sums
from lmmlib.several.criterion import criterion
from tests.several import FORMULAS, Dense, animals, frame


@pytest.mark.parametrize("seed", range(20, 32))
def test_optimum(seed):
    rng = np.random.default_rng(seed)
    formula = FORMULAS[seed % len(FORMULAS)]
    data = frame(seed, int(rng.integers(60, 160)))
    method = ("REML", "ML")[seed % 2]
    fit = lmmlib.fit(formula, data, method=method, weights="w" if seed % 3 else None)
    assert fit.converged
    dense = Dense(fit.terms, fit.D, fit.sigma2)
    assert_allclose(fit.criterion, dense.criterion(method), rtol=1e-8)
    assert_allclose(fit.beta, dense.beta, rtol=1e-7, atol=1e-7)
    b, known, pev = dense.effects()
    table = fit.random_effects()
    assert_allclose(table["estimate"], b, atol=1e-7 * np.abs(b).max())
    assert_allclose(table["se_pev"] ** 2, np.diag(pev), atol=1e-7 * np.diag(pev).max())
    at = criterion(fit.state.sums, method, fit.log[-1].working[None])
    assert np.linalg.eigvalsh(at.hessian[0]).min() > -1e-6 * np.abs(at.hessian).max()
    for _ in range(10):
        other = fit.log[-1].working + rng.normal(size=len(fit.theta)) * rng.choice([0.01, 0.3, 2.0])
        assert criterion(fit.state.sums, method, other[None]).value[0] >= fit.criterion - 1e-8
    shuffled = lmmlib.fit(
        formula, data.sample(frac=1, random_state=seed), method=method, weights="w" if seed % 3 else None
    )
    assert_allclose(shuffled.criterion, fit.criterion, rtol=1e-11)
    assert_allclose(shuffled.sigma2, fit.sigma2, rtol=1e-6)


@pytest.mark.parametrize("seed", range(40, 52))
def test_a_sparse_part_gives_the_same_fit(seed, monkeypatch):
    formula = [f for f in FORMULAS if "h" in f][seed % 5]
    data, method = frame(seed, 60 + 5 * (seed % 20)), ("REML", "ML")[seed % 2]
    full = lmmlib.fit(formula, data, method=method)
    monkeypatch.setattr(sums, "MANY", 0)
    monkeypatch.setattr(sparse, "FULL", seed % 4)
    monkeypatch.setattr(sparse, "FEW", 1.0)
    found = lmmlib.fit(formula, data, method=method)
    assert found.state.sums.plan is not None and found.converged
    assert_allclose(found.criterion, full.criterion, rtol=1e-8)
    # The search ends where the criterion has no more digits, and its root are those of the estimates.
    assert_allclose(found.beta, full.beta, rtol=1e-6, atol=1e-6)
    table, expected = found.random_effects(), full.random_effects()
    for name in ("estimate", "se_known", "se_pev"):
        assert_allclose(table[name], expected[name], atol=1e-5 * np.abs(expected[name]).max())
    new = data.assign(g=data["g"].sample(frac=1, random_state=seed).to_numpy())  # pairs that do not meet in the data
    assert_allclose(found.predict(new)["se"], full.predict(new)["se"], rtol=1e-5)
    if method == "REML":
        assert_allclose(found.fixed_effects()["df"], full.fixed_effects()["df"], rtol=1e-4)


def test_many_nested_groups_have_the_analysis_of_variance():
    """Balanced: 100 labs of 10 batches of 3 casks of 2 rows, of which 1,100 effects remain, with closed forms."""
    rng = np.random.default_rng(1)
    lab, batch, cask = (np.repeat(np.arange(n), 6000 // n) for n in (100, 1000, 3000))
    y = (
        2 * rng.normal(size=100)[lab]
        + rng.normal(size=1000)[batch]
        + rng.normal(size=3000)[cask]
        + rng.normal(size=6000)
    )
    data = pd.DataFrame({"lab": lab, "batch": batch, "cask": cask, "y": y})
    fit = lmmlib.fit("y ~ 1 + (1 | lab / batch / cask)", data)
    assert fit.state.sums.plan is not None and fit.state.sums.plan.full <= 200 and fit.converged
    means = [y, *(data.groupby(name)["y"].transform("mean").to_numpy() for name in ("cask", "batch", "lab")), y.mean()]
    squares = [((low - high) ** 2).sum() for low, high in zip(means, means[1:], strict=False)]
    mean_squares = np.array(squares) / [3000, 2000, 900, 99]
    expected = [mean_squares[0], *np.diff(mean_squares) / [2, 6, 60]]
    assert_allclose([fit.sigma2, *(fit.D[t].iloc[0, 0] for t in (2, 1, 0))], expected, rtol=1e-6)
    assert_allclose(fit.fixed_effects()["df"], 99, rtol=1e-4)
    assert_allclose(fit.fixed_effects()["se"], np.sqrt(mean_squares[-1] / 6000), rtol=1e-6)


@pytest.mark.parametrize("seed", [3, 7, 8, 9, 10, 12, 13])
def test_profiles_of_one_record_a_level(seed):
    """Down to a sigma of zero, against a search of the full matrices, which misses it where that is left out."""
    method, ends = ("REML", "ML")[seed % 2], []
    fit = animals(seed, method, herd=seed > 9)
    herd, size = len(fit.D) > 1, fit.design.y.std()

    def full(sd, sigma, herds):
        D = {0: [[sd**2]]} | ({1: [[herds**2]]} if herd else {})
        return Dense(fit.terms, D, sigma**2).criterion(method)

    def least(criterion, starts=(0.1, 0.7)):
        several = itertools.product(starts, repeat=2 if herd else 1)
        options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 2000}
        found = (minimize(criterion, size * np.array(at), method="Nelder-Mead", options=options) for at in several)
        return min(one.fun for one in found)

    for value in size * np.array([0.2, 1.0, 1.6]):
        by_sd = least(lambda free, sd=value: full(sd, free[0], free[-1]))
        by_sigma = least(lambda free, sigma=value: full(free[0], sigma, free[-1]))
        assert_allclose(fit.profile("sd (Intercept) | calf", [value])["criterion"], by_sd, rtol=1e-8)
        assert_allclose(fit.profile("sigma", [value])["criterion"], by_sigma, rtol=1e-8)
        ends.append(least(lambda free, sd=value: full(sd, max(abs(free[0]), 0.2 * size), free[-1])) - by_sd)
    at_zero = least(lambda free: full(free[0], 0.0, free[-1]))
    assert_allclose(fit.profile("sigma", [0.0])["criterion"], at_zero, rtol=1e-8)
    assert max(ends) > 0.01
