"""A log-likelihood in the form in which the optimiser takes it, in parameters of like curvature."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from lmmlib.fitting.newton import Optimum, Point

# A Newton step with a decrement below this is the last one: the next would be far below rounding.
CLOSE = 1e-12


@dataclass(frozen=True, eq=False)
class Ascent:
    r"""What the optimiser takes to find the maximum of a log-likelihood of psi = origin + A theta.

    ``derivatives(psi, A)``: the log-likelihood, its gradient (P,) by theta and its Hessian (P, P) by theta; ``A``
    (P, P); ``origin`` (P,); ``undefined``: the errors that say that there is no value at a psi.
    """

    derivatives: Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray, np.ndarray]]
    A: np.ndarray
    origin: np.ndarray
    undefined: type[Exception]

    @np.errstate(all="ignore")  # a step too long: no value
    def __call__(self, theta: np.ndarray, rows: np.ndarray) -> Point:
        k = theta.shape[1]
        if not len(theta):
            return Point(theta, np.zeros(0), theta, np.zeros((0, k, k)))
        value, gradient, hessian = -np.inf, np.zeros(k), np.zeros((k, k))
        with suppress(self.undefined):
            found = self.derivatives(self.origin + self.A @ theta[0], self.A)
            if np.isfinite(found[0]) and np.isfinite(found[1].sum() + found[2].sum()):
                value, gradient, hessian = found
        return Point(theta, np.array([-2 * value]), -2 * gradient[None], -2 * hessian[None])

    def back(self, found: Optimum[Point]) -> Optimum[Point]:
        """The optimum and its log with psi for theta, the derivatives too."""
        best, back = found.best, np.linalg.inv(self.A)
        psi = self.origin + best.theta @ self.A.T
        log = tuple(replace(step, working=self.origin + self.A @ step.working) for step in found.log)
        point = Point(psi, best.value, best.gradient @ back, back.T @ best.hessian @ back)
        return replace(found, best=point, log=log)
