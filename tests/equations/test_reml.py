"""The restricted likelihood: both sides of each formula at random inputs."""

import numpy as np
from numpy.testing import assert_allclose
from scipy.linalg import block_diag, null_space

import lmmlib
from lmmlib import equations
from tests.equations.models import Model, derivative, least_eigenvalue, log_normal


def restricted(m, D=None, sigma2=None):
    """The restricted log-likelihood as printed, at (D, sigma2) or at the model's own."""
    D, sigma2 = m.D if D is None else D, m.sigma2 if sigma2 is None else sigma2
    V = m.V_at(D, sigma2)
    W = np.linalg.inv(V)
    G = m.X.T @ W @ m.X
    profile = m.loglik(np.linalg.solve(G, m.X.T @ W @ m.y), V)
    return profile - 0.5 * np.log(np.linalg.det(G)) + m.p / 2 * np.log(2 * np.pi)


def of_contrasts(m, T):
    """The log-likelihood of T'y."""
    return log_normal(T.T @ m.y, np.zeros(T.shape[1]), T.T @ m.V @ T)


def orthonormal(m):
    return null_space(m.X.T)


def test_profile_loglik(m, rng):
    """`profile-loglik`: the log-likelihood at the GLS estimate is the largest; and lmmlib."""
    profile = m.loglik(m.betahat, m.V)
    assert_allclose(profile, equations.profile_loglik(m.cross, *m.args))
    for _ in range(10):
        assert m.loglik(m.betahat + 0.2 * rng.normal(size=m.p), m.V) < profile


def test_restricted_loglik(m):
    """`restricted-loglik`: the profile less half a log-determinant plus p/2 log 2 pi; the contrasts; and lmmlib.

    The log-likelihood of orthonormal contrasts, which holds none of these terms, differs by log|X'X|/2 alone.
    """
    gap = 0.5 * np.linalg.slogdet(m.X.T @ m.X)[1]
    assert_allclose(restricted(m), of_contrasts(m, orthonormal(m)) - gap)
    assert_allclose(restricted(m), equations.restricted_loglik(m.cross, *m.args))


def test_residual_variance(m):
    """`reml-residual-variance`: without random effects the restricted likelihood has its maximum there."""
    rss = np.sum((m.y - m.X @ np.linalg.lstsq(m.X, m.y, rcond=None)[0]) ** 2)
    at = rss / (m.N - m.p)

    def likelihood(s):
        return restricted(m, 0 * m.D, s[0])

    assert_allclose(derivative(likelihood, [at]), 0, atol=1e-7)
    assert likelihood([at]) > max(likelihood([0.8 * at]), likelihood([1.2 * at]))


def test_error_contrasts(m, rng):
    """`error-contrasts`, `def-error-contrasts`: T'X = 0, mean zero for every beta, covariance T'VT."""
    T = orthonormal(m) @ rng.normal(size=(m.N - m.p, m.N - m.p))
    assert_allclose(T.T @ m.X, 0, atol=1e-10)
    assert_allclose(T.T @ m.X @ rng.normal(size=m.p), 0, atol=1e-10)
    root = np.linalg.cholesky(m.V)
    assert_allclose((T.T @ root) @ (T.T @ root).T, T.T @ m.V @ T)
    assert np.linalg.matrix_rank(np.hstack([T, m.X])) == m.N


def test_contrast_choice(m, rng):
    """`thm-contrast-choice`: T_2 = T_1 C moves the log-likelihood by -log|det C|."""
    T1, C = orthonormal(m), rng.normal(size=(m.N - m.p, m.N - m.p))
    assert_allclose(of_contrasts(m, T1 @ C), of_contrasts(m, T1) - np.linalg.slogdet(C)[1], rtol=1e-6)


