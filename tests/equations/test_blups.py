"""Predictions of the random effects and their errors: both sides of each formula at random inputs."""

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose
from scipy.linalg import block_diag, null_space

import lmmlib
from lmmlib.equations.blup import conditional_covariance, random_effects
from lmmlib.equations.mixed_model_equations import henderson
from lmmlib.equations.residuals import standard_errors
from tests.equations.models import Model, blup_matrix, effects, error_covariance, least_eigenvalue, log_normal


def test_joint_normal(m):
    """`joint-normal`: linear maps of independent b and epsilon."""
    _, Z, _, V = m.of(1)
    A = np.block([[np.eye(2), np.zeros((2, len(Z)))], [Z, np.eye(len(Z))]])
    printed = np.block([[m.D, m.D @ Z.T], [Z @ m.D, V]])
    assert_allclose(printed, A @ block_diag(m.D, m.sigma2 * np.eye(len(Z))) @ A.T, atol=1e-12)


def test_conditional_normal(rng):
    """`lem-conditional-normal`: the joint density is that of v times the normal one of u given v."""
    A, mean, point = rng.normal(size=(5, 5)), rng.normal(size=5), rng.normal(size=5)
    S = A @ A.T
    u, v = slice(0, 2), slice(2, 5)
    B = S[u, v] @ np.linalg.inv(S[v, v])
    given = log_normal(point[u], mean[u] + B @ (point[v] - mean[v]), S[u, u] - B @ S[v, u])
    assert_allclose(log_normal(point[v], mean[v], S[v, v]) + given, log_normal(point, mean, S))


def test_conditional_b(m, rng):
    """`thm-conditional-b`, `blup-known-beta`, `conditional-variance`, `conditional-factored`: by Bayes; and lmmlib.

    log p(b | y_i) is log p(y_i | b) + log p(b) less the marginal density; other groups do not matter.
    """
    L = np.linalg.cholesky(m.D)
    ours = random_effects(m.cross, m.beta, *m.args), conditional_covariance(m.cross, *m.args)
    everything = np.linalg.inv(m.Zbig.T @ m.Zbig / m.sigma2 + np.kron(np.eye(m.n), np.linalg.inv(m.D)))
    assert_allclose(everything * (1 - np.kron(np.eye(m.n), np.ones((2, 2)))), 0, atol=1e-12)
    for i, (X, Z, y, V) in enumerate(m.groups):
        r, W = y - X @ m.beta, np.linalg.inv(V)
        mean, variance = m.D @ Z.T @ W @ r, m.D - m.D @ Z.T @ W @ Z @ m.D
        Q = L.T @ Z.T @ Z @ L + m.sigma2 * np.eye(2)
        assert_allclose(L @ np.linalg.inv(Q) @ L.T @ Z.T @ r, mean)
        assert_allclose(m.sigma2 * L @ np.linalg.inv(Q) @ L.T, variance)
        b = rng.normal(size=2)
        joint = log_normal(y, X @ m.beta + Z @ b, m.sigma2 * np.eye(len(y))) + log_normal(b, 0, m.D)
        assert_allclose(log_normal(b, mean, variance), joint - log_normal(y, X @ m.beta, V))
        assert_allclose(ours[0][i], mean)
        assert_allclose(ours[1][i], variance)


def test_best_predictor(rng):
    """`thm-best-predictor`, `mse-matrix`: seven points for (b, y), any predictor: its error exceeds that of E(b | y).

    E{(b* - b)'A(b* - b)} >= E{(btilde - b)'A(btilde - b)}.
    """
    y = np.array([0, 0, 0, 1, 1, 2, 2])
    b, weights = rng.normal(size=(7, 2)), rng.dirichlet(np.ones(7))
    mean, within = np.empty((7, 2)), np.zeros((2, 2))
    for value in range(3):
        k = y == value
        mean[k] = weights[k] @ b[k] / weights[k].sum()
        within += (b[k] - mean[k]).T @ np.diag(weights[k]) @ (b[k] - mean[k])  # P(y) Var(b | y)

    def mse(prediction, target):
        return (prediction - target).T @ np.diag(weights) @ (prediction - target)

    for _ in range(10):
        other = rng.normal(size=(3, 2))[y]
        assert_allclose(mse(other, b), within + mse(other, mean))
        assert least_eigenvalue(mse(other, b) - mse(mean, b)) > 0
        root = rng.normal(size=(2, 2))
        A = root @ root.T
        assert np.trace(A @ mse(other, b)) > np.trace(A @ mse(mean, b))
    assert_allclose(mse(mean, b), within)


