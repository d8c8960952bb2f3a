r"""What a fit with several groupings is: estimates, how they were found, and what tests of fixed effects need."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self, TypeVar

import numpy as np
import pandas as pd

from lmmlib.common.small import semidefinite_cholesky, vech
from lmmlib.common.table import labels
from lmmlib.design.cross import CrossProducts
from lmmlib.design.design import Design
from lmmlib.equations.degrees import Degrees
from lmmlib.equations.information import inverse
from lmmlib.equations.weighted import LIMIT
from lmmlib.errors import DesignError
from lmmlib.fitting.batch import ENDLESS, NO_SIGMA, NO_VARIATION, SINGULAR, ZERO
from lmmlib.fitting.fitted import Linear
from lmmlib.fitting.newton import ROUNDING, Optimum, Step, newton
from lmmlib.several.criterion import State, criterion, factors, is_large
from lmmlib.several.identify import inner, require_seen, start
from lmmlib.several.sums import SeveralSums, several_sums
from lmmlib.several.terms import SeveralDesign

F = TypeVar("F", bound="SeveralFitted")
# Residuals of a share of the response that is rounding.
EXACT = 1e-26
# Where a search starts again that did not converge, or stopped at the boundary; and the least entry of theta from
# which another fit is searched: at zero nothing moves.
AGAIN, LEAST = 1.0, 0.1


@dataclass(frozen=True, eq=False)
class Variances(Degrees):
    """What the df of all contrasts of one fit share, by the observed or the expected information at its state.

    ``A`` (k, k) is the covariance of the entries of each D, in the working basis, and of sigma2, in the last place.
    """

    state: State
    sigma2: float
    kind: str

    def __post_init__(self) -> None:
        sums = self.state.sums
        beta = sums.beta0 + sums.cross.basis.x_back @ self.state.beta
        shared = {"Rx": sums.cross.basis.Rx, "gram": sums.cross.work.XtX, "beta": beta}
        shared["R_inverse"] = self.state.R_inverse * np.sqrt(self.sigma2)
        vars(self).update(shared)
        vars(self).update({"slopes": self._slopes(), "A": self._covariance()})

    @cached_property
    def relative(self) -> np.ndarray:
        """R^-1'X'V_0^-1 V_r V_0^-1 X R^-1 by the entries of each D over sigma2, (k - 1, p, p)."""
        pairs = zip(self.state.sums.groupings, self.state.ZX, strict=True)
        return np.array([v.T @ g.times(E, v, True) for g, v in pairs for E in g.E])

    def _slopes(self) -> np.ndarray:
        """The same by the entries of each D and by sigma2, with V for V_0, (k, p, p)."""
        alpha = entries(self.state)
        rest = np.eye(len(self.Rx)) - np.tensordot(alpha, self.relative, 1)
        return np.concatenate([self.relative, rest[None]]) / self.sigma2

    @cached_property
    def information(self) -> np.ndarray:
        r"""Information on the entries alpha of each D over sigma2, and on sigma2, (k, k).

        Expected: half of :math:`\operatorname{tr}(PV_rPV_s)`, where along sigma2 V itself changes. Observed: half of
        the second derivatives of the criterion :math:`h + m\log\sigma^2 + r^2/\sigma^2`.
        """
        state, s, m = self.state, self.sigma2, self.state.m
        if self.kind == "expected":
            top, side, corner = state.traces / 2, state.h_slope / (2 * s), m / (2 * s**2)
        else:
            top = (state.r2_bend / s - state.traces) / 2
            side, corner = -state.r2_slope / (2 * s**2), (2 * state.r2 / s**3 - m / s**2) / 2
        return np.block([[top, side[:, None]], [side[None], np.array([[corner]])]])

    @cached_property
    def relative_A(self) -> np.ndarray:
        """Covariance of the entries of each D over sigma2, and of sigma2, (k, k).

        Raises
        ------
        DesignError
            If the information is not positive definite.
        """
        A = inverse(self.information)
        if A is None:
            raise DesignError(
                f"the {self.kind} information on the variance parameters is not positive definite here; Kenward and "
                "Roger's degrees of freedom use the expected one, and z needs none"
            )
        return A

    def _covariance(self) -> np.ndarray:
        """Covariance of the entries of each D and of sigma2, (k, k)."""
        change = np.eye(len(self.relative_A)) * self.sigma2
        change[:-1, -1], change[-1, -1] = entries(self.state), 1.0
        return change @ self.relative_A @ change.T

    @cached_property
    def adjustment(self) -> np.ndarray:
        r"""Half of what Kenward and Roger add, (p, p).

        .. math:: \sum_{rs}W_{rs}R^{-1\prime}X'V_0^{-1}V_rPV_sV_0^{-1}XR^{-1}

        With P in the middle this is their :math:`Q_{rs} - P_rP_s`; along V itself it vanishes.
        """
        k, p = len(self.relative), len(self.Rx)
        Q = self.state.products(self.state.along(self.state.ZX)).reshape(k, p, k, p)
        return np.einsum("rs,rxsy->xy", self.relative_A[:-1, :-1], (Q + Q.transpose(2, 3, 0, 1)) / 2)


def entries(state: State) -> np.ndarray:
    """alpha of each D over sigma2, (k,)."""
    pairs = zip(state.sums.groupings, state.D, strict=True)
    return np.concatenate([g.entries(D) for g, D in pairs])


@dataclass(frozen=True, eq=False)
class SeveralFitted(Linear):
    """The estimates of a linear mixed model with several groupings, and how they were found.

    Attributes
    ----------
    formula, method : str
    beta : Series
        Fixed effects, labelled.
    cov_beta : DataFrame
        Their covariance for known variances.
    D : dict
        Of each term, by its place in the formula, the covariance of its random effects, labelled.
    sigma2 : float
        Residual variance.
    theta : (k,) array
        Relative Cholesky factors of each D, in the order of the formula, column by column as lme4 has it.
    loglik : float
        Log-likelihood (ML) or restricted log-likelihood (REML).
    is_singular : bool
        True if a D has no full rank: an ordinary answer.
    singular_terms : dict
        Of each term, by its place in the formula, whether D has no full rank.
    converged, reason, log
        As :class:`lmmlib.fitting.fitted.Maximum` has them.
    design : Design
        Of response and fixed effects.
    cross : CrossProducts
        The sums of these.
    state : State
        The model at the estimates.
    """

    formula: str
    method: str
    beta: pd.Series
    cov_beta: pd.DataFrame
    D: dict[int, pd.DataFrame]
    sigma2: float
    theta: np.ndarray
    loglik: float
    n_obs: int
    is_singular: bool
    singular_terms: dict[int, bool]
    converged: bool
    reason: str
    log: tuple[Step, ...] = field(repr=False)
    design: Design = field(repr=False)
    cross: CrossProducts = field(repr=False)
    state: State = field(repr=False)

    @classmethod
    def of(cls, sums: SeveralSums, method: str, first: np.ndarray) -> Self:
        """The optimum, searched from theta (k,)."""
        optimum = minimise(sums, method, first)
        state = State(sums, factors(sums, optimum.best.theta[0]), method == "REML")
        basis, x = sums.cross.basis, labels(sums.cross.x_names)
        pairs = zip(sums.groupings, state.D, strict=True)
        D, theta, singular = _covariances(state)
        ok, reason = bool(optimum.converged[0]), optimum.reason[0]
        y = sums.design.fixed.standard_rows(sums.design.fixed.y)[0]
        if sums.y @ sums.y <= EXACT * (y @ y):
            ok, reason = False, NO_VARIATION
        largest = max(np.einsum("ra,ab,rb->r", g.Z, D, g.Z).max() for g, D in pairs)
        doubtful = not ok or (reason == ROUNDING and sums.saturated)
        if largest > (ENDLESS if doubtful else LIMIT):
            ok, reason = False, NO_SIGMA
        sigma2 = state.r2 / state.m if np.isfinite(optimum.best.value[0]) else np.nan
        root = basis.x_back @ state.R_inverse
        return cls(
            formula=sums.design.fixed.formula,
            method=method,
            beta=pd.Series(sums.beta0 + basis.x_back @ state.beta, x),
            cov_beta=pd.DataFrame(sigma2 * root @ root.T if ok else np.nan, x, x),
            D={t: sigma2 * one for t, one in D.items()},
            sigma2=sigma2,
            theta=theta,
            loglik=-float(optimum.best.value[0]) / 2,
            n_obs=sums.design.fixed.n_obs,
            is_singular=any(singular.values()),
            singular_terms=singular,
            converged=ok,
            reason=reason,
            log=optimum.log,
            design=sums.design.fixed,
            cross=sums.cross,
            state=state,
        )

    @property
    def terms(self) -> SeveralDesign:
        """The designs of the random terms."""
        return self.state.sums.design

    @property
    def n_groups(self) -> dict[str, int]:
        """Number of groups of each grouping, in the order of the formula."""
        found = {g.name: g.n for g in self.state.sums.groupings}
        return {name: found[name] for name in self.terms.names}

    def again(self, y) -> Self:
        """The same model and method for another response (n_obs,), searched from the fit."""
        return self.of(self.state.sums.response(y), self.method, away_from_zero(self.log[-1].working))

    def without(self, rows: np.ndarray) -> Self:
        """The same model and method for the other rows, a group without rows being one still."""
        terms = tuple(replace(term, design=term.design.take(~rows)) for term in self.terms.terms)
        design = replace(self.terms, fixed=self.design.take(~rows), terms=terms)
        return fit_sums(several_sums(design), self.method, type(self))

    @property
    def n_parameters(self) -> int:
        """Fixed effects, entries of theta, and sigma2."""
        return len(self.beta) + len(self.theta) + 1

    @cached_property
    def observed(self) -> Variances:
        """What Satterthwaite's df are made of, of a fit by REML, with the observed information."""
        return Variances(self.state, self.sigma2, "observed")

    @cached_property
    def expected(self) -> Variances:
        """The same with the expected information: Kenward and Roger's, and Satterthwaite's at a singular optimum."""
        return Variances(replace(self.state, reml=True), self.sigma2, "expected")


