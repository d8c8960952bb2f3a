"""Maximum likelihood, its tests and its bias: both sides of each formula at random inputs."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.linalg import null_space
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import chi2, f, norm

import lmmlib
from lmmlib import equations
from lmmlib.inference.boundary import chi_bar_square_sf, orthant_weights
from tests.equations.models import (
    Model,
    between,
    derivative,
    least_eigenvalue,
    log_normal,
    one_way_covariance,
    within,
)


def factor(theta):
    """Lambda of q = 2."""
    return np.array([[theta[0], 0], [theta[1], theta[2]]])


@pytest.fixture
def theta(rng):
    return np.array([rng.uniform(0.5, 1.5), rng.normal(), rng.uniform(0.5, 1.5)])


def relative(m, L):
    """V_0 as a matrix, betahat(theta), the residuals and r^2(theta)."""
    V0 = m.V_at(L @ L.T, 1.0)
    W0 = np.linalg.inv(V0)
    betahat = np.linalg.solve(m.X.T @ W0 @ m.X, m.X.T @ W0 @ m.y)
    r = m.y - m.X @ betahat
    return V0, betahat, r, r @ W0 @ r


def profiled_deviance(m, L):
    """d(theta) as printed."""
    V0, _, _, r2 = relative(m, L)
    return np.linalg.slogdet(V0)[1] + m.N * (1 + np.log(2 * np.pi * r2 / m.N))


def test_theta_factor(m, theta):
    """`theta-factor`, `lem-theta`: every theta a covariance, every covariance one theta with a diagonal >= 0."""
    D = m.sigma2 * factor(theta) @ factor(theta).T
    assert least_eigenvalue(D) > 0
    assert_allclose(np.linalg.cholesky(D / m.sigma2), factor(theta))
    for signs in ([1, -1], [-1, 1], [-1, -1]):
        assert_allclose(m.sigma2 * (factor(theta) * signs) @ (factor(theta) * signs).T, D)
    for singular in (theta * [0, 1, 1], theta * [1, 1, 0]):
        assert abs(np.linalg.det(factor(singular) @ factor(singular).T)) < 1e-12
    # A singular D has a factor too, here with its square root turned to a triangle.
    D = np.outer(m.D[0], m.D[0])
    R = np.linalg.qr(np.outer(m.D[0], m.D[0]) / np.linalg.norm(m.D[0]), mode="r").T
    R = R * np.where(np.diag(R) < 0, -1, 1)
    assert_allclose(R @ R.T, D)
    assert R[0, 1] == 0 and R[0, 0] >= 0 and abs(R[1, 1]) < 1e-12


def test_profiled_deviance(m, theta, rng):
    """`profiled-deviance`, `thm-profiled-deviance`: the least -2l over beta and sigma2, at r^2/N; and lmmlib."""
    L = factor(theta)
    V0, betahat, _, r2 = relative(m, L)
    sigma2 = r2 / m.N

    def deviance(point):
        return -2 * m.loglik(point[:-1], point[-1] * V0)

    top = np.array([*betahat, sigma2])
    d = profiled_deviance(m, L)
    assert_allclose(deviance(top), d)
    assert_allclose(derivative(deviance, top), 0, atol=1e-6)
    for _ in range(10):
        other = top + 0.3 * rng.normal(size=len(top))
        assert deviance([*other[:-1], sigma2 * rng.uniform(0.5, 2)]) > d
    assert_allclose(d, -2 * equations.profile_loglik(m.cross, sigma2 * L @ L.T, sigma2))


def deviance_pieces(m, theta):
    """Gamma, A_i, u_i, Wdot_k, B_k, C_i, Phi_0, sigma2 of the chapter."""
    L = factor(theta)
    V0, _, r, r2 = relative(m, L)
    W0 = np.linalg.inv(V0)
    rows = [m.group == i for i in range(m.n)]
    Wi = [W0[np.ix_(k, k)] for k in rows]
    A = [m.Z[k].T @ w @ m.Z[k] for k, w in zip(rows, Wi, strict=True)]
    u = [m.Z[k].T @ w @ r[k] for k, w in zip(rows, Wi, strict=True)]
    C = [m.Z[k].T @ w @ m.X[k] for k, w in zip(rows, Wi, strict=True)]
    B = [factor(e) for e in np.eye(3)]
    Wdot = [b @ L.T + L @ b.T for b in B]
    Gamma = sum(a - np.outer(v, v) / (r2 / m.N) for a, v in zip(A, u, strict=True))
    return Gamma, A, u, Wdot, B, C, np.linalg.inv(m.X.T @ W0 @ m.X), r2 / m.N


def test_deviance_gradient(m, theta):
    """`deviance-gradient`: both printed forms against numerical derivatives of the profiled deviance."""
    Gamma, _, _, Wdot, *_ = deviance_pieces(m, theta)
    numeric = derivative(lambda x: profiled_deviance(m, factor(x)), theta)
    assert_allclose([np.trace(Gamma @ w) for w in Wdot], numeric, rtol=1e-7, atol=1e-7)
    assert_allclose([2 * (Gamma @ factor(theta))[a, b] for a, b in ((0, 0), (1, 0), (1, 1))], numeric, 1e-7, 1e-7)


def test_deviance_hessian(m, theta):
    """`deviance-hessian`: against numerical derivatives of the gradient."""
    Gamma, A, u, Wd, B, C, Phi0, s2 = deviance_pieces(m, theta)
    c = [sum(Ci.T @ w @ ui for Ci, ui in zip(C, u, strict=True)) for w in Wd]
    v = [sum(ui @ w @ ui for ui in u) for w in Wd]
    printed = [
        [
            2 * np.trace(Gamma @ B[k] @ B[l].T)
            - sum(np.trace(Wd[k] @ a @ Wd[l] @ a) for a in A)
            + 2 / s2 * (sum(ui @ Wd[k] @ a @ Wd[l] @ ui for a, ui in zip(A, u, strict=True)) - c[k] @ Phi0 @ c[l])
            - v[k] * v[l] / (m.N * s2**2)
            for l in range(3)
        ]
        for k in range(3)
    ]

    def gradient(x):
        Gamma, _, _, Wdot, *_ = deviance_pieces(m, x)
        return np.array([np.trace(Gamma @ w) for w in Wdot])

    assert_allclose(printed, derivative(gradient, theta), rtol=1e-7, atol=1e-7)


def sums_of_squares(y):
    """SSB and SSW of y (n, m)."""
    means = y.mean(1)
    return y.shape[1] * ((means - y.mean()) ** 2).sum(), ((y - means[:, None]) ** 2).sum()


def one_way_fit(y, method="ML"):
    labels = np.array([f"g{i}" for i in np.repeat(np.arange(len(y)), y.shape[1])])
    ones = np.ones((y.size, 1))
    return lmmlib.fit_design(lmmlib.Design.from_arrays(y.ravel(), ones, ones, labels), method=method)


def on_each_side(y):
    """y, and the same with its group means drawn together until SSB/n is 0.98 and 1.02 times SSW/(n(m - 1))."""
    SSB, SSW = sums_of_squares(y)
    level = y.mean(1, keepdims=True) - y.mean()
    return [y, *(y - level + level * np.sqrt(k * SSW / (y.shape[1] - 1) / SSB) for k in (0.98, 1.02))]


def test_one_way_deviance(one_way):
    """`one-way-deviance`: the normal log-density with the full matrix."""
    n, m, tau2, sigma2, mu, y = one_way
    SSB, SSW = sums_of_squares(y)
    N, gamma = n * m, sigma2 + m * tau2
    printed = N * np.log(2 * np.pi) + n * (m - 1) * np.log(sigma2) + SSW / sigma2
    printed += n * np.log(gamma) + (SSB + N * (y.mean() - mu) ** 2) / gamma
    assert_allclose(printed, -2 * log_normal(y.ravel(), mu * np.ones(N), one_way_covariance(n, m, tau2, sigma2)))


def test_one_way_ml(one_way):
    """`thm-one-way-ml`, `one-way-ml`, `one-way-ml-zero`: the maximum in closed form on both sides; no point is better.

    lmmlib's optimiser finds it too.
    """
    n, m, *_, y = one_way
    seen = set()
    for data in on_each_side(y):
        SSB, SSW = sums_of_squares(data)
        inside = SSB / n > SSW / (n * (m - 1))
        sigma2 = SSW / (n * (m - 1)) if inside else (SSB + SSW) / (n * m)
        tau2 = (SSB / n - sigma2) / m if inside else 0.0
        assert tau2 >= 0

        def loglik(mu, tau2, sigma2, data=data):
            return log_normal(data.ravel(), mu * np.ones(n * m), one_way_covariance(n, m, tau2, sigma2))

        top = loglik(data.mean(), tau2, sigma2)
        for step in np.random.default_rng(1).normal(size=(50, 3)) * 0.2:
            assert loglik(data.mean() + step[0], tau2 * np.exp(step[1]), sigma2 * np.exp(step[2])) < top
            assert loglik(data.mean(), tau2 + abs(step[1]), sigma2) < top
        fitted = one_way_fit(data)
        assert_allclose([fitted.D.to_numpy()[0, 0] if inside else 0, fitted.sigma2], [tau2, sigma2], rtol=1e-5)
        seen.add(inside)
    assert seen == {True, False}


def test_one_way_lrt(one_way):
    """`one-way-lrt`: the difference of the deviances at the two closed maxima, and lmmlib's two fits."""
    n, m, *_, y = one_way
    SSB, SSW = sums_of_squares(y)
    N = n * m
    printed = N * np.log((SSB + SSW) / N) - n * np.log(SSB / n) - n * (m - 1) * np.log(SSW / (n * (m - 1)))
    sigma2 = SSW / (n * (m - 1))
    free = log_normal(y.ravel(), y.mean() * np.ones(N), one_way_covariance(n, m, (SSB / n - sigma2) / m, sigma2))
    null = norm(y.mean(), np.sqrt((SSB + SSW) / N)).logpdf(y).sum()
    assert_allclose(printed, 2 * (free - null))
    assert_allclose(printed, 2 * (one_way_fit(y).loglik - null), rtol=1e-7)


