"""What a figure shows, as text: titles, labels, legends, and of each kind of mark how many, where, in which colour.

Stored beside the picture in a notebook, so that a change of a figure is a change of a text, which can be compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.quiver import Quiver
from matplotlib.ticker import FixedFormatter

from lmmlib.common.text import fixed, significant


def describe(figure: Figure, names: dict[str, str] | None = None) -> str:
    """The contents of a figure as lines of text.

    Positions are rounded to about a five-hundredth of the axis, so that another processor writes the same text.

    Parameters
    ----------
    figure : matplotlib Figure
    names : dict, optional
        Names of colours, by hexadecimal code in upper case.

    Returns
    -------
    str
        A paragraph for each Axes: its title, labels, ends and legend; then a line for each kind of mark (same colour,
        line style and marker): how many, how many points, the first and the last, and the mean.
    """
    width, height = figure.get_size_inches() * figure.dpi
    lines = [f"Figure {width:.0f} x {height:.0f}"]
    texts = [figure.get_suptitle(), *(text.get_text() for text in figure.texts)]
    lines += [f"  text {text!r}" for text in texts if text]
    lines += [f"  legend {_legend(legend)}" for legend in figure.legends]
    lines += [line for k, ax in enumerate(figure.axes, start=1) for line in _axes(ax, k, names or {})]
    return "\n".join(lines)


def show_as_text(names: dict[str, str]) -> None:
    """In a notebook, let every figure that is displayed carry :func:`describe` as its text, at twice the resolution."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return
    plt.figure()  # the first figure chooses the backend, which forgets what was said of figures before
    plt.close()
    import_module("matplotlib_inline.backend_inline").set_matplotlib_formats("retina")
    plain = shell.display_formatter.formatters["text/plain"]
    plain.for_type(Figure, lambda figure, printer, cycle: printer.text(describe(figure, names)))


def _axes(ax: Axes, number: int, names: dict[str, str]) -> list[str]:
    x, y = _scale(ax.get_xlim(), ax.get_xscale()), _scale(ax.get_ylim(), ax.get_yscale())
    head = [f"axes {number}: {ax.get_title()!r}" if ax.get_title() else f"axes {number}"]
    for name, axis, to_text, ends in (("x", ax.xaxis, x, ax.get_xlim()), ("y", ax.yaxis, y, ax.get_ylim())):
        formatter = axis.get_major_formatter()
        ticks = list(formatter.seq) if isinstance(formatter, FixedFormatter) else []
        scale = "" if axis.get_scale() == "linear" else f" {axis.get_scale()}"
        head.append(
            f"{name} {axis.get_label_text()!r} {to_text(ends[0])} to {to_text(ends[1])}{scale}"
            + (f" ticks {', '.join(map(str, ticks))}" if any(ticks) else "")
        )
    if ax.get_legend():
        head.append(f"legend {_legend(ax.get_legend())}")
    kinds: dict[str, list[np.ndarray]] = {}
    for artist in (*ax.lines, *ax.collections, *ax.patches):
        if artist.get_visible():
            kinds.setdefault(_kind(artist, names), []).extend(_points(artist))
    lines = ["; ".join(head)] + [f"  {kind}{_extent(parts, x, y)}" for kind, parts in kinds.items()]
    for image in ax.images:
        M: np.ndarray = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
        numbers = (M.flat[0], M.flat[-1], np.nanmin(M), np.nanmax(M), np.nanmean(M))
        first, last, low, high, mean = map(_short, numbers)
        lines.append(
            f"  image {' x '.join(map(str, M.shape))}: first {first}, last {last}, {low} to {high}, mean {mean}"
        )
    texts = [text.get_text() for text in ax.texts if text.get_text()]
    return lines + ([f"  texts: {' | '.join(texts)}"] if texts else [])


def _legend(legend) -> str:
    entries = [text.get_text() for text in legend.get_texts()]
    title = legend.get_title().get_text()
    return (f"{title}: " if title else "") + " | ".join(entries)


