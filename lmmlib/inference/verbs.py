"""What every fit of a Gaussian model is asked about its fixed effects, as methods."""

from __future__ import annotations

import pandas as pd

from lmmlib.equations.wald_tests import Wald
from lmmlib.fitting.fitted import Tested
from lmmlib.inference import anova_table, contrasts, marginal_means


class AboutFixedEffects:
    """Tests, intervals and means of the fixed effects of a fit that is :class:`lmmlib.fitting.fitted.Tested`."""

    def contrast(self: Tested, L, *, df=None, null=0.0, level: float = 0.95) -> Wald:
        """:func:`lmmlib.inference.contrasts.contrast`: test and interval of combinations of the fixed effects."""
        return contrasts.contrast(self, L, df=df, null=null, level=level)

    def contrasts(self: Tested, rows, *, df=None, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.inference.contrasts.contrasts`: a table of labelled contrasts."""
        return contrasts.contrasts(self, rows, df=df, level=level)

    def fixed_effects(self: Tested, level: float = 0.95, *, df=None) -> pd.DataFrame:
        """:func:`lmmlib.inference.contrasts.fixed_effects`: estimates, se, df and t or z, p, intervals."""
        return contrasts.fixed_effects(self, level, df=df)

    def marginal_means(self: Tested, factors, *, at=None, over=None, df=None, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.inference.marginal_means.marginal_means`: means of the levels of factors, others held equal."""
        return marginal_means.marginal_means(self, factors, at=at, over=over, df=df, level=level)

    def anova(self: Tested, type: int = 3, *, df=None) -> pd.DataFrame:
        """:func:`lmmlib.inference.anova_table.anova`: F tests of the terms of the fixed effects, of type 1, 2 or 3."""
        return anova_table.anova(self, type, df=df)
