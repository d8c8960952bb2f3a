"""Rows, Laplace and quadrature: both sides of each formula at random inputs."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import gammaln, logsumexp
from scipy.stats import multinomial, poisson

import lmmlib
from lmmlib.glmm.fit import fit_glmm_design
from tests.equations.models import cells, derivative, second_derivative


def gauss_hermite(K, q=1):
    """Nodes (K^q, q) and weights of the standard normal."""
    x, w = np.polynomial.hermite_e.hermegauss(K)
    w = w / w.sum()
    nodes = np.stack(np.meshgrid(*[x] * q), -1).reshape(-1, q)
    return nodes, np.prod(np.stack(np.meshgrid(*[w] * q), -1).reshape(-1, q), axis=1)


class Group:
    """Rows of one group with the printed formulas; psi = (beta, vech Lambda)."""

    def __init__(self, y, X, Z, o):
        self.y, self.X, self.Z, self.o = y, X, Z, o
        self.p, self.q = X.shape[1], Z.shape[1]

    def split(self, psi):
        L = np.zeros((self.q, self.q))
        for value, (a, b) in zip(psi[self.p :], cells(self.q), strict=True):
            L[a, b] = value
        return psi[: self.p], L

    def mu(self, u, psi):
        beta, L = self.split(psi)
        return np.exp(self.o + self.X @ beta + self.Z @ L @ u)

    def log_p(self, u, psi):
        mu = self.mu(u, psi)
        return self.y @ np.log(mu) - mu.sum() - gammaln(self.y + 1).sum()

    def h(self, u, psi):
        return self.log_p(u, psi) - self.q / 2 * np.log(2 * np.pi) - 0.5 * u @ u

    def slope(self, u, psi):
        return self.split(psi)[1].T @ self.Z.T @ (self.y - self.mu(u, psi)) - u

    def S(self, u, psi):
        ZL = self.Z @ self.split(psi)[1]
        return np.eye(self.q) + ZL.T @ np.diag(self.mu(u, psi)) @ ZL

    def mode(self, psi):
        u = np.zeros(self.q)
        for _ in range(60):
            step = np.linalg.solve(self.S(u, psi), self.slope(u, psi))
            if np.abs(step).max() < 1e-12:
                return u
            u = u + step / max(1, np.abs(step).max())
        raise AssertionError("no mode found")

    def laplace(self, psi):
        u = self.mode(psi)
        return self.log_p(u, psi) - 0.5 * u @ u - 0.5 * np.linalg.slogdet(self.S(u, psi))[1]

    def grid(self, psi, points=161):
        """log of the integral of e^h by the trapezoidal rule about the mode, scaled by the curvature."""
        u, C = self.mode(psi), np.linalg.cholesky(np.linalg.inv(self.S(self.mode(psi), psi)))
        x = np.linspace(-9, 9, points)
        nodes = np.stack(np.meshgrid(*[x] * self.q), -1).reshape(-1, self.q)
        values = [self.h(u + C @ z, psi) for z in nodes]
        return logsumexp(values) + self.q * np.log(x[1] - x[0]) + np.linalg.slogdet(C)[1]


def random_group(rng, q=2, m=4):
    X = np.column_stack([np.ones(m), rng.normal(size=m)])
    return Group(rng.poisson(3, size=m), X, X[:, :q], 0.3 * rng.normal(size=m))


def random_psi(rng, q):
    return np.array([0.8, 0.2, *rng.uniform(0.3, 0.8, size=q * (q + 1) // 2)])


@pytest.fixture(params=[1, 2])
def q(request):
    return request.param


@pytest.fixture
def one(rng, q):
    return random_group(rng, q), random_psi(rng, q)


@pytest.fixture(scope="module")
def fitted():
    """Twelve groups with two effects, fitted by Laplace; (fit, groups, psi at the estimates)."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(4, 8, size=15)
    g = np.repeat(np.arange(15), sizes)
    X = np.column_stack([np.ones(len(g)), rng.normal(size=len(g))])
    b = rng.normal(size=(15, 2)) * [0.7, 0.5]
    o = 0.2 * rng.normal(size=len(g))
    y = rng.poisson(np.exp(1 + o + (X * b[g]).sum(1)))
    names = np.array([f"g{i:02d}" for i in g])
    result = fit_glmm_design(lmmlib.Design.from_arrays(y, X, X, names, offset=o))
    assert result.converged and not result.is_singular
    groups = [Group(y[g == i], X[g == i], X[g == i], o[g == i]) for i in range(15)]
    L = np.linalg.cholesky(result.D.to_numpy())
    return result, groups, np.array([*result.beta, L[0, 0], L[1, 0], L[1, 1]])


