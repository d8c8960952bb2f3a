"""Predictions of random effects of a fit: shrinkage, errors, and the truth by simulation."""

from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.equations.blup import conditional_covariance, estimation_error
from lmmlib.errors import DesignError, ParameterError
from lmmlib.prediction import blups as prediction_blups
from tests.unit.equations.differences import differenced


@pytest.fixture
def fitted(design):
    return lmmlib.fit_design(design)


def test_random_intercepts_shrink_by_the_textbook_weight(frame):
    """b_i = n_i tau2 / (n_i tau2 + sigma2) times the group's mean residual; its variance tau2 sigma2 / (...)."""
    fit = lmmlib.fit("lead ~ 1 + (1 | child)", frame)
    tau2, sigma2, b = fit.D.iloc[0, 0], fit.sigma2, fit.blups()
    n_i = fit.design.n_i
    weight = n_i * tau2 / (n_i * tau2 + sigma2)
    means = frame.groupby("child")["lead"].mean() - fit.beta.iloc[0]
    assert_allclose(b.b["(Intercept)"], weight * means, rtol=1e-9)
    assert list(b.b.index) == list(means.index) and b.b.index.name == "child"
    assert_allclose(b.shrinkage[:, 0, 0], weight, rtol=1e-9)
    assert_allclose(b.known[:, 0, 0], tau2 * sigma2 / (n_i * tau2 + sigma2), rtol=1e-9)


def test_a_singular_fit_has_predictions():
    """Group means vary less than their errors: tau2 = 0, every b is 0, and the corrected error is not."""
    rng = np.random.default_rng(5)
    y = rng.normal(size=(6, 4))
    y += 3 - 0.99 * y.mean(axis=1, keepdims=True)
    data = pd.DataFrame({"y": y.ravel(), "g": np.repeat(list("abcdef"), 4)})
    fit = lmmlib.fit("y ~ 1 + (1 | g)", data)
    b = fit.blups()
    assert fit.is_singular and fit.D.iloc[0, 0] == 0
    assert (b.b == 0).all(axis=None) and (b.known == 0).all() and (b.pev == 0).all() and (b.shrinkage == 0).all()
    assert (b.corrected > 0).all() and np.isfinite(b.corrected).all()
    assert_allclose(b.corrected, 2 * differenced(fit.design, np.zeros((1, 1)), fit.sigma2), rtol=1e-6)


def test_units_of_response_and_predictor(frame):
    """y -> 10 y and week -> 7 week (days): intercepts times 10, slopes times 10 / 7, all errors accordingly."""
    one = lmmlib.fit("lead ~ week + (week | child)", frame).blups()
    moved = frame.assign(lead=10 * frame["lead"] + 5, week=7 * frame["week"])
    two = lmmlib.fit("lead ~ week + (week | child)", moved).blups()
    T = np.diag([10, 10 / 7])
    # The optimum is found to about 1e-7 in either units.
    assert_allclose(two.b, one.b @ T, rtol=1e-5, atol=1e-6)
    for key in ("known", "pev", "corrected"):
        assert_allclose(getattr(two, key), T @ getattr(one, key) @ T, rtol=1e-4, atol=1e-5, err_msg=key)
    assert_allclose(two.shrinkage, T @ one.shrinkage @ np.linalg.inv(T), rtol=1e-4, atol=1e-5)


def test_the_corrected_error_is_nearer_the_truth_than_the_prediction_error_variance():
    """8000 data sets of 20 groups of 3: mean squared errors of b against what each error claims on average."""
    rng = np.random.default_rng(1990)
    n_groups, many, one = 20, 8000, np.eye(1)
    group = np.repeat(np.arange(n_groups), 3)
    design = lmmlib.Design.from_arrays(rng.normal(size=60), np.ones((60, 1)), np.ones((60, 1)), group)
    cross = lmmlib.cross_products(design)
    truth = rng.normal(size=(n_groups, many))
    Y = 2 + truth[group] + rng.normal(size=(60, many))
    fits = lmmlib.fit_many(design, Y)
    tau2, sigma2 = fits.D[:, 0, 0], fits.sigma2
    weight = 3 * tau2 / (3 * tau2 + sigma2)
    b = weight * (Y.reshape(n_groups, 3, many).mean(axis=1) - fits.beta[:, 0])
    squares = ((b - truth) ** 2).mean(axis=0)
    mse, error = squares.mean(), squares.std() / np.sqrt(many)
    assert error < 0.005 * mse

    # At the truth the error holds the term once.
    known, added = conditional_covariance(cross, one, 1.0)[0, 0, 0], estimation_error(cross, one, 1.0)[0, 0, 0]
    pev = known + 0.75**2 * (1 + 1 / 3) / n_groups
    assert abs(pev + added - mse) < 3 * error
    # The controls: without the term, or without what estimating beta adds, the claim is too small by more than chance.
    assert pev < mse - 4 * error and known + added < mse - 4 * error

    # At the estimates the term is needed twice, since the mean of the claims lies below the claim at the truth.
    claimed = weight * sigma2 / 3 + weight**2 * (tau2 + sigma2 / 3) / n_groups
    some = range(0, many, 8)
    twice = 2 * np.mean([estimation_error(cross, fits.D[k], sigma2[k])[0, 0, 0] for k in some])
    assert claimed.mean() < mse - 8 * error
    assert abs(claimed.mean() + twice - mse) < 0.35 * abs(claimed.mean() - mse)
    assert abs(claimed.mean() + twice / 2 - mse) > 0.35 * abs(claimed.mean() - mse)


