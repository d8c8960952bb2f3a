"""Maximum likelihood fits of a Poisson mixed model: from formula and data to a :class:`PoissonFit`."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd

from lmmlib.design.design import Design
from lmmlib.design.formula import build_design
from lmmlib.errors import DataError
from lmmlib.glmm import dispersion, intervals, modes, predict, quadrature
from lmmlib.glmm import estimate as glmm_estimate
from lmmlib.glmm.checks import offset_of
from lmmlib.glmm.dispersion import Dispersion
from lmmlib.glmm.estimate import checked_method, estimate
from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.glmm.summary import summary
from lmmlib.laplace.modes import Modes


class PoissonFit(FittedGlmm):
    """A fitted Poisson mixed model: :class:`lmmlib.glmm.fitted.FittedGlmm`, and what can be asked of it."""

    @classmethod
    def of(cls, fit: FittedGlmm) -> PoissonFit:
        """The same with its questions."""
        return cls(**{each.name: getattr(fit, each.name) for each in fields(fit)})

    def summary(self) -> str:
        """The attributes as text, in the manner of lme4."""
        return summary(self)

    def coefficients(self, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.glmm.intervals.coefficients`: estimates, standard errors, z, p, limits and rate ratios."""
        return intervals.coefficients(self, level)

    def parameters(self) -> pd.Series:
        """:func:`lmmlib.glmm.intervals.parameters`: fixed effects, standard deviations, correlations."""
        return intervals.parameters(self)

    def cov_parameters(self) -> pd.DataFrame:
        """:func:`lmmlib.glmm.intervals.cov_parameters`: their covariance, by the delta method."""
        return intervals.cov_parameters(self)

    def confint(self, level: float = 0.95) -> pd.DataFrame:
        """:func:`lmmlib.glmm.intervals.confint`: Wald limits of all parameters."""
        return intervals.confint(self, level)

    def modes(self) -> Modes:
        """:func:`lmmlib.glmm.modes.modes`: the most likely random effects, with two errors."""
        return modes.modes(self)

    def fitted(self, level: str = "conditional") -> np.ndarray:
        """:func:`lmmlib.glmm.predict.fitted`: means of the groups, of a typical group, of the population."""
        return predict.fitted(self, level)

    def residuals(self, level: str = "conditional", kind: str = "pearson") -> np.ndarray:
        """:func:`lmmlib.glmm.predict.residuals`: "response", "pearson" or "deviance"."""
        return predict.residuals(self, level, kind)

    def predict(
        self,
        newdata: pd.DataFrame,
        level: str = "conditional",
        scale: str = "response",
        new_groups: str = "population",
        coverage: float = 0.95,
        offset=None,
    ) -> pd.DataFrame:
        """:func:`lmmlib.glmm.predict.predict`: predicted means of new rows, with limits."""
        return predict.predict(self, newdata, level, scale, new_groups, coverage, offset)

    def overdispersion(self, size: int | None = None, rng: np.random.Generator | None = None) -> Dispersion:
        """:func:`lmmlib.glmm.dispersion.overdispersion`: do the counts vary more than Poisson?"""
        return dispersion.overdispersion(self, size, rng)

    def laplace_error(self, n_quadrature: int | None = None) -> float:
        """:func:`lmmlib.glmm.quadrature.laplace_error`: Laplace's log-likelihood less that by quadrature."""
        return quadrature.laplace_error(self, n_quadrature)

    def simulate(self, rng: np.random.Generator, size: int | None = None) -> np.ndarray:
        """:func:`lmmlib.glmm.estimate.simulate`: new counts from the fitted model, (n_obs,) or (n_obs, size)."""
        return glmm_estimate.simulate(self, rng, size)

    def refit(self, y) -> PoissonFit:
        """:func:`lmmlib.glmm.estimate.refit`: the same model and method fitted to other counts (n_obs,)."""
        return PoissonFit.of(glmm_estimate.refit(self, y))

    def __repr__(self) -> str:
        return self.summary()


def fit_poisson(
    formula: str,
    data: pd.DataFrame,
    method: str = "laplace",
    n_quadrature: int | None = None,
    offset=None,
    missing: str = "error",
    *,
    drop: str | None = None,
) -> PoissonFit:
    r"""Fit a Poisson mixed model with logarithmic link by maximum likelihood.

    .. math:: y_{ij} \mid b_i \sim \operatorname{Poisson}(\mu_{ij}), \quad
        \log\mu_{ij} = o_{ij} + x_{ij}'\beta + z_{ij}'b_i, \quad b_i \sim N(0, D)

    Equation :eq:`poisson-glmm` of the book. The maximum, over all beta and all positive semidefinite D, of
    :eq:`laplace-marginal` or :eq:`aghq`.

    Parameters
    ----------
    formula : str
        lme4 syntax with one grouping factor; see :func:`lmmlib.build_design`.
    data : DataFrame
    method : {"laplace", "aghq"}
        Laplace's approximation, or adaptive Gauss-Hermite quadrature for one or two random effects a group.
    n_quadrature : int, optional
        Nodes in each direction for "aghq", by default 25 for one random effect and 15 for two.
    offset : str or (n_obs,) array, optional
        A column of the data or an array: a known part of the logarithm of the mean, such as that of the exposure.
    missing : {"error", "drop"}
        What to do with rows in which a column that is used is missing.
    drop : {"dependent"}, optional
        Leave out columns of the fixed effects that are linear combinations of earlier ones, which are an error
        otherwise; the result names them as ``dropped``.

    Returns
    -------
    PoissonFit

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`; and if the response does not hold counts, or the offset no finite numbers.
    DesignError
        If there is no random term, columns are dependent, all counts are zero, or a coefficient has no finite estimate.
    ParameterError
        If the method is unknown, or quadrature is asked for more than two random effects.
    """
    checked_method(method)
    if offset is None:
        return fit_poisson_design(build_design(formula, data, missing, drop=drop), method, n_quadrature)
    values = offset_of(offset, data)
    gaps = np.isnan(values)
    if gaps.any() and missing != "drop":
        raise DataError(
            f"the offset is missing in {int(gaps.sum())} rows, the first being row {int(np.argmax(gaps))} (rows count "
            "from 0); pass missing='drop' to leave those rows out"
        )
    data, values = data[~gaps], values[~gaps]
    design = build_design(formula, data, missing, drop=drop)
    used = [name for name in data.columns if name in design.columns or name == design.grouping]
    complete = data[used].notna().all(axis=1).to_numpy() if design.n_dropped else np.ones(len(data), bool)
    design = replace(design, n_dropped=design.n_dropped + int(gaps.sum()))
    found = fit_poisson_design(design, method, n_quadrature, values[complete])
    return replace(found, offset=offset if isinstance(offset, str) else values[complete])


def fit_poisson_design(
    design: Design, method: str = "laplace", n_quadrature: int | None = None, offset=None
) -> PoissonFit:
    """:func:`fit_poisson` for a design that is there already: maximum of :eq:`laplace-marginal` or :eq:`aghq`.

    Parameters
    ----------
    design : Design
    method : {"laplace", "aghq"}
    n_quadrature : int, optional
    offset : (n_obs,) array, optional

    Returns
    -------
    PoissonFit
    """
    return PoissonFit.of(estimate(design, method, n_quadrature, offset))
