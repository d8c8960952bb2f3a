"""Within and between groups, the corrected sandwich, bands, marginal means: both sides at random inputs."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, stats
from scipy.linalg import block_diag, sqrtm

import lmmlib


@pytest.fixture
def panel(rng):
    """Unbalanced groups: x (N, 2), its group means, a column of the groups, V and y; the indicators of the groups."""
    sizes = rng.integers(1, 6, 9)
    groups = np.repeat(np.eye(9), sizes, axis=0)
    x = rng.normal(size=(len(groups), 2)) + groups @ rng.normal(size=(9, 2))
    means = groups @ (groups.T @ x / sizes[:, None])
    constant = groups @ np.column_stack([np.ones(9), rng.normal(size=9)])
    tau2, sigma2 = rng.uniform(0.5, 2, size=2)
    V = tau2 * groups @ groups.T + sigma2 * np.eye(len(groups))
    return x, means, constant, V, rng.normal(size=len(groups)), groups, sigma2


def fit(X, V, y):
    W = np.linalg.inv(V)
    Phi = np.linalg.inv(X.T @ W @ X)
    return Phi @ X.T @ W @ y, Phi


def within(x, means, y):
    """The estimator as it is printed."""
    d = x - means
    return np.linalg.inv(sum(np.outer(row, row) for row in d)) @ sum(
        row * value for row, value in zip(d, y, strict=True)
    )


def test_within_estimator(panel):
    """`within-estimator`: least squares with one free intercept for each group."""
    x, means, _, _, y, groups, _ = panel
    free = np.linalg.lstsq(np.column_stack([x, groups]), y)[0]
    assert_allclose(within(x, means, y), free[:2])


def test_mundlak(panel):
    """`thm-mundlak`: GLS with the group means, for any tau2; without them it is another number."""
    x, means, constant, V, y, _, sigma2 = panel
    for tau2 in (0, 1, 50):
        other = sigma2 * np.eye(len(y)) + tau2 * (V - sigma2 * np.eye(len(y)))
        beta, Phi = fit(np.column_stack([x, means, constant]), other, y)
        assert_allclose(beta[:2], within(x, means, y))
        assert_allclose(Phi[:2, :2], sigma2 * np.linalg.inv((x - means).T @ (x - means)))
        assert not np.allclose(fit(np.column_stack([x, constant]), other, y)[0][:2], beta[:2])


def test_hausman(panel):
    """`thm-hausman`, `hausman`: the squared difference over its variance, and the Wald test."""
    x, means, constant, V, y, _, _ = panel
    small, Phi_small = fit(np.column_stack([x, constant]), V, y)
    large, Phi = fit(np.column_stack([x, means, constant]), V, y)
    gap, cov = large[:2] - small[:2], Phi[:2, :2] - Phi_small[:2, :2]
    W = np.linalg.inv(V)
    maps = [
        (P @ X.T @ W)[:2]
        for P, X in ((Phi, np.column_stack([x, means, constant])), (Phi_small, np.column_stack([x, constant])))
    ]
    assert_allclose((maps[0] - maps[1]) @ V @ (maps[0] - maps[1]).T, cov, atol=1e-12)
    assert np.linalg.eigvalsh(cov)[0] > 0
    assert_allclose(gap @ np.linalg.solve(cov, gap), large[2:4] @ np.linalg.solve(Phi[2:4, 2:4], large[2:4]))


def corrections(m):
    """A_i of each group as printed, with another root of V_i, and the residual maker (N, N)."""
    maker = np.eye(m.N) - m.X @ m.Phi @ m.X.T @ m.W
    A = []
    for X, _, _, V in m.groups:
        R = np.real(sqrtm(V))  # symmetric: R'R = V as well
        B = R @ (V - X @ m.Phi @ X.T) @ R.T
        A.append(R.T @ np.linalg.inv(np.real(sqrtm(B))) @ R)
    return A, maker


def test_cr2(m):
    """`cr2`, `thm-cr2`: the expectation of the sandwich with corrected residuals is Phi; of the plain one, less."""
    A, maker = corrections(m)
    for blocks, exact in ((block_diag(*A), True), (np.eye(m.N), False)):
        K = m.Phi @ m.X.T @ m.W @ blocks
        # E(r r') = maker V maker', of which the sum takes the blocks of the groups.
        inside = (maker @ m.V @ maker.T) * (m.group[:, None] == m.group)
        assert np.allclose(K @ inside @ K.T, m.Phi) == exact
    r = maker @ m.y
    filling = sum(
        X.T @ np.linalg.inv(V) @ A_i @ np.outer(r[m.group == i], r[m.group == i]) @ A_i.T @ np.linalg.inv(V) @ X
        for i, ((X, _, _, V), A_i) in enumerate(zip(m.groups, A, strict=True))
    )
    K = m.Phi @ m.X.T @ m.W @ block_diag(*A)
    assert_allclose(m.Phi @ filling @ m.Phi, K @ (np.outer(r, r) * (m.group[:, None] == m.group)) @ K.T)


def printed_df(groups, Phi, A, c):
    """The degrees of freedom of c'beta, and the vectors a_i."""
    a = [A_i.T @ np.linalg.inv(V) @ X @ Phi @ c for (X, V), A_i in zip(groups, A, strict=True)]
    P = np.array(
        [
            [ai @ ((i == j) * Vi - Xi @ Phi @ Xj.T) @ aj if i == j else -ai @ Xi @ Phi @ Xj.T @ aj
             for j, ((Xj, _), aj) in enumerate(zip(groups, a, strict=True))]
            for i, ((Xi, Vi), ai) in enumerate(zip(groups, a, strict=True))
        ]
    )  # fmt: skip
    return np.trace(P) ** 2 / np.trace(P @ P), a


