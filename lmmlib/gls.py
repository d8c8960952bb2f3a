r"""Generalised least squares from cross-products: estimates of the fixed effects for given D and sigma2.

With Woodbury's identity :math:`V_i^{-1} = (I - Z_i K_i Z_i')/\sigma^2`, every weighted sum is the plain sum
less a correction through :math:`Z_i`; a row of the data is never touched again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular
from scipy.stats import norm, t

from lmmlib.design import CrossProducts, Design, cross_products
from lmmlib.errors import DesignError, ParameterError
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


@dataclass(frozen=True, eq=False)
class Estimate:
    """Estimates of fixed effects with their covariance: ``beta`` (p,), ``cov`` (p, p), ``names``; ``df`` or None."""

    beta: np.ndarray
    cov: np.ndarray
    names: tuple[str, ...]
    df: float | None = None

    @property
    def se(self) -> np.ndarray:
        """Standard errors, (p,): square roots of the diagonal of ``cov``."""
        return np.sqrt(np.diag(self.cov))

    def frame(self) -> pd.DataFrame:
        """Estimates and standard errors as a labelled table."""
        return pd.DataFrame({"estimate": self.beta, "se": self.se}, index=list(self.names))

    def __repr__(self) -> str:
        width = max([len(n) for n in self.names] + [0])
        rows = "\n".join(
            f"  {n:<{width}}  {b:>12.4f}  {s:>10.4f}" for n, b, s in zip(self.names, self.beta, self.se, strict=True)
        )
        return f"{type(self).__name__}\n  {'':<{width}}  {'estimate':>12}  {'se':>10}\n{rows}"


class GLS(Estimate):
    """Generalised least squares: :func:`gls`."""


@dataclass(frozen=True, eq=False, repr=False)
class OLS(Estimate):
    """Ordinary least squares: :func:`ols`; also ``rss`` and ``sigma2`` = rss / df."""

    rss: float = 0.0
    sigma2: float = 0.0


def _solve(cross: CrossProducts, gram, moment, scale=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Solve gram delta = moment in the working basis; beta and scale * inverse in that of the formula."""
    cross.require_full_rank()
    C = np.linalg.cholesky(gram)
    delta = np.linalg.solve(C.T, np.linalg.solve(C, moment))
    R = cross.basis.Rx
    half = np.linalg.solve(C, solve_triangular(R, np.eye(len(R))).T) if R.size else R
    return cross.basis.beta0 + (solve_triangular(R, delta) if R.size else delta), scale * half.T @ half


def gls(cross: CrossProducts, D, sigma2: float) -> GLS:
    r"""Generalised least squares estimate of the fixed effects.

    .. math:: \hat\beta(\alpha) = \Big(\sum_i X_i' V_i^{-1} X_i\Big)^{-1} \sum_i X_i' V_i^{-1} y_i,
        \qquad \operatorname{Cov}\hat\beta = \Big(\sum_i X_i' V_i^{-1} X_i\Big)^{-1}

    Equations :eq:`gls-estimator` and :eq:`gls-covariance` of the book; Laird and Ware (1982), eq. 3.1.

    Parameters
    ----------
    cross : CrossProducts
        Per-group sums of n_groups groups, p fixed and q random columns.
    D : (q, q) array
        Covariance of the random effects, positive semidefinite; squared units of the response per unit of z.
    sigma2 : float
        Residual variance, > 0.

    Returns
    -------
    GLS
        ``beta`` (p,), ``cov`` (p, p), ``se`` (p,).

    Raises
    ------
    DesignError
        If the columns of X are linearly dependent; names them.
    ParameterError
        If D or sigma2 is outside its domain.
    """
    w = weigh(cross, D, sigma2)
    beta, cov = _solve(cross, w.XtVX, w.XtVy)
    return GLS(beta, cov, cross.x_names)


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
    w, df = cross.work, cross.n_obs - len(cross.x_names)
    if df <= 0:
        raise DesignError(f"{len(cross.x_names)} coefficients cannot be estimated from {cross.n_obs} rows with an error")
    beta, cov = _solve(cross, w.XtX, w.Xty)
    delta = cross.basis.Rx @ (beta - cross.basis.beta0)
    rss = w.yty - 2 * float(delta @ w.Xty) + float(delta @ w.XtX @ delta)
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
    w, sigma2 = cross.work, checked_sigma2(sigma2)
    L = cross.basis.Rz @ factor(checked_D(D, len(cross.z_names)))
    half = np.swapaxes(w.ZtX, 1, 2) @ L
    meat = sigma2 * w.XtX + np.einsum("gaq,gbq->ab", half, half)
    inverse = _solve(cross, w.XtX, w.Xty)[1]
    R = cross.basis.Rx
    return inverse @ R.T @ meat @ R @ inverse


