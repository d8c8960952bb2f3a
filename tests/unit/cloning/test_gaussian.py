"""What linear algebra knows of clones: copies of sums, proper posteriors, flat directions, vanishing eigenvalues."""

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib import equations
from lmmlib.bayes.priors import Flat, InverseGamma, Normal, Priors, Reciprocal
from lmmlib.cloning.clone import clone
from lmmlib.cloning.gaussian import copies, improper_clones
from lmmlib.design.design import Design
from lmmlib.errors import DesignError, ParameterError


def stacked(design, K):
    """K copies of the rows, each with groups of its own."""
    group = np.concatenate([design.group + k * design.n_groups for k in range(K)])
    return Design.from_arrays(
        np.tile(design.y, K), np.tile(design.X, (K, 1)), np.tile(design.Z, (K, 1)), group, x_names=design.x_names
    )


@pytest.mark.parametrize("K", [1, 2, 3, 10])
def test_copies_are_cross_products_of_copied_rows(design, D, K):
    ours, theirs = copies(lmmlib.cross_products(design), K), lmmlib.cross_products(stacked(design, K))
    assert (ours.n_obs, ours.n_groups) == (theirs.n_obs, theirs.n_groups)
    np.testing.assert_allclose(ours.XtX, theirs.XtX, rtol=1e-12)
    one, many = (equations.loglik(c, [25.0, -1.0], D, 1.7) for c in (lmmlib.cross_products(design), ours))
    assert many == pytest.approx(K * one, rel=1e-12)
    assert many == pytest.approx(equations.loglik(theirs, [25.0, -1.0], D, 1.7), rel=1e-12)


def pair():
    """Two groups."""
    return pd.DataFrame({"g": [0, 0, 0, 1, 1, 1], "y": [1.0, 2.0, 1.5, 3.0, 3.5, 2.8]})


def test_more_clones_may_be_proper():
    """Flat standard deviations and two groups: one clone has no posterior, two have."""
    found = clone("y ~ 1 + (1 | g)", pair(), (1, 2, 20), Priors(sigma=Flat(), D=Flat()), draws=50, rng=1)
    assert found.n_clones == (2, 20) and list(found.improper) == [1]
    assert "flat prior of the standard deviation" in found.improper[1]
    assert "no draws for K = 1: with a flat prior" in repr(found)
    with pytest.raises(ParameterError, match="no draws for n_clones = 1: with a flat prior"):
        found.draws(1)
    cross = lmmlib.cross_products(lmmlib.build_design("y ~ 1 + (1 | g)", pair()))
    assert improper_clones(cross, Priors().resolved(cross), (1, 5)) == {}


def test_never_proper(frame):
    with pytest.raises(ParameterError, match=r"for n_clones = 1, 10, 25: with p\(D\) proportional to 1/\|D\|"):
        clone("lead ~ week + (week | child)", frame, priors=Priors(D=Reciprocal()))
    alone = frame.drop_duplicates("child")
    with pytest.raises(
        ParameterError, match=r"= 1, 1,000,000: with p\(sigma2\) proportional to 1/sigma2 .* the 7 rows are"
    ):
        clone("lead ~ 1 + (1 | child)", alone, (1, 10**6), Priors(sigma=Reciprocal()), unidentified="allow")


def test_dependent_columns(frame):
    """A normal prior makes up for a dependent column; cloning shows that the data do not."""
    both = frame.assign(day=7 * frame.week)
    priors = Priors(Normal([25.0, 0.0, 0.0], 100.0), InverseGamma(2.0, 1.0), InverseGamma(2.0, 1.0))
    formula = "lead ~ week + day + (1 | child)"
    with pytest.raises(DesignError, match="day"):
        clone(formula, both)
    found = clone(formula, both, (1, 10, 100), priors, rng=2)
    assert found.verdicts()["verdict"].tolist()[:3] == ["estimable", "not estimable", "not estimable"]
    assert found.verdicts()["verdict"].tolist()[4] == "estimable"
    np.testing.assert_allclose(found.null_directions().iloc[0, :3], [0, -1, 1 / 7], atol=1e-9)
    slope = found.on(slope=lambda f: f["week"] + 7 * f["day"])
    assert slope.verdicts().loc["slope", "verdict"] == "estimable"
    direct = lmmlib.fit("lead ~ week + (1 | child)", frame, method="ML")
    assert slope.parameters()["slope"] == pytest.approx(direct.beta["week"], abs=0.2 * direct.se["week"])


