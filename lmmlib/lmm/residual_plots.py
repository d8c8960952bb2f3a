"""Residuals of a fit as pictures: what each of its assumptions would look like if it were wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from lmmlib.common.arguments import checked_count, generator
from lmmlib.design.cross import cross_products
from lmmlib.equations import drawing, generalised_least_squares, residuals
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.influence import influence

# Groups that the last panel names.
NAMED = 3


def plot_residuals(fit: Fitted, *, size: int = 199, rng) -> Any:
    r"""Four panels of standardised residuals, equation :eq:`residual-covariances` of the book.

    Marginal ones against the population's mean (is the mean right?), conditional ones against the fitted values (is the
    variance the same everywhere?), their normal Q-Q plot with an envelope, and Cook's distance of each group,
    :func:`lmmlib.inference.influence.influence`.

    Parameters
    ----------
    fit : Fit
    size : int
        Responses that are simulated for the envelope, pointwise 95 %; D and sigma2 are held, beta is estimated anew.
    rng : Generator or int

    Returns
    -------
    matplotlib Figure
    """
    import matplotlib.pyplot as plt

    design, arguments = fit.design, (fit.design, fit.cross, *fit.estimates)
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 7.0), layout="constrained")
    titles = {"population": "marginal residuals", "group": "conditional residuals"}
    for ax, (of, title) in zip(axes[0], titles.items(), strict=True):
        found = residuals.residuals(*arguments, of=of, kind="standardised")
        ax.axhline(0.0, color="black", linewidth=0.8)
        ax.plot(residuals.fitted(*arguments, of=of), found, "o", markersize=3, alpha=0.5)
        ax.set(title=title, xlabel="fitted value", ylabel="standardised residual")
    lower, upper = envelope(fit, size, rng)
    found = found[~np.isnan(found)]
    normal = ndtri((np.arange(len(found)) + 0.5) / len(found))
    axes[1, 0].fill_between(normal, lower, upper, color="0.8")
    axes[1, 0].plot(normal, np.sort(found), "o", markersize=3, alpha=0.5)
    axes[1, 0].set(title="Q-Q plot, 95 % envelope", xlabel="normal quantile", ylabel="conditional residual")
    cook = influence(fit)["cook"]
    axes[1, 1].vlines(range(len(cook)), 0, cook)
    for name in cook.nlargest(NAMED).index:
        axes[1, 1].annotate(str(name), (cook.index.get_loc(name), cook[name]), ha="center", va="bottom")
    axes[1, 1].set(title="groups left out", xlabel=design.grouping, ylabel="Cook's distance", xticks=[])
    return figure


def envelope(fit: Fitted, size: int, rng) -> np.ndarray:
    """Pointwise 95 % of the sorted standardised conditional residuals of responses from the fit, (2, rows).

    Without the rows that have none, because the mean fits them whatever their response.
    """
    design, (_, D, sigma2) = fit.design, fit.estimates
    spread, found = residuals.standard_errors(design, fit.cross, D, sigma2), []
    for y in drawing.lmm(design, *fit.estimates, generator(rng), checked_count("size", size)).T:
        new = design.with_response(y)
        cross = cross_products(new)
        beta = generalised_least_squares.gls(cross, D, sigma2).beta
        found.append(np.sort((residuals.residuals(new, cross, beta, D, sigma2) / spread)[~np.isnan(spread)]))
    return np.quantile(found, [0.025, 0.975], axis=0)
