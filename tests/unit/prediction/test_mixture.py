"""Mixtures: moments against a sample, quantiles against the distribution function."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm, t

from lmmlib.errors import ParameterError
from lmmlib.prediction.mixture import Mixture, total_moments


def test_total_moments_are_those_of_the_mixture():
    """Against the moments of a sample from it, and against what plug-in keeps."""
    rng = np.random.default_rng(1)
    means, A = rng.normal(size=(3, 2)), rng.normal(size=(3, 2, 2))
    covariances, weights = A @ np.swapaxes(A, 1, 2), np.array([1.0, 2.0, 5.0])
    mean, cov = total_moments(means, covariances, weights)
    z = rng.choice(3, 400_000, p=weights / 8)
    x = means[z] + np.einsum("nab,nb->na", A[z], rng.normal(size=(len(z), 2)))
    assert_allclose(mean, x.mean(axis=0), atol=0.02)
    assert_allclose(cov, np.cov(x.T), atol=0.01)
    assert np.abs(np.einsum("s,sab->ab", weights / 8, covariances) - np.cov(x.T)).max() > 0.3  # one term is not enough


def test_total_moments_per_group_and_default_weights():
    rng = np.random.default_rng(2)
    means, covariances = rng.normal(size=(4, 5, 1)), rng.uniform(size=(4, 5, 1, 1))
    mean, cov = total_moments(means, covariances)
    assert_allclose(mean, means.mean(axis=0))
    assert_allclose(cov[..., 0, 0], covariances.mean(axis=0)[..., 0, 0] + means.var(axis=0)[..., 0])
    weights = rng.uniform(size=(4, 5))
    mean, _ = total_moments(means, covariances, weights)
    assert_allclose(mean[:, 0], np.average(means[..., 0], axis=0, weights=weights))


@pytest.mark.parametrize(
    "arguments",
    [
        (np.ones(3), np.ones((3, 1))),
        (np.ones((3, 2)), np.ones((3, 2))),
        (np.ones((3, 1)), np.ones((3, 1, 1)), [1, 1]),
        (np.ones((3, 1)), np.ones((3, 1, 1)), [1, -1, 3]),
        (np.ones((3, 1)), np.ones((3, 1, 1)), [0, 0, 0]),
    ],
)
def test_total_moments_refuse_what_does_not_fit(arguments):
    with pytest.raises(ParameterError):
        total_moments(*arguments)


@pytest.mark.parametrize("df", [np.inf, 1.0, 7.0])
@pytest.mark.parametrize("p", [1e-6, 0.025, 0.5, 0.975])
def test_quantiles_invert_the_distribution_function(df, p):
    """Also far-off, narrow and wide components."""
    rng = np.random.default_rng(3)
    means, scales = rng.normal(size=(9, 4, 2)) * 10, np.exp(rng.normal(size=(9, 4, 2)) * 3)
    weights = rng.dirichlet(np.ones(9))[:, None, None]
    mixture = Mixture(means, scales, weights, df)
    x = mixture.quantile(p)
    law = norm if np.isinf(df) else t(df)
    assert_allclose((weights * law.cdf((x - means) / scales)).sum(axis=0), p, rtol=1e-6)
    assert_allclose(mixture.cdf(x), p, rtol=1e-6)


def test_quantiles_where_newtons_steps_go_to_and_fro():
    """Narrow and wide Cauchy laws, one column of which Newton's method alone does not solve in hundreds of steps."""
    rng = np.random.default_rng(181)
    components = rng.integers(2, 30)
    means = rng.normal(size=(components, 5)) * 10 ** rng.uniform(-3, 3)
    scales = 10 ** (rng.normal(size=(components, 5)) * rng.uniform(0, 4))
    weights = rng.dirichlet(np.ones(components) * 10 ** rng.uniform(-1, 1), 5).T
    law = Mixture(means, scales, weights, df=1.0)
    assert_allclose(law.cdf(law.quantile(0.5)), 0.5, atol=1e-9)


@pytest.mark.parametrize("df", [np.inf, 1.0, 7.0])
def test_density_is_the_derivative_of_the_distribution_function(df):
    """A wrong one costs steps, not digits, so that no quantile would tell."""
    rng = np.random.default_rng(4)
    law = Mixture(rng.normal(size=(6, 3)), np.exp(rng.normal(size=(6, 3))), rng.dirichlet(np.ones(6))[:, None], df)
    x, h = np.array([-1.0, 0.2, 2.0]), 1e-5
    slope = (law.cdf(x + h) - law.cdf(x - h)) / (2 * h)
    assert_allclose(law.density(x), slope, rtol=1e-7)


def test_quantiles_of_points():
    """Half of the probability at zero: quantiles between stay there."""
    mixture = Mixture(np.zeros((2, 1)), np.array([[0.0], [1.0]]), np.array([[0.5], [0.5]]))
    assert_allclose(mixture.quantile(0.5), 0, atol=1e-9)
    assert_allclose(mixture.quantile(0.3), 0, atol=1e-9)
    assert_allclose(mixture.quantile(0.9), norm.ppf(0.8), rtol=1e-9)
    only = Mixture(np.full((2, 1), 3.0), np.zeros((2, 1)), np.full((2, 1), 0.5))
    assert only.quantile(0.975) == 3.0 and only.cdf(2.9) == 0 and only.cdf(3.0) == 1


def test_quantiles_of_several_points():
    """A step function: the quantile is the point at which it passes p."""
    mixture = Mixture(np.array([[1.0], [2.0], [4.0]]), np.zeros((3, 1)), np.array([[0.2], [0.3], [0.5]]))
    for p, point in ((0.1, 1.0), (0.3, 2.0), (0.6, 4.0)):
        assert_allclose(mixture.quantile(p), point, rtol=1e-12)


def test_one_component_is_its_own_law():
    mixture = Mixture(np.array([[3.0]]), np.array([[2.0]]), np.ones((1, 1)), df=4.0)
    assert_allclose(mixture.quantile(0.9), 3 + 2 * t(4).ppf(0.9), rtol=1e-12)
    assert repr(mixture) == "Mixture of 1 t(4) distributions, for 1"


@pytest.mark.parametrize("p", [0, 1, 95, np.nan, "half", [0.1, 0.9]])
def test_probabilities_lie_between_0_and_1(p):
    with pytest.raises(ParameterError, match="p must be"):
        Mixture(np.zeros((1, 1)), np.ones((1, 1)), np.ones((1, 1))).quantile(p)