def test_count_moments(rng):
    """`thm-count-moments`, `count-moments`: integrals over the random effects."""
    group, psi = random_group(rng), random_psi(rng, 2)
    nodes, w = gauss_hermite(40, 2)
    mu = np.array([group.mu(u, psi) for u in nodes])
    mean = w @ mu
    cov = (mu - mean).T @ np.diag(w) @ (mu - mean)
    beta, L = group.split(psi)
    D, Z = L @ L.T, group.Z
    m = np.exp(group.o + group.X @ beta + 0.5 * np.einsum("ja,ab,jb->j", Z, D, Z))
    assert_allclose(m, mean, rtol=1e-6)
    assert_allclose(m + m**2 * (np.exp(np.diag(Z @ D @ Z.T)) - 1), mean + np.diag(cov), rtol=1e-5)
    off = ~np.eye(len(m), dtype=bool)
    assert_allclose((np.outer(m, m) * (np.exp(Z @ D @ Z.T) - 1))[off], cov[off], rtol=1e-5)


def test_poisson_derivatives(one, rng, q):
    """`poisson-derivatives`, `count-joint`: scipy's Poisson density, and numerical derivatives of h."""
    group, psi = one
    u = rng.normal(size=q)
    mu, y = group.mu(u, psi), group.y
    factorials = sum(np.log(np.arange(1, k + 1)).sum() for k in y)
    log_p = np.sum(y * np.log(mu) - mu) - factorials
    assert_allclose(log_p, poisson.logpmf(y, mu).sum())
    # Lambda u has the density of b ~ N(0, D): the standard normal one of u, up to the Jacobian.
    assert_allclose(log_p - q / 2 * np.log(2 * np.pi) - 0.5 * u @ u, group.h(u, psi))
    assert_allclose(group.slope(u, psi), derivative(lambda v: group.h(v, psi), u), rtol=1e-7, atol=1e-7)
    assert_allclose(group.S(u, psi), -derivative(lambda v: group.slope(v, psi), u), rtol=1e-7, atol=1e-7)


def test_laplace(one, q, rng):
    """`thm-laplace`, `laplace-exact`, `laplace-constant`: the exact factor; and no error for a quadratic h."""
    group, psi = one
    u = group.mode(psi)
    H, top = group.S(u, psi), group.h(u, psi)
    C = np.linalg.cholesky(np.linalg.inv(H))
    nodes, w = gauss_hermite(40, q)
    r = np.array([group.h(u + C @ x, psi) - top + 0.5 * x @ x for x in nodes])
    constant = top + q / 2 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(H)[1]
    assert_allclose(constant + np.log(w @ np.exp(r)), group.grid(psi, 61), rtol=1e-6)
    assert abs(constant - group.grid(psi, 61)) < 0.1  # without the factor
    A = rng.normal(size=(q, q))
    A = A @ A.T + np.eye(q)
    x = np.linspace(-9, 9, 201)
    points = np.stack(np.meshgrid(*[x] * q), -1).reshape(-1, q)
    integral = logsumexp(1.3 - 0.5 * np.einsum("na,ab,nb->n", points, A, points)) + q * np.log(x[1] - x[0])
    assert_allclose(integral, 1.3 + q / 2 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(A)[1], rtol=1e-7)


