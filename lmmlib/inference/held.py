r"""Mixed models with one parameter held at a value: what a profile minimises over.

With :math:`D = \sigma^2\Lambda\Lambda'` and :math:`L = R_z\Lambda` in the working basis, every parameter is held by a
choice of coordinates, :math:`L = \sum_k\theta_kB_k`, and the derivatives of :func:`lmmlib.fitting.deviance.surface`
serve for any such choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from operator import attrgetter

import numpy as np

from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.equations.likelihood import LOG_2PI
from lmmlib.errors import DesignError
from lmmlib.fitting.deviance import Deviance, Surface, degrees, deviance
from lmmlib.fitting.fitted import Fitted
from lmmlib.fitting.newton import newton
from lmmlib.fitting.search import LEAST_START
from lmmlib.inference import profiled
from lmmlib.inference.profiled import Profiled

# Few groups can leave a likelihood with several valleys; with more than these the next known point is start enough.
MANY_GROUPS = 500


@dataclass(frozen=True, eq=False)
class Point(profiled.Point):
    """An optimum with a parameter held: with the ``L`` and ``sigma2`` of it."""

    L: np.ndarray
    sigma2: float


def regular(cross: CrossProducts, L: np.ndarray) -> np.ndarray:
    """L with no direction without variance, to start from: at zero the gradient vanishes and nothing moves."""
    if cross.diagonal:
        units = cross.theta_coordinates
        return np.tensordot(np.maximum(np.abs(np.tensordot(units, L, 2)), np.sqrt(LEAST_START)), units, 1)
    values, vectors = np.linalg.eigh(L @ L.T)
    return np.linalg.cholesky((vectors * np.maximum(values, LEAST_START)) @ vectors.T)


def valleys(cross: CrossProducts, L: np.ndarray) -> list[np.ndarray]:
    """Starts of all kinds: each set of columns that vary if D is diagonal, else each set of signs; in two sizes."""
    q, sizes = len(L), max(1.0, np.linalg.norm(L)) * np.array([1.0, 3.0])
    if not q:
        return []
    if cross.diagonal:
        kinds = [np.tensordot(some, cross.theta_coordinates, 1) for some in product((0.0, 1.0), repeat=q)]
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
        return Deviance(theta, value, gradient, hessian, s.beta, 1 / tau, s.R_inverse)


class Held(Profiled[Point]):
    """A model of one grouping with one parameter held; the subclasses say how."""

    def __init__(self, fit: Fitted, estimate: float, step: float):
        super().__init__(fit, estimate, step, Point(float(estimate), fit.criterion, fit.L, fit.sigma2))
        self.cross, self.m = fit.cross, degrees(fit.cross, fit.method)
        self.data = Responses.of_cross(fit.cross)

    def coordinates(self, value: float) -> np.ndarray:
        """Orthogonal matrices B_k that span the L of the held model, (k, q, q)."""
        return self.cross.theta_coordinates

    def start(self, near: Point, value: float) -> np.ndarray:
        """An L of the held model that is close to a point, and not singular where it need not be."""
        return regular(self.cross, near.L)

    def scale(self, theta: np.ndarray) -> np.ndarray:
        """Sizes of the coordinates, (k,), for which steps of order one are right."""
        return np.full(len(theta), max(1.0, np.abs(theta).max(initial=0.0)))

    def deviance(self, theta: np.ndarray, B: np.ndarray, value: float) -> Deviance:
        """The criterion of the held model at theta (some, k)."""
        return deviance(self.cross, theta, B, self.fit.method, self.data)

    def allowed(self, L: np.ndarray, value: float) -> np.ndarray:
        """Which of the L (some, q, q) in the span of the coordinates belong to the held model."""
        return np.ones(len(L), bool)

    def find(self, value: float) -> Point:
        """The optimum with the parameter held, searched from several starts."""
        return self.solve(value, self._starts(value))

    def _starts(self, value: float) -> list[Point]:
        """Known points next to a value; on new ground, which may lie in another valley, also starts of all kinds."""
        below = max((p for p in self.points if p.value <= value), key=attrgetter("value"), default=None)
        above = min((p for p in self.points if p.value > value), key=attrgetter("value"), default=None)
        near = [p for p in (below, above) if p] or self.points[:1]
        if self.cross.n_groups > MANY_GROUPS:
            return [self._ahead(value)]
        if below and above:
            return near
        return near + [replace(near[0], L=L) for L in valleys(self.cross, near[0].L)]

    def _ahead(self, value: float) -> Point:
        """Where the line through the two known points next to a value has it."""
        known = [p for p in self.points if np.isfinite(p.value)]
        if len(known) < 2:
            return self.points[-1]
        a, b = sorted(known, key=lambda p: abs(p.value - value))[:2]
        w = (value - a.value) / (b.value - a.value)
        L = (1 - w) * regular(self.cross, a.L) + w * regular(self.cross, b.L)
        return Point(value, np.nan, L, (1 - w) * a.sigma2 + w * b.sigma2)

    def solve(self, value: float, starts: list[Point]) -> Point:
        """The lowest of the minima that are found from the starts."""
        B, places = self.coordinates(value), [self.start(point, value) for point in starts]
        size2 = (B**2).sum(axis=(1, 2))
        theta = np.array([np.tensordot(B, L, 2) / size2 for L in places])
        scale = self.scale(theta[0])
        B, theta = B * scale[:, None, None], theta / scale
        optimum = newton(lambda t, rows: self.deviance(t, B, value), theta, polish=False)
        found, finite = optimum.best, np.isfinite(optimum.best.value)
        if finite.any() and not optimum.converged.any():
            raise DesignError(self.lost(value, optimum.reason[0]))
        L = np.tensordot(found.theta, B, 1)
        criterion = np.where(finite & optimum.converged & self.allowed(L, value), found.value, np.inf)
        best = int(np.argmin(criterion))
        return Point(value, float(criterion[best]), L[best], float(found.sigma2[best]))
