"""Data cloning: both sides of each formula at random inputs; limits at increasing numbers of clones."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal, norm

from tests.equations.models import Model, derivative, log_normal


def definite(rng, q):
    A = rng.normal(size=(q, q))
    return A @ A.T + 0.3 * np.eye(q)


@pytest.mark.parametrize("K", [2, 3])
def test_cloned_posterior(m, rng, K):
    """`cloned-posterior`: the likelihood of K copies with effects of their own is L^K; the prior enters once."""
    copies = Model(
        np.tile(m.X, (K, 1)),
        np.tile(m.Z, (K, 1)),
        np.tile(m.y, K),
        np.concatenate([m.group + k * m.n for k in range(K)]),
        m.beta,
        m.D,
        m.sigma2,
    )
    assert copies.n == K * m.n
    assert_allclose(copies.loglik(m.beta, copies.V), K * m.loglik(m.beta, m.V))
    other = replace(copies, D=definite(rng, 2))
    assert_allclose(other.loglik(m.beta, other.V), K * m.loglik(m.beta, replace(m, D=other.D).V))


class Counted:
    """s counts in time n: l = s log theta - n theta, with two priors of log theta."""

    def __init__(self, rng):
        self.s, self.n = rng.integers(5, 12), rng.uniform(1, 3)
        self.hat = self.s / self.n
        self.H = self.s / self.hat**2
        self.third = 2 * self.s / self.hat**3

    def loglik(self, x):
        return self.s * np.log(x) - self.n * x

    def log_prior(self, x, sd=0.7):
        return -((np.log(x) - 0.2) ** 2) / (2 * sd**2) - np.log(x)

    def posterior(self, K, sd=0.7):
        """Points, weights of the posterior of K clones, and the spacing of sqrt(K) (theta - hat)."""
        width = 12 / np.sqrt(K * self.H)
        x = np.linspace(max(self.hat - width, 1e-6), self.hat + width, 20_001)
        value = K * (self.loglik(x) - self.loglik(self.hat)) + self.log_prior(x, sd)
        weight = np.exp(value - value.max())
        return x, weight / weight.sum(), np.sqrt(K) * (x[1] - x[0])

    def moments(self, K, sd=0.7):
        x, w, _ = self.posterior(K, sd)
        return w @ x, w @ (x - w @ x) ** 2


@pytest.fixture
def counted(rng):
    return Counted(rng)


def test_cloning(counted):
    """`thm-cloning`, `cloned-limit`, `dc-standard-error`: mean, K Var and the whole density, ever nearer."""
    c, last = counted, np.inf
    for K in (10, 100, 1000, 10_000):
        mean, variance = c.moments(K)
        x, w, step = c.posterior(K)
        u = np.sqrt(K) * (x - c.hat)
        total_variation = 0.5 * np.sum(np.abs(w - norm(0, 1 / np.sqrt(c.H)).pdf(u) * step))
        gaps = abs(mean - c.hat), abs(K * variance * c.H - 1), total_variation
        assert max(gaps) < last
        last = max(gaps)
    assert last < 0.01
    assert_allclose(-derivative(lambda v: derivative(lambda t: c.loglik(t[0]), v), [c.hat])[0, 0], c.H, rtol=1e-5)
    assert_allclose(np.sqrt(10_000 * variance), 1 / np.sqrt(c.H), rtol=1e-3)


def test_cloning_rate(counted):
    """`prop-cloning-rate`: what the two terms of order 1/K leave is of order 1/K^2; and two priors compared."""
    c = counted
    slope = {sd: derivative(lambda t, sd=sd: c.log_prior(t[0], sd), [c.hat])[0] for sd in (0.7, 0.3)}
    left, gap = [], []
    for K in (100, 400):
        means = {sd: c.moments(K, sd)[0] for sd in slope}
        left.append(K**2 * (means[0.7] - c.hat - (slope[0.7] / c.H + c.third / (2 * c.H**2)) / K))
        gap.append(K**2 * (means[0.7] - means[0.3] - (slope[0.7] - slope[0.3]) / (c.H * K)))
        assert abs(left[-1]) / K < 0.2 * abs(slope[0.7] / c.H + c.third / (2 * c.H**2))
    assert_allclose(left[1], left[0], rtol=0.2, atol=0.05)
    assert_allclose(gap[1], gap[0], rtol=0.2, atol=0.05)


def test_lambda_max(rng):
    """`lambda-max`: the largest eigenvalue is the largest v'Var v with |v| = 1."""
    V = definite(rng, 3)
    values, vectors = np.linalg.eigh(V)
    v = rng.normal(size=(5000, 3))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    forms = np.einsum("ra,ab,rb->r", v, V, v)
    assert forms.max() <= values[-1] + 1e-12
    assert_allclose(forms.max(), values[-1], rtol=0.02)
    assert_allclose(vectors[:, -1] @ V @ vectors[:, -1], values[-1])


