r"""Models with a parameter held: a fixed effect, a standard deviation, a correlation, sigma, or tau over sigma.

Each says which L belong to it, by coordinates, and how the held value enters the criterion.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lmmlib.design.basis import Basis
from lmmlib.design.responses import Responses
from lmmlib.equations.moments import correlation
from lmmlib.fitting.deviance import Deviance, degrees, deviance, surface
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.held import Held, Point, known_sigma2, regular


def turn(to: np.ndarray) -> np.ndarray:
    """An orthogonal matrix whose first column lies along a vector (k,)."""
    Q = np.linalg.qr(to[:, None], mode="complete")[0]
    Q[:, 0] = to / np.linalg.norm(to)
    return Q


class HeldEffect(Held):
    r"""A fixed effect held at c: the column is moved to the response, :math:`y - cx_j`, and leaves X."""

    def __init__(self, fit: Fitted, j: int):
        super().__init__(fit, fit.beta.iloc[j], fit.se.iloc[j])
        basis, p = self.cross.basis, len(fit.beta)
        # beta_j = u'(beta0 + delta) with delta in the working basis; an orthogonal turn makes u its first axis.
        u = basis.x_work(np.eye(p)[[j]])[0]
        self.length, self.turn, self.origin = np.linalg.norm(u), turn(u), basis.beta0[j]
        names = tuple(name for k, name in enumerate(self.cross.x_names) if k != j)
        rest = Basis(np.eye(p - 1), basis.Rz, np.zeros(p - 1))
        self.rest = replace(self.cross, work=self._sums(self.estimate), basis=rest, x_names=names)

    def _sums(self, value: float):
        moved = self.turn[:, 0] * (value - self.origin) / self.length
        return self.cross.work.change(np.eye(len(self.fit.D)), self.turn[:, 1:], -moved)

    def solve(self, value: float, starts: list[Point]) -> Point:
        """As :meth:`lmmlib.inference.held.Held.solve`, for the response that belongs to the value."""
        self.data = Responses.of_cross(replace(self.rest, work=self._sums(value)))
        return super().solve(value, starts)

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """The deviance of the other columns of X."""
        return deviance(self.rest, theta, B, self.fit.method, self.data)


class HeldSigma(Held):
    """The residual standard deviation held."""

    edges = (0.0, np.inf)

    def __init__(self, fit: Fitted):
        sigma = np.sqrt(fit.sigma2)
        super().__init__(fit, sigma, sigma / np.sqrt(2 * degrees(fit.cross, fit.method)))

    def start(self, near: Point, value: float) -> np.ndarray:
        """L for the same D."""
        return regular(self.cross, near.L * np.sqrt(near.sigma2) / value)

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """Minus twice the log-likelihood with sigma2 = value^2."""
        s = surface(self.cross, self.data, theta, B, self.fit.method == "REML")
        tau = np.full(len(theta), value**-2.0)
        return known_sigma2(s, theta, self.m, tau, np.zeros_like(s.h_gradient), np.zeros_like(s.h_hessian))


class HeldSd(Held):
    r"""The standard deviation of a random column held at c.

    With w = :math:`R_z^{-T}e_a` and Q orthogonal, its first column along w, L = Q T with T lower triangular gives
    :math:`\mathrm{sd}_a = \sigma|w|T_{11}`: the first coordinate alone decides sigma2. c = 0 is the model without it.
    """

    edges = (0.0, np.inf)
    attained = (True, False)

    def __init__(self, fit: Fitted, a: int):
        cross, self.a = fit.cross, a
        w = cross.basis.z_work(np.eye(len(fit.D))[[a]])[0]
        self.Q = turn(w)
        # Relative sd is ``ratio`` times the first coordinate.
        self.ratio = 1 / np.linalg.norm(cross.basis.Rz[:, a]) if cross.diagonal else np.linalg.norm(w)
        estimate, sigma = np.sqrt(fit.D.iloc[a, a]), np.sqrt(fit.sigma2)
        super().__init__(fit, estimate, max(estimate, 0.1 * sigma * self.ratio) / np.sqrt(2 * cross.n_groups))

    def coordinates(self, value: float) -> np.ndarray:
        """The held standard deviation first; without it if it is zero."""
        B, a, left_out = self.cross.theta_coordinates, self.a, int(value == 0)
        if self.cross.diagonal:
            return np.concatenate([B[a : a + 1], B[:a], B[a + 1 :]])[left_out:]
        # The first row of T has one entry, and without it the first column is free only in what is left of T.
        return (self.Q @ B)[len(self.Q) * left_out :]

    def start(self, near: Point, value: float) -> np.ndarray:
        """Everything as before but for the held standard deviation, sigma2 included."""
        L, first = regular(self.cross, near.L), value / np.sqrt(near.sigma2) / self.ratio
        if self.cross.diagonal:
            L[:, self.a] = first * self.cross.theta_coordinates[self.a, :, self.a]
            return L
        T = self.Q.T @ L
        T = np.linalg.cholesky(T @ T.T)
        T[0, 0] = first
        return self.Q @ T

    def scale(self, theta: np.ndarray) -> np.ndarray:
        """The first coordinate in its own size, which may be far from that of the others."""
        if len(theta) < len(self.cross.theta_coordinates):
            return super().scale(theta)
        return np.concatenate([np.abs(theta[:1]), super().scale(theta[1:])])

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """Minus twice the log-likelihood with sigma2 = value^2 over the square of the relative sd."""
        if value == 0:
            return super().deviance(theta, B, value)
        s = surface(self.cross, self.data, theta, B, self.fit.method == "REML")
        factor = (self.ratio * np.linalg.norm(B[0]) / value) ** 2
        slope, bend = np.zeros_like(s.h_gradient), np.zeros_like(s.h_hessian)
        slope[:, 0], bend[:, 0, 0] = 2 * factor * theta[:, 0], 2 * factor
        return known_sigma2(s, theta, self.m, factor * theta[:, 0] ** 2, slope, bend)


class HeldCorrelation(Held):
    r"""The correlation of two random columns held at rho.

    With :math:`w_a = r_{11}q_1,\; w_b = r_{12}q_1 + r_{22}q_2` and L = Q T, rho is a linear condition on T:
    :math:`r_{12}T_{11} + r_{22}T_{21} = \rho t,\; r_{22}T_{22} = \sqrt{1 - \rho^2}\,t` with t the relative sd of b.
    T_11 and t have one sign, or the correlation is -rho; where the minimum lies beyond, the models without one of the
    two standard deviations come closest.
    """

    edges = (-1.0, 1.0)
    attained = (True, True)

    def __init__(self, fit: Fitted, a: int, b: int):
        estimate = np.clip(correlation(fit.D.to_numpy())[a, b], -1, 1)
        rough = 1 - np.nan_to_num(estimate) ** 2
        super().__init__(fit, estimate, max(rough, 0.01) / np.sqrt(fit.n_groups))
        w = fit.cross.basis.z_work(np.eye(len(fit.D))[[a, b]])
        self.Q, self.r = np.linalg.qr(w.T, mode="complete")
        sign = np.append(np.sign(np.diag(self.r)), np.ones(len(fit.D) - 2))
        self.Q, self.r = self.Q * sign, self.r * sign[:, None]
        self.without = [HeldSd(fit, c).solve(0.0, [self.points[0]]) for c in (a, b)]

    def _t(self, T: np.ndarray, rho: float) -> np.ndarray:
        """t of each T (..., q, q) that meets the condition."""
        r = self.r
        along = r[0, 1] * T[..., 0, 0] + r[1, 1] * T[..., 1, 0]
        return rho * along + np.sqrt(1 - rho**2) * r[1, 1] * T[..., 1, 1]

    def _held(self, first, t, rho: float) -> np.ndarray:
        """The upper left corner of T from T_11 and t."""
        second = np.array([rho * t - self.r[0, 1] * first, np.sqrt(1 - rho**2) * t])
        return np.array([[first, 0.0], second / self.r[1, 1]])

    def coordinates(self, value: float) -> np.ndarray:
        """Two orthogonal combinations of T_11 and t, and the other rows of T."""
        q = len(self.Q)
        corner = np.column_stack([self._held(1.0, 0.0, value).ravel(), self._held(0.0, 1.0, value).ravel()])
        T = np.zeros((2, q, q))
        T[:, :2, :2] = np.linalg.qr(corner / np.linalg.norm(corner, axis=0))[0].T.reshape(2, 2, 2)
        below = [B for B in self.cross.theta_coordinates if B[2:].any()]
        return self.Q @ np.concatenate([T, np.array(below).reshape(len(below), q, q)])

    def start(self, near: Point, value: float) -> np.ndarray:
        """The standard deviations as before, the correlation turned."""
        T = self.Q.T @ regular(self.cross, near.L)
        T = np.linalg.cholesky(T @ T.T)
        t = np.hypot(self.r[0, 1] * T[0, 0] + self.r[1, 1] * T[1, 0], self.r[1, 1] * T[1, 1])
        T[:2, :2] = self._held(T[0, 0], t, value)
        return self.Q @ T

    def allowed(self, L: np.ndarray, value: float) -> np.ndarray:
        """T_11 and t of one sign."""
        T = self.Q.T @ L
        return T[:, 0, 0] * self._t(T, value) >= 0

    def at(self, value: float) -> Point:
        """The optimum with this correlation, or the model without one of the two standard deviations if it is lower."""
        point = super().at(value)
        lowest = min(self.without, key=lambda p: p.criterion)
        return replace(lowest, value=value) if lowest.criterion < point.criterion else point


class HeldRatio(Held):
    """The only random standard deviation over sigma held, from which the intraclass correlation follows."""

    edges = (0.0, np.inf)
    attained = (True, False)

    def __init__(self, fit: Fitted):
        ratio = np.sqrt(fit.D.iloc[0, 0] / fit.sigma2)
        self.unit = np.abs(fit.cross.basis.Rz)
        super().__init__(fit, ratio, max(ratio, 0.1 / self.unit[0, 0]) / np.sqrt(2 * fit.n_groups))

    def parameter(self, value: float) -> float:
        """The intraclass correlation."""
        return 1 - 1 / (1 + value**2)

    def coordinates(self, value: float) -> np.ndarray:
        """None: L is given."""
        return np.zeros((0, 1, 1))

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """The profiled deviance at L = Rz value."""
        held = super().deviance(np.full((len(theta), 1), value), self.unit[None], value)
        return replace(held, theta=theta, gradient=theta, hessian=np.zeros((len(theta), 0, 0)))
