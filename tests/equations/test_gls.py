"""Generalised least squares: both sides of each formula at random inputs."""

import numpy as np
from numpy.testing import assert_allclose
from scipy.linalg import block_diag, null_space

from lmmlib import equations
from tests.equations.models import Model, derivative, least_eigenvalue


def sums(m):
    """sum_i X_i' V_i^-1 X_i and sum_i X_i' V_i^-1 y_i, group by group."""
    return (
        sum(X.T @ np.linalg.inv(V) @ X for X, _, _, V in m.groups),
        sum(X.T @ np.linalg.inv(V) @ y for X, _, y, V in m.groups),
    )


def test_score_beta(m):
    """`score-beta`: the derivative of the log-likelihood, and lmmlib."""
    printed = sum(X.T @ np.linalg.inv(V) @ (y - X @ m.beta) for X, _, y, V in m.groups)
    assert_allclose(printed, derivative(lambda beta: m.loglik(beta, m.V), m.beta), rtol=1e-7)
    assert_allclose(printed, equations.score_beta(m.cross, m.beta, *m.args))


def test_gradients(rng):
    """`lem-gradients`: of a linear and of a quadratic form."""
    a, A, beta = rng.normal(size=3), rng.normal(size=(3, 3)), rng.normal(size=3)
    A += A.T
    assert_allclose(derivative(lambda b: a @ b, beta), a)
    assert_allclose(derivative(lambda b: b @ A @ b, beta), 2 * A @ beta)


def test_gls_estimator(m):
    """`gls-estimator`: the printed sums, the least squares of whitened rows, and lmmlib."""
    G, g = sums(m)
    printed = np.linalg.inv(G) @ g
    Li = np.linalg.inv(np.linalg.cholesky(m.V))
    assert_allclose(printed, np.linalg.lstsq(Li @ m.X, Li @ m.y, rcond=None)[0])
    assert_allclose(printed, equations.gls(m.cross, *m.args).beta)


def test_gls_maximum(m, rng):
    """`thm-gls-maximum`: l(betahat) - l(beta) is half a positive definite quadratic form, so >= 0."""
    G, g = sums(m)
    assert least_eigenvalue(G) > 0
    betahat = np.linalg.solve(G, g)
    gap = rng.normal(size=m.p)
    difference = m.loglik(betahat, m.V) - m.loglik(betahat + gap, m.V)
    assert_allclose(difference, 0.5 * gap @ G @ gap)
    assert difference > 0


def test_whitened_model(m):
    """`whitened-model`: L_i^-1 y_i = L_i^-1 X_i beta + L_i^-1 e_i, with errors of covariance I."""
    for X, _, y, V in m.groups:
        Li = np.linalg.inv(np.linalg.cholesky(V))
        assert_allclose(Li @ y, Li @ X @ m.beta + Li @ (y - X @ m.beta))
        assert_allclose(Li @ V @ Li.T, np.eye(len(y)), atol=1e-12)


def test_quasi_demeaning(rng):
    """`lem-quasi-demeaning`: W_i V_i W_i' = I, and what W_i subtracts."""
    n, sigma2, tau2 = int(rng.integers(2, 6)), *rng.uniform(0.5, 2, size=2)
    ones, lam = np.ones((n, n)), np.sqrt(sigma2 / (sigma2 + n * tau2))
    W = (np.eye(n) - (1 - lam) / n * ones) / np.sqrt(sigma2)
    assert_allclose(W @ (sigma2 * np.eye(n) + tau2 * ones) @ W.T, np.eye(n), atol=1e-12)
    y = rng.normal(size=n)
    assert_allclose(np.sqrt(sigma2) * W @ y, y - (1 - lam) * y.mean())


def test_gls_covariance(m):
    """`gls-covariance`: the covariance of the linear map that makes betahat, and lmmlib."""
    G, _ = sums(m)
    K = np.linalg.inv(G) @ np.hstack([X.T @ np.linalg.inv(V) for X, _, _, V in m.groups])
    assert_allclose(np.linalg.inv(G), K @ m.V @ K.T)
    assert_allclose(np.linalg.inv(G), equations.gls(m.cross, *m.args).cov)


