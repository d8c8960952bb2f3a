"""First and second moments of the mixed model: both sides of each formula at random inputs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag, null_space
from scipy.stats import multivariate_normal

import lmmlib
from lmmlib import equations
from lmmlib.equations import moments
from tests.equations.models import least_eigenvalue, log_normal


@pytest.fixture
def one(m):
    """The second group of the model: X, Z, y, V."""
    return m.of(1)


@pytest.fixture
def cs(rng):
    """n_i, tau2, sigma2 and V of a random intercept."""
    n, tau2, sigma2 = int(rng.integers(2, 7)), rng.uniform(0.5, 2), rng.uniform(0.5, 2)
    return n, tau2, sigma2, tau2 * np.ones((n, n)) + sigma2 * np.eye(n)


def test_equivalence(m, one, rng):
    """`thm-equivalence`, `lmm`, `def-lmm`, `lmm-hierarchical`: the density of b times that of y given b.

    It is that of (b, X beta + Z b + epsilon) with independent b and epsilon.
    """
    X, Z, y, _ = one
    b, k = rng.normal(size=m.q), len(y)
    A = np.block([[np.eye(m.q), np.zeros((m.q, k))], [Z, np.eye(k)]])
    joint = A @ block_diag(m.D, m.sigma2 * np.eye(k)) @ A.T
    hierarchical = log_normal(b, 0, m.D) + log_normal(y, X @ m.beta + Z @ b, m.sigma2 * np.eye(k))
    mean = np.concatenate([np.zeros(m.q), X @ m.beta])
    assert_allclose(hierarchical, log_normal(np.concatenate([b, y]), mean, joint))


def test_conditional_moments(m, one, rng):
    """`conditional-moments`: from the joint normal law of (b, y)."""
    X, Z, _, V = one
    b = rng.normal(size=m.q)
    slope = Z @ m.D @ np.linalg.inv(m.D)
    assert_allclose(X @ m.beta + Z @ b, X @ m.beta + slope @ b)
    assert_allclose(m.sigma2 * np.eye(len(Z)), V - slope @ m.D @ Z.T, atol=1e-12)


def test_marginal(m, one):
    """`thm-marginal`, `marginal-mean`, `marginal-covariance`: a linear map of independent b and epsilon."""
    X, Z, _, _ = one
    A = np.hstack([Z, np.eye(len(Z))])
    V = A @ block_diag(m.D, m.sigma2 * np.eye(len(Z))) @ A.T
    assert_allclose(Z @ m.D @ Z.T + m.sigma2 * np.eye(len(Z)), V)
    assert_allclose(moments.marginal_covariance(Z, m.D, m.sigma2), V)
    assert_allclose(moments.marginal_mean(X, m.beta), [x @ m.beta for x in X])
    different = m.group[:, None] != m.group
    full = np.hstack([m.Zbig, np.eye(m.N)])
    everything = full @ block_diag(*[m.D] * m.n, m.sigma2 * np.eye(m.N)) @ full.T
    assert (everything[different] == 0).all() and (everything[~different] != 0).all()


def test_compound_symmetry(cs):
    """`compound-symmetry`: what a column of ones in Z makes."""
    n, tau2, sigma2, V = cs
    assert_allclose(V, moments.marginal_covariance(np.ones((n, 1)), [[tau2]], sigma2))


def test_icc(cs):
    """`icc`: covariance over the root of the variances, as a ratio of components."""
    _, tau2, sigma2, V = cs
    rho = V[0, 1] / np.sqrt(V[0, 0] * V[1, 1])
    assert_allclose(tau2 / (tau2 + sigma2), rho)
    assert_allclose(equations.icc(tau2, sigma2), rho)


def test_cs_inverse(cs):
    """`cs-inverse`, `thm-cs-eigen`: eigenvalues, eigenvectors, determinant and inverse."""
    n, tau2, sigma2, V = cs
    ones, contrasts = np.ones(n), null_space(np.ones((1, n)))
    assert_allclose(V @ ones, (sigma2 + n * tau2) * ones)
    assert_allclose(V @ contrasts, sigma2 * contrasts)
    assert contrasts.shape[1] == n - 1
    assert_allclose(sigma2 ** (n - 1) * (sigma2 + n * tau2), np.linalg.det(V))
    assert_allclose((np.eye(n) - tau2 / (sigma2 + n * tau2) * np.ones((n, n))) / sigma2, np.linalg.inv(V))


def test_icc_range(cs, rng):
    """`thm-icc-range`: a covariance if and only if -1/(n_i - 1) <= rho <= 1; a random intercept if 0 <= rho < 1."""
    n, v = cs[0], rng.uniform(0.5, 2)
    for rho in [-1.2, -1 / (n - 1) - 1e-3, -1 / (n - 1), -1 / (n - 1) + 1e-3, -1e-3, 0, 0.4, 1 - 1e-3, 1, 1.01]:
        C = v * (rho * np.ones((n, n)) + (1 - rho) * np.eye(n))
        assert (least_eigenvalue(C) >= -1e-12) == (-1 / (n - 1) <= rho <= 1)
        tau2, sigma2 = C[0, 1], C[0, 0] - C[0, 1]  # the only candidates
        assert (tau2 >= 0 and sigma2 > 0) == (0 <= rho < 1)


def test_functions_of_time(m, rng):
    """`variance-function`, `covariance-function`: entries of the covariance at two times, and lmmlib."""
    s, t = rng.normal(size=2)
    D, Z = m.D, np.array([[1, s], [1, t]])
    V = Z @ D @ Z.T + m.sigma2 * np.eye(2)
    variance = D[0, 0] + 2 * D[0, 1] * t + D[1, 1] * t**2 + m.sigma2
    covariance = D[0, 0] + D[0, 1] * (s + t) + D[1, 1] * s * t
    assert_allclose([variance, covariance], [V[1, 1], V[0, 1]])
    assert_allclose(variance, moments.variance_function(Z, D, m.sigma2)[1])
    assert_allclose(covariance, np.squeeze(moments.covariance_function(Z[:1], Z[1:], D)))


def test_shift(m, rng):
    """`thm-shift`: any invertible T; then time counted from c, and the correlation it gives."""
    T = rng.normal(size=(2, 2))
    Ti = np.linalg.inv(T)
    assert_allclose(m.Z @ T @ (Ti @ m.D @ Ti.T) @ (m.Z @ T).T, m.Z @ m.D @ m.Z.T)
    (D11, D12), (_, D22) = m.D

    def shifted(c):
        return np.array([[D11 + 2 * c * D12 + c**2 * D22, D12 + c * D22], [D12 + c * D22, D22]])

    def rho(c):
        D = shifted(c)
        return D[0, 1] / np.sqrt(D[0, 0] * D[1, 1])

    c = rng.normal()
    Z_c = m.Z - [[0, c]]
    assert_allclose(Z_c @ shifted(c) @ Z_c.T, m.Z @ m.D @ m.Z.T)
    assert_allclose(rho(-D12 / D22), 0, atol=1e-12)
    values = np.array([rho(c) for c in np.linspace(-1e3, 1e3, 2001)])
    assert (np.diff(values) > 0).all() and (abs(values) < 1).all()
    assert rho(-1e5) < -0.999 and rho(1e5) > 0.999


def test_moment_map(m, rng):
    """`moment-map`, `thm-what-d-expresses`: D and sigma2 come back from V if and only if (i) and (ii) hold."""
    Z = rng.normal(size=(5, 2))
    W = null_space(Z.T)
    inverse = np.linalg.inv(Z.T @ Z)

    def back(V):
        sigma2 = np.trace(W.T @ V @ W) / (5 - 2)
        return inverse @ Z.T @ V @ Z @ inverse - sigma2 * inverse, sigma2

    def conditions(V):
        return np.allclose(W.T @ V @ W, back(V)[1] * np.eye(3)) and np.allclose(W.T @ V @ Z, 0)

    def of_the_form(V):
        D, sigma2 = back(V)
        return np.allclose(Z @ D @ Z.T + sigma2 * np.eye(5), V)

    V = Z @ m.D @ Z.T + m.sigma2 * np.eye(5)
    assert_allclose(back(V)[0], m.D)
    assert_allclose(back(V)[1], m.sigma2)
    assert conditions(V) and of_the_form(V)
    mixed = Z @ rng.normal(size=(2, 3)) @ W.T
    for other in (W @ np.diag([1, 2, 3]) @ W.T, mixed + mixed.T):
        assert not conditions(V + other) and not of_the_form(V + other)


def test_not_identified(m, rng):
    """`lem-not-identified`: square Z, two pairs with one V."""
    Z, delta = rng.normal(size=(2, 2)), rng.uniform(0, 0.1)
    other = Z @ (m.D - delta * np.linalg.inv(Z.T @ Z)) @ Z.T + (m.sigma2 + delta) * np.eye(2)
    assert_allclose(other, Z @ m.D @ Z.T + m.sigma2 * np.eye(2))


def test_marginal_integral(m, one):
    """`marginal-integral`, `thm-convolution`: the integral over b is the density of N(X beta, V)."""
    X, Z, y, V = one
    C = np.linalg.inv(Z.T @ Z / m.sigma2 + np.linalg.inv(m.D))
    centre, L = C @ Z.T @ (y - X @ m.beta) / m.sigma2, np.linalg.cholesky(C)
    x = np.linspace(-9, 9, 91)  # the trapezoidal rule converges faster than any power here
    b = centre + np.stack(np.meshgrid(x, x), -1).reshape(-1, 2) @ L.T
    given = multivariate_normal(np.zeros(len(y)), m.sigma2 * np.eye(len(y))).pdf(y - X @ m.beta - b @ Z.T)
    prior = multivariate_normal(np.zeros(m.q), m.D).pdf(b)
    integral = np.sum(given * prior) * (x[1] - x[0]) ** 2 * np.linalg.det(L)
    assert_allclose(np.log(integral), log_normal(y, X @ m.beta, V))


def test_marginal_loglik(m):
    """`marginal-loglik`: the sum over groups is the normal log-density of all of y, and lmmlib."""
    printed = -m.N / 2 * np.log(2 * np.pi)
    for X, _, y, V in m.groups:
        r = y - X @ m.beta
        printed -= 0.5 * np.log(np.linalg.det(V)) + 0.5 * r @ np.linalg.inv(V) @ r
    assert_allclose(printed, multivariate_normal(m.X @ m.beta, m.V).logpdf(m.y))
    assert_allclose(printed, equations.loglik(m.cross, m.beta, *m.args))


def test_woodbury(m, one):
    """`lem-woodbury`, `woodbury`, `determinant-lemma`: with a D of full rank and a singular one."""
    _, Z, _, _ = one
    n, s2 = len(Z), m.sigma2
    for D in (m.D, np.outer(m.D[0], m.D[0])):
        V = Z @ D @ Z.T + s2 * np.eye(n)
        small = s2 * np.eye(m.q) + Z.T @ Z @ D
        printed = (np.eye(n) - Z @ D @ np.linalg.inv(small) @ Z.T) / s2
        assert_allclose(printed, np.linalg.inv(V), atol=1e-12)
        assert_allclose(printed, moments.precision(Z, D, s2), atol=1e-12)
        determinant = s2 ** (n - m.q) * np.linalg.det(small)
        assert_allclose(determinant, np.linalg.det(V))
        assert_allclose(np.log(determinant), moments.log_determinant(Z, D, s2))


def test_subvector(m, rng):
    """`thm-subvector`: rows of the full model make the model of the rows."""
    Z = np.column_stack([np.ones(6), rng.normal(size=6)])
    S = np.eye(6)[[0, 2, 3, 5]]
    V = Z @ m.D @ Z.T + m.sigma2 * np.eye(6)
    assert_allclose(moments.marginal_covariance(S @ Z, m.D, m.sigma2), S @ V @ S.T)
    assert_allclose(S @ V @ S.T, V[np.ix_([0, 2, 3, 5], [0, 2, 3, 5])])


def test_anova_estimates(m):
    """`anova-estimates`: with projections, and unbiased; lmmlib from cross-products."""
    X, Z = m.X, m.Zbig[:, ::2]
    XZ = np.hstack([X, Z])
    M, M_all = (np.eye(m.N) - A @ np.linalg.pinv(A) for A in (X, XZ))
    df = m.N - np.linalg.matrix_rank(XZ)
    trace = np.trace(Z.T @ M @ Z)

    def estimates(rss, rss_all):
        sigma2 = rss_all / df
        return (rss - sigma2 * (m.N - m.p)) / trace, sigma2

    printed = estimates(m.y @ M @ m.y, m.y @ M_all @ m.y)
    labels = np.array([f"g{i}" for i in m.group])
    ours = equations.anova_estimates(lmmlib.Design.from_arrays(m.y, X, np.ones((m.N, 1)), labels))
    assert_allclose(printed, [ours.D[0, 0], ours.sigma2])
    V = 0.7 * Z @ Z.T + m.sigma2 * np.eye(m.N)
    assert_allclose(estimates(np.trace(M @ V), np.trace(M_all @ V)), [0.7, m.sigma2])


def test_quadratic_form(rng):
    """`lem-quadratic-form`: E(y'Ay) of a vector with six values, which is not normal, and an A without symmetry."""
    values, weights, A = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(6)), rng.normal(size=(3, 3))
    mean = weights @ values
    V = (values - mean).T @ np.diag(weights) @ (values - mean)
    exact = sum(w * y @ A @ y for w, y in zip(weights, values, strict=True))
    assert_allclose(np.trace(A @ V) + mean @ A @ mean, exact)


