"""Checks of D, sigma2, beta, and the factor of a singular D."""

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib import equations
from lmmlib.common.arguments import checked_D, checked_sigma2, generator, require_known, several, standard_deviations
from lmmlib.common.small import factor
from lmmlib.equations import moments
from lmmlib.errors import DesignError, ParameterError
from tests import modules

BAD_SIGMA2 = [0, -1.0, np.nan, np.inf, -np.inf, [1, 2], [], None, "a", 1j]
BAD_D = {
    "number for two": (1.0, r"must be \(2, 2\).*got shape \(\)"),
    "none": (None, "D "),
    "vector": ([1, 1], "must be .2, 2."),
    "too large": (np.eye(3), r"must be \(2, 2\).*\(3, 3\)"),
    "ragged": ([[1], [1, 2]], "D must be"),
    "text": ("a", "D must be"),
    "complex": (1j * np.eye(2), "D must be"),
    "asymmetric": ([[1, 0.5], [0.2, 1]], r"symmetric; use \(D \+ D.T\) / 2"),
    "missing": ([[np.nan, 0], [0, 1]], "missing or infinite"),
    "infinite": ([[np.inf, 0], [0, 1]], "missing or infinite"),
    "negative variance": ([[-1, 0], [0, 1]], "positive semidefinite.*eigenvalue -1"),
    "correlation 2": ([[1, 2], [2, 1]], "positive semidefinite.*eigenvalue -1.*correlation beyond 1"),
    "correlation without variance": ([[0, 1], [1, 0]], "positive semidefinite"),
    "small units": ([[1e-12, 2e-6], [2e-6, 1]], "positive semidefinite.*eigenvalue -1"),
}


@pytest.mark.parametrize("sigma2", BAD_SIGMA2, ids=repr)
def test_sigma2_is_one_finite_number_above_zero(cross, D, sigma2):
    for call in (
        lambda: checked_sigma2(sigma2),
        lambda: equations.gls(cross, D, sigma2),
        lambda: equations.loglik(cross, [1, 2], D, sigma2),
        lambda: equations.restricted_loglik(cross, D, sigma2),
        lambda: equations.ols_covariance(cross, D, sigma2),
        lambda: equations.icc(1.0, sigma2),
        lambda: moments.precision(np.ones((3, 2)), D, sigma2),
        lambda: moments.variance_function(np.ones((3, 2)), D, sigma2),
    ):
        with pytest.raises(ParameterError, match="sigma2 must be"):
            call()


@pytest.mark.parametrize("sigma2", [2, 2.0, np.float32(2), np.array(2.0), [2.0]], ids=repr)
def test_sigma2_may_be_any_kind_of_number(sigma2):
    assert checked_sigma2(sigma2) == 2.0
    assert isinstance(checked_sigma2(sigma2), float)


@pytest.mark.parametrize("name", BAD_D)
def test_D_is_a_covariance(cross, name):
    bad, words = BAD_D[name]
    for call in (
        lambda: checked_D(bad, 2),
        lambda: equations.gls(cross, bad, 1.0),
        lambda: equations.profile_loglik(cross, bad, 1.0),
        lambda: equations.information_variance(cross, bad, 1.0),
        lambda: equations.satterthwaite(cross, [0, 1], bad, 1.0),
        lambda: equations.ols_covariance(cross, bad, 1.0),
        lambda: moments.marginal_covariance(np.ones((3, 2)), bad, 1.0),
        lambda: moments.covariance_function([1, 2], [1, 3], bad),
    ):
        with pytest.raises(ParameterError, match=words):
            call()


@pytest.mark.parametrize(
    "D", [np.zeros((2, 2)), np.ones((2, 2)), [[1, 0], [0, 0]], [[4, -2], [-2, 1]], 1e-30 * np.eye(2)]
)
def test_singular_and_tiny_D_are_ordinary(D):
    D = checked_D(D, 2)
    L = factor(D)
    assert_allclose(L @ L.T, D, rtol=1e-14, atol=1e-15 * np.abs(D).max())


def test_rounding_is_forgiven():
    """A correlation of 1 + 1e-12 and an asymmetry of 1e-12, as products of matrices leave them."""
    D = checked_D([[1, 1 + 1e-12], [1 + 2e-12, 1]], 2)
    assert (D == D.T).all()
    assert np.isfinite(factor(D)).all()


def test_one_random_column_takes_a_number():
    for tau2 in (2, 2.0, [2], [[2.0]], np.float64(2)):
        assert_allclose(checked_D(tau2, 1), [[2.0]])


def test_no_random_columns():
    assert checked_D(np.zeros((0, 0)), 0).shape == (0, 0)
    assert factor(np.zeros((0, 0))).shape == (0, 0)