def T_of_F(F, n, m):
    """T as a function of F, with SSW = 1."""
    SSB = F * (n - 1) / (n * (m - 1))
    T = n * m * np.log((SSB + 1) / (n * m)) - n * np.log(SSB / n) - n * (m - 1) * np.log(1 / (n * (m - 1)))
    return np.where(F <= n / (n - 1), 0.0, T)


def test_boundary_one_way(one_way):
    """`thm-boundary-one-way`, `boundary-limit`: zero iff F <= n/(n-1), then increasing; and the limit at a large n."""
    n, m, *_, y = one_way
    for data in on_each_side(y):
        SSB, SSW = sums_of_squares(data)
        F = SSB / (n - 1) / (SSW / (n * (m - 1)))
        assert (one_way_fit(data).D.to_numpy()[0, 0] < 1e-8) == (F <= n / (n - 1))
    F = np.linspace(0.01, 9, 2000)
    T = T_of_F(F, n, m)
    assert (np.diff(T[n / (n - 1) < F]) > 0).all() and (T[n / (n - 1) < F] >= 0).all()
    many = 10**6  # groups: P(T >= c) by the law of F
    for c in (0.5, 2.0, 4.0):
        root = np.interp(c, T_of_F(grid := np.linspace(1.001, 1.02, 20_001), many, m), grid)
        exact = f.sf(root, many - 1, many * (m - 1))
        assert_allclose(exact, 0.5 * chi2.sf(c, 1), rtol=0.01)
        assert_allclose(0.5 * chi2.sf(c, 1), norm.sf(np.sqrt(c)))  # P(max(Z, 0)^2 >= c)