def test_gauss_markov(m, rng):
    """`thm-gauss-markov`: Cov(Ky) - Cov(betahat) >= 0 for every K with KX = I, so Var(c'Ky) >= Var(c'betahat).

    Equality in a direction c only where c'K is the row of GLS.
    """
    best = m.Phi @ m.X.T @ m.W
    for _ in range(20):
        K = best + 0.3 * rng.normal(size=(m.p, m.N - m.p)) @ null_space(m.X.T).T
        assert_allclose(K @ m.X, np.eye(m.p), atol=1e-10)
        excess = K @ m.V @ K.T - m.Phi
        assert least_eigenvalue(excess) > 0
        c = rng.normal(size=m.p)
        assert c @ K @ m.V @ K.T @ c > c @ m.Phi @ c
        K[0] = best[0]
        assert abs((K @ m.V @ K.T - m.Phi)[0, 0]) < 1e-12


def test_woodbury_factor(m):
    """`woodbury-factor`: with a triangular factor and with a singular one."""
    L = np.linalg.cholesky(m.D)
    for F in (L, L * [1, 0]):
        for _, Z, _, _ in m.groups:
            K = F @ np.linalg.inv(m.sigma2 * np.eye(m.q) + F.T @ Z.T @ Z @ F) @ F.T
            V = Z @ F @ F.T @ Z.T + m.sigma2 * np.eye(len(Z))
            assert_allclose((np.eye(len(Z)) - Z @ K @ Z.T) / m.sigma2, np.linalg.inv(V), atol=1e-12)


def test_cross_product_gls(m):
    """`cross-product-gls`: sums of cross-products against sums with inverses of V_i."""
    L = np.linalg.cholesky(m.D)
    gram, moment = m.X.T @ m.X, m.X.T @ m.y
    for X, Z, y, _ in m.groups:
        K = L @ np.linalg.inv(m.sigma2 * np.eye(m.q) + L.T @ Z.T @ Z @ L) @ L.T
        gram, moment = gram - X.T @ Z @ K @ Z.T @ X, moment - X.T @ Z @ K @ Z.T @ y
    G, g = sums(m)
    assert_allclose(gram / m.sigma2, G)
    assert_allclose(moment / m.sigma2, g)


def test_change_of_basis(m, rng):
    """`lem-change-of-basis`: columns mixed by A and B, responses moved by c."""
    A, B, c = rng.normal(size=(m.p, m.p)), rng.normal(size=(m.q, m.q)), rng.normal(size=m.p)
    Bi = np.linalg.inv(B)
    new = Model(m.X @ A, m.Z @ B, m.y - m.X @ c, m.group, np.linalg.solve(A, m.beta - c), Bi @ m.D @ Bi.T, m.sigma2)
    assert_allclose(new.V, m.V)
    assert_allclose(new.y - new.X @ new.beta, m.y - m.X @ m.beta)
    assert_allclose(new.loglik(new.beta, new.V), m.loglik(m.beta, m.V))
    assert_allclose(m.betahat, c + A @ new.betahat, rtol=1e-6)
    assert_allclose(m.Phi, A @ new.Phi @ A.T, rtol=1e-6)


def test_information_beta(m):
    """`information-beta`: minus the second derivative, and lmmlib."""
    G, _ = sums(m)

    def slope(beta):
        return derivative(lambda b: m.loglik(b, m.V), beta, h=0.05)

    assert_allclose(G, -derivative(slope, m.beta, h=0.05), rtol=1e-6, atol=1e-6)
    assert_allclose(G, equations.information_beta(m.cross, *m.args))


def test_matrix_derivatives(m):
    """`lem-matrix-derivatives`: of the inverse and of the log-determinant, for each alpha_k."""
    inverse = derivative(lambda a: np.linalg.inv(m.V_at(*m.split(a))), m.alpha)
    logdet = derivative(lambda a: np.linalg.slogdet(m.V_at(*m.split(a)))[1], m.alpha)
    for k, Vk in enumerate(m.Vdot):
        assert_allclose(-m.W @ Vk @ m.W, inverse[..., k], atol=1e-7)
        assert_allclose(np.trace(m.W @ Vk), logdet[k], rtol=1e-7)


