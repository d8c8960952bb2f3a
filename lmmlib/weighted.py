r"""Sums weighted by the inverse covariance: :math:`\sum X_i'V_i^{-1}X_i` and its kin, from cross-products alone.

With Woodbury's identity :math:`V_i^{-1} = (I - Z_i K_i Z_i')/\sigma^2`, every weighted sum is the plain sum
less a correction through :math:`Z_i`; a row of the data is never touched again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.design import CrossProducts
from lmmlib.entries import factor
from lmmlib.errors import ParameterError
from lmmlib.parameters import checked_D, checked_made, checked_sigma2

# X'V^-1 X is a difference of sums 1 + D/sigma2 times its size: at this ratio four digits are left.
LIMIT = 1e11


@dataclass(frozen=True, eq=False)
class Weighted:
    r"""Sums weighted by :math:`V_i^{-1}`, in the working basis: ``XtVX`` (p, p), ``XtVy`` (p,), ``ytVy``.

    ``half`` (n_patterns, q, q) is H in :math:`V_i^{-1} = (I - Z_i H'H Z_i')/\sigma^2`, so K = H'H; H Z' is never
    larger than 1, while K grows as D when a group has fewer rows than random columns. ``logdet`` is the sum of
    :math:`\log|V_i|`.
    """

    XtVX: np.ndarray
    XtVy: np.ndarray
    ytVy: float
    half: np.ndarray
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
    checked_made("cross", cross, CrossProducts, "cross_products")
    sigma2 = checked_sigma2(sigma2)
    w, q = cross.work, len(cross.z_names)
    L = cross.basis.Rz @ factor(checked_D(D, q))
    ZtZ, index = cross.patterns
    between = L.T @ ZtZ @ L
    if np.abs(between).max(initial=0) > LIMIT * sigma2:
        raise ParameterError(
            f"Z_i D Z_i' is more than {LIMIT:g} times sigma2 = {sigma2:g}, for which cross-products have no digits "
            "left; is sigma2 a variance, and are both in squared units of the response?"
        )
    C = np.linalg.cholesky(sigma2 * np.eye(q) + between)
    half = np.linalg.solve(C, np.broadcast_to(L.T, C.shape))
    per_pattern = np.bincount(index, minlength=len(ZtZ))
    logdet = (cross.n_obs - q * cross.n_groups) * np.log(sigma2)
    logdet += 2 * per_pattern @ np.log(np.diagonal(C, axis1=1, axis2=2)).sum(axis=1)
    HX, Hy = half[index] @ w.ZtX, np.einsum("gab,gb->ga", half[index], w.Zty)
    return Weighted(
        XtVX=(w.XtX - np.einsum("gqa,gqb->ab", HX, HX)) / sigma2,
        XtVy=(w.Xty - np.einsum("gqa,gq->a", HX, Hy)) / sigma2,
        ytVy=(w.yty - float(np.sum(Hy**2))) / sigma2,
        half=half,
        logdet=float(logdet) - cross.log_weights,
    )
