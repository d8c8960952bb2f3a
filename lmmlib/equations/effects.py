"""Random effects of every group, with the errors of their predictions by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, standard_deviations
from lmmlib.common.tails import half_width
from lmmlib.design.design import Design


def labelled(design: Design, b: np.ndarray) -> pd.DataFrame:
    """Effects (n_groups, q) with the names of groups and columns."""
    return pd.DataFrame(b, pd.Index(design.group_names, name=design.grouping), list(design.z_names))


@dataclass(frozen=True, eq=False)
class Effects:
    """What predictions of the random effects have in common, whoever makes them.

    Attributes
    ----------
    b : DataFrame
        Predictions, a row for each group and a column for each random effect.
    ERRORS : tuple of str
        Attributes that hold a covariance of the error of each group, (n_groups, q, q): what each takes as known.
    USUAL : str
        The one of them that is taken when none is named.
    """

    ERRORS: ClassVar[tuple[str, ...]]
    USUAL: ClassVar[str]
    b: pd.DataFrame

    def covariance(self, error: str | None = None) -> np.ndarray:
        """Covariances of the error of this name, one of ``ERRORS``, (n_groups, q, q)."""
        name = self.USUAL if error is None else error
        checked_choice("error", name, self.ERRORS)
        return getattr(self, name)

    def se(self, error: str | None = None) -> pd.DataFrame:
        """Standard errors, the roots of the diagonal of :meth:`covariance`, labelled as ``b``."""
        return self._labelled(standard_deviations(self.covariance(error), "the random effects"))

    def limits(self, level: float = 0.95, error: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Lower and upper limits of each effect by itself, labelled as ``b``: normal quantiles."""
        reach = half_width(level) * self.se(error)
        return self.b - reach, self.b + reach

    def frame(self, level: float = 0.95, *, error: str | None = None) -> pd.DataFrame:
        """One row for each group and random effect.

        Parameters
        ----------
        level : float
            Coverage of each interval by itself.
        error : str, optional
            By which of ``ERRORS`` the limits are.

        Returns
        -------
        DataFrame
            Columns ``group``, ``term``, ``estimate``, ``se`` (``se_known`` and so on, where there are several errors),
            ``lower`` and ``upper``.
        """
        several = len(self.ERRORS) > 1
        errors = {f"se_{name}" if several else "se": getattr(self, name) for name in self.ERRORS}
        errors = {key: standard_deviations(cov, "the random effects") for key, cov in errors.items()}
        return self._frame(errors, *self.limits(level, error))

    def _frame(self, errors: dict, lower: pd.DataFrame, upper: pd.DataFrame) -> pd.DataFrame:
        columns = {"estimate": self.b, **errors, "lower": lower, "upper": upper}
        index = pd.MultiIndex.from_product([self.b.index, self.b.columns], names=["group", "term"])
        return pd.DataFrame({name: np.ravel(values) for name, values in columns.items()}, index).reset_index()

    def _labelled(self, values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, self.b.index, self.b.columns)

    def __repr__(self) -> str:
        return f"{self._counted}: {', '.join(map(str, self.b.columns))}"

    @property
    def _counted(self) -> str:
        n, q = self.b.shape
        return f"{type(self).__name__} of {n} groups, {q} random effect{'s' * (q != 1)} each"

    def _repr_html_(self) -> str:
        """The usual error and the limits by it, of the first and the last groups where there are many."""
        return self._frame({"se": self.se()}, *self.limits()).to_html(max_rows=20)
