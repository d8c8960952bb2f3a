r"""Moment estimates of D and sigma2 from sums of squares: closed forms that need no optimiser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.common.arguments import checked_made
from lmmlib.common.table import Table
from lmmlib.common.text import fixed
from lmmlib.design.cross import cross_products
from lmmlib.design.design import Design
from lmmlib.errors import DesignError


@dataclass(frozen=True, eq=False)
class VarianceEstimates:
    """Moment estimates: ``D`` (q, q), which need not be positive semidefinite, ``sigma2``, ``names``."""

    D: np.ndarray
    sigma2: float
    names: tuple[str, ...]

    @property
    def is_valid(self) -> bool:
        """True if D is positive semidefinite, so that it can be a covariance."""
        return bool(np.linalg.eigvalsh(self.D).min() >= 0)

    def __repr__(self) -> str:
        variances = [fixed(v, 4) for v in (*np.diag(self.D), self.sigma2)]
        cells = tuple(zip((*self.names, "residual"), variances, strict=True))
        _, *lines = Table(("", ""), cells, (False, True), widths=(0, 12)).lines()
        lines += [] if self.is_valid else ["D is not positive semidefinite: no covariance of random effects"]
        return "\n  ".join(["VarianceEstimates (variances)", *lines])


def anova_estimates(design: Design) -> VarianceEstimates:
    r"""Moment estimates for a random intercept, or any single random column: Henderson's method 3.

    .. math:: \hat\sigma^2 = \frac{\mathrm{RSS}(X, Z)}{N - \operatorname{rank}[X\,Z]}, \qquad
        \hat\tau^2 = \frac{\mathrm{RSS}(X) - \mathrm{RSS}(X, Z) - \hat\sigma^2(\operatorname{rank}[X\,Z] - p)}
        {\operatorname{tr}(Z'MZ)}, \quad M = I - X(X'X)^{-1}X'

    Equation :eq:`anova-estimates` of the book. Equal to REML in balanced designs when positive.

    Parameters
    ----------
    design : Design
        With one random column.

    Returns
    -------
    VarianceEstimates
        ``D`` (1, 1) may be negative.

    Raises
    ------
    DesignError
        With several random columns, or when no degrees of freedom are left for sigma2 or tau2.
    """
    checked_made("design", design, Design, "build_design")
    if len(design.z_names) != 1:
        raise DesignError(
            f"anova_estimates takes one random column; this design has {len(design.z_names)} "
            f"({', '.join(design.z_names) or 'none'})"
        )
    cross = cross_products(design)
    cross.require_full_rank()
    w, R = cross.work, cross.basis.Rz[0, 0]
    seen = w.ZtZ[:, 0, 0] > 0
    ZtX, Zty, ZtZ = w.ZtX[seen, 0], w.Zty[seen, 0], w.ZtZ[seen, 0, 0]
    # Regression on X and Z: sweep out Z first, group by group, then what is left of X.
    XtX = w.XtX - (ZtX / ZtZ[:, None]).T @ ZtX
    Xty = w.Xty - ZtX.T @ (Zty / ZtZ)
    values, vectors = np.linalg.eigh(XtX)
    kept = values > 1e-10 * cross.n_obs
    rank = int(seen.sum() + kept.sum())
    p, df = len(design.x_names), cross.n_obs - rank
    if df <= 0 or rank == p:
        raise DesignError(
            f"{cross.n_obs} rows in {int(seen.sum())} groups leave {df} degrees of freedom within groups and "
            f"{rank - p} between them; both must be above 0 to tell sigma2 and tau2 apart"
        )
    rss = w.yty - Zty @ (Zty / ZtZ) - np.sum((vectors[:, kept].T @ Xty) ** 2 / values[kept])
    rss_x = w.yty - w.Xty @ np.linalg.solve(w.XtX, w.Xty)
    sigma2 = rss / df
    trace = ZtZ.sum() - np.sum(ZtX * np.linalg.solve(w.XtX, ZtX.T).T)
    tau2 = (rss_x - rss - sigma2 * (rank - p)) / trace / R**2
    return VarianceEstimates(np.array([[tau2]]), float(sigma2), design.z_names)


def two_stage_estimates(design: Design) -> VarianceEstimates:
    r"""Moment estimates from a least-squares fit per group, when X = Z and all groups share it.

    .. math:: \hat\sigma^2 = \frac{\sum_i \mathrm{RSS}_i}{N - nq}, \qquad
        \hat D = \frac{1}{n-1}\sum_i(\hat\beta_i^{\,\text{ls}} - \bar\beta)
        (\hat\beta_i^{\,\text{ls}} - \bar\beta)' - \hat\sigma^2(Z'Z)^{-1}

    Equation :eq:`two-stage-estimates` of the book. Equal to REML when the result is positive definite.

    Parameters
    ----------
    design : Design
        X and Z with the same columns, the same Z_i in every group.

    Returns
    -------
    VarianceEstimates

    Raises
    ------
    DesignError
        If X and Z differ, groups have different Z_i'Z_i, or too few groups or rows.
    """
    checked_made("design", design, Design, "build_design")
    if design.x_names != design.z_names or not np.array_equal(design.X, design.Z):
        raise DesignError(
            f"two_stage_estimates needs X = Z; here X has {', '.join(design.x_names)} and Z {', '.join(design.z_names)}"
        )
    cross = cross_products(design)
    cross.require_full_rank()
    n, q = cross.n_groups, len(design.z_names)
    if cross.n_patterns > 1:
        raise DesignError(f"two_stage_estimates needs one Z_i'Z_i for all groups; there are {cross.n_patterns}")
    if n < 2 or cross.n_obs <= n * q:
        raise DesignError(
            f"{n} groups of {cross.n_obs // n} rows do not give {q} coefficients each and a residual variance: "
            "two groups and more rows than coefficients are needed"
        )
    ZtZ = cross.patterns[0][0]
    if np.linalg.matrix_rank(ZtZ, hermitian=True) < q:
        raise DesignError(f"the rows of one group do not determine {', '.join(design.z_names)}")
    b = np.linalg.solve(ZtZ, cross.work.Zty.T).T
    rss = cross.work.yty - np.sum(b * cross.work.Zty)
    sigma2 = rss / (cross.n_obs - n * q)
    work = np.atleast_2d(np.cov(b, rowvar=False)) - sigma2 * np.linalg.inv(ZtZ)
    back = np.linalg.inv(cross.basis.Rz)
    D = back @ work @ back.T
    return VarianceEstimates((D + D.T) / 2, float(sigma2), design.z_names)