def test_shrink_mse(rng):
    """`shrink-mse`: the variance of k ebar - b, a linear map; least at the weight of the chapter."""
    n, tau2, sigma2, k = int(rng.integers(2, 6)), *rng.uniform(0.5, 2, size=2), rng.uniform()

    def printed(k):
        return (1 - k) ** 2 * tau2 + k**2 * sigma2 / n

    c = np.array([k - 1, *np.full(n, k / n)])
    assert_allclose(printed(k), c @ np.diag([tau2, *np.full(n, sigma2)]) @ c)
    w = tau2 / (tau2 + sigma2 / n)
    assert printed(w) < min(printed(w - 0.01), printed(w + 0.01))


def test_blup(m, rng):
    """`thm-blup`, `blup`, `prediction-error-variance`, `def-blup`: unbiased, and the least error covariance.

    Cov(Cy - t) - Cov(Chat y - t) >= 0 for every C with CX = X_0; lmmlib and the errors of each b_i.
    """
    X0, Z0 = rng.normal(size=(2, m.p)), rng.normal(size=(2, m.n * m.q))
    best = blup_matrix(m, X0, Z0)
    assert_allclose(best @ m.X, X0, atol=1e-10)
    least = error_covariance(m, best, Z0)
    for _ in range(10):
        other = best + 0.3 * rng.normal(size=(2, m.N - m.p)) @ null_space(m.X.T).T
        assert_allclose(other @ m.X, X0, atol=1e-10)
        assert least_eigenvalue(error_covariance(m, other, Z0) - least) > 0
    ours = henderson(m.cross, *m.args)
    for i, (X, Z, y, V) in enumerate(m.groups):
        S = m.D @ Z.T @ np.linalg.inv(V)
        bhat = S @ (y - X @ m.betahat)
        C = blup_matrix(m, np.zeros((2, m.p)), effects(m, i))
        assert_allclose(bhat, C @ m.y)
        assert_allclose(bhat, ours.b[i])
        assert_allclose(bhat, random_effects(m.cross, m.betahat, *m.args)[i])
        T = S @ X
        variance = m.D - S @ Z @ m.D + T @ m.Phi @ T.T
        assert_allclose(variance, error_covariance(m, C, effects(m, i)))
        assert_allclose(variance, ours.cov_b[i])


def test_blup_key(m, rng):
    """`blup-key`: the covariance of the error with y, both forms, and as linear maps."""
    X0, Z0 = rng.normal(size=(2, m.p)), rng.normal(size=(2, m.n * m.q))
    G = np.kron(np.eye(m.n), m.D)
    C = blup_matrix(m, X0, Z0)
    GZ, XPX = Z0 @ G @ m.Zbig.T, m.X @ m.Phi @ m.X.T
    first = X0 @ m.Phi @ m.X.T + GZ - GZ @ m.W @ XPX - GZ
    assert_allclose(C @ m.V - GZ, first, atol=1e-10)
    assert_allclose((X0 - GZ @ m.W @ m.X) @ m.Phi @ m.X.T, first, atol=1e-10)
    as_maps = (C @ m.Zbig - Z0) @ G @ m.Zbig.T + m.sigma2 * C
    assert_allclose(first, as_maps, atol=1e-10)


def test_shrinkage(rng):
    """`prop-shrinkage`, `shrinkage-weight`, `shrinkage-tau-sigma`, `shrinkage-rho`: against the matrix formulas."""
    m = Model.draw(rng, [3, 5, 4, 2], q=1)
    tau2, sigma2, rho = m.D[0, 0], m.sigma2, m.D[0, 0] / (m.D[0, 0] + m.sigma2)
    mu = rng.normal()
    for X, Z, y, V in m.groups:
        n, W = len(y), np.linalg.inv(V)
        w, e = tau2 / (tau2 + sigma2 / n), (y - X @ m.betahat).mean()
        assert_allclose(w * e, m.D @ Z.T @ W @ (y - X @ m.betahat))
        variance = (m.D - m.D @ Z.T @ W @ Z @ m.D)[0, 0]
        assert_allclose([(1 - w) * tau2, w * sigma2 / n], variance)
        level = (mu + m.D @ Z.T @ W @ (y - mu))[0]
        assert_allclose((mu / tau2 + n / sigma2 * y.mean()) / (1 / tau2 + n / sigma2), level)
        assert_allclose((mu / rho + n / (1 - rho) * y.mean()) / (1 / rho + n / (1 - rho)), level)


