"""Intervals of the parameters of a fit with a residual covariance: profiles, standard errors, the bootstrap."""

from __future__ import annotations

import pandas as pd

from lmmlib.common.arguments import (
    checked_choice,
    checked_count,
    checked_level,
    generator,
    several,
    shown,
    standard_deviations,
)
from lmmlib.common.progress import progress_bar
from lmmlib.common.tails import half_width
from lmmlib.design.dependent import require_kept
from lmmlib.equations.limits import normal_limits
from lmmlib.errors import DesignError, LmmError, ParameterError
from lmmlib.inference.contrasts import fixed_effects
from lmmlib.inference.profile import reach
from lmmlib.residual.blocks import simulate
from lmmlib.residual.fitted import ResidualFitted
from lmmlib.residual.parameters import cov_parameters, forms
from lmmlib.residual.parameters import parameters as all_parameters
from lmmlib.residual.profile import HeldEffect, HeldForm

METHODS = ("profile", "wald", "bootstrap")


def confint(
    fit: ResidualFitted, level: float = 0.95, *, method: str = "profile", parameters=None, size: int = 1000, rng=None
) -> pd.DataFrame:
    r"""Confidence intervals of parameters.

    As :func:`lmmlib.inference.intervals.confint`: by profile, equation :eq:`profile-interval` of the book; by standard
    errors, on the logarithmic scale for standard deviations and on Fisher's for correlations; by the quantiles of
    refits to simulated responses.

    Parameters
    ----------
    fit : ResidualFit
    level : float
        Coverage of each interval by itself.
    method : {"profile", "wald", "bootstrap"}
    parameters : str or list of str, optional
        Names that :func:`lmmlib.residual.parameters.parameters` lists; by default all.
    size : int
        Bootstrap samples.
    rng : numpy.random.Generator or int
        For the bootstrap; a whole number is a seed.

    Returns
    -------
    DataFrame
        Indexed by parameter: ``estimate``, ``se``, ``lower``, ``upper``. ``attrs`` has for profiles the ``likelihood``
        that was profiled, for fixed effects always "ML", and for the bootstrap the number of refits that ``failed``.

    Raises
    ------
    ParameterError
        If the method, the level or a name is unknown, or the bootstrap has no generator.
    DesignError
        If the optimum to profile from has not been found.
    """
    checked_choice("method", method, METHODS)
    level, kinds = checked_level(level), _chosen(fit, parameters)
    estimate, attrs = all_parameters(fit)[list(kinds)], dict[str, object]()
    cov = cov_parameters(fit)
    se = pd.Series(standard_deviations(cov, "the parameters"), cov.index)[list(kinds)]
    if method == "wald":
        on = ["corr" if kind == "rho" else kind for kind in kinds.values()]
        frame = normal_limits(estimate, se, level, on)
        if effects := [name for name, kind in kinds.items() if kind == "effect"]:
            frame.loc[effects, ["lower", "upper"]] = fixed_effects(fit, level)
    elif method == "bootstrap":
        draws, attrs = _refitted(fit, size, rng)
        draws = draws[list(kinds)]
        ends = [draws.quantile(at) for at in ((1 - level) / 2, (1 + level) / 2)]
        frame = pd.DataFrame({"estimate": estimate, "se": draws.std(), "lower": ends[0], "upper": ends[1]})
    else:
        held, root = {name: _held(fit, name, kind) for name, kind in kinds.items()}, half_width(level)
        rows = [[one.parameter(reach(one, side * root)) for one in held.values()] for side in (-1, 1)]
        frame = pd.DataFrame({"estimate": estimate, "se": se, "lower": rows[0], "upper": rows[1]})
        attrs = {"likelihood": {name: one.fit.method for name, one in held.items()}}
    frame.attrs = attrs
    return frame.rename_axis("parameter")


def variance_components(
    fit: ResidualFitted, level: float = 0.95, *, method: str = "profile", size: int = 1000, rng=None
) -> pd.DataFrame:
    """The random part and the residual covariance, with the intervals of :func:`confint`.

    Returns
    -------
    DataFrame
        One row each for the ``quantity`` "variance" and "sd" of every random column and, under "Residual" and the
        visit, of the residuals, and "correlation" of every pair; ``estimate``, ``se``, ``lower``, ``upper``.
    """
    kinds = {name: kind for name, kind in _kinds(fit).items() if kind != "effect"}
    table, rows = confint(fit, level, method=method, parameters=list(kinds), size=size, rng=rng), []
    for (name, kind), (estimate, se, *ends) in zip(kinds.items(), table.to_numpy(), strict=True):
        term = name.partition(" ")[2]
        term = f"Residual {term}".strip() if kind in ("sigma", "rho") else term
        if kind in ("sd", "sigma"):
            rows.append((term, "variance", estimate**2, 2 * estimate * se, *(end**2 for end in ends)))
        rows.append((term, "sd" if kind in ("sd", "sigma") else "correlation", estimate, se, *ends))
    frame = pd.DataFrame(rows, columns=["term", "quantity", "estimate", "se", "lower", "upper"])
    frame.attrs = table.attrs
    return frame


def _kinds(fit: ResidualFitted) -> dict[str, str]:
    """The parameters by name, each with its kind: "effect", "sd", "corr", "sigma" or "rho"."""
    return dict.fromkeys(fit.beta.index, "effect") | {name: form.kind for name, form in forms(fit).items()}


def _chosen(fit: ResidualFitted, parameters) -> dict[str, str]:
    kinds = _kinds(fit)
    wanted = list(kinds) if parameters is None else several("parameters", parameters)
    for name in wanted:
        if isinstance(name, str):
            require_kept(fit.design, name)
        if not isinstance(name, str) or name not in kinds:
            raise ParameterError(f"{shown(name)} is no parameter of this fit; they are {'; '.join(kinds)}")
    return {name: kind for name, kind in kinds.items() if name in wanted}


def _refitted(fit: ResidualFitted, size: int, rng) -> tuple[pd.DataFrame, dict]:
    """Parameters of the refits that did not fail, and how many did."""
    size, rng, rows, reasons = checked_count("size", size), generator(rng), [], []
    with progress_bar(size, "bootstrap", None) as update:
        for y in simulate(fit, size, rng).T:
            try:
                again = fit.again(y)
                if again.converged:
                    rows.append(all_parameters(again))
                else:
                    reasons.append(again.reason)
            except LmmError as error:
                reasons.append(str(error))
            update(1)
    if not rows:
        raise ParameterError(f"all {size} refits failed, the first with: {reasons[0]}; look at the model first")
    return pd.DataFrame(rows), {"failed": len(reasons)}


def _held(fit: ResidualFitted, name: str, kind: str) -> HeldEffect | HeldForm:
    """The model in which a parameter is held, of a fixed effect by ML."""
    if not fit.converged:
        raise DesignError(f"no {fit.method} fit to profile: {fit.reason}")
    return HeldEffect(fit.by_ml, list(fit.beta.index).index(name)) if kind == "effect" else HeldForm(fit, name)
