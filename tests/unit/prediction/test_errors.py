"""The bootstrap of predictions: its pieces against the single fits, its limits against the truth by simulation."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import equations
from lmmlib.design.new_rows import NewRows
from lmmlib.design.responses import Responses
from lmmlib.errors import DesignError
from lmmlib.fitting.batch import fit_many
from lmmlib.prediction import errors as prediction_errors
from lmmlib.prediction.errors import batched_effects, bootstrap_errors

COLUMNS = ["estimate", "se", "lower", "upper", "known_group"]


@pytest.fixture
def fit(frame):
    return lmmlib.fit("lead ~ week + (week | child)", frame)


@pytest.fixture
def new():
    return pd.DataFrame({"week": [0.0, 7.5, 2.0], "child": ["c2", "c5", "new"]})


FORMULAS = ["lead ~ week + (week | child)", "lead ~ drug + (week || child)", "lead ~ 1 + (1 | child)"]


@pytest.mark.parametrize("formula", [*FORMULAS, "lead ~ week + (0 | child)"])
def test_batched_predictions_are_those_of_single_fits(frame, formula):
    fit = lmmlib.fit(formula, frame)
    Y = fit.simulate(6, rng=np.random.default_rng(3))
    fits, good = fit_many(fit.design, Y), np.array([0, 2, 5])
    b, cov = batched_effects(
        fit.cross,
        Responses.of_columns(fit.cross, fit.design, Y[:, good]),
        fits.beta[good],
        fits.D[good],
        fits.sigma2[good],
    )
    for found, known, k in zip(b, cov[:, fit.cross.patterns[1]], good, strict=True):
        blups = fit.refit(Y[:, k]).blups()
        assert_allclose(found, blups.b, rtol=1e-7, atol=1e-7)
        assert_allclose(known, blups.known, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method, spoiled", [("REML", []), ("REML", [0, 3]), ("ML", [])])
def test_errors_of_the_bootstrap_are_prediction_less_truth(frame, monkeypatch, method, spoiled):
    """Seen through the random effects and responses that were simulated: refits of the responses, less the effects."""
    fit, seen = lmmlib.fit("lead ~ week + (week | child)", frame, method=method), []
    plain = prediction_errors._simulated

    def watched(*args):
        for b, Y in plain(*args):
            Y[0, spoiled] = np.nan
            seen.append((b, Y))
            yield b, Y

    monkeypatch.setattr(prediction_errors, "_simulated", watched)
    of_beta, of_b, failed = bootstrap_errors(fit, [4, 1], 5, np.random.default_rng(8))
    ((b, Y),) = seen
    good = [k for k in range(5) if k not in spoiled]
    assert failed == len(spoiled) and of_beta.shape == (len(good), 2) and of_b.shape == (len(good), 2, 2)
    for row, k in enumerate(good):
        again = fit.refit(Y[:, k])
        assert_allclose(of_beta[row], again.beta - fit.beta, rtol=1e-6, atol=1e-7)
        assert_allclose(of_b[row], (again.blups().b.to_numpy() - b[k])[[4, 1]], rtol=1e-6, atol=1e-7)


def test_standard_errors_count_a_bias_and_limits_undo_it(fit, monkeypatch):
    """Predictions that are always one too high: a mean square of one, and a target that lies one below."""
    errors = np.tile([1.0, 0.0], (5, 1)), np.zeros((5, 2, 2)), 0
    monkeypatch.setattr(prediction_errors, "bootstrap_errors", lambda *args: errors)
    new = pd.DataFrame({"week": [0.0, 7.5], "child": ["c2", "c5"]})
    shown = fit.predict(new, interval="confidence", method="bootstrap", rng=np.random.default_rng(1))
    assert_allclose(shown["se"], 1.0)
    assert_allclose(shown[["lower", "upper"]].sub(shown["estimate"], axis=0), -1.0)


def test_simulated_responses_have_the_moments_of_the_model(fit):
    D, sigma2 = np.array([[2.0, 0.6], [0.6, 0.5]]), 0.7
    at = replace(fit, D=pd.DataFrame(D, fit.D.index, fit.D.index), sigma2=sigma2)
    parts = list(prediction_errors._simulated(at, 4000, np.random.default_rng(5)))
    b, Y = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts], axis=1)
    assert len(parts) > 1 and b.shape == (4000, 7, 2) and Y.shape == (24, 4000)
    # Standard errors of variances over 28000 draws are below 1 %.
    assert_allclose(np.cov(b.reshape(-1, 2).T), D, atol=0.05)
    Z, group = fit.design.Z, fit.design.group
    noise = Y - (fit.design.X @ fit.beta.to_numpy())[:, None] - np.einsum("nq,bnq->nb", Z, b[:, group])
    assert_allclose(noise.var(), sigma2, rtol=0.02)
    assert abs(np.corrcoef(noise[0], b[:, group[0], 0])[0, 1]) < 0.06


def truth(n_groups=6):
    """A fit whose parameters are set: few groups, so that estimating D matters."""
    group = np.repeat(np.arange(n_groups), 3)
    x = np.tile([0.0, 1.0, 2.0], n_groups)
    data = pd.DataFrame({"y": np.random.default_rng(1).normal(size=len(x)), "x": x, "g": group})
    fit = lmmlib.fit("y ~ x + (1 | g)", data)
    estimate = equations.gls(fit.cross, [[1.0]], 1.0)
    labels = list(fit.beta.index)
    return replace(
        fit,
        D=pd.DataFrame([[1.0]], fit.D.index, fit.D.index),
        sigma2=1.0,
        beta=pd.Series([2.0, -1.0], labels),
        cov_beta=pd.DataFrame(estimate.cov, labels, labels),
    )


def test_limits_hold_their_share_of_targets_when_the_fit_is_the_truth():
    """Simulated from the truth the errors follow their true law, so limits must hold 95 %."""
    fit, rng, many = truth(), np.random.default_rng(11), 4000
    new = pd.DataFrame({"x": [3.0, 1.0, 1.0], "g": [0, 5, 99]})
    group, x = fit.design.group, fit.design.X[:, 1]
    b = rng.normal(size=(many, 7))
    Y = 2 - x[:, None] + b[:, group].T + rng.normal(size=(18, many))
    fits = fit_many(fit.design, Y)
    own = batched_effects(fit.cross, Responses.of_columns(fit.cross, fit.design, Y), fits.beta, fits.D, fits.sigma2)[0][
        ..., 0
    ]
    line = np.outer(fits.beta[:, 0], [1, 1, 1]) + np.outer(fits.beta[:, 1], new["x"])
    noise = rng.normal(size=(many, 3))
    # A new observation at the level of the population is of a group that the data do not hold.
    of_which = {"group": b[:, [0, 5, 6]], "population": rng.normal(size=(many, 3))}
    error = np.sqrt(0.95 * 0.05 / many)

    def share(of, interval, limits):
        predictor = line + (own[:, [0, 5, 0]] * [1, 1, 0] if of == "group" else 0)
        target = 2 - new["x"].to_numpy() + 0 * noise
        target += of_which[of] if of == "group" or interval == "prediction" else 0
        gap = target + (noise if interval == "prediction" else 0) - predictor
        return ((limits[0] < gap) & (gap < limits[1])).mean(axis=0)

    for of in ("group", "population"):
        for interval in ("confidence", "prediction"):
            table = fit.predict(new, of=of, interval=interval, method="bootstrap", size=4000, rng=rng)
            limits = np.array([table["lower"] - table["estimate"], table["upper"] - table["estimate"]])
            held = share(of, interval, limits)
            # Both the limits and the share are from 4000 draws.
            assert (np.abs(held - 0.95) < 4 * np.sqrt(2) * error).all(), (of, interval, held)
            # The control: limits shorter by a tenth are found out.
            assert (share(of, interval, 0.9 * limits) < 0.95 - 4 * np.sqrt(2) * error).all()


def test_se_and_limits_describe_the_same_errors(frame, new):
    fit = lmmlib.fit("lead ~ week + (1 | child)", frame)
    shown = fit.predict(new, interval="prediction", method="bootstrap", size=3000, rng=np.random.default_rng(4))
    assert list(shown.columns) == COLUMNS and shown.attrs == {"failed": 0}
    assert_allclose((shown["upper"] - shown["lower"]) / (2 * shown["se"]), 1.96, rtol=0.08)
    plain = fit.predict(new, interval="prediction")
    assert_allclose(shown["estimate"], plain["estimate"], rtol=1e-14)
    # With 7 groups the bootstrap sees more error than the plug-in for known groups, and about the same order.
    assert ((shown["se"] / plain["se"])[:2] > 1).all() and (shown["se"] / plain["se"] < 1.4).all()


def test_population_and_new_groups_by_bootstrap(fit, new):
    rng = np.random.default_rng(6)
    narrow = fit.predict(new, of="population", interval="confidence", method="bootstrap", size=2000, rng=rng)
    assert_allclose(narrow["se"], fit.predict(new, of="population")["se"], rtol=0.1)
    wide = fit.predict(new, interval="confidence", method="bootstrap", size=2000, rng=rng)
    assert_allclose(wide["se"].iloc[2], fit.predict(new)["se"].iloc[2], rtol=0.1)
    only = fit.predict(new.drop(columns="child"), of="population", method="bootstrap", size=50, rng=rng)
    assert list(only.columns) == ["estimate", "se", "known_group"]


def test_a_seed_gives_the_same_limits_and_rows_may_come_in_parts(fit, new, monkeypatch):
    def shown():
        return fit.predict(new, interval="confidence", method="bootstrap", size=40, rng=np.random.default_rng(1))

    one = shown()
    pd.testing.assert_frame_equal(one, shown())
    monkeypatch.setattr(prediction_errors, "ROOM", 60)  # one row and one response at a time
    apart = shown()
    assert_allclose(apart["estimate"], one["estimate"], rtol=1e-14)
    assert (apart["se"] / one["se"] < 2).all() and (apart["se"] / one["se"] > 0.5).all()


def test_failed_refits_are_counted_and_left_out(fit, new, monkeypatch):
    plain = prediction_errors._simulated

    def spoiled(*args):
        for b, Y in plain(*args):
            Y[0, ::4] = np.nan
            yield b, Y

    monkeypatch.setattr(prediction_errors, "_simulated", spoiled)
    shown = fit.predict(new, interval="confidence", method="bootstrap", size=40, rng=np.random.default_rng(1))
    assert shown.attrs == {"failed": 10} and np.isfinite(shown[COLUMNS[:4]]).all(axis=None)

    def hopeless(*args):
        for b, Y in plain(*args):
            yield b, np.nan * Y

    monkeypatch.setattr(prediction_errors, "_simulated", hopeless)
    with pytest.raises(DesignError, match="all 40 refits failed, the first with: the response has a missing"):
        fit.predict(new, method="bootstrap", size=40, rng=np.random.default_rng(1))


def test_rows_pick_the_effects_of_their_groups():
    rows = NewRows(np.ones((3, 1)), np.array([[1.0, 2.0], [1.0, 0.0], [5.0, 5.0]]), np.array([1, 0, -1]))
    b = np.array([[1.0, 10.0], [2.0, 20.0]])
    assert list(rows.at(b)) == [42.0, 1.0, 0.0]
    assert rows.at(np.stack([b, 2 * b])).tolist() == [[42.0, 1.0, 0.0], [84.0, 2.0, 0.0]]
    assert list(rows.take(slice(1, 3)).at(b)) == [1.0, 0.0]