def test_matrix_shrinkage(rng):
    """`thm-shrinkage`, `shrinkage-matrix`: W_i times the group's own coefficients; eigenvalues in [0, 1)."""
    m = Model.draw(rng, [3, 5, 4, 3])
    for X, Z, y, V in m.groups:
        own = np.linalg.lstsq(Z, y - X @ m.betahat, rcond=None)[0]
        Wi = m.D @ np.linalg.inv(m.D + m.sigma2 * np.linalg.inv(Z.T @ Z))
        S = m.D @ Z.T @ np.linalg.inv(V)
        assert_allclose(Wi @ own, S @ (y - X @ m.betahat))
        assert_allclose((np.eye(2) - Wi) @ m.D, m.D - S @ Z @ m.D)
        values = np.linalg.eigvals(Wi)
        assert (np.abs(values.imag) < 1e-12).all() and (values.real >= 0).all() and (values.real < 1).all()
        beta = m.beta[:2]  # X_i = Z_i: a weighted average of coefficients
        line = Wi @ np.linalg.lstsq(Z, y, rcond=None)[0] + (np.eye(2) - Wi) @ beta
        assert_allclose(line, beta + S @ (y - Z @ beta))


def test_joint_density(m, rng):
    """`joint-density`: proportional to the density of y given b times that of b."""

    def exponent(b):
        r = m.y - m.X @ m.beta - m.Zbig @ b.ravel()
        return -(r @ r) / (2 * m.sigma2) - 0.5 * sum(bi @ np.linalg.inv(m.D) @ bi for bi in b)

    def density(b):
        given = log_normal(m.y, m.X @ m.beta + m.Zbig @ b.ravel(), m.sigma2 * np.eye(m.N))
        return given + sum(log_normal(bi, 0, m.D) for bi in b)

    one, two = rng.normal(size=(2, m.n, m.q))
    assert_allclose(exponent(one) - exponent(two), density(one) - density(two))


def test_henderson(m):
    """`thm-henderson`, `mixed-model-equations`, `henderson-inverse`: GLS, BLUP and the covariance of their errors."""
    X, Z, p = m.X, m.Zbig, m.p
    M = np.block([[X.T @ X, X.T @ Z], [Z.T @ X, Z.T @ Z + m.sigma2 * np.kron(np.eye(m.n), np.linalg.inv(m.D))]])
    solution = np.linalg.solve(M, np.concatenate([X.T @ m.y, Z.T @ m.y]))
    ours = henderson(m.cross, *m.args)
    assert_allclose(solution[:p], m.betahat)
    assert_allclose(solution[p:], blup_matrix(m, np.zeros((m.n * m.q, p)), np.eye(m.n * m.q)) @ m.y)
    assert_allclose(solution[:p], ours.beta)
    assert_allclose(solution[p:], ours.b.ravel())
    C = blup_matrix(m, np.vstack([np.eye(p), np.zeros((m.n * m.q, p))]), np.eye(p + m.n * m.q)[:, p:])
    errors = error_covariance(m, C, np.eye(p + m.n * m.q)[:, p:])
    assert_allclose(m.sigma2 * np.linalg.inv(M), errors, atol=1e-10)


def test_henderson_factored(m):
    """`henderson-factored`: the factored equations hold for betahat and uhat, with bhat_i = Lambda_D uhat_i."""
    L, total = np.linalg.cholesky(m.D), m.X.T @ m.X @ m.betahat
    for X, Z, y, V in m.groups:
        u = np.linalg.solve(L, m.D @ Z.T @ np.linalg.inv(V) @ (y - X @ m.betahat))
        total = total + X.T @ Z @ L @ u
        left = L.T @ Z.T @ X @ m.betahat + (L.T @ Z.T @ Z @ L + m.sigma2 * np.eye(2)) @ u
        assert_allclose(left, L.T @ Z.T @ y)
    assert_allclose(total, m.X.T @ m.y)


