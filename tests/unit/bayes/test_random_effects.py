"""Random effects of the draws: their moments and draws against dense conditional distributions."""

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.bayes import random_effects
from lmmlib.bayes.sample import sample
from lmmlib.errors import ParameterError


@pytest.fixture
def drawn(frame):
    return sample("lead ~ week + (week | child)", frame, draws=300, chains=4, warmup=100, rng=1)


def conditional(drawn, chain, t):
    """Means (n, q) and covariances (n, q, q) of b given the parameters of one draw, row by row."""
    D, sigma2, beta = drawn.D[chain, t], drawn.sigma2[chain, t], drawn.beta[chain, t]
    means, covs = [], []
    for i in range(drawn.cross.n_groups):
        y, X, Z = drawn.design.group_rows(i)
        V = Z @ D @ Z.T + sigma2 * np.eye(len(y))
        means.append(D @ Z.T @ np.linalg.solve(V, y - X @ beta))
        covs.append(D - D @ Z.T @ np.linalg.solve(V, Z @ D))
    return np.array(means), np.array(covs)


def test_moments_are_averages_of_conditional_moments(drawn):
    found = [conditional(drawn, chain, t) for chain in range(4) for t in range(300)]
    means, covs = np.array([m for m, _ in found]), np.array([c for _, c in found])
    variances = np.diagonal(covs, axis1=2, axis2=3).mean(axis=0) + means.var(axis=0)
    table = drawn.random_effects()
    np.testing.assert_allclose(table["estimate"].to_numpy().reshape(-1, 2), means.mean(axis=0), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(table["se"].to_numpy().reshape(-1, 2), np.sqrt(variances), rtol=1e-7)
    assert list(table) == ["group", "term", "estimate", "se", "lower", "upper"]
    assert list(table[table["group"] == "c3"]["term"]) == ["(Intercept)", "week"]


def test_limits_are_quantiles_of_the_draws(drawn, monkeypatch):
    """Also where groups are drawn a few at a time, from other random numbers."""
    table, b = drawn.random_effects(0.9), drawn.b()
    limits = np.quantile(b, (0.05, 0.95), axis=(0, 1)).reshape(2, -1)
    np.testing.assert_allclose(table[["lower", "upper"]].to_numpy().T, limits, rtol=1e-12)
    monkeypatch.setattr(random_effects, "BLOCK", 200)
    apart = drawn.random_effects(0.9)
    np.testing.assert_allclose(apart[["estimate", "se"]], table[["estimate", "se"]], rtol=1e-10)
    off = np.abs(apart[["lower", "upper"]].to_numpy().T - limits) / table["se"].to_numpy()
    assert 0 < off.max() < 0.4
    with pytest.raises(ParameterError, match="level must lie between"):
        drawn.random_effects(1.5)


def test_without_limits_nothing_is_drawn(drawn, monkeypatch):
    whole = drawn.random_effects()
    monkeypatch.setattr(random_effects, "draws_of_b", None)
    assert drawn.random_effects(level=None).equals(whole[["group", "term", "estimate", "se"]])


def test_moments_do_not_depend_on_the_blocks(drawn, monkeypatch):
    whole = drawn.random_effects()[["estimate", "se"]]
    monkeypatch.setattr(random_effects, "BLOCK", 200)
    np.testing.assert_allclose(drawn.random_effects()[["estimate", "se"]], whole, rtol=1e-10)


@pytest.mark.parametrize("size", [1.0, 2e6])
def test_effects_far_from_zero_keep_their_sd(size):
    """So far from zero that squares less squared means would lose all digits: 200 rows each, so sigma^2/200."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(8), 200)
    y = size * rng.standard_normal(8)[g] + rng.standard_normal(len(g))
    drawn = sample("y ~ 0 + (1 | g)", pd.DataFrame({"y": y, "g": g}), draws=200, chains=2, warmup=100, rng=1)
    sd = drawn.random_effects()["se"]
    # What the shrinkage takes off, and how sigma2 varies over the draws, are below a hundredth.
    np.testing.assert_allclose(sd, np.sqrt(drawn.sigma2.mean() / 200), rtol=1e-2)


def test_draws_follow_the_conditional_distribution(drawn):
    """Whitened by the dense conditional of its own draw of the parameters, each b is standard normal."""
    b = drawn.b(thin=3)
    white = []
    for chain in range(4):
        for t in range(100):
            mean, cov = conditional(drawn, chain, 3 * t)
            white.append(np.linalg.solve(np.linalg.cholesky(cov), (b[chain, t] - mean)[..., None])[..., 0])
    white = np.array(white).reshape(-1, 2)
    n = len(white)
    assert np.abs(white.mean(axis=0)).max() < 4.5 / np.sqrt(n)
    assert np.abs(np.cov(white.T) - np.eye(2)).max() < 4.5 * np.sqrt(2 / n)
    assert np.abs((white**4).mean(axis=0) - 3).max() < 4.5 * np.sqrt(96 / n)


def test_draws_and_moments_agree(drawn):
    b, table = drawn.b(), drawn.random_effects()
    sd = table["se"].to_numpy().reshape(-1, 2)
    assert (np.abs(b.mean(axis=(0, 1)) - table["estimate"].to_numpy().reshape(-1, 2)) < 5 * sd / np.sqrt(1200)).all()
    np.testing.assert_allclose(b.std(axis=(0, 1)), sd, rtol=0.12)


def test_groups_and_thinning(drawn):
    assert drawn.b().shape == (4, 300, 7, 2)
    some = drawn.b(groups=["c5", "c0"], thin=7)
    assert some.shape == (4, 43, 2, 2)
    np.testing.assert_array_equal(some, drawn.b(groups=["c5", "c0"], thin=7))
    with pytest.raises(ParameterError, match="there is no group 'c9'; the first of 7 is"):
        drawn.b(groups=["c9"])
    with pytest.raises(ParameterError, match="thin"):
        drawn.b(thin=0)


def test_memory_is_refused_before_it_is_used(drawn):
    with pytest.raises(ParameterError, match=r"would take 134 kB of memory, more than 1 kB; choose groups, .*thin=10"):
        drawn.b(max_memory=1000)


def test_other_seeds_give_other_draws(frame):
    one, two = (sample("lead ~ week + (1 | child)", frame, draws=20, rng=s).b() for s in (1, 2))
    assert not np.allclose(one, two)


def test_a_diagonal_D_and_a_tiny_one(frame):
    priors = lmmlib.bayes.priors.Priors(D=lmmlib.bayes.priors.InverseWishart(1e6, 1e-12 * np.eye(2)))
    for formula in ("lead ~ week + (week || child)", "lead ~ week + (week | child)"):
        drawn = sample(formula, frame, priors, draws=20, rng=1)
        assert np.isfinite(drawn.b()).all() and np.abs(drawn.b()).max() < 1e-6
