"""Several groupings: both sides of each formula at random inputs."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.linalg import block_diag
from scipy.sparse.csgraph import connected_components

import lmmlib
from tests.equations.models import derivative


def random_model(rng, N=40, sizes=(9, 5, 4), q=(2, 1, 2), p=2):
    """Rows of random groups of three groupings, with their Z, factors relative to sigma, and V0."""
    model = SimpleNamespace(N=N, n=sizes, q=q, p=p)
    model.g = [rng.integers(0, n, N) for n in sizes]
    for g, n in zip(model.g, sizes, strict=True):
        g[:n] = np.arange(n)
    model.rows = [np.column_stack([np.ones(N), rng.normal(size=(N, 1))])[:, :k] for k in q]
    model.Z = []
    for g, z, n, k in zip(model.g, model.rows, sizes, q, strict=True):
        Z = np.zeros((N, n, k))
        Z[np.arange(N), g] = z
        model.Z.append(Z.reshape(N, n * k))
    model.X = np.column_stack([np.ones(N), rng.normal(size=(N, p - 1))])
    model.y = rng.normal(size=N) + 2 * rng.normal(size=sizes[-1])[model.g[-1]]
    model.L = [np.tril(rng.normal(size=(k, k))) for k in q]
    return model


def V0(model, L=None):
    parts = zip(model.Z, model.L if L is None else L, model.n, strict=True)
    return np.eye(model.N) + sum(Z @ np.kron(np.eye(n), F @ F.T) @ Z.T for Z, F, n in parts)


def dense(model, L=None):
    """What the formulas give with the full V0."""
    V = V0(model, L)
    Vi, X, y = np.linalg.inv(V), model.X, model.y
    XVX = X.T @ Vi @ X
    P = Vi - Vi @ X @ np.linalg.solve(XVX, X.T @ Vi)
    beta = np.linalg.solve(XVX, X.T @ Vi @ y)
    logdets = np.linalg.slogdet(V)[1], np.linalg.slogdet(XVX)[1]
    return SimpleNamespace(V=V, Vi=Vi, P=P, beta=beta, logdets=logdets, r2=(y - X @ beta) @ Vi @ (y - X @ beta))


def eliminated(model):
    """The same by elimination of the first grouping, group by group, as printed."""
    n, q, L1 = model.n[0], model.q[0], model.L[0]
    W = np.hstack([*model.Z[1:], model.X])
    S, s, yVy, logdet, J, C = W.T @ W, W.T @ model.y, model.y @ model.y, 0.0, [], []
    for i in range(n):
        rows = model.g[0] == i
        Zi, Wi, yi = model.rows[0][rows], W[rows], model.y[rows]
        C.append(Zi.T @ Zi)
        J.append(np.linalg.inv(np.eye(q) + L1 @ L1.T @ C[-1]))
        JLL, C1i, c = J[-1] @ L1 @ L1.T, Zi.T @ Wi, Zi.T @ yi
        S, s, yVy = S - C1i.T @ JLL @ C1i, s - C1i.T @ JLL @ c, yVy - c @ JLL @ c
        logdet -= np.linalg.slogdet(J[-1])[1]
    Lam = block_diag(*(np.kron(np.eye(m), F) for m, F in zip(model.n[1:], model.L[1:], strict=True)), np.eye(model.p))
    Q = np.diag([*np.ones(len(Lam) - model.p), *np.zeros(model.p)])
    B = Lam.T @ S @ Lam + Q
    H = Lam @ np.linalg.inv(B) @ Lam.T
    v = H @ s
    return SimpleNamespace(W=W, S=S, s=s, B=B, H=H, v=v, logdet=logdet, r2=yVy - s @ v, J=J, C=C)


def frame_of(model):
    data = pd.DataFrame({f"g{t}": g for t, g in enumerate(model.g)})
    return data.assign(y=model.y, x=model.X[:, 1], z=model.rows[0][:, -1], w=model.rows[-1][:, -1])


def test_several_model(rng):
    """`def-several`, `several-model`, `several-covariance`: covariances by entry, simulated; lmmlib's likelihood."""
    model, sigma2 = random_model(rng, N=12, sizes=(4, 3, 2)), 0.7
    V = sigma2 * V0(model)
    for r, s in rng.integers(0, 12, size=(30, 2)):
        shared = sum(
            z[r] @ (sigma2 * F @ F.T) @ z[s]
            for g, z, F in zip(model.g, model.rows, model.L, strict=True)
            if g[r] == g[s]
        )
        assert_allclose(V[r, s], shared + sigma2 * (r == s))
    size = 40_000
    draws = np.sqrt(sigma2) * rng.normal(size=(12, size))
    for Z, F, n in zip(model.Z, model.L, model.n, strict=True):
        draws += Z @ np.kron(np.eye(n), np.sqrt(sigma2) * F) @ rng.normal(size=(Z.shape[1], size))
    se = np.sqrt((V**2 + np.outer(np.diag(V), np.diag(V))) / size)
    assert (abs(draws @ draws.T / size - V) < 5 * se).all()
    model = random_model(rng)
    fit = lmmlib.fit("y ~ x + (z | g0) + (1 | g1) + (w | g2)", frame_of(model), method="ML")
    D = [fit.D[t].to_numpy() for t in range(3)]
    V = fit.sigma2 * np.eye(model.N)
    V += sum(Z @ np.kron(np.eye(n), M) @ Z.T for Z, n, M in zip(model.Z, model.n, D, strict=True))
    mean = model.X @ fit.beta.to_numpy()
    assert_allclose(fit.loglik, stats.multivariate_normal(mean, V).logpdf(model.y), rtol=1e-9)


