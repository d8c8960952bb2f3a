"""What a fit of a linear mixed model is: estimates, how they were found, design and sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd

from lmmlib.common.arguments import generator, standard_deviations
from lmmlib.common.table import labels
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.design import Design
from lmmlib.design.identify import require_identified
from lmmlib.design.responses import Responses
from lmmlib.equations import drawing
from lmmlib.equations.degrees import Curvature, Degrees, curvature
from lmmlib.equations.information import Directions, directions
from lmmlib.equations.weighted import weigh
from lmmlib.fitting.batch import Fits, fit_many, solve
from lmmlib.fitting.newton import Step
from lmmlib.fitting.refits import Refits


class Criteria(ABC):
    """What follows from the maximum of a likelihood, whatever the random part of the model is."""

    formula: str
    method: str
    beta: pd.Series
    cov_beta: pd.DataFrame
    D: Any
    theta: np.ndarray
    loglik: float
    n_obs: int
    is_singular: bool
    converged: bool
    reason: str
    design: Design

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Fixed effects and parameters of the covariances."""

    @property
    def criterion(self) -> float:
        """Minus twice ``loglik``: the deviance, or the REML criterion."""
        return -2 * self.loglik

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


@dataclass(frozen=True, eq=False)
class Maximum(Criteria):
    """The maximum of a likelihood over fixed effects and D, and how it was found.

    Attributes
    ----------
    beta : Series
        Fixed effects, labelled.
    cov_beta : DataFrame
        Their covariance.
    D : DataFrame
        Covariance of the random effects, labelled; may be singular.
    theta : (k,) array
        Cholesky factor of D, column by column as lme4 has it (its diagonal if D is diagonal).
    loglik : float
        Logarithm of the likelihood, with all constants.
    is_singular : bool
        True if D has no full rank: an ordinary answer.
    converged : bool
        If False, ``cov_beta`` is NaN and nothing has a standard error.
    reason : str
        Why the optimiser stopped.
    log : tuple of Step
        Every point of the optimiser: theta in the working basis, minus twice ``loglik`` there, gradient norm.
    """

    formula: str
    method: str
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
    log: tuple[Step, ...] = field(repr=False)
    design: Design = field(repr=False)

    @property
    def n_parameters(self) -> int:
        """Fixed effects, entries of theta, and sigma2 if the model has it."""
        return len(self.beta) + len(self.theta)


class Linear(Criteria):
    """What fits of linear models for normal responses have in common, whatever their random part is."""

    cross: CrossProducts

    @property
    def root(self) -> np.ndarray:
        """The factor R of X'X = R'R, upper triangular, (p, p)."""
        return np.linalg.cholesky(self.cross.work.XtX).T @ self.cross.basis.Rx

    @property
    @abstractmethod
    def observed(self) -> Degrees:
        """What Satterthwaite's df are made of, of a fit by REML, with the observed information."""

    @property
    @abstractmethod
    def expected(self) -> Degrees:
        """The same with the expected information: Kenward and Roger's, and Satterthwaite's at a singular optimum."""

    @abstractmethod
    def simulate(self, size: int | None = None, *, rng: np.random.Generator | int) -> np.ndarray:
        """New responses from the fitted model, (n_obs,) or (n_obs, size): new random effects, new errors."""

    @abstractmethod
    def again(self, y) -> Self:
        """The same model and method for another response (n_obs,)."""

    @abstractmethod
    def without(self, rows: np.ndarray) -> Self:
        """The same model and method for the other rows; ``rows`` (n_obs,) says which are left out."""

    def refits(self, Y: np.ndarray, done: Callable[[int], object]) -> Fits | Refits:
        """The same model and method for many responses (n_obs, B); ``done`` is told how many are."""
        return Refits.of(self, Y, done)


