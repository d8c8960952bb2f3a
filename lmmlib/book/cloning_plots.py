"""Figures of data cloning: what the draws say against the number of clones, on logarithmic axes with the 1/K line."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from lmmlib.book.plots import COLOURS, MARKERS
from lmmlib.cloning.cloned import Cloned
from lmmlib.common.arguments import checked_choice, require_known

DIAGNOSTICS = {
    "lambda_max": "largest eigenvalue of the covariance",
    "standardised": "largest eigenvalue, over its first value",
    "ms_error": "mean squared error of chi-square quantiles",
    "r_squared": "1 - squared correlation of chi-square quantiles",
    "r_hat": "largest R-hat",
    "r_hat_multivariate": "multivariate R-hat",
    "ess": "smallest effective sample size",
}
# Diagnostics of a covariance, which falls as 1/K.
SHRINKING = ("lambda_max", "standardised")


def estimates(
    ax: Axes,
    cloned: Cloned,
    parameter: str | None = None,
    level: float = 0.95,
    reference: float | None = None,
    colour: str = "blue",
) -> Axes:
    """Estimates of one parameter for each K: points with bars between two quantiles of the cloned posterior.

    `parameter` is the first by default, `level` the coverage of the bars, `reference` a value to compare with, such as
    that of maximum likelihood: a dashed line; `colour` is a name of :data:`lmmlib.book.plots.COLOURS`.
    """
    part = _part(cloned, parameter, level)
    K, (low, high) = part.index.to_numpy(), [part[c] for c in part if c.endswith(" %")]
    shade = COLOURS[colour]
    ax.vlines(K, low, high, color=shade, linewidth=1.5)
    ax.plot(K, part["estimate"], linestyle="", marker=MARKERS[0], color=shade, label="posterior mean")
    if reference is not None:
        ax.axhline(reference, color=COLOURS["vermillion"], linestyle="--", linewidth=1.2, label="maximum likelihood")
    _clones(ax, K)
    ax.set(ylabel=part.attrs["name"])
    return ax


def variances(ax: Axes, cloned: Cloned, parameters=None) -> Axes:
    """Posterior variances of the parameters, by default of all, over their first value, and the line 1/K.

    The axes are logarithmic: all that can be estimated fall along the line.
    """
    names = list(cloned.about) if parameters is None else list(parameters)
    shades = [c for c in COLOURS if c not in ("black", "yellow")]
    for k, name in enumerate(names):
        sd = _part(cloned, name, 0.95)["sd"]
        marker, shade = MARKERS[k % len(MARKERS)], COLOURS[shades[k % len(shades)]]
        ax.plot(sd.index, (sd / sd.iloc[0]) ** 2, linestyle="-", marker=marker, color=shade, label=name)
    _law(ax, cloned.n_clones, 1.0)
    ax.set(yscale="log", ylabel="posterior variance, over its first value")
    return ax


def diagnostics(ax: Axes, cloned: Cloned, what: str = "standardised", colour: str = "blue", label=None) -> Axes:
    """One diagnostic against K on logarithmic axes; with the line 1/K if it is one of a covariance.

    `what` is a column of :meth:`lmmlib.cloning.cloned.Cloned.diagnostics`, `label` a text for a legend.
    """
    checked_choice("what", what, tuple(DIAGNOSTICS))
    values = cloned.diagnostics()[what]
    ax.plot(values.index, values, linestyle="-", marker=MARKERS[0], color=COLOURS[colour], label=label or what)
    if what in SHRINKING:
        _law(ax, cloned.n_clones, values.iloc[0])
    else:
        _clones(ax, cloned.n_clones)
    ax.set(yscale="log", ylabel=DIAGNOSTICS[what])
    return ax


def _part(cloned: Cloned, parameter: str | None, level: float):
    """Rows of the table of one parameter."""
    parameter = next(iter(cloned.about)) if parameter is None else parameter
    require_known("parameter", parameter, cloned.about)
    part = cloned.table(level).loc[parameter]
    part.attrs["name"] = parameter
    return part


def _law(ax: Axes, K, first: float) -> None:
    """The line that falls as 1/K from the first value."""
    K = np.array(K, float)
    ax.plot(K, first * K[0] / K, linestyle="--", linewidth=1.2, color=COLOURS["black"], label="1/K")
    _clones(ax, K)


def _clones(ax: Axes, K) -> None:
    """The axis of the clones."""
    ax.set_xscale("log")
    ax.set_xlabel("number of clones K")
    if len(K) <= 6:
        ax.set_xticks([int(k) for k in K], [f"{int(k):,}" for k in K])
        ax.minorticks_off()
