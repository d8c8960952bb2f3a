r"""Models with several groupings in which one parameter is held at a value: what a profile minimises over.

The factor of the term's D is lower triangular for its columns in an order with those of the parameter first. There a
standard deviation is one entry, :math:`T_{11} = \psi/\sigma`, and a correlation the direction of the second row,
:math:`(T_{21}, T_{22}) = s\,(\psi, \sqrt{1 - \psi^2})`. A fixed effect is held by an offset, by maximum likelihood.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lmmlib.common.small import semidefinite_cholesky
from lmmlib.errors import DesignError
from lmmlib.fitting.newton import newton
from lmmlib.inference import profiled
from lmmlib.inference.profiled import Profiled
from lmmlib.several.criterion import State, point
from lmmlib.several.fitted import LEAST, SeveralFitted, away_from_zero
from lmmlib.several.parameters import cov_parameters, kinds_of, value_of
from lmmlib.several.sums import several_sums
from lmmlib.several.terms import SeveralDesign
from lmmlib.several.whole import MOST_ROWS, Whole, WholeState

EDGES = {"effect": (-np.inf, np.inf), "sd": (0.0, np.inf), "corr": (-1.0, 1.0), "sigma": (0.0, np.inf)}
ATTAINED = {"effect": (False, False), "sd": (True, False), "corr": (True, True), "sigma": (False, False)}
# As a share of the mean square of the response, a sigma2 by which D is not divided.
LITTLE = 1e-4
# How many times the random effects of the nearest point others are tried that lead away from a turned correlation.
SIZES = (0.1, 3.0, 10.0)


@dataclass(frozen=True, eq=False)
class Point(profiled.Point):
    """An optimum with a parameter held: with the ``L`` of each grouping, D being LL', and ``sigma2`` there."""

    L: list[np.ndarray]
    sigma2: float