def test_laplace_marginal(fitted):
    """`laplace-marginal`: the sum over groups; lmmlib's log-likelihood at its estimates; near the integrals."""
    result, groups, psi = fitted
    printed = sum(group.laplace(psi) for group in groups)
    assert_allclose(printed, result.loglik, rtol=1e-9)
    assert abs(printed - sum(group.grid(psi, 31) for group in groups)) < 0.1


def test_aghq(one, q, rng):
    """`aghq`, `count-marginal-likelihood`: with many nodes the integral over b itself; lmmlib with five nodes."""
    group, psi = one
    group = random_group(rng, q, m=5)

    def rule(group, psi, K):
        u = group.mode(psi)
        S = group.S(u, psi)
        C = np.linalg.cholesky(S)
        nodes, w = gauss_hermite(K, q)
        terms = [
            np.log(wk) + group.h(u + np.linalg.solve(C.T, x), psi) + 0.5 * x @ x for wk, x in zip(w, nodes, strict=True)
        ]
        return q / 2 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(S)[1] + logsumexp(terms)

    assert_allclose(rule(group, psi, 30), group.grid(psi, 61), rtol=1e-7)
    assert_allclose(rule(group, psi, 1), group.laplace(psi))
    if q == 1:
        beta, L = group.split(psi)
        tau = L[0, 0]

        def density(b):
            eta = group.o + group.X @ beta + b
            return np.exp(poisson.logpmf(group.y, np.exp(eta)).sum() - b**2 / (2 * tau**2)) / np.sqrt(
                2 * np.pi * tau**2
            )

        assert_allclose(rule(group, psi, 30), np.log(quad(density, -6, 6, epsabs=0, epsrel=1e-10)[0]), rtol=1e-7)
        y, g = rng.poisson(np.exp(0.5 + 0.8 * np.repeat(rng.normal(size=10), 4))), np.repeat(np.arange(10), 4)
        ones, names = np.ones((40, 1)), np.array([f"g{i}" for i in g])
        result = fit_glmm_design(lmmlib.Design.from_arrays(y, ones, ones, names), method="aghq", n_quadrature=5)
        at = np.array([result.beta.iloc[0], np.sqrt(result.D.to_numpy()[0, 0])])
        parts = [Group(y[g == i], ones[:4], ones[:4], np.zeros(4)) for i in range(10)]
        assert_allclose(sum(rule(part, at, 5) for part in parts), result.loglik, rtol=1e-9)


def big_group(rng, tau):
    """One effect and a large total, so that the neglected terms are small."""
    m = 6
    X = np.ones((m, 1))
    return Group(rng.poisson(40, size=m), X, X, np.zeros(m)), np.array([np.log(38.0), tau])


def test_laplace_next(rng):
    """`laplace-next`, `laplace-next-poisson`: both forms, numerical h_3 and h_4, and the true error of Laplace."""
    group, psi = big_group(rng, 0.6)
    u = group.mode(psi)
    S = group.S(u, psi)[0, 0]
    h3 = -derivative(lambda v: group.S(v, psi)[0, 0], u)[0]
    h4 = -derivative(lambda v: derivative(lambda w: group.S(w, psi)[0, 0], v), u)[0, 0]
    general = h4 / (8 * S**2) + 5 * h3**2 / (24 * S**3)
    printed = 0.6**2 * (S - 1) * (2 * S - 5) / (24 * S**3)
    assert_allclose(general, printed, rtol=1e-5)
    x, w = gauss_hermite(40)
    z = x[:, 0] / np.sqrt(S)
    r = h3 * z**3 / 6 + h4 * z**4 / 24
    assert_allclose(w @ r + 0.5 * w @ (h3 * z**3 / 6) ** 2, general, rtol=1e-6)
    assert_allclose(group.grid(psi, 2001) - group.laplace(psi), printed, rtol=0.05)


