"""Chi-bar-square tails, and the exact law against an F distribution and against brute force."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import nnls
from scipy.stats import chi2, f, kstest

import lmmlib
from lmmlib.errors import DesignError, ParameterError
from lmmlib.inference.boundary import chi_bar_square_sf, exact_null, orthant_weights, spectrum, variance_weights


def test_chi_bar_square_is_a_mixture():
    assert_allclose(chi_bar_square_sf(3.0, [0, 1], [0.5, 0.5]), 0.5 * chi2.sf(3, 1))
    assert_allclose(chi_bar_square_sf(3.0, [1, 2], [0.5, 0.5]), 0.5 * chi2.sf(3, 1) + 0.5 * chi2.sf(3, 2))
    assert chi_bar_square_sf(0.0, [0, 1], [0.5, 0.5]) == 1.0


@pytest.mark.parametrize("df, weights", [([0, 1], [0.5, 0.6]), ([0, 1], [1.0]), ([0, 1], [1.5, -0.5]), ([-1], [1.0])])
def test_weights_are_probabilities(df, weights):
    with pytest.raises(ParameterError, match="sum to 1"):
        chi_bar_square_sf(1.0, df, weights)


@pytest.fixture
def balanced():
    return lmmlib.build_design("Yield ~ 1 + (1 | Batch)", lmmlib.load("dyestuff"))


@pytest.fixture
def unbalanced():
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(6), [1, 2, 3, 5, 8, 13])
    X = np.column_stack([np.ones(32), rng.standard_normal(32)])
    return lmmlib.Design.from_arrays(rng.standard_normal(32), X, 1 + rng.random((32, 1)), group)


def test_spectrum_is_that_of_the_full_matrices(unbalanced):
    cross = lmmlib.cross_products(unbalanced)
    X, Z = unbalanced.X, lmmlib.dense.big_Z(unbalanced)
    M = np.eye(32) - X @ np.linalg.solve(X.T @ X, X.T)
    mu, many, xi, many_xi = spectrum(cross)
    unit = cross.basis.Rz[0, 0] ** 2
    expected = np.linalg.eigvalsh(Z.T @ M @ Z)
    assert_allclose(unit * np.repeat(mu, many), np.sort(expected[expected > 1e-9]), rtol=1e-9)
    assert_allclose(unit * np.repeat(xi, many_xi), np.sort(np.diag(Z.T @ Z)), rtol=1e-9)


@pytest.mark.parametrize("method, zero", [("REML", 1.0), ("ML", 6 / 5)])
def test_balanced_law_is_that_of_an_f_statistic(balanced, method, zero):
    cross = lmmlib.cross_products(balanced)
    draws = exact_null(cross, method, 20_000, np.random.default_rng(1))
    share, truth = np.mean(draws == 0), f.cdf(zero, 5, 24)
    assert abs(share - truth) < 4 * np.sqrt(truth * (1 - truth) / 20_000)
    # The statistic is a monotone function of F: compare it at quantiles of F, by fits of one response for each.
    for level in (0.9, 0.99):
        F = f.ppf(level, 5, 24)
        y = _response_with(F)
        fits = [lmmlib.fit(f"y ~ 1 + ({k} | g)", y, method=method) for k in "01"]
        tail = np.mean(draws >= lmmlib.compare(*fits).statistic)
        assert abs(tail - (1 - level)) < 4 * np.sqrt(level * (1 - level) / 20_000)


@pytest.mark.parametrize("n_fixed", [1, 2])
def test_a_variance_together_with_fixed_effects(unbalanced, n_fixed):
    """Against simulated fits."""
    rng = np.random.default_rng(2)
    large = replace(unbalanced, X=np.column_stack([unbalanced.X, rng.standard_normal(32)]), x_names=("a", "b", "c"))
    kept = 3 - n_fixed
    small = replace(large, X=large.X[:, :kept], x_names=large.x_names[:kept], Z=np.zeros((32, 0)), z_names=())
    draws = exact_null(lmmlib.cross_products(large), "ML", 4000, rng, n_fixed)
    Y = rng.standard_normal((32, 4000))
    fits = [lmmlib.fit_many(d, Y, method="ML") for d in (small, large)]
    simulated = fits[0].criterion - fits[1].criterion
    assert kstest(draws, simulated).pvalue > 1e-3
    # Negative controls: the variance alone, and the fixed effects alone.
    assert kstest(exact_null(lmmlib.cross_products(large), "ML", 4000, rng), simulated).pvalue < 1e-6
    n = 32 * np.log1p(n_fixed * f.ppf(np.linspace(0.001, 0.999, 4000), n_fixed, 29) / 29)
    assert kstest(n, simulated).pvalue < 1e-3


def _response_with(F):
    """Six groups of five with a given F."""
    import pandas as pd

    within = np.tile([-2.0, -1, 0, 1, 2], 6)
    means = np.arange(6) - 2.5
    scale = np.sqrt(F * (within @ within / 24) / (5 * means @ means / 5))
    return pd.DataFrame({"y": within + np.repeat(scale * means, 5), "g": np.repeat(np.arange(6), 5)})


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_unbalanced_law_is_that_of_simulated_fits(unbalanced, method):
    cross = lmmlib.cross_products(unbalanced)
    draws = exact_null(cross, method, 4000, np.random.default_rng(2))
    Y = np.random.default_rng(3).standard_normal((32, 4000))
    null = replace(unbalanced, Z=np.zeros((32, 0)), z_names=())
    small, large = (lmmlib.fit_many(d, Y, method=method) for d in (null, unbalanced))
    simulated = np.maximum(small.criterion - large.criterion, 0)
    positive = [d[d > 1e-6] for d in (draws, simulated)]
    assert abs(len(positive[0]) - len(positive[1])) < 4 * np.sqrt(2 * 4000 * 0.25)
    assert kstest(*positive).pvalue > 1e-3
    # Negative control: chi-square with one df is another law.
    assert kstest(draws, "chi2", (1,)).pvalue < 1e-6


def test_the_draws_are_reproducible_and_need_a_generator(balanced):
    cross = lmmlib.cross_products(balanced)
    one, two = (exact_null(cross, "REML", 50, rng) for rng in (np.random.default_rng(5), 5))
    assert_allclose(one, two, rtol=0)
    with pytest.raises(ParameterError, match="rng"):
        exact_null(cross, "REML", 50, None)
    with pytest.raises(ParameterError, match="size"):
        exact_null(cross, "REML", 0, np.random.default_rng(5))


def test_one_random_column_only():
    cross = lmmlib.cross_products(lmmlib.build_design("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep")))
    with pytest.raises(DesignError, match="one random column"):
        exact_null(cross, "REML", 10, np.random.default_rng(1))


def test_orthant_weights_of_independent_variances_are_binomial():
    assert_allclose(orthant_weights(np.eye(1)), [0.5, 0.5])
    assert_allclose(orthant_weights(np.diag([1.0, 9.0])), [0.25, 0.5, 0.25])
    assert_allclose(orthant_weights(np.diag([1.0, 4.0, 9.0])), np.array([1, 3, 3, 1]) / 8)
    with pytest.raises(DesignError, match="bootstrap"):
        orthant_weights(np.eye(4))


@pytest.mark.parametrize("r", [2, 3])
def test_orthant_weights_are_those_of_projections(r):
    """Nearest point of the orthant in the metric of the inverse covariance: how many of its coordinates are above 0."""
    rng = np.random.default_rng(r)
    cov = np.array([[1.0, -0.6, -0.3], [-0.6, 1.0, -0.2], [-0.3, -0.2, 1.0]])[:r, :r]
    half, draws = np.linalg.inv(np.linalg.cholesky(cov)), rng.standard_normal((4000, r))
    above = [np.count_nonzero(nnls(half, z)[0] > 1e-12) for z in draws]
    share, weights = np.bincount(above, minlength=r + 1) / 4000, orthant_weights(cov)
    assert_allclose(weights.sum(), 1)
    assert (np.abs(share - weights) < 4 * np.sqrt(weights * (1 - weights) / 4000)).all()
    # Negative control: the weights of independent variances are others.
    assert np.abs(share - orthant_weights(np.eye(r))).max() > 0.05


def test_two_variances_together_follow_their_weights():
    """Simulated fits of 150 groups: the mass at zero and the tail, where independent weights (1/4, 1/2, 1/4) fail."""
    n, size = 150, 4000
    t = np.tile(np.arange(4.0), n)
    X, Z = np.column_stack([np.ones(4 * n), t]), np.column_stack([np.ones(4 * n), t])
    make = [lmmlib.Design.from_arrays(t, X, z, np.arange(4 * n) // 4, diagonal=True) for z in (Z[:, :0], Z)]
    Y = np.random.default_rng(8).standard_normal((4 * n, size))
    small, large = (lmmlib.fit_many(d, Y, method="ML") for d in make)
    T = small.criterion - large.criterion
    weights = variance_weights(lmmlib.cross_products(make[1]), np.zeros((2, 2)), 1.0, [0, 1], "ML")
    for c in (1.0, 3.0, 5.0):
        p = chi_bar_square_sf(c, [0, 1, 2], weights)
        assert abs(np.mean(c <= T) - p) < 4 * np.sqrt(p * (1 - p) / size) + 0.005  # 0.005: n is finite
    zero = np.mean(T < 1e-7)
    assert abs(zero - weights[0]) < 0.04
    assert abs(zero - 0.25) > 0.08


@pytest.mark.parametrize("sizes", [[3] * 40, [2] * 9 + [3] * 7 + [4], list(range(1, 12))])
def test_repeated_eigenvalues_are_found_without_the_full_matrix(sizes):
    rng = np.random.default_rng(9)
    group = np.repeat(np.arange(len(sizes)), sizes)
    X = np.column_stack([np.ones(len(group)), rng.standard_normal((len(group), 2))])
    design = lmmlib.Design.from_arrays(X[:, 1], X, np.ones((len(group), 1)), group)
    Z, M = lmmlib.dense.big_Z(design), np.eye(len(group)) - X @ np.linalg.pinv(X)
    mu, many, xi, many_xi = spectrum(lmmlib.cross_products(design))
    expected = np.linalg.eigvalsh(Z.T @ M @ Z)
    assert_allclose(np.repeat(mu, many), expected[expected > 1e-8], rtol=1e-8)
    assert_allclose(np.repeat(xi, many_xi), np.sort(sizes))


def test_no_residual_beyond_the_groups():
    w, g = np.tile([0.0, 1.0], 4), np.repeat(np.arange(4), 2)
    X = np.column_stack([np.ones(8), w[:, None] * (g[:, None] == np.arange(4))])
    for z, words in ((1.0 + g, "0 residual"), (np.ones(8), r"do not identify D\[z0, z0\] and sigma2")):
        cross = lmmlib.cross_products(lmmlib.Design.from_arrays(np.arange(8.0), X, z[:, None], g))
        with pytest.raises(DesignError, match=words):
            exact_null(cross, "REML", 5, np.random.default_rng(1))