@pytest.mark.parametrize("ratio", [1e12, 1e16, 1e300])
def test_D_beyond_the_digits_of_cross_products_is_an_error(cross, D, ratio):
    """At 1e12 the covariance of beta would be 1e-3 off, at 1e14 it would be 20 % off, beyond 1e15 no matrix at all."""
    for call in (
        equations.gls,
        equations.profile_loglik,
        equations.restricted_loglik,
        equations.information_variance,
    ):
        with pytest.raises(ParameterError, match="sigma2"):
            call(cross, D * ratio, 1.0)


BAD_BETA = [[1.0], [1, 2, 3], [[1, 2]], [np.nan, 1], [1, np.inf], None, "a", 1.0, [1, 1j]]


@pytest.mark.parametrize("beta", BAD_BETA, ids=repr)
def test_beta_has_one_finite_entry_for_each_column(design, cross, D, beta):
    for call in (
        lambda: equations.loglik(cross, beta, D, 1.0),
        lambda: equations.score_beta(cross, beta, D, 1.0),
        lambda: equations.sandwich(design, beta, D, 1.0),
    ):
        with pytest.raises(ParameterError, match="beta must"):
            call()


def test_the_message_names_the_columns(cross, D):
    with pytest.raises(ParameterError, match=r"2 .*\(Intercept\), week"):
        equations.loglik(cross, [1, 2, 3], D, 1.0)


def test_standard_deviations_are_roots_of_the_diagonal():
    covariance = np.array([[[4.0, 1.0], [1.0, 9.0]], [[np.nan, np.nan], [np.nan, np.nan]], [[-1e-9, 0.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(standard_deviations(covariance, "b"), [[2, 3], [np.nan, np.nan], [0, 0]])
    assert standard_deviations(np.zeros((0, 0)), "b").shape == (0,)
    assert standard_deviations(np.zeros((5, 0, 0)), "b").shape == (5, 0)


@pytest.mark.parametrize("covariance", [[[-0.25]], [[4.0, 1.0], [1.0, -0.25]], [[[1.0]], [[np.nan]], [[-0.25]]]])
def test_a_variance_below_zero_is_named(covariance):
    with pytest.raises(DesignError, match=r"a variance of the modes comes out as -0\.25, below zero: .*rescale"):
        standard_deviations(np.array(covariance), "the modes")


def test_a_wrong_sign_is_named_and_not_a_warning_of_sqrt(cross, D):
    """Negative control: every result with standard errors, its covariance with the sign changed."""
    gls = equations.gls(cross, D, 1.0)
    for wrong in (
        lambda: replace(gls, cov=-gls.cov).se,
        lambda: equations.wald(replace(gls, cov=-gls.cov), [0, 1]),
    ):
        with pytest.raises(DesignError, match=r"a variance of the (fixed effects|contrasts) comes out as -"):
            wrong()


def test_no_root_of_a_diagonal_is_taken_without_a_look():
    """Roots of estimated variances go through standard_deviations, but for those below, which cannot be negative."""
    found = {name for name, code in modules.TEXT.items() if re.search(r"np\.sqrt\(\s*np\.diag(onal)?\(", code)}
    # D of a fit, information matrices that were checked, drawn covariances, NaN where there is no curvature.
    assert found <= {
        "design.basis",
        "equations.limits",
        "cloning.cloned",
        "equations.dense",
        "laplace.likelihood",
        "equations.moments",
        "bayes.priors",
    }


def test_a_generator_or_its_seed():
    rng = np.random.default_rng(3)
    assert generator(rng) is rng
    for seed in (3, np.int64(3)):
        assert generator(seed).random() == np.random.default_rng(3).random()


@pytest.mark.parametrize("rng", [None, -1, 1.5, True, "seed", np.random, np.random.RandomState(1), [1]], ids=str)
def test_what_is_no_generator_and_no_seed(rng):
    with pytest.raises(ParameterError, match=r"rng must be a numpy Generator, such as .*default_rng\(1\), or a whole"):
        generator(rng)


@pytest.mark.parametrize(
    "name, says", [("Dais", "'Dais'; there are days, week; perhaps you want 'days'"), (3, "3; there")]
)
def test_a_name_that_is_not_known(name, says):
    require_known("term", "days", ["days", "week"])
    with pytest.raises(DesignError, match=f"there is no term {says}"):
        require_known("term", name, ["days", "week"], DesignError)


def test_one_thing_or_several():
    assert several("names", "day") == ["day"] and several("names", 3) == [3]
    assert several("names", ("a", "b")) == several("names", np.array(["a", "b"])) == ["a", "b"]
    with pytest.raises(ParameterError, match=r"names must name one at least; got \[\]"):
        several("names", [])
