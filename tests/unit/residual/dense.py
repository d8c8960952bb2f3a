"""The same model with full matrices, written as it is printed: what the fast formulas are compared with."""

import numpy as np
from scipy.linalg import block_diag

TIMES = np.array([0.0, 1.0, 4.0, 6.0])


def ar1(sigma2, rho, times=TIMES):
    return sigma2 * rho ** np.abs(np.subtract.outer(times, times))


def compound(sigma2, kappa, m=4):
    return (sigma2 - kappa) * np.eye(m) + kappa * np.ones((m, m))


def V(design, D, R_of):
    """V of all rows, group after group in the order of the data: Z D Z' + R, R_of(rows) of a group's rows."""
    rows = [design.rows(i) for i in range(design.n_groups)]
    blocks = [design.Z[r] @ D @ design.Z[r].T + R_of(r) for r in rows]
    order = np.concatenate(rows)
    out = np.empty((design.n_obs,) * 2)
    out[np.ix_(order, order)] = block_diag(*blocks)
    return out


def criterion(V, X, y, method):
    """Minus twice the log-likelihood, or the restricted one, with all constants."""
    W = np.linalg.inv(V)
    G = X.T @ W @ X
    r = y - X @ np.linalg.solve(G, X.T @ W @ y)
    m = len(y) - (X.shape[1] if method == "REML" else 0)
    more = np.linalg.slogdet(G)[1] if method == "REML" else 0.0
    return m * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + more + r @ W @ r


def gls(V, X, y):
    W = np.linalg.inv(V)
    Phi = np.linalg.inv(X.T @ W @ X)
    return Phi @ X.T @ W @ y, Phi


def projection(V, X):
    W = np.linalg.inv(V)
    return W - W @ X @ np.linalg.inv(X.T @ W @ X) @ X.T @ W


def differences(f, x, step=1e-5):
    """Derivatives of f by the entries of x, in the first axis."""
    return np.array([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(len(x))])
