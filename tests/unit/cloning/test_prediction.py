"""Random effects after cloning: the right way against the reference, and document 000's way, which is too sure."""

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib import equations
from lmmlib.cloning import prediction
from lmmlib.cloning.clone import clone
from lmmlib.cloning.prediction import DataTwiceWarning, _unbounded, _values, free_names
from lmmlib.errors import ParameterError

FORMULA = "y ~ 1 + (1 | group)"


@pytest.fixture(scope="module")
def pairs():
    """100 groups of two, as document 000's, cloned."""
    return clone(FORMULA, lmmlib.simulate.recipe("neyman-scott-m2"), (25, 1000), draws=1000, rng=1)


@pytest.fixture(scope="module")
def sleep():
    return clone("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"), (25, 1000), rng=2)


def rng(seed=3):
    return np.random.default_rng(seed)


def test_the_law_of_the_estimates(pairs):
    """Its mean is maximum likelihood, its covariance the inverse information, on logarithmic scales."""
    fit = lmmlib.fit(FORMULA, lmmlib.simulate.recipe("neyman-scott-m2"), method="ML")
    center, cov = pairs.normal_law()
    assert list(center.index) == ["(Intercept)", "log sd (Intercept)", "log sigma"]
    tau2 = fit.D.iloc[0, 0]
    np.testing.assert_allclose(center, [fit.beta.iloc[0], np.log(tau2) / 2, np.log(fit.sigma2) / 2], atol=0.002)
    information = equations.information_variance(fit.cross, fit.D.to_numpy(), fit.sigma2, method="ML", kind="observed")
    J = np.diag([1 / (2 * tau2), 1 / (2 * fit.sigma2)])
    np.testing.assert_allclose(cov.iloc[1:, 1:], J @ np.linalg.inv(information) @ J, rtol=0.06, atol=2e-4)
    assert cov.iloc[0, 0] == pytest.approx(fit.se.iloc[0] ** 2, rel=0.05)


def test_right_prediction_is_the_average_over_the_law(pairs):
    """Moments by total expectation and variance, in closed form for balanced groups, over a million draws."""
    found = pairs.posterior_of_b(4000, rng())
    center, cov = pairs.normal_law()
    mu, log_tau, log_sigma = rng(4).multivariate_normal(center, cov, 200_000).T
    v = np.exp(2 * log_sigma) / 2
    w = np.exp(2 * log_tau) / (np.exp(2 * log_tau) + v)
    means = pairs.source.design.y.reshape(100, 2).mean(axis=1)
    for i in (0, 7, 99):
        parts = w * (means[i] - mu)
        sd = np.sqrt(np.mean(w * v) + np.var(parts))
        assert found.b.iloc[i, 0] == pytest.approx(parts.mean(), abs=0.03 * sd)
        assert found.se().iloc[i, 0] == pytest.approx(sd, rel=0.01)
    limits = found.frame(0.9)
    assert list(limits.columns) == ["group", "term", "estimate", "se", "lower", "upper"] and len(limits) == 100
    np.testing.assert_allclose(found.of_parameters["sd"], np.sqrt(np.diag(cov)), rtol=0.06)


def test_the_data_twice_are_too_sure(pairs):
    """The standard deviations of the parameters shrink by the root of two, as :eq:`data-twice` says."""
    right = pairs.posterior_of_b(4000, rng())
    with pytest.warns(DataTwiceWarning, match="used twice: intervals will be too short"):
        wrong = pairs.data_twice(4000, rng())
    ratio = wrong.of_parameters["sd"] / right.of_parameters["sd"]
    np.testing.assert_allclose(ratio, np.sqrt(0.5), rtol=0.06)
    assert (wrong.se() < right.se()).all(axis=None)
    np.testing.assert_allclose(wrong.of_parameters["mean"], right.of_parameters["mean"], atol=0.03)
    assert "used twice" in repr(wrong) and "used twice" not in repr(right)


def test_document_000s_numbers(stored_pairs):
    """Its data by the same recipe, n = 100 and m = 2: mean sd of alpha 0.1489 the right way, 0.1452 its way."""
    cloned = clone("y ~ 1 + (1 | i)", stored_pairs, (1, 25), draws=1000, rng=5)
    assert cloned.posterior_of_b(4000, rng()).se().mean().item() == pytest.approx(0.1489, abs=0.0007)
    with pytest.warns(DataTwiceWarning):
        assert cloned.data_twice(4000, rng()).se().mean().item() == pytest.approx(0.1452, abs=0.0006)


@pytest.fixture
def stored_pairs():
    from pathlib import Path

    return pd.read_csv(Path(__file__).parents[2] / "reference" / "cloning" / "y_n100_m2.csv")


