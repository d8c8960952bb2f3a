r"""The profiled deviance of a mixed model as a function of theta alone, with exact gradient and Hessian.

With :math:`D = \sigma^2 LL'` the best beta and sigma2 for a given L have closed forms, so the optimiser sees only
the entries theta of L (Bates et al. 2015). Everything is computed in the working basis of the cross-products, where L
is scale-free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.design import CrossProducts
from lmmlib.likelihood import LOG_2PI


@dataclass(frozen=True, eq=False)
class Deviance:
    """Minus twice the profiled log-likelihood at one theta, with what the estimates are made of.

    ``gradient`` (k,) and ``hessian`` (k, k) are exact derivatives; ``beta`` (p,) is in the working basis, ``sigma2``
    the best residual variance.
    """

    theta: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    beta: np.ndarray
    sigma2: float


def theta_coordinates(cross: CrossProducts) -> np.ndarray:
    """Matrices B_k with L = sum of theta_k B_k, (k, q, q), in the working basis.

    A full D has the lower triangle of L, column by column. A diagonal D is diagonal for the columns of the formula,
    where L is diagonal too; in the working basis that is a column of Rz each.
    """
    q = len(cross.z_names)
    if cross.diagonal:
        B = np.zeros((q, q, q))
        for a in range(q):
            B[a, :, a] = cross.basis.Rz[:, a]
        return B
    pairs = [(a, b) for b in range(q) for a in range(b, q)]
    B = np.zeros((len(pairs), q, q))
    for k, (a, b) in enumerate(pairs):
        B[k, a, b] = 1.0
    return B


def d_coordinates(cross: CrossProducts) -> np.ndarray:
    """Symmetric matrices E_r with D = sum of alpha_r E_r, (k, q, q), in the working basis, in the order of vech D."""
    B = theta_coordinates(cross)
    if cross.diagonal:
        return B @ np.swapaxes(B, 1, 2)
    return np.maximum(B, np.swapaxes(B, 1, 2))


def _inverse_cholesky(S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse Cholesky factors and log-determinants of many small matrices, column by column over all of them."""
    q = S.shape[1]
    C, inverse = np.zeros_like(S), np.zeros_like(S)
    logdet = np.zeros(len(S))
    for j in range(q):
        C[:, j, j] = np.sqrt(S[:, j, j] - np.einsum("pk,pk->p", C[:, j, :j], C[:, j, :j]))
        logdet += 2 * np.log(C[:, j, j])
        for i in range(j + 1, q):
            C[:, i, j] = (S[:, i, j] - np.einsum("pk,pk->p", C[:, i, :j], C[:, j, :j])) / C[:, j, j]
        inverse[:, j, j] = 1 / C[:, j, j]
        for i in range(j):
            inverse[:, j, i] = -np.einsum("pk,pk->p", C[:, j, i:j], inverse[:, i:j, i]) / C[:, j, j]
    return inverse, logdet