def test_contrast_determinant(m):
    """`lem-contrast-determinant`: (a) the determinant, (b) the inverse."""
    T, W, X = orthonormal(m), m.W, m.X
    inner = np.linalg.inv(T.T @ m.V @ T)
    ratio = np.linalg.det(X.T @ W @ X) / np.linalg.det(X.T @ X)
    assert_allclose(np.linalg.det(T.T @ m.V @ T), np.linalg.det(m.V) * ratio)
    assert_allclose(T @ inner @ T.T, W - W @ X @ m.Phi @ X.T @ W, atol=1e-10)


def test_contrast_likelihood(m, rng):
    """`thm-contrast-likelihood`, `contrast-likelihood`: of orthonormal contrasts; -log|T'T|/2 for any others."""
    T = orthonormal(m)
    r = m.y - m.X @ m.betahat
    logdet = [np.linalg.slogdet(A)[1] for A in (m.V, m.X.T @ m.W @ m.X, m.X.T @ m.X)]
    printed = -(m.N - m.p) / 2 * np.log(2 * np.pi) - 0.5 * logdet[0] - 0.5 * logdet[1]
    printed += -0.5 * r @ m.W @ r + 0.5 * logdet[2]
    assert_allclose(printed, of_contrasts(m, T))
    assert_allclose(restricted(m) + 0.5 * logdet[2], printed)
    other = T @ rng.normal(size=(m.N - m.p, m.N - m.p))
    assert_allclose(of_contrasts(m, other), printed - 0.5 * np.linalg.slogdet(other.T @ other)[1], rtol=1e-6)


def test_reml_integral(rng):
    """`reml-integral`, `thm-reml-integral`: the likelihood summed over a fine grid of beta, constants included."""
    m = Model.draw(rng, [3, 4, 2], p=2)
    x = np.linspace(-7, 7, 41)  # the trapezoidal rule converges faster than any power here
    root = np.linalg.cholesky(m.Phi)
    grid = m.betahat + np.stack(np.meshgrid(x, x), -1).reshape(-1, 2) @ root.T
    values = np.array([m.loglik(beta, m.V) for beta in grid])
    integral = np.exp(values - values.max()).sum() * (x[1] - x[0]) ** 2 * np.linalg.det(root)
    assert_allclose(np.log(integral) + values.max(), restricted(m))
    assert_allclose(np.log(integral) + values.max(), equations.restricted_loglik(m.cross, *m.args))


def test_reml_factorisation(m):
    """`thm-reml-factorisation`, `reml-adjustment`: at any beta, and at betahat."""
    assert_allclose(m.loglik(m.beta, m.V), restricted(m) + log_normal(m.betahat, m.beta, m.Phi))
    information = np.linalg.inv(m.Phi)
    printed = m.loglik(m.betahat, m.V) - 0.5 * np.linalg.slogdet(information)[1] + m.p / 2 * np.log(2 * np.pi)
    assert_allclose(equations.restricted_loglik(m.cross, *m.args), printed)


def expected_criterion(m, which):
    """E(l_p) or E(l_R) as a function of alpha, over y with the covariance of the model; constants left out."""
    V0 = m.V

    def criterion(a):
        V = m.V_at(*m.split(a))
        W = np.linalg.inv(V)
        G = m.X.T @ W @ m.X
        P = W - W @ m.X @ np.linalg.solve(G, m.X.T @ W)
        value = -0.5 * np.linalg.slogdet(V)[1] - 0.5 * np.trace(P @ V0)
        return value - 0.5 * np.linalg.slogdet(G)[1] * (which == "restricted")

    return criterion


def test_score_unbiased(m):
    """`thm-score-unbiased`, `reml-bias`: the profile score has the mean -tr(Phi P_k)/2 <= 0, the restricted one 0."""
    profile = derivative(expected_criterion(m, "profile"), m.alpha)
    XW = m.X.T @ m.W
    printed = np.array([-0.5 * np.trace(m.Phi @ XW @ Vk @ XW.T) for Vk in m.Vdot])
    assert_allclose(printed, profile, rtol=1e-6, atol=1e-8)
    assert_allclose(derivative(expected_criterion(m, "restricted"), m.alpha), 0, atol=1e-7)
    definite = [least_eigenvalue(Vk) > -1e-10 for Vk in m.Vdot]
    assert definite == [True, False, True, True]  # the second is the covariance of intercept and slope
    assert (printed[definite] <= 0).all()


