"""Yes or no: both sides of each formula at random inputs."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import binom, norm, poisson

import lmmlib
from lmmlib.glmm.binomial import Binomial
from lmmlib.glmm.poisson import Poisson
from tests.equations.models import derivative


def means(f, eta, tau, points=4001):
    """E f(eta + tau u), u standard normal, by the trapezoidal rule; for each of a vector of eta."""
    u = np.linspace(-10, 10, points)
    return f(np.asarray(eta)[..., None] + tau * u) @ norm.pdf(u) * (u[1] - u[0])


def test_binomial_glmm(rng):
    """`def-binomial-glmm`, `binomial-glmm`: the integral over an effect is lmmlib's log-likelihood."""
    g, m = np.repeat(np.arange(12), 3), rng.integers(1, 7, size=36)
    x, o = rng.normal(size=36), 0.3 * rng.normal(size=36)
    y = rng.binomial(m, expit(0.2 + 0.5 * x + o + rng.normal(size=12)[g]))
    frame = pd.DataFrame({"y": y, "x": x, "g": g, "m": m})
    fit = lmmlib.fit_glmm("y ~ x + (1 | g)", frame, "binomial", trials="m", offset=o, method="aghq", n_quadrature=40)
    u = np.linspace(-9, 9, 721)
    eta = (fit.beta.iloc[0] + fit.beta.iloc[1] * x + o)[:, None] + np.sqrt(fit.D.iloc[0, 0]) * u
    given = binom.logpmf(y[:, None], m[:, None], expit(eta)).reshape(12, 3, -1).sum(axis=1)
    assert_allclose(np.log(np.exp(given) @ norm.pdf(u) * (u[1] - u[0])).sum(), fit.loglik, rtol=1e-8)


@pytest.mark.parametrize("family", ["counts", "yes or no"])
def test_log_partition(rng, family):
    """`thm-log-partition`, `log-partition`: sums over all responses; the table's cumulants, and lmmlib's."""
    eta, s = rng.normal(), 0.3 * rng.normal()
    if family == "counts":
        y, p, kappa, found = np.arange(200), poisson.pmf(np.arange(200), np.exp(eta)), np.exp, Poisson(np.array([1.0]))
        mu = np.exp(eta)
        printed = (mu, mu, mu)
    else:
        m = int(rng.integers(2, 9))
        y, p, found = np.arange(m + 1), binom.pmf(np.arange(m + 1), m, expit(eta)), Binomial(np.ones(1), np.array([m]))

        def kappa(e):
            return m * np.log1p(np.exp(e))

        share = expit(eta)
        variance = m * share * (1 - share)
        mu, printed = m * share, (variance, variance * (1 - 2 * share), variance * (1 - 6 * share * (1 - share)))
    assert_allclose(np.log(np.exp(s * y) @ p), kappa(eta + s) - kappa(eta), rtol=1e-9)
    assert_allclose(y @ p, mu)
    centred = y - y @ p
    second = centred**2 @ p
    assert_allclose([second, centred**3 @ p, centred**4 @ p - 3 * second**2], printed, rtol=1e-6, atol=1e-8)
    assert_allclose(np.ravel(found.cumulants(np.array([mu]))), printed)


def test_attenuation(rng):
    """`thm-attenuation`, `attenuation`: the slope, the correlation of two bits, and the direction; any law of b."""
    tau, eta = rng.uniform(0.3, 3), rng.normal(size=4)
    mean = means(expit, eta, tau)
    rho = (means(lambda e: expit(e) ** 2, eta, tau) - mean**2) / (mean * (1 - mean))
    h = 1e-4
    slope = (logit(means(expit, eta + h, tau)) - logit(means(expit, eta - h, tau))) / (2 * h)
    assert_allclose(slope, 1 - rho, rtol=1e-6)
    found, by_eta, _ = Binomial.population(eta, np.full(4, tau**2))
    assert_allclose(found, logit(mean), rtol=1e-8)
    assert_allclose(by_eta, 1 - rho, rtol=1e-7)
    b, chance = rng.normal(size=5), rng.dirichlet(np.ones(5))
    low, high = np.sort(rng.normal(size=2))
    ratio = logit(chance @ expit(high + b)) - logit(chance @ expit(low + b))
    assert 0 < ratio < high - low


