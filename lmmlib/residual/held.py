"""Fits with a residual covariance in which one parameter is held, for :func:`lmmlib.inference.profile.reach`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy  # which imports scipy.optimize when it is first asked for

from lmmlib.equations.information import inverse
from lmmlib.errors import DesignError
from lmmlib.inference.profiled import Point, Profiled
from lmmlib.residual.fitted import ResidualFitted, best
from lmmlib.residual.parameters import Form, forms

# Weight of the penalty that holds a parameter, in units of the curvature of the criterion along it.
HOLD = 1e3
# How far beyond its edge a variance or a correlation is drawn, in units of its size, to be seen to stay there.
BEYOND = 20.0
# How near a form is brought to a value, in steps.
NEAR = 1e-6
# A variance beside its size, or a gap of a correlation to 1, that is rounding.
NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class HeldPoint(Point):
    """A point of a profile: with its ``working`` parameters, and what was ``reached``."""

    working: np.ndarray
    reached: float


def held(fit: ResidualFitted, kind: tuple) -> Profiled[HeldPoint]:
    """The models in which a parameter is held, of a fixed effect by ML; ``kind`` as ``ResidualFit.kinds`` has it."""
    return HeldEffect(fit.by_ml, kind[1]) if kind[0] == "effect" else HeldForm(fit, forms(fit)[kind[1]])


class HeldEffect(Profiled[HeldPoint]):
    r"""A fixed effect held at a value: its column, times the value, is taken from the response.

    In the working basis :math:`\beta_j = l'\tilde\beta + \beta_{0j}`, and the other coefficients are those of the
    columns :math:`\tilde XN`, with N orthogonal to l.
    """

    def __init__(self, fit: ResidualFitted, j: int):
        estimate = float(fit.beta.iloc[j])
        super().__init__(fit, estimate, fit.se.iloc[j], HeldPoint(estimate, fit.criterion, fit.working, estimate))
        self.row, self.shift = fit.cross.basis.x_back[j], fit.cross.basis.beta0[j]

    def find(self, value: float) -> HeldPoint:
        """The optimum with the effect held."""
        gap = (value - self.shift) / self.fit.model.unit
        optimum = best(self.fit.model.without(self.row, gap), "ML", [self.near(value).working])
        if not optimum.converged[0]:
            raise DesignError(self.lost(value, optimum.reason[0]))
        return HeldPoint(value, float(optimum.best.value[0]), optimum.best.theta[0], value)


class HeldForm(Profiled[HeldPoint]):
    r"""A variance or correlation :math:`\psi(w)` drawn to a target t: the minimum of :math:`d(w) + c\,(\psi(w) - t)^2`.

    There d is least of all w with this :math:`\psi`: the minima are points of the profile, whatever the weight c, and
    :math:`\psi` rises with t. An edge is no special case: beyond it the minima stay there.
    """

    def __init__(self, fit: ResidualFitted, form: Form):
        self.form = form
        estimate, slope, _ = self.form.at(fit.alpha)
        # What the parameter is seen beside: of a variance that of all residuals of least squares.
        self.size = 1.0
        if self.form.is_sd:
            self.size = max(estimate, self.form.size)
        A = None if fit.is_singular else inverse(fit.surface.hessian / 2)
        step = self.size / 10 if A is None else float(np.sqrt(slope @ A @ slope))
        super().__init__(fit, estimate, step, HeldPoint(estimate, fit.criterion, fit.working, estimate))
        self.weight, far = HOLD / self.step**2, BEYOND * max(self.size, self.step)
        self.edges = (-far, np.inf if self.form.is_sd else far)
        self.attained = (True, not self.form.is_sd)

    def find(self, value: float) -> HeldPoint:
        """The optimum with the parameter drawn to a value."""
        start = _off_the_edge(self.near(value).working)
        optimum = best(self.fit.model, self.fit.method, [start], self._penalty(value))
        w = optimum.best.theta[0]
        reached = self.form.at(self.fit.model.natural(w)[0])[0]
        criterion = float(optimum.best.value[0]) - self.weight * (reached - value) ** 2
        return HeldPoint(value, min(criterion, self.without), w, reached)

    @cached_property
    def without(self) -> float:
        """Of a correlation the least criterion without one of the two columns, where it may be anything."""
        pair = self.form.columns if self.form.kind == "corr" else ()
        return min((self.fit.without_column(a).criterion for a in pair), default=np.inf)

    def parameter(self, value: float) -> float:
        """The standard deviation or correlation that was reached."""
        if not np.isfinite(value):
            return value
        if not np.isfinite(self.estimate):  # a correlation that does not exist, free to have any value
            return float(np.sign(value))
        reached = self.at(value).reached
        if self.form.is_sd:
            return float(np.sqrt(reached)) if reached > NOTHING * self.size else 0.0
        return float(np.sign(reached)) if abs(reached) > 1 - NOTHING else reached

    @property
    def space(self) -> tuple[tuple[float, float], tuple[bool, bool]]:
        """All standard deviations, or correlations."""
        return ((0.0, np.inf), (True, False)) if self.form.is_sd else ((-1.0, 1.0), (True, True))

    def criterion(self, parameter: float) -> float:
        """The least criterion with the standard deviation or correlation at a value.

        The target lies beyond the form, and is looked for between a value that is too near and one that is too far.

        Raises
        ------
        DesignError
            If there is no such model.
        """
        if self.form.kind == "sd" and not parameter:
            return self.fit.without_column(*self.form.columns).criterion
        psi = parameter**2 if self.form.is_sd else parameter
        side, close, far = np.sign(psi - self.estimate), NEAR * self.step, BEYOND * max(self.size, self.step)

        def lacks(target: float) -> float:
            return side * (psi - self.at(target).reached)

        ends = [psi, 2 * psi - self.estimate]
        while lacks(ends[1]) > close and abs(ends[1]) < far:
            ends = [ends[1], 3 * ends[1] - 2 * psi]
        target = (
            scipy.optimize.brentq(lacks, *ends, xtol=0.1 * close) if lacks(ends[0]) > 0 > lacks(ends[1]) else ends[1]
        )
        point = self.at(target)
        if abs(psi - point.reached) > close and np.isinf(self.without):
            raise DesignError(self.lost(parameter, f"the nearest that was reached is {point.reached:g}"))
        slope = 2 * self.weight * (target - point.reached)
        return min(point.criterion + slope * (psi - point.reached), self.without)

    def _penalty(self, target: float):
        """c (psi - t)^2 as a function of w, with gradient and Hessian."""

        def at(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            alpha, J = self.fit.model.natural(w)
            psi, slope, bend = self.form.at(alpha)
            by_w, gap, c = J.T @ slope, psi - target, self.weight
            second = J.T @ bend @ J + self.fit.model.curvature(w, slope)
            return c * gap**2, 2 * c * gap * by_w, 2 * c * (np.outer(by_w, by_w) + gap * second)

        return at


def _off_the_edge(w: np.ndarray) -> np.ndarray:
    """Working parameters that are not zero, where a gradient vanishes and nothing moves."""
    return np.where(np.abs(w) < 1e-4, 1e-3, w)
