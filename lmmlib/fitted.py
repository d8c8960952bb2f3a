"""What a fit of a linear mixed model is: estimates, how they were found, design and sums."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lmmlib.design import CrossProducts, Design
from lmmlib.optimise import Step
from lmmlib.parameters import standard_deviations


@dataclass(frozen=True, eq=False)
class Fitted:
    """The estimates of a fitted mixed model, of which :class:`lmmlib.Fit` asks questions.

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
        If False, ``cov_beta`` is NaN and nothing has a standard error.
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
        return pd.Series(standard_deviations(self.cov_beta, "the fixed effects"), self.beta.index)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns of the formula that were left out because they depend on others (``drop="dependent"``)."""
        return self.design.dropped

    @property
    def estimates(self) -> tuple[np.ndarray, np.ndarray, float]:
        """beta, D and sigma2 as arrays, as the equations take them."""
        return self.beta.to_numpy(), self.D.to_numpy(), self.sigma2
