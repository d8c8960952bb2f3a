"""The Poisson family is SciPy's distribution: densities, cumulants, deviance, and counts of any size."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit
from scipy.stats import norm, poisson

from lmmlib.glmm.family import LARGE, Poisson
from lmmlib.glmm.rows import Rows
from lmmlib.glmm.search import Objective
from tests.unit.glmm.designs import design, differences

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
    eta, slope = Poisson(Y).population(np.array([0.7]), np.array([0.64]))
    assert_allclose(np.exp(eta), np.trapezoid(np.exp(0.7 + 0.8 * z) * norm.pdf(z), z), rtol=1e-9)
    assert slope == 0.5


def test_simulated_counts_have_mean_and_variance():
    mu = np.tile([0.5, 20.0], (40_000, 1))
    drawn = Poisson(Y).simulate(np.random.default_rng(1), mu)
    for moment in (drawn.mean(axis=0), drawn.var(axis=0)):
        assert (np.abs(moment - mu[0]) < 5 * np.sqrt((mu[0] + 2 * mu[0] ** 2) / len(mu))).all()


class Bernoulli:
    """Successes with logit link: whatever the derivatives need of a family, with cumulants that all differ."""

    constant, large = 0.0, False

    def __init__(self, y):
        self.y = y

    def mean(self, eta):
        return expit(eta)

    def log_density(self, eta, mu):
        return self.y * eta - np.logaddexp(0, eta)

    def cumulants(self, mu):
        v = mu * (1 - mu)
        return v, v * (1 - 2 * mu), v * (1 - 6 * v)

    def near(self):
        return np.log(3.0) * (2 * self.y - 1), np.full(len(self.y), 0.2)


@pytest.mark.parametrize(("q", "p", "diagonal"), [(1, 2, False), (2, 2, False), (2, 3, True), (3, 2, False)])
@pytest.mark.parametrize("method", ["laplace", "aghq"])
def test_another_family_has_exact_derivatives_too(q, p, diagonal, method):
    if method == "aghq" and q > 2:
        pytest.skip("no quadrature of three effects")
    d = design(q=q, p=p, diagonal=diagonal)
    o = Objective(Rows.of(d.with_response(d.y > np.median(d.y)), Bernoulli), method, 5)
    psi = 0.5 * np.random.default_rng(1).normal(size=p + len(o.rows.coordinates))
    _, gradient, hessian = o.derivatives(psi)
    # As for counts; the Hessian by quadrature is one of differences itself.
    assert_allclose(gradient, differences(lambda at: o.derivatives(at)[0], psi), rtol=1e-6, atol=1e-6)
    by_differences = differences(lambda at: o.derivatives(at)[1], psi)
    assert_allclose(hessian, by_differences, rtol=1e-6, atol=1e-6 * np.abs(hessian).max())


def test_another_family_by_quadrature_is_its_integral():
    d = design(q=1, p=2)
    y = (d.y > np.median(d.y)) * 1.0
    o = Objective(Rows.of(d.with_response(y), Bernoulli), "aghq", 30)
    beta, sd, u = np.array([0.3, -0.4]), 0.9, np.linspace(-10, 10, 2001)
    eta = (d.X @ beta)[:, None] + sd * u
    given = np.stack([(y[:, None] * eta - np.logaddexp(0, eta))[d.rows(i)].sum(axis=0) for i in range(d.n_groups)])
    exact = np.log(np.trapezoid(np.exp(given) * norm.pdf(u), u)).sum()
    psi = np.append(o.rows.basis.Rx @ beta, sd * abs(o.rows.basis.Rz[0, 0]))
    assert_allclose(o.derivatives(psi)[0], exact, rtol=1e-10)
