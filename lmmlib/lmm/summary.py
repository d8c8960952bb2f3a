"""A fit as text, in the manner of lme4 and lmerTest."""

from __future__ import annotations

import numpy as np

from lmmlib.common.summary import Summary
from lmmlib.common.table import Table
from lmmlib.common.text import brief, fixed
from lmmlib.design.dependent import left_out
from lmmlib.equations.moments import correlation
from lmmlib.equations.residuals import residuals
from lmmlib.errors import NoRowsError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.effect_tables import WIDEST, correlation_table, fixed_table

# From so many values on a quantile is looked for near that of some of them: four times as fast.
MANY = 100_000


def summary(fit: Fitted) -> Summary:
    """The attributes of a fit as text, HTML and LaTeX.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    Summary
    """
    width = max(map(len, [*fit.D.index, "Random effects", *fit.beta.index]))
    tables = {"random": _random(fit, width), "fixed": fixed_table(fit, width)}
    if fit.converged and 1 < len(fit.beta) <= WIDEST:
        tables["correlations"] = correlation_table(fit, width)
    notes = left_out(fit.design)
    if fit.is_singular:
        notes.append("D is singular: some combination of the random effects has variance zero")
    if not fit.converged:
        notes.append(f"not converged, so no standard errors: {fit.reason}")
    return Summary(tuple(_head(fit)), tables, tuple(notes))


def _head(fit: Fitted) -> list[str]:
    reml = fit.method == "REML"
    lines = [
        f"Linear mixed model fit by {'REML' if reml else 'maximum likelihood'}: {fit.formula}",
        f"{'REML criterion' if reml else 'deviance'} {fixed(fit.criterion, 4)}, "
        f"{fit.n_obs} observations in {fit.n_groups} groups{_known(fit)}",
    ]
    try:
        scaled = residuals(fit.design, fit.cross, *fit.estimates, kind="scaled")
    except NoRowsError:  # a fit from sums
        return lines
    quartiles = " ".join(fixed(quantile(scaled, at), 4) for at in (0.25, 0.5, 0.75))
    return [
        *lines,
        f"scaled residuals: min {fixed(scaled.min(), 4)}, quartiles {quartiles}, max {fixed(scaled.max(), 4)}",
    ]


def quantile(x: np.ndarray, at: float) -> float:
    """``np.quantile(x, at)``; of many values only those are put in order that lie near this quantile of some."""
    if len(x) < MANY:
        return float(np.quantile(x, at))
    some = np.sort(x[:: len(x) // 10_000])
    low, high = some[[max(int(at * len(some)) - 200, 0), min(int(at * len(some)) + 200, len(some) - 1)]]
    near = x[(x >= low) & (x <= high)]
    place = (at * (len(x) - 1) - np.count_nonzero(x < low)) / max(len(near) - 1, 1)
    return float(np.quantile(near, place) if 0 <= place <= 1 else np.quantile(x, at))


def _known(fit: Fitted) -> str:
    """Weights and offset, by their columns if they have any."""
    d = fit.design
    known = [("weights", d.weights, d.weights_column), ("offset", d.offset, d.offset_column)]
    return "".join(f", {name} {column or 'given'}" for name, values, column in known if values is not None)


def _random(fit: Fitted, width: int) -> Table:
    names, variances = [*fit.D.index, "Residual"], [*np.diag(fit.D.to_numpy()), fit.sigma2]
    correlated = len(fit.D) > 1 and not fit.design.diagonal
    r = correlation(fit.D.to_numpy()) if correlated else np.empty((0, 0))
    rows: list[tuple[str, ...]] = [
        (name, brief(v), brief(np.sqrt(v))) for name, v in zip(names, variances, strict=True)
    ]
    columns: tuple[str, ...] = ("Random effects", "variance", "sd")
    if correlated:
        beside = [" ".join(fixed(x, 3) for x in r[k, :k]) for k in range(len(r))]
        rows = [(*row, cell) for row, cell in zip(rows, [*beside, ""], strict=True)]
        columns = (*columns, "corr")
    numeric = (False, True, True, False)[: len(columns)]
    return Table(columns, tuple(rows), numeric, widths=(width, 12, 10))
