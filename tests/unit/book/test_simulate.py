"""Simulated data: the right law, the given generator, every recipe reproducible, bad parameters named."""

import hashlib

import numpy as np
import pytest

from lmmlib import simulate
from lmmlib.design.design import Design
from lmmlib.errors import ParameterError

NEYMAN_SCOTT = {"n_groups": 4, "n_i": 2, "mu": 2.5, "sigma2": 0.04, "tau2": 0.25}
GROWTH = {"n_groups": 4, "times": (0, 1, 2), "beta": (1, 2), "D": np.eye(2), "sigma2": 1.0}
COUNTS = {"n_groups": 4, "n_i": 2, "mu": 2.0, "sigma": 1.0}


def rng(seed=1):
    return np.random.default_rng(seed)


def design():
    """Three groups of sizes 1, 3 and 2 with mixed rows; two random columns."""
    t = np.array([0.0, 1.0, 2.0, 0.5, 1.5, -1.0])
    X = np.column_stack([np.ones(6), t])
    return Design(
        y=np.zeros(6),
        X=X,
        Z=X,
        group=np.array([1, 0, 1, 2, 1, 2]),
        group_names=("a", "b", "c"),
        x_names=("(Intercept)", "t"),
        z_names=("(Intercept)", "t"),
    )


def covariance(d, D, sigma2):
    """Covariance of the responses, entry by entry from the model."""
    same = d.group[:, None] == d.group[None, :]
    return np.where(same, d.Z @ D @ d.Z.T, 0) + sigma2 * np.eye(len(d.y))


@pytest.mark.parametrize(
    "D",
    [
        [[2.0, 0.5], [0.5, 1.0]],
        [[1.0, -2.0], [-2.0, 4.0]],  # singular: correlation -1
        [[0.0, 0.0], [0.0, 3.0]],
        [[0.0, 0.0], [0.0, 0.0]],
    ],
)
def test_lmm_has_the_mean_and_covariance_of_the_model(D):
    d, D, beta, size = design(), np.array(D), np.array([1.0, -2.0]), 40_000
    y = simulate.lmm(d, beta, D, 0.5, rng(), size=size)
    V = covariance(d, D, 0.5)
    standard = (y - (d.X @ beta)[:, None]) / np.sqrt(np.diag(V))[:, None]
    # Means have standard error 1/200; a product of two standard normals has variance at most 2.
    assert np.abs(standard.mean(axis=1)).max() < 5 / np.sqrt(size)
    R = V / np.sqrt(np.outer(np.diag(V), np.diag(V)))
    assert np.abs(standard @ standard.T / size - R).max() < 5 * np.sqrt(2 / size)


def test_one_response_is_the_first_of_a_batch_of_one():
    one = simulate.lmm(design(), [1, 2], np.eye(2), 1.0, rng())
    assert one.shape == (6,)
    assert np.array_equal(one, simulate.lmm(design(), [1, 2], np.eye(2), 1.0, rng(), size=1)[:, 0])
    assert simulate.lmm(design(), [1, 2], np.eye(2), 1.0, rng(), size=7).shape == (6, 7)


def test_neyman_scott_is_mean_plus_alpha_plus_error():
    frame = simulate.neyman_scott(rng(), n_groups=50_000, n_i=2, mu=2.5, sigma2=0.04, tau2=0.25)
    assert frame.columns.tolist() == ["group", "y", "alpha"] and len(frame) == 100_000
    alpha = frame.groupby("group")["alpha"]
    assert (alpha.nunique() == 1).all()
    errors = (frame["y"] - 2.5 - frame["alpha"]).to_numpy()
    assert alpha.first().var() == pytest.approx(0.25, abs=5 * 0.25 * np.sqrt(2 / 50_000))
    assert errors.var() == pytest.approx(0.04, abs=5 * 0.04 * np.sqrt(2 / 100_000))
    assert errors.mean() == pytest.approx(0, abs=5 * 0.2 / np.sqrt(100_000))


def test_groups_may_differ_in_size_and_tau2_may_be_zero():
    frame = simulate.neyman_scott(rng(), n_groups=3, n_i=[1, 4, 2], mu=0.0, sigma2=1.0, tau2=0.0)
    assert frame["group"].tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert (frame["alpha"] == 0).all()
    assert simulate.counts(rng(), n_groups=2, n_i=(3, 1), mu=0.0, sigma=0.0)["site"].tolist() == [0, 0, 0, 1]