def test_reml_information(m):
    """`reml-information`: minus the second derivative of the expected restricted log-likelihood; and lmmlib."""
    printed = [[0.5 * np.trace(m.P @ k @ m.P @ l) for l in m.Vdot] for k in m.Vdot]
    criterion = expected_criterion(m, "restricted")
    numeric = -derivative(lambda a: derivative(criterion, a, h=4e-3), m.alpha, h=4e-3)
    assert_allclose(printed, numeric, rtol=1e-5, atol=1e-5)
    assert_allclose(printed, equations.information_variance(m.cross, *m.args, method="REML", kind="expected"))


def fitted(m, method="REML"):
    design = m.design
    result = lmmlib.fit_design(design, method=method)
    assert result.converged
    return result.D.to_numpy(), result.sigma2


def test_balanced_reml(rng):
    """`thm-balanced-reml`: part 1, REML and ML of X_i = Z_i in closed form; a singular D where that is none.

    Part 2, a random intercept with a between and a within column: the two mean squares, or RSS/(N - p).
    """
    m = Model.same(rng, n=12, m=5)
    Z, rows, q, n = m.of(0)[1], 5, 2, m.n
    Y = m.y.reshape(n, rows)
    b = Y @ np.linalg.pinv(Z).T
    sigma2 = np.sum((Y - b @ Z.T) ** 2) / (n * (rows - q))
    S, inverse = np.cov(b.T), np.linalg.inv(Z.T @ Z)
    for method, share in (("REML", 1), ("ML", (n - 1) / n)):
        D = share * S - sigma2 * inverse
        assert least_eigenvalue(D) > 0
        ours = fitted(m, method)
        assert_allclose(ours[0], D, rtol=1e-4, atol=1e-5)
        assert_allclose(ours[1], sigma2, rtol=1e-5)
    shrunk = (Y - b @ Z.T + 0.05 * b @ Z.T).ravel()
    low = Model(m.X, m.Z, shrunk, m.group, m.beta, m.D, m.sigma2)
    assert least_eigenvalue(0.05**2 * S - sigma2 * inverse) < 0
    assert abs(least_eigenvalue(fitted(low)[0])) < 1e-8
    mean_squares(rng)


def mean_squares(rng):
    """Part 2: what the mean squares expect, and the estimates on both sides of MSB = MSW."""
    n, rows = 10, 4
    N, group = n * rows, np.repeat(np.arange(n), rows)
    X = np.column_stack([np.ones(N), np.repeat(rng.normal(size=n), rows), np.tile(rng.normal(size=rows), n)])
    J = np.kron(np.eye(n), np.ones((rows, rows)) / rows)
    M = np.eye(N) - X @ np.linalg.pinv(X)
    p_B, p_W = (np.linalg.matrix_rank(A @ X, tol=1e-8) for A in (J, np.eye(N) - J))
    assert (p_B, p_W) == (2, 1)
    sigma2, tau2 = rng.uniform(0.5, 2, 2)
    MVM = M @ (sigma2 * np.eye(N) + tau2 * rows * J) @ M
    within_mean = (np.trace(MVM) - np.trace(J @ MVM)) / (n * (rows - 1) - p_W)
    assert_allclose([np.trace(J @ MVM) / (n - p_B), within_mean], [sigma2 + rows * tau2, sigma2])
    y = 2 * rng.normal(size=n)[group] + rng.normal(size=N)
    between, within = J @ M @ y, M @ y - J @ M @ y
    ratio = (between @ between / (n - p_B)) / (within @ within / (n * (rows - 1) - p_W))
    for wanted in (5.0, 1.02, 0.98, 0.1):  # times MSW
        r = within + between * np.sqrt(wanted / ratio)
        MSB, MSW = r @ J @ r / (n - p_B), (r @ r - r @ J @ r) / (n * (rows - 1) - p_W)
        m = Model(X, np.ones((N, 1)), X @ [1, 2, 3] + r, group, np.zeros(3), np.eye(1), 1.0)
        D, sigma2 = fitted(m)
        if MSB >= MSW:
            assert_allclose([D[0, 0], sigma2], [(MSB - MSW) / rows, MSW], rtol=1e-5)
        else:
            assert D[0, 0] < 1e-8
            assert_allclose(sigma2, r @ r / (N - 3), rtol=1e-7)
        assert (MSB >= MSW) == (wanted >= 1)


