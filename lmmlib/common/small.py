r"""Small matrices for many chains and groups at once: entries are the first two axes, the many come last.

An operation on one entry then runs along all chains and groups, and a Python loop is needed only over the few rows
and columns of a matrix.
"""

from __future__ import annotations

import numpy as np


def product(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Products A B, entries first."""
    return A * B if A.shape[1] == 1 else np.einsum("ab...,bc...->ac...", A, B)


def transposed(A: np.ndarray) -> np.ndarray:
    """Each matrix transposed, entries first."""
    return np.swapaxes(A, 0, 1)


def square(A: np.ndarray) -> np.ndarray:
    """Products A A', entries first."""
    return A * A if A.shape[:2] == (1, 1) else np.einsum("ab...,cb...->ac...", A, A)


def gram(A: np.ndarray) -> np.ndarray:
    """Sums over groups of the products of all rows: (columns, C, n) gives (C, columns, columns)."""
    rows = A.transpose(1, 0, 2)
    return rows @ rows.transpose(0, 2, 1)


def cholesky(S: np.ndarray) -> np.ndarray:
    """Lower triangular C with S = C C', entries first; NaN where S is not positive definite."""
    q = len(S)
    if q == 1:
        return np.sqrt(S)
    C = np.zeros_like(S)
    for j in range(q):
        C[j, j] = np.sqrt(S[j, j] - (C[j, :j] ** 2).sum(axis=0))
        for i in range(j + 1, q):
            C[i, j] = (S[i, j] - (C[i, :j] * C[j, :j]).sum(axis=0)) / C[j, j]
    return C


def inverse_lower(C: np.ndarray) -> np.ndarray:
    """Inverse of lower triangular matrices, entries first."""
    q = len(C)
    if q == 1:
        return 1 / C
    inverse = np.zeros_like(C)
    for j in range(q):
        inverse[j, j] = 1 / C[j, j]
        for i in range(j):
            inverse[j, i] = -(C[j, i:j] * inverse[i:j, i]).sum(axis=0) * inverse[j, j]
    return inverse


def logdet(C: np.ndarray) -> np.ndarray:
    """Logarithms of the determinants of CC', C triangular, entries first."""
    return 2 * np.log(np.einsum("jj...->j...", C)).sum(axis=0)


def inverse_cholesky(S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of the Cholesky factors of positive definite S, and log-determinants of S, entries first."""
    C = cholesky(S)
    return inverse_lower(C), logdet(C)


def semidefinite_cholesky(D: np.ndarray) -> np.ndarray:
    """Lower triangular L with D = L L' of each D (..., q, q), which may be singular: a column without variance is zero.

    Unlike an eigenvector, L has no sign to choose, so a seed gives the same draws on every machine.
    """
    L = np.zeros_like(D)
    for k in range(D.shape[-1]):
        left = D[..., k:, k] - np.einsum("...ij,...j->...i", L[..., k:, :k], L[..., k, :k])
        some = left[..., :1] > 1e-14 * D[..., k, k, None]
        L[..., k:, k] = np.where(some, left / np.sqrt(np.where(some, left[..., :1], 1.0)), 0.0)
    return L


def factor(D: np.ndarray) -> np.ndarray:
    """L with D = L L' of one D (q, q), also a singular one: eigenvectors, so that rounding below zero is cut off."""
    if not D.size:
        return D
    values, vectors = np.linalg.eigh(D)
    return vectors * np.sqrt(np.clip(values, 0, None))


def vech(q: int, diagonal: bool = False) -> list[tuple[int, int]]:
    """Entries of a symmetric matrix, column by column from the diagonal down; of a diagonal one the diagonal."""
    return [(a, b) for b in range(q) for a in range(b, q) if a == b or not diagonal]


def symmetric_units(q: int, diagonal: bool = False) -> np.ndarray:
    """Derivatives of a symmetric matrix by its entries in the order of :func:`vech`, (k, q, q)."""
    E = np.zeros((len(vech(q, diagonal)), q, q))
    for e, (a, b) in zip(E, vech(q, diagonal), strict=True):
        e[a, b] = e[b, a] = 1.0
    return E


def bartlett(rng: np.random.Generator, q: int, df, shape: tuple) -> np.ndarray:
    """Lower triangular A (q, q, ``*shape``) for which A A' is Wishart with ``df`` degrees of freedom and mean df I.

    Bartlett's decomposition: squares of the diagonal are chi-square with df, df - 1, ..., what is below it is standard
    normal. A whole df below q gives a matrix of rank df, that of the sum of df squares: columns beyond df are zero.

    Parameters
    ----------
    rng : Generator
    q : int
    df : float or ndarray
        Broadcasts against ``shape``; whole numbers where it is not above q - 1.
    shape : tuple
    """
    if q == 1:
        return np.sqrt(2 * rng.standard_gamma(df / 2, shape))[None, None]
    A = np.zeros((q, q, *shape))
    few = np.min(df) < q
    for j in range(q):
        freedom = np.maximum(df - j, 0) if few else df - j
        A[j, j] = np.sqrt(2 * rng.standard_gamma(freedom / 2, shape))
        if j + 1 < q:
            A[j + 1 :, j] = rng.standard_normal((q - j - 1, *shape))
            if few:
                A[j + 1 :, j] *= freedom > 0
    return A


def inverse_wishart_factor(rng: np.random.Generator, df: float, scale: np.ndarray) -> np.ndarray:
    r"""F with F F' inverse Wishart, density proportional to :math:`|D|^{-(df+q+1)/2} \exp(-\mathrm{tr}(S D^{-1})/2)`.

    With ``scale`` S = B B' (q, q, ...), and A A' Wishart with df degrees of freedom, above q - 1, F is B A'^-1.
    """
    A = bartlett(rng, len(scale), df, scale.shape[2:])
    return product(cholesky(scale), transposed(inverse_lower(A)))
