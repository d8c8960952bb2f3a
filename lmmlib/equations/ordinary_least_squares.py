r"""Ordinary least squares, its true covariance under the mixed model, and the cluster-robust covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lmmlib.common.arguments import checked_beta, checked_choice, checked_D, checked_made, checked_sigma2
from lmmlib.common.small import factor
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.design import Design
from lmmlib.equations.generalised_least_squares import Estimate, solve_normal
from lmmlib.equations.weighted import weigh
from lmmlib.errors import DesignError


@dataclass(frozen=True, eq=False, repr=False)
class OLS(Estimate):
    """Ordinary least squares: :func:`ols`; also ``rss`` and ``sigma2`` = rss / df."""

    rss: float = 0.0
    sigma2: float = 0.0


def ols(cross: CrossProducts) -> OLS:
    r"""Ordinary least squares, which takes all rows as independent: what ``lm`` prints.

    .. math:: \hat\beta = (X'X)^{-1}X'y, \qquad \hat\sigma^2 = \frac{\mathrm{RSS}}{N - p}, \qquad
        \widehat{\operatorname{Cov}}\hat\beta = \hat\sigma^2 (X'X)^{-1}

    Equation :eq:`pooled-model` of the book.

    Parameters
    ----------
    cross : CrossProducts

    Returns
    -------
    OLS
        ``beta``, ``cov``, ``se``, ``rss``, ``sigma2`` and ``df`` = N - p.

    Raises
    ------
    DesignError
        If the columns of X are linearly dependent, or there are no more rows than columns.
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    w, df = cross.work, cross.n_obs - len(cross.x_names)
    if df <= 0:
        raise DesignError(
            f"{len(cross.x_names)} coefficients cannot be estimated from {cross.n_obs} rows with an error"
        )
    beta, cov = solve_normal(cross, w.XtX, w.Xty)
    work = cross.basis.beta_work(beta)
    rss = w.yty - 2 * float(work @ w.Xty) + float(work @ w.XtX @ work)
    return OLS(beta, rss / df * cov, cross.x_names, df, rss, rss / df)


def ols_covariance(cross: CrossProducts, D, sigma2: float) -> np.ndarray:
    r"""True covariance of the ordinary least squares estimate when the data follow the mixed model, (p, p).

    .. math:: \operatorname{Cov}(\hat\beta_{\mathrm{OLS}}) = (X'X)^{-1}\Big(\sum_i X_i'V_iX_i\Big)(X'X)^{-1}

    Equation :eq:`ols-covariance` of the book.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
    sigma2 : float

    Returns
    -------
    (p, p) array
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    w, sigma2 = cross.work, checked_sigma2(sigma2)
    L = cross.basis.Rz @ factor(checked_D(D, len(cross.z_names)))
    XtZL = np.swapaxes(w.ZtX, 1, 2) @ L
    meat = sigma2 * w.XtX + np.einsum("gaq,gbq->ab", XtZL, XtZL)
    inverse = solve_normal(cross, w.XtX, w.Xty)[1]
    R = cross.basis.Rx
    return inverse @ R.T @ meat @ R @ inverse


def sandwich(design: Design, beta, D, sigma2: float, *, correction: str = "none") -> np.ndarray:
    r"""Cluster-robust covariance of the GLS estimate: right for large n whatever the true covariance, (p, p).

    .. math:: C\Big(\sum_i X_i'V_i^{-1}\hat r_i\hat r_i'V_i^{-1}X_i\Big)C, \qquad
        C = \Big(\sum_i X_i'V_i^{-1}X_i\Big)^{-1}, \quad \hat r_i = y_i - X_i\hat\beta

    Equation :eq:`sandwich` of the book. With D = 0 it is the robust covariance of ordinary least squares.

    Parameters
    ----------
    design : Design
    beta : (p,) array
        The estimate at which residuals are taken.
    D : (q, q) array
    sigma2 : float
    correction : {"none", "groups"}
        "groups" multiplies by :math:`\frac{n}{n-1}\,\frac{N-1}{N-p}`, as statsmodels and Stata do.

    Returns
    -------
    (p, p) array

    Raises
    ------
    DesignError
        With fewer than two groups.
    """
    checked_made("design", design, Design, "build_design")
    checked_choice("correction", correction, ("none", "groups"))
    if design.n_groups < 2:
        raise DesignError("a cluster-robust covariance needs at least two groups")
    y, X, _ = design.standard_rows(design.y)
    residual = y - X @ checked_beta(beta, design.x_names)
    cross = cross_products(replace(design, y=design.y - design.X @ beta))
    w, weighted = cross.work, weigh(cross, D, sigma2)
    Ztr = w.Zty + w.ZtX @ (cross.basis.Rx @ cross.basis.beta0)
    Xtr = [np.bincount(design.group, column * residual, design.n_groups) for column in cross.basis.x_work(X).T]
    scores = np.reshape(Xtr, (-1, design.n_groups)).T  # X_i'V_i^-1 r_i = (X_i'r_i - (H Z_i'X_i)'H Z_i'r_i) / sigma2
    scores = scores - np.einsum("gqa,gqb->ga", weighted.HZt(w.ZtX), weighted.HZt(Ztr[..., None]))
    scores /= sigma2
    bread = solve_normal(cross, weighted.XtVX, weighted.XtVy)[1] @ cross.basis.Rx.T
    n, N, p = design.n_groups, design.n_obs, len(design.x_names)
    scale = n / (n - 1) * (N - 1) / (N - p) if correction == "groups" else 1.0
    return scale * bread @ (scores.T @ scores) @ bread.T
