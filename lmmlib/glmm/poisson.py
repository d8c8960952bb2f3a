r"""Poisson counts with logarithmic link, and what they must be for a mixed model to have an estimate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.special import gammaln

from lmmlib.design.basis import Basis
from lmmlib.design.design import Design
from lmmlib.errors import DataError, DesignError
from lmmlib.glmm.checks import LARGEST_LOGARITHM, endless, separation
from lmmlib.glmm.family import LARGE

# Beyond, the logarithms of counts have too few digits for what Poisson variation adds.
LARGEST_COUNT = 1e11
# Exposures whose logarithms spread more than this differ by a factor of 10^21.
WIDEST_OFFSET = 50.0


@dataclass(frozen=True, eq=False)
class Poisson:
    r"""Poisson counts with logarithmic link: :math:`\kappa(\eta) = e^\eta`, all cumulants are the mean."""

    y: np.ndarray
    title: ClassVar[str] = "Poisson"
    size: ClassVar[float] = 1.0
    dispersed: ClassVar[bool] = True

    @classmethod
    def of(cls, design: Design, order: np.ndarray) -> Poisson:
        """The counts of a design, the rows in this order."""
        return cls(design.y[order])

    @staticmethod
    def check(design: Design) -> None:
        """Raise unless the responses are counts, not all of them zero, without weights."""
        checked_counts(design)

    @staticmethod
    def check_offset(offset: np.ndarray | None) -> None:
        """Raise unless it may be made of logarithms of exposures."""
        require_logarithms(offset)

    @staticmethod
    def check_fixed(design: Design, basis: Basis) -> None:
        """Raise if counts are zero wherever some combination of the columns is not (separation)."""
        require_overlap(design, basis)

    @staticmethod
    def check_variances(design: Design, D: np.ndarray) -> None:
        """Raise if a random effect varies without end because nothing but zero counts goes with it."""
        require_bounded(design, D)

    @staticmethod
    def notes(design: Design) -> tuple[str, ...]:
        """Groups of one row, and groups without a count above zero."""
        return notes(design)

    @property
    def side(self) -> np.ndarray:
        """-1 for a zero."""
        return -(self.y == 0).astype(float)

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

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """The mean."""
        return mu

    def cumulants(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The mean thrice."""
        return mu, mu, mu

    def deviance(self, mu: np.ndarray) -> np.ndarray:
        r""":math:`2\{y\log(y/\mu) - (y - \mu)\}`."""
        return np.maximum(-2 * self.log_density(np.log(mu), mu), 0)

    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of the counts and their information, one half added to each count."""
        return np.log(self.y + 0.5), self.y + 0.5

    @staticmethod
    def inverse(eta: np.ndarray) -> np.ndarray:
        """exp(eta)."""
        return np.exp(eta)

    @staticmethod
    def slope(eta: np.ndarray) -> np.ndarray:
        """exp(eta)."""
        return np.exp(eta)

    @staticmethod
    def population(eta: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r""":math:`\eta + \frac12\operatorname{Var}(z'b)`, by the mean of a log-normal variable."""
        return eta + variance / 2, np.ones_like(eta), np.full_like(eta, 0.5)

    @staticmethod
    def typical(eta: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Half the variance lower."""
        return eta - variance / 2

    def simulate(self, rng: np.random.Generator, mu: np.ndarray) -> np.ndarray:
        """Poisson counts."""
        return rng.poisson(mu)


def checked_counts(design: Design) -> None:
    """Raise unless the response holds counts, not all of them zero.

    Raises
    ------
    DataError
        A negative, fractional, infinite or too large value; names the first and its row.
    DesignError
        If there are weights, or all counts are zero.
    """
    for known in ("weights", "trials"):
        if getattr(design, known) is not None:
            raise DesignError(f"counts take no {known}; build the design without them")
    y, name = design.y, design.response
    remedies = {
        "is negative": (y < 0, "counts are 0, 1, 2, ..."),
        "is not a whole number": (
            y != np.round(y),
            "for a rate model the count, with offset= the logarithm of the exposure; for a measurement use lmmlib.fit",
        ),
        f"is above {LARGEST_COUNT:g}": (
            y > LARGEST_COUNT,
            "Poisson variation of such counts is lost in rounding; use lmmlib.fit for their logarithms",
        ),
    }
    for what, (wrong, remedy) in remedies.items():
        if wrong.any():
            row = int(np.argmax(wrong))
            more = f", and {int(wrong.sum()) - 1} others" if wrong.sum() > 1 else ""
            raise DataError(f"the count {name!r} {what} in row {row}: {y[row]:g}{more} (rows count from 0); {remedy}")
    if not y.any():
        raise DesignError(
            f"all {len(y)} counts in {name!r} are zero, so the likelihood rises as the mean tends to zero and the "
            "fixed effects have no estimate"
        )


def require_logarithms(offset: np.ndarray | None) -> None:
    """Raise unless the offset may be made of logarithms, those of exposures."""
    if offset is None:
        return
    low, high = offset.min(), offset.max()
    if max(-low, high) > LARGEST_LOGARITHM:
        row = int(np.argmax(np.abs(offset) > LARGEST_LOGARITHM))
        raise DataError(
            f"the offset is {offset[row]:g} in row {row} (rows count from 0); it is the logarithm of an exposure "
            "above zero, such as np.log(hours)"
        )
    if high - low > WIDEST_OFFSET:
        raise DataError(
            f"the offset runs from {low:g} to {high:g}, a factor of e^{high - low:.0f} between means; is this the "
            "exposure itself? pass its logarithm, such as np.log(hours)"
        )


def require_overlap(design: Design, basis: Basis) -> None:
    r"""Raise if counts are zero wherever some :math:`x'\gamma` is not, and that is never above zero (separation)."""
    found = separation(design, basis, -(design.y == 0).astype(float))
    if found:
        names, where = found
        raise DesignError(
            f"the counts {design.response!r} are all zero in the {int(where.sum())} rows that a combination of "
            f"{', '.join(names)} singles out (separation), the first being row {int(np.argmax(where))}: its "
            "coefficient has no finite estimate; leave the column, or those rows, out, or pool categories"
        )


def require_bounded(design: Design, D: np.ndarray) -> None:
    """Raise if a random effect varies without end because nothing but zero counts goes with it."""
    found = endless(design, D, -(design.y == 0).astype(float))
    if found:
        name, used = found
        raise DesignError(
            f"the counts {design.response!r} are all zero in the {int(used.sum())} rows in which the random column "
            f"{name} is not (separation), the first being row {int(np.argmax(used))}: its variance has no finite "
            "estimate; leave the column, or those rows, out"
        )


def notes(design: Design) -> tuple[str, ...]:
    """What a reader of the fit should know of the data."""
    found = []
    if design.z_names and (design.n_i == 1).all():
        found.append("every group has one row: the random effects are overdispersion of single counts")
    zero = int((np.bincount(design.group, design.y, design.n_groups) == 0).sum())
    if zero:
        found.append(f"{zero} of {design.n_groups} groups have no count above zero; their modes are finite through D")
    return tuple(found)
