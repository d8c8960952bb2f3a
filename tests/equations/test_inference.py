"""Tests and intervals of the fixed effects: both sides of each formula at random inputs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.linalg import block_diag
from scipy.stats import chi2, nct, norm, t

from lmmlib import equations
from tests.equations.models import Model, derivative


@pytest.fixture
def m(rng):
    """Twelve groups, so that no degrees of freedom are small."""
    return Model.draw(rng, [3, 5, 4, 2, 6, 5, 4, 4, 3, 6, 5, 4])


@pytest.fixture
def L(m, rng):
    return rng.normal(size=(2, m.p))


def information(m):
    """The expected restricted information."""
    return np.array([[0.5 * np.trace(m.P @ r @ m.P @ s) for s in m.Vdot] for r in m.Vdot])


def pieces(m):
    """P_k and Q_kl of the chapter, and W."""
    XW = m.X.T @ m.W
    P = [XW @ k @ XW.T for k in m.Vdot]
    Q = [[XW @ k @ m.W @ l @ XW.T for l in m.Vdot] for k in m.Vdot]
    return P, Q, np.linalg.inv(information(m))


def kackar_harville(m):
    """The extra covariance as printed."""
    P, Q, W = pieces(m)
    k = range(len(P))
    return m.Phi @ sum(W[a, b] * (Q[a][b] - P[a] @ m.Phi @ P[b]) for a in k for b in k) @ m.Phi


def nu_S(m, L):
    """Satterthwaite's df of one row, the derivative of L Phi L' taken numerically."""

    def variance(a):
        return L @ np.linalg.inv(m.X.T @ np.linalg.solve(m.V_at(*m.split(a)), m.X)) @ L

    g = derivative(variance, m.alpha)
    return 2 * variance(m.alpha) ** 2 / (g @ np.linalg.inv(information(m)) @ g)


def test_wald(m, L, rng):
    """`wald-statistic`, `wald-f`, `lem-wald`: lmmlib; whitened rows have covariance I; F does not see M."""
    result, c, M = equations.gls(m.cross, *m.args), rng.normal(size=2), rng.normal(size=(2, 2))
    single = (L[0] @ m.betahat - c[0]) / np.sqrt(L[0] @ m.Phi @ L[0])
    assert_allclose(single, equations.wald(result, L[0], null=c[0]).statistic)

    def F(L, c):
        gap = L @ m.betahat - c
        return gap @ np.linalg.inv(L @ m.Phi @ L.T) @ gap / 2

    assert_allclose(F(L, c), equations.wald(result, L, null=c).statistic)
    assert_allclose(F(M @ L, M @ c), F(L, c))
    # (L Phi L')^-1/2 (L betahat - c) is a linear map of y with covariance I, so that its square is chi-square.
    K = np.linalg.solve(np.linalg.cholesky(L @ m.Phi @ L.T), L @ m.Phi @ m.X.T @ m.W)
    assert_allclose(K @ m.V @ K.T, np.eye(2), atol=1e-10)
    assert_allclose(2 * F(L, c), ((K @ m.y - K @ m.X @ np.linalg.pinv(L) @ c) ** 2).sum())


def test_satterthwaite(m, L):
    """`satterthwaite`: with a numerical derivative; lmmlib with the analytical one."""
    assert_allclose(nu_S(m, L[0]), equations.satterthwaite(m.cross, L[0], *m.args, kind="expected"), rtol=1e-6)


def test_satterthwaite_definition(rng):
    """`def-satterthwaite`: with nu = 2 f^2 / Var(fhat), a chi-square scaled to the mean f has the variance of fhat."""
    f, variance = rng.uniform(0.5, 2, size=2)
    nu = 2 * f**2 / variance
    law = chi2(nu, scale=f / nu)
    assert_allclose([law.mean(), law.var()], [f, variance])


def test_fai_cornelius(m, L):
    """`fai-cornelius`: the F with nu df has the mean of the sum of squared t; lmmlib for rows of any scale."""
    M, L = L, np.linalg.solve(np.linalg.cholesky(L @ np.linalg.inv(m.X.T @ m.X) @ L.T), L)
    _, vectors = np.linalg.eigh(L @ m.Phi @ L.T)
    each = np.array([nu_S(m, row) for row in vectors.T @ L])
    assert (each > 2).all()
    E_Q = (each / (each - 2)).sum()
    nu = 2 * E_Q / (E_Q - 2)
    assert_allclose(2 * nu / (nu - 2), sum(t(k).var() for k in each))
    assert_allclose(nu, equations.satterthwaite(m.cross, M, *m.args, kind="expected"), rtol=1e-6)


def test_df_bounds(rng):
    """`lem-df-bounds`: between the smaller and the sum, which proportional parts reach."""
    B, W = rng.uniform(0.1, 3, size=(2, 1000))
    each = rng.uniform(1, 200, size=(2, 1000))

    def pooled(B, W):
        return (B + W) ** 2 / (B**2 / each[0] + W**2 / each[1])

    assert (each.min(axis=0) <= pooled(B, W)).all() and (pooled(B, W) <= each.sum(axis=0)).all()
    assert_allclose(pooled(B, B * each[1] / each[0]), each.sum(axis=0))


def test_power(rng):
    """`lem-power`, `power`: the noncentral t, and the probability as an integral over the chi-square of fhat.

    With f of a balanced trial: the variance of the difference of the arms, by Phi, and what MSB expects.
    """
    theta, nu, level = rng.uniform(0.5, 3), int(rng.integers(3, 30)), 0.05
    n, rows = nu + 2 + nu % 2, 4
    nu = n - 2
    tau2, sigma2 = rng.uniform(0.5, 2, size=2)
    f = 4 / n * (tau2 + sigma2 / rows)
    X = np.column_stack([np.ones(n * rows), np.repeat(np.arange(n) % 2, rows)])
    V = np.kron(np.eye(n), sigma2 * np.eye(rows) + tau2)
    assert_allclose(np.linalg.inv(X.T @ np.linalg.solve(V, X))[1, 1], f)
    J = np.kron(np.eye(n), np.ones((rows, rows)) / rows)
    between = J - X @ np.linalg.pinv(X)
    assert_allclose(np.trace(between), nu)
    assert_allclose(4 * np.trace(between @ V) / nu / (n * rows), f)
    reach, law = t.ppf(1 - level / 2, nu), nct(nu, theta / np.sqrt(f))
    printed = 1 - law.cdf(reach) + law.cdf(-reach)

    def rejects(c):  # given that nu fhat / f is c
        half = reach * np.sqrt(c / nu)
        return norm.sf(half - theta / np.sqrt(f)) + norm.cdf(-half - theta / np.sqrt(f))

    integral = quad(lambda c: rejects(c) * chi2.pdf(c, nu), 0, chi2.isf(1e-13, nu), epsabs=1e-12, limit=200)[0]
    assert_allclose(printed, integral, rtol=1e-6)


def test_satterthwaite_mean_squares(rng):
    """`satterthwaite-mean-squares`: 2 f^2 / Var(f) in the trial's design, 100 children with 4 visits in two arms."""
    n, rows = 100, 4
    sigma2, tau2 = rng.uniform(0.5, 2, size=2)
    within = np.kron(np.eye(n), np.eye(rows) - 1 / rows)
    week, arm = np.tile(np.arange(rows), n) - 1.5, np.repeat(np.arange(n) % 2, rows)
    between = np.kron(np.eye(n), np.ones((rows, rows)) / rows)
    means = np.column_stack([np.ones(n * rows), arm])
    A_B = between - means @ np.linalg.pinv(means)
    A_W = within - np.outer(week, week) / (week @ week)
    assert_allclose([np.trace(A_B), np.trace(A_W)], [98, 299])
    V = block_diag(*[tau2 * np.ones((rows, rows)) + sigma2 * np.eye(rows)] * n)
    c_B, c_W = rng.uniform(0.1, 1, size=2)
    MSB, MSW = np.trace(A_B @ V) / 98, np.trace(A_W @ V) / 299
    AV = (c_B * A_B / 98 + c_W * A_W / 299) @ V
    printed = (c_B * MSB + c_W * MSW) ** 2 / ((c_B * MSB) ** 2 / 98 + (c_W * MSW) ** 2 / 299)
    assert_allclose(printed, 2 * np.trace(AV) ** 2 / (2 * np.sum(AV * AV.T)))


