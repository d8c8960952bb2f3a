"""Covariances of the residuals: both sides of each formula at random inputs."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag

import lmmlib
from lmmlib import residual
from tests.equations.models import least_eigenvalue

TIMES = np.array([0.0, 1.0, 4.0, 6.0])


def free(rng, m=4):
    """A positive definite matrix."""
    A = rng.normal(size=(m, m))
    return A @ A.T + 0.3 * np.eye(m)


def printed(rng):
    """The five matrices of `residual-structures`, entry by entry, and what fits them."""
    s2, sd, rho, S = rng.uniform(0.5, 2), rng.uniform(0.5, 2, 4), rng.uniform(0.1, 0.8), free(rng)
    d = np.eye(4)
    entries = {
        "independent": lambda j, k: s2 * d[j, k],
        "by": lambda j, k: sd[j] ** 2 * d[j, k],
        "compound": lambda j, k: s2 * (rho + (1 - rho) * d[j, k]),
        "ar1": lambda j, k: s2 * rho ** abs(TIMES[j] - TIMES[k]),
        "unstructured": lambda j, k: S[j, k],
    }
    return {name: np.array([[f(j, k) for k in range(4)] for j in range(4)]) for name, f in entries.items()}


def visits(rng, V, n=60):
    """n children with four visits of covariance V, some missed."""
    y = rng.normal(size=(n, 4)) @ np.linalg.cholesky(V).T
    frame = pd.DataFrame({"id": np.repeat(np.arange(n), 4), "week": np.tile(TIMES, n), "y": y.ravel()})
    return frame[(frame["week"] == 0) | (rng.random(4 * n) > 0.2)].reset_index(drop=True)


def joint(rng, q=2, m=4):
    """Z, D, E of m visits and one more, whose row of Z is the last, and their covariance as linear maps make it."""
    Z, D, E = rng.normal(size=(m + 1, q)), free(rng, q), free(rng, m + 1)
    maps = np.hstack([Z, np.eye(m + 1)])
    return Z, D, E, maps @ block_diag(D, E) @ maps.T


def test_residual_marginal_covariance(rng):
    """`residual-marginal-covariance`: the covariance of Z b + epsilon; rows and columns for a child that missed one."""
    Z, D, E, V = joint(rng)
    assert_allclose(Z @ D @ Z.T + E, V, atol=1e-12)
    came = [0, 2, 3]
    pick = np.eye(5)[came]
    assert_allclose(Z[came] @ D @ Z[came].T + E[np.ix_(came, came)], pick @ V @ pick.T, atol=1e-12)


@pytest.mark.parametrize("name", ["by", "compound", "ar1", "unstructured"])
def test_residual_structures(rng, name):
    """`residual-structures`: lmmlib's matrix at its estimates is of the printed form, and positive definite."""
    V = printed(rng)[name]
    assert least_eigenvalue(V) > 0
    form = {
        "by": residual.by,
        "compound": residual.compound,
        "ar1": residual.ar1,
        "unstructured": residual.unstructured,
    }
    fit = lmmlib.fit("y ~ 1 + (0 | id)", visits(rng, V), residual=form[name]("week"))
    E, p = fit.residual_covariance().to_numpy(), fit.parameters()
    if name in ("compound", "ar1"):
        h = abs(TIMES[:, None] - TIMES) if name == "ar1" else 1 - np.eye(4)
        assert_allclose(E, p["sigma"] ** 2 * p["rho"] ** h, rtol=1e-8)
    elif name == "by":
        assert_allclose(E, np.diag(p[[f"sigma {week:g}" for week in TIMES]] ** 2), rtol=1e-8)
    else:
        assert np.linalg.eigvalsh(E)[0] > 0 and len(fit.working) == 10
    # The criterion is that of the matrix of all rows.
    d, level = fit.design, fit.design.group
    at = np.searchsorted(TIMES, visits_of(fit))
    big = np.where(level[:, None] == level, E[np.ix_(at, at)], 0.0)
    W = np.linalg.inv(big)
    Phi = np.linalg.inv(d.X.T @ W @ d.X)
    r = d.y - d.X @ Phi @ d.X.T @ W @ d.y
    whole = np.linalg.slogdet(big)[1] - np.linalg.slogdet(Phi)[1] + r @ W @ r + (d.n_obs - 1) * np.log(2 * np.pi)
    assert_allclose(fit.criterion, whole, rtol=1e-9)


