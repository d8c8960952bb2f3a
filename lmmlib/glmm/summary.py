"""A fit of a generalised linear mixed model in lines and tables, in the manner of lme4."""

from __future__ import annotations

import numpy as np

from lmmlib.common.summary import Summary
from lmmlib.common.table import Table, written
from lmmlib.common.text import brief, fixed, p, short
from lmmlib.design.dependent import left_out
from lmmlib.equations.moments import correlation
from lmmlib.glmm.dispersion import pearson_statistic
from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.glmm.intervals import fixed_effects


def summary(fit: FittedGlmm) -> Summary:
    """The attributes of a fit as text, HTML and LaTeX."""
    width = max(map(len, [*fit.D.index, "Random effects", *fit.beta.index]))
    notes = left_out(fit.design)
    if fit.is_singular:
        notes.append("D is singular: some combination of the random effects has variance zero")
    notes += fit.notes
    if not fit.converged:
        notes.append(f"not converged, so no standard errors: {fit.reason}")
    return Summary(_head(fit), {"random": _random(fit, width), "fixed": _fixed(fit, width)}, tuple(notes))


def _head(fit: FittedGlmm) -> tuple[str, ...]:
    how = f"adaptive quadrature, {fit.n_quadrature} nodes" if fit.method == "aghq" else "Laplace"
    by = "REML" if fit.method == "REML" else "maximum likelihood"
    lines = [
        f"{fit.rows.family.title} mixed model fit by {by} ({how}): {fit.formula}",
        f"log-likelihood {fixed(fit.loglik, 4)}, AIC {fixed(fit.aic, 4)}, "
        f"{fit.n_obs} observations in {fit.n_groups} groups",
    ]
    if fit.rows.family.dispersed:
        d = pearson_statistic(fit)
        lines.append(f"Pearson residuals: {fixed(d.pearson, 2)} on {fixed(d.df, 2)} df, ratio {fixed(d.ratio, 3)}")
    return tuple(lines)


def _random(fit: FittedGlmm, width: int) -> Table:
    columns: tuple[str, ...] = ("Random effects", "variance", "sd")
    rows: list[tuple[str, ...]] = [
        (name, brief(v), brief(np.sqrt(v))) for name, v in zip(fit.D.index, np.diag(fit.D.to_numpy()), strict=True)
    ]
    if len(fit.D) > 1 and not fit.design.diagonal:
        columns, r = (*columns, "corr"), correlation(fit.D.to_numpy())
        rows = [(*row, " ".join(fixed(x, 3) for x in r[k, :k])) for k, row in enumerate(rows)]
    return Table(columns, tuple(rows), (False, True, True, False)[: len(columns)], widths=(width, 12, 10))


def _fixed(fit: FittedGlmm, width: int) -> Table:
    shown = {"estimate": brief, "se": brief, "z": lambda z: short(fixed(z, 3), z), "p": p}
    rows = written(fixed_effects(fit), shown.values())
    return Table(("Fixed effects", *shown), rows, (False, *[True] * 4), widths=(width, 12, 10, 9, 8))