def test_two_stage_estimates(balanced):
    """`two-stage-estimates`: from each group's coefficients, unbiased; lmmlib from cross-products."""
    m = balanced
    Z, rows, q = m.of(0)[1], 4, m.q
    H, M = np.linalg.pinv(Z), np.eye(4) - Z @ np.linalg.pinv(Z)
    Y = m.y.reshape(m.n, rows)
    sigma2 = np.einsum("ij,jk,ik->", Y, M, Y) / (m.n * (rows - q))
    b = Y @ H.T
    S = (b - b.mean(0)).T @ (b - b.mean(0)) / (m.n - 1)
    names = ("(Intercept)", "x")
    labels = np.array([f"g{i}" for i in m.group])
    ours = equations.two_stage_estimates(lmmlib.Design.from_arrays(m.y, m.X, m.Z, labels, x_names=names, z_names=names))
    assert_allclose(sigma2, ours.sigma2)
    assert_allclose(S - sigma2 * np.linalg.inv(Z.T @ Z), ours.D)
    V = Z @ m.D @ Z.T + m.sigma2 * np.eye(rows)
    assert_allclose(np.trace(M @ V) / (rows - q), m.sigma2)
    assert_allclose(H @ V @ H.T - m.sigma2 * np.linalg.inv(Z.T @ Z), m.D)