@dataclass(frozen=True, eq=False)
class Fitted(Linear, Maximum):
    """The estimates of a fitted linear mixed model, of which :class:`lmmlib.Fit` asks questions.

    Attributes
    ----------
    cov_beta : DataFrame
        The covariance of beta for known D and sigma2, :func:`lmmlib.equations.gls` at the estimates.
    sigma2 : float
        Residual variance.
    theta : (k,) array
        Relative Cholesky factor, of D over sigma2.
    loglik : float
        Log-likelihood (ML) or restricted log-likelihood (REML).
    cross : CrossProducts
        The sums of the design.
    """

    sigma2: float
    cross: CrossProducts = field(repr=False)

    @classmethod
    def of(cls, design: Design, cross: CrossProducts, method: str) -> Self:
        """The optimum for the response of the cross-products of a design, which may not have converged."""
        found, optimum = solve(cross, Responses.of_cross(cross), method)
        z, x = labels(design.z_names), labels(design.x_names)
        fit = cls(
            formula=design.formula,
            method=method,
            beta=pd.Series(found["beta"][0], x),
            cov_beta=pd.DataFrame(found["cov_beta"][0] if found["converged"][0] else np.nan, x, x),
            D=pd.DataFrame(found["D"][0], z, z),
            sigma2=float(found["sigma2"][0]),
            theta=found["theta"][0],
            loglik=float(found["loglik"][0]),
            n_obs=cross.n_obs,
            n_groups=cross.n_groups,
            is_singular=bool(found["is_singular"][0]),
            converged=bool(found["converged"][0]),
            reason=found["reason"][0],
            log=optimum.log,
            design=design,
            cross=cross,
        )
        R_inverse = optimum.best.R_inverse[0]
        vars(fit)["Phi"] = optimum.best.sigma2[0] * R_inverse @ R_inverse.T  # as the property would find it
        return fit

    @cached_property
    def Phi(self) -> np.ndarray:
        """Covariance of the fixed effects of the working basis for known D and sigma2, (p, p)."""
        return np.linalg.inv(weigh(self.cross, self.D.to_numpy(), self.sigma2).XtVX)

    @cached_property
    def by_ml(self) -> Self:
        """The same model fitted by ML, of which profiles of fixed effects are made; itself if it is by ML."""
        return self if self.method == "ML" else self.of(self.design, self.cross, "ML")

    def simulate(self, size: int | None = None, *, rng: np.random.Generator | int) -> np.ndarray:
        """New responses from the fitted model, (n_obs,) or (n_obs, size): new random effects, new errors."""
        return drawing.lmm(self.design, *self.estimates, generator(rng), size)

    def again(self, y) -> Self:
        """The same model and method for another response (n_obs,)."""
        design = self.design.with_response(y)
        return self.of(design, cross_products(design), self.method)

    def without(self, rows: np.ndarray) -> Self:
        """The same model and method for the other rows, a group without rows being one still.

        Raises
        ------
        DesignError
            If the others do not identify the parameters.
        """
        design = self.design.take(~rows)
        cross = cross_products(design)
        cross.require_full_rank()
        require_identified(cross, design.grouping)
        return self.of(design, cross, self.method)

    def refits(self, Y: np.ndarray, done: Callable[[int], object]) -> Fits:
        """The same model and method for many responses (n_obs, B), as one computation."""
        fits = fit_many(self.design, Y, method=self.method)
        done(len(fits))
        return fits

    @property
    def directions(self) -> Directions:
        """Derivatives of the likelihood by D, as it is in the working basis, and by sigma2: all df and limits share it.

        Raises
        ------
        DesignError
            If the response has units in which the sums overflow or vanish.
        """
        return directions(self.cross, self.D.to_numpy(), self.sigma2, working=True)

    @property
    def observed(self) -> Curvature:
        """What Satterthwaite's df are made of, of a fit by REML, with the observed information."""
        return curvature(self.cross, self.D.to_numpy(), self.sigma2, "observed")

    @property
    def expected(self) -> Curvature:
        """The same with the expected information: Kenward and Roger's, and Satterthwaite's at a singular D."""
        return curvature(self.cross, self.D.to_numpy(), self.sigma2, "expected")

    @cached_property
    def L(self) -> np.ndarray:
        """The factor of D over sigma2 in the working basis, where the search ended, (q, q)."""
        return np.tensordot(self.log[-1].working, self.cross.theta_coordinates, 1)

    @property
    def n_parameters(self) -> int:
        """Fixed effects, entries of theta, and sigma2."""
        return super().n_parameters + 1

    @property
    def estimates(self) -> tuple[np.ndarray, np.ndarray, float]:
        """beta, D and sigma2 as arrays, as the equations take them."""
        return self.beta.to_numpy(), self.D.to_numpy(), self.sigma2