def test_profile_interval(rng):
    """`profile-interval`: the signed root of a difference of deviances, minimised here without lmmlib."""
    m = Model.draw(rng, [3, 5, 4, 2, 6, 4, 5], q=1)
    fitted = lmmlib.fit_design(m.design, method="ML")
    name = fitted.beta.index[1]
    psi = fitted.beta.iloc[1] + np.array([-0.8, 0.5]) * fitted.se.iloc[1]

    def least(y, X):
        held = Model(X, m.Z, y, m.group, m.beta, m.D, m.sigma2)
        return minimize_scalar(lambda x: profiled_deviance(held, np.array([[x]])), (0.5, 1.0), tol=1e-10).fun

    top = least(m.y, m.X)
    rest = np.delete(m.X, 1, axis=1)
    zeta = [np.sign(p - fitted.beta.iloc[1]) * np.sqrt(least(m.y - p * m.X[:, 1], rest) - top) for p in psi]
    assert_allclose(zeta, fitted.profile(name, psi)["zeta"], rtol=1e-4)
    low, high = fitted.confint(parameters=name).iloc[0][["lower", "upper"]]
    assert_allclose(abs(fitted.profile(name, [low, high])["zeta"]), norm.ppf(0.975), rtol=1e-4)


@pytest.fixture(scope="module")
def two_fits():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(10), 5)
    data = pd.DataFrame({"g": g, "x": rng.normal(size=50), "y": rng.normal(size=50) + rng.normal(size=10)[g]})
    return [lmmlib.fit(f"y ~ {fixed} + (1 | g)", data, method="ML") for fixed in ("1", "x")]


