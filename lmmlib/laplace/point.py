"""A log-likelihood at one point with its derivatives, in the form in which the optimiser takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A Newton step with a decrement below this is the last one: the next would be far below rounding.
CLOSE = 1e-12


@dataclass(frozen=True, eq=False)
class Point:
    """Minus twice a log-likelihood at psi = (beta, theta) with derivatives, for :func:`lmmlib.fitting.newton.newton`.

    ``theta`` (1, P): psi; ``value`` (1,); ``gradient`` (1, P); ``hessian`` (1, P, P).
    """

    theta: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray

    def take(self, rows) -> Point:
        """Some of the points."""
        return Point(self.theta[rows], self.value[rows], self.gradient[rows], self.hessian[rows])

    def put(self, rows, other: Point) -> Point:
        """The same with another in its place, where ``rows`` says so."""
        return other if np.size(rows) and (np.asarray(rows).dtype != bool or np.any(rows)) else self
