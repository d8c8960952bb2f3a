"""The text of a figure says what a reader would miss: a line, a colour, a label, a value."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lmmlib.book.figure_text import describe

NAMES = {"#0072B2": "blue", "#D55E00": "vermillion"}


def drawn(**changes):
    """A figure of all kinds of marks, with one change each."""
    say = {
        "title": "placebo",
        "xlabel": "week",
        "colour": "#0072B2",
        "style": "-",
        "marker": "o",
        "last": 3.0,
        "lines": 2,
    }
    say |= {
        "legend": "mean",
        "texts": "note",
        "points": 5,
        "bars": 3,
        "image": 1.0,
        "scale": "linear",
        "heading": "all",
    }
    say |= changes
    figure, (left, right) = plt.subplots(1, 2)
    figure.suptitle(say["heading"])
    for k in range(say["lines"]):
        left.plot([0, 1, 2], [1.0, 2.0 + k, say["last"]], say["style"], color=say["colour"], marker=say["marker"])
    left.plot([0, 2], [1, 1], color="#D55E00", label=say["legend"])
    left.scatter(np.arange(say["points"]), np.ones(say["points"]))
    left.fill_between([0, 1, 2], 0, [1, 1, say["last"]], color="#D55E00")
    left.hlines([1.0, 2.0], 0, 1)
    left.text(0, 0, say["texts"])
    left.set(title=say["title"], xlabel=say["xlabel"], yscale=say["scale"], ylim=(0.1, 5), xlim=(0, 3))
    left.legend()
    right.imshow(np.array([[1.0, 2.0], [3.0, say["image"]]]))
    right.bar(np.arange(say["bars"]), 1.0)
    right.contour(np.arange(9.0).reshape(3, 3), levels=[1, 4])
    right.quiver([0.0], [0.0], [1.0], [1.0])
    text = describe(figure, NAMES)
    plt.close(figure)
    return text


CHANGES = {
    "title": "succimer",
    "xlabel": "day",
    "colour": "#D55E00",
    "style": "--",
    "marker": "s",
    "last": 3.1,
    "lines": 1,
    "legend": "median",
    "texts": "other",
    "points": 4,
    "bars": 2,
    "image": 1.1,
    "scale": "log",
    "heading": "some",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen(what):
    assert drawn(**{what: CHANGES[what]}) != drawn()


def test_the_same_figure_has_the_same_text():
    assert drawn() == drawn(last=3.0 * (1 + 1e-12))


def test_it_reads_well():
    figure, ax = plt.subplots(figsize=(4, 3), dpi=100)
    ax.plot([0, 10], [1, 2], color="#0072B2")
    ax.set(xlabel="week", ylabel="lead (mm)", xlim=(0, 10), ylim=(1, 2))
    text = describe(figure, NAMES)
    plt.close(figure)
    assert text == (
        "Figure 400 x 300\n"
        "axes 1; x 'week' 0.0 to 10.0; y 'lead (mm)' 1.00 to 2.00\n"
        "  line blue -: 1 of 2 points, first (0.0, 1.00), last (10.0, 2.00), mean (5.0, 1.50)"
    )


def test_nothing_and_not_numbers():
    figure, ax = plt.subplots()
    ax.plot([0, 1], [np.nan, np.nan])
    ax.plot([], [])
    assert "of 2 points" in describe(figure)
    plt.close(figure)
