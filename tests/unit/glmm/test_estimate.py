"""Refits and simulated counts."""

import numpy as np
import pytest

from lmmlib.glmm.fit import fit_glmm_design
from tests.unit.glmm.designs import design, with_offset


@pytest.fixture(scope="module")
def fit():
    d = design(q=2, n=30)
    return fit_glmm_design(with_offset(d))


def test_refit_finds_the_same_and_keeps_the_offset(fit):
    again = fit.refit(fit.design.y)
    assert again.loglik == fit.loglik and (again.beta == fit.beta).all()
    other = fit.refit(np.roll(fit.design.y, 1))
    assert abs(other.loglik - fit.loglik) > 1 and (other.rows.offset == fit.rows.offset).all()


def test_simulated_counts_have_the_moments_of_the_model():
    d = design(n=30, level=0.3)
    fit = fit_glmm_design(with_offset(d))
    y = fit.simulate(20_000, rng=1)
    assert y.shape == (fit.n_obs, 20_000) and (y == np.round(y)).all()
    mean = fit.fitted(of="population")
    # Means of 20,000: each within 5 of its standard errors.
    assert (np.abs(y.mean(axis=1) - mean) < 5 * y.std(axis=1) / np.sqrt(20_000)).all()
    assert not (np.abs(y.mean(axis=1) - fit.fitted(of="typical")) < 5 * y.std(axis=1) / np.sqrt(20_000)).all()
    # The covariance of two rows of one group is mu mu' (exp(z'Dz') - 1).
    a, b = fit.design.rows(int(np.argmax(fit.design.n_i)))[:2]
    Z, D = fit.design.Z, fit.D.to_numpy()
    right = mean[a] * mean[b] * np.expm1(Z[a] @ D @ Z[b])
    products = (y[a] - mean[a]) * (y[b] - mean[b])
    assert abs(products.mean() - right) < 5 * products.std() / np.sqrt(20_000)
    assert fit.simulate(rng=1).shape == (fit.n_obs,)


def test_estimates_come_back_from_simulated_counts():
    d = design(q=1, n=400, level=1.0)
    truth = fit_glmm_design(d)
    again = truth.refit(truth.simulate(rng=4))
    assert (np.abs(again.beta - truth.beta) < 4 * truth.se).all()
    sd = truth.cov_parameters().iloc[-1, -1] ** 0.5
    assert abs(again.theta[0] - truth.theta[0]) < 4 * sd
