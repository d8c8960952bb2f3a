"""Residuals of a fit as pictures: what each of its assumptions would look like if it were wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from lmmlib.common.arguments import checked_count, generator
from lmmlib.design.cross import cross_products
from lmmlib.equations import generalised_least_squares, residuals
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.influence import influence
from lmmlib.inference.parametrised import Parametrised

# Groups that the last panel names.
NAMED = 3


def plot_residuals(fit: Parametrised, *, size: int = 199, rng) -> Any:
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

    figure, axes = plt.subplots(2, 2, figsize=(9.5, 7.0), layout="constrained")
    titles = {"population": "marginal residuals", "group": "conditional residuals"}
    for ax, (of, title) in zip(axes[0], titles.items(), strict=True):
        found = fit.residuals(of=of, kind="standardised")
        ax.axhline(0.0, color="black", linewidth=0.8)
        ax.plot(fit.fitted(of=of), found, "o", markersize=3, alpha=0.5)
        ax.set(title=title, xlabel="fitted value", ylabel="standardised residual")
    lower, upper = envelope(fit, size, rng)
    found = found[~np.isnan(found)]
    normal = ndtri((np.arange(len(found)) + 0.5) / len(found))
    axes[1, 0].fill_between(normal, lower, upper, color="0.8")
    axes[1, 0].plot(normal, np.sort(found), "o", markersize=3, alpha=0.5)
    axes[1, 0].set(title="Q-Q plot, 95 % envelope", xlabel="normal quantile", ylabel="conditional residual")
    cook = influence(fit)["cook"]
    axes[1, 1].vlines(range(len(cook)), 0, cook)
    for name, distance in cook.nlargest(NAMED).items():
        text = " ".join(map(str, name)) if isinstance(name, tuple) else str(name)
        axes[1, 1].annotate(text, (cook.index.get_loc(name), distance), ha="center", va="bottom")
    axes[1, 1].set(
        title="groups left out",
        xlabel=cook.index.name or "groups of each grouping",
        ylabel="Cook's distance",
        xticks=[],
    )
    return figure


def envelope(fit: Parametrised, size: int, rng) -> np.ndarray:
    """Pointwise 95 % of the sorted standardised conditional residuals of responses from the fit, (2, rows).

    Without the rows that have none, because the mean fits them whatever their response.
    """
    found = fit._standardised(fit.simulate(checked_count("size", size), rng=generator(rng)))
    found = found[~np.isnan(found).any(axis=1)]
    return np.quantile(np.sort(found, axis=0), [0.025, 0.975], axis=1)


def standardised(fit: Fitted, Y: np.ndarray) -> np.ndarray:
    """Standardised conditional residuals of responses (n_obs, B) for a fit of one grouping, D and sigma2 held."""
    design, (_, D, sigma2), out = fit.design, fit.estimates, np.empty_like(Y)
    for k, y in enumerate(Y.T):
        cross = cross_products(new := design.with_response(y))
        beta = generalised_least_squares.gls(cross, D, sigma2).beta
        out[:, k] = residuals.residuals(new, cross, beta, D, sigma2)
    return out / residuals.standard_errors(design, fit.cross, D, sigma2)[:, None]