def test_inner_newton(one, q, rng):
    """`inner-newton`: Newton's step for the numerical gradient and Hessian, ever nearer to the one mode."""
    group, psi = one
    u = group.mode(psi) + 0.1
    for _ in range(3):
        step = np.linalg.solve(group.S(u, psi), group.slope(u, psi))
        gradient = derivative(lambda v: group.h(v, psi), u)
        H = derivative(lambda v: group.slope(v, psi), u)
        assert_allclose(step, -np.linalg.solve(H, gradient), rtol=1e-5, atol=1e-7)
        before, u = np.abs(u - group.mode(psi)).max(), u + step
        assert np.abs(u - group.mode(psi)).max() < max(0.5 * before, 1e-9)


def mode_slope(group, psi):
    """d uhat / d psi as printed, with numerical mixed derivatives of h."""
    u = group.mode(psi)
    return np.linalg.solve(group.S(u, psi), derivative(lambda s: group.slope(u, s), psi))


def test_mode_derivative(one, rng, q):
    """`mode-derivative`, `thm-implicit-mode`: modes found again at parameters near by; curvature at least I."""
    group, psi = one
    assert_allclose(mode_slope(group, psi), derivative(group.mode, psi), rtol=1e-6, atol=1e-8)
    for u in 2 * rng.normal(size=(5, q)):
        assert np.linalg.eigvalsh(group.S(u, psi) - np.eye(q)).min() > -1e-10


def test_implicit_gradient(one):
    """`implicit-gradient`, `thm-implicit-gradient`: against numerical derivatives of the Laplace log-likelihood."""
    group, psi = one
    u = group.mode(psi)
    S = group.S(u, psi)
    direct = derivative(lambda s: group.S(u, s), psi)
    dS = direct + derivative(lambda v: group.S(v, psi), u) @ mode_slope(group, psi)
    trace = np.einsum("ab,bak->k", np.linalg.inv(S), dS)
    printed = derivative(lambda s: group.h(u, s), psi) - 0.5 * trace
    assert_allclose(printed, derivative(group.laplace, psi), rtol=1e-6, atol=1e-8)


@pytest.fixture(scope="module")
def curvature(fitted):
    """The printed covariance of psi = (beta, vech Lambda), by second differences."""
    _, groups, psi = fitted
    return np.linalg.inv(-second_derivative(lambda s: sum(group.laplace(s) for group in groups), psi))


def test_count_covariance(fitted, curvature):
    """`count-covariance`: inverse of minus the second derivative at the maximum, and lmmlib's of beta."""
    assert_allclose(curvature[:2, :2], fitted[0].cov_beta, rtol=1e-3, atol=1e-6)


def test_count_delta(rng):
    """`count-delta`: for a small variance, the exact variance of exp(beta_0 + tau^2/2) by quadrature."""
    A = 0.01 * rng.normal(size=(2, 2))
    at, V = rng.uniform(0.5, 1, size=2), A @ A.T
    nodes, w = gauss_hermite(9, 2)
    psi = at + nodes @ np.linalg.cholesky(V).T

    def g(psi):
        return np.exp(psi[..., 0] + psi[..., 1] ** 2 / 2)

    slope = derivative(g, at)
    exact = w @ (g(psi) - w @ g(psi)) ** 2
    assert_allclose(slope @ V @ slope, exact, rtol=0.01)


def test_mode_variance(fitted, curvature):
    """`mode-variance`: numerical derivatives of the modes and of the likelihood; and lmmlib."""
    result, groups, psi = fitted
    V, modes = curvature, result.modes()
    for i in (0, 4):
        group = groups[i]
        L = group.split(psi)[1]

        def b(s, group=group):
            return group.split(s)[1] @ group.mode(s)

        db = derivative(b, psi)
        known = L @ np.linalg.inv(group.S(group.mode(psi), psi)) @ L.T
        assert_allclose(modes.b.to_numpy()[i], b(psi), rtol=1e-5, atol=1e-7)
        assert_allclose(modes.known[i], known, rtol=1e-5)
        assert_allclose(modes.estimated[i], known + db @ V @ db.T, rtol=1e-3, atol=1e-6)