def sandwich(design: Design, beta, D, sigma2: float, correction: str = "none") -> np.ndarray:
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
    if correction not in {"none", "groups"}:
        raise ParameterError(f"correction must be 'none' or 'groups'; got {correction!r}")
    if design.n_groups < 2:
        raise DesignError("a cluster-robust covariance needs at least two groups")
    cross = cross_products(design.with_response(design.y - design.X @ np.asarray(beta, float)))
    w, weighted, index = cross.work, weigh(cross, D, sigma2), cross.patterns[1]
    work = solve_triangular(cross.basis.Rx, design.X.T, trans="T").T
    residual = design.y - design.X @ np.asarray(beta, float)
    Ztr = w.Zty + w.ZtX @ (cross.basis.Rx @ cross.basis.beta0)
    scores = np.column_stack([np.bincount(design.group, c * residual, design.n_groups) for c in work.T])
    scores -= np.einsum("gqa,gqb,gb->ga", w.ZtX, weighted.K[index], Ztr)
    scores /= sigma2
    bread = _solve(cross, weighted.XtVX, weighted.XtVy)[1] @ cross.basis.Rx.T
    n, N, p = design.n_groups, design.n_obs, len(design.x_names)
    scale = n / (n - 1) * (N - 1) / (N - p) if correction == "groups" else 1.0
    return scale * bread @ (scores.T @ scores) @ bread.T


def predict_mean(result: Estimate, X_new, level: float = 0.95, df=None) -> pd.DataFrame:
    r"""Estimated means at new rows of X with pointwise confidence limits.

    .. math:: x'\hat\beta \pm c_{1-a/2}\sqrt{x'\,\widehat{\operatorname{Cov}}(\hat\beta)\,x}

    Equation :eq:`mean-band` of the book.

    Parameters
    ----------
    result : Estimate
        From :func:`gls` or :func:`ols`.
    X_new : (rows, p) array
        Fixed-effects rows; :func:`lmmlib.formula.fixed_matrix` makes them from a frame.
    level : float
        Coverage of each interval, between 0 and 1.
    df : float or (rows,) array, optional
        Degrees of freedom of t quantiles; normal quantiles if None and ``result`` has none.

    Returns
    -------
    DataFrame
        Columns ``mean``, ``se``, ``lower``, ``upper``.
    """
    X_new = np.atleast_2d(np.asarray(X_new, float))
    if X_new.shape[1] != len(result.beta):
        raise ParameterError(f"X_new must have {len(result.beta)} columns ({', '.join(result.names)}); got {X_new.shape[1]}")
    if not 0 < level < 1:
        raise ParameterError(f"level must lie between 0 and 1; got {level!r}")
    df = result.df if df is None else df
    quantile = norm.ppf((1 + level) / 2) if df is None else t.ppf((1 + level) / 2, df)
    mean, se = X_new @ result.beta, np.sqrt(np.einsum("ra,ab,rb->r", X_new, result.cov, X_new))
    return pd.DataFrame({"mean": mean, "se": se, "lower": mean - quantile * se, "upper": mean + quantile * se})