def test_lrt(two_fits):
    """`lrt`: twice the difference of log-likelihoods, and the difference of deviances at the estimates."""
    small, large = two_fits
    T = 2 * (large.loglik - small.loglik)
    d = [-2 * lmmlib.dense.loglik(one.design, one.beta, one.D, one.sigma2) for one in two_fits]
    assert_allclose(T, d[0] - d[1], rtol=1e-7)
    assert_allclose(T, lmmlib.compare(small, large).statistic)
    assert T > 0


def test_bootstrap_p(two_fits):
    """`bootstrap-p`: counted from the simulated statistics."""
    small, large = two_fits
    result = lmmlib.compare(small, large, method="bootstrap", size=99, rng=np.random.default_rng(1))
    T = 2 * (large.loglik - small.loglik)
    assert len(result.draws) == 99
    assert_allclose((1 + sum(draw >= T for draw in result.draws)) / (99 + 1), result.p)


def test_chi_bar_square(rng):
    """`chi-bar-square`: weights >= 0 with sum 1; the law of a projection on an orthant, simulated; and lmmlib."""
    r = rng.uniform(-0.8, 0.8)
    w = orthant_weights(np.array([[1, r], [r, 1]]))
    assert (w >= 0).all() and abs(w.sum() - 1) < 1e-12
    c = rng.uniform(0.5, 3)
    printed = sum(wk * chi2.sf(c, k) for k, wk in enumerate(w) if k > 0)
    assert_allclose(printed, chi_bar_square_sf(c, range(3), w))
    # Independent coordinates: max(Z_1, 0)^2 + max(Z_2, 0)^2, by integration over the first.
    half = orthant_weights(np.eye(2))
    tail = quad(lambda z: norm.pdf(z) * norm.sf(np.sqrt(max(c - max(z, 0) ** 2, 0))), -8, np.sqrt(c), points=[0])[0]
    assert_allclose(sum(wk * chi2.sf(c, k) for k, wk in enumerate(half) if k), tail + norm.sf(np.sqrt(c)), rtol=1e-6)