def test_standard_errors_and_frame(fitted):
    b = fitted.blups()
    for error in ("known", "pev", "corrected"):
        se = b.se(error)
        assert se.index.equals(b.b.index) and list(se.columns) == list(b.b.columns)
        assert_allclose(se["week"] ** 2, getattr(b, error)[:, 1, 1], rtol=1e-12)
    frame = b.frame(0.9, error="corrected")
    assert list(frame.columns) == ["group", "term", "estimate", "se_known", "se_pev", "se_corrected", "lower", "upper"]
    row = frame[(frame["group"] == "c3") & (frame["term"] == "week")].iloc[0]
    assert row["estimate"] == b.b.loc["c3", "week"]
    # 1.6448536 is the 95 % quantile of the normal distribution.
    assert_allclose(row["upper"] - row["estimate"], 1.6448536269514722 * row["se_corrected"], rtol=1e-12)
    assert_allclose(row["estimate"] - row["lower"], row["upper"] - row["estimate"], rtol=1e-9)
    assert (frame["se_known"] <= frame["se_pev"]).all() and (frame["se_pev"] <= frame["se_corrected"]).all()


def test_the_table_of_a_fit_is_that_of_its_predictions(fitted):
    assert fitted.random_effects().equals(fitted.blups().frame())
    assert fitted.random_effects(0.9, error="known").equals(fitted.blups().frame(0.9, error="known"))
    with pytest.raises(ParameterError, match="error is 'known' or 'pev' or 'corrected'"):
        fitted.random_effects(error="mse")


def test_errors_wait_until_they_are_asked_for(fitted, monkeypatch):
    """Weighing the sums is all that the predictions need."""
    unasked = Mock(side_effect=AssertionError("nobody asked"))
    with monkeypatch.context() as patch:
        for name in ("conditional_covariance", "estimation_covariance"):
            patch.setattr(prediction_blups, name, unasked)
        b = fitted.blups()
        assert np.isfinite(b.b).all(axis=None) and repr(b)
    assert np.isfinite(b.corrected).all()


def test_it_shows_itself_briefly(fitted, frame):
    assert repr(fitted.blups()) == "Blups of 7 groups, 2 random effects each: (Intercept), week"
    one = lmmlib.fit("lead ~ week + (1 | child)", frame).blups()
    assert repr(one) == "Blups of 7 groups, 1 random effect each: (Intercept)"


def test_no_random_effects(frame):
    b = lmmlib.fit("lead ~ week + (0 | child)", frame).blups()
    assert b.b.shape == (7, 0) and b.corrected.shape == (7, 0, 0) and len(b.frame()) == 0


def test_errors(fitted):
    b = fitted.blups()
    with pytest.raises(ParameterError, match="error is 'known' or 'pev' or 'corrected'; got 'mse'"):
        b.se("mse")
    with pytest.raises(ParameterError, match="level must lie between 0 and 1"):
        b.frame(level=95)


def test_what_is_known_without_the_corrected_error(monkeypatch):
    """Where the information has no inverse in floating point, b and two errors are there all the same."""
    frame = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0, 7.0, 5.0], "g": [0, 0, 0, 1, 1, 1]})
    fitted = lmmlib.fit("y ~ 1 + (1 | g)", frame)
    with monkeypatch.context() as patch:
        no_inverse = DesignError("the data do not identify D and sigma2")
        patch.setattr(prediction_blups, "estimation_covariance", Mock(side_effect=no_inverse))
        b = fitted.blups()
        assert b.note
    table = b.frame()
    assert table["se_corrected"].isna().all() and table.drop(columns="se_corrected").notna().all().all()
    assert "do not identify D and sigma2" in b.note
    for call in (lambda: b.se("corrected"), lambda: b.frame(error="corrected")):
        with pytest.raises(DesignError, match="do not identify D and sigma2.*error='pev' takes them as known"):
            call()
    regular = fitted.blups()
    assert not regular.note and regular.se("corrected").notna().all().all()
