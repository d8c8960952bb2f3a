"""What a fit of a Poisson mixed model is: a frozen result, and what can be asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from lmmlib import aghq, poisson_dispersion, poisson_intervals, poisson_laplace, poisson_modes, poisson_predict
from lmmlib.design import Design
from lmmlib.deviance import theta_coordinates
from lmmlib.optimise import Step
from lmmlib.parameters import checked_count, checked_rng, numbers, standard_deviations
from lmmlib.poisson import Counts, Inner
from lmmlib.poisson import modes as modes_at
from lmmlib.poisson_dispersion import Dispersion
from lmmlib.poisson_laplace import Slopes
from lmmlib.poisson_modes import Modes
from lmmlib.poisson_summary import summary

# Nodes of quadrature in each direction by default, by the number of random effects.
NODES = {0: 1, 1: 25, 2: 15}


@dataclass(frozen=True, eq=False)
class PoissonFit:
    """A fitted Poisson mixed model.

    Attributes
    ----------
    beta : Series
        Fixed effects, labelled.
    cov_beta : DataFrame
        Their covariance, D estimated too: a block of the inverse of minus the Hessian of the marginal log-likelihood.
    D : DataFrame
        Covariance of the random effects, labelled; may be singular.
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
    offset: str | np.ndarray | None = field(repr=False)
    log: tuple[Step, ...] = field(repr=False)
    psi: np.ndarray = field(repr=False)
    cov_psi: np.ndarray = field(repr=False)
    design: Design = field(repr=False)
    counts: Counts = field(repr=False)

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
        values = np.empty(self.n_obs)
        values[self.counts.order] = self.counts.offset
        return values

    @cached_property
    def B(self) -> np.ndarray:
        """Coordinates of the factor of D in the working basis, (k, q, q)."""
        return theta_coordinates(self.counts)

    @cached_property
    def L(self) -> np.ndarray:
        """The factor of D in the working basis, (q, q)."""
        return np.tensordot(self.psi[len(self.beta) :], self.B, 1)

    @cached_property
    def inner(self) -> Inner:
        """The groups at the modes of their random effects, in the working basis."""
        return modes_at(self.counts, self.psi[: len(self.beta)], self.L)

    @cached_property
    def slopes(self) -> Slopes:
        """How the modes depend on the parameters, in the working basis."""
        return poisson_laplace.slopes(self.counts, self.L, self.B, self.inner)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns of the formula that were left out because they depend on others (``drop="dependent"``)."""
        return self.design.dropped

    def summary(self) -> str:
        """The attributes as text, in the manner of lme4."""
        return summary(self)

    def coefficients(self, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.poisson_intervals.coefficients`: estimates, standard errors, z, p, limits and rate ratios."""
        return poisson_intervals.coefficients(self, level)

    def parameters(self) -> pd.Series:
        """:func:`lmmlib.poisson_intervals.parameters`: fixed effects, standard deviations, correlations."""
        return poisson_intervals.parameters(self)

    def cov_parameters(self) -> pd.DataFrame:
        """:func:`lmmlib.poisson_intervals.cov_parameters`: their covariance, by the delta method."""
        return poisson_intervals.cov_parameters(self)

    def confint(self, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.poisson_intervals.confint`: Wald limits of all parameters."""
        return poisson_intervals.confint(self, level)

    def modes(self) -> Modes:
        """:func:`lmmlib.poisson_modes.modes`: the most likely random effects, with two errors."""
        return poisson_modes.modes(self)

    def fitted(self, level: str = "conditional") -> np.ndarray:
        """:func:`lmmlib.poisson_predict.fitted`: means of the groups, of a typical group, of the population."""
        return poisson_predict.fitted(self, level)

    def residuals(self, level: str = "conditional", kind: str = "pearson") -> np.ndarray:
        """:func:`lmmlib.poisson_predict.residuals`: "response", "pearson" or "deviance"."""
        return poisson_predict.residuals(self, level, kind)

    def predict(
        self,
        newdata: pd.DataFrame,
        level: str = "conditional",
        scale: str = "response",
        new_groups: str = "population",
        coverage: float = 0.95,
        offset=None,
    ) -> pd.DataFrame:
        """:func:`lmmlib.poisson_predict.predict`: predicted means of new rows, with limits."""
        return poisson_predict.predict(self, newdata, level, scale, new_groups, coverage, offset)

    def overdispersion(self, size: int | None = None, rng: np.random.Generator | None = None) -> Dispersion:
        """:func:`lmmlib.poisson_dispersion.overdispersion`: do the counts vary more than Poisson?"""
        return poisson_dispersion.overdispersion(self, size, rng)

    def laplace_error(self, n_quadrature: int | None = None) -> float:
        """Log-likelihood by Laplace less that by adaptive quadrature, at the estimates: one or two random effects."""
        q = len(self.D)
        at = self.psi[: len(self.beta)], self.L
        nodes = aghq.rule(NODES.get(q, 15) if n_quadrature is None else n_quadrature, q)
        exact = aghq.loglik(self.counts, *at, self.B, self.inner, self.slopes, nodes)[0]
        return poisson_laplace.loglik(self.counts, self.inner) - exact

    def simulate(self, rng: np.random.Generator, size: int | None = None) -> np.ndarray:
        """New counts from the fitted model, (n_obs,) or (n_obs, size): new random effects, new counts."""
        checked_rng(rng)
        c, many = self.counts, 1 if size is None else checked_count("size", size)
        b = np.tensordot(self.L, rng.standard_normal((len(c.Z), many, c.n_groups)), 1)
        mean = np.exp(c.offset + self.psi[: len(self.beta)] @ c.X + np.einsum("qN,qmN->mN", c.Z, c.spread(b)))
        y = np.empty((self.n_obs, many))
        y[c.order] = rng.poisson(mean).T
        return y[:, 0] if size is None else y

    def refit(self, y) -> PoissonFit:
        """The same model and method fitted to other counts (n_obs,)."""
        # The module behind this makes fits, and so comes after this one.
        from lmmlib.poisson_fit import fit_poisson_design

        design = self.design.with_response(numbers(y, "y"))
        return replace(fit_poisson_design(design, self.method, self.n_quadrature, self.offsets), offset=self.offset)

    def __repr__(self) -> str:
        return self.summary()
