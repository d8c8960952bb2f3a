"""The Poisson family is SciPy's distribution: densities, cumulants, deviance, and counts of any size."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm, poisson

from lmmlib.glmm.family import LARGE
from lmmlib.glmm.poisson import Poisson

Y = np.array([0.0, 1.0, 2.0, 7.0, 40.0])
ETA = np.array([-1.0, 0.3, 0.3, 2.5, 3.0])


@pytest.mark.parametrize("scale", [1, 100])
def test_densities_are_those_of_scipy(scale):
    y, eta = scale * Y, ETA + np.log(scale)
    family = Poisson(y)
    mu = family.mean(eta)
    assert_allclose(family.log_density(eta, mu).sum() + family.constant, poisson.logpmf(y, mu).sum(), rtol=1e-11)


def test_large_counts_keep_their_digits():
    """With a count of 1e12 whose mean is one standard deviation off, the density is that of a normal variable."""
    family = Poisson(np.array([0.0, 1e12]))
    assert family.large and not Poisson(Y).large
    mu = np.array([0.5, 1e12 + 1e6])
    found = family.log_density(np.log(mu), mu)
    assert_allclose(found, [-0.5, -0.5], rtol=1e-4)
    assert_allclose(family.constant, norm.logpdf(0, scale=1e6), rtol=1e-9)


def test_the_constant_is_continuous_where_it_changes_its_form():
    below, above = (Poisson(np.array([y])).constant for y in (LARGE - 1, LARGE))
    assert_allclose(above - below, -0.5 * np.log(LARGE / (LARGE - 1)), rtol=1e-3)


def test_cumulants_are_derivatives_of_the_log_density():
    family, h = Poisson(Y), 1e-4

    def density(eta):
        return family.log_density(eta, family.mean(eta))

    mu = family.mean(ETA)
    assert_allclose((density(ETA + h) - density(ETA - h)) / (2 * h), Y - mu, atol=1e-6)
    for cumulant in family.cumulants(mu):
        assert_allclose(cumulant, mu)


def test_deviance_is_twice_the_gap_to_the_saturated_model():
    family, mu = Poisson(Y), np.exp(ETA)
    assert_allclose(family.deviance(mu), 2 * (poisson.logpmf(Y, Y) - poisson.logpmf(Y, mu)), atol=1e-12)
    assert (Poisson(Y[1:]).deviance(Y[1:]) == 0).all()


def test_the_mean_over_all_groups_is_that_of_a_log_normal_variable():
    z = np.linspace(-9, 9, 4001)
    eta, by_eta, by_variance = Poisson.population(np.array([0.7]), np.array([0.64]))
    assert_allclose(np.exp(eta), np.trapezoid(np.exp(0.7 + 0.8 * z) * norm.pdf(z), z), rtol=1e-9)
    assert (by_eta, by_variance) == (1.0, 0.5)


def test_simulated_counts_have_mean_and_variance():
    mu = np.tile([0.5, 20.0], (40_000, 1))
    drawn = Poisson(Y).simulate(np.random.default_rng(1), mu)
    for moment in (drawn.mean(axis=0), drawn.var(axis=0)):
        assert (np.abs(moment - mu[0]) < 5 * np.sqrt((mu[0] + 2 * mu[0] ** 2) / len(mu))).all()