@pytest.mark.parametrize("q", [1, 2])
def test_one_more_effect(q):
    """`prop-one-more-effect`: q free coordinates and one cut at zero are half chi2_q and half chi2_{q+1}; lmmlib."""
    c = 2.3
    cut = (
        0.5 * chi2.sf(c, q) + quad(lambda z: norm.pdf(z) * chi2.sf(c - z**2, q), 0, np.sqrt(c))[0] + norm.sf(np.sqrt(c))
    )
    assert_allclose(0.5 * chi2.sf(c, q) + 0.5 * chi2.sf(c, q + 1), cut, rtol=1e-7)
    rng = np.random.default_rng(q)
    g = np.repeat(np.arange(30), 6)
    x, z = rng.normal(size=(2, 180))
    b = rng.normal(size=(2, 30)) + rng.normal(size=30)
    y = b[0][g] + b[1][g] * x + 0.4 * rng.normal(size=30)[g] * z + rng.normal(size=180)
    data = pd.DataFrame({"g": g, "x": x, "z": z, "y": y})
    terms = ["1", "x", "z"]
    fits = [lmmlib.fit(f"y ~ x + z + ({' + '.join(terms[:k])} | g)", data) for k in (q, q + 1)]
    result = lmmlib.compare(*fits)
    T = result.statistic
    assert_allclose(result.p, 0.5 * chi2.sf(T, q) + 0.5 * chi2.sf(T, q + 1), rtol=1e-10)


def test_lrt_spectral(rng):
    """`lrt-spectral`: with the w_s of the data, both suprema are the statistics of two fits."""
    m = Model.draw(rng, [3, 5, 4, 2, 6], q=1)
    labels = np.array([f"g{i}" for i in m.group])
    ones = np.ones((m.N, 1))
    design = lmmlib.Design.from_arrays(m.y, m.X, ones, labels)
    Z = np.eye(m.n)[m.group]
    Q = null_space(m.X.T)
    mu, U = np.linalg.eigh(Q.T @ Z @ Z.T @ Q)
    w, xi, mu = U.T @ Q.T @ m.y, np.diag(Z.T @ Z), np.maximum(mu, 0)
    largest = np.sort(mu)[::-1][: m.n]
    W = np.linalg.norm(m.y - m.X @ np.linalg.lstsq(m.X, m.y, rcond=None)[0]) ** 2
    assert_allclose((w**2).sum(), W)
    for method, size, determinant in (("ML", m.N, xi), ("REML", m.N - m.p, largest)):

        def gain(x, size=size, determinant=determinant):
            lam = np.exp(x)
            ratio = (w**2).sum() / (w**2 / (1 + lam * mu)).sum()
            return size * np.log(ratio) - np.log(1 + lam * determinant).sum()

        best = -minimize_scalar(lambda x, gain=gain: -gain(x), bounds=(-12, 8), method="bounded").fun
        fitted = lmmlib.fit_design(design, method=method)
        likelihood = equations.profile_loglik if method == "ML" else equations.restricted_loglik
        null = likelihood(fitted.cross, [[0.0]], W / size)
        assert_allclose(max(best, 0), 2 * (fitted.loglik - null), rtol=1e-5, atol=1e-5)


def test_information_criteria(two_fits):
    """`aic`, `bic`: k = fixed effects, one variance and the residual variance; N = rows."""
    table = lmmlib.aic_table(dict(zip("ab", two_fits, strict=True)))
    for fitted, k, (_, row) in zip(two_fits, (3, 4), table.iterrows(), strict=True):
        loglik = lmmlib.dense.loglik(fitted.design, fitted.beta, fitted.D, fitted.sigma2)
        assert_allclose([-2 * loglik + 2 * k, -2 * loglik + k * np.log(50)], [row["aic"], row["bic"]])


