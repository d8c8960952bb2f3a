r"""Coverage of intervals for random effects: how often a 95% interval for b_i holds b_i, and how long it is.

Data come from the random-intercept model :math:`y_{ij} = \mu + b_i + \varepsilon_{ij}` with m observations in each
group, sigma2 = 1 and mu = 0 (which change nothing but units), over a grid of numbers of groups and of intraclass
correlations. ``python -m studies.coverage`` runs the grid and rewrites ``coverage.csv``.

The design is balanced, so everything but the Bayesian answer has a closed form in the group means, MSB and MSW. That
makes thousands of data sets one array computation; ``tests/project/test_coverage_study.py`` compares each closed form
with :mod:`lmmlib.prediction.empirical_bayes` on single data sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from chapters._tools.replacing import replace_text
from lmmlib.common.progress import progress_bar
from lmmlib.design.cross import cross_products
from lmmlib.design.design import Design
from lmmlib.design.responses import Responses
from lmmlib.prediction.mixture import Mixture
from lmmlib.prediction.ratio import ratio_posterior

TABLE = Path(__file__).with_name("coverage.csv")
GROUPS, ICCS = (5, 10, 30, 100), (0.05, 0.2, 0.5, 0.8)
N_I = 4
SIZE = 2000
REFITS = 500
LEVEL = 0.95
BASE_SEED = 19890
# Error of the probabilities of the quadrature with half of its nodes: below the Monte Carlo error by far.
QUADRATURE = 1e-4
# Components of mixtures that are in memory at a time.
ROOM = 4_000_000


@dataclass(frozen=True, eq=False)
class Sample:
    """Data sets of one cell: ``b`` (size, n) true effects, ``y`` (size, n, m), and the random numbers of the refits.

    ``chi_between``, ``chi_within``, ``z`` (size, refits): chi-square, chi-square and standard normal.
    """

    tau2: float
    b: np.ndarray
    y: np.ndarray
    chi_between: np.ndarray
    chi_within: np.ndarray
    z: np.ndarray

    @classmethod
    def draw(cls, n_groups: int, icc: float, size: int, seed: int, refits: int = REFITS) -> Sample:
        rng, tau2 = np.random.default_rng(seed), icc / (1 - icc)
        b = np.sqrt(tau2) * rng.standard_normal((size, n_groups))
        y = b[:, :, None] + rng.standard_normal((size, n_groups, N_I))
        chi_between = rng.chisquare(n_groups - 1, (size, refits))
        chi_within = rng.chisquare(n_groups * (N_I - 1), (size, refits))
        return cls(tau2, b, y, chi_between, chi_within, rng.standard_normal((size, refits)))

    def take(self, rows: slice) -> Sample:
        parts = (self.b, self.y, self.chi_between, self.chi_within, self.z)
        return Sample(self.tau2, *(part[rows] for part in parts))

    @property
    def n_groups(self) -> int:
        return self.b.shape[1]

    @cached_property
    def means(self) -> np.ndarray:
        """Group means, (size, n)."""
        return self.y.mean(axis=2)

    @cached_property
    def deviations(self) -> np.ndarray:
        """Group means less their mean, (size, n)."""
        return self.means - self.means.mean(axis=1, keepdims=True)

    @cached_property
    def estimates(self) -> Estimates:
        """By REML, (size, 1)."""
        ssb = N_I * (self.deviations**2).sum(axis=1, keepdims=True)
        ssw = ((self.y - self.means[:, :, None]) ** 2).sum(axis=(1, 2))[:, None]
        return Estimates.reml(ssb, ssw, self.n_groups)


@dataclass(frozen=True, eq=False)
class Estimates:
    """``sigma2`` and ``c`` = sigma2 + m tau2, with the weight ``w`` = m tau2 / c that b gives to a group's mean."""

    sigma2: np.ndarray
    c: np.ndarray

    @classmethod
    def reml(cls, ssb, ssw, n_groups: int) -> Estimates:
        """REML from the sums of squares between and within: MSW and MSB, or one mean square if MSB is the smaller."""
        msb, msw = ssb / (n_groups - 1), ssw / (n_groups * (N_I - 1))
        pooled = (ssb + ssw) / (n_groups * N_I - 1)
        return cls(np.where(msb > msw, msw, pooled), np.where(msb > msw, msb, pooled))

    @property
    def w(self):
        return (self.c - self.sigma2) / self.c

    @property
    def known(self):
        """Var(b_i | y): tau2 (1 - w)."""
        return self.w * self.sigma2 / N_I

    def pev(self, n_groups: int):
        """And mu estimated."""
        return self.known + self.w**2 * self.c / (N_I * n_groups)

    def var_w(self, n_groups: int):
        """Variance of the estimate of w by the delta method: w = 1 - sigma2 / c, MSW and MSB independent."""
        relative = 2 / (n_groups * (N_I - 1)) + 2 / (n_groups - 1)
        return (self.sigma2 / self.c) ** 2 * relative


def _normal(center, variance) -> tuple[np.ndarray, np.ndarray]:
    reach = norm.ppf((1 + LEVEL) / 2) * np.sqrt(variance)
    return center - reach, center + reach