def _covariances(state: State) -> tuple[dict[int, pd.DataFrame], np.ndarray, dict[int, bool]]:
    """D over sigma2 of each term in the basis of the formula, theta, and whether one is singular."""
    D, theta, singular = {}, {}, {}
    for g, L in zip(state.sums.groupings, state.L, strict=True):
        for number, basis, columns in zip(g.numbers, g.bases, g.slices, strict=True):
            design = state.sums.design.terms[number].design
            U, s, _ = np.linalg.svd(L[columns, columns])
            back = basis.L_back(U * np.where(s > ZERO, s, 0.0))
            relative = back @ back.T * (np.eye(len(s)) if design.diagonal else 1.0)
            lower = semidefinite_cholesky(relative)
            D[number] = pd.DataFrame(relative, labels(design.z_names), labels(design.z_names))
            theta[number] = [lower[a, b] for a, b in vech(len(s), design.diagonal)]
            singular[number] = bool(s.min() < SINGULAR)
    order = range(len(D))
    return {t: D[t] for t in order}, np.array(sum((theta[t] for t in order), [])), singular


def minimise(sums: SeveralSums, method: str, first: np.ndarray) -> Optimum:
    """Theta of least criterion from a start; a search that did not converge, or met the boundary, starts once more."""

    def search(theta: np.ndarray) -> Optimum:
        found = newton(lambda theta, _: criterion(sums, method, theta), theta)
        if found.reason[0] == ROUNDING and is_large(sums):  # what is right on average is not near enough
            last = newton(lambda theta, _: criterion(sums, method, theta, exact=True), found.best.theta)
            found = replace(last, log=found.log + last.log)
        return found

    optimum = search(first[None])
    small = min((np.linalg.svd(L)[1].min() for L in factors(sums, optimum.best.theta[0]) if L.size), default=1.0)
    if np.isfinite(optimum.best.value[0]) and (small < SINGULAR or not optimum.converged[0]):
        again = search(np.where(first == 0, 0.0, AGAIN)[None])
        lower = optimum.best.value[0] - again.best.value[0]
        if lower > 1e-9 * (1 + abs(again.best.value[0])) or (again.converged[0] and not optimum.converged[0]):
            optimum = again
    return optimum


def fit_sums(sums: SeveralSums, method: str, kind: type[F]) -> F:
    """The fit by REML or ML once the sums are there.

    Raises
    ------
    DesignError
        If the rows do not identify the variances, or there is no residual.
    """
    products = inner(sums)
    require_seen(sums, products)
    found = kind.of(sums, method, start(sums, products))
    if not np.isfinite(found.loglik):
        raise DesignError(f"{found.reason}; is {sums.design.fixed.response!r} the response that you mean? {NO_SIGMA}")
    return found


def away_from_zero(theta: np.ndarray) -> np.ndarray:
    """Theta as a start, no entry smaller than ``LEAST``."""
    return np.where(np.abs(theta) < LEAST, LEAST, theta)
