"""A fit with a residual covariance as text, and its residual covariance as a table."""

from __future__ import annotations

import pandas as pd

from lmmlib.common.arguments import checked_choice
from lmmlib.common.summary import Summary
from lmmlib.equations.moments import correlation
from lmmlib.fitting.summary import variance_rows, variance_table, width_of
from lmmlib.inference.effect_tables import linear_summary
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
    visits, tables = fit.model.visits, {}
    cells = [", ".join(map(str, cell)) for cell in visits.cells]
    labels = [visits.label(k) or "all" for k in range(len(visits.levels))]
    parts = [[f"{cell}: {label}" if cell else label for label in labels] for cell in cells]
    width = width_of(fit, *fit.D.index, *sum(parts, []))
    if len(fit.D):
        rows = variance_rows(fit.D.index, fit.D.to_numpy(), fit.design.diagonal)
        tables["random"] = variance_table(("Random effects",), rows, width)
    pairs = zip(parts, fit.R(), strict=True)
    rows = [row for names, R in pairs for row in variance_rows(names, R, fit.residual.is_diagonal)]
    tables["residual"] = variance_table(("Residuals",), rows, width)
    return linear_summary(
        fit,
        tables,
        width,
        about=(f"residual covariance: {fit.residual!r}",),
        groups=f" in {fit.n_groups} groups",
        singular="D or R is singular: some combination of effects or residuals has variance zero",
    )
