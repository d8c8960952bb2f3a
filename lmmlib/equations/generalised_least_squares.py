r"""Generalised least squares from cross-products: estimates of the fixed effects for given D and sigma2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_df, checked_made, numbers, shown, standard_deviations
from lmmlib.common.table import Table
from lmmlib.common.tails import half_width
from lmmlib.common.text import fixed
from lmmlib.design.cross import CrossProducts
from lmmlib.equations.weighted import weigh
from lmmlib.errors import ParameterError


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
        return standard_deviations(self.cov, "the fixed effects")

    def frame(self) -> pd.DataFrame:
        """Estimates and standard errors as a labelled table."""
        return pd.DataFrame({"estimate": self.beta, "se": self.se}, index=list(self.names))

    def __repr__(self) -> str:
        cells = zip(self.names, [fixed(b, 4) for b in self.beta], [fixed(s, 4) for s in self.se], strict=True)
        table = Table(("", "estimate", "se"), tuple(cells), (False, True, True), widths=(0, 12, 10))
        return "\n  ".join([type(self).__name__, *table.lines()])


class GLS(Estimate):
    """Generalised least squares: :func:`gls`."""


def solve_normal(cross: CrossProducts, gram, moment) -> tuple[np.ndarray, np.ndarray]:
    """Solve gram delta = moment in the working basis; beta and the inverse of gram, in that of the formula."""
    cross.require_full_rank()
    C = np.linalg.cholesky(gram)
    root = np.linalg.solve(C, cross.basis.x_back.T)
    return cross.basis.beta_back(np.linalg.solve(C.T, np.linalg.solve(C, moment))), root.T @ root


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
    beta, cov = solve_normal(cross, w.XtVX, w.XtVy)
    return GLS(beta, cov, cross.x_names)


def predict_mean(result: Estimate, X_new, *, level: float = 0.95, df=None) -> pd.DataFrame:
    r"""Estimated means at new rows of X with pointwise confidence limits.

    .. math:: x'\hat\beta \pm c_{1-a/2}\sqrt{x'\,\widehat{\operatorname{Cov}}(\hat\beta)\,x}

    Equation :eq:`mean-band` of the book.

    Parameters
    ----------
    result : Estimate
        From :func:`gls` or :func:`lmmlib.equations.ols`.
    X_new : (rows, p) array
        Fixed-effects rows; :func:`lmmlib.design.formula.fixed_matrix` makes them from a frame.
    level : float
        Coverage of each interval, between 0 and 1.
    df : float or (rows,) array, optional
        Degrees of freedom of t quantiles; normal quantiles if None and ``result`` has none.

    Returns
    -------
    DataFrame
        Columns ``estimate``, ``se``, ``lower``, ``upper``.
    """
    checked_made("result", result, Estimate, "gls")
    X_new = np.atleast_2d(numbers(X_new, "X_new"))
    if X_new.ndim != 2 or not np.isfinite(X_new).all():
        raise ParameterError(f"X_new must be rows of finite numbers; got {shown(X_new)}")
    if X_new.shape[1] != len(result.beta):
        raise ParameterError(
            f"X_new must have {len(result.beta)} columns ({', '.join(result.names)}); got {X_new.shape[1]}"
        )
    df = result.df if df is None else checked_df(df, len(X_new))
    reach = half_width(level, np.inf if df is None else df)
    estimate, se = X_new @ result.beta, np.sqrt(np.einsum("ra,ab,rb->r", X_new, result.cov, X_new))
    return pd.DataFrame(
        {"estimate": estimate, "se": se, "lower": estimate - reach * se, "upper": estimate + reach * se}
    )
