"""Priors, full conditionals and chains: both sides of each formula at random inputs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag
from scipy.special import gammaln, multigammaln
from scipy.stats import invgamma, invwishart, t

import lmmlib
from lmmlib import equations
from tests.equations.models import Model, log_normal


def log_ig(v, shape, rate):
    """log density of the inverse gamma distribution."""
    return shape * np.log(rate) - gammaln(shape) - (shape + 1) * np.log(v) - rate / v


def log_iw(D, nu, S):
    """log density of the inverse Wishart distribution as printed."""
    q = len(S)
    log_c = nu / 2 * np.linalg.slogdet(S)[1] - nu * q / 2 * np.log(2) - multigammaln(nu / 2, q)
    return log_c - (nu + q + 1) / 2 * np.linalg.slogdet(D)[1] - 0.5 * np.trace(S @ np.linalg.inv(D))


def definite(rng, q):
    A = rng.normal(size=(q, q))
    return A @ A.T + 0.3 * np.eye(q)


def test_inverse_wishart(rng):
    """`inverse-wishart`: scipy's density."""
    for q in (1, 2, 3):
        D, S, nu = definite(rng, q), definite(rng, q), q - 1 + rng.uniform(0.5, 4)
        # scipy asks for nu >= q
        nu = max(nu, q)
        assert_allclose(log_iw(D, nu, S), invwishart(nu, S).logpdf(D))


def test_half_cauchy_mixture(rng):
    """`half-cauchy-mixture`: the mixture over a, at some sigma, against the half-Cauchy density."""
    A = rng.uniform(0.5, 3)
    x = np.linspace(-40, 40, 2001)  # log a
    for sigma in rng.uniform(0.2, 5, size=3):
        mixture = np.exp(log_ig(sigma**2, 0.5, np.exp(-x)) + log_ig(np.exp(x), 0.5, A**-2) + x).sum() * (x[1] - x[0])
        assert_allclose(2 * sigma * mixture, 2 / (np.pi * A * (1 + sigma**2 / A**2)), rtol=1e-7)
        assert_allclose(log_ig(sigma, A, 2.0), invgamma(A, scale=2.0).logpdf(sigma))


