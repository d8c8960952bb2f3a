"""Pictures of residuals: asserted on their numbers."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.inference.residual_plots import envelope
from lmmlib.residual import ar1
from lmmlib.several.fit import fit_several
from tests.several import FORMULAS, Dense, frame
from tests.unit.residual import dense as of_visits


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


@pytest.mark.parametrize("seed", range(60, 66))
def test_standardised_residuals_of_several_groupings(seed):
    """Each divided by the root of its variance, of full matrices; of other responses with the variances held."""
    data = frame(seed, 60)
    fit = lmmlib.fit(FORMULAS[seed % len(FORMULAS)], data, weights="w" if seed % 2 else None, offset="o")
    full = Dense(fit.terms, {t: D.to_numpy() for t, D in fit.D.items()}, fit.sigma2)
    marginal = (full.y - full.X @ full.beta) / np.sqrt(np.diag(full.V - full.X @ full.Phi @ full.X.T))
    assert_allclose(fit.residuals(of="population", kind="standardised"), marginal, rtol=1e-6, atol=1e-8)
    R = fit.sigma2 * full.W_inverse
    sd = np.sqrt(np.diag(R @ full.P @ R))
    assert_allclose(fit.residuals(kind="standardised"), R @ full.P @ full.y / sd, rtol=1e-6, atol=1e-8)
    Y = fit.simulate(2, rng=seed)
    expected = R @ full.P @ (Y - fit.design.offset[:, None]) / sd[:, None]
    assert_allclose(fit._standardised(Y), expected, rtol=1e-6, atol=1e-8)


def test_standardised_residuals_of_other_responses_with_a_residual_covariance(many):
    fit = lmmlib.fit("lead ~ week + (1 | child)", many, residual=ar1("week"))
    y, code, R = fit.design.y, fit.model.visits.code, fit.R()[0]

    def R_of(rows):
        return R[np.ix_(code[rows], code[rows])]

    V = of_visits.V(fit.design, fit.D.to_numpy(), R_of)
    whole = of_visits.V(fit.design, 0 * fit.D.to_numpy(), R_of)
    P = of_visits.projection(V, fit.design.X)
    Y = np.column_stack([y, fit.simulate(rng=1)])
    expected = whole @ P @ Y / np.sqrt(np.diag(whole @ P @ whole))[:, None]
    assert_allclose(fit._standardised(Y), expected, rtol=1e-8, atol=1e-10)
    assert_allclose(fit.residuals(kind="standardised"), expected[:, 0], rtol=1e-8, atol=1e-10)


def test_of_one_grouping_the_pictures_are_those_of_a_fit(many):
    formula = "lead ~ week + (week | child)"
    one = lmmlib.fit(formula, many)
    for other in (fit_several(formula, many), lmmlib.fit(formula, many, residual=lmmlib.residual.independent())):
        Y = one.simulate(3, rng=2)
        assert_allclose(other._standardised(Y), one._standardised(Y), rtol=1e-6, atol=1e-7)
        for of in ("group", "population"):
            ours, theirs = (fit.residuals(of=of, kind="standardised") for fit in (other, one))
            assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_the_panels_of_several_groupings(many):
    fit = lmmlib.fit("lead ~ week + (1 | child) + (1 | drug)", many)
    figure = fit.plot_residuals(size=19, rng=1)
    cook = fit.influence()["cook"]
    assert_allclose([path.vertices[1, 1] for path in figure.axes[3].collections[0].get_paths()], cook)
    assert {text.get_text() for text in figure.axes[3].texts} == {" ".join(map(str, k)) for k in cook.nlargest(3).index}
    assert figure.axes[3].get_xlabel() == "groups of each grouping"
    plt.close(figure)
