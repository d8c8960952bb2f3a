r"""Modes of the random effects of a Poisson mixed model, with standard errors that say what they take as known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from lmmlib.entries import product
from lmmlib.parameters import checked_choice, checked_level, standard_deviations
from lmmlib.poisson import turn

if TYPE_CHECKING:
    from lmmlib.poisson_result import PoissonFit

ERRORS = ("known", "estimated")


@dataclass(frozen=True, eq=False)
class Modes:
    """The most likely random effects of every group given its counts.

    Attributes
    ----------
    b : DataFrame
        Modes, a row for each group and a column for each random effect.
    known, estimated : (n_groups, q, q) arrays
        Covariances of the error: beta and D taken as known, or estimated too.
    """

    b: pd.DataFrame
    known: np.ndarray
    estimated: np.ndarray

    def covariance(self, error: str = "estimated") -> np.ndarray:
        """Covariances of the error by name, (n_groups, q, q); ``error`` is "known" or "estimated"."""
        checked_choice("error", error, ERRORS)
        return getattr(self, error)

    def se(self, error: str = "estimated") -> pd.DataFrame:
        """Standard errors, the roots of the diagonal of :meth:`covariance`, labelled as ``b``."""
        roots = standard_deviations(self.covariance(error), "the modes")
        return pd.DataFrame(roots, self.b.index, self.b.columns)

    def frame(self, error: str = "estimated", level: float = 0.95) -> pd.DataFrame:
        """One row for each group and random effect: mode, both standard errors, normal limits by one of them."""
        reach = norm.ppf((1 + checked_level(level)) / 2) * self.se(error).to_numpy().ravel()
        index = pd.MultiIndex.from_product([self.b.index, self.b.columns], names=["group", "term"])
        b = self.b.to_numpy().ravel()
        errors = {f"se_{e}": self.se(e).to_numpy().ravel() for e in ERRORS}
        return pd.DataFrame({"b": b, **errors, "lower": b - reach, "upper": b + reach}, index).reset_index()

    def __repr__(self) -> str:
        n, q = self.b.shape
        return f"Modes of {n} groups, {q} random effect{'s' * (q != 1)} each: {', '.join(map(str, self.b.columns))}"


@dataclass(frozen=True, eq=False)
class Errors:
    """Of the modes in the working basis: ``known`` (q, q, n) and their derivatives ``db`` (q, P, n)."""

    known: np.ndarray
    db: np.ndarray

    @classmethod
    def of(cls, fit: PoissonFit) -> Errors:
        """At the estimates."""
        half = turn(fit.L, fit.inner.half.swapaxes(0, 1))
        return cls(product(half, half.swapaxes(0, 1)), fit.slopes.db)


def modes(fit: PoissonFit) -> Modes:
    r"""Modes of the random effects of a fit, with their errors.

    .. math:: \operatorname{Var}(\hat b_i - b_i) \approx \Lambda S_i^{-1}\Lambda'
        + \frac{d\hat b_i}{d\psi}\operatorname{Var}(\hat\psi)\frac{d\hat b_i}{d\psi}'

    Equation :eq:`mode-variance` of the book: the first part takes the parameters psi = (beta, D) as known, the second
    is what estimating them adds, through how the mode depends on them.

    Parameters
    ----------
    fit : PoissonFit

    Returns
    -------
    Modes
    """
    e, Rz = Errors.of(fit), fit.counts.basis.Rz
    added = np.einsum("apn,pr,brn->abn", e.db, fit.cov_psi, e.db, optimize=True)
    groups = pd.Index(fit.design.group_names, name=fit.design.grouping)

    def turned(M):
        """From the working basis to the columns of the formula, groups first."""
        left = np.linalg.solve(Rz, M.transpose(2, 0, 1))
        return np.linalg.solve(Rz, left.swapaxes(1, 2))

    return Modes(
        pd.DataFrame(np.linalg.solve(Rz, fit.inner.b).T, groups, list(fit.design.z_names)),
        turned(e.known),
        turned(e.known + added),
    )
