r"""The parameters of a fit with several groupings: their names, covariance and intervals.

They are the fixed effects under their names, ``sd (Intercept) | plate``, ``corr (Intercept), x | subject`` and
``sigma``. The covariance of standard deviations and correlations is by the delta method from the observed information.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

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
from lmmlib.equations.limits import normal_limits, slopes
from lmmlib.errors import DesignError, ParameterError
from lmmlib.inference.contrasts import fixed_effects
from lmmlib.inference.profile import reach
from lmmlib.several.fitted import SeveralFitted, Variances, refitted
from lmmlib.several.held import held
from lmmlib.several.predict import pieces, simulate
from lmmlib.several.terms import SeveralDesign

METHODS = ("profile", "wald", "bootstrap")


def kinds_of(design: SeveralDesign) -> dict[str, tuple]:
    """Every parameter by name: ("effect", j), ("sd", t, a), ("corr", t, a, b) of the term t, or ("sigma",)."""
    found: dict[str, tuple] = {name: ("effect", j) for j, name in enumerate(design.fixed.x_names)}
    for t, term in enumerate(design.terms):
        z, of = term.design.z_names, term.grouping
        found |= {f"sd {name} | {of}": ("sd", t, a) for a, name in enumerate(z)}
        if not term.design.diagonal:
            pairs = [(a, b) for a in range(len(z)) for b in range(a + 1, len(z))]
            found |= {f"corr {z[a]}, {z[b]} | {of}": ("corr", t, a, b) for a, b in pairs}
    return found | {"sigma": ("sigma",)}


def chosen(fit: SeveralFitted, names) -> dict[str, tuple]:
    """The named parameters, all by default."""
    kinds = kinds_of(fit.terms)
    if names is None:
        return kinds
    wanted = several("parameters", names)
    for name in wanted:
        if not isinstance(name, str) or name not in kinds:
            raise ParameterError(f"{shown(name)} is no parameter of this fit; they are {'; '.join(kinds)}")
    return {name: kind for name, kind in kinds.items() if name in wanted}


def _value(fit: SeveralFitted, kind: str, *at: int) -> float:
    if kind == "effect":
        return float(fit.beta.iloc[at[0]])
    if kind == "sigma":
        return float(np.sqrt(fit.sigma2))
    D = fit.D[at[0]].to_numpy()
    if kind == "sd":
        return float(np.sqrt(D[at[1], at[1]]))
    product = D[at[1], at[1]] * D[at[2], at[2]]
    return float(np.clip(D[at[1], at[2]] / np.sqrt(product), -1, 1)) if product > 0 else np.nan


def values(fit: SeveralFitted, kinds: dict[str, tuple]) -> pd.Series:
    """The estimates of parameters; a correlation with a standard deviation of zero does not exist: NaN."""
    return pd.Series({name: _value(fit, *kind) for name, kind in kinds.items()}, dtype=float)


def cov_parameters(fit: SeveralFitted) -> pd.DataFrame:
    """Covariance of the estimates of all parameters; NaN for those of a D that is singular, and the other variances.

    Parameters
    ----------
    fit : SeveralFit

    Returns
    -------
    DataFrame
    """
    names, terms = list(kinds_of(fit.terms)), fit.terms.terms
    sizes = [len(term.design.z_names) for term in terms]
    n = len(names) - len(fit.beta)
    try:
        A = None if fit.is_singular else Variances(fit.state, fit.sigma2, "observed").A
    except DesignError:
        A = None
    if A is None:
        cov = np.full((n, n), np.nan)
    else:
        ends = np.cumsum([0, *(q * q for q in sizes)])
        change = np.zeros((ends[-1] + 1, len(A)))
        change[-1, -1] = 1.0
        for g, at in zip(fit.state.sums.groupings, fit.state.sums.theta_places, strict=True):
            for number, basis, columns, part in zip(g.numbers, g.bases, g.slices, g.parts, strict=True):
                E = basis.D_back(g.E[part, columns, columns])
                rows = slice(ends[number], ends[number + 1])
                change[rows, at.start + part.start : at.start + part.stop] = E.reshape(len(E), -1).T
        J = np.zeros((n, ends[-1] + 1))
        others = list(kinds_of(fit.terms).values())[len(fit.beta) :]
        for row, (kind, *at_) in zip(J, others, strict=True):
            if kind == "sigma":
                row[-1] = 1 / (2 * np.sqrt(fit.sigma2))
            else:
                own = slopes([(kind, *at_[1:])], fit.D[at_[0]].to_numpy(), fit.sigma2)[0, :-1]
                row[ends[at_[0]] : ends[at_[0] + 1]] = own
        J = J @ change
        cov = J @ A @ J.T
    return pd.DataFrame(block_diag(fit.cov_beta.to_numpy(), cov), names, names)


def confint(
    fit: SeveralFitted, level: float = 0.95, *, method: str = "profile", parameters=None, size: int = 1000, rng=None
) -> pd.DataFrame:
    """Confidence intervals of parameters, as :func:`lmmlib.inference.intervals.confint` has them.

    Parameters
    ----------
    fit : SeveralFit
    level : float
        Coverage of each interval by itself.
    method : {"profile", "wald", "bootstrap"}
    parameters : str or list of str, optional
        Names that :meth:`lmmlib.several.fit.SeveralFit.parameters` lists; by default all.
    size : int
        Bootstrap samples.
    rng : numpy.random.Generator or int
        For the bootstrap; a whole number is a seed.

    Returns
    -------
    DataFrame
        Indexed by parameter: ``estimate``, ``se``, ``lower``, ``upper``. Limits of fixed effects by profile are those
        of maximum likelihood.

    Raises
    ------
    ParameterError
        If the method, the level or a name is unknown, the bootstrap has no generator, or no refit succeeds.
    """
    checked_choice("method", method, METHODS)
    level, kinds = checked_level(level), chosen(fit, parameters)
    estimate, attrs = values(fit, kinds), {}
    if method == "bootstrap":
        draws = pd.DataFrame([values(one, kinds) for one in refits(fit, size, rng) if one.converged])
        if not len(draws):
            raise ParameterError(f"all {size} refits failed; look at the model first")
        attrs = {"failed": size - len(draws)}
        ends = [draws.quantile(p) for p in ((1 - level) / 2, (1 + level) / 2)]
        frame = pd.DataFrame({"estimate": estimate, "se": draws.std(), "lower": ends[0], "upper": ends[1]})
    else:
        se = pd.Series(standard_deviations(cov_parameters(fit), "the parameters"), list(kinds_of(fit.terms)))[
            list(kinds)
        ]
        frame = normal_limits(estimate, se, level, [kind for kind, *_ in kinds.values()])
        if method == "wald":
            if effects := [name for name, (kind, *_) in kinds.items() if kind == "effect"]:
                frame.loc[effects, ["lower", "upper"]] = fixed_effects(fit, level)
        else:
            root = half_width(level)
            for name, kind in kinds.items():
                model = held(fit, kind, estimate[name], se[name])
                frame.loc[name, ["lower", "upper"]] = [reach(model, -root), reach(model, root)]
    frame.attrs = attrs
    return frame.rename_axis("parameter")


def refits(fit: SeveralFitted, size: int, rng) -> list[SeveralFitted]:
    """Fits of the same model to responses that it simulates."""
    size, rng, found = checked_count("size", size), generator(rng), []
    with progress_bar(size, "bootstrap", None) as update:
        for many in pieces(size):
            Y = simulate(fit, many, rng=rng)
            found += [refitted(fit, y) for y in Y.T]
            update(Y.shape[1])
    return found


def variance_components(
    fit: SeveralFitted, level: float = 0.95, *, method: str = "profile", size: int = 1000, rng=None
) -> pd.DataFrame:
    """The random part of a fit, with confidence intervals.

    Parameters
    ----------
    fit : SeveralFit
    level, method, size, rng
        As :func:`confint` takes them.

    Returns
    -------
    DataFrame
        A row for the ``quantity`` "variance", "sd" and "correlation" of each term of each grouping, and of the
        residual: ``grouping``, ``term``, ``quantity``, ``estimate``, ``se``, ``lower``, ``upper``.
    """
    kinds = {name: kind for name, kind in kinds_of(fit.terms).items() if kind[0] != "effect"}
    table = confint(fit, level, method=method, parameters=list(kinds), size=size, rng=rng)
    rows = []
    for (name, (kind, *at)), (estimate, se, *ends) in zip(kinds.items(), table.to_numpy(), strict=True):
        of = fit.terms.terms[at[0]].grouping if at else ""
        term = name.partition(" ")[2].removesuffix(f" | {of}") if at else "Residual"
        if kind != "corr":
            rows.append((of, term, "variance", estimate**2, 2 * estimate * se, *(end**2 for end in ends)))
        rows.append((of, term, "correlation" if kind == "corr" else "sd", estimate, se, *ends))
    columns = ["grouping", "term", "quantity", "estimate", "se", "lower", "upper"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.attrs = table.attrs
    return frame