def chains(*groups):
    """Blocks of rows that a chain of shared groups connects."""
    shared = sum(g[:, None] == g for g in groups) > 0
    return connected_components(shared)[1]


def test_blocks(rng):
    """`thm-several-blocks`: zeros between blocks, powers of V without zeros within; nested and crossed designs."""
    for sizes in [(15, 14), (20, 20), (4, 3)]:
        g = [rng.integers(0, n, 20) for n in sizes]
        V = np.eye(20) + sum(rng.uniform(0.5, 2) * (one[:, None] == one) for one in g)
        block = chains(*g)
        same = block[:, None] == block
        assert (V[~same] == 0).all()
        assert (np.linalg.matrix_power(V, 20)[same] > 0).all()  # every two rows of a block are connected
    fine = np.repeat(np.arange(12), 2)
    coarse, coarsest = fine // 2, fine // 6
    assert len(set(chains(fine, coarse, coarsest))) == len(set(coarsest)) == 2
    assert (chains(fine, coarse) == chains(coarse)).all()
    a, b = (v.ravel() for v in np.meshgrid(range(4), range(5)))
    assert len(set(chains(a, b))) == 1


def test_levels(rng):
    """`thm-levels`, `levels-bound`, `several-mean-variance`: random unbiased estimators; the GLS of crossed designs."""
    n, m, tau2, sigma2 = 5, 3, rng.uniform(0.5, 3, size=2), rng.uniform(0.5, 2)
    g = [np.repeat(np.arange(n), m), np.tile(np.arange(m), n)]
    V = sigma2 * np.eye(n * m) + sum(t * (one[:, None] == one) for t, one in zip(tau2, g, strict=True))
    for _ in range(50):
        a = rng.normal(size=n * m)
        a /= a.sum()
        assert a @ V @ a >= max(tau2[0] / n, tau2[1] / m)
    y, Vi = rng.normal(size=n * m), np.linalg.inv(V)
    assert_allclose(Vi.sum(axis=0) @ y / Vi.sum(), y.mean())
    assert_allclose(1 / Vi.sum(), tau2[0] / n + tau2[1] / m + sigma2 / (n * m))


def test_crossed():
    """`def-crossed`: rows of the cross-table of the book's data."""

    def entries(data, one, other):
        return (pd.crosstab(data[one], data[other]) > 0).sum(axis=1)

    penicillin, pastes = lmmlib.load("penicillin"), lmmlib.load("pastes")
    assert (entries(pastes, "sample", "batch") == 1).all()
    assert (pastes.groupby("sample", observed=True)["batch"].nunique() == 1).all()
    assert (entries(penicillin, "plate", "sample") == 6).all() and (entries(pastes, "cask", "batch") == 10).all()