def test_mse_decomposition(m):
    """`thm-mse-decomposition`, `mse-decomposition`: with an estimate of two values that residuals choose.

    The error of the BLUP is uncorrelated with all residuals, so that the third part adds.
    """
    i, zero = 1, np.zeros((2, m.p))
    best = blup_matrix(m, zero, effects(m, i))
    wrong = Model(m.X, m.Z, m.y, m.group, m.beta, 4 * m.D, m.sigma2 / 3)
    other = blup_matrix(wrong, zero, effects(m, i))
    M = np.eye(m.N) - m.X @ np.linalg.pinv(m.X)
    G = np.kron(np.eye(m.n), m.D)
    with_residuals = ((best @ m.Zbig - effects(m, i)) @ G @ m.Zbig.T + m.sigma2 * best) @ M
    assert_allclose(with_residuals, 0, atol=1e-10)
    rng = np.random.default_rng(1)
    b = rng.normal(size=(30_000, m.n * m.q)) @ np.linalg.cholesky(G).T
    y = b @ m.Zbig.T + np.sqrt(m.sigma2) * rng.normal(size=(30_000, m.N))
    large = (np.einsum("ra,ab,rb->r", y, M, y) > np.trace(M @ m.V))[:, None]
    prediction = np.where(large, y @ other.T, y @ best.T)
    error, extra = prediction - b @ effects(m, i).T, prediction - y @ best.T
    X, Z, _, V = m.of(i)
    S = m.D @ Z.T @ np.linalg.inv(V)
    printed = m.D - S @ Z @ m.D + S @ X @ m.Phi @ X.T @ S.T + extra.T @ extra / len(y)
    size = np.sqrt(np.outer(np.diag(printed), np.diag(printed)))
    assert_allclose(error.T @ error / len(y) / size, printed / size, atol=0.04)


def test_difference(m):
    """`prop-difference`: the errors of two groups as linear maps; no last term for equal designs."""
    zero = np.zeros((2, m.p))

    def printed(m, i, k):
        variance, T = 0.0, []
        for j in (i, k):
            X, Z, _, V = m.of(j)
            S = m.D @ Z.T @ np.linalg.inv(V)
            variance = variance + m.D - S @ Z @ m.D
            T.append(S @ X)
        return variance, (T[0] - T[1]) @ m.Phi @ (T[0] - T[1]).T

    contrast = effects(m, 0) - effects(m, 3)
    assert_allclose(sum(printed(m, 0, 3)), error_covariance(m, blup_matrix(m, zero, contrast), contrast))
    X, Z = m.X.copy(), m.Z.copy()
    X[m.group == 0], Z[m.group == 0] = X[m.group == 1][:3], Z[m.group == 1][:3]
    keep = (m.group != 1) | (np.arange(m.N) < 6)
    same = Model(X[keep], Z[keep], m.y[keep], m.group[keep], m.beta, m.D, m.sigma2)
    assert_allclose(printed(same, 0, 1)[1], 0, atol=1e-12)


def test_prediction(rng):
    """`thm-prediction`, `prediction-variance`, `new-group-variance`: as linear maps, and lmmlib's standard errors."""
    base = Model.draw(rng, [4, 5, 4, 3, 6, 5, 6, 4], p=2)
    data = pd.DataFrame({"y": base.y, "x": base.X[:, 1], "g": base.group})
    fitted = lmmlib.fit("y ~ x + (x | g)", data)
    m = Model(base.X, base.X, base.y, base.group, base.beta, fitted.D.to_numpy(), fitted.sigma2)
    x = np.array([1, rng.normal()])
    z, i = x, 1
    X, Z, _, V = m.of(i)
    S = m.D @ Z.T @ np.linalg.inv(V)
    gap = x - (S @ X).T @ z
    known = z @ (m.D - S @ Z @ m.D) @ z + gap @ m.Phi @ gap
    Z0 = z @ effects(m, i)
    assert_allclose(known, error_covariance(m, blup_matrix(m, x[None], Z0[None]), Z0[None])[0, 0])
    new = x @ m.Phi @ x + z @ m.D @ z
    K = m.Phi @ m.X.T @ m.W
    assert_allclose(new, x @ K @ m.V @ K.T @ x + z @ m.D @ z)
    rows = pd.DataFrame({"x": x[1], "g": [i, 99]})
    for interval, extra in (("confidence", 0), ("prediction", m.sigma2)):
        se = fitted.predict(rows, interval=interval)["se"]
        assert_allclose(se**2, [known + extra, new + extra], rtol=1e-6)
    mean = fitted.predict(rows, of="population", interval="confidence")["se"]
    assert_allclose(mean**2, x @ m.Phi @ x, rtol=1e-6)


