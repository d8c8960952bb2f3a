"""The James-Stein estimator: its formulas, and its risk and factor by simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.equations.shrinkage import james_stein
from lmmlib.errors import ParameterError


def test_james_stein_formulas():
    y = np.array([1.0, -2.0, 3.0, 0.5, 4.0])
    found = james_stein(y, 0.5, toward=1.0)
    B = 3 * 0.5 / np.sum((y - 1) ** 2)
    assert_allclose(found.factor, B)
    assert_allclose(found.estimate, 1 + (1 - B) * (y - 1))
    own = james_stein(y, 0.5)
    assert_allclose(own.factor, 2 * 0.5 / np.sum((y - y.mean()) ** 2))
    assert_allclose(own.estimate.mean(), y.mean())


def test_positive_part_does_not_overshoot():
    y = np.array([0.1, -0.1, 0.2])
    found = james_stein(y, 1.0, toward=0.0)
    assert found.factor > 1 and (found.estimate * y < 0).all() and (found.positive == 0).all()
    nothing = james_stein(np.full(4, 2.0), 1.0)
    assert (nothing.estimate == 2).all() and (nothing.positive == 2).all()
    assert nothing.factor == np.inf and repr(nothing)


@pytest.mark.parametrize("toward, k", [(None, 3), (0.0, 2)])
def test_james_stein_needs_enough_means(toward, k):
    with pytest.raises(ParameterError, match=f"at least {k + 1}"):
        james_stein(np.arange(k), 1.0, toward=toward)
    james_stein(np.arange(k + 1), 1.0, toward=toward)


@pytest.mark.parametrize("toward", [0.0, None])
def test_the_shrinkage_factor_is_unbiased(toward):
    """E(B) = sigma2 / (sigma2 + tau2); the plug-in factor without the lost degrees of freedom is not."""
    rng, k, sigma2, tau2 = np.random.default_rng(10), 8, 1.0, 2.0
    y = rng.normal(scale=np.sqrt(sigma2 + tau2), size=(20_000, k))
    factors = np.array([james_stein(row, sigma2, toward=toward).factor for row in y])
    spent, error = (2 if toward is not None else 3), factors.std() / np.sqrt(len(y))
    assert abs(factors.mean() - 1 / 3) < 4 * error
    assert abs((factors * k / (k - spent)).mean() - 1 / 3) > 20 * error


def test_risk_is_below_that_of_the_means_and_that_of_a_wrong_factor_is_not():
    rng, k = np.random.default_rng(11), 6
    theta = np.linspace(-1, 1.5, k)
    y = theta + rng.standard_normal((20_000, k))
    found = [james_stein(row, 1.0, toward=0.0) for row in y]
    losses = {
        "means": np.sum((y - theta) ** 2, axis=1),
        "james-stein": np.sum((np.array([f.estimate for f in found]) - theta) ** 2, axis=1),
        "positive": np.sum((np.array([f.positive for f in found]) - theta) ** 2, axis=1),
        "wrong": np.sum((y - 2.2 * np.array([f.factor for f in found])[:, None] * y - theta) ** 2, axis=1),
    }
    # Stein's identity: risk of James-Stein = k - (k - 2)^2 E(1 / |y|^2).
    stein = k - (k - 2) ** 2 * np.mean(1 / np.sum(y**2, axis=1))
    error = {name: loss.std() / np.sqrt(len(y)) for name, loss in losses.items()}
    risk = {name: loss.mean() for name, loss in losses.items()}
    assert abs(risk["means"] - k) < 4 * error["means"]
    assert abs(risk["james-stein"] - stein) < 4 * error["james-stein"] and risk["james-stein"] < k - 10 * error["means"]
    assert risk["positive"] < risk["james-stein"]
    assert risk["wrong"] > k + 4 * error["wrong"]  # beyond 2 (k - 2) the factor does harm


def test_it_is_the_plug_in_posterior_mean_of_the_one_way_model():
    """Means of m observations with known sigma2 / m: the weight is the BLUP's at the estimate of its tau2."""
    y = np.array([3.0, -1.0, 0.5, 6.0, 2.0, -4.0])
    found = james_stein(y, 0.7)
    tau2 = 0.7 / found.factor - 0.7
    assert tau2 > 0
    assert_allclose(found.estimate, y.mean() + tau2 / (tau2 + 0.7) * (y - y.mean()), rtol=1e-12)
    assert_allclose(found.toward, y.mean())
    assert repr(found) == f"JamesStein: 6 means moved {found.factor:.4f} of the way"


def test_each_mean_may_have_its_own_target():
    y, toward = np.array([1.0, -2.0, 3.0, 0.5]), np.array([0.0, 1.0, 2.0, 0.0])
    found = james_stein(y, 0.1, toward=toward)
    B = 2 * 0.1 / np.sum((y - toward) ** 2)
    assert_allclose(found.estimate, y - B * (y - toward), rtol=1e-12)
    assert_allclose(found.positive, found.estimate)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([1, 2, np.nan, 4], 1.0), "y must be finite"),
        ((np.ones((2, 3)), 1.0), "y must be finite and of shape"),
        (("abcd", 1.0), "y must be real numbers"),
        (([1, 2, 3, 4], 0.0), "sigma2 must be one finite number above 0"),
        (([1, 2, 3, 4], 1.0, [1, 2]), "toward must be finite and of shape"),
        (([1, 2, 3, 4], 1.0, np.inf), "toward must be finite"),
    ],
)
def test_errors(arguments, words):
    with pytest.raises(ParameterError, match=words):
        james_stein(*arguments[:2], toward=arguments[2] if len(arguments) > 2 else None)
