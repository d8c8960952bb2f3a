"""Maximum likelihood and REML fits of a mixed model: from formula and data to a frozen result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_made, checked_method, numbers
from lmmlib.common.summary import Shown, Summary
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.design import Design
from lmmlib.design.formula import build_design
from lmmlib.design.identify import require_identified
from lmmlib.design.syntax import several_terms
from lmmlib.equations import residuals
from lmmlib.equations.names import parameter_names
from lmmlib.errors import DesignError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference import intervals, profile, residual_plots
from lmmlib.inference.influence import groups
from lmmlib.inference.parametrised import Groups
from lmmlib.inference.profiled import Profiled
from lmmlib.inference.verbs import Asked
from lmmlib.lmm.summary import summary
from lmmlib.prediction import blups, predict
from lmmlib.prediction.blups import Blups
from lmmlib.residual.fit import ResidualFit, fit_residual
from lmmlib.residual.structures import Structure
from lmmlib.several.fit import SeveralFit, fit_several
from lmmlib.several.fitted import fit_sums
from lmmlib.several.held import held
from lmmlib.several.sums import several_sums
from lmmlib.several.terms import SeveralDesign, Term
from lmmlib.several.whole import MOST_ROWS


class Fit(Shown, Asked, Fitted):
    """A fitted mixed model: the attributes of :class:`lmmlib.fitting.fitted.Fitted`, and what can be asked of it."""

    def summary(self) -> Summary:
        """The attributes in the manner of lme4 and lmerTest: text, HTML and LaTeX."""
        return summary(self)

    def fitted(self, *, of: str = "group") -> np.ndarray:
        """:func:`lmmlib.equations.residuals.fitted`: with each group's random effects, or the ``"population"`` mean."""
        return residuals.fitted(self.design, self.cross, *self.estimates, of=of)

    def residuals(self, *, of: str = "group", kind: str = "response") -> np.ndarray:
        """:func:`lmmlib.equations.residuals.residuals`: response less fitted value, as it is or divided."""
        return residuals.residuals(self.design, self.cross, *self.estimates, of=of, kind=kind)

    def blups(self) -> Blups:
        """:func:`lmmlib.prediction.blups.blups`: predictions of the random effects, with three errors."""
        return blups.blups(self)

    def random_effects(self, level: float = 0.95, *, error: str = "pev") -> pd.DataFrame:
        """The predictions of :meth:`blups` as a table: group, term, estimate, all errors, limits by one of them."""
        return self.blups().frame(level, error=error)

    def refit(self, y) -> Fit:
        """The same model and method fitted to another response (n_obs,)."""
        return fit_design(self.design.with_response(numbers(y, "y")), method=self.method)

    def parameters(self) -> pd.Series:
        """:func:`lmmlib.inference.intervals.parameters`: fixed effects, standard deviations and correlations, sigma."""
        return intervals.parameters(self)

    def cov_parameters(self) -> pd.DataFrame:
        """:func:`lmmlib.inference.intervals.cov_parameters`: the covariance of their estimates."""
        return intervals.cov_parameters(self)

    def groups(self) -> list[Groups]:
        """:func:`lmmlib.inference.influence.groups`: what each group says of the fixed effects."""
        return groups(self)

    def _standardised(self, Y: np.ndarray) -> np.ndarray:
        """:func:`lmmlib.inference.residual_plots.standardised`: conditional residuals of other responses."""
        return residual_plots.standardised(self, Y)

    @property
    def kinds(self) -> dict[str, tuple]:
        """:func:`lmmlib.equations.names.parameter_names`: every parameter by name, and its kind."""
        return parameter_names(self.design)

    def _held(self, kind: tuple) -> Profiled:
        """:func:`lmmlib.inference.profile.held`: the models in which a parameter is held.

        Where random effects can fit all rows sigma may be zero, as :mod:`lmmlib.several.whole` has it.
        """
        few = self.n_obs > MOST_ROWS or np.minimum(self.cross.n_i, len(self.D)).sum() < self.n_obs - len(self.beta)
        if few or kind[0] == "icc" or not isinstance(self.design, Design):  # of chunks there are no rows
            return profile.held(self, kind)
        design = SeveralDesign(self.design, (Term((self.design.grouping,), self.design),))
        kind = (kind[0], 0, *kind[1:]) if kind[0] in ("sd", "corr") else kind
        return held(fit_sums(several_sums(design), self.method, SeveralFit), kind)

    def predict(
        self,
        new: pd.DataFrame,
        *,
        of: str = "group",
        new_groups: str = "population",
        interval: str | None = None,
        method: str = "plugin",
        level: float = 0.95,
        size: int = 1000,
        rng: np.random.Generator | int | None = None,
        weights=None,
        offset=None,
    ) -> pd.DataFrame:
        """:func:`lmmlib.prediction.predict.predict`: predictions for new rows, with intervals."""
        about = {"of": of, "new_groups": new_groups, "weights": weights, "offset": offset}
        return predict.predict(self, new, interval=interval, method=method, level=level, size=size, rng=rng, **about)


