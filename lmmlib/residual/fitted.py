"""What a fit with a residual covariance is: the best working parameters, the estimates, and what tests are made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_method, numbers
from lmmlib.common.small import factor, semidefinite_cholesky, symmetric_units, vech
from lmmlib.common.table import labels
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.design import Design
from lmmlib.equations.degrees import Degrees
from lmmlib.equations.information import information_of, inverse
from lmmlib.errors import DesignError
from lmmlib.fitting.batch import NO_RESIDUAL, NO_VARIATION, SINGULAR, ZERO
from lmmlib.fitting.fitted import Linear, Maximum
from lmmlib.fitting.newton import Optimum, Point, newton
from lmmlib.residual.identify import require_enough, require_identified, require_maximum
from lmmlib.residual.model import Model, Surface
from lmmlib.residual.structures import Structure
from lmmlib.residual.visits import Visits


@dataclass(frozen=True, eq=False)
class ResidualDegrees(Degrees):
    r"""What df and corrected covariances are made of; ``A`` is the covariance of the natural parameters.

    For ``ar1``, of which V is not linear, Kenward and Roger's correction has the term with second derivatives:

    .. math:: \Phi_A = \Phi + 2\Phi\Big\{\sum_{r,s}A_{rs}\big(Q_{rs} - P_r\Phi P_s - \tfrac14X'V^{-1}\ddot V_{rs}
        V^{-1}X\big)\Big\}\Phi

    with :math:`\alpha = (D, \sigma^2, \rho)`: it depends on the parameters (Kenward and Roger 1997, 2009). Equation
    :eq:`kenward-roger-bends` of the book.
    """

    model: Model
    surface: Surface
    A: np.ndarray
    beta: np.ndarray

    def __post_init__(self) -> None:
        cross, d = self.model.cross, self.surface.directions
        p = len(self.beta)
        shared = {"Rx": cross.basis.Rx, "R_inverse": self.model.unit * d.R_inverse, "slopes": d.P[:, :p, :p]}
        vars(self).update(shared | {"gram": cross.work.XtX})

    @cached_property
    def spread(self) -> np.ndarray:
        r""":math:`\sum_{rs}A_{rs}(Q_{rs} - P_r\Phi P_s)`, for X R^-1, (p, p)."""
        P, model, alpha = self.slopes, self.model, self.surface.alpha
        total = -np.einsum("rs,rxy,syz->xz", self.A, P, P)
        for b, (batch, (W_inverse, X)) in enumerate(zip(model.batches, self.surface.precision, strict=True)):
            slopes = model.slopes(b, alpha)
            middle = np.einsum("rkij,kjl,rklm->kim", slopes, W_inverse, np.tensordot(self.A, slopes, 1), optimize=True)
            total += np.tensordot(X, middle[batch.of] @ X, ([0, 1], [0, 1]))
        return (total + total.T) / 2

    @cached_property
    def adjustment(self) -> np.ndarray:
        """Half of what Kenward and Roger add to the covariance of beta, for X R^-1, (p, p)."""
        total = self.spread.copy()
        for batch, bend, (_, X) in zip(
            self.model.batches, self.model.bends(self.surface.alpha, self.A), self.surface.precision, strict=True
        ):
            total -= np.tensordot(X, bend[batch.of] @ X, ([0, 1], [0, 1])) / 4
        return (total + total.T) / 2


@dataclass(frozen=True, eq=False)
class ResidualFitted(Linear, Maximum):
    """The estimates of a mixed model with a residual covariance, of which a :class:`ResidualFit` asks questions.

    Attributes
    ----------
    cov_beta : DataFrame
        The covariance of beta for known D and R.
    theta : (k,) array
        Cholesky factor of D.
    is_singular : bool
        True if D or R has no full rank: an ordinary answer.
    residual : Structure
        As it was given to ``fit``.
    cross : CrossProducts
        The sums of the design.
    model : Model
        Design, visits and sums.
    working : (k,) array
        The parameters of the search where it ended.
    """

    residual: Structure
    cross: CrossProducts = field(repr=False)
    model: Model = field(repr=False)
    working: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, design: Design, visits: Visits, method: str, start: np.ndarray | None = None) -> Self:
        """The maximum for the response of a design.

        Raises
        ------
        DesignError
            If columns of X are dependent, D and R are not identified, or the likelihood has no maximum.
        """
        checked_method(method)
        cross = cross_products(design)
        cross.require_full_rank()
        y = design.standard_rows(design.y)[0]
        if cross.work.yty <= NO_RESIDUAL * float(y @ y) or cross.n_obs <= len(cross.x_names):
            raise DesignError(f"{NO_VARIATION}; is {design.response!r} the response that you mean?")
        require_enough(cross, visits)
        model = Model.of(design, cross, visits)
        starts = model.starts() if start is None else [start]
        require_identified(model, starts[0])
        optimum = best(model, method, starts)
        w = optimum.best.theta[0]
        singular = _is_singular(model, w)
        w = np.where(np.abs(w) < ZERO, 0.0, w) if singular else w
        require_maximum(model, w, method, optimum)
        alpha, unit, basis = model.natural(w)[0], model.unit, cross.basis
        s = surface(model, alpha, method)
        x, z, converged = labels(design.x_names), labels(design.z_names), bool(optimum.converged[0])
        D = basis.D_back(unit**2 * model.D(alpha))
        R_inverse = unit * s.directions.R_inverse
        Phi = basis.cov_beta_back(R_inverse @ R_inverse.T)
        return cls(
            formula=design.formula,
            method=method,
            beta=pd.Series(basis.beta_back(unit * s.directions.beta), x),
            cov_beta=pd.DataFrame(Phi if converged else np.nan, x, x),
            D=pd.DataFrame(D, z, z),
            theta=np.array([semidefinite_cholesky(D)[a, b] for a, b in vech(len(z), design.diagonal)]),
            loglik=-s.value / 2,
            n_obs=cross.n_obs,
            n_groups=cross.n_groups,
            is_singular=singular,
            converged=converged,
            reason=optimum.reason[0],
            log=optimum.log,
            design=design,
            residual=visits.structure,
            cross=cross,
            model=model,
            working=w,
        )

    def again(self, y) -> Self:
        """The same model and method for another response (n_obs,)."""
        return self.of(self.design.with_response(numbers(y, "y")), self.model.visits, self.method)

    def without_column(self, a: int) -> Self:
        """The same model and method without a random column."""
        names = tuple(name for k, name in enumerate(self.design.z_names) if k != a)
        design = replace(self.design, Z=np.delete(self.design.Z, a, axis=1), z_names=names)
        return self.of(design, self.model.visits, self.method)

    def without(self, rows: np.ndarray) -> Self:
        """The same model and method for the other rows, a group without rows being one still."""
        design = self.design.take(~rows)
        return self.of(design, self.model.visits.take(~rows, design), self.method)

    @cached_property
    def by_ml(self) -> Self:
        """The same model fitted by ML, of which profiles of fixed effects are made; itself if it is by ML."""
        return self if self.method == "ML" else self.of(self.design, self.model.visits, "ML")

    @property
    def n_parameters(self) -> int:
        """Fixed effects, entries of theta, and parameters of R."""
        return len(self.beta) + len(self.working)

    @cached_property
    def alpha(self) -> np.ndarray:
        """The natural parameters, in working units, (k,)."""
        return self.model.natural(self.working)[0]

    @cached_property
    def surface(self) -> Surface:
        """The likelihood at the estimates, with its derivatives by the natural parameters."""
        return surface(self.model, self.alpha, self.method)

    @cached_property
    def observed(self) -> Degrees:
        """What Satterthwaite's df are made of, of a fit by REML, with the observed information."""
        return self._degrees(self.surface.hessian / 2, "observed")

    @cached_property
    def expected(self) -> ResidualDegrees:
        """The same with the expected information: Kenward and Roger's, and Satterthwaite's at a singular optimum."""
        return self._degrees(information_of(self.surface.directions, "REML", "expected"), "expected")

    def _degrees(self, information: np.ndarray, kind: str) -> ResidualDegrees:
        A = inverse(information)
        if A is None:
            raise DesignError(
                f"the {kind} information on the variance parameters is not positive definite here: some are beyond the "
                "digits of the data; use a residual covariance with fewer parameters"
            )
        return ResidualDegrees(self.model, self.surface, A, self.beta.to_numpy())

    @property
    def rho(self) -> np.ndarray | None:
        """The correlations that make V not linear, those of ``ar1`` at one step, (cells,); None for the others."""
        return None if self.residual.is_linear else self.model.parts(self.alpha)[1][:, 1]

    def covariances(self, rows: list[np.ndarray], rho: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of the V of groups by the entries of D and the natural parameters, side by side (k, entries).

        With the sum of them that V is at the estimate (k,). ``rho``: where to take those of ``ar1``, by default there.
        """
        design, visits, own = self.design, self.model.visits, self.model.parts(self.alpha)[1].copy()
        Z, E = design.standard_rows(design.y)[2], symmetric_units(len(self.D), design.diagonal)
        coefficients = [self.D.to_numpy()[a, b] for a, b in vech(len(self.D), design.diagonal)]
        for one in own:
            coefficients += list(
                self.model.unit**2 * one if self.residual.is_linear else [self.model.unit**2 * one[0], 0]
            )
        if not self.residual.is_linear:
            own[:, 0] = 1.0
            own[:, 1] = own[:, 1] if rho is None else rho
        full = [self.residual.slopes(one, visits.positions) for one in own]
        parts = []
        for r in rows:
            cell, at = visits.cell[design.group[r[0]]], np.ix_(visits.code[r], visits.code[r])
            R = np.zeros((own.size, len(r), len(r)))
            for k, slope in enumerate(full[cell]):
                R[cell * own.shape[1] + k] = slope[at] * (np.eye(len(r)) if self.residual.is_diagonal else 1.0)
            parts.append(np.concatenate([Z[r] @ E @ Z[r].T, R]).reshape(len(coefficients), -1))
        return np.hstack(parts), np.array(coefficients)

    def R(self) -> np.ndarray:
        """The residual covariance of all visits, (cells, levels, levels), in the units of the response."""
        return self.model.unit**2 * self.model.R(self.alpha)


def surface(model: Model, alpha: np.ndarray, method: str) -> Surface:
    """The likelihood at alpha, where V is to be positive definite."""
    found = model.at(alpha, method)
    if found is None:
        raise DesignError(
            "V is not positive definite at the estimates; use a residual covariance with fewer parameters"
        )
    return found


def best(model: Model, method: str, starts: list[np.ndarray], penalty=None) -> Optimum[Point]:
    """The lowest of the minima that are found from the starts."""
    objective = model.objective(method, penalty)
    found = [newton(objective, start[None]) for start in starts]
    return min(found, key=lambda o: (not o.converged[0], o.best.value[0]))


def _is_singular(model: Model, w: np.ndarray) -> bool:
    """Whether a standard deviation of D or R in some direction is zero beside the residuals of least squares."""
    alpha, visits = model.natural(w)[0], model.visits
    roots = [np.linalg.norm(factor(model.D(alpha)), axis=0)]
    some = len(visits.levels) if visits.structure.is_diagonal else min(visits.most, len(visits.levels))
    for R in model.R(alpha):
        R = R if not visits.structure.extends else R[:some, :some]
        roots.append(np.sqrt(np.maximum(np.linalg.eigvalsh(R), 0.0)))
    return bool(np.concatenate(roots).min() < SINGULAR)
