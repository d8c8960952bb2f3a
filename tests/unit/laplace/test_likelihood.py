"""The Laplace marginal likelihood of any joint log-density: Poisson, linear, binomial, negative binomial, bad input."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import betaln, gammaln
from scipy.stats import binom, norm

import lmmlib
from lmmlib import equations, laplace
from lmmlib.errors import DesignError, ParameterError
from lmmlib.glmm.fit import fit_glmm_design
from tests.unit.glmm.designs import design, differences

pt = pytest.importorskip("pytensor.tensor")
LOG_2PI = np.log(2 * np.pi)


def poisson(d):
    def log_joint(b, beta, log_sigma):
        eta = pt.dot(d.X, beta) + (d.Z * b[d.group]).sum(axis=1)
        prior = -0.5 * ((b / pt.exp(log_sigma)) ** 2).sum() - d.n_groups * (log_sigma + LOG_2PI / 2)
        return (d.y * eta - pt.exp(eta) - gammaln(d.y + 1)).sum() + prior

    return laplace.marginal(log_joint, {"beta": [1.0, 0.0], "log_sigma": 0.0}, d.n_groups)


def test_poisson_is_that_of_fit_glmm():
    d = design(n=30)
    fit, model = fit_glmm_design(d), poisson(d)
    found = model.fit()
    assert found.converged
    assert_allclose(found.loglik, fit.loglik, rtol=0, atol=1e-9)
    assert_allclose(found.estimates["beta"], fit.beta, atol=1e-8)
    assert_allclose(np.exp(found.estimates["log_sigma"]), fit.theta[0], rtol=1e-8)
    # Standard errors by differences of the gradient.
    assert_allclose(found.se[["beta[0]", "beta[1]"]], fit.se, rtol=1e-6)
    assert_allclose(found.modes().known, fit.modes().known, rtol=1e-7)
    assert_allclose(found.modes().estimated, fit.modes().estimated, rtol=1e-6)
    assert_allclose(model.modes(**found.estimates), fit.modes().b, atol=1e-7)


def linear(d):
    """A random slope; chol holds the logarithms of the diagonal of the factor of D, and what is below it."""
    N, n = d.n_obs, d.n_groups

    def log_joint(b, beta, chol, log_sigma):
        residual = (d.y - pt.dot(d.X, beta) - (d.Z * b[d.group]).sum(axis=1)) / pt.exp(log_sigma)
        u0 = b[:, 0] / pt.exp(chol[0])
        u1 = (b[:, 1] - chol[1] * u0) / pt.exp(chol[2])
        prior = -0.5 * (u0**2 + u1**2).sum() - n * (chol[0] + chol[2] + LOG_2PI)
        return -0.5 * (residual**2).sum() - N * (log_sigma + LOG_2PI / 2) + prior

    start = {"beta": [250.0, 10.0], "chol": [3.0, 0.0, 1.5], "log_sigma": 3.0}
    return laplace.marginal(log_joint, start, n, q=2)


@pytest.fixture(scope="module")
def sleep():
    d = lmmlib.build_design("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"))
    return d, linear(d)


def test_gaussian_is_exact(sleep):
    d, model = sleep
    cross, rng = lmmlib.cross_products(d), np.random.default_rng(1)
    for _ in range(3):
        beta, chol, log_sigma = [250, 10] + rng.normal(size=2), [3, 1, 1] + rng.normal(size=3), 3 + rng.normal()
        L = np.array([[np.exp(chol[0]), 0], [chol[1], np.exp(chol[2])]])
        exact = equations.loglik(cross, beta, L @ L.T, np.exp(2 * log_sigma))
        assert_allclose(model.loglik(beta=beta, chol=chol, log_sigma=log_sigma), exact, rtol=1e-11)


def test_gaussian_fit_is_ml(sleep):
    d, model = sleep
    found, ml = model.fit(), lmmlib.fit_design(d, method="ML")
    assert_allclose(found.loglik, ml.loglik, rtol=0, atol=1e-8)
    assert_allclose(found.estimates["beta"], ml.beta, rtol=1e-7)
    assert_allclose(np.exp(2 * found.estimates["log_sigma"]), ml.sigma2, rtol=1e-6)
    assert_allclose(found.modes().b, ml.blups().b, atol=1e-4)
    assert_allclose(found.modes().known, ml.blups().known, rtol=1e-5)
    assert "log_sigma" in repr(found) and "chol[1]" in repr(found) and "2 random effects each" in repr(model)


def test_gradient(sleep):
    _, model = sleep
    psi = model._flat({}) + 0.3
    exact = np.concatenate([np.ravel(g) for g in model.gradient(**model._shaped(psi)).values()])
    assert_allclose(exact, differences(lambda at: model.loglik(**model._shaped(at)), psi), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def seeds():
    """Germinated of sown seeds on 15 plates, a binomial count each with an effect of the plate's dish."""
    rng = np.random.default_rng(3)
    dish, sown = np.repeat(np.arange(15), 3), rng.integers(5, 30, 45)
    x, b = rng.normal(size=45), 0.9 * rng.normal(size=15)
    grown = rng.binomial(sown, 1 / (1 + np.exp(-(0.3 + 0.5 * x + b[dish]))))
    choose = -np.log(sown + 1) - betaln(sown - grown + 1, grown + 1)

    def log_joint(b, beta, log_sigma):
        eta = beta[0] + beta[1] * x + b[dish, 0]
        prior = -0.5 * ((b / pt.exp(log_sigma)) ** 2).sum() - 15 * (log_sigma + LOG_2PI / 2)
        return (grown * eta - sown * pt.softplus(eta) + choose).sum() + prior

    model = laplace.marginal(log_joint, {"beta": np.zeros(2), "log_sigma": 0.0}, 15)
    return model, pd.DataFrame({"dish": dish, "x": x, "sown": sown, "grown": grown})