def test_count_shrinkage(rng):
    """`count-shrinkage`, `count-shrinkage-weight`: exact at the mode; the weight for large totals."""
    for group, psi in (big_group(rng, 0.6), (random_group(rng, 1), random_psi(rng, 1))):
        tau = psi[-1]
        b, total = tau * group.mode(psi)[0], group.y.sum()
        assert_allclose(b, tau**2 * (total - group.mu(b / tau * np.ones(1), psi).sum()), rtol=1e-6)
    group, psi = big_group(rng, 0.6)
    total = group.y.sum()
    w = 0.6**2 / (0.6**2 + 1 / total)
    assert_allclose(0.6 * group.mode(psi)[0], w * (np.log(group.y.mean()) - psi[0]), rtol=1e-3)


def test_count_restricted(rng):
    """`count-restricted`: the integral over beta_0 and the effects in either order, on two grids."""
    groups = [random_group(rng, 1, m) for m in (2, 3)]
    groups = [Group(one.y, one.X[:, :1], one.Z, 0 * one.o) for one in groups]
    beta, u, tau = np.linspace(-4, 6, 301), np.linspace(-8, 8, 301), 0.7
    parts = []
    for one in groups:
        eta = beta[:, None] + tau * u
        log_p = one.y.sum() * eta - len(one.y) * np.exp(eta) - 0.5 * u**2 - 0.5 * np.log(2 * np.pi)
        parts.append(np.exp(log_p) * (u[1] - u[0]))
    step = beta[1] - beta[0]
    likelihood = np.prod([part.sum(1) for part in parts], axis=0)
    other_order = np.einsum("bu,bv->uv", *parts).sum() * step
    assert_allclose(likelihood.sum() * step, other_order)
    constants = -sum(np.log(np.arange(1, k + 1)).sum() for one in groups for k in one.y)
    near = sum(one.grid(np.array([1.0, tau]), 301) for one in groups)
    assert_allclose(np.log(np.interp(1.0, beta, likelihood)) + constants, near, rtol=1e-3)


def poisson_regression(y, X, offset):
    """Estimates and covariance without random effects, by Newton's method."""
    beta = np.linalg.lstsq(X, np.log(y + 0.5) - offset, rcond=None)[0]
    for _ in range(50):
        mu = np.exp(offset + X @ beta)
        beta = beta + np.linalg.solve(X.T @ (mu[:, None] * X), X.T @ (y - mu))
    return beta, np.linalg.inv(X.T @ (mu[:, None] * X))


def test_count_conditional(rng):
    """`thm-count-conditional`: (a) multinomial given the total, (b) an intercept each, (c) any law of b_i, or none."""
    group, psi = random_group(rng, 1), random_psi(rng, 1)
    beta, b = psi[:2], rng.normal()
    e = np.exp(group.o + group.X @ beta)
    given = poisson.logpmf(group.y, e * np.exp(b)).sum() - poisson.logpmf(group.y.sum(), e.sum() * np.exp(b))
    assert_allclose(given, multinomial(group.y.sum(), e / e.sum()).logpmf(group.y))

    n, m = 12, 4
    x, o = np.tile(rng.normal(size=m), n), np.tile(0.3 * rng.normal(size=m), n)
    g = np.repeat(np.arange(n), m)
    y = rng.poisson(np.exp(1 + 0.4 * x + o + 0.8 * rng.normal(size=n)[g]))
    each = poisson_regression(y, np.column_stack([x, np.eye(n)[g]]), o)

    def score(slope):
        """Of the multinomial likelihood."""
        e = np.exp(o + slope * x).reshape(n, m)
        share = e / e.sum(1, keepdims=True)
        return np.sum(x * y) - np.sum(y.reshape(n, m).sum(1) * (share * x.reshape(n, m)).sum(1))

    assert abs(score(each[0][0])) < 1e-6
    none = poisson_regression(y, np.column_stack([x, np.ones(n * m)]), o)
    X = np.column_stack([np.ones(n * m), x])
    names = np.array([f"g{i:02d}" for i in g])
    design = lmmlib.Design.from_arrays(y, X, np.ones((n * m, 1)), names)
    normal = fit_glmm_design(dataclasses.replace(design, offset=o), method="aghq", n_quadrature=9)
    for slope, variance in ((none[0][0], none[1][0, 0]), (each[0][0], each[1][0, 0])):
        assert_allclose([normal.beta.iloc[1], normal.cov_beta.to_numpy()[1, 1]], [slope, variance], rtol=1e-4)


