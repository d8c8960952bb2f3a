"""Figures: asserted on their numbers; legible without colour; nothing shown."""

import matplotlib

matplotlib.use("agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from lmmlib import plots
from lmmlib.errors import DataError


def frame():
    """Two groups whose rows are not in the order of time."""
    return pd.DataFrame({"t": [2, 0, 1, 0, 1], "y": [5.0, 1.0, 3.0, 2.0, 6.0], "g": list("aaabb")})


def luminance(colour):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_style_is_opaque_white_and_never_colour_alone(ax):
    params = matplotlib.rcParams
    for key in ("figure.facecolor", "savefig.facecolor", "axes.facecolor"):
        assert matplotlib.colors.to_rgba(params[key]) == (1, 1, 1, 1)
    cycle = list(params["axes.prop_cycle"])
    assert len({str(c["linestyle"]) for c in cycle}) == len({c["color"] for c in cycle}) == len(cycle) == 6
    assert len(set(plots.MARKERS)) == len(plots.MARKERS) == len(cycle)
    assert params["font.size"] >= 10 and params["figure.dpi"] == params["savefig.dpi"]


def test_line_colours_stand_out_from_white():
    for name, colour in plots.COLOURS.items():
        if name not in ("yellow", "orange", "sky", "purple"):  # for areas and thick marks
            assert 1.05 / (luminance(colour) + 0.05) > 3, name


def test_every_point_of_a_plain_plot_is_marked(ax):
    (line,) = ax.plot(range(100), range(100), "o")
    assert line.get_markevery() is None


def test_spaghetti_draws_each_group_in_order_and_the_mean(ax):
    assert plots.spaghetti(ax, frame(), "t", "y", "g", label="all") is ax
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    first, second = lines.get_segments()
    np.testing.assert_array_equal(first, [[0, 1], [1, 3], [2, 5]])
    np.testing.assert_array_equal(second, [[0, 2], [1, 6]])
    (mean,) = ax.lines
    np.testing.assert_array_equal(mean.get_xydata(), [[0, 1.5], [1, 4.5], [2, 5]])
    assert mean.get_zorder() >= lines.get_zorder() and mean.get_label() == "all"
    assert ax.get_ylim()[0] < 1 and ax.get_ylim()[1] > 6, "all lines are inside the axes"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("t", "y")


def test_spaghetti_leaves_out_unused_categories(ax):
    part = frame().astype({"g": "category"}).query("g == 'a'")
    plots.spaghetti(ax, part, "t", "y", "g", mean=False)
    assert len(ax.collections[0].get_segments()) == 1 and not ax.lines


def test_spaghetti_names_a_missing_column(ax):
    with pytest.raises(DataError, match="'week'.*'t', 'y', 'g'"):
        plots.spaghetti(ax, frame(), "week", "y", "g")


def test_matrix_writes_its_values_where_they_belong(ax):
    M = np.array([[1.0, -0.25, 0.0], [2.0, -1e-9, 3.0]])
    assert plots.matrix(ax, M, ["r1", "r2"], columns=["a", "b", "c"]) is ax
    written = {tuple(map(int, t.get_position()[::-1])): t.get_text() for t in ax.texts}
    assert written == {(0, 0): "1.00", (0, 1): "-0.25", (0, 2): "0.00", (1, 0): "2.00", (1, 1): "0.00", (1, 2): "3.00"}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["r1", "r2"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), M)
    low, high = image.get_clim()
    assert low == -high, "zero is the middle of the map"
    for value in (-3.0, 0.0, 3.0):
        assert (luminance(image.cmap(image.norm(value))[:3]) + 0.05) / 0.05 > 4.5, "black text is legible"


def test_matrix_of_zeros_and_without_text(ax):
    plots.matrix(ax, np.zeros((2, 2)), digits=None)
    assert not ax.texts and len(ax.get_xticks()) == 0