def test_between_column(rng):
    """`prop-between-column`, `between-column-fall`: REML's tau2 falls by (F - 1) MSB_1 / m(nu + 1), sigma2 stays.

    F is that of ordinary least squares on the group means; ML's tau2 falls by S/nm.
    """
    n, rows = 12, 4
    group = np.repeat(np.arange(n), rows)
    means = 3 * rng.normal(size=n)
    y = means[group] + rng.normal(size=n * rows)
    within = np.tile(rng.normal(size=rows), n)
    small = np.column_stack([np.ones(n), rng.normal(size=n)])
    ybar = y.reshape(n, rows).mean(axis=1)
    left = ybar - small @ np.linalg.lstsq(small, ybar, rcond=None)[0]
    noise = rng.normal(size=n)
    idle = noise - left * (left @ noise) / (left @ left)  # explains next to nothing: F < 1
    signs = set()
    telling = left / np.linalg.norm(left) + idle / np.linalg.norm(idle)  # explains a half
    for more in (telling, idle, noise):
        large = np.column_stack([small, more])
        rss = [rows * np.linalg.lstsq(A, ybar, rcond=None)[1].item() for A in (small, large)]
        S, nu = rss[0] - rss[1], n - 3
        MSB_1 = rss[1] / nu
        F = S / MSB_1
        models = [
            Model(np.column_stack([A[group], within]), np.ones((n * rows, 1)), y, group, None, np.eye(1), 1.0)
            for A in (small, large)
        ]
        (before, sigma2_before), (after, sigma2_after) = (fitted(m) for m in models)
        assert min(before[0, 0], after[0, 0]) > 0.1
        assert_allclose(sigma2_after, sigma2_before, rtol=1e-6)
        fall = before[0, 0] - after[0, 0]
        assert_allclose(fall, (F - 1) * MSB_1 / (rows * (nu + 1)), rtol=1e-4, atol=1e-6)
        assert_allclose(fall, (S - MSB_1) / (rows * (nu + 1)), rtol=1e-4, atol=1e-6)
        assert_allclose(fall, (rss[0] / (nu + 1) - MSB_1) / rows, rtol=1e-4, atol=1e-6)
        assert (fall > 0) == (F > 1)
        signs.add(fall > 0)
        (before, _), (after, _) = (fitted(m, "ML") for m in models)
        assert_allclose(before[0, 0] - after[0, 0], S / (n * rows), rtol=1e-4, atol=1e-6)
    assert signs == {True, False}


def test_profiled_criterion(m, rng):
    """`profiled-reml-criterion`: -2 l_R at sigma2 = r^2/(N - p), less than at any other; and lmmlib."""
    L = np.array([[rng.uniform(0.5, 1.5), 0], [rng.normal(), rng.uniform(0.5, 1.5)]])
    V0 = m.V_at(L @ L.T, 1.0)
    W0 = np.linalg.inv(V0)
    G0 = m.X.T @ W0 @ m.X
    r = m.y - m.X @ np.linalg.solve(G0, m.X.T @ W0 @ m.y)
    r2, df = r @ W0 @ r, m.N - m.p
    logdet = sum(np.linalg.slogdet(V0[np.ix_(k, k)])[1] for k in (m.group == i for i in range(m.n)))
    printed = logdet + np.linalg.slogdet(G0)[1] + df * (1 + np.log(2 * np.pi * r2 / df))
    s2 = r2 / df
    assert_allclose(printed, -2 * restricted(m, s2 * L @ L.T, s2))
    assert_allclose(printed, -2 * equations.restricted_loglik(m.cross, s2 * L @ L.T, s2))
    assert printed < min(-2 * restricted(m, k * s2 * L @ L.T, k * s2) for k in (0.8, 1.25))


