"""A fit with several groupings as text, in the manner of lme4 and lmerTest."""

from __future__ import annotations

from lmmlib.common.summary import Summary
from lmmlib.common.text import brief
from lmmlib.fitting.summary import variance_rows, variance_table
from lmmlib.inference.effect_tables import linear_summary
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
    rows: list[tuple[str, ...]] = []
    for t, term in enumerate(fit.terms.terms):
        own = variance_rows(term.design.z_names, fit.D[t].to_numpy(), term.design.diagonal)
        rows += [(term.grouping if k == 0 else "", *row) for k, row in enumerate(own)]
    rows.append(("Residual", "", brief(fit.sigma2), brief(fit.sigma2**0.5), ""))
    of = ", ".join(term.grouping for t, term in enumerate(fit.terms.terms) if fit.singular_terms[t])
    return linear_summary(
        fit,
        {"random": variance_table(("Random effects", "term"), rows, 14)},
        max(map(len, ["Fixed effects", *fit.beta.index])),
        groups=f", {', '.join(f'{n} groups of {name}' for name, n in fit.n_groups.items())}",
        singular=f"singular: some combination of the random effects of {of} has variance zero",
        scaled=residuals(fit, kind="scaled"),
    )