def test_band(ax):
    x = np.array([0.0, 1.0, 2.0])
    assert plots.band(ax, x, x - 1, x + 1, x, label="mean") is ax
    low, high, mid = (line.get_ydata() for line in ax.lines)
    np.testing.assert_array_equal([low, high, mid], [x - 1, x + 1, x])
    corners = ax.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == -1 and corners[:, 1].max() == 3
    assert ax.get_legend_handles_labels()[1] == ["mean"]


def test_band_without_a_line_is_in_the_legend_once(ax):
    plots.band(ax, [0, 1], [0, 0], [1, 1], label="95 %")
    assert ax.get_legend_handles_labels()[1] == ["95 %"]


def test_intervals_run_from_top_to_bottom(ax):
    plots.intervals(ax, [1.0, 2.0], [0.5, 1.0], [1.5, 4.0], ["first", "second"], offset=0.1)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 0.1], [2, -0.9]])
    np.testing.assert_allclose(ax.collections[0].get_segments()[1], [[1, -0.9], [4, -0.9]])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["first", "second"]


def predictions():
    return pd.DataFrame(
        {
            "group": ["a", "b", "c"] * 2,
            "term": ["level"] * 3 + ["slope"] * 3,
            "estimate": [0.5, -1.0, 2.0, 1.0, 2.0, 3.0],
            "lower": [0.0, -2.0, 1.5, 0.0, 1.0, 2.0],
            "upper": [1.0, 0.0, 2.5, 2.0, 3.0, 4.0],
        }
    )


def test_caterpillar_has_the_largest_effect_on_top(ax):
    assert plots.caterpillar(ax, predictions(), "level", label="BLUP") is ax
    zero, points = ax.lines
    assert set(zero.get_xdata()) == {0.0}
    np.testing.assert_allclose(points.get_xydata(), [[2.0, 0], [0.5, -1], [-1.0, -2]])
    np.testing.assert_allclose(ax.collections[0].get_segments()[2], [[-2, -2], [0, -2]])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["c", "a", "b"]
    assert "level" in ax.get_xlabel() and ax.get_legend_handles_labels()[1] == ["BLUP"]


def test_caterpillar_keeps_the_order_of_equal_effects(ax):
    frame = predictions().query("term == 'level'").assign(estimate=[1.0, 1.0 + 1e-15, 2.0])
    plots.caterpillar(ax, frame)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["c", "a", "b"]  # a before b, which is larger by rounding
    plots.caterpillar(ax, frame.assign(estimate=0.0))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]


def test_caterpillar_of_the_second_term(ax):
    plots.caterpillar(ax, predictions(), "slope")
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [3.0, 2.0, 1.0])
    assert "slope" in ax.get_xlabel()


def test_caterpillar_of_a_single_term_needs_no_name(ax):
    plots.caterpillar(ax, predictions().query("term == 'slope'"), names=False, offset=0.2)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.2, -0.8, -1.8])
    assert len(ax.get_yticks()) == 0


def test_caterpillar_errors(ax):
    with pytest.raises(DataError, match=r"random effects \['level', 'slope'\]; say which by term="):
        plots.caterpillar(ax, predictions())
    with pytest.raises(DataError, match=r"no random effect 'week'; it has \['level', 'slope'\]"):
        plots.caterpillar(ax, predictions(), "week")
    with pytest.raises(DataError, match="no column 'lower'"):
        plots.caterpillar(ax, predictions().drop(columns="lower"))


def estimates():
    own = pd.DataFrame({"level": [1.0, 4.0, np.nan], "slope": [0.0, 3.0, np.nan]}, index=["a", "b", "c"])
    pooled = pd.DataFrame({"level": [3.0, 1.5, 2.0], "slope": [2.5, 0.5, 1.0]}, index=["b", "a", "c"])
    return own, pooled