class Held(Profiled[Point]):
    """A model with several groupings with one parameter of its covariances held."""

    def __init__(self, fit: SeveralFitted, kind: tuple, estimate: float, step: float):
        guess = 0.3 * (np.sqrt(fit.sigma2) if kind[0] != "corr" else 1.0)
        step = step if np.isfinite(step) and step > 0 else guess
        L = [one * np.sqrt(fit.sigma2) for one in fit.state.L]
        super().__init__(fit, estimate, step, Point(float(estimate), fit.criterion, L, fit.sigma2))
        self.kind, self.edges, self.attained, self.sums = kind, EDGES[kind[0]], ATTAINED[kind[0]], fit.state.sums
        if kind[0] == "sigma" and self.sums.n_obs <= MOST_ROWS and self.sums.saturated:
            self.attained = (self._rows.regular, False)

    @cached_property
    def _rows(self) -> Whole:
        return Whole(self.sums, self.fit.state.reml)

    def find(self, value: float) -> Point:
        """The search with the parameter held, from the nearest point that is known."""
        near = self.near(value)
        found = [self.solve(float(value), near)]
        if self.without is None:
            return found[0]
        if self._turned(found[0]):  # there may be another valley
            for size in SIZES:
                with suppress(DesignError):
                    found.append(self.solve(float(value), replace(near, L=[size * L for L in near.L])))
        found = [point for point in found if not self._turned(point)]
        return replace(min([*found, self.without], key=lambda point: point.criterion), value=float(value))

    def _turned(self, point: Point) -> bool:
        """Whether T_11 and s have other signs, so that the correlation is minus the value."""
        fit, (_, number, a, b) = self.fit, self.kind
        for g, L in zip(fit.state.sums.groupings, point.L, strict=True):
            for own, basis, columns in zip(g.numbers, g.bases, g.slices, strict=True):
                if own == number:
                    half = L[columns, columns]
                    return bool(basis.D_back(half @ half.T)[a, b] * point.value < 0)
        return False

    @cached_property
    def without(self) -> Point | None:
        """Of a correlation the lowest without one of the two standard deviations, where it may be anything."""
        if self.kind[0] != "corr":
            return None
        found = (held(self.fit, ("sd", self.kind[1], a)).at(0.0) for a in self.kind[2:])
        return min(found, key=lambda point: point.criterion)

    def solve(self, value: float, near: Point) -> Point:
        """The search with the parameter held, from a point: relative to sigma unless that is next to zero."""
        little, found = LITTLE * float(self.sums.y @ self.sums.y) / self.sums.n_obs, None
        reason = "sigma is next to zero"
        if min(near.sigma2, value**2 if self.kind[0] == "sigma" else np.inf) > little:
            found, reason = self._relative(value, near)
            if found and found.sigma2 > little:
                return found
        if self.sums.n_obs <= MOST_ROWS:
            found, reason = self._whole(value, near)
        if found is None:
            raise DesignError(self.lost(value, reason))
        return found

    def _relative(self, value: float, near: Point) -> tuple[Point | None, str]:
        """The point by D over sigma2, of which the criterion has fast formulas, or why there is none."""
        kind, sigma = self.kind[0], np.sqrt(near.sigma2)
        theta, dL = _coordinates(self.fit, [L / sigma for L in near.L], self.kind, value)
        fixed, with_sigma2 = [np.zeros(d.shape[1:]) for d in dL], kind == "sd"
        if with_sigma2:  # the first coordinate of the term is T_11, which log sigma2 moves
            held = [value * d[0] for d in dL]
            theta, dL = np.append(theta[1:], np.log(near.sigma2)), [np.concatenate([d[1:], d[:1] * 0]) for d in dL]

        def objective(at, rows):
            theta, slopes, bent = at[0], dL, None
            root = np.exp(-theta[-1] / 2) if with_sigma2 else 0.0
            more = [root * one for one in held] if with_sigma2 else fixed
            L = [np.tensordot(theta, d, 1) + one for d, one in zip(dL, more, strict=True)]
            if with_sigma2:
                slopes = [np.concatenate([d[:-1], -one[None] / 2]) for d, one in zip(dL, more, strict=True)]
                bent = [np.zeros((len(theta), *d.shape)) for d in dL]
                for b, one in zip(bent, more, strict=True):
                    b[-1, -1] = one / 4
            state = State(self.sums, L, self.fit.state.reml)
            return point(at, state, slopes, lambda s: _function(s, kind, value, theta[-1:]), bent)

        optimum = newton(objective, theta[None], polish=False)
        if not optimum.converged[0]:
            return None, optimum.reason[0]
        best = optimum.best.theta[0]
        more = [np.exp(-best[-1] / 2) * one for one in held] if with_sigma2 else fixed
        L = [np.tensordot(best, d, 1) + one for d, one in zip(dL, more, strict=True)]
        sigma2 = np.exp(best[-1]) if with_sigma2 else value**2
        if kind in ("effect", "corr"):
            state = State(self.sums, L, self.fit.state.reml)
            sigma2 = state.r2 / state.m
        return Point(value, float(optimum.best.value[0]), [one * np.sqrt(sigma2) for one in L], float(sigma2)), ""

    def _whole(self, value: float, near: Point) -> tuple[Point | None, str]:
        """The point by full matrices of the rows, where sigma may be zero, or why there is none."""
        rows, kind, unit = self._rows, self.kind[0], np.sqrt(self._rows.unit)
        theta, dL = _coordinates(self.fit, [L / unit for L in near.L], self.kind, value)
        fixed = [value / unit * d[0] if kind == "sd" else np.zeros(d.shape[1:]) for d in dL]
        if kind == "sd":
            theta, dL = theta[1:], [d[1:] for d in dL]
        if kind != "sigma":  # the last coordinate is rho
            theta = np.append(theta, max(np.sqrt(near.sigma2) / unit, LEAST))
            dL = [np.concatenate([d, np.zeros((1, *d.shape[1:]))]) for d in dL]

        def at(theta: np.ndarray) -> WholeState:
            L = [np.tensordot(theta, d, 1) + one for d, one in zip(dL, fixed, strict=True)]
            return WholeState(rows, L, value / unit if kind == "sigma" else theta[-1])

        def function(state: WholeState) -> tuple[float, np.ndarray, np.ndarray]:
            found, slope, bend = state.criterion()
            return (found, slope[:-1], bend[:-1, :-1]) if kind == "sigma" else (found, slope, bend)

        optimum = newton(lambda t, _: point(t, at(t[0]), dL, function), theta[None], polish=False)
        if not optimum.converged[0]:
            return None, optimum.reason[0]
        best = at(optimum.best.theta[0])
        return Point(value, float(optimum.best.value[0]), [L * unit for L in best.L], rows.unit * best.rho**2), ""


