"""Random unbalanced designs with several groupings: the optimum is that of the full matrices, whatever is permuted."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.several.criterion import criterion
from tests.several import FORMULAS, Dense, frame


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