@pytest.mark.parametrize("singular", [False, True])
def test_elimination(rng, singular):
    """`several-schur`, `several-elimination`, `thm-elimination`, `several-logdet`: against the full V0."""
    model = random_model(rng)
    if singular:
        model.L[1][:], model.L[2][1, 1] = 0.0, 0.0
    full, by = dense(model), eliminated(model)
    L1 = model.L[0]
    V1 = np.eye(model.N) + model.Z[0] @ np.kron(np.eye(model.n[0]), L1 @ L1.T) @ model.Z[0].T
    assert_allclose(by.S, by.W.T @ np.linalg.solve(V1, by.W), atol=1e-10)
    assert_allclose(by.logdet, np.linalg.slogdet(V1)[1])
    assert_allclose(by.logdet + np.linalg.slogdet(by.B)[1], sum(full.logdets))
    m = len(by.B) - model.p
    assert_allclose(by.logdet + np.linalg.slogdet(by.B[:m, :m])[1], full.logdets[0])
    assert_allclose(by.r2, full.r2)
    rest = model.y - model.X @ full.beta
    Z = np.hstack(model.Z[1:])
    G = block_diag(*(np.kron(np.eye(n), F @ F.T) for n, F in zip(model.n[1:], model.L[1:], strict=True)))
    assert_allclose(by.v, [*G @ Z.T @ full.Vi @ rest, *full.beta], atol=1e-10)
    errors = G - G @ Z.T @ full.P @ Z @ G
    assert_allclose(by.H[:m, :m], errors, atol=1e-10)
    assert_allclose(by.H[m:, m:], np.linalg.inv(model.X.T @ full.Vi @ model.X), atol=1e-10)


def test_one_grouping(rng):
    """`cor-one-grouping`: with one grouping elimination is what chapters 3 to 5 have, by lmmlib.equations."""
    model = random_model(rng, sizes=(7,), q=(2,))
    by, s2 = eliminated(model), 0.8
    design = lmmlib.build_design("y ~ x + (z | g0)", frame_of_one(model))
    cross, D = lmmlib.cross_products(design), s2 * model.L[0] @ model.L[0].T
    gls = lmmlib.equations.gls(cross, D, s2)
    assert_allclose(by.v, gls.beta)
    assert_allclose(s2 * np.linalg.inv(by.B), gls.cov)
    N, p = model.N, model.p
    loglik = -(N * np.log(2 * np.pi * s2) + by.logdet + by.r2 / s2) / 2
    assert_allclose(loglik, lmmlib.equations.profile_loglik(cross, D, s2))
    both = by.logdet + np.linalg.slogdet(by.B)[1]
    restricted = -((N - p) * np.log(2 * np.pi * s2) + both + by.r2 / s2) / 2
    assert_allclose(restricted, lmmlib.equations.restricted_loglik(cross, D, s2))


def frame_of_one(model):
    return pd.DataFrame({"y": model.y, "x": model.X[:, 1], "z": model.rows[0][:, 1], "g0": model.g[0]})


