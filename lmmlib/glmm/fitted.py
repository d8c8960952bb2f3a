"""What a fit of a Poisson mixed model is: a frozen result, of which the other modules ask their questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from lmmlib.common.arguments import standard_deviations
from lmmlib.design.design import Design
from lmmlib.fitting.newton import Step
from lmmlib.glmm.laplace import Slopes, slopes
from lmmlib.glmm.rows import Inner, Rows, modes


@dataclass(frozen=True, eq=False)
class FittedGlmm:
    """A fitted Poisson mixed model.

    Attributes
    ----------
    beta : Series
        Fixed effects, labelled.
    cov_beta : DataFrame
        Their covariance, D estimated too: a block of the inverse of minus the Hessian of the marginal log-likelihood.
    D : DataFrame
        Covariance of the random effects, labelled; may be singular.
    family : str
        Of the responses given the random effects.
    theta : (k,) array
        Cholesky factor of D, column by column (its diagonal if D is diagonal).
    loglik : float
        Marginal log-likelihood, by Laplace or by quadrature, with all constants.
    is_singular : bool
        True if D has no full rank: an ordinary answer.
    converged : bool
        If False, ``cov_beta`` is NaN and nothing has a standard error.
    reason : str
        Why the optimiser stopped.
    notes : tuple of str
        What the data have that a reader should know, such as groups without a count above zero.
    log : tuple of Step
        Every point of the optimiser: (beta, theta) in the working basis, minus twice the log-likelihood, gradient norm.
    """

    formula: str
    family: str
    method: str
    n_quadrature: int
    beta: pd.Series
    cov_beta: pd.DataFrame
    D: pd.DataFrame
    theta: np.ndarray
    loglik: float
    n_obs: int
    n_groups: int
    is_singular: bool
    converged: bool
    reason: str
    notes: tuple[str, ...]
    log: tuple[Step, ...] = field(repr=False)
    psi: np.ndarray = field(repr=False)
    cov_psi: np.ndarray = field(repr=False)
    design: Design = field(repr=False)
    rows: Rows = field(repr=False)

    @property
    def criterion(self) -> float:
        """Minus twice ``loglik``."""
        return -2 * self.loglik

    @property
    def n_parameters(self) -> int:
        """Fixed effects and entries of theta."""
        return len(self.psi)

    @property
    def aic(self) -> float:
        """``criterion`` + 2 ``n_parameters``."""
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
    def offsets(self) -> np.ndarray:
        """The offset of each row, (n_obs,), in the order of the data; zeros if there is none."""
        return self.rows.in_data_order(self.rows.offset)

    @property
    def L(self) -> np.ndarray:
        """The factor of D in the working basis, (q, q)."""
        return self.inner.density.L

    @cached_property
    def inner(self) -> Inner:
        """The groups at the modes of their random effects, in the working basis."""
        return modes(self.rows, *self.rows.split(self.psi))

    @cached_property
    def slopes(self) -> Slopes:
        """How the modes depend on the parameters, in the working basis."""
        return slopes(self.inner)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns of the formula that were left out because they depend on others (``drop="dependent"``)."""
        return self.design.dropped
