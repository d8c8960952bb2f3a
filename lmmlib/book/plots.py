"""The figures that several chapters draw: each function takes an Axes, draws on it and returns it.

All figures have a solid white ground (they read on the light and the dark page) and colours that
the colour-blind can tell apart; a line style or a marker always repeats what the colour says.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from lmmlib.book.figure_text import show_as_text
from lmmlib.common.text import fixed
from lmmlib.errors import DataError

#: Okabe and Ito's palette, by name; black first, yellow last (too light for a thin line on white).
COLOURS = {
    "black": "#000000",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
}
_CYCLE = ("blue", "vermillion", "green", "purple", "orange", "black")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
#: Markers to go with the colours; the cycle of :func:`use_style` changes colour and line style together.
MARKERS = ("o", "s", "^", "D", "v", "X")


class Look(NamedTuple):
    """How a level is drawn: the name of its colour, its marker and its line style."""

    colour: str
    marker: str
    line: str


#: The arms of the trial and the sexes of the dental data look the same in every figure.
LEVELS = {
    "placebo": Look("blue", "o", "-"),
    "succimer": Look("vermillion", "s", "--"),
    "boys": Look("blue", "o", "-"),
    "girls": Look("vermillion", "s", "--"),
}


def use_style() -> None:
    """Set the book's figure style; call it in the first cell of a chapter.

    In a notebook every figure then carries its contents as text too, :func:`lmmlib.book.figure_text.describe`.
    """
    show_as_text({code: name for name, code in COLOURS.items()})
    mpl.rc("figure", figsize=(7.0, 4.0), dpi=130, facecolor="white")
    mpl.rc("figure.constrained_layout", use=True)
    mpl.rc("savefig", dpi=130, facecolor="white")
    mpl.rc("font", family="DejaVu Sans", size=11.0)
    cycle = cycler(color=[COLOURS[c] for c in _CYCLE]) + cycler(linestyle=_STYLES)
    mpl.rc("axes", facecolor="white", grid=False, titlesize=12.0, labelsize=11.0, prop_cycle=cycle)
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc("xtick", labelsize=10.0)
    mpl.rc("ytick", labelsize=10.0)
    mpl.rc("legend", fontsize=10.0, frameon=False)
    mpl.rc("lines", linewidth=1.8, markersize=5.0)
    mpl.rc("svg", hashsalt="lmmlib")


def spaghetti(
    ax: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    group: str,
    colour: str = "blue",
    mean: bool = True,
    label: str | None = None,
) -> Axes:
    """One thin line per group in the order of `x`, and on top the mean of `y` at each value of `x`.

    `x`, `y`, `group` are columns of `frame`; `colour` is a name of :data:`COLOURS`; `label` is the
    mean line's entry in a legend.
    """
    _need(frame, x, y, group)
    shade = COLOURS[colour]
    ordered = frame.sort_values(x)
    lines = [part[[x, y]].to_numpy(dtype=float) for _, part in ordered.groupby(group, observed=True)]
    ax.add_collection(LineCollection(lines, colors=shade, alpha=0.35, linewidths=0.8))
    if mean:
        average = frame.groupby(x, observed=True)[y].mean()
        ax.plot(average.index, average, "o-", linewidth=3.0, markeredgecolor="white", color=shade, label=label)
    ax.autoscale_view()
    ax.set(xlabel=x, ylabel=y)
    return ax


def matrix(
    ax: Axes, M, labels: Sequence | None = None, digits: int | None = 2, columns: Sequence | None = None
) -> Axes:
    """A heat map of `M` (rows, columns) with its values written in the cells.

    White is zero; orange is above, purple below, and the sign is also in the written value. `labels` name
    the rows and, unless `columns` are given, the columns; ``digits=None`` writes no values.
    """
    M = np.asarray(M, dtype=float)
    extent = max(float(np.max(np.abs(M), initial=0.0)), np.finfo(float).tiny)
    ax.imshow(M, cmap="PuOr_r", vmin=-1.9 * extent, vmax=1.9 * extent)  # 1.9: black text stays legible
    columns = labels if columns is None else columns
    ax.set_xticks([] if columns is None else range(M.shape[1]), columns)
    ax.set_yticks([] if labels is None else range(M.shape[0]), labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if digits is not None:
        for (i, j), value in np.ndenumerate(M):
            ax.text(j, i, fixed(value, digits), ha="center", va="center", color="black", fontsize=9)
    return ax


def band(ax: Axes, x, lower, upper, mid=None, colour: str = "blue", label: str | None = None, linestyle="-") -> Axes:
    """A shaded band between `lower` and `upper` over `x`, its edges thin, with the line `mid` in it."""
    shade = COLOURS[colour]
    ax.fill_between(x, lower, upper, color=shade, alpha=0.2, linewidth=0)
    for edge in (lower, upper):
        ax.plot(x, edge, color=shade, linewidth=0.7, linestyle=linestyle)
    if mid is not None:
        ax.plot(x, mid, color=shade, linestyle=linestyle, label=label)
    else:
        ax.collections[-1].set_label(label)
    return ax


def intervals(
    ax: Axes,
    estimate,
    lower,
    upper,
    labels: Sequence | None = None,
    colour: str = "blue",
    marker: str = "o",
    offset: float = 0.0,
    label: str | None = None,
) -> Axes:
    """Points with horizontal intervals, one row each, the first on top; `offset` shifts the rows."""
    estimate, lower, upper = (np.asarray(v, dtype=float) for v in (estimate, lower, upper))
    rows = -np.arange(len(estimate)) + offset
    ax.hlines(rows, lower, upper, color=COLOURS[colour], linewidth=1.2)
    ax.plot(estimate, rows, linestyle="", marker=marker, color=COLOURS[colour], label=label)
    if labels is not None:
        ax.set_yticks(-np.arange(len(estimate)), labels)
    return ax


def caterpillar(ax: Axes, frame: pd.DataFrame, term: str | None = None, *, names: bool = True, **look: Any) -> Axes:
    """Predictions of the random effects `term` with their intervals, one row per group, the largest on top.

    `frame` has the columns group, term, estimate, lower and upper, as
    :meth:`lmmlib.equations.effects.Effects.frame` returns them; `term` may be left out if there is one only.
    The dashed line at zero is the population. `look` is what :func:`intervals` takes: colour, marker, offset, label.
    """
    _need(frame, "group", "term", "estimate", "lower", "upper")
    terms = list(pd.unique(frame["term"]))
    if term is None and len(terms) != 1:
        raise DataError(f"The frame has the random effects {terms}; say which by term=.")
    term = terms[0] if term is None else term
    if term not in terms:
        raise DataError(f"The frame has no random effect {term!r}; it has {terms}.")
    part = frame[frame["term"] == term]
    # Predictions that differ by rounding alone stay in the order of the frame.
    place = (part["estimate"] / (part["estimate"].abs().max() or 1.0)).round(10)
    part = part.loc[place.sort_values(ascending=False, kind="stable").index]
    ax.axvline(0.0, color=COLOURS["black"], linewidth=0.8, linestyle="--")
    labels = list(map(str, part["group"])) if names else None
    intervals(ax, part["estimate"], part["lower"], part["upper"], labels, **look)
    ax.set(xlabel=f"random effect: {term}", **({} if names else {"yticks": []}))
    return ax


def shrinkage(
    ax: Axes, own: pd.DataFrame, pooled: pd.DataFrame, population: Sequence[float] | None = None, colour: str = "blue"
) -> Axes:
    """An arrow for each group from its own estimate (no pooling, hollow) to its partially pooled one (filled).

    `own` and `pooled` have a row for each group, with the same index and the same one or two columns of
    coefficients: with two they are the axes; with one it is the horizontal axis, the groups in rows by their
    pooled value. A group without an estimate of its own (NaN) has no arrow. `population` is the point of the fixed
    effects, marked by a cross.
    """
    if list(own.columns) != list(pooled.columns) or len(own.columns) not in (1, 2):
        raise DataError(
            "own and pooled must have the same one or two columns; they have "
            f"{list(own.columns)} and {list(pooled.columns)}."
        )
    absent = [group for group in pooled.index if group not in own.index]
    if absent or not own.index.is_unique or not pooled.index.is_unique:
        why = f"{absent[0]!r} is not in own" if absent else "a group occurs twice"
        raise DataError(f"own and pooled must have one row for each group; {why}.")
    names, pooled = list(pooled.columns), pooled.sort_values(pooled.columns[0], kind="stable")
    end = pooled.to_numpy(dtype=float)
    start = own.loc[pooled.index].to_numpy(dtype=float)
    if len(names) == 1:
        rows = np.arange(len(end), dtype=float)[:, None]
        start, end = np.hstack([start, rows]), np.hstack([end, rows])
    there = np.isfinite(start).all(axis=1)
    shade, step = COLOURS[colour], (end - start)[there]
    in_data: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1}
    ax.quiver(*start[there].T, *step.T, color=shade, alpha=0.6, width=0.003, zorder=1, **in_data)
    ax.plot(*start[there].T, "o", markerfacecolor="white", markeredgecolor=shade, label="each group by itself")
    ax.plot(*end.T, "o", color=shade, label="partially pooled")
    mark: dict[str, Any] = {"color": COLOURS["vermillion"], "label": "population"}
    ax.set(xlabel=str(names[0]))
    if len(names) == 2:
        ax.set(ylabel=str(names[1]))
        if population is not None:
            ax.plot(*population, "X", markersize=10, **mark)
    else:
        ax.set_yticks(range(len(end)), list(map(str, pooled.index)))
        if population is not None:
            ax.axvline(np.ravel(population)[0], linestyle="--", **mark)
    return ax


def group_curves(
    ax: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    group: str,
    population: str | None = None,
    highlight: Sequence = (),
    colour: str = "sky",
) -> Axes:
    """The fitted curve of each group, thin; those of the groups in `highlight` thick, each with its own line style.

    `x`, `y`, `group` are columns of `frame`, in which `y` holds predictions at a grid of `x`; `population` is the
    column with the population's prediction, drawn once, in black, as its mean at each `x`. Highlighted groups and
    the population are in the legend.
    """
    _need(frame, x, y, group, *([] if population is None else [population]))
    known = set(frame[group])
    unknown = [g for g in highlight if g not in known]
    if unknown:
        raise DataError(f"There is no group {unknown[0]!r} in {group!r} to highlight.")
    if len(highlight) > len(_CYCLE) - 1:
        raise DataError(f"No more than {len(_CYCLE) - 1} groups can be told apart; {len(highlight)} to highlight.")
    spaghetti(ax, frame, x, y, group, colour, mean=False)
    for name, shade, style in zip(highlight, _CYCLE, _STYLES, strict=False):
        part = frame[frame[group] == name].sort_values(x)
        ax.plot(part[x], part[y], color=COLOURS[shade], linestyle=style, linewidth=2.2, label=str(name))
    if population is not None:
        average = frame.groupby(x, observed=True)[population].mean()
        ax.plot(average.index, average, color=COLOURS["black"], linestyle="-", linewidth=3.0, label="population")
    return ax


def _need(frame: pd.DataFrame, *columns: str) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise DataError(f"The frame has no column {missing[0]!r}; its columns are {list(frame.columns)}.")