def test_kackar_harville_term(m):
    """`kackar-harville-term`: W-weighted covariances of the derivatives of betahat, linear maps taken numerically."""

    def K(a):
        W = np.linalg.inv(m.V_at(*m.split(a)))
        return np.linalg.solve(m.X.T @ W @ m.X, m.X.T @ W)

    dK, W = derivative(K, m.alpha), pieces(m)[2]
    assert_allclose(kackar_harville(m), np.einsum("kl,iak,ab,jbl->ij", W, dK, m.V, dK), rtol=1e-5, atol=1e-9)


def test_kenward_roger_covariance(m, L):
    """`kenward-roger-covariance`: Phi and twice the extra term, and lmmlib."""
    assert_allclose(m.Phi + 2 * kackar_harville(m), equations.kenward_roger(m.cross, L, *m.args).cov, rtol=1e-7)


def test_kenward_roger_f(m, L, rng):
    """`kenward-roger-f`: as printed, with full matrices; lmmlib from cross-products."""
    P, _, W = pieces(m)
    k, ell, c, Phi = range(len(P)), 2, rng.normal(size=2), m.Phi
    Theta = L.T @ np.linalg.inv(L @ Phi @ L.T) @ L
    T = [Theta @ Phi @ Pk @ Phi for Pk in P]
    A1 = sum(W[a, b] * np.trace(T[a]) * np.trace(T[b]) for a in k for b in k)
    A2 = sum(W[a, b] * np.trace(T[a] @ T[b]) for a in k for b in k)
    B, g = (A1 + 6 * A2) / (2 * ell), ((ell + 1) * A1 - (ell + 4) * A2) / ((ell + 2) * A2)
    h, E = 3 * ell + 2 * (1 - g), 1 / (1 - A2 / ell)
    V = 2 / ell * (1 + g / h * B) / ((1 - (ell - g) / h * B) ** 2 * (1 - (ell + 2 - g) / h * B))
    rho = V / (2 * E**2)
    nu = 4 + (ell + 2) / (ell * rho - 1)
    lam = nu / (E * (nu - 2))
    gap = L @ m.betahat - c
    F = gap @ np.linalg.inv(L @ (Phi + 2 * kackar_harville(m)) @ L.T) @ gap / ell
    ours = equations.kenward_roger(m.cross, L, *m.args, null=c)
    assert_allclose([ours.df, ours.scale, ours.statistic], [nu, lam, lam * F], rtol=1e-7)
    # nu and lambda give lambda F the mean and variance of an F distribution: E(F) = E*, Var(F) = V*.
    assert_allclose(lam * E, nu / (nu - 2))
    assert_allclose(lam**2 * V, 2 * nu**2 * (ell + nu - 2) / (ell * (nu - 2) ** 2 * (nu - 4)))


