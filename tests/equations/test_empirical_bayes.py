"""What estimated parameters cost, and James and Stein: both sides of each formula at random inputs."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import chi, chi2, ncx2, norm, t

import lmmlib
from lmmlib import equations
from lmmlib.equations.shrinkage import james_stein
from lmmlib.prediction import empirical_bayes
from lmmlib.prediction.mixture import total_moments
from tests.equations.models import (
    Model,
    at_estimates,
    between,
    blup_matrix,
    derivative,
    effects,
    error_covariance,
    least_eigenvalue,
    log_normal,
    one_way_covariance,
    second_derivative,
    within,
)

SIZES = [4, 5, 4, 3, 6, 5, 6, 4, 5, 3]


def moments(values, weights):
    """Mean and covariance of points."""
    mean = weights @ values
    return mean, (values - mean).T @ np.diag(weights) @ (values - mean)


def test_total_laws(rng):
    """`thm-total-laws`, `total-expectation`, `total-variance`: four values of alpha, five of b for each; and lmmlib."""
    alpha, given, b = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(5), size=4), rng.normal(size=(4, 5, 2))
    each = [moments(points, weights) for points, weights in zip(b, given, strict=True)]
    means, variances = np.array([mean for mean, _ in each]), np.array([variance for _, variance in each])
    mean, variance = alpha @ means, np.tensordot(alpha, variances, 1) + moments(means, alpha)[1]
    exact = moments(b.reshape(-1, 2), (alpha[:, None] * given).ravel())
    assert_allclose(mean, exact[0])
    assert_allclose(variance, exact[1])
    ours = total_moments(means, variances, alpha)
    assert_allclose(ours[0], mean)
    assert_allclose(ours[1], variance)


def given_alpha(m, i):
    """bhat_i, C_i and Var(b_i | y, beta, alpha) as printed."""
    X, Z, y, V = m.of(i)
    S = m.D @ Z.T @ np.linalg.inv(V)
    known = m.D - S @ Z @ m.D
    T = S @ X
    return S @ (y - X @ m.betahat), known + T @ m.Phi @ T.T, known


def flat_posterior(m):
    """Mean and covariance of (beta, b) given y and alpha under a flat prior for beta, and log p(y | alpha)."""
    A = np.hstack([m.X, m.Zbig])
    H = A.T @ A / m.sigma2
    H[m.p :, m.p :] += np.kron(np.eye(m.n), np.linalg.inv(m.D))
    mean = np.linalg.solve(H, A.T @ m.y / m.sigma2)
    b = mean[m.p :].reshape(m.n, m.q)
    top = log_normal(m.y, A @ mean, m.sigma2 * np.eye(m.N)) + sum(log_normal(bi, 0, m.D) for bi in b)
    integral = top + len(mean) / 2 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(H)[1]
    return mean, np.linalg.inv(H), integral


def test_eb_answer(m):
    """`thm-eb-answer`, `eb-given-alpha`, `eb-answer`: (a) by least squares with a penalty, (b), (c) for two alphas."""
    models, prior, i = [m, replace(m, D=3 * m.D, sigma2=m.sigma2 / 2)], np.array([0.3, 0.7]), 1
    places = slice(m.p + i * m.q, m.p + (i + 1) * m.q)
    posts = [flat_posterior(one) for one in models]
    for one, (mean, cov, integral) in zip(models, posts, strict=True):
        bhat, C, _ = given_alpha(one, i)
        assert_allclose(bhat, mean[places])
        assert_allclose(C, cov[places, places])
        assert_allclose(integral, equations.restricted_loglik(one.cross, *one.args))
    weights = prior * np.exp([integral for *_, integral in posts])
    weights /= weights.sum()
    bhats = np.array([given_alpha(one, i)[0] for one in models])
    printed = sum(w * given_alpha(one, i)[1] for w, one in zip(weights, models, strict=True))
    printed = printed + moments(bhats, weights)[1]
    # E(bb') - E(b)E(b)' of the mixture
    means = np.array([mean[places] for mean, *_ in posts])
    second = sum(
        w * (cov[places, places] + np.outer(mean, mean))
        for w, (_, cov, _), mean in zip(weights, posts, means, strict=True)
    )
    assert_allclose(printed, second - np.outer(weights @ means, weights @ means))
    assert_allclose(weights @ bhats, weights @ means)


def test_missing_term(m):
    """`prop-missing-term`: Var(b_i | y) - E Var(b_i | y, beta, alpha) is E(T Phi T') + Var(bhat), and >= 0."""
    models, weights, i = [m, replace(m, D=3 * m.D)], np.array([0.4, 0.6]), 1
    places = slice(m.p + i * m.q, m.p + (i + 1) * m.q)
    posts = [flat_posterior(one) for one in models]
    variance = sum(w * cov[places, places] for w, (_, cov, _) in zip(weights, posts, strict=True))
    variance = variance + moments(np.array([mean[places] for mean, *_ in posts]), weights)[1]
    left = variance - sum(w * given_alpha(one, i)[2] for w, one in zip(weights, models, strict=True))
    right = moments(np.array([given_alpha(one, i)[0] for one in models]), weights)[1]
    for w, one in zip(weights, models, strict=True):
        X, Z, _, V = one.of(i)
        T = one.D @ Z.T @ np.linalg.inv(V) @ X
        right = right + w * T @ one.Phi @ T.T
    assert_allclose(left, right)
    assert least_eigenvalue(left) > 0


def test_eb_one_way(one_way):
    """`eb-one-way`: the closed forms against matrices."""
    n, m, tau2, sigma2, _, y = one_way
    ones = np.ones((n * m, 1))
    model = Model(ones, ones, y.ravel(), np.repeat(np.arange(n), m), np.zeros(1), np.array([[tau2]]), sigma2)
    gamma = sigma2 + m * tau2
    w = m * tau2 / gamma
    bhat, C, known = given_alpha(model, 1)
    assert_allclose(w * (y[1].mean() - y.mean()), bhat[0])
    assert_allclose([w * sigma2 / m, w * sigma2 / m + w**2 * gamma / (n * m)], [known[0, 0], C[0, 0]])


def test_plug_in(rng):
    """`plug-in`: mean and variance of b_i at the estimates, by lmmlib and by matrices."""
    fitted, m = at_estimates(Model.draw(rng, SIZES))
    ours = empirical_bayes.plug_in(fitted)
    for i in range(m.n):
        bhat, _, known = given_alpha(m, i)
        assert_allclose(ours.b.to_numpy()[i], bhat, rtol=1e-6, atol=1e-8)
        assert_allclose(ours.cov[i], known, rtol=1e-6, atol=1e-9)


def test_kackar_harville(m):
    """`thm-kackar-harville`, `kackar-harville-mse`: an estimate of two values that even residuals choose, simulated.

    (a) The sign of (b, epsilon) turns that of the error. (b) C_i and the mean square of bhat(alphahat) - bhat(alpha).
    """
    i, zero = 1, np.zeros((2, m.p))
    best = blup_matrix(m, zero, effects(m, i))
    other = blup_matrix(replace(m, D=4 * m.D, sigma2=m.sigma2 / 3), zero, effects(m, i))
    M = np.eye(m.N) - m.X @ np.linalg.pinv(m.X)
    rng = np.random.default_rng(2)
    b = rng.normal(size=(30_000, m.n * m.q)) @ np.linalg.cholesky(np.kron(np.eye(m.n), m.D)).T
    noise = b @ m.Zbig.T + np.sqrt(m.sigma2) * rng.normal(size=(30_000, m.N))

    def predicted(y):
        large = (np.einsum("ra,ab,rb->r", y, M, y) > np.trace(M @ m.V))[:, None]
        return np.where(large, y @ other.T, y @ best.T)

    mean = m.X @ m.beta
    error = predicted(mean + noise) - b @ effects(m, i).T
    assert_allclose(predicted(mean - noise) + b @ effects(m, i).T, -error, atol=1e-8)
    gap = predicted(mean + noise) - (mean + noise) @ best.T
    printed = given_alpha(m, i)[1] + gap.T @ gap / len(gap)
    size = np.sqrt(np.outer(np.diag(printed), np.diag(printed)))
    assert_allclose(error.T @ error / len(error) / size, printed / size, atol=0.04)
    assert np.trace(gap.T @ gap) / len(gap) > 0.05 * np.trace(printed)


def test_exact_cost(rng):
    """`eb-exact-cost`: the expectations as integrals over two chi-square variables."""
    n, m, tau2, sigma2 = 8, 3, *rng.uniform(0.5, 2, size=2)
    gamma = sigma2 + m * tau2
    A, B = within(n, m), between(n, m)
    V = one_way_covariance(n, m, tau2, sigma2)
    assert_allclose(A @ V @ B, 0, atol=1e-12)  # independent
    of_W, of_B = n * (m - 1), n - 1
    w = 1 - sigma2 / gamma

    def expected(g):
        c, b = np.linspace(1e-6, 90, 1500), np.linspace(1e-6, 70, 1500)[:, None]
        density = chi2(of_W).pdf(c) * chi2(of_B).pdf(b)
        return np.sum(g(sigma2 * c / of_W, gamma * b / of_B) * density) * (c[1] - c[0]) * (b[1, 0] - b[0, 0])

    Q = sigma2**2 / gamma * (1 + 2 / (n * (m - 1))) * (n - 1) / (n - 3)
    assert_allclose(Q, expected(lambda msw, msb: msw**2 / msb), rtol=1e-5)
    middle = (n - 1) / (n * m) * expected(lambda msw, msb: (1 - msw / msb - w) ** 2 * msb)
    assert_allclose((n - 1) / (n * m) * (Q - sigma2**2 / gamma), middle, rtol=1e-5)
    # d_i^2 has the share SSB / (nm) of (n - 1) MSB, on average over groups
    assert_allclose(np.trace(B @ V) / (n * m), (n - 1) / (n * m) * gamma)


def test_plug_in_too_small(m, rng):
    """`thm-plug-in-too-small`, `plug-in-bias`, `two-costs`: an alphahat of two values with the right mean.

    The sign of an error contrast chooses, so that the estimate is unbiased and does not see beta; the first identity
    is exact, the second simulated.
    """
    i, zero = 1, np.zeros((2, m.p))
    models = [replace(m, D=k * m.D, sigma2=s * m.sigma2) for k, s in ((1.8, 0.5), (0.2, 1.5))]
    best = blup_matrix(m, zero, effects(m, i))
    maps = [blup_matrix(one, zero, effects(m, i)) for one in models]
    C = [error_covariance(one, A, effects(m, i)) for one, A in zip(models, maps, strict=True)]
    first, second = 0.0, 0.0
    for one, A, C_one in zip(models, maps, C, strict=True):
        first, second = first + C_one / 2, second + (A - best) @ one.V @ (A - best).T / 2
    exact = error_covariance(m, best, effects(m, i))
    assert_allclose(first + second, exact)
    assert least_eigenvalue(exact - first) >= -1e-12  # too small
    G = np.kron(np.eye(m.n), m.D)
    draws = np.random.default_rng(3)
    b = draws.normal(size=(30_000, m.n * m.q)) @ np.linalg.cholesky(G).T
    y = b @ m.Zbig.T + np.sqrt(m.sigma2) * draws.normal(size=(30_000, m.N))
    M = np.eye(m.N) - m.X @ np.linalg.pinv(m.X)
    up = (y @ M @ rng.normal(size=m.N) > 0)[:, None]
    error = np.where(up, y @ maps[0].T, y @ maps[1].T) - b @ effects(m, i).T
    third = np.where(up, y @ (maps[0] - best).T, y @ (maps[1] - best).T)
    printed = first + second + third.T @ third / len(y)
    size = np.sqrt(np.outer(np.diag(printed), np.diag(printed)))
    assert_allclose(error.T @ error / len(y) / size, printed / size, atol=0.04)


def test_prasad_rao(rng):
    """`prasad-rao`: with numerical derivatives of S_i and full matrices; and lmmlib."""
    fitted, m = at_estimates(Model.draw(rng, SIZES))
    W = np.linalg.inv([[0.5 * np.trace(m.P @ k @ m.P @ l) for l in m.Vdot] for k in m.Vdot])
    ours = fitted.blups().covariance("corrected")
    for i in (0, 3):
        _, Z, _, V = m.of(i)

        def S(a, Z=Z):
            D, sigma2 = m.split(a)
            return D @ Z.T @ np.linalg.inv(Z @ D @ Z.T + sigma2 * np.eye(len(Z)))

        dS = derivative(S, m.alpha)
        printed = given_alpha(m, i)[1] + 2 * np.einsum("rs,abr,bc,dcs->ad", W, dS, V, dS)
        assert_allclose(ours[i], printed, rtol=1e-5, atol=1e-8)


def test_kass_steffey(rng):
    """`kass-steffey`: numerical derivatives of bhat_i and of the restricted likelihood; and lmmlib."""
    fitted, m = at_estimates(Model.draw(rng, SIZES))

    def at(a):
        D, sigma2 = m.split(a)
        return replace(m, D=D, sigma2=sigma2)

    def restricted(a):
        one = at(a)
        return one.loglik(one.betahat, one.V) + 0.5 * np.linalg.slogdet(one.Phi)[1]

    W = np.linalg.inv(-second_derivative(restricted, m.alpha, h=2e-3 * np.sqrt(np.diag(m.D).min())))
    ours = empirical_bayes.kass_steffey(fitted).cov
    for i in (0, 3):
        slopes = derivative(lambda a, i=i: given_alpha(at(a), i)[0], m.alpha)
        assert_allclose(ours[i], given_alpha(m, i)[1] + slopes @ W @ slopes.T, rtol=5e-4, atol=1e-6)


def test_laird_louis(rng):
    """`laird-louis`: each simulated data set refitted by itself; mean and variance of the mixture; and lmmlib."""
    fitted, m = at_estimates(Model.draw(rng, SIZES))
    ours = empirical_bayes.laird_louis(fitted, 6, np.random.default_rng(8))
    assert ours.n_failed == 0
    means, variances = [], []
    for y in fitted.simulate(6, rng=np.random.default_rng(8)).T:
        again = fitted.refit(y)
        one = replace(m, D=again.D.to_numpy(), sigma2=again.sigma2)
        X, Z, yi, V = one.of(2)
        S = one.D @ Z.T @ np.linalg.inv(V)
        means.append(S @ (yi - X @ again.beta.to_numpy()))
        variances.append(one.D - S @ Z @ one.D)
    mean, spread = moments(np.array(means), np.full(6, 1 / 6))
    assert_allclose(ours.b.to_numpy()[2], mean, rtol=1e-3, atol=1e-4)
    assert_allclose(ours.cov[2], np.mean(variances, axis=0) + spread, rtol=1e-3, atol=1e-4)


def ratio_pieces(m, lam, i):
    """log p(lambda | y) up to a constant, bhat_i(lambda), r^2(lambda) C_0i(lambda) / nu."""
    one = replace(m, D=np.array([[lam**2]]), sigma2=1.0)
    r = m.y - m.X @ one.betahat
    r2, nu = r @ one.W @ r, m.N - m.p - 1
    log_p = -0.5 * np.linalg.slogdet(one.V)[1] + 0.5 * np.linalg.slogdet(one.Phi)[1] - nu / 2 * np.log(r2)
    bhat, C0, _ = given_alpha(one, i)
    return log_p, bhat[0], r2 / nu * C0[0, 0]


def test_bayes_quadrature(rng):
    """`bayes-quadrature`: integrated over a grid of lambda with full matrices; lmmlib's mean, sd and a quantile.

    And its integrand: sigma2 and beta integrated out of the likelihood numerically.
    """
    m = Model.draw(rng, [4, 5, 3, 4, 6, 5, 4, 4], p=2, q=1)
    fitted, i, nu = lmmlib.fit_design(m.design), 2, m.N - m.p - 1
    x = np.linspace(-13, 4, 341)
    log_p, bhat, scale2 = np.array([ratio_pieces(m, np.exp(v), i) for v in x]).T
    weight = np.exp(log_p - log_p.max() + x)
    weight /= weight.sum()
    mean = weight @ bhat
    variance = weight @ (scale2 * nu / (nu - 2) + (bhat - mean) ** 2)
    ours = empirical_bayes.quadrature(fitted)
    assert_allclose(ours.b.to_numpy()[i, 0], mean, rtol=1e-5)
    assert_allclose(ours.cov[i, 0, 0], variance, rtol=1e-4)
    low = ours.frame(0.95)["lower"].iloc[i]
    assert_allclose(weight @ t.cdf((low - bhat) / np.sqrt(scale2), nu), 0.025, rtol=1e-4)

    def integrated(lam):
        """log of the integral of e^{l_R(lambda^2 s, s)} s^{-1/2} over s."""
        s = np.exp(np.linspace(-4, 5, 150))
        values = [equations.restricted_loglik(m.cross, [[lam**2 * v]], v) + 0.5 * np.log(v) for v in s]
        return np.log(np.exp(np.array(values) - max(values)).sum()) + max(values)

    gap = [integrated(lam) - ratio_pieces(m, lam, i)[0] for lam in (0.3, 1.0, 2.5)]
    assert_allclose(gap, gap[0], atol=1e-5)


def ratio_density(lam, n, m, SSB, SSW):
    """log p(lambda | y) of the one-way model, as printed."""
    g = 1 + m * lam**2
    return -(n - 1) / 2 * np.log(g) - (n * m - 2) / 2 * np.log(SSW + SSB / g)


def test_ratio_one_way(one_way):
    """`ratio-one-way`: the general formula, up to a constant."""
    n, m, *_, y = one_way
    ones = np.ones((n * m, 1))
    model = Model(ones, ones, y.ravel(), np.repeat(np.arange(n), m), np.zeros(1), np.eye(1), 1.0)
    SSB, SSW = y.ravel() @ between(n, m) @ y.ravel(), y.ravel() @ within(n, m) @ y.ravel()
    gap = [ratio_density(lam, n, m, SSB, SSW) - ratio_pieces(model, lam, 0)[0] for lam in (0.1, 0.7, 3.0)]
    assert_allclose(gap, gap[0])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("k", [-1.5, -0.5, 0, 0.5, 1, 2])
def test_proper(n, k):
    """`thm-proper`: proper if and only if k < 1 and n > 2 - k, from the powers of lambda at both ends.

    For k = 0 a finite variance if and only if n >= 5, from the power of lambda^2 times the density.
    """

    def slope(lam, extra=0.0):
        ends = [ratio_density(v, n, 4, 3.0, 2.0) + (extra - k) * np.log(v) for v in (lam, 1.01 * lam)]
        return (ends[1] - ends[0]) / np.log(1.01)

    proper = slope(1e-6) > -1 + 1e-3 and slope(1e6) < -1 - 1e-3
    assert proper == (k < 1 and n > 2 - k)
    if k == 0 and proper:
        assert n >= 3
        assert (slope(1e6, extra=2) < -1 - 1e-3) == (n >= 5)


def risks(k, sigma2, size, shrink):
    """E|shrink(|y|^2) y - theta|^2 for |theta| = size, integrated along theta and across it."""
    u = np.linspace(-8, 8, 361) * np.sqrt(sigma2) + size
    across = np.linspace(1e-4, 9, 360) * np.sqrt(sigma2)
    density = norm(size, np.sqrt(sigma2)).pdf(u)[:, None] * chi(k - 1, scale=np.sqrt(sigma2)).pdf(across)
    square = u[:, None] ** 2 + across**2
    f = shrink(square)
    error = f**2 * square - 2 * f * size * u[:, None] + size**2
    return np.sum(error * density) * (u[1] - u[0]) * (across[1] - across[0])


@pytest.mark.parametrize("size", [0.0, 1.0, 3.0])
def test_james_stein_risk(rng, size):
    """`thm-james-stein`, `james-stein-risk`, `prop-positive-part`: risk < k sigma2; the positive part's is smaller."""
    k, sigma2 = 6, rng.uniform(0.5, 2)

    def keep(square):
        return 1 - (k - 2) * sigma2 / square

    risk = risks(k, sigma2, size, keep)
    law = ncx2(k, size**2 / sigma2) if size else chi2(k)
    inverse = quad(lambda v: law.pdf(v) / v, 0, np.inf)[0] / sigma2
    assert_allclose(k * sigma2 - (k - 2) ** 2 * sigma2**2 * inverse, risk, rtol=1e-4)
    assert_allclose(risks(k, sigma2, size, np.ones_like), k * sigma2, rtol=1e-6)
    assert risk < k * sigma2
    assert risks(k, sigma2, size, lambda square: np.maximum(0, keep(square))) < risk


def test_james_stein(rng):
    """`james-stein`: as printed, and lmmlib towards zero."""
    k, sigma2 = 6, rng.uniform(0.5, 2)
    y = 3 * rng.normal(size=k)
    B = (k - 2) * sigma2 / np.linalg.norm(y) ** 2
    ours = james_stein(y, sigma2, toward=0.0)
    assert_allclose((1 - B) * y, ours.estimate)
    assert_allclose(B, ours.factor)


def test_stein(rng):
    """`lem-stein`: two functions, by integration."""
    theta, sigma2 = rng.normal(), rng.uniform(0.5, 2)
    law = norm(theta, np.sqrt(sigma2))
    for g, slope in ((np.tanh, lambda y: 1 - np.tanh(y) ** 2), (lambda y: y**3, lambda y: 3 * y**2)):
        left = quad(lambda y, g=g: (y - theta) * g(y) * law.pdf(y), theta - 12, theta + 12)[0]
        right = sigma2 * quad(lambda y, slope=slope: slope(y) * law.pdf(y), theta - 12, theta + 12)[0]
        assert_allclose(left, right, rtol=1e-7)


def test_data_twice(m, rng):
    """`data-twice`, `prop-data-twice`: the likelihood K times is N(thetahat, V/K); and what that covers."""
    thetahat, cov, one, two = m.betahat, m.Phi, *rng.normal(size=(2, m.p))
    for K in (2, 5):
        used = K * (m.loglik(one, m.V) - m.loglik(two, m.V))
        assert_allclose(used, log_normal(one, thetahat, cov / K) - log_normal(two, thetahat, cov / K))
        # theta is inside if |z| < 1.96 / sqrt K for a standard normal z
        covered = quad(norm.pdf, -1.96 / np.sqrt(K), 1.96 / np.sqrt(K))[0]
        assert_allclose(2 * norm.cdf(1.96 / np.sqrt(K)) - 1, covered)
    exponent = [-0.5 * (v - thetahat) @ (2 * np.linalg.inv(cov)) @ (v - thetahat) for v in (one, two)]
    assert_allclose(exponent[0] - exponent[1], 2 * (m.loglik(one, m.V) - m.loglik(two, m.V)))