def _quantiles(mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    return mixture.quantile((1 - LEVEL) / 2), mixture.quantile((1 + LEVEL) / 2)


def oracle(s: Sample):
    """All parameters known, and true: the control, which must cover 95%."""
    true = Estimates(np.array(1.0), np.array(1 + N_I * s.tau2))
    return _normal(true.w * s.means, true.known)


def known(s: Sample):
    """Plug-in, the naive interval: Var(b | y) at the estimates."""
    return _normal(s.estimates.w * s.deviations, s.estimates.known)


def pev(s: Sample):
    """Plug-in with the prediction error variance."""
    return _normal(s.estimates.w * s.deviations, s.estimates.pev(s.n_groups))


def corrected(s: Sample):
    """Prasad-Rao: and twice Var(w) Var(group mean)."""
    e = s.estimates
    return _normal(e.w * s.deviations, e.pev(s.n_groups) + 2 * e.var_w(s.n_groups) * e.c / N_I)


def kass_steffey(s: Sample):
    """The prediction error variance and (dw d_i)^2, at the deviation d_i of the group at hand."""
    e = s.estimates
    return _normal(e.w * s.deviations, e.pev(s.n_groups) + e.var_w(s.n_groups) * s.deviations**2)


def laird_louis(s: Sample):
    """Quantiles of the mixture over refits of simulated data.

    Given the estimates, SSB* is c times chi-square(n - 1), SSW* is sigma2 times chi-square(N - n), and the grand mean
    is normal with variance c / N: drawing these is simulating the data.
    """
    n, e = s.n_groups, s.estimates
    star = Estimates.reml(e.c * s.chi_between, e.sigma2 * s.chi_within, n)
    mu = s.means.mean(axis=1, keepdims=True) + np.sqrt(e.c / (N_I * n)) * s.z
    means = star.w.T[:, :, None] * (s.means - mu.T[:, :, None])
    scales = np.broadcast_to(np.sqrt(np.maximum(star.known, 0)).T[:, :, None], means.shape)
    return _quantiles(Mixture(means, scales, np.full((len(means), 1, 1), 1 / len(means))))


def bayes(s: Sample):
    """Quantiles of the posterior under flat priors of mu, log sigma and tau, by quadrature."""
    n = s.n_groups
    ones, group = np.ones((n * N_I, 1)), np.repeat(np.arange(n), N_I)
    design = Design.from_arrays(s.y[0].ravel(), ones, ones, group)
    cross = cross_products(design)
    data = Responses.of_columns(cross, design, s.y.reshape(len(s.y), -1).T)
    return _quantiles(ratio_posterior(cross, data, tolerance=QUADRATURE).mixture)


METHODS = {
    "oracle": oracle,
    "known": known,
    "pev": pev,
    "corrected": corrected,
    "kass-steffey": kass_steffey,
    "laird-louis": laird_louis,
    "bayes": bayes,
}


def summary(b: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> dict[str, float]:
    """Coverage and mean length over data sets and groups, with Monte Carlo errors.

    The groups of one data set share its estimates, so the errors are those of means over data sets.
    """
    inside, length = ((lower <= b) & (b <= upper)).mean(axis=1), (upper - lower).mean(axis=1)
    values = {}
    for name, each in (("coverage", inside), ("length", length)):
        values |= {name: each.mean(), f"{name}_mcse": each.std(ddof=1) / np.sqrt(len(each))}
    return values


def cell_seed(n_groups: int, icc: float) -> int:
    """The seed of a cell of the grid."""
    return BASE_SEED + list(product(GROUPS, ICCS)).index((n_groups, icc))


def coverage_cell(
    n_groups: int, icc: float, size: int = SIZE, seed: int | None = None, methods=tuple(METHODS), update=None
) -> pd.DataFrame:
    """One cell of the study: a row for each method.

    Parameters
    ----------
    n_groups : int
    icc : float
        Between 0 and 1.
    size : int
        Number of data sets.
    seed : int, optional
        By default that of the stored table.
    methods : names in METHODS
    update : function, optional
        Called with the number of data sets that are done.

    Returns
    -------
    DataFrame
        Columns n_groups, icc, method, coverage, coverage_mcse, length, length_mcse, singular, size, refits, seed;
        ``singular`` is the share of data sets whose REML estimate of tau2 is zero.
    """
    seed = cell_seed(n_groups, icc) if seed is None else seed
    sample = Sample.draw(n_groups, icc, size, seed)
    limits = {name: ([], []) for name in methods}
    step = max(1, ROOM // (REFITS * n_groups))
    for first in range(0, size, step):
        part = sample.take(slice(first, first + step))
        for name in methods:
            for all_of, one in zip(limits[name], METHODS[name](part), strict=True):
                all_of.append(one)
        if update:
            update(len(part.b))
    start = {"n_groups": n_groups, "icc": icc}
    end = {"singular": np.mean(sample.estimates.w <= 0), "size": size, "refits": REFITS, "seed": seed}
    rows = [start | {"method": name} | summary(sample.b, *map(np.concatenate, limits[name])) | end for name in methods]
    return pd.DataFrame(rows)


def run(size: int = SIZE) -> pd.DataFrame:
    """All cells."""
    cells = list(product(GROUPS, ICCS))
    with progress_bar(size * sum(n for n, _ in cells), "coverage", None) as bar:
        parts = [coverage_cell(n, icc, size, update=lambda many, n=n: bar(many * n)) for n, icc in cells]
    return pd.concat(parts, ignore_index=True)


def stored() -> pd.DataFrame:
    """The table of the last run."""
    return pd.read_csv(TABLE)


if __name__ == "__main__":
    replace_text(TABLE, run().to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    print(f"wrote {TABLE.name}")
