"""A model with one parameter held at a value, whatever its random part is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lmmlib.errors import DesignError

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
    the optima that are known, the first being that of the fit; ``name`` is the parameter's, for messages.
    """

    name = "the parameter"
    edges: tuple[float, float] = (-float("inf"), float("inf"))
    attained: tuple[bool, bool] = (False, False)

    def __init__(self, fit: Any, estimate: float, step: float, first: P):
        if not fit.converged:
            raise DesignError(f"no {fit.method} fit to profile: {fit.reason}")
        self.fit, self.estimate, self.step, self.points = fit, float(estimate), float(step), [first]

    def parameter(self, value: float) -> float:
        """The parameter where this value is held: itself, or what rises with it."""
        return value

    @property
    def space(self) -> tuple[tuple[float, float], tuple[bool, bool]]:
        """Edges of the parameter itself, and which of them belong to its space."""
        return self.edges, self.attained

    def criterion(self, parameter: float) -> float:
        """The least criterion with the parameter itself at a value."""
        return self.at(parameter).criterion

    @abstractmethod
    def find(self, value: float) -> P:
        """The optimum with the parameter held, searched from known points."""

    def lost(self, value: float, reason: str) -> str:
        """What to say where no optimum was found, with what needs none."""
        return (
            f"the minimum with {self.name} held at {value:g} was not found: {reason}; confint(method='bootstrap') and "
            "confint(method='wald') need no profile"
        )

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
