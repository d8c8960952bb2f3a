"""What can be asked of a fit: criteria, simulation, refits, the error of Laplace, its text."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.glmm.fit import fit_poisson_design
from tests.unit.glmm.designs import design, offsets


@pytest.fixture(scope="module")
def fit():
    d = design(q=2, n=30)
    return fit_poisson_design(d, offset=offsets(d))


def test_criteria(fit):
    assert fit.n_parameters == 5
    assert_allclose([fit.aic - fit.criterion, fit.bic - fit.criterion], [10, 5 * np.log(fit.n_obs)])


def test_frozen(fit):
    with pytest.raises(AttributeError, match="beta"):
        fit.beta = 1


def test_theta_is_the_factor_of_D(fit):
    L = np.zeros((2, 2))
    L.T[np.triu_indices(2)] = fit.theta
    assert_allclose(L @ L.T, fit.D, rtol=1e-12)


def test_refit_finds_the_same_and_keeps_the_offset(fit):
    again = fit.refit(fit.design.y)
    assert again.loglik == fit.loglik and (again.beta == fit.beta).all()
    other = fit.refit(np.roll(fit.design.y, 1))
    assert abs(other.loglik - fit.loglik) > 1 and (other.counts.offset == fit.counts.offset).all()


def test_simulated_counts_have_the_moments_of_the_model():
    d = design(n=30, level=0.3)
    fit = fit_poisson_design(d, offset=offsets(d))
    y = fit.simulate(np.random.default_rng(1), 20_000)
    assert y.shape == (fit.n_obs, 20_000) and (y == np.round(y)).all()
    mean = fit.fitted("population")
    # Means of 20,000: each within 5 of its standard errors.
    assert (np.abs(y.mean(axis=1) - mean) < 5 * y.std(axis=1) / np.sqrt(20_000)).all()
    assert not (np.abs(y.mean(axis=1) - fit.fitted("typical")) < 5 * y.std(axis=1) / np.sqrt(20_000)).all()
    # The covariance of two rows of one group is mu mu' (exp(z'Dz') - 1).
    a, b = fit.design.rows(int(np.argmax(fit.design.n_i)))[:2]
    Z, D = fit.design.Z, fit.D.to_numpy()
    right = mean[a] * mean[b] * np.expm1(Z[a] @ D @ Z[b])
    products = (y[a] - mean[a]) * (y[b] - mean[b])
    assert abs(products.mean() - right) < 5 * products.std() / np.sqrt(20_000)
    assert fit.simulate(np.random.default_rng(1)).shape == (fit.n_obs,)


def test_estimates_come_back_from_simulated_counts():
    d = design(q=1, n=400, level=1.0)
    truth = fit_poisson_design(d)
    again = truth.refit(truth.simulate(np.random.default_rng(4)))
    assert (np.abs(again.beta - truth.beta) < 4 * truth.se).all()
    sd = truth.cov_parameters().iloc[-1, -1] ** 0.5
    assert abs(again.theta[0] - truth.theta[0]) < 4 * sd


def test_error_of_laplace(fit):
    aghq = fit_poisson_design(fit.design, "aghq", 15, offsets(fit.design))
    assert fit.laplace_error(1) == pytest.approx(0, abs=1e-10)
    # The optima lie close together, where both likelihoods are flat.
    assert fit.laplace_error() == pytest.approx(fit.loglik - aghq.loglik, abs=0.02)
    assert abs(fit.laplace_error()) > 0.001


def test_text_is_rounded(fit):
    for text in (repr(fit), repr(fit.modes()), repr(fit.overdispersion())):
        assert not re.search(r"\d\.\d{8,}|0x[0-9a-f]+|-0\.0+\b(?!\d)", text)
        assert max(map(len, text.splitlines())) <= 110
