r"""Every formula exactly as printed, with the full N by N matrices: slow, obvious, and the oracle of the tests.

Nothing here uses cross-products, patterns, Woodbury's identity or a change of basis.
"""

from __future__ import annotations

import numpy as np

from lmmlib.design.design import Design
from lmmlib.errors import DesignError


def big_Z(design: Design) -> np.ndarray:
    """Block-diagonal random-effects design for the stacked vector of all b_i, (N, n q)."""
    q = len(design.z_names)
    Z = np.zeros((design.n_obs, design.n_groups * q))
    for i in range(design.n_groups):
        rows = design.rows(i)
        Z[rows, i * q : (i + 1) * q] = design.Z[rows]
    return Z


def V(design: Design, D, sigma2: float) -> np.ndarray:
    r"""Marginal covariance of all observations, (N, N): :math:`V = Z(I_n \otimes D)Z' + \sigma^2 I`, or, with weights,
    the variances of the residuals on the diagonal.

    Equation :eq:`marginal-covariance` of the book.
    """
    Z = big_Z(design)
    D = np.reshape(np.asarray(D, float), (len(design.z_names), len(design.z_names)))
    return Z @ np.kron(np.eye(design.n_groups), D) @ Z.T + sigma2 * np.diag(design.residual_variances)


def loglik(design: Design, beta, D, sigma2: float) -> float:
    r"""Marginal log-likelihood, equation :eq:`marginal-loglik` of the book, as printed."""
    Vy = V(design, D, sigma2)
    r = design.centred(design.y) - design.X @ np.asarray(beta, float)
    return float(-0.5 * (design.n_obs * np.log(2 * np.pi) + np.linalg.slogdet(Vy)[1] + r @ np.linalg.inv(Vy) @ r))


def gls(design: Design, D, sigma2: float) -> tuple[np.ndarray, np.ndarray]:
    r"""GLS estimate and its covariance, equations :eq:`gls-estimator` and :eq:`gls-covariance`, as printed."""
    W = np.linalg.inv(V(design, D, sigma2))
    cov = np.linalg.inv(design.X.T @ W @ design.X)
    return cov @ design.X.T @ W @ design.centred(design.y), cov


def profile_loglik(design: Design, D, sigma2: float) -> float:
    r"""Profile log-likelihood, equation :eq:`profile-loglik` of the book, as printed."""
    return loglik(design, gls(design, D, sigma2)[0], D, sigma2)


def restricted_loglik(design: Design, D, sigma2: float) -> float:
    r"""Restricted log-likelihood, equation :eq:`restricted-loglik` of the book, as printed."""
    W = np.linalg.inv(V(design, D, sigma2))
    p = design.X.shape[1]
    logdet = np.linalg.slogdet(design.X.T @ W @ design.X)[1]
    return profile_loglik(design, D, sigma2) + 0.5 * (p * np.log(2 * np.pi) - logdet)


def V_derivatives(design: Design) -> list[np.ndarray]:
    r"""Derivatives of V with respect to vech D and sigma2, a list of (N, N) arrays."""
    q, Z = len(design.z_names), big_Z(design)
    out = []
    for b in range(q):
        for a in [b] if design.diagonal else range(b, q):
            E = np.zeros((q, q))
            E[a, b] = E[b, a] = 1.0
            out.append(Z @ np.kron(np.eye(design.n_groups), E) @ Z.T)
    return [*out, np.diag(design.residual_variances)]


def projection(design: Design, D, sigma2: float) -> np.ndarray:
    r"""The matrix :math:`P = V^{-1} - V^{-1}X(X'V^{-1}X)^{-1}X'V^{-1}`, (N, N)."""
    W = np.linalg.inv(V(design, D, sigma2))
    WX = W @ design.X
    return W - WX @ np.linalg.inv(design.X.T @ WX) @ WX.T


def information_variance(
    design: Design, D, sigma2: float, *, method: str = "REML", kind: str = "expected"
) -> np.ndarray:
    r"""Information on (vech D, sigma2), equation :eq:`information-variance` of the book, as printed."""
    P, W = projection(design, D, sigma2), np.linalg.inv(V(design, D, sigma2))
    A = P if method == "REML" else W
    dV = V_derivatives(design)
    expected = np.array([[0.5 * np.trace(A @ r @ A @ s) for s in dV] for r in dV])
    if kind == "expected":
        return expected
    Py = P @ design.centred(design.y)
    return np.array([[Py @ r @ P @ s @ Py for s in dV] for r in dV]) - expected