def gram(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Sum over groups of the products of all entries of A_i with all entries of B_i."""
    return (A.reshape(len(A), -1).T @ B.reshape(len(B), -1)).reshape(*A.shape[1:], *B.shape[1:])


@dataclass(frozen=True, eq=False)
class Pieces:
    """What value and derivatives are made of at one L, with :math:`V_0 = I + ZLL'Z'`.

    ``A`` (n, q, q): :math:`Z_i'V_0^{-1}Z_i`; ``C`` (n, q, p): :math:`Z_i'V_0^{-1}X_iR^{-1}` with
    :math:`R'R = X'V_0^{-1}X`; ``u`` (n, q): :math:`Z_i'V_0^{-1}r_i` with r the residual at ``beta``; ``r2``:
    :math:`r'V_0^{-1}r`; ``logdet_V``, ``logdet_X``: logarithms of :math:`|V_0|` and :math:`|X'V_0^{-1}X|`, X being that
    of the formula.
    """

    A: np.ndarray
    C: np.ndarray
    u: np.ndarray
    beta: np.ndarray
    r2: float
    logdet_V: float
    logdet_X: float


def pieces(cross: CrossProducts, L: np.ndarray) -> Pieces:
    """Weighted sums at one L, from the cross-products.

    Parameters
    ----------
    cross : CrossProducts
    L : (q, q) array
        In the working basis; may be singular.

    Returns
    -------
    Pieces
    """
    w, q, p = cross.work, len(cross.z_names), len(cross.x_names)
    ZtZ, index = cross.patterns
    inverse, logdet = _inverse_cholesky(np.eye(q) + L.T @ ZtZ @ L)
    half = inverse @ L.T  # V0^-1 = I - Z half' half Z'
    ZtW = np.concatenate([w.ZtX, w.Zty[:, :, None]], axis=2)
    HW = half[index] @ ZtW
    total = np.block([[w.XtX, w.Xty[:, None]], [w.Xty[None, :], np.array([[w.yty]])]])
    total = total - np.einsum("axay->xy", gram(HW, HW))
    R = np.linalg.cholesky(total[:p, :p])
    R_inverse = np.linalg.inv(R)
    explained = R_inverse @ total[:p, p]
    beta = R_inverse.T @ explained
    ZtH = ZtZ @ np.swapaxes(half, 1, 2)
    M = ZtW - ZtH[index] @ HW
    return Pieces(
        A=(ZtZ - ZtH @ np.swapaxes(ZtH, 1, 2))[index],
        C=M[:, :, :p] @ R_inverse.T,
        u=M[:, :, p] - M[:, :, :p] @ beta,
        beta=beta,
        r2=float(total[p, p] - explained @ explained),
        logdet_V=float(np.bincount(index, minlength=len(ZtZ)) @ logdet),
        logdet_X=float(2 * np.log(np.diag(R)).sum() + 2 * np.log(np.abs(np.diag(cross.basis.Rx))).sum()),
    )


def deviance(cross: CrossProducts, theta: np.ndarray, coordinates: np.ndarray, method: str) -> Deviance:
    r"""Profiled deviance, its gradient and its Hessian.

    .. math:: d(\theta) = \sum_i\log|I + L'Z_i'Z_iL| + [\log|X'V_0^{-1}X|] + m\Big(1 + \log\frac{2\pi\,r^2}{m}\Big),
        \qquad V_0 = I + ZLL'Z'

    with :math:`r^2` the generalised residual sum of squares, m = N for ML, and for REML m = N - p and the term in
    brackets: equations :eq:`profile-loglik` and :eq:`restricted-loglik` of the book with sigma2 at its best too; Bates
    et al. (2015).

    Parameters
    ----------
    cross : CrossProducts
    theta : (k,) array
        Coordinates of L, in the working basis.
    coordinates : (k, q, q) array
        The B_k of :func:`theta_coordinates`.
    method : {"REML", "ML"}

    Returns
    -------
    Deviance
    """
    B, reml = coordinates, method == "REML"
    m = cross.n_obs - (len(cross.x_names) if reml else 0)
    L = np.tensordot(theta, B, 1)
    s = pieces(cross, L)
    A, C, u = s.A, s.C, s.u
    value = s.logdet_V + m * (1 + LOG_2PI + np.log(s.r2 / m)) + (s.logdet_X if reml else 0.0)

    G = C @ np.swapaxes(C, 1, 2) if reml else np.zeros_like(A)
    uu = u[:, :, None] * u[:, None, :]
    Gamma = A.sum(axis=0) - G.sum(axis=0) - m / s.r2 * uu.sum(axis=0)
    gradient = 2 * np.einsum("kab,ab->k", B, Gamma @ L)

    # Derivatives of LL', then the chain rule: first what is quadratic in them, last what comes from their own change.
    E = B @ L.T + L @ np.swapaxes(B, 1, 2)
    hessian = -np.einsum("rab,bcda,scd->rs", E, gram(A, A - 2 * G - 2 * m / s.r2 * uu), E, optimize=True)
    if reml:
        P = np.einsum("rab,axby->rxy", E, gram(C, C))
        hessian -= np.einsum("rxy,sxy->rs", P, P)
    c = np.einsum("rab,axb->rx", E, gram(C, u))
    v = np.einsum("rab,ab->r", E, uu.sum(axis=0))
    hessian -= 2 * m / s.r2 * c @ c.T + m / s.r2**2 * np.outer(v, v)
    hessian += 2 * np.einsum("kab,ac,lcb->kl", B, Gamma, B)
    return Deviance(theta, float(value), gradient, (hessian + hessian.T) / 2, s.beta, s.r2 / m)