def test_attenuation_approx(rng):
    """`attenuation-approx`: exact for the normal distribution function; near for the logistic one."""
    c = 16 * np.sqrt(3) / (15 * np.pi)
    tau, eta = rng.uniform(0.3, 2), rng.uniform(-2, 2, size=4)
    exact = norm.cdf(c * eta / np.sqrt(1 + c**2 * tau**2))
    assert_allclose(means(lambda e: norm.cdf(c * e), eta, tau), exact, rtol=1e-8)
    x = np.linspace(-12, 12, 9001)
    assert np.abs(expit(x) - norm.cdf(c * x)).max() < 0.01
    factor = 1 / np.sqrt(1 + c**2 * tau**2)
    assert_allclose(logit(means(expit, eta, tau)), eta * factor, rtol=0.08)


def test_covariate_left_out(rng):
    """`covariate-left-out`: the slope of a covariate of the group, and the effect b, averaged over that of a row."""
    c2, s, tau = (16 * np.sqrt(3) / (15 * np.pi)) ** 2, rng.uniform(0.3, 2), rng.uniform(0.3, 1)
    beta_w, beta_x = rng.normal(), rng.uniform(0.5, 1)
    factor = 1 / np.sqrt(1 + c2 * beta_x**2 * s**2)
    # Bits of one group have the mean over x of p(beta_w w + tau u + beta_x x), the logarithm of whose odds is shorter.
    w, u = rng.uniform(0.2, 2, 6), rng.uniform(0.2, 1, 6)
    inside = logit(means(expit, beta_w * w + tau * u, beta_x * s))
    assert_allclose(inside, beta_w * factor * w + tau * factor * u, atol=0.08)
    # Over all groups as well: both variances are in one denominator.
    whole = logit(means(expit, beta_w * w, np.sqrt(tau**2 + beta_x**2 * s**2)))
    assert_allclose(whole, beta_w * factor * w / np.sqrt(1 + c2 * (tau * factor) ** 2), atol=0.08)


def test_binomial_overdispersion(rng):
    """`thm-one-trial`, `binomial-overdispersion`: the variance of sums of correlated bits, enumerated."""
    m, b, chance = int(rng.integers(2, 7)), rng.normal(size=4), rng.dirichlet(np.ones(4))
    y = np.arange(m + 1)
    p = binom.pmf(y[:, None], m, expit(b)) @ chance
    mean = chance @ expit(b)
    rho = (chance @ expit(b) ** 2 - mean**2) / (mean * (1 - mean))
    assert_allclose(y**2 @ p - (y @ p) ** 2, m * mean * (1 - mean) * (1 + (m - 1) * rho))
    bit = np.array([1 - mean, mean])
    assert_allclose(np.array([0, 1]) @ bit - (np.array([0, 1]) @ bit) ** 2, mean * (1 - mean))


def test_paired_logistic(rng):
    """`thm-pairs`, `paired-logistic`: the three estimates, each by maximising its likelihood."""
    n = 300
    level = -0.3 + 1.5 * rng.normal(size=n)
    well = (rng.random((n, 2)) < expit(level[:, None] + [0.0, 0.8])).astype(int)
    f, g = int((well[:, 1] > well[:, 0]).sum()), int((well[:, 1] < well[:, 0]).sum())

    def each(beta):
        """Minus the log-likelihood, the level of each discordant centre at its own best."""
        total = 0.0
        for one, other in (((0, 1), f), ((1, 0), g)):
            grid = np.linspace(-6, 6, 4801)
            signs = 2 * np.array(one) - 1
            both = np.log(expit(signs[0] * grid)) + np.log(expit(signs[1] * (grid + beta[0])))
            total -= other * both.max()
        return total

    assert_allclose(minimize(each, [1.0], method="Nelder-Mead").x[0], 2 * np.log(f / g), atol=2e-3)

    def conditional(beta):
        return -f * np.log(expit(beta[0])) - g * np.log(expit(-beta[0]))

    at = minimize(conditional, [0.5]).x
    assert_allclose(at[0], np.log(f / g), atol=1e-5)
    information = derivative(lambda b: derivative(lambda s: conditional(s), b), at)
    assert_allclose(1 / np.ravel(information)[0], 1 / f + 1 / g, rtol=1e-3)
    frame = pd.DataFrame(
        {"centre": np.repeat(np.arange(n), 2), "drug": np.tile([0, 1], n), "well": well.ravel().astype(float)}
    )
    fit = lmmlib.fit_glmm("well ~ drug + (1 | centre)", frame, "binomial", method="aghq")
    assert_allclose(fit.beta.iloc[1], np.log(f / g), atol=1e-6)
    assert_allclose(fit.se.iloc[1], np.sqrt(1 / f + 1 / g), rtol=1e-4)
