"""Maximum likelihood fits of generalised linear mixed models: from formula and data to a :class:`GlmmFit`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice
from lmmlib.common.summary import Shown, Summary
from lmmlib.design.design import Design
from lmmlib.design.formula import build_design
from lmmlib.glmm import dispersion, intervals, modes, predict, quadrature
from lmmlib.glmm import estimate as estimates
from lmmlib.glmm.dispersion import Dispersion
from lmmlib.glmm.families import family_of
from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.glmm.summary import summary
from lmmlib.laplace.modes import Modes


class GlmmFit(Shown, FittedGlmm):
    """A fitted model: the attributes of :class:`lmmlib.glmm.fitted.FittedGlmm`, and what can be asked of it."""

    def summary(self) -> Summary:
        """The attributes in the manner of lme4: text, HTML and LaTeX."""
        return summary(self)

    def fixed_effects(self, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.glmm.intervals.fixed_effects`: estimates, standard errors, z, p, limits and rate ratios."""
        return intervals.fixed_effects(self, level)

    def parameters(self) -> pd.Series:
        """:func:`lmmlib.glmm.intervals.parameters`: fixed effects, standard deviations, correlations."""
        return intervals.parameters(self)

    def cov_parameters(self) -> pd.DataFrame:
        """:func:`lmmlib.glmm.intervals.cov_parameters`: their covariance, by the delta method."""
        return intervals.cov_parameters(self)

    def confint(self, level: float = 0.95, *, parameters=None) -> pd.DataFrame:
        """:func:`lmmlib.glmm.intervals.confint`: Wald limits of all parameters, or of those named."""
        return intervals.confint(self, level, parameters)

    def modes(self) -> Modes:
        """:func:`lmmlib.glmm.modes.modes`: the most likely random effects, with two errors."""
        return modes.modes(self)

    def random_effects(self, level: float = 0.95, *, error: str = "estimated") -> pd.DataFrame:
        """:meth:`modes` as a table: a row for each group and term, with both errors and limits by one of them."""
        return self.modes().frame(level, error=error)

    def fitted(self, *, of: str = "group") -> np.ndarray:
        """:func:`lmmlib.glmm.predict.fitted`: means of the groups, of a typical group, of the population."""
        return predict.fitted(self, of)

    def residuals(self, *, of: str = "group", kind: str = "pearson") -> np.ndarray:
        """:func:`lmmlib.glmm.predict.residuals`: "response", "pearson" or "deviance"."""
        return predict.residuals(self, of, kind)

    def predict(
        self,
        new: pd.DataFrame,
        *,
        of: str = "group",
        level: float = 0.95,
        scale: str = "response",
        new_groups: str = "population",
        offset=None,
    ) -> pd.DataFrame:
        """:func:`lmmlib.glmm.predict.predict`: predicted means of new rows, with limits."""
        return predict.predict(self, new, of, level, scale, new_groups, offset)

    def overdispersion(self, size: int | None = None, *, rng: np.random.Generator | int | None = None) -> Dispersion:
        """:func:`lmmlib.glmm.dispersion.overdispersion`: do the responses vary more than the family says?"""
        return dispersion.overdispersion(self, size, rng)

    def laplace_error(self, n_quadrature: int | None = None) -> float:
        """:func:`lmmlib.glmm.quadrature.laplace_error`: Laplace's log-likelihood less that by quadrature."""
        return quadrature.laplace_error(self, n_quadrature)

    def simulate(self, size: int | None = None, *, rng: np.random.Generator | int) -> np.ndarray:
        """:func:`lmmlib.glmm.estimate.simulate`: new responses from the fitted model, (n_obs,) or (n_obs, size)."""
        return estimates.simulate(self, size, rng)

    def refit(self, y) -> GlmmFit:
        """:func:`lmmlib.glmm.estimate.refit`: the same model and method fitted to other responses (n_obs,)."""
        return estimates.refit(self, y)


def fit_glmm(
    formula: str,
    data: pd.DataFrame,
    family: str = "poisson",
    *,
    method: str = "laplace",
    n_quadrature: int | None = None,
    trials=None,
    offset=None,
    missing: str = "error",
    drop: str | None = None,
) -> GlmmFit:
    r"""Fit a generalised linear mixed model by maximum likelihood: counts, or yes and no.

    .. math:: y_{ij} \mid b_i \sim \operatorname{Poisson}(\mu_{ij}), \quad
        \log\mu_{ij} = o_{ij} + x_{ij}'\beta + z_{ij}'b_i, \quad b_i \sim N(0, D)

    Equation :eq:`poisson-glmm` of the book; or :eq:`binomial-glmm`, :math:`y_{ij} \mid b_i` successes of
    :math:`m_{ij}` trials, of which :math:`\log\{p_{ij}/(1 - p_{ij})\}` is this linear predictor. The maximum, over all
    beta and all positive semidefinite D, of :eq:`laplace-marginal` or :eq:`aghq`.

    Parameters
    ----------
    formula : str
        lme4 syntax with one grouping factor; see :func:`lmmlib.build_design`.
    data : DataFrame
    family : {"poisson", "binomial"}
        Of the responses given the random effects: counts with logarithmic link, or successes with logistic link (0 and
        1, truth values, or numbers of successes with ``trials``).
    method : {"laplace", "aghq", "REML"}
        Laplace's approximation, adaptive Gauss-Hermite quadrature for one or two random effects a group, or Laplace's
        approximation with the fixed effects integrated out too, equation :eq:`count-restricted`, for few groups.
    n_quadrature : int, optional
        Nodes in each direction for "aghq", by default 25 for one random effect and 15 for two.
    trials : str, Series or (n_obs,) array, optional
        A column of the data or values: of how many trials each response counts the successes, by default one.
    offset : str, Series or (n_obs,) array, optional
        A column of the data or values: a known part of the linear predictor, such as the logarithm of an exposure.
    missing : {"error", "drop"}
        What to do with rows in which a column that is used is missing.
    drop : {"dependent"}, optional
        Leave out columns of the fixed effects that are linear combinations of earlier ones, which are an error
        otherwise; the result names them as ``dropped``.

    Returns
    -------
    GlmmFit

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`; and if the response does not hold counts, or the offset no logarithms.
    DesignError
        If there is no random term, columns are dependent, all responses are at one end of their range, or a coefficient
        or variance has no finite estimate.
    ParameterError
        If the family or the method is unknown, or quadrature is asked for more than two random effects.
    """
    family_of(family)
    checked_choice("method", method, estimates.METHODS)
    design = build_design(formula, data, missing=missing, offset=offset, trials=trials, drop=drop)
    return fit_glmm_design(design, family, method=method, n_quadrature=n_quadrature)


def fit_glmm_design(
    design: Design, family: str = "poisson", *, method: str = "laplace", n_quadrature: int | None = None
) -> GlmmFit:
    """:func:`fit_glmm` for a design that is there already: maximum of :eq:`laplace-marginal` or :eq:`aghq`.

    Parameters
    ----------
    design : Design
        Its offset is a known part of the linear predictor.
    family : {"poisson", "binomial"}
    method : {"laplace", "aghq", "REML"}
    n_quadrature : int, optional

    Returns
    -------
    GlmmFit
    """
    return estimates.estimate(design, family, method, n_quadrature, GlmmFit)
