"""What every fit of a linear model for normal responses is asked about its parameters, as methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lmmlib.equations.wald_tests import Wald
from lmmlib.inference import anova_table, components, contrasts, intervals, marginal_means, residual_plots
from lmmlib.inference import influence as influences
from lmmlib.inference import profile as profiles
from lmmlib.inference.parametrised import Parametrised


class Asked(Parametrised):
    """Tests and means of the fixed effects of a fit, intervals and profiles of its parameters, and how it fits."""

    def contrast(self, L, *, df=None, null=0.0, level: float = 0.95) -> Wald:
        """:func:`lmmlib.inference.contrasts.contrast`: test and interval of combinations of the fixed effects."""
        return contrasts.contrast(self, L, df=df, null=null, level=level)

    def contrasts(self, rows, *, df=None, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.inference.contrasts.contrasts`: a table of labelled contrasts."""
        return contrasts.contrasts(self, rows, df=df, level=level)

    def fixed_effects(self, level: float = 0.95, *, df=None) -> pd.DataFrame:
        """:func:`lmmlib.inference.contrasts.fixed_effects`: estimates, se, df and t or z, p, intervals."""
        return contrasts.fixed_effects(self, level, df=df)

    def marginal_means(self, factors, *, at=None, over=None, df=None, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.inference.marginal_means.marginal_means`: means of the levels of factors, others held equal."""
        return marginal_means.marginal_means(self, factors, at=at, over=over, df=df, level=level)

    def anova(self, type: int = 3, *, df=None) -> pd.DataFrame:
        """:func:`lmmlib.inference.anova_table.anova`: F tests of the terms of the fixed effects, of type 1, 2 or 3."""
        return anova_table.anova(self, type, df=df)

    def confint(
        self, level: float = 0.95, *, method: str = "profile", parameters=None, size: int = 1000, rng=None
    ) -> pd.DataFrame:
        """:func:`lmmlib.inference.intervals.confint`: profile, Wald or bootstrap limits of the parameters."""
        return intervals.confint(self, level, method=method, parameters=parameters, size=size, rng=rng)

    def variance_components(
        self, level: float = 0.95, *, method: str = "profile", size: int = 1000, rng=None
    ) -> pd.DataFrame:
        """:func:`lmmlib.inference.components.variance_components`: the random part, with intervals."""
        return components.variance_components(self, level, method=method, size=size, rng=rng)

    def profile(self, parameter: str, values=None) -> pd.DataFrame:
        """:func:`lmmlib.inference.profile.profile`: the deviance as a function of one parameter."""
        return profiles.profile(self, parameter, values)

    def influence(self, *, refit: bool = False) -> pd.DataFrame:
        """:func:`lmmlib.inference.influence.influence`: what leaving out each group does to the estimates."""
        return influences.influence(self, refit=refit)

    def plot_residuals(self, *, size: int = 199, rng: np.random.Generator | int) -> Any:
        """:func:`lmmlib.inference.residual_plots.plot_residuals`: two kinds, a Q-Q plot, Cook distances; a figure."""
        return residual_plots.plot_residuals(self, size=size, rng=rng)
