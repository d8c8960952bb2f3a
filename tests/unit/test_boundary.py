"""Chi-bar-square tails, and the exact law against an F distribution and against brute force."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2, f, kstest

import lmmlib
from lmmlib.boundary import chi_bar_square_sf, exact_null, spectrum
from lmmlib.errors import DesignError, ParameterError


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
        fits = [lmmlib.fit(f"y ~ 1 + ({k} | g)", y, method) for k in "01"]
        tail = np.mean(draws >= lmmlib.compare(*fits).statistic)
        assert abs(tail - (1 - level)) < 4 * np.sqrt(level * (1 - level) / 20_000)


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
    from dataclasses import replace

    null = replace(unbalanced, Z=np.zeros((32, 0)), z_names=())
    small, large = (lmmlib.fit_many(d, Y, method) for d in (null, unbalanced))
    simulated = np.maximum(small.criterion - large.criterion, 0)
    positive = [d[d > 1e-6] for d in (draws, simulated)]
    assert abs(len(positive[0]) - len(positive[1])) < 4 * np.sqrt(2 * 4000 * 0.25)
    assert kstest(*positive).pvalue > 1e-3
    # Negative control: chi-square with one df is another law.
    assert kstest(draws, "chi2", (1,)).pvalue < 1e-6


def test_the_draws_are_reproducible_and_need_a_generator(balanced):
    cross = lmmlib.cross_products(balanced)
    one, two = (exact_null(cross, "REML", 50, np.random.default_rng(5)) for _ in range(2))
    assert_allclose(one, two, rtol=0)
    with pytest.raises(ParameterError, match="rng"):
        exact_null(cross, "REML", 50, 5)
    with pytest.raises(ParameterError, match="size"):
        exact_null(cross, "REML", 0, np.random.default_rng(5))


def test_one_random_column_only():
    cross = lmmlib.cross_products(lmmlib.build_design("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep")))
    with pytest.raises(DesignError, match="one random column"):
        exact_null(cross, "REML", 10, np.random.default_rng(1))
