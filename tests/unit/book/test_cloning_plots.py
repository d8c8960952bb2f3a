"""Figures of cloning: asserted on their numbers."""

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest

from lmmlib.book import cloning_plots
from lmmlib.errors import ParameterError
from tests.unit.cloning.test_cloned import made


@pytest.fixture(scope="module")
def cloned():
    return made((1, 10, 40))


def line(ax, label):
    (found,) = [artist for artist in ax.lines if artist.get_label() == label]
    return found


def test_estimates(ax, cloned):
    assert cloning_plots.estimates(ax, cloned, "mu", 0.8, reference=3.0) is ax
    table = cloned.table(0.8).loc["mu"]
    points = line(ax, "posterior mean")
    np.testing.assert_array_equal(points.get_xdata(), [1, 10, 40])
    np.testing.assert_array_equal(points.get_ydata(), table["estimate"])
    ends = np.array([segment[:, 1] for segment in ax.collections[0].get_segments()])
    np.testing.assert_allclose(ends, table[["10 %", "90 %"]])
    assert set(line(ax, "maximum likelihood").get_ydata()) == {3.0}
    assert ax.get_xscale() == "log" and ax.get_ylabel() == "mu" and ax.get_xlabel() == "number of clones K"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "10", "40"]


def test_the_first_parameter_by_default(ax, cloned):
    assert cloning_plots.estimates(ax, cloned).get_ylabel() == "mu"


def test_variances_beside_the_law(ax, cloned):
    cloning_plots.variances(ax, cloned, ["mu", "a"])
    np.testing.assert_allclose(line(ax, "1/K").get_ydata(), [1, 0.1, 0.025])
    np.testing.assert_allclose(line(ax, "mu").get_ydata(), [1, 0.1, 0.025], rtol=0.15)
    assert line(ax, "a").get_ydata()[-1] > 0.9
    assert ax.get_yscale() == ax.get_xscale() == "log"
    assert line(ax, "mu").get_marker() != line(ax, "a").get_marker()


def test_all_parameters_by_default(ax, cloned):
    cloning_plots.variances(ax, cloned)
    assert [artist.get_label() for artist in ax.lines] == ["mu", "a", "b", "1/K"]


@pytest.mark.parametrize("what", cloning_plots.DIAGNOSTICS)
def test_diagnostics(ax, cloned, what):
    cloning_plots.diagnostics(ax, cloned, what, label="here")
    values = cloned.diagnostics()[what]
    np.testing.assert_array_equal(line(ax, "here").get_ydata(), values)
    assert ax.get_yscale() == "log"
    law = [artist for artist in ax.lines if artist.get_label() == "1/K"]
    assert len(law) == (what in ("lambda_max", "standardised"))
    if law:
        np.testing.assert_allclose(law[0].get_ydata(), values.iloc[0] * np.array([1, 0.1, 0.025]))


def test_many_clones_keep_the_axis_readable(ax):
    many = made(tuple(2**k for k in range(8)))
    cloning_plots.diagnostics(ax, many)
    ax.figure.canvas.draw()
    assert len([t for t in ax.get_xticklabels() if t.get_text()]) < 8


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda ax, c: cloning_plots.estimates(ax, c, "nu"), "no parameter 'nu'; there are mu, a, b"),
        (lambda ax, c: cloning_plots.variances(ax, c, ["nu"]), "no parameter 'nu'"),
        (lambda ax, c: cloning_plots.diagnostics(ax, c, "expected"), "what is 'lambda_max'"),
    ],
)
def test_bad_input(ax, cloned, call, says):
    with pytest.raises(ParameterError, match=says):
        call(ax, cloned)
