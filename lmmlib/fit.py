"""Maximum likelihood and REML fits of a mixed model: from formula and data to a frozen result."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lmmlib.design import CrossProducts, Design, cross_products
from lmmlib.deviance import theta_coordinates
from lmmlib.draws import semidefinite_cholesky
from lmmlib.errors import DesignError
from lmmlib.formula import build_design
from lmmlib.gls import gls
from lmmlib.information import checked_method
from lmmlib.moments import correlation
from lmmlib.optimise import Step, minimise
from lmmlib.rounding import fixed, significant

# Singular values of L in the working basis, where they are standard deviations of the random part of an observation
# relative to sigma. Below the first D is called singular; below the second the value is zero up to rounding.
SINGULAR, ZERO = 1e-4, 1e-6


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted mixed model.

    Attributes
    ----------
    beta : Series
        Fixed effects, labelled.
    cov_beta : DataFrame
        Their covariance for known D and sigma2, :func:`lmmlib.gls` at the estimates.
    D : DataFrame
        Covariance of the random effects, labelled; may be singular.
    sigma2 : float
        Residual variance.
    theta : (k,) array
        Relative Cholesky factor of D, column by column as lme4 has it (its diagonal if D is diagonal).
    loglik : float
        Log-likelihood (ML) or restricted log-likelihood (REML), with all constants.
    is_singular : bool
        True if D has no full rank: an ordinary answer.
    converged : bool
    reason : str
        Why the optimiser stopped.
    log : tuple of Step
        Every theta (in the working basis), deviance and gradient norm.
    """

    formula: str
    method: str
    beta: pd.Series
    cov_beta: pd.DataFrame
    D: pd.DataFrame
    sigma2: float
    theta: np.ndarray
    loglik: float
    n_obs: int
    n_groups: int
    is_singular: bool
    converged: bool
    reason: str
    log: tuple[Step, ...] = field(repr=False)
    design: Design = field(repr=False)
    cross: CrossProducts = field(repr=False)

    @property
    def criterion(self) -> float:
        """Minus twice ``loglik``: the deviance (ML) or the REML criterion."""
        return -2 * self.loglik

    @property
    def n_parameters(self) -> int:
        """Fixed effects, entries of theta, and sigma2."""
        return len(self.beta) + len(self.theta) + 1

    @property
    def aic(self) -> float:
        """``criterion`` + 2 ``n_parameters``. For REML it compares models with the same fixed effects only."""
        return self.criterion + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """``criterion`` + log(``n_obs``) ``n_parameters``, as lme4 counts."""
        return self.criterion + np.log(self.n_obs) * self.n_parameters

    @property
    def se(self) -> pd.Series:
        """Standard errors of the fixed effects."""
        return pd.Series(np.sqrt(np.diag(self.cov_beta)), self.beta.index)

    def summary(self) -> str:
        """The attributes as text, in the manner of lme4."""
        names = [*self.D.index, "Residual"]
        variances = [*np.diag(self.D), self.sigma2]
        width = max(map(len, [*names, *self.beta.index]))
        r, correlated = correlation(self.D.to_numpy()), len(self.D) > 1 and not self.design.diagonal
        lines = [
            f"Linear mixed model fit by {'REML' if self.method == 'REML' else 'maximum likelihood'}: {self.formula}",
            f"{'REML criterion' if self.method == 'REML' else 'deviance'} {fixed(self.criterion, 4)}, "
            f"{self.n_obs} observations in {self.n_groups} groups",
            f"  {'Random effects':<{width}}  {'variance':>12}  {'sd':>10}{'  corr' * correlated}",
        ]
        for k, (name, v) in enumerate(zip(names, variances, strict=True)):
            row = [fixed(x, 3) for x in r[k, :k]] if correlated and k < len(self.D) else []
            sizes = f"{significant(v, 5):>12}  {significant(np.sqrt(v), 5):>10}"
            lines.append(f"  {name:<{width}}  {sizes}  {' '.join(row)}".rstrip())
        lines.append(f"  {'Fixed effects':<{width}}  {'estimate':>12}  {'se':>10}")
        for name, b, s in zip(self.beta.index, self.beta, self.se, strict=True):
            lines.append(f"  {name:<{width}}  {significant(b, 5):>12}  {significant(s, 5):>10}")
        if self.is_singular:
            lines.append("D is singular: some combination of the random effects has variance zero")
        if not self.converged:
            lines.append(f"not converged: {self.reason}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.summary()


def fit(formula: str, data: pd.DataFrame, method: str = "REML", missing: str = "error") -> Fit:
    r"""Fit a linear mixed model by REML or maximum likelihood.

    The maximum of :eq:`restricted-loglik` or :eq:`profile-loglik` over all positive semidefinite D and all sigma2.

    Parameters
    ----------
    formula : str
        lme4 syntax with one grouping factor; see :func:`lmmlib.build_design`.
    data : DataFrame
    method : {"REML", "ML"}
    missing : {"error", "drop"}

    Returns
    -------
    Fit

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`.
    DesignError
        If there is no random term, columns of X are dependent, or the rows do not identify D and sigma2.
    """
    return fit_design(build_design(formula, data, missing), method)


def fit_design(design: Design, method: str = "REML") -> Fit:
    """:func:`fit` for a design that is there already: maximum of :eq:`restricted-loglik` or :eq:`profile-loglik`.

    Parameters
    ----------
    design : Design
    method : {"REML", "ML"}

    Returns
    -------
    Fit
    """
    checked_method(method)
    cross = cross_products(design)
    _require_identified(cross)
    optimum = minimise(cross, method)
    best, Rz = optimum.best, cross.basis.Rz
    U, s, _ = np.linalg.svd(np.tensordot(best.theta, theta_coordinates(cross), 1))
    half = np.linalg.solve(Rz, U * np.where(s > ZERO, s, 0.0))
    relative = half @ half.T
    if cross.diagonal:
        relative = np.diag(np.diag(relative))
    D, q = best.sigma2 * relative, len(relative)
    Lambda = semidefinite_cholesky(relative)
    estimate = gls(cross, D, best.sigma2)
    z, x = list(design.z_names), list(design.x_names)
    return Fit(
        formula=design.formula,
        method=method,
        beta=pd.Series(estimate.beta, x),
        cov_beta=pd.DataFrame(estimate.cov, x, x),
        D=pd.DataFrame(D, z, z),
        sigma2=best.sigma2,
        theta=np.diag(Lambda).copy() if cross.diagonal else Lambda.T[np.triu_indices(q)],
        loglik=-best.value / 2,
        n_obs=cross.n_obs,
        n_groups=cross.n_groups,
        is_singular=bool(s.min() < SINGULAR),
        converged=optimum.converged,
        reason=optimum.reason,
        log=optimum.log,
        design=design,
        cross=cross,
    )


def _require_identified(cross: CrossProducts) -> None:
    """Raise unless the rows can tell D and sigma2 apart."""
    cross.require_full_rank()
    q, p = len(cross.z_names), len(cross.x_names)
    if not q:
        raise DesignError("the formula has no random term, such as + (1 | g); ordinary least squares is lmmlib.ols")
    ZtZ = cross.work.ZtZ.sum(axis=0) / cross.n_obs
    if np.linalg.eigvalsh(ZtZ).min() < 1e-12:
        raise DesignError(
            f"the random columns {', '.join(cross.z_names)} are linearly dependent over all rows, so D is not "
            "identified; leave one out"
        )
    within = cross.n_obs - int(np.linalg.matrix_rank(cross.work.ZtZ, hermitian=True).sum())
    if within <= 0 or cross.n_obs <= p + 1:
        raise DesignError(
            f"{cross.n_obs} rows in {cross.n_groups} groups are no more than the random effects ({q} in each group "
            f"that has enough rows): sigma2 and D cannot be told apart; use fewer random columns"
        )