def test_growth_curves_are_straight_lines_with_covariance_D():
    D = np.array([[9.0, 1.5], [1.5, 1.0]])
    frame = simulate.growth_curves(rng(), n_groups=20_000, times=(0, 1, 4), beta=(20, 5), D=D, sigma2=1e-12)
    y = frame["y"].to_numpy().reshape(-1, 3)
    np.testing.assert_allclose(y[:, 2] - y[:, 0], 4 * (y[:, 1] - y[:, 0]), atol=1e-4)  # no noise to speak of
    lines = np.column_stack([y[:, 0], y[:, 1] - y[:, 0]])
    np.testing.assert_allclose(lines.mean(axis=0), [20, 5], atol=5 * 3 / np.sqrt(20_000))
    np.testing.assert_allclose(np.cov(lines.T), D, atol=5 * 9 * np.sqrt(2 / 20_000))
    assert frame["time"].tolist()[:6] == [0, 1, 4, 0, 1, 4]


def test_counts_have_the_log_normal_poisson_moments():
    frame = simulate.counts(rng(), n_groups=100_000, n_i=2, mu=0.5, sigma=0.4)
    pairs = frame["count"].to_numpy().reshape(-1, 2).astype(float)
    mean = np.exp(0.5 + 0.4**2 / 2)
    between = mean**2 * (np.exp(0.4**2) - 1)
    assert pairs.mean() == pytest.approx(mean, abs=0.03)
    assert np.cov(pairs.T)[0, 1] == pytest.approx(between, rel=0.1)
    assert pairs.var() == pytest.approx(mean + between, rel=0.05)
    assert frame["count"].dtype.kind == "i"


# --- recipes ----------------------------------------------------------------------------------------


def test_names_and_sizes_of_the_recipes():
    sizes = {name: len(simulate.recipe(name)) for name in simulate.RECIPES}
    assert sizes == {
        "neyman-scott-m1": 100,
        "neyman-scott-m2": 200,
        "growth": 150,
        "counts-4x2": 8,
        "counts-50x10": 500,
    }
    assert all(name == made.name and made.description for name, made in simulate.RECIPES.items())


@pytest.mark.parametrize(
    "name, digest",
    [
        ("neyman-scott-m1", "47bc5e3bd91d7c81"),
        ("neyman-scott-m2", "214cd2c66e081b0a"),
        ("growth", "dd705142b635eee5"),
        ("counts-4x2", "0531382886145356"),
        ("counts-50x10", "8fc170195d0c1362"),
    ],
)
def test_a_recipe_always_gives_the_same_data(name, digest):
    text = simulate.recipe(name).to_csv(index=False, float_format="%.6f", lineterminator="\n")
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_the_two_neyman_scott_recipes_have_the_same_groups():
    one, two = (simulate.recipe(f"neyman-scott-m{m}").groupby("group")["alpha"].first() for m in (1, 2))
    assert one.equals(two)


def test_an_unknown_recipe_is_refused_with_the_names():
    with pytest.raises(ParameterError, match=r"no recipe 'growht'; there are neyman.*; perhaps you want 'growth'"):
        simulate.recipe("growht")


# --- bad parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function, good, bad",
    [
        (simulate.neyman_scott, NEYMAN_SCOTT, {"n_groups": 0}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"n_groups": 2.5}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"n_i": 0}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"n_i": [1, 2]}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"n_i": [1, 2, 3, 0]}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"mu": np.nan}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"sigma2": 0}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"sigma2": -1}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"tau2": -1e-9}),
        (simulate.neyman_scott, NEYMAN_SCOTT, {"tau2": np.inf}),
        (simulate.growth_curves, GROWTH, {"beta": (1, 2, 3)}),
        (simulate.growth_curves, GROWTH, {"times": (0, np.nan)}),
        (simulate.growth_curves, GROWTH, {"D": np.eye(3)}),
        (simulate.growth_curves, GROWTH, {"D": [[1, 2], [2, 1]]}),
        (simulate.growth_curves, GROWTH, {"sigma2": np.nan}),
        (simulate.counts, COUNTS, {"sigma": -0.1}),
        (simulate.counts, COUNTS, {"n_groups": True}),
    ],
)
def test_a_bad_parameter_is_named(function, good, bad):
    function(rng(), **good)
    (name,) = bad
    with pytest.raises(ParameterError, match=rf"\b{name}\b"):
        function(rng(), **{**good, **bad})


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_a_bad_size_is_named(size):
    with pytest.raises(ParameterError, match="size"):
        simulate.lmm(design(), [1, 2], np.eye(2), 1.0, rng(), size=size)