def profiled(model, L, reml):
    full = dense(model, L)
    m = model.N - reml * model.p
    return full.logdets[0] + reml * full.logdets[1] + m * (1 + np.log(2 * np.pi * full.r2 / m))


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_criterion(rng, method):
    """`several-criterion`, `several-gradient`: least over sigma2; slopes by differences; lmmlib's optimum is flat."""
    model, reml = random_model(rng), method == "REML"
    full, m = dense(model), model.N - reml * model.p

    def at(s2):
        return full.logdets[0] + reml * full.logdets[1] + m * np.log(2 * np.pi * s2) + full.r2 / s2

    best = full.r2 / m
    assert_allclose(at(best), profiled(model, model.L, reml))
    assert at(best) < min(at(0.99 * best), at(1.01 * best))

    def slopes(full):
        out = []
        for t, (Z, n, k) in enumerate(zip(model.Z, model.n, model.q, strict=True)):
            trace, u = Z.T @ (full.P if reml else full.Vi) @ Z, (Z.T @ full.P @ model.y).reshape(n, k)
            blocks = np.einsum("iaib->ab", trace.reshape(n, k, n, k))
            Gamma = blocks - u.T @ u / (full.r2 / m)
            out += [(t, a, b, 2 * (Gamma @ model.L[t])[a, b]) for a in range(k) for b in range(a + 1)]
        return out

    for t, a, b, slope in slopes(full):

        def moved(x, t=t, a=a, b=b):
            L = [F.copy() for F in model.L]
            L[t][a, b] = x[0]
            return profiled(model, L, reml)

        assert_allclose(derivative(moved, [model.L[t][a, b]])[0], slope, rtol=1e-6, atol=1e-6)
    fit = lmmlib.fit("y ~ x + (z | g0) + (1 | g1) + (w | g2)", frame_of(model), method=method)
    ends = np.cumsum([0, *(k * (k + 1) // 2 for k in model.q)])
    for t, k in enumerate(model.q):
        model.L[t] = np.zeros((k, k))
        model.L[t].T[np.triu_indices(k)] = fit.theta[ends[t] : ends[t + 1]]
    assert_allclose(profiled(model, model.L, reml), fit.criterion)
    assert max(abs(slope) for *_, slope in slopes(dense(model))) < 1e-3


def test_blocks_after_elimination(rng):
    """`several-blocks`: Z'P0 Z of the grouping that is eliminated, and of those that remain."""
    model = random_model(rng)
    full, by = dense(model), eliminated(model)
    J, C11, C1 = block_diag(*by.J), block_diag(*by.C), model.Z[0].T @ by.W
    assert_allclose(C11 @ J - J.T @ C1 @ by.H @ C1.T @ J, model.Z[0].T @ full.P @ model.Z[0], atol=1e-9)
    assert_allclose(by.S - by.S @ by.H @ by.S, by.W.T @ full.P @ by.W, atol=1e-9)


def test_crossed_balanced(rng):
    """`thm-crossed-balanced`, `crossed-reml`: the restricted likelihood anywhere, and lmmlib's estimates."""
    n1, n2 = 6, 4
    N, f = n1 * n2, np.array([n1 - 1, n2 - 1, (n1 - 1) * (n2 - 1)])
    table = 3 + 2 * rng.normal(size=(n1, 1)) + 3 * rng.normal(size=n2) + rng.normal(size=(n1, n2))
    a, b = table.mean(axis=1) - table.mean(), table.mean(axis=0) - table.mean()
    rest = table - table.mean() - a[:, None] - b
    M = np.array([n2 * (a @ a), n1 * (b @ b), (rest**2).sum()]) / f
    data = pd.DataFrame({"a": np.repeat(range(n1), n2), "b": np.tile(range(n2), n1), "y": table.ravel()})
    g = [data[k].to_numpy() for k in "ab"]
    for tau2_1, tau2_2, s2 in rng.uniform(0.2, 3, size=(5, 3)):
        V = s2 * np.eye(N) + tau2_1 * (g[0][:, None] == g[0]) + tau2_2 * (g[1][:, None] == g[1])
        Vi, gamma = np.linalg.inv(V), np.array([s2 + n2 * tau2_1, s2 + n1 * tau2_2, s2])
        r = data["y"] - Vi.sum(axis=0) @ data["y"] / Vi.sum()
        left = np.linalg.slogdet(V)[1] + np.log(Vi.sum()) + r @ Vi @ r + (N - 1) * np.log(2 * np.pi)
        assert_allclose(left, (N - 1) * np.log(2 * np.pi) + np.log(N) + f @ (np.log(gamma) + M / gamma))
    fit = lmmlib.fit("y ~ 1 + (1 | a) + (1 | b)", data)
    assert M[2] < min(M[:2])
    expected = [(M[0] - M[2]) / n2, (M[1] - M[2]) / n1, M[2]]
    assert_allclose([fit.D[0].iloc[0, 0], fit.D[1].iloc[0, 0], fit.sigma2], expected, rtol=1e-5)


def study(rng, size, n_s, n_w, sd):
    """Answers without an effect, (size, n_s, n_w), and x of the words."""
    x = np.repeat([-0.5, 0.5], n_w // 2)
    level, slope = rng.normal(size=(2, size, n_s, 1))
    slope = 0.4 * level + np.sqrt(1 - 0.16) * slope
    word, e = rng.normal(size=(size, 1, n_w)), rng.normal(size=(size, n_s, n_w))
    return sd[0] * level + sd[1] * slope * x + sd[2] * word + sd[3] * e, x


def test_fallacy(rng):
    """`thm-fallacy`, `fallacy-variance`, `fallacy-f`: simulated variance and quantiles; the level tends to one."""
    n_s, n_w, sd, size = 6, 8, (1.5, 0.8, 0.7, 1.2), 20_000
    y, x = study(rng, size, n_s, n_w, sd)
    subjects, words, noise = sd[1] ** 2 / n_s, 4 * sd[2] ** 2 / n_w, 4 * sd[3] ** 2 / (n_s * n_w)
    v = subjects + words + noise
    delta, of_words = y[..., x > 0].mean(axis=2) - y[..., x < 0].mean(axis=2), y.mean(axis=1)
    beta = delta.mean(axis=1)
    assert abs((beta**2).mean() / v - 1) < 5 * np.sqrt(2 / size)
    within = (of_words[:, x > 0].var(axis=1, ddof=1) + of_words[:, x < 0].var(axis=1, ddof=1)) * 2 / n_w
    pairs = [
        (beta**2 / (delta.var(axis=1, ddof=1) / n_s), v / (v - words), n_s - 1),
        (beta**2 / within, v / (v - subjects), n_w - 2),
    ]
    for F, factor, f in pairs:
        for share in (0.5, 0.9, 0.95):
            above = (F > factor * stats.f.ppf(share, 1, f)).mean()
            assert abs(above - (1 - share)) < 5 * np.sqrt(share * (1 - share) / size)
    far = 10**8
    ratio = 1 + words / (sd[1] ** 2 / far + 4 * sd[3] ** 2 / (far * n_w))
    assert stats.f.sf(stats.f.isf(0.05, 1, far - 1) / ratio, 1, far - 1) > 0.999


def test_min_f(rng):
    """`min-f`: the denominator is the sum of two, with the df of Satterthwaite; residuals count twice."""
    beta2, v1, v2, f1, f2 = rng.uniform(1, 3), *rng.uniform(0.1, 1, size=2), 19, 14
    F1, F2 = beta2 / v1, beta2 / v2
    assert_allclose(F1 * F2 / (F1 + F2), beta2 / (v1 + v2))
    f = (F1 + F2) ** 2 / (F1**2 / f2 + F2**2 / f1)
    assert_allclose(f, (v1 + v2) ** 2 / (v1**2 / f1 + v2**2 / f2))


def test_split_plot(rng):
    """`prop-split-plot`, `split-plot`, `split-plot-df`: by the full V, and lmmlib's df and standard errors."""
    k, v, s = 5, 3, 4
    rows = pd.MultiIndex.from_product([range(k), range(v), range(s)], names=["k", "v", "s"]).to_frame(index=False)
    plot = rows["k"] * v + rows["v"]
    Z = [pd.get_dummies(one).to_numpy(float) for one in (rows["k"], plot)]
    X = pd.get_dummies(rows["v"] * s + rows["s"]).to_numpy(float)  # a mean for each variety and amount
    tau2, s2 = rng.uniform(0.5, 3, size=2), rng.uniform(0.5, 2)
    V = s2 * np.eye(k * v * s) + sum(t * one @ one.T for t, one in zip(tau2, Z, strict=True))
    Phi = np.linalg.inv(X.T @ np.linalg.solve(V, X))
    means = np.eye(v * s).reshape(v, s, v * s)
    varieties = means[1].mean(axis=0) - means[0].mean(axis=0)
    amounts, simple = means[:, 1].mean(axis=0) - means[:, 0].mean(axis=0), means[1, 0] - means[0, 0]
    L = np.array([varieties, amounts, simple])
    expected = [2 * (s2 + s * tau2[1]) / (k * s), 2 * s2 / (k * v), 2 * (s2 + tau2[1]) / k]
    assert_allclose(np.diag(L @ Phi @ L.T), expected)
    rows["y"] = sum(3 * one @ rng.normal(size=one.shape[1]) for one in Z) + rng.normal(size=k * v * s)
    fit = lmmlib.fit("y ~ 0 + C(v):C(s) + (1 | k/v)", rows)
    cube = rows["y"].to_numpy().reshape(k, v, s)
    plots = cube.mean(axis=2)
    of_plots = plots - plots.mean(axis=1, keepdims=True) - plots.mean(axis=0) + plots.mean()
    rest = cube - plots[:, :, None] - cube.mean(axis=0) + plots.mean(axis=0)[:, None]
    f_p, f_e = (k - 1) * (v - 1), v * (k - 1) * (s - 1)
    M_p, M_e = s * (of_plots**2).sum() / f_p, (rest**2).sum() / f_e
    assert M_p > M_e
    names = list(fit.beta.index)
    place = [names.index(f"C(v){i}:C(s){j}") for i in range(v) for j in range(s)]
    in_order = np.zeros_like(L)
    in_order[:, place] = L
    found = fit.contrasts(dict(zip(["varieties", "amounts", "simple"], in_order, strict=True)))
    expected = [2 * M_p / (k * s), 2 * M_e / (k * v), 2 * (M_p + (s - 1) * M_e) / (k * s)]
    assert_allclose(found["se"] ** 2, expected, rtol=1e-5)
    mixed = (M_p + (s - 1) * M_e) ** 2 / (M_p**2 / f_p + ((s - 1) * M_e) ** 2 / f_e)
    assert_allclose(found["df"], [f_p, f_e, mixed], rtol=1e-4)


def test_prediction(rng):
    """`several-prediction`, `several-error`: known and new groups, by lmmlib and by the full V."""
    model = random_model(rng, q=(1, 1, 1))
    fit = lmmlib.fit("y ~ x + (1 | g0) + (1 | g1) + (1 | g2)", frame_of(model))
    tau2, s2 = np.array([fit.D[t].iloc[0, 0] for t in range(3)]), fit.sigma2
    model.L = [np.array([[np.sqrt(t / s2)]]) for t in tau2]
    full, by = dense(model), eliminated(model)
    new = pd.DataFrame({"g0": [0, -1, 3], "g1": [2, 1, -1], "g2": [1, 3, -1], "x": rng.normal(size=3)})
    shown = fit.predict(new, interval="confidence")
    b = [t / s2 * Z.T @ full.P @ model.y for t, Z in zip(tau2, model.Z, strict=True)]
    G = block_diag(*(j * F @ F.T for j, F in zip(by.J, model.L[:1] * model.n[0], strict=True)))
    C1 = model.Z[0].T @ by.W
    for r, row in new.iterrows():
        known = [int(row[f"g{t}"]) if row[f"g{t}"] >= 0 else None for t in range(3)]
        x = np.array([1.0, row["x"]])
        estimate = x @ full.beta + sum(b[t][i] for t, i in enumerate(known) if i is not None)
        weights = [np.zeros(n) for n in model.n]
        for t, i in enumerate(known):
            if i is not None:
                weights[t][i] = 1.0
        a1, a = weights[0], np.concatenate([*weights[1:], x])
        h = a - C1.T @ G @ a1
        variance = s2 * (a1 @ G @ a1 + h @ by.H @ h)
        k = sum(t / s2 * Z @ w for t, Z, w in zip(tau2, model.Z, weights, strict=True))
        unseen = x - model.X.T @ full.Vi @ k
        Phi = np.linalg.inv(model.X.T @ full.Vi @ model.X)
        prior = sum(t / s2 * (w @ w) for t, w in zip(tau2, weights, strict=True))
        assert_allclose(variance, s2 * (prior - k @ full.Vi @ k + unseen @ Phi @ unseen), rtol=1e-8)
        fresh = sum(t for t, i in zip(tau2, known, strict=True) if i is None)
        assert_allclose(
            shown.loc[r, ["estimate", "se"]].astype(float), [estimate, np.sqrt(variance + fresh)], rtol=1e-6
        )
