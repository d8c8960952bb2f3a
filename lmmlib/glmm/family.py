r"""What a generalised linear mixed model needs of the distribution of its responses given the random effects.

The link is the canonical one, :math:`\log p(y \mid \eta) = y\eta - \kappa(\eta) + c(y)`, so that the first derivative
by the linear predictor is :math:`y - \mu`, and minus the second to fourth are the cumulants of y of these orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
from scipy.special import gammaln

from lmmlib.common.arguments import checked_choice
from lmmlib.design.basis import Basis
from lmmlib.design.design import Design
from lmmlib.glmm import checks

# From this count on its log-density is taken by what the logarithms of count and mean differ, not as a difference of
# two large numbers; and its constant by Stirling's series, which is exact there.
LARGE = 1e6


class Family(Protocol):
    """Responses y (N,) of a family; arguments and results have a number for each row, in the order of y.

    What is asked of a design, before there are such rows or after the fit, are functions of the class.
    """

    title: ClassVar[str]

    @property
    def y(self) -> np.ndarray:
        """The responses."""

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
    def constant(self) -> float:
        """The saturated log-likelihood: what the log-likelihood has of y alone."""

    @property
    def large(self) -> bool:
        """Whether some response has so much information that differences of sums lose digits."""

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """Means at the linear predictor eta."""

    def log_density(self, eta: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Log-densities at eta and its means, less those of the saturated model."""

    def cumulants(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Variance, third and fourth cumulant of the responses at means mu."""

    def deviance(self, mu: np.ndarray) -> np.ndarray:
        """Twice what the saturated log-densities are above those at means mu."""

    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """Linear predictors near the best for each response alone, and the information of the response there."""

    def population(self, eta: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, float]:
        """Linear predictor of the mean over all groups, if that of a typical one is eta and z'b has this variance; and
        its derivative by the variance.
        """

    def simulate(self, rng: np.random.Generator, mu: np.ndarray) -> np.ndarray:
        """New responses at means mu (..., N)."""


@dataclass(frozen=True, eq=False)
class Poisson:
    r"""Poisson counts with logarithmic link: :math:`\kappa(\eta) = e^\eta`, all cumulants are the mean."""

    y: np.ndarray
    title: ClassVar[str] = "Poisson"

    @staticmethod
    def check(design: Design) -> None:
        """Raise unless the responses are counts, not all of them zero, without weights."""
        checks.checked_counts(design)

    @staticmethod
    def check_offset(offset: np.ndarray | None) -> None:
        """Raise unless it may be made of logarithms of exposures."""
        checks.require_logarithms(offset)

    @staticmethod
    def check_fixed(design: Design, basis: Basis) -> None:
        """Raise if counts are zero wherever some combination of the columns is not (separation)."""
        checks.require_overlap(design, basis)

    @staticmethod
    def check_variances(design: Design, D: np.ndarray) -> None:
        """Raise if a random effect varies without end because nothing but zero counts goes with it."""
        checks.require_bounded(design, D)

    @staticmethod
    def notes(design: Design) -> tuple[str, ...]:
        """Groups of one row, and groups without a count above zero."""
        return checks.notes(design)

    @cached_property
    def log_y(self) -> np.ndarray:
        """Logarithms of the counts, 0 for a zero."""
        return np.log(np.maximum(self.y, 1.0))

    @cached_property
    def constant(self) -> float:
        r"""Sum of :math:`y\log y - y - \log y!`."""
        above = np.maximum(self.y, LARGE)
        stirling = -0.5 * np.log(2 * np.pi * above) - 1 / (12 * above)
        return float(np.where(self.y < LARGE, self.y * self.log_y - self.y - gammaln(self.y + 1), stirling).sum())

    @cached_property
    def large(self) -> bool:
        """Whether some count is so large that differences of sums lose digits."""
        return bool(self.y.max(initial=0.0) >= LARGE)

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """exp(eta)."""
        return np.exp(eta)

    def log_density(self, eta: np.ndarray, mu: np.ndarray) -> np.ndarray:
        r""":math:`y\log(\mu/y) - (\mu - y)`."""
        gap = eta - self.log_y
        if self.large:
            return np.where(self.y > 0, self.y * (gap - np.expm1(gap)), -mu)
        return self.y * (gap + 1) - mu

    def cumulants(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The mean thrice."""
        return mu, mu, mu

    def deviance(self, mu: np.ndarray) -> np.ndarray:
        r""":math:`2\{y\log(y/\mu) - (y - \mu)\}`."""
        return np.maximum(-2 * self.log_density(np.log(mu), mu), 0)

    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of the counts and their information, one half added to each count."""
        return np.log(self.y + 0.5), self.y + 0.5

    def population(self, eta: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, float]:
        r""":math:`\eta + \frac12\operatorname{Var}(z'b)`, by the mean of a log-normal variable."""
        return eta + variance / 2, 0.5

    def simulate(self, rng: np.random.Generator, mu: np.ndarray) -> np.ndarray:
        """Poisson counts."""
        return rng.poisson(mu)


FAMILIES = {"poisson": Poisson}


def family_of(name: str) -> type[Poisson]:
    """The family of this name.

    Raises
    ------
    ParameterError
        If there is none.
    """
    checked_choice("family", name, tuple(FAMILIES))
    return FAMILIES[name]
