"""Around a posterior: LKJ, interweaving, nested R-hat, modes, leapfrog steps, replicated and left-out data."""

import numpy as np
from numpy.testing import assert_allclose
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize_scalar


def test_lkj(rng):
    """`lkj`, `lem-lkj-row`: two of three correlations integrated out, at several values of the third."""

    def marginal(rho, eta):
        def over_one(x):
            half = np.sqrt((1 - rho**2) * (1 - x**2))
            return quad(lambda z: (half**2 - (z - rho * x) ** 2) ** (eta - 1), rho * x - half, rho * x + half)[0]

        return quad(over_one, -1, 1)[0]

    eta, at = rng.uniform(1.5, 3), rng.uniform(-0.9, 0.9, 3)
    R = np.array([[1, at[0], at[1]], [at[0], 1, at[2]], [at[1], at[2], 1]])
    det = (1 - at[0] ** 2) * (1 - at[1] ** 2) - (at[2] - at[0] * at[1]) ** 2
    assert_allclose(np.linalg.det(R), det)
    ratio = [marginal(rho, eta) / (1 - rho**2) ** (eta - 2 + 3 / 2) for rho in at]
    assert_allclose(ratio, ratio[0], rtol=1e-6)


def test_interweaving(rng):
    """`lambda-and-u`, `thm-interweaving`: the Jacobian by differences, and the density in both coordinates."""
    q, n, s2 = 3, 4, rng.uniform(0.5, 2)
    rows, columns = np.tril_indices(q)

    def of(entries):
        L = np.zeros((q, q))
        L[rows, columns] = entries
        return L

    def lower_of_D(entries):
        return (of(entries) @ of(entries).T)[rows, columns]

    entries = rng.normal(size=len(rows)) + np.sign(rng.normal(size=len(rows)))
    step = 1e-6 * np.eye(len(rows))
    jacobian = np.array([(lower_of_D(entries + h) - lower_of_D(entries - h)) / 2e-6 for h in step])
    L = of(entries)
    formula = 2**q * np.prod(np.abs(np.diag(L)) ** np.arange(q, 0, -1))
    assert_allclose(abs(np.linalg.det(jacobian)), formula, rtol=1e-6)

    r, Z = rng.normal(size=(n, 5)), rng.normal(size=(n, 5, q))
    gaps = []
    for _ in range(3):  # the prior of Lambda is on both sides
        L, u = of(rng.normal(size=len(rows))), rng.normal(size=(n, q))
        b = u @ L.T
        residual = r - np.einsum("ijq,iq->ij", Z, b)
        of_u = -np.sum(residual**2) / 2 / s2 - np.sum(u**2) / 2
        of_b = stats.norm(0, np.sqrt(s2)).logpdf(residual).sum()
        of_b += stats.multivariate_normal(np.zeros(q), L @ L.T).logpdf(b).sum()
        gaps.append(of_b + n * np.linalg.slogdet(L)[1] - of_u)
    assert_allclose(gaps, gaps[0])


def test_nested(rng):
    """`nested-r-hat`, `prop-nested`: sums written out; the expectation of the quadratic form B."""
    K, M, T = 4, 3, 6
    g = rng.normal(size=(K, M, T)) + rng.normal(size=(K, 1, 1))
    total, W = g.mean(), 0.0
    for k in range(K):
        W += sum((g[k, m].mean() - g[k].mean()) ** 2 for m in range(M)) / (M - 1) / K
        W += sum(np.sum((g[k, m] - g[k, m].mean()) ** 2) / (T - 1) for m in range(M)) / M / K
    B = sum((g[k].mean() - total) ** 2 for k in range(K)) / (K - 1)
    means = g.mean(axis=2)
    within = np.mean(means.var(axis=1, ddof=1) + g.var(axis=2, ddof=1).mean(axis=1))
    assert_allclose(np.sqrt(1 + B / W), np.sqrt(1 + means.mean(axis=1).var(ddof=1) / within))
    mu, s2, e = rng.normal(size=K), rng.uniform(0.5, 2), rng.uniform(2, 5)
    A = (np.eye(K) - 1 / K) / (K - 1)
    average = np.kron(np.eye(K), np.full((1, M), 1 / M))  # of the means of chains
    form = average.T @ A @ average
    expected = np.trace(form) * s2 / e + np.repeat(mu, M) @ form @ np.repeat(mu, M)
    assert_allclose(expected, mu.var(ddof=1) + s2 / (M * e))