def test_printed_formula(m, rng):
    """`wrong-restricted-loglik`, `lem-printed-formula`: D cancels from the determinants, and a larger D is better."""
    same = Model(m.Z, m.Z, m.y, m.group, m.beta[:2], m.D, m.sigma2)

    def printed(D):
        V = same.V_at(D, m.sigma2)
        W = np.linalg.inv(V)
        r = m.y - m.Z @ np.linalg.solve(m.Z.T @ W @ m.Z, m.Z.T @ W @ m.y)
        value = 0.0
        for i in range(m.n):
            k = m.group == i
            Vi, Z = V[np.ix_(k, k)], m.Z[k]
            logdets = np.linalg.slogdet(Vi)[1] + np.linalg.slogdet(Z.T @ np.linalg.solve(Vi, Z))[1]
            assert_allclose(logdets, (k.sum() - m.q) * np.log(m.sigma2) + np.linalg.slogdet(Z.T @ Z)[1])
            value -= 0.5 * logdets + 0.5 * r[k] @ np.linalg.solve(Vi, r[k])
        return value

    # The three terms as printed, with one determinant for all groups at once.
    W = same.W
    r = m.y - m.Z @ same.betahat
    X_i = block_diag(*[m.Z[m.group == i] for i in range(m.n)])
    together = -0.5 * np.linalg.slogdet(same.V)[1] - 0.5 * np.linalg.slogdet(X_i.T @ W @ X_i)[1] - 0.5 * r @ W @ r
    assert_allclose(printed(m.D), together)
    values = [printed(m.D + k * np.eye(2)) for k in (0, 1, 2, 4, 8)]
    assert (np.diff(values) > 0).all()


def test_free_covariance(rng):
    """`unstructured-reml`: where it returns V, the restricted likelihood of free matrices is highest."""
    n, m, p = 9, 3, 4
    X, y, arm = rng.normal(size=(2 * n, m, p)), rng.normal(size=(2 * n, m)), np.repeat([0, 1], n)
    stacked = X.reshape(-1, p)

    def full(V):
        return block_diag(*[V[a] for a in arm])

    def right_hand_side(V):
        Phi = np.linalg.inv(stacked.T @ np.linalg.solve(full(V), stacked))
        r = y - X @ (Phi @ stacked.T @ np.linalg.solve(full(V), y.ravel()))
        each = [np.outer(r_i, r_i) + X_i @ Phi @ X_i.T for r_i, X_i in zip(r, X, strict=True)]
        return np.array([np.mean([each[i] for i in np.flatnonzero(arm == a)], axis=0) for a in (0, 1)])

    T = null_space(stacked.T)

    def ell(V):
        return log_normal(T.T @ y.ravel(), np.zeros(T.shape[1]), T.T @ full(V) @ T)

    V = np.array([np.eye(m), np.eye(m)])
    heights = [ell(V)]
    for _ in range(400):
        V = right_hand_side(V)
        heights.append(ell(V))
    assert_allclose(right_hand_side(V), V, rtol=1e-10, atol=1e-10)
    assert (np.diff(heights) > -1e-9).all()
    for _ in range(20):
        step = rng.normal(size=(2, m, m)) / 100
        assert ell(V + step + step.transpose(0, 2, 1)) < ell(V)
    # On the way there the step is the score: n_a V_a less the sum is not zero where the likelihood still rises.
    assert heights[1] - heights[0] > 1e-3
