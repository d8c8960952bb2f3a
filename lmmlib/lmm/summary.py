"""A fit as text, in the manner of lme4 and lmerTest."""

from __future__ import annotations

import numpy as np

from lmmlib.common.text import brief, fixed, p, short
from lmmlib.design.dependent import left_out
from lmmlib.equations.moments import correlation
from lmmlib.equations.residuals import residuals
from lmmlib.errors import DesignError, NoRowsError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.contrasts import coefficients

# With more fixed effects than this their correlations are left out.
WIDEST = 8


def summary(fit: Fitted) -> str:
    """The attributes of a fit as text.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    str
    """
    width = max(map(len, [*fit.D.index, "Random effects", *fit.beta.index]))
    lines = [*_head(fit), *_random(fit, width), *_fixed(fit, width), *_correlations(fit, width)]
    lines += left_out(fit.design)
    if fit.is_singular:
        lines.append("D is singular: some combination of the random effects has variance zero")
    if not fit.converged:
        lines.append(f"not converged, so no standard errors: {fit.reason}")
    return "\n".join(lines)


def _head(fit: Fitted) -> list[str]:
    reml = fit.method == "REML"
    lines = [
        f"Linear mixed model fit by {'REML' if reml else 'maximum likelihood'}: {fit.formula}",
        f"{'REML criterion' if reml else 'deviance'} {fixed(fit.criterion, 4)}, "
        f"{fit.n_obs} observations in {fit.n_groups} groups{_known(fit)}",
    ]
    try:
        scaled = residuals(fit.design, fit.cross, *fit.estimates, kind="scaled")
        low, *middle, high = np.quantile(scaled, [0, 0.25, 0.5, 0.75, 1])
    except NoRowsError:  # a fit from sums
        return lines
    quartiles = " ".join(fixed(r, 4) for r in middle)
    return [*lines, f"scaled residuals: min {fixed(low, 4)}, quartiles {quartiles}, max {fixed(high, 4)}"]


def _known(fit: Fitted) -> str:
    """Weights and offset, by their columns if they have any."""
    d = fit.design
    known = [("weights", d.weights, d.weights_column), ("offset", d.offset, d.offset_column)]
    return "".join(f", {name} {column or 'given'}" for name, values, column in known if values is not None)


def _random(fit: Fitted, width: int) -> list[str]:
    names, variances = [*fit.D.index, "Residual"], [*np.diag(fit.D), fit.sigma2]
    r, correlated = correlation(fit.D.to_numpy()), len(fit.D) > 1 and not fit.design.diagonal
    lines = [f"  {'Random effects':<{width}}  {'variance':>12}  {'sd':>10}{'  corr' * correlated}"]
    for k, (name, v) in enumerate(zip(names, variances, strict=True)):
        row = [fixed(x, 3) for x in r[k, :k]] if correlated and k < len(fit.D) else []
        sizes = f"{brief(v):>12}  {brief(np.sqrt(v)):>10}"
        lines.append(f"  {name:<{width}}  {sizes}  {' '.join(row)}".rstrip())
    return lines


def _fixed(fit: Fitted, width: int) -> list[str]:
    try:
        table = coefficients(fit)
    except DesignError:  # there are no df; fit.coefficients() says why
        table = coefficients(fit, "z").assign(df=np.nan, p=np.nan)
    with_df = fit.method == "REML"
    head = ["estimate", "se", *(["df", "t", "p"] if with_df else ["z", "p"])]
    widths = [12, 10, *([9] if with_df else []), 9, 8]
    lines = ["  ".join([f"  {'Fixed effects':<{width}}", *(f"{h:>{w}}" for h, w in zip(head, widths, strict=True))])]
    for name, row in table.iterrows():
        cells = [brief(row["estimate"]), brief(row["se"])]
        cells += [fixed(row["df"], 2)] if with_df else []
        cells += [short(fixed(row["t"], 3), row["t"]), p(row["p"])]
        cells = (f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))
        lines.append("  ".join([f"  {name:<{width}}", *cells]))
    return lines


def _correlations(fit: Fitted, width: int) -> list[str]:
    names = list(fit.beta.index)
    if not fit.converged or not 1 < len(names) <= WIDEST:
        return []
    r, short = correlation(fit.cov_beta.to_numpy()), [name[:11] for name in names[:-1]]
    lines = ["  ".join([f"  {'Correlations':<{width}}", *(f"{s:>11}" for s in short)])]
    for k in range(1, len(names)):
        lines.append("  ".join([f"  {names[k]:<{width}}", *(f"{fixed(x, 3):>11}" for x in r[k, :k])]))
    return lines
