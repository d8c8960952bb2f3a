"""A model with one parameter held at a value, whatever its random part is, and what of a fit is held so."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pandas as pd

from lmmlib.errors import DesignError
from lmmlib.fitting.fitted import Linear

# A criterion that is lower than that of the fit by this share is no rounding error.
LOCAL = 1e-9


@dataclass(frozen=True, eq=False)
class Point:
    """An optimum with a parameter held: its ``value``, and the ``criterion`` there."""

    value: float
    criterion: float


P = TypeVar("P", bound=Point)


class Profiled(ABC, Generic[P]):
    """A model with one parameter held; the subclasses say how.

    ``estimate`` is where the criterion is least, ``edges`` bound the parameter, ``attained`` says which of them belong
    to its space, and ``step`` is a first guess of the distance at which the criterion has risen by one. ``points`` are
    the optima that are known, the first being that of the fit.
    """

    edges: tuple[float, float] = (-float("inf"), float("inf"))
    attained: tuple[bool, bool] = (False, False)

    def __init__(self, fit: Any, estimate: float, step: float, first: P):
        if not fit.converged:
            raise DesignError(f"no {fit.method} fit to profile: {fit.reason}")
        self.fit, self.estimate, self.step, self.points = fit, float(estimate), float(step), [first]

    def parameter(self, value: float) -> float:
        """The parameter where this value is held: itself, or what rises with it."""
        return value

    @abstractmethod
    def find(self, value: float) -> P:
        """The optimum with the parameter held, searched from known points."""

    def near(self, value: float) -> P:
        """The known point nearest to a value."""
        return min(self.points, key=lambda point: abs(point.value - value))

    def at(self, value: float) -> P:
        """The optimum with the parameter held at a value."""
        for known in self.points:
            if known.value == value:
                return known
        point, lowest = self.find(value), self.fit.criterion
        if point.criterion < lowest - LOCAL * (1 + abs(lowest)):
            raise DesignError(
                f"the likelihood has several maxima, and the fit is not at the highest: its criterion is "
                f"{lowest:.6f}, and {point.criterion:.6f} is possible; use fewer random columns"
            )
        self.points.append(point)
        return point


class Parametrised(Linear):
    """A fit whose parameters have names, a covariance, and models in which one of them is held."""

    @property
    @abstractmethod
    def kinds(self) -> dict[str, tuple]:
        """Every parameter by name: its kind, "effect", "sd", "corr", "sigma" or "rho", and which of these it is."""

    @abstractmethod
    def parameters(self) -> pd.Series:
        """Fixed effects and the parameters of the covariances by name; NaN for a correlation that does not exist."""

    @abstractmethod
    def cov_parameters(self) -> pd.DataFrame:
        """The covariance of their estimates; NaN where there is none."""

    @abstractmethod
    def held(self, kind: tuple) -> Profiled:
        """The models in which a parameter of this kind is held, of a fixed effect by ML."""
