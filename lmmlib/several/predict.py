r"""Fitted values, predictions for new rows and new responses of a fit with several groupings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from lmmlib.common.arguments import checked_choice, checked_count, checked_level, generator
from lmmlib.common.small import semidefinite_cholesky
from lmmlib.common.tails import half_width
from lmmlib.design.formula import fixed_matrix, require_columns
from lmmlib.design.known import of_new_rows
from lmmlib.design.new_rows import new_rows
from lmmlib.equations.residuals import NOTHING
from lmmlib.several.effects import as_weights, effect_rows, error_variances, estimation_variances, predictions, rest_of
from lmmlib.several.fitted import SeveralFitted
from lmmlib.several.terms import with_cells

OPTIONS = {
    "of": ("group", "typical", "population"),
    "new_groups": ("population", "error"),
    "interval": (None, "confidence", "prediction"),
    "method": ("plugin", "corrected"),
}
KINDS = ("response", "scaled", "standardised")


def fitted_values(fit: SeveralFitted, *, of: str = "group") -> np.ndarray:
    """X beta, with all random effects for ``of="group"``, and the offset, (n_obs,)."""
    checked_choice("of", of, OPTIONS["of"])
    design, sums = fit.design, fit.state.sums
    mean = design.X @ fit.beta.to_numpy()
    if of == "group":
        pairs = zip(sums.groupings, predictions(fit.state), strict=True)
        mean = mean + sum(g.columns @ b[:, 0] for g, b in pairs) * np.sqrt(design.residual_variances)
    return mean if design.offset is None else mean + design.offset


def residuals(fit: SeveralFitted, *, of: str = "group", kind: str = "response") -> np.ndarray:
    r"""Response less fitted value, (n_obs,), as it is, scaled or standardised.

    Scaled ones are divided by sigma, and times the root of the weight. Standardised ones are divided by the roots of
    their own variances, equation :eq:`residual-covariances` of the book: of the groups' own, with T all columns of X
    and Z and C the coefficients of the mixed model equations, :math:`\sigma^2(1 - t'C^{-1}t)`; NaN where nothing is
    left of one.
    """
    checked_choice("kind", kind, KINDS)
    rest, design = fit.design.y - fitted_values(fit, of=of), fit.design
    if kind == "response":
        return rest
    if kind == "scaled":
        return rest / np.sqrt(fit.sigma2 * design.residual_variances)
    if of == "group":
        return standardised(fit, design.y[:, None])[:, 0]
    V = fit.sigma2 * design.residual_variances
    for g, D in zip(fit.state.sums.groupings, fit.state.D, strict=True):
        among = 1.0 if g.known is None else np.diag(g.known.A)[g.codes]
        V = V + fit.sigma2 * design.residual_variances * among * np.einsum("ra,ab,rb->r", g.Z, D, g.Z)
    left = V - np.einsum("rx,xy,ry->r", design.X, fit.cov_beta.to_numpy(), design.X)
    return rest / np.sqrt(np.where(left > NOTHING * V, left, np.nan))


def standardised(fit: SeveralFitted, Y: np.ndarray) -> np.ndarray:
    """Standardised conditional residuals of responses (n_obs, B), the variances held, beta estimated anew."""
    state = fit.state
    left = 1 - error_variances(state, state.sums.first.columns, state.sums.W)
    left = np.where(left > NOTHING, left, np.nan)
    return rest_of(state, fit.design.standard_rows(Y)[0]) / np.sqrt(fit.sigma2 * left)[:, None]


def simulate(fit: SeveralFitted, size: int | None = None, *, rng: np.random.Generator | int) -> np.ndarray:
    """New responses from the fitted model, (n_obs,) or (n_obs, size): new random effects, new errors."""
    rng, count, design = generator(rng), 1 if size is None else checked_count("size", size), fit.design
    y = np.repeat((design.X @ fit.beta.to_numpy())[:, None], count, axis=1)
    for t, term in enumerate(fit.terms.terms):
        one, known = term.design, fit.terms.known.get(term.grouping)
        g = next(g for g in fit.state.sums.groupings if g.name == term.grouping)
        L, white = semidefinite_cholesky(fit.D[t].to_numpy()), rng.standard_normal((g.n, one.Z.shape[1], count))
        b = np.einsum("jk,gkc->gjc", L, white)
        b = b if known is None else np.tensordot(np.linalg.cholesky(known.A), b, 1)
        y += np.einsum("rq,rqc->rc", one.Z, b[g.codes])
    y += np.sqrt(fit.sigma2 * design.residual_variances)[:, None] * rng.standard_normal(y.shape)
    y += 0.0 if design.offset is None else design.offset[:, None]
    return y[:, 0] if size is None else y


def predict(
    fit: SeveralFitted,
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
    r"""Predictions for new rows, with intervals for their means or for new observations.

    .. math:: x'\hat\beta + \sum_tz_t'\hat b_t

    Equation :eq:`several-prediction` of the book, with the error variance of :mod:`lmmlib.several.effects`. A group
    that the fit has not seen is predicted by zero, and adds :math:`z_t'D_tz_t`; the other groupings of the row keep
    what is known of them.

    Parameters
    ----------
    fit : SeveralFit
    new : DataFrame
        The columns of the formula but for the response; those of the groupings for ``of="group"`` alone.
    of : {"group", "typical", "population"}
        Of each row's own groups; with all random effects zero, or the mean of the population, which are the same here.
    new_groups : {"population", "error"}
        What to do, for ``of="group"``, with groups that the fit has not seen.
    interval : {"confidence", "prediction"}, optional
        For the mean, or for a new observation, which adds sigma2 (over its weight), and for the population
        :math:`z_t'D_tz_t` of all terms.
    method : {"plugin", "corrected"}
        Errors for known variances; or with what their estimation adds, twice
        :func:`lmmlib.several.effects.estimation_variances`, as in :eq:`prasad-rao`.
    level : float
        Coverage of each interval by itself.
    weights, offset : str, Series or array, optional
        Weights and offset of the new rows: by default the columns that the fit had.

    Returns
    -------
    DataFrame
        Indexed as ``new``: ``estimate``; ``se``; ``lower`` and ``upper`` if an interval is asked for; for each grouping
        whether its group is known, ``known_plate`` and so on.

    Raises
    ------
    DataError
        If a column is missing or has missing, infinite or unknown values, or a group is unknown and
        ``new_groups="error"``.
    ParameterError
        If an option is unknown.
    """
    for name, value in (("of", of), ("new_groups", new_groups), ("interval", interval), ("method", method)):
        checked_choice(name, value, OPTIONS[name])
    level, state, X = checked_level(level), fit.state, fixed_matrix(fit.design, new)
    rows = [sparse.csr_array((len(X), g.n * g.q)) for g in state.sums.groupings]
    noise, seen = np.zeros(len(X)), {}
    for j, g in enumerate(state.sums.groupings):
        for number, basis, columns in zip(g.numbers, g.bases, g.slices, strict=True):
            term = fit.terms.terms[number]
            if of == "group":
                require_columns(list(term.columns), new, fit.formula)
            design = replace(term.design, group=g.codes, group_names=g.names)
            there = set(term.columns) <= set(new.columns)
            own = new_rows(design, with_cells(new, term.columns) if there else new, of, new_groups)
            seen[number] = own.group >= 0
            group = own.group if of == "group" else np.full(len(X), -1)
            rows[j] = rows[j] + effect_rows(g, columns, basis.z_work(own.Z), group)
            if interval == "prediction" or of == "group":
                D = fit.D[number].to_numpy()
                noise += np.where(group < 0, np.einsum("ra,ab,rb->r", own.Z, D, own.Z), 0.0)
    estimate = X @ fit.beta.to_numpy()
    estimate = estimate + sum(row @ b[:, 0] for row, b in zip(rows, predictions(state), strict=True))
    shift = of_new_rows(fit.design, "offset", offset, new)
    estimate = estimate if shift is None else estimate + shift
    if interval == "prediction":
        known = of_new_rows(fit.design, "weights", weights, new)
        noise += fit.sigma2 if known is None else fit.sigma2 / known
    about = as_weights(state, rows, X)
    variance = error_variances(state, *about)
    if method == "corrected":
        variance += 2 * estimation_variances(fit, *about)
    se = np.sqrt(noise + fit.sigma2 * variance)
    ends = half_width(level) * se
    limits = {} if interval is None else {"lower": estimate - ends, "upper": estimate + ends}
    known_groups = {f"known_{fit.terms.terms[t].grouping}": seen[t] for t in sorted(seen)}
    return pd.DataFrame({"estimate": estimate, "se": se, **limits, **known_groups}, new.index)
