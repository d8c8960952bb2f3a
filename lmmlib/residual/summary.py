"""A fit with a residual covariance as text, and its residual covariance as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice
from lmmlib.common.summary import Summary
from lmmlib.common.table import Table
from lmmlib.common.text import brief, fixed
from lmmlib.design.dependent import left_out
from lmmlib.equations.moments import correlation
from lmmlib.inference.effect_tables import WIDEST, correlation_table, fixed_table
from lmmlib.residual.fitted import ResidualFitted


def residual_covariance(fit: ResidualFitted, *, kind: str = "covariance") -> pd.DataFrame:
    """R of all visits, for each level of ``by`` one.

    Parameters
    ----------
    fit : ResidualFit
    kind : {"covariance", "correlation"}

    Returns
    -------
    DataFrame
        A row and a column for each visit; with ``by`` its level comes first in the index. Where a group has some of
        the visits, its R are these rows and columns.
    """
    checked_choice("kind", kind, ("covariance", "correlation"))
    visits, parts = fit.model.visits, []
    names = list(fit.residual.visits) or ["residual"]
    levels = visits.levels if fit.residual.visits else (("all",),)
    columns = pd.MultiIndex.from_tuples(levels, names=names)
    columns = columns if len(names) > 1 else columns.get_level_values(0)
    for R in fit.R():
        values = correlation(R) if kind == "correlation" else R
        parts.append(pd.DataFrame(values, columns, columns))
    if not fit.residual.by:
        return parts[0]
    keys = [cell if len(cell) > 1 else cell[0] for cell in visits.cells]
    return pd.concat(parts, keys=keys, names=list(fit.residual.by))


def summary(fit: ResidualFitted) -> Summary:
    """The attributes of a fit as text, HTML and LaTeX."""
    visits = fit.model.visits
    cells = [", ".join(map(str, cell)) for cell in visits.cells]
    labels = [visits.label(k) or "all" for k in range(len(visits.levels))]
    width = max(
        map(len, [*fit.D.index, "Random effects", *fit.beta.index, *(f"{c}: {v}" for c in cells for v in labels)])
    )
    tables = {}
    if len(fit.D):
        tables["random"] = _square("Random effects", list(fit.D.index), [fit.D.to_numpy()], width, fit.design.diagonal)
    names = [f"{cell}: {label}" if cell else label for cell in cells for label in labels]
    tables["residual"] = _square("Residuals", names, list(fit.R()), width, fit.residual.is_diagonal)
    tables["fixed"] = fixed_table(fit, width)
    if fit.converged and 1 < len(fit.beta) <= WIDEST:
        tables["correlations"] = correlation_table(fit, width)
    notes = left_out(fit.design)
    if fit.is_singular:
        notes.append("D or R is singular: some combination of effects or residuals has variance zero")
    if not fit.converged:
        notes.append(f"not converged, so no standard errors: {fit.reason}")
    reml = fit.method == "REML"
    head = (
        f"Linear mixed model fit by {'REML' if reml else 'maximum likelihood'}: {fit.formula}",
        f"residual covariance: {fit.residual!r}",
        f"{'REML criterion' if reml else 'deviance'} {fixed(fit.criterion, 4)}, "
        f"{fit.n_obs} observations in {fit.n_groups} groups",
    )
    return Summary(head, tables, tuple(notes))


def _square(title: str, names: list[str], matrices: list[np.ndarray], width: int, diagonal: bool) -> Table:
    """Variances, standard deviations and, below the diagonal, correlations."""
    rows: list[tuple[str, ...]] = []
    for M in matrices:
        r = correlation(M)
        for k, variance in enumerate(np.diag(M)):
            row = names[len(rows)], brief(variance), brief(np.sqrt(variance))
            rows.append(row if diagonal or len(M) == 1 else (*row, " ".join(fixed(x, 3) for x in r[k, :k])))
    columns = (title, "variance", "sd", "corr")[: len(rows[0])]
    return Table(columns, tuple(rows), (False, True, True, False)[: len(columns)], widths=(width, 12, 10))
