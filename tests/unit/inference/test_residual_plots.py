"""Pictures of residuals: asserted on their numbers."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from lmmlib.lmm.residual_plots import envelope
from numpy.testing import assert_allclose

import lmmlib


@pytest.fixture
def fit(many):
    return lmmlib.fit("lead ~ week + (week | child)", many)


def test_the_panels_show_residuals_and_distances(fit):
    figure = fit.plot_residuals(size=19, rng=1)
    marginal, conditional, quantiles, groups = figure.axes
    for ax, of in ((marginal, "population"), (conditional, "group")):
        x, y = ax.lines[1].get_data()
        assert_allclose(x, fit.fitted(of=of))
        assert_allclose(y, fit.residuals(of=of, kind="standardised"))
    assert_allclose(quantiles.lines[0].get_ydata(), np.sort(fit.residuals(kind="standardised")))
    cook = fit.influence()["cook"]
    assert_allclose([path.vertices[1, 1] for path in groups.collections[0].get_paths()], cook)
    assert {text.get_text() for text in groups.texts} == set(map(str, cook.nlargest(3).index))
    plt.close(figure)


def test_an_envelope_holds_what_the_model_makes(fit):
    """Most of the sorted residuals of another response of the model lie within; those of a wild one do not."""
    lower, upper = envelope(fit, 99, np.random.default_rng(1))
    assert (lower < upper).all() and (np.diff(lower) >= 0).all()
    new = fit.refit(fit.simulate(rng=5)).residuals(kind="standardised")
    assert np.mean((lower <= np.sort(new)) & (np.sort(new) <= upper)) > 0.7
    y = fit.design.y.copy()
    y[3] += 100
    assert np.sort(fit.refit(y).residuals(kind="standardised"))[-1] > upper[-1]


def test_a_row_that_the_mean_fits_anyhow_is_left_out(many):
    """It has no standardised residual: the quantiles and the envelope are those of the other rows."""
    fit = lmmlib.fit("lead ~ week + alone + (1 | child)", many.assign(alone=np.arange(len(many)) == 4))
    kept = np.delete(fit.residuals(kind="standardised"), 4)
    assert np.isnan(fit.residuals(kind="standardised")[4]) and np.isfinite(kept).all()
    figure = fit.plot_residuals(size=19, rng=1)
    x, y = figure.axes[2].lines[0].get_data()
    assert_allclose(y, np.sort(kept))
    assert_allclose(x, -x[::-1], atol=1e-12)
    assert np.isfinite(envelope(fit, 19, 1)).all()
    plt.close(figure)