def test_boundary_avoiding(rng):
    """`boundary-avoiding`, `prop-boundary-avoiding`: the root, against a search."""
    n, m, s2 = int(rng.integers(3, 12)), int(rng.integers(2, 8)), rng.uniform(0.5, 3)
    for SSB in (0.0, rng.uniform(0.1, 1) * n, rng.uniform(5, 30) * n):

        def minus_log(log_tau, SSB=SSB):
            g = s2 + m * np.exp(2 * log_tau)
            return (n - 1) / 2 * np.log(g) + SSB / 2 / g - log_tau

        found = np.exp(minimize_scalar(minus_log, bounds=(-8, 6), method="bounded", options={"xatol": 1e-10}).x)
        half = ((n - 1) * s2 + SSB) / (2 * (n - 2))
        g = half + np.sqrt(half**2 - SSB * s2 / (n - 2))
        assert g > s2
        assert_allclose(found, np.sqrt((g - s2) / m), rtol=1e-6)
        if SSB == 0:
            assert_allclose(found, np.sqrt(s2 / (m * (n - 2))), rtol=1e-6)


def test_leapfrog(rng):
    """`leapfrog`, `prop-leapfrog`: the matrix of a step, its eigenvalues, and a hundred steps."""
    omega = rng.uniform(0.5, 3)
    for product, stable in ((rng.uniform(0.2, 1.8), True), (rng.uniform(2.2, 3), False)):
        eps, x, v = product / omega, 1.0, rng.normal()

        def step(x, v, eps=eps):
            v = v - eps / 2 * omega**2 * x
            x = x + eps * v
            return x, v - eps / 2 * omega**2 * x

        matrix = np.array([step(1.0, 0.0), step(0.0, 1.0)]).T
        assert_allclose([np.linalg.det(matrix), np.trace(matrix)], [1, 2 - product**2])
        size = np.abs(np.linalg.eigvals(matrix)).max()
        assert (size < 1 + 1e-9) == stable
        for _ in range(100):
            x, v = step(x, v)
        assert (np.hypot(x, v) < 1000) == stable


def test_ppp(rng):
    """`thm-ppp`: a normal mean with a normal prior, where the distribution of the p value has a closed form."""
    n, prior = int(rng.integers(2, 20)), rng.uniform(0.3, 3)
    w = prior / (prior + 1 / n)
    # p = Phi(z), z = (w - 1) ybar / sd of a replicated mean given y, ybar ~ N(0, prior + 1 / n)
    sd = (1 - w) * np.sqrt(prior + 1 / n) / np.sqrt(w / n + 1 / n)
    p = stats.norm.cdf(sd * stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000))
    assert_allclose(p.mean(), 0.5)
    assert p.var() <= 1 / 12
    for alpha in (0.01, 0.05, 0.2, 0.5):
        assert np.mean(p <= alpha) <= 2 * alpha
    for h in (lambda u: np.maximum(0.1 - u, 0), lambda u: np.abs(u - 0.7), np.exp):
        assert h(p).mean() <= quad(h, 0, 1, points=(0.1, 0.7))[0] + 1e-9
    # The share of replicated means above the observed one, by simulation.
    ybar = rng.normal()
    draws = rng.normal(w * ybar, np.sqrt(w / n), 100_000) + rng.normal(0, np.sqrt(1 / n), 100_000)
    exact = stats.norm.cdf((w - 1) * ybar / np.sqrt(w / n + 1 / n))
    assert abs(np.mean(draws >= ybar) - exact) < 5 * np.sqrt(0.25 / 100_000)


def test_loo_identity(rng):
    """`loo-identity`: the predictive density of a left-out value, and the average over the full posterior."""
    y, prior = rng.normal(size=6), rng.uniform(0.5, 3)
    mu = np.linspace(-12, 12, 40_001)
    posterior = np.exp(-(mu**2) / 2 / prior - ((y[:, None] - mu) ** 2).sum(axis=0) / 2)
    posterior /= posterior.sum()
    precision = 1 / prior + 5
    exact = stats.norm.pdf(y[0], y[1:].sum() / precision, np.sqrt(1 + 1 / precision))
    assert_allclose(1 / np.sum(posterior / stats.norm.pdf(y[0], mu)), exact)