def binet(w, v):
    """The printed error, by a sum over a fine grid of X."""
    x = np.linspace(-80, 14, 40_001)
    s = np.sqrt(v) * x
    g = np.expm1(s) - s - s**2 / 2
    return logsumexp(-w / v * g - x**2 / 2) + np.log(x[1] - x[0]) - 0.5 * np.log(2 * np.pi)


def test_laplace_poisson(rng):
    """`thm-laplace-poisson`, `laplace-poisson-exact`, `laplace-poisson-bounds`: the true error, bounds, first term."""
    for tau in (0.2, 0.7, 2.0):
        group, psi = random_group(rng, 1), np.array([0.5, 0.3, tau])
        S = group.S(group.mode(psi), psi)[0, 0]
        w, v = (S - 1) / S, tau**2 / S
        assert_allclose(group.mu(group.mode(psi), psi).sum(), w / v)
        error = group.grid(psi, 2001) - group.laplace(psi)
        assert_allclose(binet(w, v), error, rtol=1e-6, atol=1e-10)
    for w in (0.05, 0.3, 0.6, 0.95, 1.0):
        for v in (0.02, 0.1, 1.0, 8.0):
            lower = -w / v * (np.expm1(v / 2) - v / 2)
            assert lower < binet(w, v) < w * v / 12
        small = [binet(w, v) - w * v * (5 * w - 3) / 24 for v in (0.02, 0.01)]
        assert abs(small[0]) < 0.05 * 0.02**2
        assert abs(small[1]) < 0.3 * abs(small[0]) + 1e-9
    # At w = 1 the error is that of Stirling's formula.
    a = 1 / 0.3
    assert_allclose(binet(1, 0.3), gammaln(a) - (a - 0.5) * np.log(a) + a - 0.5 * np.log(2 * np.pi), rtol=1e-7)


def dense_normal(Y, W, X, Z, beta, tau):
    """Log-likelihood of the working model with full matrices."""
    V = np.diag(1 / W) + tau**2 * Z @ Z.T
    rest = Y - X @ beta
    return -0.5 * np.linalg.slogdet(V)[1] - 0.5 * rest @ np.linalg.solve(V, rest)