def test_cr2_df(m, rng):
    """`cr2-df`: mean and variance of the quadratic form in y; the closed forms for a mean that clubSandwich states."""
    A, maker = corrections(m)
    c = rng.normal(size=m.p)
    df, a = printed_df([(X, V) for X, _, _, V in m.groups], m.Phi, A, c)
    G = block_diag(*[ai[:, None] for ai in a]).T @ maker  # the n numbers a_i' r_i
    Q = G.T @ G
    assert_allclose(df, np.trace(Q @ m.V) ** 2 / np.trace(Q @ m.V @ Q @ m.V))
    # A mean by least squares: tests/testthat/test_intercept_formulas.R of clubSandwich, CR2.
    sizes = rng.integers(2, 9, 10)
    N, group = sizes.sum(), np.repeat(np.arange(10), sizes)
    y = rng.normal(size=10)[group] + rng.normal(size=N)
    groups = [(np.ones((k, 1)), np.eye(k)) for k in sizes]
    roots = [np.linalg.inv(np.real(sqrtm(np.eye(k) - 1 / N))) for k in sizes]
    df, a = printed_df(groups, np.array([[1 / N]]), roots, np.ones(1))
    s = sizes.astype(float)
    closed = N**2 / (
        N**2 * np.sum(s**2 / (N - s) ** 2) - 2 * N * np.sum(s**3 / (N - s) ** 2) + np.sum(s**2 / (N - s)) ** 2
    )
    assert_allclose(df, closed)
    means = np.array([y[group == i].mean() for i in range(10)])
    variance = sum((ai @ (y - y.mean())[group == i]) ** 2 for i, ai in enumerate(a))
    assert_allclose(variance, np.sum(s**2 * (means - y.mean()) ** 2 / (1 - s / N)) / N**2)


def test_scheffe(m, rng):
    """`scheffe-band`, `thm-scheffe`: no combination is farther off, in standard errors, than the root of rF; one is."""
    L = rng.normal(size=(2, m.p))
    u, S = L @ (m.betahat - m.beta), L @ m.Phi @ L.T
    rF = u @ np.linalg.solve(S, u)
    h = rng.normal(size=(5000, 2))
    ratio = (h @ u) ** 2 / np.einsum("hr,rs,hs->h", h, S, h)
    assert ratio.max() <= rF * (1 + 1e-12)
    assert_allclose(ratio.max(), rF, rtol=1e-4)  # the best of many directions in a plane
    best = np.linalg.solve(S, u)
    assert_allclose((best @ u) ** 2 / (best @ S @ best), rF)


def test_max_t(rng):
    """`max-t`: given the scale, independent questions have a closed form; and bounds."""
    r, nu = 3, 12
    s = np.sqrt(stats.chi2.ppf((np.arange(2000) + 0.5) / 2000, nu) / nu)

    def multiple(chance):
        return optimize.brentq(lambda q: chance(q * s).mean() - 0.95, 1, 6)

    independent = multiple(lambda reach: (2 * stats.norm.cdf(reach) - 1) ** r)
    one = stats.t.ppf(0.975, nu)
    assert_allclose(multiple(lambda reach: 2 * stats.norm.cdf(reach) - 1), one, rtol=1e-3)
    assert one < independent < stats.t.ppf(1 - 0.05 / (2 * r), nu)
    R = 0.6 + 0.4 * np.eye(r)
    u = np.abs(rng.normal(size=(100_000, r)) @ np.linalg.cholesky(R).T).max(axis=1)
    drawn = np.quantile(u / np.sqrt(rng.chisquare(nu, 100_000) / nu), 0.95)
    assert one < drawn < independent


def test_marginal_means(rng):
    """`marginal-means`: the mean of the predictions of all cells of the other factors, at the mean of a covariate."""
    a, b, g = np.tile(["p", "q"], 30), np.repeat(["u", "v", "w"], 20), np.tile(np.arange(6), 10)
    frame = pd.DataFrame({"a": a, "b": b, "g": g, "x": rng.normal(size=60), "y": rng.normal(size=60)}).iloc[:-7]
    fitted = lmmlib.fit("y ~ a * b + x + (1 | g)", frame)
    cells = pd.DataFrame({"a": ["q"] * 3, "b": ["u", "v", "w"], "x": frame["x"].mean()})
    predicted = fitted.predict(cells, of="population")["estimate"].mean()
    assert_allclose(fitted.marginal_means("a").loc["q", "estimate"], predicted)
    L = np.array([1, 1, 1 / 3, 1 / 3, frame["x"].mean(), 1 / 3, 1 / 3])
    assert_allclose(L @ fitted.beta, predicted)
    assert_allclose(fitted.marginal_means("a").loc["q", "se"], np.sqrt(L @ fitted.cov_beta @ L))