def test_a_strong_prior_needs_more_clones(frame):
    """Against a prior worth thousands of rows ten clones do little; the model has no flat direction, and it is said."""
    priors = Priors(Normal([25.0, 5.0], 1e-6), InverseGamma(2.0, 1.0), InverseGamma(2.0, 1.0))
    table = clone("lead ~ week + (1 | child)", frame, (1, 10), priors, rng=3).verdicts()
    assert table.loc["week", "verdict"] == "too few clones"
    assert (
        clone("lead ~ week + (1 | child)", frame, (1, 10, 10**8, 10**9), priors, rng=3)
        .verdicts()["verdict"]
        .eq("estimable")
        .all()
    )


def flat_groups(n=30, m=4, seed=8):
    """Group means closer together than chance: the estimate of tau2 is zero."""
    e = np.random.default_rng(seed).normal(size=(n, m))
    y = (e - 0.7 * e.mean(axis=1, keepdims=True)).ravel()
    return pd.DataFrame({"g": np.repeat(np.arange(n), m), "x": np.tile(np.arange(m), n), "y": y})


@pytest.mark.parametrize("K", [25, 10**6])
def test_a_variance_estimated_by_zero(K):
    frame = flat_groups()
    assert lmmlib.fit("y ~ 1 + (1 | g)", frame, method="ML").is_singular
    found = clone("y ~ 1 + (1 | g)", frame, (1, K), rng=4)
    assert found.edge == 1
    assert found.verdicts()["verdict"].tolist() == ["estimable", "at a boundary", "estimable"]
    assert "D tends to a matrix of rank 0" in repr(found)
    exact = lmmlib.fit("y ~ 1 + (1 | g)", frame, method="ML")
    assert found.parameters()["sigma2"] == pytest.approx(exact.sigma2, abs=0.01 * exact.sigma2 + exact.sigma2 / K)
    assert found.parameters().iloc[1] < 0.1 / K


def line_groups(seed=5):
    """Intercepts and slopes of 20 groups that are proportional but for a hair less than the noise."""
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(20), 4), np.tile([-1.0, 0.0, 1.0, 2.0], 20)
    z, e = rng.normal(size=20), rng.normal(size=(20, 4))
    X = np.column_stack([np.ones(4), [-1.0, 0.0, 1.0, 2.0]])
    e -= 0.6 * e @ X @ np.linalg.solve(X.T @ X, X.T)
    return pd.DataFrame({"g": g, "x": x, "y": 2 * z[g] + z[g] * x + e.ravel()})


def test_a_D_of_rank_one():
    frame = line_groups()
    exact = lmmlib.fit("y ~ x + (x | g)", frame, method="ML")
    assert exact.is_singular and np.linalg.matrix_rank(exact.D, tol=1e-4) == 1
    found = clone("y ~ x + (x | g)", frame, (1, 25, 2500), rng=6)
    assert found.edge == 1 and "D tends to a matrix of rank 1" in repr(found)
    off = (found.parameters().iloc[2:5] - exact.D.to_numpy()[[0, 1, 1], [0, 0, 1]]).abs()
    assert (off < 0.02 * found.se.iloc[2:5]).all()


def test_interior_estimates_have_no_edge():
    frame = lmmlib.load("sleep")
    assert clone("Reaction ~ Days + (Days | Subject)", frame, draws=200, rng=7).edge == 0
    assert clone("Reaction ~ Days + (Days || Subject)", frame, draws=200, rng=7).edge == 0
    rng = np.random.default_rng(9)
    many = flat_groups().assign(y=rng.normal(size=120))
    no_effects = clone(lmmlib.build_design("y ~ x + (0 | g)", many), draws=50, rng=7)
    assert no_effects.edge == 0 and list(no_effects.about) == ["(Intercept)", "x", "sigma2"]


def test_one_of_two_variances_is_zero():
    """Uncorrelated effects: the one that is zero is named."""
    frame = flat_groups()
    frame["y"] = frame.y + np.random.default_rng(10).normal(size=30)[frame.g] * frame.x
    found = clone("y ~ x + (x || g)", frame, (1, 25, 2500), rng=8)
    verdicts = found.verdicts()["verdict"]
    assert found.edge == 1
    assert verdicts["D[(Intercept), (Intercept)]"] == "at a boundary" and verdicts["D[x, x]"] == "estimable"