def score_variance(design: Design, D, sigma2: float, *, method: str = "REML") -> np.ndarray:
    r"""Score of (vech D, sigma2) with beta profiled out, as printed beside :eq:`information-variance`."""
    P, W = projection(design, D, sigma2), np.linalg.inv(V(design, D, sigma2))
    A, Py = P if method == "REML" else W, P @ design.centred(design.y)
    return np.array([0.5 * (Py @ r @ Py - np.trace(A @ r)) for r in V_derivatives(design)])


def ols_covariance(design: Design, D, sigma2: float) -> np.ndarray:
    r"""True covariance of ordinary least squares, equation :eq:`ols-covariance` of the book, as printed."""
    XtW = design.X.T / design.residual_variances
    H = np.linalg.inv(XtW @ design.X) @ XtW
    return H @ V(design, D, sigma2) @ H.T


def sandwich(design: Design, beta, D, sigma2: float) -> np.ndarray:
    r"""Cluster-robust covariance, equation :eq:`sandwich` of the book, as printed."""
    W = np.linalg.inv(V(design, D, sigma2))
    C = np.linalg.inv(design.X.T @ W @ design.X)
    r = design.centred(design.y) - design.X @ np.asarray(beta, float)
    meat = np.zeros_like(C)
    for i in range(design.n_groups):
        rows = design.rows(i)
        score = design.X[rows].T @ W[np.ix_(rows, rows)] @ r[rows]
        meat += np.outer(score, score)
    return C @ meat @ C


def satterthwaite(design: Design, L, D, sigma2: float, *, kind: str = "observed") -> float:
    r"""Satterthwaite df of one contrast, equation :eq:`satterthwaite` of the book, as printed."""
    W = np.linalg.inv(V(design, D, sigma2))
    C = np.linalg.inv(design.X.T @ W @ design.X)
    c = C @ np.asarray(L, float)
    g = np.array([c @ design.X.T @ W @ dV @ W @ design.X @ c for dV in V_derivatives(design)])
    A = np.linalg.inv(information_variance(design, D, sigma2, method="REML", kind=kind))
    return float(2 * (np.asarray(L) @ c) ** 2 / (g @ A @ g))


def kenward_roger_covariance(design: Design, D, sigma2: float) -> np.ndarray:
    r"""Kenward-Roger's adjusted covariance, equation :eq:`kenward-roger-covariance` of the book, as printed."""
    X, W = design.X, np.linalg.inv(V(design, D, sigma2))
    Phi = np.linalg.inv(X.T @ W @ X)
    weight = np.linalg.inv(information_variance(design, D, sigma2))
    dV = V_derivatives(design)
    middle = np.zeros_like(Phi)
    for r, Vr in enumerate(dV):
        for s, Vs in enumerate(dV):
            Q = X.T @ W @ Vr @ W @ Vs @ W @ X
            middle += weight[r, s] * (Q - X.T @ W @ Vr @ W @ X @ Phi @ X.T @ W @ Vs @ W @ X)
    return Phi + 2 * Phi @ middle @ Phi


def henderson(design: Design, D, sigma2: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Henderson's equations :eq:`mixed-model-equations` of the book, as printed, with the inverse of D.

    Returns beta (p,), b (n_groups, q) and the inverse of the matrix of the system times sigma2, (p + n q, p + n q): the
    covariance of the errors of beta and of all b, group after group. A singular D has no inverse: DesignError.
    """
    root = np.sqrt(1 / design.residual_variances)
    X, Z, p, D = root[:, None] * design.X, root[:, None] * big_Z(design), design.X.shape[1], np.asarray(D, float)
    sd = np.sqrt(np.diag(D))
    if not (sd > 0).all() or np.linalg.matrix_rank(D / np.outer(sd, sd), tol=1e-10) < len(D):
        raise DesignError("D is singular, and these equations hold its inverse; lmmlib.equations.henderson needs none")
    y = root * design.centred(design.y)
    precision = sigma2 * np.kron(np.eye(design.n_groups), np.linalg.inv(D))
    C = np.block([[X.T @ X, X.T @ Z], [Z.T @ X, Z.T @ Z + precision]])
    solution = np.linalg.solve(C, np.concatenate([X.T @ y, Z.T @ y]))
    return solution[:p], solution[p:].reshape(design.n_groups, -1), sigma2 * np.linalg.inv(C)