def exact_binomial(data, beta, sigma):
    total = 0.0
    for _, rows in data.groupby("dish"):
        eta = beta[0] + beta[1] * rows.x.to_numpy()

        def density(b, eta=eta, rows=rows):
            counts = binom.logpmf(rows.grown, rows.sown, 1 / (1 + np.exp(-eta - b))).sum()
            return np.exp(counts + norm.logpdf(b, 0, sigma))

        total += np.log(quad(density, -8, 8, points=[-2, 0, 2], limit=300, epsabs=0)[0])
    return total


def test_binomial_against_the_integral(seeds):
    model, data = seeds
    for beta, sigma in (([0.2, 0.4], 0.3), ([0.5, 0.2], 0.9)):
        value = model.loglik(beta=beta, log_sigma=np.log(sigma))
        # Laplace's error for 15 dishes of some 50 seeds: visible, and small.
        assert 1e-6 < abs(value - exact_binomial(data, beta, sigma)) < 0.1


def test_binomial_fit_and_gradient(seeds):
    model, _ = seeds
    found = model.fit()
    assert found.converged and max(np.abs(np.ravel(g)).max() for g in model.gradient(**found.estimates).values()) < 1e-6
    psi = np.array([0.2, 0.4, -0.5])
    exact = np.concatenate([np.ravel(g) for g in model.gradient(beta=psi[:2], log_sigma=psi[2]).values()])
    assert_allclose(
        exact, differences(lambda at: model.loglik(beta=at[:2], log_sigma=at[2]), psi), rtol=1e-6, atol=1e-6
    )
    truth = np.array([0.3, 0.5, np.log(0.9)])
    estimate = np.concatenate([found.estimates["beta"], [found.estimates["log_sigma"]]])
    assert (np.abs(estimate - truth) < 4 * np.sqrt(np.diag(found.cov))).all()


def test_negative_binomial_is_not_concave_and_still_found():
    """The logarithm of the size is a parameter; for a large size it is the Poisson model."""
    d = design(n=20, level=1.5)

    def log_joint(b, beta, log_sigma, log_size):
        mu, size = pt.exp(pt.dot(d.X, beta) + b[d.group, 0]), pt.exp(log_size)
        ell = pt.gammaln(d.y + size) - pt.gammaln(size) - gammaln(d.y + 1) - size * pt.log1p(mu / size)
        ell = (ell + d.y * (pt.log(mu) - pt.log(mu + size))).sum()
        return ell - 0.5 * ((b / pt.exp(log_sigma)) ** 2).sum() - d.n_groups * (log_sigma + LOG_2PI / 2)

    start = {"beta": [1.5, 0.0], "log_sigma": -0.5, "log_size": 1.0}
    model = laplace.marginal(log_joint, start, d.n_groups)
    like_poisson = model.loglik(beta=[1.4, 0.1], log_sigma=-0.4, log_size=16.0)
    assert_allclose(like_poisson, poisson(d).loglik(beta=[1.4, 0.1], log_sigma=-0.4), rtol=0, atol=1e-3)
    rng = np.random.default_rng(2)
    over = d.with_response(rng.negative_binomial(3, 3 / (3 + np.exp(1.5 + 0.6 * rng.normal(size=20)[d.group]))))
    d = over
    found = laplace.marginal(log_joint, start, d.n_groups).fit()
    assert found.converged and found.loglik > poisson(d).fit().loglik + 3