def _function(state: State, kind: str, value: float, last: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The criterion by the entries of each D over sigma2, and with a standard deviation held by log sigma2."""
    if kind in ("effect", "corr"):
        return state.criterion()
    found, slope, bend = state.at_sigma2(value**2 if kind == "sigma" else float(np.exp(last[0])))
    return (found, slope[:-1], bend[:-1, :-1]) if kind == "sigma" else (found, slope, bend)


def _coordinates(
    fit: SeveralFitted, near: list[np.ndarray], kind: tuple, value: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Theta near the L of each grouping, and derivatives (k, q, q) of each: the held term first, T_11 before all."""
    sums = fit.state.sums
    blocks: list[tuple[int, float, np.ndarray]] = []
    for j, g in enumerate(sums.groupings):
        for number, basis, columns, part in zip(g.numbers, g.bases, g.slices, g.parts, strict=True):
            own, q = near[j][columns, columns], columns.stop - columns.start
            if kind[0] in ("effect", "sigma") or number != kind[1]:
                theta, B = np.einsum("kab,ab->k", g.B[part], near[j]), g.B[part]
                found = [(j, one, b) for one, b in zip(theta, B, strict=True)]
                blocks += found
                continue
            order = [*kind[2:], *(a for a in range(q) if a not in kind[2:])]
            turn = np.zeros((q, q))
            turn[order, range(q)] = 1.0
            T = semidefinite_cholesky(turn.T @ basis.D_back(own @ own.T) @ turn)
            diagonal = fit.terms.terms[number].design.diagonal
            at = {(a, b): T[a, b] for b in range(q) for a in range(b, q) if a == b or not diagonal}
            units = {ab: basis.Rz @ turn @ np.outer(np.eye(q)[ab[0]], np.eye(q)[ab[1]]) for ab in at}
            if kind[0] == "corr":
                units[1, 1] = value * units.pop((1, 0)) + np.sqrt(max(1 - value**2, 0.0)) * units[1, 1]
                at[1, 1] = np.hypot(at.pop((1, 0)), at[1, 1])
            mine: list[tuple[int, float, np.ndarray]] = []
            for ab in at:
                wide = np.zeros((g.q, g.q))
                wide[columns, columns] = units[ab]
                size = 1.0 if not mine and kind[0] == "sd" else np.linalg.norm(wide) or 1.0
                mine.append((j, at[ab] * size, wide / size))
            blocks = mine + blocks
    theta = np.array([one for _, one, _ in blocks])
    theta = away_from_zero(theta)
    dL = [np.zeros((len(blocks), g.q, g.q)) for g in sums.groupings]
    for k, (j, _, b) in enumerate(blocks):
        dL[j][k] = b
    return theta, dL


class HeldEffect(Held):
    """A fixed effect held by an offset: the model without its column, by maximum likelihood."""

    def __init__(self, fit: SeveralFitted, kind: tuple, estimate: float, step: float):
        fit = fit if fit.method == "ML" else fit.of(fit.state.sums, "ML", away_from_zero(fit.log[-1].working))
        super().__init__(fit, kind, float(fit.beta.iloc[kind[1]]), step)
        design, j = fit.design, kind[1]
        self.column = design.X[:, j]
        names = tuple(np.delete(np.array(design.x_names, object), j))
        smaller = replace(design, X=np.delete(design.X, j, axis=1), x_names=names)
        self._without = several_sums(SeveralDesign(smaller, fit.terms.terms, fit.terms.known))

    def solve(self, value: float, near: Point) -> Point:
        """The fit without the column, of what its effect leaves of the response."""
        self.sums = self._without.response(self.fit.design.y - value * self.column)
        vars(self).pop("_rows", None)  # those of another response
        return super().solve(value, near)


def held(fit: SeveralFitted, kind: tuple) -> Held:
    """The models in which a parameter is held; ``kind`` as :func:`lmmlib.several.parameters.kinds_of` has it."""
    step = np.sqrt(cov_parameters(fit).iloc[(k := list(kinds_of(fit.terms).values()).index(kind)), k])
    return (HeldEffect if kind[0] == "effect" else Held)(fit, kind, value_of(fit, *kind), step)
