r"""Successes of trials, yes or no, with logistic link, and what they must be for a mixed model to have an estimate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.special import expit, gammaln, log1p, log_expit, logit, xlogy

from lmmlib.design.basis import Basis
from lmmlib.design.design import Design
from lmmlib.errors import DataError, DesignError
from lmmlib.glmm.checks import LARGEST_LOGARITHM, endless, separation
from lmmlib.glmm.family import LARGE

# Beyond, a difference of one success is lost in rounding.
MOST_TRIALS = 1e11
# Gaps of log odds beyond which a density is zero whatever the gap is.
FAR = 1e3
# Sums of the trapezoidal rule for means over groups are right to rounding with at most this step, by the standard
# deviation of the linear predictor: the logistic function has poles at plus and minus i pi.
STEP, STEP_BY_SD = 0.4, 0.5


@dataclass(frozen=True, eq=False)
class Binomial:
    r"""Successes y of m trials with logistic link: :math:`\kappa(\eta) = m\log(1 + e^\eta)`, mean :math:`\mu = mp`.

    Equations :eq:`binomial-glmm` and :eq:`log-partition` of the book.
    """

    y: np.ndarray
    size: np.ndarray
    title: ClassVar[str] = "Binomial"

    @classmethod
    def of(cls, design: Design, order: np.ndarray) -> Binomial:
        """The successes of a design, the rows in this order; of one trial each if nothing is said."""
        return cls(design.y[order], trials(design)[order])

    @staticmethod
    def check(design: Design) -> None:
        """Raise unless the responses are numbers of successes, neither all of them none nor all of them all."""
        checked_successes(design)

    @staticmethod
    def check_offset(offset: np.ndarray | None) -> None:
        """Raise if probabilities would be 0 or 1 to rounding whatever the estimates are."""
        if offset is not None and np.abs(offset).max(initial=0.0) > LARGEST_LOGARITHM:
            row = int(np.argmax(np.abs(offset)))
            raise DataError(
                f"the offset is {offset[row]:g} in row {row} (rows count from 0); it is a known part of log odds, and "
                "leaves nothing to chance there"
            )

    @staticmethod
    def check_fixed(design: Design, basis: Basis) -> None:
        """Raise if some combination of the columns separates successes from failures."""
        found = separation(design, basis, sides(design))
        if found:
            names, where = found
            raise DesignError(
                f"a combination of {', '.join(names)} separates successes of {design.response!r} from failures in "
                f"{int(where.sum())} rows (separation), the first being row {int(np.argmax(where))}: its coefficient "
                "has no finite estimate; leave the column, or those rows, out, or pool categories"
            )

    @staticmethod
    def check_variances(design: Design, D: np.ndarray) -> None:
        """Raise if a random effect varies without end because it separates successes from failures in every group."""
        found = endless(design, D, sides(design))
        if found:
            name, used = found
            raise DesignError(
                f"the random column {name} separates successes of {design.response!r} from failures in every group "
                f"({int(used.sum())} rows, the first being row {int(np.argmax(used))}): its variance has no finite "
                "estimate; leave it out, or take larger groups"
            )

    @staticmethod
    def notes(design: Design) -> tuple[str, ...]:
        """Groups that have nothing but successes or nothing but failures."""
        successes, of = (np.bincount(design.group, v, design.n_groups) for v in (design.y, trials(design)))
        alike = int(((successes == 0) | (successes == of)).sum())
        if not alike:
            return ()
        what = "nothing but successes or nothing but failures; their modes are finite through D"
        return (f"{alike} of {design.n_groups} groups have {what}",)

    @property
    def side(self) -> np.ndarray:
        """-1 where there is no success, 1 where there is no failure."""
        return (self.y == self.size).astype(float) - (self.y == 0)

    @property
    def dispersed(self) -> bool:
        """Whether some response is of more than one trial."""
        return bool((self.size > 1).any())

    @cached_property
    def _between(self) -> np.ndarray:
        return (self.y > 0) & (self.y < self.size)

    @cached_property
    def _log_odds(self) -> np.ndarray:
        """Those of the share of successes, 0 where it is none or all."""
        return logit(np.where(self._between, self.y / self.size, 0.5))

    @cached_property
    def _shares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Those of successes, and the logarithms of those of failures and successes."""
        share = self.y / self.size
        return share, np.log(np.maximum(1 - share, 1e-300)), np.log(np.maximum(share, 1e-300))

    @cached_property
    def constant(self) -> float:
        r"""Sum of :math:`\log\binom my + y\log\frac ym + (m - y)\log\frac{m - y}m`."""
        y, m = self.y[self._between], self.size[self._between]
        shape = np.log(2 * np.pi * y * (1 - y / m))
        return float((_stirling(m) - _stirling(y) - _stirling(m - y) - shape / 2).sum())

    @cached_property
    def large(self) -> bool:
        """Whether some response counts so many trials that differences of sums lose digits."""
        return bool(self.size.max(initial=0.0) >= LARGE)

    @staticmethod
    def inverse(eta: np.ndarray) -> np.ndarray:
        r""":math:`1/(1 + e^{-\eta})`."""
        return expit(eta)

    @staticmethod
    def slope(eta: np.ndarray) -> np.ndarray:
        """p(1 - p)."""
        return expit(eta) * expit(-eta)

    @staticmethod
    def population(eta: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Log odds of :math:`\bar p = E\,p(\eta + z'b)`, by the trapezoidal rule, which here is right to rounding.

        .. math:: \frac{\partial\bar p}{\partial\eta} = E\,p(1 - p), \qquad
            \frac{\partial\bar p}{\partial v} = \tfrac12E\,p(1 - p)(1 - 2p), \qquad v = \operatorname{Var}(z'b)

        The first, over :math:`\bar p(1 - \bar p)`, is equation :eq:`attenuation` of the book.
        """
        eta, sd = np.broadcast_arrays(np.asarray(eta, float), np.sqrt(variance))
        step = min(STEP, STEP_BY_SD / max(float(sd.max(initial=0.0)), 1e-9))
        up, down, by_eta, by_variance = (np.zeros_like(eta) for _ in range(4))
        for x in np.arange(-np.ceil(9 / step), np.ceil(9 / step) + 1) * step:
            at, weight = eta + sd * x, step * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
            p, q = expit(at), expit(-at)
            up, down = up + weight * p, down + weight * q
            by_eta, by_variance = by_eta + weight * p * q, by_variance + weight * p * q * (q - p) / 2
        return np.log(up) - np.log(down), by_eta / (up * down), by_variance / (up * down)

    @staticmethod
    def typical(eta: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Farther from zero, as if the logistic distribution were the normal one with a standard deviation of 1.7.

        Equation :eq:`attenuation-approx` of the book, read backwards; the two constants agree to three digits.
        """
        return eta * np.sqrt(1 + variance / 1.7**2)

    def mean(self, eta: np.ndarray) -> np.ndarray:
        """m p."""
        return self.size * expit(eta)

    def log_density(self, eta: np.ndarray, mu: np.ndarray) -> np.ndarray:
        r""":math:`y\log\frac p{y/m} + (m - y)\log\frac{1 - p}{1 - y/m}`, by how far eta is from the log odds of y."""
        y, m = self.y, self.size
        at_ends = m * log_expit(np.where(y > 0, eta, -eta))
        if not self._between.any():
            return at_ends
        gap = np.clip(np.where(self._between, eta, 0.0) - self._log_odds, -FAR, FAR)
        near = log1p(self._shares[0] * np.expm1(np.clip(gap, -1, 1)))
        far = np.logaddexp(self._shares[1], self._shares[2] + gap)
        between = y * gap - m * np.where(np.abs(gap) < 1, near, far)
        return np.where(self._between, between, at_ends)

    def variance(self, mu: np.ndarray) -> np.ndarray:
        """m p(1 - p)."""
        return mu * (1 - mu / self.size)

    def cumulants(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """m p(1 - p), and this times 1 - 2p and times 1 - 6p(1 - p)."""
        p = mu / self.size
        variance = mu * (1 - p)
        return variance, variance * (1 - 2 * p), variance * (1 - 6 * p * (1 - p))

    def deviance(self, mu: np.ndarray) -> np.ndarray:
        r""":math:`2\{y\log\frac y\mu + (m - y)\log\frac{m - y}{m - \mu}\}`."""
        with np.errstate(divide="ignore"):
            return np.maximum(-2 * self.log_density(logit(np.minimum(mu / self.size, 1.0)), mu), 0)

    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """Log odds and their information, with one half added to successes and to failures."""
        p = (self.y + 0.5) / (self.size + 1)
        return logit(p), self.size * p * (1 - p)

    def simulate(self, rng: np.random.Generator, mu: np.ndarray) -> np.ndarray:
        """Successes of as many trials."""
        return rng.binomial(self.size.astype(np.int64), np.minimum(mu / self.size, 1.0))


def _stirling(x: np.ndarray) -> np.ndarray:
    """What Stirling's formula lacks of the logarithm of x factorial, x above zero."""
    short = gammaln(x + 1) - xlogy(x, x) + x - np.log(2 * np.pi * x) / 2
    return np.where(x < 16, short, (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / x**2) / x**2) / x**2) / x)


def trials(design: Design) -> np.ndarray:
    """Of how many trials each response counts the successes, (n_obs,)."""
    return np.ones(design.n_obs) if design.trials is None else design.trials


def sides(design: Design) -> np.ndarray:
    """-1 where there is no success, 1 where there is no failure, 0 where there are both, (n_obs,)."""
    return (design.y == trials(design)).astype(float) - (design.y == 0)


def checked_successes(design: Design) -> None:
    """Raise unless the response holds numbers of successes, not all of them zero nor all of them all trials.

    Raises
    ------
    DataError
        A negative or fractional number, one above that of the trials; names the first and its row.
    DesignError
        If there are weights, all trials end alike, or every group has one trial.
    """
    if design.weights is not None:
        raise DesignError("successes take no weights; pass how many trials they are of as trials=")
    y, m, name = design.y, trials(design), design.response
    one = design.trials is None
    remedies = {
        "is negative": (y < 0, "successes are 0, 1, 2, ..."),
        "is no whole number": (y != np.round(y), "for a share pass the number of successes, and trials="),
        "is not 0 or 1" if one else "is above the number of trials": (
            y > m,
            "pass trials=, of how many each counts the successes" if one else "successes are some of the trials",
        ),
        f"counts the successes of more than {MOST_TRIALS:g} trials": (
            m > MOST_TRIALS,
            "what such numbers vary by is lost in rounding; use lmmlib.fit for their log odds",
        ),
    }
    for what, (wrong, remedy) in remedies.items():
        if wrong.any():
            row = int(np.argmax(wrong))
            more = f", and {int(wrong.sum()) - 1} others" if wrong.sum() > 1 else ""
            raise DataError(
                f"the response {name!r} {what} in row {row}: {y[row]:g}{more} (rows count from 0); {remedy}"
            )
    if not y.any() or (y == m).all():
        raise DesignError(
            f"all {int(m.sum())} trials in {name!r} are {'successes' if y.any() else 'failures'}, so the likelihood "
            "rises without end with the fixed effects, which have no estimate"
        )
    if design.z_names and np.bincount(design.group, m, design.n_groups).max() == 1:
        raise DesignError(
            f"every group of {design.grouping!r} has one trial, which says nothing of how groups differ; the model "
            f"without random effects is (0 | {design.grouping})"
        )
