"""A Poisson fit as text, in the manner of lme4."""

from __future__ import annotations

import numpy as np

from lmmlib.common.text import brief, fixed, p, short
from lmmlib.design.dependent import left_out
from lmmlib.equations.moments import correlation
from lmmlib.glmm.fitted import FittedGlmm


def summary(fit: FittedGlmm) -> str:
    """The attributes of a Poisson fit as text.

    Parameters
    ----------
    fit : FittedGlmm

    Returns
    -------
    str
    """
    width = max(map(len, [*fit.D.index, "Random effects", *fit.beta.index]))
    lines = [*_head(fit), *_random(fit, width), *_fixed(fit, width)]
    lines += left_out(fit.design)
    if fit.is_singular:
        lines.append("D is singular: some combination of the random effects has variance zero")
    lines += fit.notes
    if not fit.converged:
        lines.append(f"not converged, so no standard errors: {fit.reason}")
    return "\n".join(lines)


def _head(fit: FittedGlmm) -> list[str]:
    how = "Laplace" if fit.method == "laplace" else f"adaptive quadrature, {fit.n_quadrature} nodes"
    d = fit.overdispersion()
    return [
        f"Poisson mixed model fit by maximum likelihood ({how}): {fit.formula}",
        f"log-likelihood {fixed(fit.loglik, 4)}, AIC {fixed(fit.aic, 4)}, "
        f"{fit.n_obs} observations in {fit.n_groups} groups",
        f"Pearson residuals: {fixed(d.pearson, 2)} on {fixed(d.df, 2)} df, ratio {fixed(d.ratio, 3)}",
    ]


def _random(fit: FittedGlmm, width: int) -> list[str]:
    r, correlated = correlation(fit.D.to_numpy()), len(fit.D) > 1 and not fit.design.diagonal
    lines = [f"  {'Random effects':<{width}}  {'variance':>12}  {'sd':>10}{'  corr' * correlated}"]
    for k, (name, v) in enumerate(zip(fit.D.index, np.diag(fit.D), strict=True)):
        row = " ".join(fixed(x, 3) for x in r[k, :k]) if correlated else ""
        lines.append(f"  {name:<{width}}  {brief(v):>12}  {brief(np.sqrt(v)):>10}  {row}".rstrip())
    return lines


def _fixed(fit: FittedGlmm, width: int) -> list[str]:
    lines = [f"  {'Fixed effects':<{width}}  {'estimate':>12}  {'se':>10}  {'z':>9}  {'p':>8}"]
    for name, row in fit.coefficients().iterrows():
        cells = [brief(row["estimate"]), brief(row["se"]), short(fixed(row["z"], 3), row["z"]), p(row["p"])]
        lines.append(
            "  ".join([f"  {name:<{width}}", *(f"{c:>{w}}" for c, w in zip(cells, (12, 10, 9, 8), strict=True))])
        )
    return lines