def test_ml_bias(one_way):
    """`thm-ml-bias`, `ml-bias`: expectations of the quadratic forms; tau2 is estimated too low."""
    n, m, tau2, sigma2, _, _ = one_way
    V = one_way_covariance(n, m, tau2, sigma2)
    of_sigma2 = np.trace(within(n, m) @ V) / (n * (m - 1))
    of_tau2 = (np.trace(between(n, m) @ V) / n - of_sigma2) / m
    assert_allclose(of_sigma2, sigma2)
    assert_allclose(of_tau2 - tau2, -(sigma2 + m * tau2) / (n * m))
    assert_allclose(of_tau2 - tau2, -(tau2 + sigma2 / m) / n)


def spectral(m):
    """mu and v = U'Q'y of every coordinate, without lmmlib."""
    Z, Q = np.eye(m.n)[m.group], null_space(m.X.T)
    mu, U = np.linalg.eigh(Q.T @ Z @ Z.T @ Q)
    return np.where(mu > 1e-9, mu, 0.0), U.T @ Q.T @ m.y


def test_exact_ratio(rng):
    """`exact-ratio`, `thm-exact-ratio`: F(0) tests the groups, F falls, and its law at the true ratio is F."""
    m = Model.draw(rng, [3, 5, 4, 2, 6], q=1)
    mu, v = spectral(m)
    k, nu = np.sum(mu > 0), np.sum(mu == 0)
    assert nu == m.N - m.p - k

    def ratio(lam, v):
        return (v[mu > 0] ** 2 / (1 + lam * mu[mu > 0, None])).sum(axis=0) / k / ((v[mu == 0] ** 2).sum(axis=0) / nu)

    groups = np.column_stack([m.X, np.eye(m.n)[m.group]])
    rss = [np.sum((m.y - A @ np.linalg.lstsq(A, m.y, rcond=None)[0]) ** 2) for A in (m.X, groups)]
    column = v[:, None]
    assert_allclose(ratio(0.0, column), (rss[0] - rss[1]) / k / (rss[1] / nu))
    assert np.all(np.diff([ratio(lam, column)[0] for lam in (0, 0.1, 1, 10, 1e6)]) < 0)
    assert ratio(1e9, column) < 1e-6
    # Its law: responses of the model itself, with ratio 2 and error variance 1.5.
    lam, size = 2.0, 20_000
    Z, Q = np.eye(m.n)[m.group], null_space(m.X.T)
    U = np.linalg.eigh(Q.T @ Z @ Z.T @ Q)[1]
    Y = np.sqrt(1.5) * (np.sqrt(lam) * Z @ rng.normal(size=(m.n, size)) + rng.normal(size=(m.N, size)))
    tail = f.sf(ratio(lam, U.T @ Q.T @ Y), k, nu)
    for p in (0.025, 0.5, 0.975):
        assert abs(np.mean(tail < p) - p) < 4 * np.sqrt(p * (1 - p) / size)


def test_generalised_limit(rng):
    """`generalised-limit`: G is the distribution function of the root t of a random equation, drawn here."""
    m = Model.draw(rng, [3, 5, 4, 2, 6], q=1)
    mu, v = spectral(m)
    v2, sse, k, nu = v[mu > 0] ** 2, np.sum(v[mu == 0] ** 2), np.sum(mu > 0), np.sum(mu == 0)

    def printed(t):
        def part(w):
            return chi2.sf(np.sum(v2 / (sse / w + t * mu[mu > 0])), k) * chi2.pdf(w, nu)

        return quad(part, 0, 150, limit=200)[0]

    values = [printed(t) for t in (0, 0.5, 1, 3, 30)]
    assert np.all(np.diff(values) > 0)
    size = 40_000
    sigma2, u = sse / rng.chisquare(nu, size), rng.chisquare(k, size)
    low, high = np.zeros(size), np.full(size, 1e6)
    for _ in range(70):  # bisection for the t at which the sum of squares is u; below zero it counts as zero
        middle = (low + high) / 2
        above = np.sum(v2 / (sigma2[:, None] + middle[:, None] * mu[mu > 0]), axis=1) > u
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    for t, value in zip((0.5, 1, 3), values[1:], strict=False):
        assert abs(np.mean(high <= t) - value) < 4 * np.sqrt(value * (1 - value) / size)