def test_terms_between_groups_are_refused():
    def walk(b, mu):
        return -0.5 * ((b[1:] - b[:-1] - mu) ** 2).sum() - 0.5 * (b**2).sum()

    with pytest.raises(DesignError, match="random effects of two groups"):
        laplace.marginal(walk, {"mu": 0.0}, 5)


def test_what_is_no_density_is_named():
    with pytest.raises(DesignError, match="no mode at mu = 0"):
        laplace.marginal(lambda b, mu: ((b - mu) ** 2).sum(), {"mu": 0.0}, 3).loglik()
    with pytest.raises(ParameterError, match="one number"):
        laplace.marginal(lambda b, mu: -((b - mu) ** 2), {"mu": 0.0}, 3)
    good = laplace.marginal(lambda b, mu: -((b - mu) ** 2).sum(), {"mu": 0.0}, 3)
    assert_allclose(good.loglik(mu=7.0), 1.5 * np.log(np.pi))
    with pytest.raises(ParameterError, match="no parameter 'nu'"):
        good.loglik(nu=1.0)
    with pytest.raises(ParameterError, match="mu must be finite"):
        good.loglik(mu=np.nan)
    with pytest.raises(ParameterError, match="start must be a dict"):
        laplace.marginal(lambda b: 0, {}, 3)
    with pytest.raises(ParameterError, match="n_groups"):
        laplace.marginal(lambda b, mu: 0, {"mu": 0.0}, 0)


def test_pytensor_is_imported_when_it_is_needed(monkeypatch):
    import subprocess
    import sys

    code = "import sys, lmmlib.laplace; print('pytensor' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"
    monkeypatch.setitem(sys.modules, "pytensor", None)
    with pytest.raises(ImportError, match="pip install pymc"):
        laplace.marginal(lambda b, mu: -(b**2).sum(), {"mu": 0.0}, 3)


def test_effects_broadcast_over_columns():
    """b of one column stands beside an array with a row for each group, as NumPy would have it."""
    y, wide = np.random.default_rng(3).poisson(3.0, (6, 4)), np.ones((1, 4))

    def joint(shape):
        def log_joint(b, mu):
            eta = mu + (b * wide if shape == "broadcast" else b[:, 0][:, None] * wide)
            return (y * eta - eta.exp()).sum() - (b**2).sum()

        return log_joint

    one, other = (laplace.marginal(joint(s), {"mu": 1.0}, 6).loglik(mu=1.1) for s in ("broadcast", "indexed"))
    assert one == pytest.approx(other, rel=1e-14)


def test_a_parameter_that_runs_to_infinity_has_no_standard_error():
    """Groups that do not differ: the logarithm of their standard deviation falls for ever."""
    y = np.random.default_rng(0).normal(size=(10, 4))
    y -= y.mean(axis=1, keepdims=True)

    def joint(b, mu, log_tau, log_sigma):
        rest = (y - mu - pt.exp(log_tau) * b) / pt.exp(log_sigma)
        return -(rest**2).sum() / 2 - y.size * log_sigma - (b**2).sum() / 2

    found = laplace.marginal(joint, {"mu": 0.1, "log_tau": -1.0, "log_sigma": 0.0}, 10).fit()
    assert found.estimates["log_tau"] < -5 and np.isnan(found.se["log_tau"])
    assert found.se["mu"] == pytest.approx(np.sqrt(y.var() / y.size), rel=1e-5)
    assert found.cov.loc["mu", "mu"] > 0 and found.cov.loc["log_tau"].isna().all()
    assert "the likelihood is flat along log_tau" in repr(found)
