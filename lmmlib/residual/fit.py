"""Mixed models whose residuals have a covariance: from formula, data and structure to a frozen result."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_method, shown
from lmmlib.common.summary import Shown, Summary
from lmmlib.design.formula import build_design
from lmmlib.design.syntax import several_terms
from lmmlib.errors import DesignError, ParameterError
from lmmlib.inference.parametrised import Groups
from lmmlib.inference.profiled import Profiled
from lmmlib.inference.verbs import Asked
from lmmlib.residual import blocks, parameters, predict
from lmmlib.residual.fitted import ResidualFitted
from lmmlib.residual.held import held
from lmmlib.residual.structures import Structure
from lmmlib.residual.summary import residual_covariance, summary
from lmmlib.residual.visits import Visits


class ResidualFit(Shown, Asked, ResidualFitted):
    """A fit with a residual covariance: what :class:`lmmlib.residual.fitted.ResidualFitted` has, and its verbs."""

    def summary(self) -> Summary:
        """The attributes as text, HTML and LaTeX."""
        return summary(self)

    def residual_covariance(self, *, kind: str = "covariance") -> pd.DataFrame:
        """:func:`lmmlib.residual.summary.residual_covariance`: R of the visits, for each level of ``by``."""
        return residual_covariance(self, kind=kind)

    def fitted(self, *, of: str = "group") -> np.ndarray:
        """:func:`lmmlib.residual.blocks.fitted`: with each group's random effects, or the ``"population"`` mean."""
        return blocks.fitted(self, of=of)

    def residuals(self, *, of: str = "group", kind: str = "response") -> np.ndarray:
        """:func:`lmmlib.residual.blocks.residuals`: response less fitted value, as it is or divided."""
        return blocks.residuals(self, of=of, kind=kind)

    def blups(self) -> blocks.ResidualBlups:
        """:func:`lmmlib.residual.blocks.random_effects`: predictions of the random effects, with three errors."""
        return blocks.random_effects(self)

    def random_effects(self, level: float = 0.95, *, error: str = "pev") -> pd.DataFrame:
        """The predictions of the random effects as a table: group, term, estimate, all errors, limits by one."""
        return self.blups().frame(level, error=error)

    def groups(self) -> list[Groups]:
        """:func:`lmmlib.residual.blocks.groups`: what each group says of the fixed effects."""
        return blocks.groups(self)

    def _standardised(self, Y: np.ndarray) -> np.ndarray:
        """:func:`lmmlib.residual.blocks.standardised`: conditional residuals of other responses."""
        return blocks.standardised(self, Y)

    def simulate(self, size: int | None = None, *, rng: np.random.Generator | int) -> np.ndarray:
        """:func:`lmmlib.residual.blocks.simulate`: new responses from the fitted model."""
        return blocks.simulate(self, size, rng)

    def refit(self, y) -> ResidualFit:
        """The same model and method fitted to another response (n_obs,)."""
        return self.again(y)

    def parameters(self) -> pd.Series:
        """:func:`lmmlib.residual.parameters.parameters`: fixed effects, those of D, ``sigma`` and ``rho`` of R."""
        return parameters.parameters(self)

    def cov_parameters(self) -> pd.DataFrame:
        """:func:`lmmlib.residual.parameters.cov_parameters`: the covariance of their estimates."""
        return parameters.cov_parameters(self)

    @property
    def kinds(self) -> dict[str, tuple]:
        """Every parameter by name: its kind, and which fixed effect, or the name that its form has."""
        effects = {name: ("effect", j) for j, name in enumerate(self.beta.index)}
        return effects | {name: (form.kind, name) for name, form in parameters.forms(self).items()}

    def _held(self, kind: tuple) -> Profiled:
        """:func:`lmmlib.residual.held.held`: the models in which a parameter is held."""
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
        """:func:`lmmlib.residual.predict.predict`: predictions for new rows, with intervals."""
        about = {"of": of, "new_groups": new_groups, "weights": weights, "offset": offset}
        return predict.predict(self, new, interval=interval, method=method, level=level, **about)


def fit_residual(
    formula: str,
    data: pd.DataFrame,
    residual: Structure,
    *,
    method: str = "REML",
    missing: str = "error",
    weights=None,
    offset=None,
    drop: str | None = None,
    relationship=None,
) -> ResidualFit:
    r"""Fit a linear mixed model with a residual covariance: :func:`lmmlib.fit` with ``residual``.

    The maximum of :eq:`restricted-loglik` or :eq:`profile-loglik` over beta, D and R with :math:`V_i = Z_iDZ_i' + R_i`.
    With weights w the rows of :math:`R_i` and its columns are divided by :math:`\sqrt w`. Which visits a group lacks
    does not matter: its :math:`R_i` is that of the visits that it has, as it should be if they are missing at random.

    Parameters
    ----------
    formula : str
        With one grouping factor, whose levels have independent rows; ``(0 | g)`` has no random effects.
    data : DataFrame
    residual : Structure
        Made by a function of :mod:`lmmlib.residual.structures`.
    method, missing, weights, offset, drop
        As :func:`lmmlib.fit` takes them.
    relationship
        Not for these models.

    Returns
    -------
    ResidualFit

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`; or a column of the structure is not there, or has missing values.
    DesignError
        If a visit is twice in a group, columns of X are dependent, the rows do not identify D and R, or the likelihood
        has no maximum.
    """
    if not isinstance(residual, Structure):
        raise ParameterError(
            "residual must be made by a function of lmmlib.residual, such as lmmlib.residual.by('week'); got "
            f"{shown(residual)}"
        )
    checked_method(method)
    if relationship is not None or several_terms(formula) is not None:
        raise DesignError(
            f"residual={residual!r} is for formulas with one random term of one grouping and without relationship=; "
            f"got {formula!r}. A covariance of the visits often needs no further random effects"
        )
    design = build_design(formula, data, missing=missing, weights=weights, offset=offset, drop=drop)
    if design.grouping == "all":
        raise DesignError(
            "the formula has no random term, which says what the groups are that have a residual covariance: add "
            "(0 | g) if there are no random effects"
        )
    given = {name: one for name, one in {"weights": weights, "offset": offset}.items() if one is not None}
    visits = Visits.of(residual, design, data, missing, given)
    return ResidualFit.of(design, visits, method)
