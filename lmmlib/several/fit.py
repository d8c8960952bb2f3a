"""Fits with several groupings: from formula and data to a frozen result, and what it can be asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_method, numbers
from lmmlib.common.summary import Shown, Summary
from lmmlib.inference.parametrised import Groups
from lmmlib.inference.profiled import Profiled
from lmmlib.inference.verbs import Asked
from lmmlib.several import effects, parameters, predict
from lmmlib.several.fitted import SeveralFitted, fit_sums
from lmmlib.several.held import held
from lmmlib.several.summary import summary
from lmmlib.several.sums import several_sums
from lmmlib.several.terms import build


class SeveralFit(Shown, Asked, SeveralFitted):
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
        """:func:`lmmlib.several.predict.residuals`: response less fitted value, as it is or divided."""
        return predict.residuals(self, of=of, kind=kind)

    def random_effects(self, level: float = 0.95, *, error: str = "pev") -> pd.DataFrame:
        """:func:`lmmlib.several.effects.random_effects`: predictions of every grouping, with two errors."""
        return effects.random_effects(self, level, error=error)

    def groups(self) -> list[Groups]:
        """:func:`lmmlib.several.effects.groups`: what each group of each grouping says of the fixed effects."""
        return effects.groups(self)

    def _standardised(self, Y: np.ndarray) -> np.ndarray:
        """:func:`lmmlib.several.predict.standardised`: conditional residuals of other responses."""
        return predict.standardised(self, Y)

    def simulate(self, size: int | None = None, *, rng: np.random.Generator | int) -> np.ndarray:
        """:func:`lmmlib.several.predict.simulate`: new responses, (n_obs,) or (n_obs, size)."""
        return predict.simulate(self, size, rng=rng)

    def refit(self, y) -> SeveralFit:
        """The same model and method fitted to another response (n_obs,)."""
        return fit_sums(self.state.sums.response(numbers(y, "y")), self.method, type(self))

    def parameters(self) -> pd.Series:
        """Fixed effects, standard deviations and correlations of each term, sigma."""
        return parameters.parameters(self)

    def cov_parameters(self) -> pd.DataFrame:
        """:func:`lmmlib.several.parameters.cov_parameters`: the covariance of their estimates."""
        return parameters.cov_parameters(self)

    def variance_components(
        self, level: float = 0.95, *, method: str = "profile", size: int = 1000, rng=None
    ) -> pd.DataFrame:
        """:func:`lmmlib.inference.components.variance_components`, with a column ``grouping`` before the term."""
        frame = super().variance_components(level, method=method, size=size, rng=rng)
        kinds = [kind for kind in self.kinds.values() if kind[0] != "effect"]
        names = [self.terms.terms[kind[1]].grouping if kind[1:] else "" for kind in kinds]
        frame.insert(0, "grouping", np.repeat(names, [1 if kind[0] == "corr" else 2 for kind in kinds]))
        pairs = zip(frame["term"], frame["grouping"], strict=True)
        return frame.assign(term=[term.removesuffix(f" | {of}") for term, of in pairs])

    @property
    def kinds(self) -> dict[str, tuple]:
        """:func:`lmmlib.several.parameters.kinds_of`: every parameter by name, and its kind."""
        return parameters.kinds_of(self.terms)

    def _held(self, kind: tuple) -> Profiled:
        """:func:`lmmlib.several.held.held`: the models in which a parameter is held."""
        return held(self, kind)

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
