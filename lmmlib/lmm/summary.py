"""A fit as text, in the manner of lme4 and lmerTest."""

from __future__ import annotations

from contextlib import suppress

from lmmlib.common.summary import Summary
from lmmlib.common.text import brief
from lmmlib.equations.residuals import residuals
from lmmlib.errors import NoRowsError
from lmmlib.fitting.fitted import Fitted
from lmmlib.fitting.summary import variance_rows, variance_table, width_of
from lmmlib.inference.effect_tables import linear_summary


def summary(fit: Fitted) -> Summary:
    """The attributes of a fit as text, HTML and LaTeX.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    Summary
    """
    width, scaled = width_of(fit, *fit.D.index), None
    rows = variance_rows(fit.D.index, fit.D.to_numpy(), fit.design.diagonal)
    rows.append(("Residual", brief(fit.sigma2), brief(fit.sigma2**0.5), ""))
    with suppress(NoRowsError):  # a fit from sums
        scaled = residuals(fit.design, fit.cross, *fit.estimates, kind="scaled")
    return linear_summary(
        fit,
        {"random": variance_table(("Random effects",), rows, width)},
        width,
        groups=f" in {fit.n_groups} groups",
        singular="D is singular: some combination of the random effects has variance zero",
        scaled=scaled,
    )