def _scale(ends: tuple[float, float], scale: str) -> Callable[[float], str]:
    """How positions on an axis are written; one beyond its ends, where rounding errors may be, as that end."""
    span, text = abs(ends[1] - ends[0]), _short
    if scale == "linear" and span:
        digits = max(0, 2 - int(np.floor(np.log10(span))))
        text = partial(fixed, digits=digits)
    low, high = (text(end) for end in sorted(ends))

    def position(value: float) -> str:
        written = text(value)
        if float(written) < float(low):
            return f"<{low}"
        return f">{high}" if float(written) > float(high) else written

    return position


def _short(value: float) -> str:
    """Three significant digits, with an exponent where they begin late."""
    return significant(value, 3) if value == 0 or not abs(value) < 1e-4 else f"{float(significant(value, 3)):.2e}"


def _kind(artist, names: dict[str, str]) -> str:
    """Artists of one kind are described together."""
    if isinstance(artist, Line2D):
        line, marker = artist.get_linestyle(), artist.get_marker()
        drawn, marked = line not in ("None", ""), marker not in ("None", "", None)
        hollow = marked and to_hex(artist.get_markerfacecolor()) == "#ffffff"
        style = [_colour(artist.get_markeredgecolor() if hollow else artist.get_color(), names)]
        style += [str(line)] if drawn else []
        style += [f"marker {marker!r}{' hollow' if hollow else ''}"] if marked else []
        return f"{'line' if drawn else 'points'} {' '.join(style)}"
    if isinstance(artist, Collection):
        what = {LineCollection: "lines", PathCollection: "points", Quiver: "arrows"}.get(type(artist), "area")
        if isinstance(artist, ContourSet):
            what = f"contours at {', '.join(map(_short, artist.levels))}:"
        faces = () if isinstance(artist, LineCollection | ContourSet) else artist.get_facecolor()
        colours = faces if len(faces) else artist.get_edgecolor()
        shades = list(dict.fromkeys(_colour(c, names) for c in colours))
        return f"{what} {', '.join(shades) if len(shades) < 4 else f'{len(shades)} colours'}"
    return f"{type(artist).__name__.lower()} {_colour(artist.get_facecolor(), names)}"


def _colour(colour, names: dict[str, str]) -> str:
    code = to_hex(colour).upper()
    return names.get(code, code)


# The points of an artist, of the first kind that it is: for each line, area or cloud of points those of its own.
_POINTS: dict[type, Callable] = {
    Line2D: lambda line: [line.get_xydata()],
    ContourSet: lambda contours: [],  # where its lines begin is not the same everywhere
    LineCollection: lambda lines: lines.get_segments(),
    Quiver: lambda arrows: [arrows.get_offsets() + np.column_stack([arrows.U, arrows.V])],
    PathCollection: lambda cloud: [cloud.get_offsets()],
    Collection: lambda areas: [path.vertices for path in areas.get_paths()],
    Rectangle: lambda bar: [[[bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()]]],
    Patch: lambda patch: [patch.get_patch_transform().transform(patch.get_path().vertices)],
}


def _points(artist) -> list[np.ndarray]:
    """The points of an artist: one array (n, 2) for each line, area or cloud of points."""
    points = next(of for kind, of in _POINTS.items() if isinstance(artist, kind))
    return [np.asarray(part, float) for part in points(artist)]


def _extent(parts: list[np.ndarray], x: Callable, y: Callable) -> str:
    """How many parts and points, the first and the last point, and the mean."""
    if not parts:
        return ""
    points = np.concatenate(parts)
    there = points[np.isfinite(points).all(axis=1)]
    count = f": {len(parts)} of {len(points)} points"
    if not len(there):
        return count
    first, last, mean = (f"({x(p[0])}, {y(p[1])})" for p in (there[0], there[-1], there.mean(axis=0)))
    return f"{count}, first {first}, last {last}, mean {mean}"