def helmert(K):
    """An orthogonal matrix whose first row is constant."""
    Q = np.linalg.qr(np.column_stack([np.ones(K), np.eye(K)[:, 1:]]))[0].T
    return Q * np.sign(Q[0, 0])


def test_collapsed(m, rng):
    """`thm-collapsed`, `cloned-mean`, `cloned-scatter`: (a) a rotation of the clones, (b) sums of squares.

    The clones are m_i + C_i^(1/2) z_k; rotated, the first row is the mean, the others are K - 1 free ones.
    """
    K = 4
    X, Z, y, _ = m.of(1)
    C = np.linalg.inv(Z.T @ Z / m.sigma2 + np.linalg.inv(m.D))
    mean = C @ Z.T @ (y - X @ m.beta) / m.sigma2
    b = mean + rng.normal(size=(K, 2)) @ np.linalg.cholesky(C).T
    bbar, Q = b.mean(0), helmert(K)
    S = (b - bbar).T @ (b - bbar)
    rotated = Q @ b
    assert_allclose(Q @ Q.T, np.eye(K), atol=1e-12)
    assert_allclose(rotated[0] / np.sqrt(K), bbar)
    assert_allclose(rotated[1:].T @ rotated[1:], S)  # sum of K - 1 squares ...
    cov = np.kron(Q, np.eye(2)) @ np.kron(np.eye(K), C) @ np.kron(Q, np.eye(2)).T
    assert_allclose(cov, np.kron(np.eye(K), C), atol=1e-12)  # ... of independent N(., C), and of the mean
    assert_allclose(cov[:2, :2] / K, C / K)
    assert_allclose(Q[1:] @ np.ones(K), 0, atol=1e-12)  # with mean zero
    # The conditional law itself, by Bayes.
    joint = [log_normal(y, X @ m.beta + Z @ v, m.sigma2 * np.eye(len(y))) + log_normal(v, 0, m.D) for v in b[:2]]
    assert_allclose(joint[0] - joint[1], log_normal(b[0], mean, C) - log_normal(b[1], mean, C))
    # (b)
    residual = sum(np.sum((y - X @ m.beta - Z @ v) ** 2) for v in b)
    assert_allclose(residual, K * np.sum((y - X @ m.beta - Z @ bbar) ** 2) + np.trace(Z.T @ Z @ S))
    assert_allclose(b.T @ b, K * np.outer(bbar, bbar) + S)
    assert_allclose(sum(X.T @ (y - Z @ v) for v in b), K * X.T @ (y - Z @ bbar))


def test_clone_prediction(m):
    """`clone-prediction`: where only beta is unknown the average is the law with the error of beta, which is exact."""
    X, Z, y, V = m.of(1)
    S = m.D @ Z.T @ np.linalg.inv(V)
    known = m.D - S @ Z @ m.D
    draws = np.random.default_rng(1)
    betas = draws.multivariate_normal(m.betahat, m.Phi, size=20_000)
    T = S @ X
    exact = multivariate_normal(S @ (y - X @ m.betahat), known + T @ m.Phi @ T.T)
    for point in exact.rvs(4, random_state=2):
        average = multivariate_normal(np.zeros(2), known).pdf(point - (S @ y - betas @ T.T)).mean()
        assert_allclose(average, exact.pdf(point), rtol=0.05)


def test_cloning_edge(rng):
    """`prop-cloning-edge`: K tau^2 tends to a gamma variable, shape 1/2 and rate h, if the slope is -h."""
    n, m = 8, 4
    e = rng.normal(size=(n, m))
    e = e - e.mean(1, keepdims=True) + 0.2 * e.mean(1, keepdims=True)
    ssb = m * np.sum(e.mean(1) ** 2)

    def loglik(tau2):
        """sigma2 = 1 and mu = 0 known."""
        return -0.5 * (n * np.log(1 + m * tau2) + ssb / (1 + m * tau2))

    h = -(loglik(1e-7) - loglik(0)) / 1e-7
    assert h > 0
    gaps = []
    for K in (100, 1000, 10_000):
        tau = np.linspace(0, 9 / np.sqrt(h * K), 20_001)
        w = np.exp(K * (loglik(tau**2) - loglik(0))) * np.exp(-tau)  # a prior that is positive at zero
        w /= w.sum()
        mean = w @ tau**2
        sd = np.sqrt(w @ (tau**2 - mean) ** 2)
        gaps.append([abs(2 * h * K * mean - 1), abs(h * K * sd / np.sqrt(0.5) - 1)])
    assert (np.diff(gaps, axis=0) < 0).all() and np.max(gaps[-1]) < 0.03