def visits_of(fit):
    """The week of each row."""
    return np.array([level[0] for level in fit.model.visits.levels])[fit.model.visits.code]


def test_level_twice(rng):
    """`lem-level-twice`: one V from two pairs; compound symmetry and free matrices stay so, autoregressions not."""
    E, tau2, delta = printed(rng), rng.uniform(1, 2), rng.uniform(0.05, 0.2)
    J, h = np.ones((4, 4)), abs(np.subtract.outer(np.arange(4), np.arange(4)))
    for one in E.values():
        assert_allclose((tau2 - delta) * J + one + delta * J, tau2 * J + one)
    moved = E["compound"] + delta
    assert len(np.unique(moved.round(10))) == 2 and len(np.unique(np.diag(moved).round(10))) == 1
    s2, rho = rng.uniform(0.5, 2), rng.uniform(0.1, 0.9)
    start = (s2 * rho**h + delta)[0]
    gap = start[1] ** 2 - start[0] * start[2]
    assert_allclose(-gap, delta * s2 * (1 - rho) ** 2)


def test_residual_blup(rng):
    """`prop-residual-blup`, `residual-blup`, `residual-prediction-variance`: Henderson's and kriging by constraints.

    The best linear unbiased predictor minimises the variance of the error among C with C X = x': Lagrange's equations.
    """
    groups, p = 4, 2
    parts = [joint(rng) for _ in range(groups)]
    X = [rng.normal(size=(5, p)) for _ in range(groups)]
    V = block_diag(*[part[3][:4, :4] for part in parts])
    old = np.concatenate([x[:4] for x in X])
    W = np.linalg.inv(V)
    Phi = np.linalg.inv(old.T @ W @ old)
    y = rng.normal(size=4 * groups)
    r = (y - old @ Phi @ old.T @ W @ y).reshape(groups, 4)
    Z, D, E, whole = parts[1]
    V1, Z1, c = whole[:4, :4], Z[:4], Z[:4] @ D @ Z[4] + E[:4, 4]
    b, e = D @ Z1.T @ np.linalg.solve(V1, r[1]), E[:4, :4] @ np.linalg.solve(V1, r[1])
    assert_allclose(Z1 @ b + e, r[1], atol=1e-10)

    def constrained(x, cov_ty, var_t):
        """Prediction, and variance of the error, of a target with mean x'beta."""
        system = np.block([[V, old], [old.T, np.zeros((p, p))]])
        C = np.linalg.solve(system, np.append(cov_ty, x))[: len(y)]
        return C @ y, C @ V @ C - 2 * C @ cov_ty + var_t

    def at(cov):
        """The covariance with all rows, of a target of the second group."""
        return np.concatenate([np.zeros(4), cov, np.zeros(4 * (groups - 2))])

    for k in range(2):
        assert_allclose(b[k], constrained(np.zeros(p), at((D @ Z1.T)[k]), D[k, k])[0], rtol=1e-8)
    for k in range(4):
        assert_allclose(e[k], constrained(np.zeros(p), at(E[k, :4]), E[k, k])[0], rtol=1e-8)
    beta, x, X1 = Phi @ old.T @ W @ y, X[1][4], X[1][:4]
    value, variance = constrained(x, at(c), whole[4, 4])
    gap = x - X1.T @ np.linalg.solve(V1, c)
    assert_allclose(value, x @ beta + c @ np.linalg.solve(V1, r[1]), rtol=1e-8)
    own = Z[4] @ D @ Z[4] + E[4, 4] - c @ np.linalg.solve(V1, c)
    assert_allclose(variance, own + gap @ Phi @ gap, rtol=1e-8)