@pytest.mark.parametrize("family", ["poisson", "binary"])
def test_pql(rng, family):
    """`thm-pql`, `pql-working`, `pql-variance`: Henderson's equations iterated stop where the three parts say."""
    n, m = 14, 6
    g, x = np.repeat(np.arange(n), m), rng.normal(size=n * m)
    X, Z = np.column_stack([np.ones(n * m), x]), np.eye(n)[g]
    eta = 0.3 + 0.4 * x + 0.9 * rng.normal(size=n)[g]
    if family == "poisson":
        mean, top, y = np.exp, np.exp, rng.poisson(np.exp(eta)).astype(float)
    else:

        def mean(e):
            return 1 / (1 + np.exp(-e))

        def top(e):
            return np.log1p(np.exp(e))

        y = (rng.random(n * m) < mean(eta)).astype(float)
    eta, tau2 = np.zeros(n * m), 0.5
    for _ in range(3000):
        W = derivative(lambda s, e=eta: mean(e + s[0]), np.zeros(1)).ravel()
        Y = eta + (y - mean(eta)) / W
        M = np.block(
            [[X.T @ (W[:, None] * X), X.T @ (W[:, None] * Z)], [Z.T @ (W[:, None] * X), Z.T @ (W[:, None] * Z)]]
        )
        M[2:, 2:] += np.eye(n) / tau2
        solved = np.linalg.solve(M, np.concatenate([X.T @ (W * Y), Z.T @ (W * Y)]))
        beta, b = solved[:2], solved[2:]
        S = 1 + tau2 * Z.T @ W
        new = np.mean(b**2 + tau2 / S)
        eta, change, tau2 = X @ beta + Z @ b, abs(new - tau2), new
        if change < 1e-13:
            break
    tau = np.sqrt(tau2)

    def joint(v):
        e = X @ v[:2] + tau * Z @ v[2:]
        return y @ e - top(e).sum() - 0.5 * v[2:] @ v[2:]

    at = np.concatenate([beta, b / tau])
    assert np.abs(derivative(joint, at)).max() < 1e-5  # (a)
    working = derivative(lambda s: dense_normal(Y, W, X, Z, s[:2], s[2]), np.array([*beta, tau]))
    assert np.abs(working).max() < 1e-5  # the working model is at its maximum, and (b) was its step

    def frozen(s):
        e = X @ s[:2] + s[2] * Z @ (b / tau)
        return y @ e - top(e).sum() - 0.5 * np.log(1 + s[2] ** 2 * Z.T @ W).sum()

    assert np.abs(derivative(frozen, np.array([*beta, tau]))).max() < 1e-5  # (c)


def test_quantile_residual(rng):
    """`thm-quantile-residual`, `quantile-residual`: uniform and independent by the exact law of two counts."""
    b, p = np.array([-0.5, 0.4, 1.1]), np.array([0.2, 0.5, 0.3])
    y = np.arange(60)
    given = poisson.pmf(y[:, None], np.exp(0.3 + b))
    first = given @ p
    low = np.concatenate([[0], np.cumsum(first)])
    # P(U_1 <= s, U_2 <= t), summed over the two counts, is s t.
    for s, t in rng.uniform(0.1, 0.9, size=(5, 2)):
        total = 0.0
        for y1 in y:
            part = np.clip((s - low[y1]) / first[y1], 0, 1) * first[y1]
            second = given @ (p * given[y1] / first[y1])
            steps = np.concatenate([[0], np.cumsum(second)])
            inside = np.clip((t - steps[:-1]) / np.maximum(second, 1e-300), 0, 1) * second
            total += part * inside.sum()
        assert_allclose(total, s * t, rtol=1e-9)


def test_zero_inflated(rng):
    """`zero-inflated`: probabilities of a mixture of zeros and Poisson counts, by its moments."""
    pi, mu = rng.uniform(0.1, 0.5), rng.uniform(0.5, 3)
    y = np.arange(1, 80)
    p = (1 - pi) * np.exp(-mu) * np.exp(y * np.log(mu) - gammaln(y + 1))
    assert_allclose(pi + (1 - pi) * np.exp(-mu) + p.sum(), 1)
    assert_allclose(p @ y, (1 - pi) * mu)
    assert_allclose(p @ y**2, (1 - pi) * (mu + mu**2))


def test_count_left_out(rng):
    """`count-left-out`: an effect of its own for each row, integrated out."""
    m, s2 = rng.uniform(1, 6), rng.uniform(0.05, 0.5)
    nodes, w = gauss_hermite(60)
    mu = m * np.exp(np.sqrt(s2) * nodes[:, 0] - s2 / 2)
    assert_allclose(w @ mu, m)
    assert_allclose(m + m**2 * (np.exp(s2) - 1), w @ mu + w @ (mu - m) ** 2, rtol=1e-8)