def test_kr_one_row(m, L):
    """`lem-kr-one-row`: A1 = A2 = 2/nu_S, so that nu = nu_S and lambda = 1."""
    P, _, W = pieces(m)
    row, k = L[:1], range(len(P))
    T = [row.T @ row / (row @ m.Phi @ row.T) @ m.Phi @ Pk @ m.Phi for Pk in P]
    A1 = sum(W[a, b] * np.trace(T[a]) * np.trace(T[b]) for a in k for b in k)
    A2 = sum(W[a, b] * np.trace(T[a] @ T[b]) for a in k for b in k)
    assert_allclose([A1, A2], 2 / nu_S(m, L[0]), rtol=1e-6)
    ours = equations.kenward_roger(m.cross, row, *m.args)
    assert_allclose([ours.df, ours.scale], [nu_S(m, L[0]), 1], rtol=1e-6)


def test_kackar_harville(rng):
    """`lem-kackar-harville`: an estimate with two values, chosen by residuals; the two variances add.

    betahat(alpha) is uncorrelated with all residuals, and betahat(alphahat) - betahat(alpha) is made of them.
    """
    m = Model.draw(rng, [3, 5, 4, 2, 6])
    M = np.eye(m.N) - m.X @ np.linalg.pinv(m.X)
    best = m.Phi @ m.X.T @ m.W
    assert_allclose(best @ m.V @ M, 0, atol=1e-10)
    W0 = np.linalg.inv(m.V_at(3 * m.D, m.sigma2 / 2))
    other = np.linalg.solve(m.X.T @ W0 @ m.X, m.X.T @ W0)
    assert_allclose((other - best) @ m.X, 0, atol=1e-10)
    y = np.random.default_rng(1).normal(size=(50_000, m.N)) @ np.linalg.cholesky(m.V).T
    large = (np.einsum("ra,ab,rb->r", y, M, y) > np.trace(M @ m.V))[:, None]
    estimate = np.where(large, y @ other.T, y @ best.T)
    extra = estimate - y @ best.T
    size = np.sqrt(np.outer(np.diag(m.Phi), np.diag(m.Phi)))
    assert_allclose(np.cov(estimate.T) / size, (m.Phi + np.cov(extra.T)) / size, atol=0.03)


def test_mean_band(m, rng):
    """`mean-band`: limits as printed, and lmmlib."""
    x, nu = rng.normal(size=m.p), rng.uniform(5, 20)
    reach = t.ppf(0.975, nu) * np.sqrt(x @ m.Phi @ x)
    row = equations.predict_mean(equations.gls(m.cross, *m.args), x[None], df=nu).iloc[0]
    assert_allclose([x @ m.betahat - reach, x @ m.betahat + reach], [row["lower"], row["upper"]])
    row, reach = (
        equations.predict_mean(equations.gls(m.cross, *m.args), x[None]).iloc[0],
        1.959963984540054 * row["se"],
    )
    assert_allclose([x @ m.betahat - reach, x @ m.betahat + reach], [row["lower"], row["upper"]])
