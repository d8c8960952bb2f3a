"""A fit of a generalised linear mixed model in lines and tables, in the manner of lme4."""

from __future__ import annotations

from lmmlib.common.summary import Summary
from lmmlib.common.table import Table, written
from lmmlib.common.text import brief, fixed, p, short
from lmmlib.fitting.summary import notes, variance_rows, variance_table, width_of
from lmmlib.glmm.dispersion import pearson_statistic
from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.glmm.intervals import fixed_effects


def summary(fit: FittedGlmm) -> Summary:
    """The attributes of a fit as text, HTML and LaTeX."""
    width, rows = width_of(fit, *fit.D.index), variance_rows(fit.D.index, fit.D.to_numpy(), fit.design.diagonal)
    tables = {"random": variance_table(("Random effects",), rows, width), "fixed": _fixed(fit, width)}
    singular = "D is singular: some combination of the random effects has variance zero"
    return Summary(_head(fit), tables, notes(fit, singular, fit.notes))


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


def _fixed(fit: FittedGlmm, width: int) -> Table:
    shown = {"estimate": brief, "se": brief, "z": lambda z: short(fixed(z, 3), z), "p": p}
    rows = written(fixed_effects(fit), shown.values())
    return Table(("Fixed effects", *shown), rows, (False, *[True] * 4), widths=(width, 12, 10, 9, 8))
