r"""Mixed models with one parameter held at a value: what a profile minimises over.

With :math:`D = \sigma^2\Lambda\Lambda'` and :math:`L = R_z\Lambda` in the working basis, every parameter is held by a
choice of coordinates, :math:`L = \sum_k\theta_kB_k`, and the derivatives of :func:`lmmlib.deviance.surface` serve for
any such choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.linalg import solve_triangular

from lmmlib.basis import Basis
from lmmlib.batch import solve
from lmmlib.design import CrossProducts
from lmmlib.deviance import Deviance, Surface, degrees, deviance, surface, theta_coordinates
from lmmlib.errors import DesignError
from lmmlib.likelihood import LOG_2PI
from lmmlib.optimise import LEAST_START, newton
from lmmlib.responses import Responses

# A criterion that is lower than that of the fit by this share is no rounding error.
LOCAL = 1e-9
# Few groups can leave a likelihood with several valleys; with more than these the next known point is start enough.
MANY_GROUPS = 500


@dataclass(frozen=True, eq=False)
class Point:
    """An optimum with a parameter held: its ``value``, the ``criterion`` there, and the ``L`` and ``sigma2`` of it."""

    value: float
    criterion: float
    L: np.ndarray
    sigma2: float


@dataclass(frozen=True, eq=False)
class Peak:
    """The optimum that profiles leave from: fixed effects ``beta`` with ``se``, ``L`` in the working basis."""

    cross: CrossProducts
    method: str
    beta: np.ndarray
    se: np.ndarray
    L: np.ndarray
    D: np.ndarray
    sigma2: float
    criterion: float

    @classmethod
    def of(cls, cross: CrossProducts, method: str) -> Peak:
        """The optimum of the response of the cross-products."""
        fits, log = solve(cross, Responses.of_cross(cross), method)
        if fits.failed[0]:
            raise DesignError(f"no {method} fit to profile: {fits.reason[0]}")
        L = np.tensordot(log[-1].theta, theta_coordinates(cross), 1)
        return cls(cross, method, fits.beta[0], fits.se[0], L, fits.D[0], float(fits.sigma2[0]), fits.criterion[0])


def regular(cross: CrossProducts, L: np.ndarray) -> np.ndarray:
    """L with no direction without variance, to start from: at zero the gradient vanishes and nothing moves."""
    if cross.diagonal:
        length = np.linalg.norm(cross.basis.Rz, axis=0)
        size = np.einsum("za,za->a", cross.basis.Rz, L) / length
        return cross.basis.Rz / length * np.maximum(np.abs(size), np.sqrt(LEAST_START))
    values, vectors = np.linalg.eigh(L @ L.T)
    return np.linalg.cholesky((vectors * np.maximum(values, LEAST_START)) @ vectors.T)


def valleys(cross: CrossProducts, L: np.ndarray) -> list[np.ndarray]:
    """Starts of all kinds: each set of columns that vary if D is diagonal, else each set of signs; in two sizes."""
    q, sizes = len(L), max(1.0, np.linalg.norm(L)) * np.array([1.0, 3.0])
    if not q:
        return []
    if cross.diagonal:
        unit = cross.basis.Rz / np.linalg.norm(cross.basis.Rz, axis=0)
        kinds = [unit * np.array(some) for some in product((0.0, 1.0), repeat=q)]
    else:
        kinds = [np.outer((*signs, 1.0), np.eye(q)[0]) for signs in product((-1.0, 1.0), repeat=q - 1)]
    return [size * kind for size in sizes for kind in kinds]


def known_sigma2(s: Surface, theta: np.ndarray, m: int, tau, slope: np.ndarray, bend: np.ndarray) -> Deviance:
    r"""Minus twice a log-likelihood in which :math:`\tau = 1/\sigma^2` is given, as a function of theta.

    .. math:: f(\theta) = h(\theta) + m\,(\log 2\pi - \log\tau(\theta)) + \tau(\theta)\,r^2(\theta)

    ``tau`` (B,) has the gradient ``slope`` (B, k) and the Hessian ``bend`` (B, k, k).
    """
    t, t2 = tau[:, None], tau[:, None, None]
    both = slope[:, :, None] * s.r2_gradient[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):  # an infinite variance has no finite criterion
        share = slope / t
        value = s.h + m * (LOG_2PI - np.log(tau)) + tau * s.r2
        gradient = s.h_gradient - m * share + slope * s.r2[:, None] + t * s.r2_gradient
        hessian = s.h_hessian - m * (bend / t2 - share[:, :, None] * share[:, None, :])
        hessian = hessian + bend * s.r2[:, None, None] + both + np.swapaxes(both, 1, 2) + t2 * s.r2_hessian
        return Deviance(theta, value, gradient, hessian, s.beta, 1 / tau, s.half)


class Held:
    """A model with one parameter held; the subclasses say how.

    ``estimate`` is where the criterion is least, ``edges`` bound the parameter, ``attained`` says which of them belong
    to its space, and ``step`` is a first guess of the distance at which the criterion has risen by one.
    """

    edges = (-np.inf, np.inf)
    attained = (False, False)

    def __init__(self, peak: Peak, estimate: float, step: float):
        self.peak, self.estimate, self.step = peak, float(estimate), float(step)
        self.m = degrees(peak.cross, peak.method)
        self.data = Responses.of_cross(peak.cross)
        self.points = [Point(self.estimate, peak.criterion, peak.L, peak.sigma2)]

    def coordinates(self, value: float) -> np.ndarray:
        """Orthogonal matrices B_k that span the L of the held model, (k, q, q)."""
        return theta_coordinates(self.peak.cross)

    def start(self, near: Point, value: float) -> np.ndarray:
        """An L of the held model that is close to a point, and not singular where it need not be."""
        return regular(self.peak.cross, near.L)

    def scale(self, theta: np.ndarray) -> np.ndarray:
        """Sizes of the coordinates, (k,), for which steps of order one are right."""
        return np.full(len(theta), max(1.0, np.abs(theta).max(initial=0.0)))

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """The criterion of the held model at theta (b, k)."""
        return deviance(self.peak.cross, theta, B, self.peak.method, self.data)

    def allowed(self, L: np.ndarray, value: float) -> np.ndarray:
        """Which of the L (b, q, q) in the span of the coordinates belong to the held model."""
        return np.ones(len(L), bool)

    def at(self, value: float) -> Point:
        """The optimum with the parameter held at a value."""
        for known in self.points:
            if known.value == value:
                return known
        point = self.solve(value, self._starts(value))
        if point.criterion < self.peak.criterion - LOCAL * (1 + abs(self.peak.criterion)):
            raise DesignError(
                f"the likelihood has several maxima, and the fit is not at the highest: its criterion is "
                f"{self.peak.criterion:.6f}, and {point.criterion:.6f} is possible; use fewer random columns"
            )
        self.points.append(point)
        return point

    def _starts(self, value: float) -> list[Point]:
        """Known points next to a value; on new ground, which may lie in another valley, also starts of all kinds."""
        below = [p for p in self.points if p.value <= value]
        above = [p for p in self.points if p.value > value]
        near = [max(below, key=lambda p: p.value)] if below else []
        near += [min(above, key=lambda p: p.value)] if above else []
        near = near or self.points[:1]
        if self.peak.cross.n_groups > MANY_GROUPS:
            return [min(near, key=lambda p: abs(p.value - value))]
        if below and above:
            return near
        return near + [replace(near[0], L=L) for L in valleys(self.peak.cross, near[0].L)]

    def solve(self, value: float, starts: list[Point]) -> Point:
        """The lowest of the minima that are found from the starts."""
        B, places = self.coordinates(value), [self.start(point, value) for point in starts]
        size2 = (B**2).sum(axis=(1, 2))
        theta = np.array([np.tensordot(B, L, 2) / size2 for L in places])
        scale = self.scale(theta[0])
        B, theta = B * scale[:, None, None], theta / scale
        optimum = newton(lambda t, rows: self.deviance(t, B, value), theta)
        found, finite = optimum.best, np.isfinite(optimum.best.value)
        if finite.any() and not optimum.converged.any():
            raise DesignError(f"the minimum with the parameter held at {value:g} was not found: {optimum.reason[0]}")
        L = np.tensordot(found.theta, B, 1)
        criterion = np.where(finite & optimum.converged & self.allowed(L, value), found.value, np.inf)
        best = int(np.argmin(criterion))
        return Point(value, float(criterion[best]), L[best], float(found.sigma2[best]))


class HeldEffect(Held):
    r"""A fixed effect held at c: the column is moved to the response, :math:`y - cx_j`, and leaves X."""

    def __init__(self, peak: Peak, j: int):
        super().__init__(peak, peak.beta[j], peak.se[j])
        basis, p = peak.cross.basis, len(peak.beta)
        # beta_j = u'(beta0 + delta) with delta in the working basis; an orthogonal turn makes u its first axis.
        u = solve_triangular(basis.Rx, np.eye(p)[j], trans="T")
        self.length = np.linalg.norm(u)
        self.turn = np.linalg.qr(u[:, None], mode="complete")[0]
        self.turn[:, 0] = u / self.length
        self.origin = basis.beta0[j]
        self.rest = replace(
            peak.cross,
            work=self._sums(self.estimate),
            basis=Basis(np.eye(p - 1), basis.Rz, np.zeros(p - 1)),
            x_names=tuple(name for k, name in enumerate(peak.cross.x_names) if k != j),
        )

    def _sums(self, value: float):
        moved = self.turn[:, 0] * (value - self.origin) / self.length
        return self.peak.cross.work.change(np.eye(len(self.peak.L)), self.turn[:, 1:], -moved)

    def solve(self, value: float, starts: list[Point]) -> Point:
        """As :meth:`Held.solve`, for the response that belongs to the value."""
        self.data = Responses.of_cross(replace(self.rest, work=self._sums(value)))
        return super().solve(value, starts)

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """The deviance of the other columns of X."""
        return deviance(self.rest, theta, B, self.peak.method, self.data)


class HeldSigma(Held):
    """The residual standard deviation held."""

    edges = (0.0, np.inf)

    def __init__(self, peak: Peak):
        sigma = np.sqrt(peak.sigma2)
        super().__init__(peak, sigma, sigma / np.sqrt(2 * degrees(peak.cross, peak.method)))

    def start(self, near: Point, value: float) -> np.ndarray:
        """L for the same D."""
        return regular(self.peak.cross, near.L * np.sqrt(near.sigma2) / value)

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """Minus twice the log-likelihood with sigma2 = value^2."""
        s = surface(self.peak.cross, self.data, theta, B, self.peak.method == "REML")
        tau, k = np.full(len(theta), value**-2.0), len(B)
        return known_sigma2(s, theta, self.m, tau, np.zeros((len(tau), k)), np.zeros((len(tau), k, k)))


class HeldSd(Held):
    r"""The standard deviation of a random column held at c.

    With w = :math:`R_z^{-T}e_a` and Q orthogonal, its first column along w, L = Q T with T lower triangular gives
    :math:`\mathrm{sd}_a = \sigma|w|T_{11}`: the first coordinate alone decides sigma2. c = 0 is the model without it.
    """

    edges = (0.0, np.inf)
    attained = (True, False)

    def __init__(self, peak: Peak, a: int):
        cross, self.a = peak.cross, a
        w = solve_triangular(cross.basis.Rz, np.eye(len(peak.L))[a], trans="T")
        self.Q = np.linalg.qr(w[:, None], mode="complete")[0]
        self.Q[:, 0] = w / np.linalg.norm(w)
        # Relative sd is ``ratio`` times the first coordinate.
        self.ratio = 1 / np.linalg.norm(cross.basis.Rz[:, a]) if cross.diagonal else np.linalg.norm(w)
        estimate, sigma = np.sqrt(peak.D[a, a]), np.sqrt(peak.sigma2)
        super().__init__(peak, estimate, max(estimate, 0.1 * sigma * self.ratio) / np.sqrt(2 * cross.n_groups))

    def coordinates(self, value: float) -> np.ndarray:
        """The held standard deviation first; without it if it is zero."""
        B = theta_coordinates(self.peak.cross)
        if not self.peak.cross.diagonal:
            B = self.Q @ B
            # The first row of T has one entry, and without it the first column is free only in what is left of T.
            return B if value > 0 else B[len(self.Q) :]
        rest = np.delete(B, self.a, axis=0)
        return np.concatenate([B[self.a : self.a + 1], rest]) if value > 0 else rest

    def start(self, near: Point, value: float) -> np.ndarray:
        """Everything as before but for the held standard deviation, sigma2 included."""
        L, first = regular(self.peak.cross, near.L), value / np.sqrt(near.sigma2) / self.ratio
        if self.peak.cross.diagonal:
            Rz = self.peak.cross.basis.Rz
            L[:, self.a] = Rz[:, self.a] / np.linalg.norm(Rz[:, self.a]) * first
            return L
        T = self.Q.T @ L
        T = np.linalg.cholesky(T @ T.T)
        T[0, 0] = first
        return self.Q @ T

    def scale(self, theta: np.ndarray) -> np.ndarray:
        """The first coordinate in its own size, which may be far from that of the others."""
        if len(theta) < len(theta_coordinates(self.peak.cross)):
            return super().scale(theta)
        return np.concatenate([np.abs(theta[:1]), super().scale(theta[1:])])

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """Minus twice the log-likelihood with sigma2 = value^2 over the square of the relative sd."""
        if value == 0:
            return super().deviance(theta, B, value)
        s = surface(self.peak.cross, self.data, theta, B, self.peak.method == "REML")
        factor, k = (self.ratio * np.linalg.norm(B[0]) / value) ** 2, len(B)
        slope, bend = np.zeros((len(theta), k)), np.zeros((len(theta), k, k))
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

    def __init__(self, peak: Peak, a: int, b: int):
        sd, (self.a, self.b) = np.sqrt(np.diag(peak.D)), (a, b)
        exists = sd[a] > 0 and sd[b] > 0
        estimate = np.clip(peak.D[a, b] / (sd[a] * sd[b]), -1, 1) if exists else np.nan
        rough = 1 - np.nan_to_num(estimate) ** 2
        super().__init__(peak, estimate, max(rough, 0.01) / np.sqrt(peak.cross.n_groups))
        w = solve_triangular(peak.cross.basis.Rz, np.eye(len(sd))[:, [a, b]], trans="T")
        self.Q, self.r = np.linalg.qr(w, mode="complete")
        sign = np.append(np.sign(np.diag(self.r)), np.ones(len(sd) - 2))
        self.Q, self.r = self.Q * sign, self.r * sign[:, None]
        self.without = [HeldSd(peak, c).solve(0.0, [self.points[0]]) for c in (a, b)]

    def _t(self, T: np.ndarray, rho: float) -> np.ndarray:
        """t of each T (..., q, q) that meets the condition."""
        r = self.r
        along = r[0, 1] * T[..., 0, 0] + r[1, 1] * T[..., 1, 0]
        return rho * along + np.sqrt(1 - rho**2) * r[1, 1] * T[..., 1, 1]

    def _held(self, first, t, rho: float) -> np.ndarray:
        """The upper left corner of T from T_11 and t."""
        second = rho * t - self.r[0, 1] * first, np.sqrt(1 - rho**2) * t
        return np.array([[first, 0.0], [second[0] / self.r[1, 1], second[1] / self.r[1, 1]]])

    def coordinates(self, value: float) -> np.ndarray:
        """Two orthogonal combinations of T_11 and t, and the other rows of T."""
        q = len(self.Q)
        corner = np.column_stack([self._held(1.0, 0.0, value).ravel(), self._held(0.0, 1.0, value).ravel()])
        T = np.zeros((2, q, q))
        T[:, :2, :2] = np.linalg.qr(corner / np.linalg.norm(corner, axis=0))[0].T.reshape(2, 2, 2)
        below = [B for B in theta_coordinates(self.peak.cross) if B[2:].any()]
        return self.Q @ np.concatenate([T, np.array(below).reshape(len(below), q, q)])

    def start(self, near: Point, value: float) -> np.ndarray:
        """The standard deviations as before, the correlation turned."""
        T = self.Q.T @ regular(self.peak.cross, near.L)
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

    def __init__(self, peak: Peak):
        ratio = np.sqrt(peak.D[0, 0] / peak.sigma2)
        self.unit = np.abs(peak.cross.basis.Rz)
        super().__init__(peak, ratio, max(ratio, 0.1 / self.unit[0, 0]) / np.sqrt(2 * peak.cross.n_groups))

    def coordinates(self, value: float) -> np.ndarray:
        """None: L is given."""
        return np.zeros((0, 1, 1))

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """The profiled deviance at L = Rz value."""
        held = super().deviance(np.full((len(theta), 1), value), self.unit[None], value)
        return replace(held, theta=theta, gradient=theta, hessian=np.zeros((len(theta), 0, 0)))