def test_left_out_slope(rng):
    """`left-out-slope`, `prop-left-out-slope`: both variances as traces of matrices, and the claim of a fit."""
    m = Model.same(rng, n=6, m=5)
    n, size, one = 6, 5, m.of(0)[0]
    x = one[:, 1] - one[:, 1].mean()
    S = x @ x
    kappa = m.D[1, 1] * S / m.sigma2
    R = (1 + kappa) / (1 + kappa * (n - 1) / (n * (size - 1) - 1))
    # s2 is y'Ay/df, A the residual projection of groups and one slope; its expectation is tr(AV)/df.
    columns = np.column_stack([np.eye(n)[m.group], np.tile(x, n)])
    A = np.eye(m.N) - columns @ np.linalg.pinv(columns)
    df = n * (size - 1) - 1
    claimed = np.trace(A @ m.V) / df / (n * S)
    assert_allclose(np.trace(A), df)
    assert_allclose(m.Phi[1, 1], (m.D[1, 1] + m.sigma2 / S) / n)
    assert_allclose(m.Phi[1, 1] / claimed, R)
    # What a fit without the slope claims, at a response with variance between groups.
    y = m.y + 20 * np.arange(n)[m.group]
    design = lmmlib.Design.from_arrays(y, m.X, np.ones((m.N, 1)), np.array([f"g{i}" for i in m.group]))
    assert_allclose(lmmlib.fit_design(design).se.iloc[1] ** 2, y @ A @ y / df / (n * S), rtol=1e-6)
    for k in (0.1, 1.0, 1e9):  # from 1 to its limit; for m = 2 it is 1
        assert 1 < (1 + k) / (1 + k * (n - 1) / df) < df / (n - 1) + 1e-6
    assert_allclose((1 + kappa) / (1 + kappa * (n - 1) / (n * (2 - 1) - 1)), 1)


def test_profile_shadow(rng):
    """`profile-trace`, `thm-profile-shadow`: shadow and traces of a deviance that is no parabola, minimised here."""
    root = rng.normal(size=(3, 3)) + 2 * np.eye(3)

    def d(x):
        u = root @ x
        return u @ u + 0.1 * np.sum(u**4)

    def least(held):
        free = [k for k in range(3) if k not in held]

        def at(z):
            x = np.zeros(3)
            x[list(held)], x[free] = list(held.values()), z
            return d(x)

        found = minimize(at, np.zeros(len(free)), method="BFGS", options={"gtol": 1e-10})
        return found.fun, dict(zip(free, found.x, strict=True))

    inverse = np.linalg.inv(root.T @ root)  # the Hessian of d at its minimum, zero, is 2 root'root
    h = 1e-4
    slope = (least({0: h})[1][1] - least({0: -h})[1][1]) / (2 * h)
    assert_allclose(slope, inverse[1, 0] / inverse[0, 0], rtol=1e-4, atol=1e-6)
    end, c = 0.8, least({0: 0.8})[0]  # the shadow of {d_01 <= c} ends at 0.8, where the trace is
    trace = least({0: end})[1][1]
    assert_allclose(least({0: end, 1: trace})[0], c, rtol=1e-8)
    for other in (trace - 0.1, trace + 0.1):
        assert least({0: end, 1: other})[0] > c
        assert least({0: 1.02 * end, 1: other})[0] > c
    assert least({0: 0.98 * end})[0] < c < least({0: 1.02 * end})[0]
