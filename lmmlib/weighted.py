r"""Sums weighted by the inverse covariance: :math:`\sum X_i'V_i^{-1}X_i` and its kin, from cross-products alone.

With Woodbury's identity :math:`V_i^{-1} = (I - Z_i K_i Z_i')/\sigma^2`, every weighted sum is the plain sum
less a correction through :math:`Z_i`; a row of the data is never touched again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.design import CrossProducts
from lmmlib.parameters import checked_D, checked_sigma2, factor


@dataclass(frozen=True, eq=False)
class Weighted:
    r"""Sums weighted by :math:`V_i^{-1}`, in the working basis: ``XtVX`` (p, p), ``XtVy`` (p,), ``ytVy``.

    ``K`` (n_patterns, q, q) is the matrix in :math:`V_i^{-1} = (I - Z_i K Z_i')/\sigma^2`, ``logdet`` the sum of
    :math:`\log|V_i|`.
    """

    XtVX: np.ndarray
    XtVy: np.ndarray
    ytVy: float
    K: np.ndarray
    logdet: float


def weigh(cross: CrossProducts, D, sigma2) -> Weighted:
    r"""Sums weighted by the inverse covariance.

    .. math:: \sum_i X_i'V_i^{-1}X_i = \frac{1}{\sigma^2}\Big(X'X - \sum_i X_i'Z_i K_i Z_i'X_i\Big),
        \qquad K_i = L(\sigma^2 I + L'Z_i'Z_iL)^{-1}L', \quad D = LL'

    Equation :eq:`cross-product-gls` of the book. Groups with one Z_i'Z_i share a factorisation, and a
    singular D needs no special case.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
        Covariance of the random effects, positive semidefinite.
    sigma2 : float
        Residual variance, > 0.

    Returns
    -------
    Weighted
    """
    sigma2 = checked_sigma2(sigma2)
    w, q = cross.work, len(cross.z_names)
    L = cross.basis.Rz @ factor(checked_D(D, q))
    ZtZ, index = cross.patterns
    C = np.linalg.cholesky(sigma2 * np.eye(q) + L.T @ ZtZ @ L)
    half = np.linalg.solve(C, np.broadcast_to(L.T, C.shape))
    K = np.swapaxes(half, 1, 2) @ half
    per_pattern = np.bincount(index, minlength=len(ZtZ))
    logdet = (cross.n_obs - q * cross.n_groups) * np.log(sigma2)
    logdet += 2 * per_pattern @ np.log(np.diagonal(C, axis1=1, axis2=2)).sum(axis=1)
    KX, Ky = K[index] @ w.ZtX, np.einsum("gab,gb->ga", K[index], w.Zty)
    return Weighted(
        XtVX=(w.XtX - np.einsum("gqa,gqb->ab", w.ZtX, KX)) / sigma2,
        XtVy=(w.Xty - np.einsum("gqa,gq->a", w.ZtX, Ky)) / sigma2,
        ytVy=(w.yty - float(np.sum(w.Zty * Ky))) / sigma2,
        K=K,
        logdet=float(logdet),
    )
