r"""What a generalised linear mixed model needs of the distribution of its responses given the random effects.

The link is the canonical one, :math:`\log p(y \mid \eta) = y\eta - \kappa(\eta) + c(y)`, so that the first derivative
by the linear predictor is :math:`y - \mu`, and minus the second to fourth are the cumulants of y of these orders.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, Self

import numpy as np

from lmmlib.design.basis import Basis
from lmmlib.design.design import Design

# From this count on its log-density is taken by what the logarithms of count and mean differ, not as a difference of
# two large numbers; and its constant by Stirling's series, which is exact there.
LARGE = 1e6


class Family(Protocol):
    """Responses y (N,) of a family; arguments and results have a number for each row, in the order of y.

    What is asked of a design, before there are such rows or after the fit, and what holds for any rows, are functions
    of the class. ``title`` names it in a summary.
    """

    title: ClassVar[str]

    @classmethod
    def of(cls, design: Design, order: np.ndarray) -> Self:
        """The responses of a design, the rows in this order."""

    @property
    def y(self) -> np.ndarray:
        """The responses."""

    @property
    def size(self) -> np.ndarray | float:
        """How many trials each response counts; 1 where that means nothing."""

    @staticmethod
    def inverse(eta: np.ndarray) -> np.ndarray:
        """The mean of one trial at any linear predictors: the inverse of the link."""

    @staticmethod
    def slope(eta: np.ndarray) -> np.ndarray:
        """Its derivative."""

    @staticmethod
    def population(eta: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Linear predictor of the mean over all groups, if that of a typical one is eta and z'b has this variance; and
        its derivatives by both.
        """

    @staticmethod
    def check(design: Design) -> None:
        """Raise unless the responses, and what is known of the rows besides, are such as the family has."""

    @staticmethod
    def check_offset(offset: np.ndarray | None) -> None:
        """Raise unless this may be a part of linear predictors."""

    @staticmethod
    def check_fixed(design: Design, basis: Basis) -> None:
        """Raise unless the fixed effects have finite estimates."""

    @staticmethod
    def check_variances(design: Design, D: np.ndarray) -> None:
        """Raise if D is on the way to infinity."""

    @staticmethod
    def notes(design: Design) -> tuple[str, ...]:
        """What a reader of the fit should know of the data."""

    @property
    def side(self) -> np.ndarray:
        """-1 for a response at the lower end of its range, 1 at the upper, 0 between."""

    @property
    def dispersed(self) -> bool:
        """Whether the responses can vary more than the family says: a single trial cannot."""

    @property
    def constant(self) -> float:
        """The saturated log-likelihood: what the log-likelihood has of y alone."""

    @property
    def large(self) -> bool:
        """Whether some response has so much information that differences of sums lose digits."""

    @staticmethod
    def typical(eta: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Linear predictor of a typical group, if that of the mean over all groups is eta, roughly."""

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """Means at the linear predictor eta."""

    def log_density(self, eta: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Log-densities at eta and its means, less those of the saturated model."""

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """Variance of the responses at means mu."""

    def cumulants(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Variance, third and fourth cumulant of the responses at means mu."""

    def deviance(self, mu: np.ndarray) -> np.ndarray:
        """Twice what the saturated log-densities are above those at means mu."""

    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """Linear predictors near the best for each response alone, and the information of the response there."""

    def simulate(self, rng: np.random.Generator, mu: np.ndarray) -> np.ndarray:
        """New responses at means mu (..., N)."""
