"""Pooling, Neyman and Scott, and what an observation is worth: both sides of each formula at random inputs."""

import numpy as np
from numpy.testing import assert_allclose

from tests.equations.models import between, derivative, log_normal, one_way_covariance, within


def test_same_slope(rng):
    """`prop-same-slope`: pooled, with an intercept for each group, and the mean of the groups' own slopes."""
    n, x = 5, rng.normal(size=4)
    y, X = rng.normal(size=(n, 4)), np.tile(x, n)
    pooled = np.polyfit(X, y.ravel(), 1)[0]
    dummies = np.column_stack([np.kron(np.eye(n), np.ones((4, 1))), X])
    own = np.linalg.lstsq(dummies, y.ravel(), rcond=None)[0][-1]
    mean = np.mean([np.polyfit(x, row, 1)[0] for row in y])
    assert_allclose([own, mean], pooled)


def test_partial_pooling_weight(one_way):
    """`partial-pooling-weight`: the expected level of a group given its observations, by the joint normal law."""
    _, m, tau2, sigma2, mu, y = one_way
    w = tau2 / (tau2 + sigma2 / m)
    V = tau2 * np.ones((m, m)) + sigma2 * np.eye(m)
    assert_allclose(w * y[0].mean() + (1 - w) * mu, mu + tau2 * np.ones(m) @ np.linalg.solve(V, y[0] - mu))


def test_neyman_scott_mle(one_way):
    """`neyman-scott-mle`: where the log-likelihood has no slope, and falls in every direction."""
    n, m, *_, y = one_way

    def loglik(theta):
        return -n * m / 2 * np.log(2 * np.pi * theta[-1]) - ((y - theta[:n, None]) ** 2).sum() / (2 * theta[-1])

    top = np.array([*y.mean(1), ((y - y.mean(1, keepdims=True)) ** 2).sum() / (n * m)])
    assert_allclose(derivative(loglik, top), 0, atol=1e-4)
    for step in np.vstack([np.eye(n + 1), -np.eye(n + 1)]):
        assert loglik(top) > loglik(top + 0.05 * step)


def test_within_group(one_way):
    """`lem-within-group`: the matrix is a projection of rank m - 1 that does not see the mean."""
    _, m, _, sigma2, _, y = one_way
    M = within(1, m)
    assert_allclose(y[0] @ M @ y[0], ((y[0] - y[0].mean()) ** 2).sum())
    assert_allclose(np.linalg.eigvalsh(M), [0] + [1] * (m - 1), atol=1e-12)  # chi-squared, m - 1 df
    assert_allclose(sigma2 * M @ np.ones(m), 0, atol=1e-12)  # uncorrelated with the mean


def test_neyman_scott_limit(one_way):
    """`thm-neyman-scott`, `neyman-scott-limit`: n(m - 1) chi-squared pieces of size sigma2/(nm), bias -sigma2/m."""
    n, m, _, sigma2, _, _ = one_way
    pieces = np.linalg.eigvalsh(sigma2 * within(n, m) / (n * m))
    expected = [0] * n + [sigma2 / (n * m)] * (n * (m - 1))
    assert_allclose(pieces, expected, atol=1e-12)
    assert_allclose(pieces.sum(), (m - 1) / m * sigma2)
    assert_allclose(pieces.sum() - sigma2, -sigma2 / m)
    many = np.random.default_rng(1).normal(size=(200_000, m)) * np.sqrt(sigma2)
    assert_allclose(many.var(axis=1).mean(), (m - 1) / m * sigma2, rtol=0.02)


def test_ns_loglik_factorised(one_way):
    """`ns-loglik-factorised`: within groups plus between groups is the normal log-density."""
    n, m, tau2, sigma2, mu, y = one_way
    rss = ((y - y.mean(1, keepdims=True)) ** 2).sum()
    gamma = sigma2 + m * tau2
    printed = (
        -n * (m - 1) / 2 * np.log(2 * np.pi * sigma2)
        - rss / (2 * sigma2)
        - n / 2 * np.log(2 * np.pi * gamma)
        - m * ((y.mean(1) - mu) ** 2).sum() / (2 * gamma)
    )
    assert_allclose(printed, log_normal(y.ravel(), mu * np.ones(n * m), one_way_covariance(n, m, tau2, sigma2)))


def test_effective_size(one_way):
    """`effective-sample-size`, `prop-effective-size`: variances of the mean and of the slope, with the full matrix."""
    n, m, tau2, sigma2, _, y = one_way
    V, N, v, rho = one_way_covariance(n, m, tau2, sigma2), n * m, tau2 + sigma2, tau2 / (tau2 + sigma2)
    assert_allclose(V.sum() / N**2, v / (N / (1 + (m - 1) * rho)))
    x = y[0] - y[0].mean()
    slope = np.tile(x, n) / (n * x @ x)
    assert_allclose(slope @ V @ slope, (1 - rho) * v * slope @ slope)


def test_one_way_precision(one_way):
    """`one-way-precision`: the variances of linear and quadratic forms, Var(y'Ay) = 2 tr(AVAV) if A mu = 0."""
    n, m, tau2, sigma2, _, _ = one_way
    V, N = one_way_covariance(n, m, tau2, sigma2), n * m

    def variance(A):
        return 2 * np.trace(A @ V @ A @ V)

    assert_allclose((tau2 + sigma2 / m) / n, V.sum() / N**2)
    msw = within(n, m) / (n * (m - 1))
    assert_allclose(2 * sigma2**2 / (n * (m - 1)), variance(msw))
    anova = (between(n, m) / (n - 1) - msw) / m
    printed = 2 / m**2 * ((sigma2 + m * tau2) ** 2 / (n - 1) + sigma2**2 / (n * (m - 1)))
    assert_allclose(printed, variance(anova))


def test_within_group_regression(rng):
    """`within-group-regression`: the expected mean of squares of n_i = 8 residuals from k = 3 coefficients."""
    X, sigma2 = rng.normal(size=(8, 3)), rng.uniform(0.5, 2)
    residual = np.eye(8) - X @ np.linalg.pinv(X)
    assert_allclose(np.trace(residual * sigma2) / 8, sigma2 * (8 - 3) / 8)
    assert_allclose(sigma2 * (8 - 3) / 8, 5 / 8 * sigma2)