def test_score_alpha(m):
    """`score-alpha`: the derivative of the log-likelihood at a fixed beta."""
    numeric = derivative(lambda a: m.loglik(m.beta, m.V_at(*m.split(a))), m.alpha)
    Wr = m.W @ (m.y - m.X @ m.beta)
    printed = [-0.5 * np.trace(m.W @ Vk) + 0.5 * Wr @ Vk @ Wr for Vk in m.Vdot]
    assert_allclose(printed, numeric, rtol=1e-6, atol=1e-7)


def test_information_variance(m):
    """`information-variance`: minus the second derivative of the expected log-likelihood; group by group; lmmlib."""
    V0 = m.V

    def expected(a):
        V = m.V_at(*m.split(a))
        return -0.5 * np.linalg.slogdet(V)[1] - 0.5 * np.trace(np.linalg.solve(V, V0))

    numeric = -derivative(lambda a: derivative(expected, a, h=4e-3), m.alpha, h=4e-3)
    printed = [[0.5 * np.trace(m.W @ r @ m.W @ s) for s in m.Vdot] for r in m.Vdot]
    assert_allclose(printed, numeric, rtol=1e-5, atol=1e-5)

    def of_groups(r, s):
        rows = [m.group == i for i in range(m.n)]
        parts = [(np.linalg.inv(V0[np.ix_(k, k)]), r[np.ix_(k, k)], s[np.ix_(k, k)]) for k in rows]
        return 0.5 * sum(np.trace(W @ a @ W @ b) for W, a, b in parts)

    assert_allclose(printed, [[of_groups(r, s) for s in m.Vdot] for r in m.Vdot])
    assert_allclose(printed, equations.information_variance(m.cross, *m.args, method="ML", kind="expected"))


def test_block_diagonal(m):
    """`thm-block-diagonal`: the mixed second derivative is linear in the residuals, so that its mean is zero.

    For normal y the scores, a linear and a centred quadratic form in e, are uncorrelated: odd moments vanish.
    """
    e = m.y - m.X @ m.beta

    def mixed(residual):
        return derivative(lambda a: m.X.T @ np.linalg.solve(m.V_at(*m.split(a)), residual), m.alpha)

    assert_allclose(mixed(2 * e), 2 * mixed(e), atol=1e-8)
    assert_allclose(mixed(0 * e), 0)
    for k, Vk in enumerate(m.Vdot):
        assert_allclose(mixed(e)[:, k], -m.X.T @ m.W @ Vk @ m.W @ e, rtol=1e-6, atol=1e-7)
    draws = np.random.default_rng(3).normal(size=(2_000, m.N)) @ np.linalg.cholesky(m.V).T
    pairs = np.vstack([draws, -draws])  # antithetic: each odd moment is exactly zero
    of_beta, of_alpha = pairs @ m.W @ m.X, np.einsum("ra,ab,rb->r", pairs @ m.W, m.Vdot[0], pairs @ m.W)
    assert_allclose(of_beta.T @ of_alpha / len(pairs), 0, atol=1e-9)


def test_beta_derivative(m):
    """`beta-derivative`: of the GLS estimate along each variance parameter."""

    def betahat(a):
        W = np.linalg.inv(m.V_at(*m.split(a)))
        return np.linalg.solve(m.X.T @ W @ m.X, m.X.T @ W @ m.y)

    numeric = derivative(betahat, m.alpha)
    for k, Vk in enumerate(m.Vdot):
        printed = -m.Phi @ m.X.T @ m.W @ Vk @ m.W @ (m.y - m.X @ m.betahat)
        assert_allclose(printed, numeric[:, k], rtol=1e-6, atol=1e-8)


def gls_minus_ols(X, V):
    """The matrix of betahat_GLS - betahat_OLS."""
    W = np.linalg.inv(V)
    return np.linalg.solve(X.T @ W @ X, X.T @ W) - np.linalg.pinv(X)