def test_blup_spread(rng):
    """`prop-blup-spread`, `blup-spread`, `prop-blup-shape`: Var(btilde_i) = W_i D <= D; shape; balanced designs."""
    m = Model.draw(rng, [3, 5, 4, 3])
    for _, Z, _, V in m.groups:
        S = m.D @ Z.T @ np.linalg.inv(V)
        spread = S @ V @ S.T
        assert_allclose(spread, m.D - (m.D - S @ Z @ m.D))
        assert_allclose(spread, m.D @ np.linalg.inv(m.D + m.sigma2 * np.linalg.inv(Z.T @ Z)) @ m.D)
        assert least_eigenvalue(m.D - spread) > 0
    # Shape: b with four values, errors normal, so that moments of w(b + ebar) are exact.
    values, weights = rng.normal(size=4), rng.dirichlet(np.ones(4))
    values -= weights @ values
    moment = [weights @ values**k for k in range(5)]
    tau2, n, s2 = moment[2], 3, m.sigma2 / 3
    w = tau2 / (tau2 + s2)
    variance, third = w**2 * (tau2 + s2), w**3 * moment[3]
    fourth = w**4 * (moment[4] + 6 * tau2 * s2 + 3 * s2**2)
    assert_allclose(variance, w * tau2)
    assert_allclose(third / variance**1.5, w**1.5 * moment[3] / tau2**1.5)
    assert_allclose(fourth / variance**2 - 3, w**2 * (moment[4] / tau2**2 - 3))
    n, rows = 8, 4
    group, x = np.repeat(np.arange(n), rows), np.tile(rng.normal(size=rows), n)
    y = 2 * rng.normal(size=n)[group] + x + rng.normal(size=n * rows)
    fitted = lmmlib.fit("y ~ x + (1 | g)", pd.DataFrame({"y": y, "x": x, "g": group}))
    tau2 = fitted.D.to_numpy()[0, 0]
    w = tau2 / (tau2 + fitted.sigma2 / rows)
    assert_allclose(fitted.blups().b.to_numpy().var(ddof=1), w * tau2, rtol=1e-4)


def test_one_more(m, rng):
    """`one-more`: a measurement after the others against all at once."""
    X, Z, y, _ = m.of(4)

    def given(rows):
        C = np.linalg.inv(Z[rows].T @ Z[rows] / m.sigma2 + np.linalg.inv(m.D))
        return C @ Z[rows].T @ (y[rows] - X[rows] @ m.beta) / m.sigma2, C

    b, C = given(slice(0, 5))
    x, z = X[5], Z[5]
    k = C @ z / (z @ C @ z + m.sigma2)
    assert_allclose(b + k * (y[5] - x @ m.beta - z @ b), given(slice(0, 6))[0])
    assert_allclose(C - np.outer(k, z @ C), given(slice(0, 6))[1])


def test_residual_covariances(m):
    """`prop-residual-covariances`, `residual-covariances`: the residuals as linear maps of y, and lmmlib's."""
    G, beta, predicted = np.kron(np.eye(m.n), m.D), m.betahat, random_effects(m.cross, m.betahat, *m.args)
    hat = m.X @ m.Phi @ m.X.T @ m.W
    of_r = np.eye(m.N) - hat
    of_e = of_r - m.Zbig @ G @ m.Zbig.T @ m.W @ of_r
    e = m.y - m.X @ beta - m.Zbig @ predicted.ravel()
    assert_allclose(of_e @ m.y, e, atol=1e-9)
    assert_allclose(e, m.sigma2 * m.W @ (m.y - m.X @ beta), atol=1e-9)
    marginal = m.V - m.X @ m.Phi @ m.X.T
    conditional = m.sigma2**2 * (m.W - m.W @ m.X @ m.Phi @ m.X.T @ m.W)
    assert_allclose(of_r @ m.V @ of_r.T, marginal, atol=1e-9)
    assert_allclose(of_e @ m.V @ of_e.T, conditional, atol=1e-9)
    for of, covariance in (("population", marginal), ("group", conditional)):
        assert_allclose(standard_errors(m.design, m.cross, *m.args, of=of) ** 2, np.diag(covariance))


