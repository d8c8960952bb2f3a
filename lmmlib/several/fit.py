"""Fits with several groupings: from formula and data to a frozen result, and what it can be asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_method, numbers
from lmmlib.common.summary import Shown, Summary
from lmmlib.inference.verbs import AboutFixedEffects
from lmmlib.several import effects, parameters, predict
from lmmlib.several.fitted import SeveralFitted, fit_sums
from lmmlib.several.parameters import confint
from lmmlib.several.summary import summary
from lmmlib.several.sums import several_sums
from lmmlib.several.terms import build


class SeveralFit(Shown, AboutFixedEffects, SeveralFitted):
    """A fitted mixed model with several groupings: the attributes of
    :class:`lmmlib.several.fitted.SeveralFitted`, and what can be asked of it.
    """

    def summary(self) -> Summary:
        """The attributes in the manner of lme4 and lmerTest: text, HTML and LaTeX."""
        return summary(self)

    def fitted(self, *, of: str = "group") -> np.ndarray:
        """:func:`lmmlib.several.predict.fitted_values`: with all random effects, or the ``"population"`` mean."""
        return predict.fitted_values(self, of=of)

    def residuals(self, *, of: str = "group", kind: str = "response") -> np.ndarray:
        """:func:`lmmlib.several.predict.residuals`: response less fitted value, as it is or ``"scaled"``."""
        return predict.residuals(self, of=of, kind=kind)

    def random_effects(self, level: float = 0.95, *, error: str = "pev") -> pd.DataFrame:
        """:func:`lmmlib.several.effects.random_effects`: predictions of every grouping, with two errors."""
        return effects.random_effects(self, level, error=error)

    def simulate(self, size: int | None = None, *, rng: np.random.Generator | int) -> np.ndarray:
        """:func:`lmmlib.several.predict.simulate`: new responses, (n_obs,) or (n_obs, size)."""
        return predict.simulate(self, size, rng=rng)

    def refit(self, y) -> SeveralFit:
        """The same model and method fitted to another response (n_obs,)."""
        return fit_sums(self.state.sums.response(numbers(y, "y")), self.method, type(self))

    def parameters(self) -> pd.Series:
        """Fixed effects, standard deviations and correlations of each term, sigma."""
        return parameters.values(self, parameters.kinds_of(self.terms))

    def cov_parameters(self) -> pd.DataFrame:
        """:func:`lmmlib.several.parameters.cov_parameters`: the covariance of their estimates."""
        return parameters.cov_parameters(self)

    def confint(
        self, level: float = 0.95, *, method: str = "profile", parameters=None, size: int = 1000, rng=None
    ) -> pd.DataFrame:
        """:func:`lmmlib.several.parameters.confint`: profile, Wald or bootstrap limits of the parameters."""
        return confint(self, level, method=method, parameters=parameters, size=size, rng=rng)

    def variance_components(
        self, level: float = 0.95, *, method: str = "profile", size: int = 1000, rng=None
    ) -> pd.DataFrame:
        """:func:`lmmlib.several.parameters.variance_components`: the random part by term, with intervals."""
        return parameters.variance_components(self, level, method=method, size=size, rng=rng)

    def predict(
        self,
        new: pd.DataFrame,
        *,
        of: str = "group",
        new_groups: str = "population",
        interval: str | None = None,
        method: str = "plugin",
        level: float = 0.95,
        weights=None,
        offset=None,
    ) -> pd.DataFrame:
        """:func:`lmmlib.several.predict.predict`: predictions for new rows, of known and new groups."""
        of_rows: Any = {"of": of, "new_groups": new_groups, "weights": weights, "offset": offset}
        return predict.predict(self, new, interval=interval, method=method, level=level, **of_rows)


def fit_several(
    formula: str,
    data: pd.DataFrame,
    *,
    method: str = "REML",
    missing: str = "error",
    weights=None,
    offset=None,
    drop: str | None = None,
    relationship=None,
) -> SeveralFit:
    """:func:`lmmlib.fit` of a formula with any number of random terms.

    Parameters
    ----------
    formula, data, method, missing, weights, offset, drop, relationship
        As :func:`lmmlib.fit` takes them.

    Returns
    -------
    SeveralFit
    """
    checked_method(method)
    known = {"weights": weights, "offset": offset, "relationship": relationship}
    return fit_sums(several_sums(build(formula, data, missing=missing, drop=drop, **known)), method, SeveralFit)