def test_ols_gls(m, rng):
    """`thm-ols-gls`: equal for every y if and only if VX = XQ."""
    for V, invariant in ((m.V, False), (m.X @ m.X.T + np.eye(m.N), True)):
        Q = np.linalg.pinv(m.X) @ V @ m.X
        assert np.allclose(V @ m.X, m.X @ Q) == invariant
        assert np.allclose(gls_minus_ols(m.X, V), 0) == invariant


def test_balanced(balanced, rng):
    """`cor-balanced`: within or between columns with a random intercept; and X_i = Z_i."""
    m = balanced
    assert_allclose(gls_minus_ols(m.X, m.V), 0, atol=1e-10)
    n, rows, tau2 = m.n, 4, rng.uniform(0.5, 2)
    between, values = np.repeat(rng.normal(size=n), rows), np.tile(rng.normal(size=rows), (n, 1))
    within = rng.permuted(values, axis=1).ravel()  # the same mean in each group, the order is free
    V = tau2 * np.kron(np.eye(n), np.ones((rows, rows))) + m.sigma2 * np.eye(n * rows)
    ones = np.ones(n * rows)
    assert_allclose(gls_minus_ols(np.column_stack([ones, between, within]), V), 0, atol=1e-10)
    neither = np.column_stack([ones, between + within])
    assert not np.allclose(gls_minus_ols(neither, V), 0)


def test_ols_covariance(m):
    """`ols-covariance`: the covariance of the linear map that makes the OLS estimate, and lmmlib."""
    bread = np.linalg.inv(m.X.T @ m.X)
    printed = bread @ sum(X.T @ V @ X for X, _, _, V in m.groups) @ bread
    H = np.linalg.pinv(m.X)
    assert_allclose(printed, H @ m.V @ H.T)
    assert_allclose(printed, equations.ols_covariance(m.cross, *m.args))


def test_design_effect(rng):
    """`design-effect`: true over printed variance of a within and a between slope, the printed one in expectation."""
    n, rows = 40, int(rng.integers(2, 6))
    tau2, sigma2 = rng.uniform(0.5, 2, size=2)
    V, rho = block_diag(*[tau2 * np.ones((rows, rows)) + sigma2 * np.eye(rows)] * n), tau2 / (tau2 + sigma2)
    within, between = np.tile(rng.normal(size=rows), n), np.repeat(rng.normal(size=n), rows)
    for x, printed, same in (
        (within, sigma2 / (tau2 + sigma2), 1 - rho),
        (between, (sigma2 + rows * tau2) / (tau2 + sigma2), 1 + (rows - 1) * rho),
    ):
        X = np.column_stack([np.ones(n * rows), x])
        H, residual = np.linalg.pinv(X), np.eye(n * rows) - X @ np.linalg.pinv(X)
        true = (H @ V @ H.T)[1, 1]
        expected = np.trace(residual @ V) / (n * rows - 2) * np.linalg.inv(X.T @ X)[1, 1]
        assert_allclose(printed, same)
        assert_allclose(
            true / expected, printed, rtol=0.05
        )  # the expected residual variance is not quite tau2 + sigma2
        assert_allclose(true / ((tau2 + sigma2) * np.linalg.inv(X.T @ X)[1, 1]), printed)


def test_sandwich(m):
    """`sandwich`: group by group, against the pattern of blocks in one large matrix, and lmmlib."""
    r = m.y - m.X @ m.betahat
    meat = 0
    for i, (X, _, _, V) in enumerate(m.groups):
        W, ri = np.linalg.inv(V), r[m.group == i]
        meat = meat + X.T @ W @ np.outer(ri, ri) @ W @ X
    blocks = np.outer(r, r) * (m.group[:, None] == m.group)
    printed = m.Phi @ meat @ m.Phi
    assert_allclose(printed, m.Phi @ m.X.T @ m.W @ blocks @ m.W @ m.X @ m.Phi)
    assert_allclose(printed, equations.sandwich(m.design, m.betahat, *m.args))
