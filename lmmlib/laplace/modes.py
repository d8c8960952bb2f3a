"""Modes of random effects by Laplace's approximation, with standard errors that say what they take as known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, standard_deviations
from lmmlib.common.tails import half_width

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
        reach = half_width(level) * self.se(error).to_numpy().ravel()
        index = pd.MultiIndex.from_product([self.b.index, self.b.columns], names=["group", "term"])
        b = self.b.to_numpy().ravel()
        errors = {f"se_{e}": self.se(e).to_numpy().ravel() for e in ERRORS}
        return pd.DataFrame({"b": b, **errors, "lower": b - reach, "upper": b + reach}, index).reset_index()

    def __repr__(self) -> str:
        n, q = self.b.shape
        return f"Modes of {n} groups, {q} random effect{'s' * (q != 1)} each: {', '.join(map(str, self.b.columns))}"