@overload
def fit(
    formula: str,
    data: pd.DataFrame,
    *,
    method: str = "REML",
    missing: str = "error",
    weights=None,
    offset=None,
    drop: str | None = None,
    relationship=None,
    residual: Structure,
) -> ResidualFit: ...
@overload
def fit(
    formula: str,
    data: pd.DataFrame,
    *,
    method: str = "REML",
    missing: str = "error",
    weights=None,
    offset=None,
    drop: str | None = None,
    relationship: None = None,
    residual: None = None,
) -> Fit | SeveralFit: ...
@overload
def fit(
    formula: str,
    data: pd.DataFrame,
    *,
    method: str = "REML",
    missing: str = "error",
    weights=None,
    offset=None,
    drop: str | None = None,
    relationship: Mapping,
    residual: None = None,
) -> SeveralFit: ...
def fit(
    formula: str,
    data: pd.DataFrame,
    *,
    method: str = "REML",
    missing: str = "error",
    weights=None,
    offset=None,
    drop: str | None = None,
    relationship=None,
    residual: Structure | None = None,
) -> Fit | SeveralFit | ResidualFit:
    r"""Fit a linear mixed model by REML or maximum likelihood.

    The maximum of :eq:`restricted-loglik` or :eq:`profile-loglik` over all positive semidefinite D and all sigma2.

    Parameters
    ----------
    formula : str
        lme4 syntax; see :func:`lmmlib.build_design`. With several groupings, such as ``(1 | plate) + (1 | sample)``,
        ``(1 | batch/cask)`` or ``(x | subject) + (1 | item)``, or several terms for one, see
        :mod:`lmmlib.several.terms`.
    data : DataFrame
    method : {"REML", "ML"}
    missing : {"error", "drop"}
    weights : str, Series or (n_obs,) array, optional
        A column of the data or values: known precisions, the residual variance of a row being sigma2 over its weight.
    offset : str, Series or (n_obs,) array, optional
        A column of the data or values: a known part of the mean.
    drop : {"dependent"}, optional
        Leave out columns of the fixed effects that are linear combinations of earlier ones, which are an error
        otherwise; the result names them as ``dropped``.
    relationship : mapping, optional
        Known correlations between the groups of a grouping, such as ``{"animal": frame}``: a DataFrame with the names
        of the groups as index and as columns is their matrix, one with two columns of parents, such as sire and dam,
        their pedigree; see :mod:`lmmlib.several.relationship`.
    residual : Structure, optional
        The covariance of the residuals of a group, from :mod:`lmmlib.residual.structures`, such as
        ``unstructured("week")``; by default they are independent with one variance.

    Returns
    -------
    Fit
        Of one grouping; or a :class:`lmmlib.several.fit.SeveralFit`; with ``residual`` a
        :class:`lmmlib.residual.fit.ResidualFit`, of which :func:`lmmlib.residual.fit.fit_residual` says more.

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`.
    DesignError
        If there is no random term, columns of X are dependent, or the rows do not identify D and sigma2.
    """
    if residual is not None:
        about: dict[str, Any] = {
            "missing": missing,
            "weights": weights,
            "offset": offset,
            "drop": drop,
            "relationship": relationship,
        }
        return fit_residual(formula, data, residual, method=method, **about)
    if relationship is not None or several_terms(formula) is not None:
        known = {"weights": weights, "offset": offset, "relationship": relationship}
        return fit_several(formula, data, method=method, missing=missing, drop=drop, **known)
    design = build_design(formula, data, missing=missing, weights=weights, offset=offset, drop=drop)
    return fit_design(design, method=method)


def fit_design(design: Design, *, method: str = "REML") -> Fit:
    """:func:`fit` for a design that is there already: maximum of :eq:`restricted-loglik` or :eq:`profile-loglik`.

    Parameters
    ----------
    design : Design
    method : {"REML", "ML"}

    Returns
    -------
    Fit
    """
    checked_made("design", design, Design, "build_design")
    checked_method(method)
    if design.trials is not None:
        raise DesignError("a normal response has no trials; successes of trials are for lmmlib.fit_glmm")
    if not design.z_names and design.grouping == "all":
        raise DesignError(
            "the formula has no random term, such as + (1 | g); ordinary least squares is lmmlib.equations.ols, and "
            "(0 | g) keeps the groups without random effects"
        )
    return fit_cross(design, cross_products(design), method)


def fit_cross(design: Design, cross: CrossProducts, method: str = "REML") -> Fit:
    """:func:`fit_design` once the cross-products are there.

    Parameters
    ----------
    design : Design
    cross : CrossProducts
        Of the design, in a working basis in which the columns of X, and those of Z, are orthonormal.
    method : {"REML", "ML"}

    Returns
    -------
    Fit
    """
    require_identified(cross, design.grouping)
    found = Fit.of(design, cross, method)
    if not np.isfinite(found.loglik):
        raise DesignError(f"{found.reason}; is {design.response!r} the response that you mean?")
    return found
