"""A fit with several groupings as text, in the manner of lme4 and lmerTest."""

from __future__ import annotations

import numpy as np

from lmmlib.common.summary import Summary
from lmmlib.common.table import Table
from lmmlib.common.text import brief, fixed
from lmmlib.design.dependent import left_out
from lmmlib.equations.moments import correlation
from lmmlib.inference.effect_tables import WIDEST, correlation_table, fixed_table
from lmmlib.several.fitted import SeveralFitted
from lmmlib.several.predict import residuals


def summary(fit: SeveralFitted) -> Summary:
    """The attributes of a fit as text, HTML and LaTeX.

    Parameters
    ----------
    fit : SeveralFit

    Returns
    -------
    Summary
    """
    random = _random(fit)
    width = max(map(len, ["Fixed effects", *fit.beta.index]))
    tables = {"random": random, "fixed": fixed_table(fit, width)}
    if fit.converged and 1 < len(fit.beta) <= WIDEST:
        tables["correlations"] = correlation_table(fit, width)
    notes = left_out(fit.design)
    if fit.is_singular:
        singular = [term.grouping for t, term in enumerate(fit.terms.terms) if fit.singular_terms[t]]
        notes.append(f"singular: some combination of the random effects of {', '.join(singular)} has variance zero")
    if not fit.converged:
        notes.append(f"not converged, so no standard errors: {fit.reason}")
    reml, scaled = fit.method == "REML", residuals(fit, kind="scaled")
    groups = ", ".join(f"{n} groups of {name}" for name, n in fit.n_groups.items())
    low, *quartiles, high = (fixed(np.quantile(scaled, at), 4) for at in (0, 0.25, 0.5, 0.75, 1))
    head = (
        f"Linear mixed model fit by {'REML' if reml else 'maximum likelihood'}: {fit.formula}",
        f"{'REML criterion' if reml else 'deviance'} {fixed(fit.criterion, 4)}, {fit.n_obs} observations, {groups}",
        f"scaled residuals: min {low}, quartiles {' '.join(quartiles)}, max {high}",
    )
    return Summary(head, tables, tuple(notes))


def _random(fit: SeveralFitted) -> Table:
    """Variances, standard deviations and correlations by term."""
    rows: list[tuple[str, ...]] = []
    for t, term in enumerate(fit.terms.terms):
        D = fit.D[t].to_numpy()
        r = np.eye(len(D)) if term.design.diagonal else correlation(D)
        for k, name in enumerate(term.design.z_names):
            beside = "" if term.design.diagonal else " ".join(fixed(x, 3) for x in r[k, :k])
            rows.append((term.grouping if k == 0 else "", name, brief(D[k, k]), brief(np.sqrt(D[k, k])), beside))
    rows.append(("Residual", "", brief(fit.sigma2), brief(np.sqrt(fit.sigma2)), ""))
    columns: tuple[str, ...] = ("Random effects", "term", "variance", "sd", "corr")
    if not any(row[-1] for row in rows):
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    numeric = (False, False, True, True, False)[: len(columns)]
    return Table(columns, tuple(rows), numeric, widths=(14, 0, 12, 10))