def test_iw_block(rng):
    """`lem-iw-block`: D_12 and D_22 integrated out of q = 2; and a block of q = 3 by simulation."""
    S, nu, d = definite(rng, 2), rng.uniform(3, 6), rng.uniform(0.3, 1)
    x, s = np.linspace(-15, 15, 1201)[:, None], np.exp(np.linspace(-8, 12, 600))  # D_22 = D_12^2 / D_11 + s
    d12 = d * np.sinh(x)
    det, d22 = d * s, d12**2 / d + s
    trace = (S[0, 0] * d22 - 2 * S[0, 1] * d12 + S[1, 1] * d) / det
    log_c = nu / 2 * np.linalg.slogdet(S)[1] - nu * np.log(2) - multigammaln(nu / 2, 2)
    density = np.exp(log_c - (nu + 3) / 2 * np.log(det) - trace / 2) * d * np.cosh(x) * s
    integral = density.sum() * (x[1, 0] - x[0, 0]) * np.log(s[1] / s[0])
    assert_allclose(np.log(integral), log_ig(d, (nu - 2 + 1) / 2, S[0, 0] / 2), rtol=1e-5)
    S = definite(rng, 3)
    draws = invwishart(9, S).rvs(20_000, random_state=1)[:, :2, :2]
    assert_allclose(draws.mean(0), invwishart(9 - 3 + 2, S[:2, :2]).mean(), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("nu", [1.0, 2.0, 3.5])
def test_huang_wand(rng, nu):
    """`thm-huang-wand`, `huang-wand`: (a) each sd is half-t, (b) each correlation has (1 - rho^2)^(nu/2 - 1)."""
    A, x = rng.uniform(0.5, 2), np.linspace(-30, 30, 1201)
    a, dx = np.exp(x), x[1] - x[0]
    prior = np.exp(log_ig(a, 0.5, A**-2)) * a * dx

    # q = 2; the diagonal entry of D has df nu + q - 1 - q + 1 = nu and scale 2 nu / a.
    for sd in (0.4, 1.3):
        density = 2 * sd * (prior * np.exp(log_ig(sd**2, nu / 2, nu / a))).sum()
        assert_allclose(density, 2 * t(nu, scale=A).pdf(sd), rtol=1e-6)

    sds = np.exp(np.linspace(-14, 14, 401))[:, None]

    def of_rho(rho):
        """p(D) of one of two alike factors, integrated over a and one standard deviation, squared."""
        rest = 1 - rho**2  # |D| = sd_1^2 sd_2^2 rest; (D^-1)_kk = 1/(sd_k^2 rest); the Jacobian is 4 sd_1^2 sd_2^2
        given = (2 * nu / a) ** ((nu + 1) / 2) * np.exp(-nu / (a * sds**2 * rest))
        one = (given * prior).sum(1, keepdims=True) * (sds**2 * np.sqrt(rest)) ** (-(nu + 4) / 2) * sds**2
        return (one * sds).sum() ** 2

    ratio = of_rho(0.7) / of_rho(0.1)
    assert_allclose(ratio, ((1 - 0.49) / (1 - 0.01)) ** (nu / 2 - 1), rtol=1e-5)


def test_zellner(m, rng):
    """`zellner`: least squares that sees every row delta times, around beta_0; and what the sampler of lmmlib uses."""
    delta, beta0 = rng.uniform(0.1, 2), rng.normal(size=m.p)
    log_prior = [log_normal(b, beta0, m.sigma2 / delta * np.linalg.inv(m.X.T @ m.X)) for b in (m.beta, 2 * m.beta)]
    rows = [-delta * np.sum((m.X @ (b - beta0)) ** 2) / (2 * m.sigma2) for b in (m.beta, 2 * m.beta)]
    assert_allclose(log_prior[0] - log_prior[1], rows[0] - rows[1])
    data = pd.DataFrame(m.X[:, 1:], columns=["x1", "x2"]).assign(y=m.y, g=m.group)
    priors = lmmlib.priors.Priors(
        beta=lmmlib.priors.Zellner(1e6, beta0), sigma=lmmlib.priors.InverseGamma(200, 200 * m.sigma2)
    )
    drawn = lmmlib.sample("y ~ x1 + x2 + (1 | g)", data, priors=priors, rng=1, chains=2, draws=200)
    x2 = drawn["x2"].ravel()
    sigma2 = drawn["sigma2"].ravel()
    scale = np.sqrt(sigma2.mean() / 1e6 * np.linalg.inv(m.X.T @ m.X)[2, 2])
    assert abs(x2.mean() - beta0[2]) < scale
    assert_allclose(x2.std(), scale, rtol=0.25)


def test_unit_information(rng):
    """`unit-information`: mean and covariance of each group's coefficients, and the pooled mean square."""
    m = Model.draw(rng, [5, 6, 4, 7, 5], p=2)
    priors = lmmlib.unit_information("y ~ x + (x | g)", pd.DataFrame({"y": m.y, "x": m.X[:, 1], "g": m.group}))
    own = np.array([np.linalg.lstsq(X, y, rcond=None)[0] for X, _, y, _ in m.groups])
    rss = sum(np.sum((y - X @ b) ** 2) for (X, _, y, _), b in zip(m.groups, own, strict=True))
    assert_allclose(priors.beta.mean, own.mean(0))
    assert_allclose(priors.beta.cov, np.cov(own.T))
    assert_allclose(priors.D.scale, np.cov(own.T))
    assert (priors.D.df, priors.sigma.shape) == (2 + 1, 1)
    assert_allclose(priors.sigma.rate, rss / (m.N - 2 * m.n))


def test_propriety(rng):
    """`thm-gibbs-proper`, `propriety`: (a) the likelihood of tau is bounded, (b) positive at 0, so 1/tau^2 diverges."""
    m = Model.draw(rng, [3, 4, 2, 5], p=2, q=1)
    x = np.linspace(-5, 7, 60)  # log sigma2

    def of_tau2(tau2, log_prior=lambda sigma2: log_ig(sigma2, 1, 1)):
        """beta and sigma2 integrated out."""
        log_f = [equations.restricted_loglik(m.cross, [[tau2]], np.exp(v)) + log_prior(np.exp(v)) + v for v in x]
        return np.exp(log_f).sum() * (x[1] - x[0])

    rss, df = np.sum((m.y - m.X @ np.linalg.lstsq(m.X, m.y, rcond=None)[0]) ** 2), m.N - m.p
    closed = gammaln(1 + df / 2) - (1 + df / 2) * np.log(1 + rss / 2) - df / 2 * np.log(2 * np.pi)
    assert_allclose(np.log(of_tau2(0.0)), closed - 0.5 * np.linalg.slogdet(m.X.T @ m.X)[1], rtol=1e-6)
    values = np.array([of_tau2(10.0**k) for k in range(-12, 6)])
    assert np.isfinite(values).all() and values.max() < 1e3 * values[0]
    assert (np.diff(values[10:]) < 0).sum() > 5  # falls towards infinity
    assert_allclose(values[:4], values[0], rtol=1e-6)  # a positive limit at zero
    # With p(sigma2) = 1/sigma2 the limit at zero is positive too.
    closed = gammaln(df / 2) - df / 2 * np.log(rss / 2) - df / 2 * np.log(2 * np.pi)
    closed -= 0.5 * np.linalg.slogdet(m.X.T @ m.X)[1]
    at_zero = [of_tau2(tau2, lambda sigma2: -np.log(sigma2)) for tau2 in (0.0, 1e-12, 1e-10, 1e-8)]
    assert_allclose(np.log(at_zero), closed, rtol=1e-6)
    # The integral of 1/tau^2 from eps to 1 grows with log(1/eps), by the same amount for each power of ten.
    with pytest.raises(lmmlib.errors.ParameterError, match="improper"):
        data = pd.DataFrame({"y": m.y, "g": m.group})
        lmmlib.sample("y ~ 1 + (1 | g)", data, priors=lmmlib.priors.Priors(D=lmmlib.priors.Reciprocal()))


@pytest.fixture
def posterior(m, rng):
    """log of the printed joint density of (beta, b, D, sigma2), and two points; priors as in the theorem."""
    a0, b0, nu0, S0 = 2.0, 1.5, 4.0, definite(rng, 2)
    beta0, P0 = rng.normal(size=m.p), definite(rng, m.p)

    def joint(beta, b, D, sigma2):
        value = sum(
            log_normal(y, X @ beta + Z @ bi, sigma2 * np.eye(len(y))) + log_normal(bi, 0, D)
            for (X, Z, y, _), bi in zip(m.groups, b, strict=True)
        )
        return value + log_normal(beta, beta0, np.linalg.inv(P0)) + log_ig(sigma2, a0, b0) + log_iw(D, nu0, S0)

    points = [(rng.normal(size=m.p), rng.normal(size=(m.n, 2)), definite(rng, 2), rng.uniform(0.5, 2)) for _ in "ab"]
    return joint, points, (a0, b0, nu0, S0, beta0, P0)


def moved(points, k):
    """The first point, and the first with entry k of the second."""
    first, second = points
    return first, (*first[:k], second[k], *first[k + 1 :])


def integrated(joint, m, beta, D, sigma2):
    """log of the joint density with b integrated out, by its height and curvature, which is exact here."""
    H = m.Zbig.T @ m.Zbig / sigma2 + np.kron(np.eye(m.n), np.linalg.inv(D))
    b = np.linalg.solve(H, m.Zbig.T @ (m.y - m.X @ beta) / sigma2)
    top = joint(beta, b.reshape(m.n, -1), D, sigma2)
    return top + len(b) / 2 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(H)[1]


def test_joint_posterior(m, posterior):
    """`joint-posterior`: without b it is the marginal likelihood times the priors."""
    joint, points, (a0, b0, nu0, S0, beta0, P0) = posterior
    gaps = []
    for beta, _, D, sigma2 in points:
        prior = log_normal(beta, beta0, np.linalg.inv(P0)) + log_ig(sigma2, a0, b0) + log_iw(D, nu0, S0)
        gaps.append(integrated(joint, m, beta, D, sigma2) - equations.loglik(m.cross, beta, D, sigma2) - prior)
    assert_allclose(gaps, 0, atol=1e-8)


def test_full_conditionals(m, posterior, rng):
    """`thm-full-conditionals`: (a) to (e), each conditional density against the joint one.

    `full-conditional-beta`, `full-conditional-b`, `full-conditional-sigma2`, `full-conditional-D`,
    `full-conditional-a`.
    """
    joint, points, (a0, b0, nu0, S0, beta0, P0) = posterior

    def same(conditional, block, density=joint):
        one, two = moved(points, block)
        assert_allclose(conditional(one) - conditional(two), density(*one) - density(*two), rtol=1e-8, atol=1e-8)

    def of_beta(point):
        _, _, D, sigma2 = point
        W = np.linalg.inv(m.V_at(D, sigma2))
        P, l = m.X.T @ W @ m.X + P0, m.X.T @ W @ m.y + P0 @ beta0
        return log_normal(point[0], np.linalg.solve(P, l), np.linalg.inv(P))

    def of_b(point):
        beta, b, D, sigma2 = point
        value = 0.0
        for (X, Z, y, _), bi in zip(m.groups, b, strict=True):
            K = np.linalg.inv(Z.T @ Z / sigma2 + np.linalg.inv(D))
            value += log_normal(bi, K @ Z.T @ (y - X @ beta) / sigma2, K)
        return value

    def residual(point):
        return np.sum((m.y - m.X @ point[0] - m.Zbig @ point[1].ravel()) ** 2)

    def of_sigma2(point):
        return log_ig(point[3], a0 + m.N / 2, b0 + residual(point) / 2)

    def of_D(point):
        return log_iw(point[2], nu0 + m.n, S0 + point[1].T @ point[1])

    same(of_beta, 0, lambda beta, _, D, sigma2: integrated(joint, m, beta, D, sigma2))
    same(of_b, 1)
    same(of_sigma2, 3)
    same(of_D, 2)

    # Zellner's prior instead of the normal one.
    delta, XtX = 0.3, m.X.T @ m.X

    def zellner(beta, b, D, sigma2):
        old = log_normal(beta, beta0, np.linalg.inv(P0))
        return joint(beta, b, D, sigma2) - old + log_normal(beta, beta0, sigma2 / delta * np.linalg.inv(XtX))

    def of_sigma2_zellner(point):
        away = point[0] - beta0
        return log_ig(point[3], a0 + m.N / 2 + m.p / 2, b0 + residual(point) / 2 + delta / 2 * away @ XtX @ away)

    same(of_sigma2_zellner, 3, zellner)

    # (e): the scales of Huang and Wand's prior and of the half-Cauchy, from their own joint densities.
    nu, A, q = rng.uniform(1, 4), rng.uniform(0.5, 2, size=2), 2
    D, sigma2 = points[0][2:]
    one, two = rng.uniform(0.5, 2, size=(2, 2))

    def prior_of_a(a):
        return log_iw(D, nu + q - 1, 2 * nu * np.diag(1 / a)) + log_ig(a, 0.5, A**-2.0).sum()

    def given_D(a):
        return log_ig(a, (nu + q) / 2, nu * np.diag(np.linalg.inv(D)) + A**-2.0).sum()

    assert_allclose(given_D(one) - given_D(two), prior_of_a(one) - prior_of_a(two))

    def prior_of_scale(a):
        return log_ig(sigma2, 0.5, 1 / a) + log_ig(a, 0.5, A[0] ** -2.0)

    def given_sigma2(a):
        return log_ig(a, 1, 1 / sigma2 + A[0] ** -2.0)

    assert_allclose(given_sigma2(one[0]) - given_sigma2(two[0]), prior_of_scale(one[0]) - prior_of_scale(two[0]))


def test_centred_prior(balanced, rng):
    """`prop-centred-prior`: given any Sigma and sigma2 the mean of theta is thetahat, so it is without them too."""
    m = balanced
    Z = m.of(0)[1]
    thetahat = np.mean([np.linalg.lstsq(Z, y, rcond=None)[0] for _, _, y, _ in m.groups], axis=0)
    for _ in range(5):
        W = np.linalg.inv(m.V_at(definite(rng, 2), rng.uniform(0.2, 3)))
        P0 = definite(rng, 2)
        mean = np.linalg.solve(m.X.T @ W @ m.X + P0, m.X.T @ W @ m.y + P0 @ thetahat)
        assert_allclose(mean, thetahat)


def test_centred_model(m, rng):
    """`centred-model`: the same joint density in gamma_i = A_i beta + b_i, if X_i = Z_i A_i."""
    A = rng.normal(size=(2, m.p))
    same = replace(m, X=m.Z @ A)
    for X, Z, y, _ in same.groups:
        b = rng.normal(size=2)
        gamma = A @ m.beta + b
        centred = log_normal(y, Z @ gamma, m.sigma2 * np.eye(len(y))) + log_normal(gamma, A @ m.beta, m.D)
        usual = log_normal(y, X @ m.beta + Z @ b, m.sigma2 * np.eye(len(y))) + log_normal(b, 0, m.D)
        assert_allclose(centred, usual)


def lag_one(P, first):
    """Autocorrelation of the first block's only entry when two blocks of a normal law are drawn in turn."""
    rest = np.setdiff1d(np.arange(len(P)), first)
    to_rest = -np.linalg.solve(P[np.ix_(rest, rest)], P[np.ix_(rest, first)])
    back = -np.linalg.solve(P[np.ix_(first, first)], P[np.ix_(first, rest)])
    return (back @ to_rest).item()


def test_gibbs_two_normal(rng):
    """`prop-gibbs-two-normal`: lag k of v is r^(2k), from the linear maps of the two draws."""
    r = rng.uniform(-0.9, 0.9)
    # u = r v + e, v' = r u + f: the covariance of v and v' of the stationary chain, step by step.
    A = np.array([[0, r], [0, r**2]])
    noise = np.array([[1 - r**2, r * (1 - r**2)], [r * (1 - r**2), r**2 * (1 - r**2) + 1 - r**2]])
    cov = np.array([[1, r], [r, 1]])
    assert_allclose(A @ cov @ A.T + noise, cov)
    for k in (1, 2, 5):
        assert_allclose((np.linalg.matrix_power(A, k) @ cov)[1, 1], r ** (2 * k))
    assert_allclose(lag_one(np.linalg.inv(cov), np.array([1])), r**2)


def test_centring(rng):
    """`thm-centring`: w, 1 - w and zero, from the precision matrices of the two parametrisations."""
    n, m, tau2, sigma2 = 5, 4, *rng.uniform(0.5, 2, size=2)
    w = m * tau2 / (sigma2 + m * tau2)
    A = np.column_stack([np.ones(n * m), np.kron(np.eye(n), np.ones((m, 1)))])
    standard = A.T @ A / sigma2 + block_diag(0, np.eye(n) / tau2)
    mu = np.array([0])
    assert_allclose(lag_one(standard, mu), w)
    B = np.block([[np.ones((1, 1)), np.zeros((1, n))], [-np.ones((n, 1)), np.eye(n)]])  # b = gamma - mu
    assert_allclose(lag_one(B.T @ standard @ B, mu), 1 - w)


def test_gibbs_invariant(rng):
    """`thm-gibbs-invariant`: a joint law on 4 x 3 points, after a draw of u given v, and after a sweep."""
    p = rng.dirichlet(np.ones(12)).reshape(4, 3)
    after = (p / p.sum(0)) * p.sum(0)  # p(u* | v) p(v), the old u summed out
    assert_allclose(after, p)
    sweep = np.einsum("uv,vw->uvw", p, (p / p.sum(0)).T)  # (u, v, u*)
    assert_allclose(sweep.sum(0).T, p)
    again = np.einsum("uv,uw->uw", sweep.sum(0).T, p / p.sum(1, keepdims=True))
    assert_allclose(again, p)


def test_calibration(rng):
    """`thm-calibration`: (a) exact on 3 x 4 points, (b) ranks among draws of a normal posterior, simulated."""
    p = rng.dirichlet(np.ones(12)).reshape(3, 4)  # p(theta, y)
    proposal = rng.uniform(0.1, 0.3, size=(3, 3))
    proposal = (proposal + proposal.T) / 2
    state = p.copy()
    for _ in range(3):
        new = np.zeros_like(p)
        for y in range(4):  # a Metropolis sweep that leaves p(theta | y) invariant
            given = p[:, y] / p[:, y].sum()
            K = proposal * np.minimum(1, given[None] / given[:, None])
            K[np.diag_indices(3)] = 0
            K += np.diag(1 - K.sum(1))
            assert_allclose(given @ K, given)
            new[:, y] = state[:, y] @ K
        state = new.sum(1, keepdims=True) * p / p.sum(1, keepdims=True)  # fresh y given theta
        assert_allclose(state, p)
    draws, L = np.random.default_rng(1), 4
    theta0 = draws.normal(size=100_000)
    y = theta0 + draws.normal(size=100_000)
    others = y / 2 + draws.normal(size=(L, 100_000)) / np.sqrt(2)
    ranks = (others < theta0).sum(0)
    assert_allclose(np.bincount(ranks) / 100_000, 1 / (L + 1), atol=0.006)


def test_mcmc_effective_sample_size(rng):
    """`mcmc-effective-sample-size`: the variance of a mean by the full covariance matrix; the limit for many draws."""
    phi, s2, T = rng.uniform(-0.5, 0.8), rng.uniform(0.5, 2), 60
    rho = phi ** np.arange(T)
    lags = np.abs(np.subtract.outer(np.arange(T), np.arange(T)))
    k = np.arange(1, T)
    printed = s2 / T * (1 + 2 * np.sum((1 - k / T) * rho[1:]))
    assert_allclose(printed, s2 * rho[lags].sum() / T**2)
    many = 10**5
    k = np.arange(1, many)
    variance = s2 / many * (1 + 2 * np.sum((1 - k / many) * phi ** k.astype(float)))
    ess = many / (1 + 2 * np.sum(phi ** np.arange(1.0, 2000)))
    assert_allclose(variance, s2 / ess, rtol=1e-3)


def test_r_hat(rng):
    """`r-hat`: of four chains; the same from variances with divisor T within, and C - 1 between the means."""
    g = rng.normal(size=(4, 50)) + 0.5 * rng.normal(size=(4, 1))
    C, T = g.shape
    W = g.var(axis=1, ddof=1).mean()
    B = T / (C - 1) * np.sum((g.mean(1) - g.mean()) ** 2)
    total = g.var(axis=1).mean() + np.var(g.mean(1), ddof=1)
    assert_allclose(np.sqrt(((T - 1) / T * W + B / T) / W), np.sqrt(total / W))