def test_leave_group_out(rng):
    """`prop-leave-group-out`, `leave-group-out`, `cook-group`: GLS of the other groups; and lmmlib's table."""
    drawn = Model.draw(rng, [4, 3, 5, 4, 6, 3], p=2)
    data = pd.DataFrame({"y": drawn.y, "x": drawn.X[:, 1], "g": drawn.group})
    fitted = lmmlib.fit("y ~ x + (x | g)", data)
    m = Model(drawn.X, drawn.X, drawn.y, drawn.group, drawn.beta, fitted.D.to_numpy(), fitted.sigma2)
    found = fitted.influence()
    for i in range(m.n):
        X, _, y, V = m.of(i)
        W, keep = np.linalg.inv(V), m.group != i
        bread = np.linalg.inv(np.linalg.inv(m.Phi) - X.T @ W @ X)
        printed = m.betahat - bread @ X.T @ W @ (y - X @ m.betahat)
        V_left = m.V[np.ix_(keep, keep)]
        left = np.linalg.solve(V_left, np.column_stack([m.X, m.y])[keep])
        alone = np.linalg.solve(m.X[keep].T @ left[:, :-1], m.X[keep].T @ left[:, -1])
        move = printed - m.betahat
        assert_allclose(printed, alone)
        ours = found.iloc[i].astype(float)
        assert_allclose(ours[["(Intercept)", "x"]], move, rtol=1e-6, atol=1e-9)
        assert_allclose(ours["cook"], move @ np.linalg.solve(m.Phi, move) / m.p, rtol=1e-6)
        assert_allclose(ours["leverage"], np.trace(m.Phi @ X.T @ W @ X), rtol=1e-6)


def test_inference_space(rng):
    """`prop-inference-space`, `inference-space`: the error as a linear map, in unbalanced groups with Z_i = X_i A."""
    base = Model.draw(rng, [4, 3, 5, 6, 3], p=3)
    A = rng.normal(size=(3, 2))
    m = Model(base.X, base.X @ A, base.y, base.group, base.beta, base.D, base.sigma2)
    x, mean = rng.normal(size=3), np.tile(np.eye(2), m.n) / m.n
    z = A.T @ x
    assert_allclose(random_effects(m.cross, m.betahat, *m.args).sum(axis=0), 0, atol=1e-9)
    for kept in (0 * z, z, z * [1, 0], z * [0, 1], rng.normal(size=2)):
        target = (kept @ mean)[None]
        best = blup_matrix(m, x[None], target)
        gap = z - kept
        printed = x @ m.Phi @ x - z @ m.D @ z / m.n + gap @ m.D @ gap / m.n
        assert_allclose(best @ m.y, x @ m.betahat)
        assert_allclose(printed, error_covariance(m, best, target)[0, 0])


def test_fieller(rng):
    """`fieller`: a ratio is in the set exactly if the t test of a - rho b does not reject."""
    beta, Phi, t = np.array([2.0, 1.0]), np.array([[0.09, 0.02], [0.02, 0.04]]), 2.1
    c, d = np.array([1.0, 0.3]), np.array([-0.2, 1.0])
    a, b, v_a, v_b, v_ab = c @ beta, d @ beta, c @ Phi @ c, d @ Phi @ d, c @ Phi @ d
    for rho in rng.uniform(-2, 8, 200):
        inside = (a - rho * b) ** 2 <= t**2 * (v_a - 2 * rho * v_ab + rho**2 * v_b)
        L = c - rho * d
        assert inside == (abs(L @ beta) / np.sqrt(L @ Phi @ L) <= t)