def test_residual_predictions_of_lmmlib(rng):
    """`residual-blup`, `residual-prediction-variance`: what a fit predicts for a further visit of a known child."""
    data = visits(rng, printed(rng)["ar1"] + 1.0)
    last = data.groupby("id").tail(1)
    new = last[last["week"] < 6].assign(week=6.0).iloc[:5]
    fit = lmmlib.fit("y ~ 1 + (1 | id)", data, residual=residual.ar1("week"))
    found = fit.predict(new, interval="prediction")
    p, tau2, phi = fit.parameters(), fit.D.iloc[0, 0], fit.cov_beta.iloc[0, 0]
    for child, row in zip(new["id"], found.itertuples(), strict=True):
        own = data[data["id"] == child]
        t = np.append(own["week"], 6.0)
        V = tau2 + p["sigma"] ** 2 * p["rho"] ** abs(t[:, None] - t)
        told = np.linalg.solve(V[:-1, :-1], V[:-1, -1])
        r = own["y"].to_numpy() - fit.beta.iloc[0]
        gap = 1 - told.sum()
        assert_allclose(row.estimate, fit.beta.iloc[0] + told @ r, rtol=1e-6)
        assert_allclose(row.se**2, V[-1, -1] - V[:-1, -1] @ told + gap**2 * phi, rtol=1e-6)


def test_residual_weights(rng):
    """`residual-weights`: tau2 1' V^-1 r; and the weights of an autoregression."""
    tau2, E, r = rng.uniform(0.5, 2), free(rng), rng.normal(size=4)
    told = np.linalg.solve(E, np.ones(4))
    assert_allclose(tau2 * np.ones(4) @ np.linalg.solve(tau2 + E, r), told @ r / (1 / tau2 + told.sum()))
    rho, m = rng.uniform(0.1, 0.9), 6
    ar = rho ** abs(np.subtract.outer(np.arange(m), np.arange(m)))
    ends = np.where((np.arange(m) == 0) | (np.arange(m) == m - 1), 1, 1 - rho)
    assert_allclose(np.linalg.solve(ar, np.ones(m)), ends / (1 + rho))


def test_kenward_roger_bends(rng):
    """`kenward-roger-bends`: as printed with full matrices and numerical derivatives of V; lmmlib's fit."""
    data = visits(rng, printed(rng)["ar1"], n=9)
    fit = lmmlib.fit("y ~ week + (0 | id)", data, residual=residual.ar1("week"))
    group, t, X = fit.design.group, data["week"].to_numpy(), fit.design.X
    alpha = np.array([fit.parameters()["sigma"] ** 2, fit.parameters()["rho"]])

    def V(a):
        return np.where(group[:, None] == group, a[0] * a[1] ** abs(t[:, None] - t), 0.0)

    e = np.eye(2) * 1e-4
    dV = [(V(alpha + s) - V(alpha - s)) / 2e-4 for s in e]
    ddV = [[(V(alpha + s + u) - V(alpha + s - u) - V(alpha - s + u) + V(alpha - s - u)) / 4e-8 for u in e] for s in e]
    W = np.linalg.inv(V(alpha))
    Phi = np.linalg.inv(X.T @ W @ X)
    P = W - W @ X @ Phi @ X.T @ W
    cov = np.linalg.inv([[np.trace(P @ a @ P @ b) / 2 for b in dV] for a in dV])
    total = np.zeros_like(Phi)
    for k, a in enumerate(dV):
        for j, b in enumerate(dV):
            Q, R = X.T @ W @ a @ W @ b @ W @ X, X.T @ W @ ddV[k][j] @ W @ X
            total += cov[k, j] * (Q - (X.T @ W @ a @ W @ X) @ Phi @ (X.T @ W @ b @ W @ X) - R / 4)
    adjusted = Phi + 2 * Phi @ total @ Phi
    ours = fit.contrasts({name: {name: 1} for name in fit.beta.index}, df="kenward-roger")["se"]
    assert_allclose(ours, np.sqrt(np.diag(adjusted)), rtol=1e-4)
