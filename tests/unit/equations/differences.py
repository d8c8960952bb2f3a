"""The error of estimating D and sigma2 in predictions, by matrices of all rows and central differences."""

import numpy as np

from lmmlib import dense


def blocks(M, q):
    """Diagonal blocks (n, q, q) of a matrix of all random effects."""
    return np.array([M[i : i + q, i : i + q] for i in range(0, len(M), q)])


def differenced(design, D, sigma2):
    """sum W_rs dS_r V dS_s' with central differences of S = D Z'V^-1, (n, q, q)."""
    q, h = len(D), 1e-5
    cells = [(a, b) for b in range(q) for a in ([b] if design.diagonal else range(b, q))]

    def S(D, sigma2):
        big = np.kron(np.eye(design.n_groups), D)
        return big @ dense.big_Z(design).T @ np.linalg.inv(dense.V(design, D, sigma2))

    slopes = []
    for a, b in cells:
        E = np.zeros((q, q))
        E[a, b] = E[b, a] = h
        slopes.append((S(D + E, sigma2) - S(D - E, sigma2)) / (2 * h))
    slopes.append((S(D, sigma2 + h) - S(D, sigma2 - h)) / (2 * h))
    W = np.linalg.inv(dense.information_variance(design, D, sigma2))
    V = dense.V(design, D, sigma2)
    total = sum(W[r, s] * a @ V @ b.T for r, a in enumerate(slopes) for s, b in enumerate(slopes))
    return blocks(total, q)