def test_two_random_effects(sleep):
    """Near the corrected error, which is for the same question; above the one that takes the parameters as known."""
    fit = lmmlib.fit("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"), method="ML")
    found = sleep.posterior_of_b(2000, rng())
    blups = fit.blups()
    np.testing.assert_allclose(found.b, blups.b, atol=3)
    assert (found.se() > blups.se("known")).all(axis=None)
    np.testing.assert_allclose(found.se() / blups.se("corrected"), 1, atol=0.1)
    assert list(found.of_parameters.index) == free_names(sleep.source.cross)
    assert found.b.index.name == "Subject" and found.cov.shape == (18, 2, 2)


def test_uncorrelated_effects():
    cloned = clone("Reaction ~ Days + (Days || Subject)", lmmlib.load("sleep"), (10, 100), draws=200, rng=6)
    found = cloned.posterior_of_b(500, rng())
    assert list(found.of_parameters.index)[2:] == ["log sd (Intercept)", "log sd Days", "log sigma"]
    assert found.b.shape == (18, 2)


@pytest.mark.parametrize("diagonal", [False, True])
def test_scales_without_bounds_are_one_to_one(sleep, diagonal):
    from dataclasses import replace

    cross = replace(sleep.source.cross, diagonal=diagonal)
    D = np.array([[[4.0, 0.0], [0.0, 9.0]], [[2.0, 0.5], [0.5, 1.0]]])[: 1 if diagonal else 2]
    beta, sigma2 = np.arange(2.0 * len(D)).reshape(-1, 2), np.array([0.25, 1e-6])[: len(D)]
    theta = _unbounded(cross, beta, D, sigma2)
    assert theta.shape == (len(D), len(free_names(cross)))
    values = dict(zip(("beta", "D", "sigma2"), _values(cross, theta), strict=True))
    np.testing.assert_allclose(values["beta"], beta)
    np.testing.assert_allclose(values["D"], D, atol=1e-12)
    np.testing.assert_allclose(values["sigma2"], sigma2)
    np.testing.assert_allclose(theta[0, 2:], [np.log(2), np.log(3), np.log(0.5)] if diagonal else
                               [np.log(2), 0, np.log(3), np.log(0.5)])  # fmt: skip


def test_weights_are_those_of_the_second_use(pairs, monkeypatch):
    """With a likelihood that says nothing the second use changes nothing."""
    monkeypatch.setattr(prediction, "loglik", lambda *at: 0.0)
    with pytest.warns(DataTwiceWarning):
        found = pairs.data_twice(20_000, rng())
    center, cov = pairs.normal_law()
    np.testing.assert_allclose(found.of_parameters["sd"], np.sqrt(np.diag(cov)), rtol=0.05)


def test_same_seed_same_prediction(pairs):
    one, two, other = (pairs.posterior_of_b(50, rng(s)).b.to_numpy() for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_what_cannot_be_predicted():
    single = clone(FORMULA, lmmlib.simulate.recipe("neyman-scott-m1"), (1, 10), draws=200, rng=7, unidentified="allow")
    with pytest.raises(ParameterError, match=r"does not hold for D\[\(Intercept\), \(Intercept\)\]: not estimable"):
        single.posterior_of_b(10, rng())
    # Nor does it help to look at what is estimable.
    with pytest.raises(ParameterError, match="not estimable"):
        single.on("(Intercept)").posterior_of_b(10, rng())
    e = rng().normal(size=(30, 4))
    flat = pd.DataFrame({"group": np.repeat(np.arange(30), 4), "y": (e - e.mean(axis=1, keepdims=True)).ravel()})
    with pytest.raises(ParameterError, match="at a boundary.*laird_louis"):
        clone(FORMULA, flat, (1, 25), draws=300, rng=8).posterior_of_b(10, rng())
    none = clone("y ~ 1 + (0 | group)", flat, (1, 10), draws=50, rng=8)
    with pytest.raises(ParameterError, match="no random effects"):
        none.posterior_of_b(10, rng())


@pytest.mark.parametrize(
    ("size", "generator", "says"),
    [(0, rng(), "size must be"), (2.5, rng(), "size must be"), (10, None, "rng must be"), (10, -3, "rng must be")],
)
@pytest.mark.filterwarnings("ignore::lmmlib.cloning.prediction.DataTwiceWarning")
@pytest.mark.parametrize("method", ["posterior_of_b", "data_twice"])
def test_bad_input(pairs, method, size, generator, says):
    with pytest.raises(ParameterError, match=says):
        getattr(pairs, method)(size, generator)