def test_shrinkage_arrows_run_from_no_pooling_to_partial_pooling(ax):
    own, pooled = estimates()
    assert plots.shrinkage(ax, own, pooled, [2.0, 1.0]) is ax
    (arrows,) = ax.collections
    # The rows are matched by their labels; c has no estimate of its own.
    np.testing.assert_allclose(np.c_[arrows.X, arrows.Y, arrows.U, arrows.V], [[1, 0, 0.5, 0.5], [4, 3, -1, -0.5]])
    assert (arrows.angles, arrows.scale_units, arrows.scale) == ("xy", "xy", 1), "an arrow ends where its group does"
    start, end, centre = (line.get_xydata() for line in ax.lines)
    np.testing.assert_allclose(start, [[1, 0], [4, 3]])
    np.testing.assert_allclose(end, [[1.5, 0.5], [2, 1], [3, 2.5]])
    np.testing.assert_allclose(centre, [[2, 1]])
    assert ax.get_legend_handles_labels()[1] == ["each group by itself", "partially pooled", "population"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("level", "slope")
    assert ax.lines[0].get_markerfacecolor() != ax.lines[1].get_markerfacecolor(), "hollow and filled, not colour alone"


def test_shrinkage_of_one_coefficient_has_a_row_for_each_group(ax):
    own, pooled = (frame[["level"]] for frame in estimates())
    plots.shrinkage(ax, own, pooled, [2.0])
    (arrows,) = ax.collections
    np.testing.assert_allclose(np.c_[arrows.X, arrows.Y, arrows.U, arrows.V], [[1, 0, 0.5, 0], [4, 2, -1, 0]])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "c", "b"]
    assert set(ax.lines[-1].get_xdata()) == {2.0}


def test_shrinkage_errors(ax):
    own, pooled = estimates()
    with pytest.raises(DataError, match="same one or two columns"):
        plots.shrinkage(ax, own[["level"]], pooled)
    three = own.assign(more=1.0)
    with pytest.raises(DataError, match="same one or two columns"):
        plots.shrinkage(ax, three, three)
    with pytest.raises(DataError, match="'b' is not in own"):
        plots.shrinkage(ax, own.drop(index="b"), pooled)
    with pytest.raises(DataError, match="a group occurs twice"):
        plots.shrinkage(ax, pd.concat([own, own]), pooled)


def test_group_curves(ax):
    data = frame().assign(mean=[2.0, 0.0, 1.0, 0.0, 1.0])
    assert plots.group_curves(ax, data, "t", "y", "g", population="mean", highlight=["b"]) is ax
    (thin,) = ax.collections
    np.testing.assert_array_equal(thin.get_segments()[0], [[0, 1], [1, 3], [2, 5]])
    chosen, population = ax.lines
    np.testing.assert_array_equal(chosen.get_xydata(), [[0, 2], [1, 6]])
    np.testing.assert_array_equal(population.get_xydata(), [[0, 0], [1, 1], [2, 2]])
    assert ax.get_legend_handles_labels()[1] == ["b", "population"]


def test_group_curves_run_in_the_order_of_x_and_average_the_population(ax):
    data = pd.DataFrame({"t": [1, 0, 1, 0], "y": [4.0, 3.0, 2.0, 1.0], "g": ["a", "a", "b", "b"]})
    plots.group_curves(ax, data.assign(mean=[5.0, 1.0, 7.0, 1.0]), "t", "y", "g", population="mean", highlight=["a"])
    chosen, population = ax.lines
    np.testing.assert_array_equal(chosen.get_xydata(), [[0, 3], [1, 4]])
    np.testing.assert_array_equal(population.get_xydata(), [[0, 1], [1, 6]])


def test_highlighted_curves_differ_in_colour_and_style(ax):
    plots.group_curves(ax, frame(), "t", "y", "g", highlight=["b", "a"])
    assert len({line.get_color() for line in ax.lines}) == len({line.get_linestyle() for line in ax.lines}) == 2


def test_group_curves_errors(ax):
    with pytest.raises(DataError, match="no group 'z' in 'g'"):
        plots.group_curves(ax, frame(), "t", "y", "g", highlight=["z"])
    with pytest.raises(DataError, match="no column 'mean'"):
        plots.group_curves(ax, frame(), "t", "y", "g", population="mean")
    many = pd.DataFrame({"t": range(9), "y": range(9), "g": range(9)})
    with pytest.raises(DataError, match="No more than 5 groups.*9 to highlight"):
        plots.group_curves(ax, many, "t", "y", "g", highlight=range(9))