def test_likelihood_ratio(m):
    """`prop-likelihood-ratio`, `likelihood-ratio-draws`: the mean over b given y, by quadrature, group by group."""
    at, weight = np.polynomial.hermite_e.hermegauss(20)
    nodes = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    weights = np.outer(weight, weight).ravel() / (2 * np.pi)
    other = replace(m, beta=m.beta + 0.1, D=1.3 * m.D, sigma2=1.2 * m.sigma2)
    total = 0.0
    for i in range(m.n):
        X, Z, y, _ = m.of(i)
        C = np.linalg.inv(Z.T @ Z / m.sigma2 + np.linalg.inv(m.D))
        b = C @ Z.T @ (y - X @ m.beta) / m.sigma2 + nodes @ np.linalg.cholesky(C).T  # given y and the first value

        def log_joint(model, v, X=X, Z=Z, y=y):
            of_y = log_normal(y, X @ model.beta + Z @ v, model.sigma2 * np.eye(len(y)))
            return of_y + log_normal(v, np.zeros(2), model.D)

        total += np.log(weights @ np.exp([log_joint(other, v) - log_joint(m, v) for v in b]))
    assert_allclose(total, other.loglik(other.beta, other.V) - m.loglik(m.beta, m.V), rtol=1e-6)


def test_cloned_flat(rng):
    """`thm-cloned-flat`, `cloned-mixture`, `cloned-on-set`, `likelihood-set`: points, three of them maxima."""
    size = 40
    loglik, prior, f = rng.normal(size=size), rng.dirichlet(np.ones(size)), rng.normal(size=size)
    loglik[:3] = loglik.max() + 0.1
    short = loglik.max() - loglik
    order = np.argsort(short)
    starts = np.r_[short[order], np.inf]
    limit = f[:3] @ prior[:3] / prior[:3].sum()
    for K in (1, 3, 1000):
        posterior = np.exp(-K * short) * prior
        direct = f @ posterior / posterior.sum()
        # E{f | A_t} P(A_t) and P(A_t) are steps in t; the integral of K exp(-Kt) over each step is a difference.
        steps = -np.diff(np.exp(-K * starts))
        total, mass = np.cumsum((f * prior)[order]), np.cumsum(prior[order])
        assert_allclose(direct, total @ steps / (mass @ steps), rtol=1e-10)
    assert_allclose(direct, limit, rtol=1e-10)


def test_what_is_left_of_the_prior(rng):
    """`prop-cloned-flat`, `prior-on-set`: (a) what the prior says given psi; (b) p over the root of the curvature."""
    psi_hat, r = rng.uniform(0.5, 1.5), rng.uniform(0.3, 0.7)
    x, z = np.meshgrid(np.linspace(-4, 4, 1601), np.linspace(-6, 6, 601), indexing="ij")
    log_prior = -(x**2 - 2 * r * x * z + z**2) / (2 * (1 - r**2))
    gaps = []
    for K in (20, 200, 2000):
        w = np.exp(log_prior - K * (x - psi_hat) ** 2 / 2)
        mean = np.sum(w * z) / w.sum()
        gaps.append([abs(mean - r * psi_hat), abs(np.sum(w * (z - mean) ** 2) / w.sum() - (1 - r**2))])
    assert (np.diff(gaps, axis=0) < 0).all() and np.max(gaps[-1]) < 1e-3

    a, b, tilt = rng.uniform(1, 2), rng.uniform(0.5, 0.9), rng.normal(size=2)
    s = (np.arange(4000) + 0.5) * np.pi / 2000
    on = np.stack([a * np.cos(s), b * np.sin(s)])
    length = np.hypot(a * np.sin(s), b * np.cos(s))
    gradient = np.hypot(2 * on[0] / a**2, 2 * on[1] / b**2)  # H is its square, for loglik -(g - 1)^2 / 2
    weights = {"right": length / gradient, "without H": length}
    limits = {name: np.average(on[0] ** 2, weights=v * np.exp(tilt @ on)) for name, v in weights.items()}
    grid = np.linspace(-2.6, 2.6, 2601)
    x, z = np.meshgrid(grid, grid, indexing="ij")
    gaps = []
    for K in (100, 1000, 10_000):
        w = np.exp(tilt[0] * x + tilt[1] * z - K * (x**2 / a**2 + z**2 / b**2 - 1) ** 2 / 2)
        gaps.append(abs(np.sum(w * x**2) / w.sum() - limits["right"]))
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-3
    assert abs(limits["without H"] - limits["right"]) > 0.01
