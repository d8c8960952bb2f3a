"""Moment estimates of the variances: closed forms by hand, unbalanced designs, and when they do not exist."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import Design
from lmmlib.equations import anova_estimates, two_stage_estimates
from lmmlib.errors import DesignError

RNG = np.random.default_rng(7)
TIME = np.tile([0.0, 1.0, 4.0, 6.0], 6)
X = np.column_stack([np.ones(24), TIME])
GROUP = np.repeat(range(6), 4)
Y = 3 - TIME + RNG.normal(size=6)[GROUP] + RNG.normal(size=24)


def curves(y, X, group):
    """A design with X = Z, by name too."""
    names = tuple(f"c{j}" for j in range(X.shape[1]))
    return Design.from_arrays(y, X, X, group, x_names=names, z_names=names)


def test_one_way_by_hand():
    """Means 2 and 6, MSW = 2, MSB = 2 * 8 = 16: tau2 = (16 - 2) / 2."""
    d = curves([1.0, 3.0, 5.0, 7.0], np.ones((4, 1)), [0, 0, 1, 1])
    for estimates in (anova_estimates(d), two_stage_estimates(d)):
        assert_allclose(estimates.sigma2, 2)
        assert_allclose(estimates.D, [[7]])
        assert estimates.is_valid


def test_henderson_by_its_definition_in_an_unbalanced_design(design):
    """RSS(X), RSS(X, Z) and ranks by numpy on the full matrices."""
    d = Design.from_arrays(design.y, design.X, design.Z[:, 1:], design.group)
    Z = lmmlib.dense.big_Z(d)
    both = np.hstack([d.X, Z])
    rss, rss_x = (((d.y - M @ np.linalg.lstsq(M, d.y, rcond=None)[0]) ** 2).sum() for M in (both, d.X))
    rank = np.linalg.matrix_rank(both)
    sigma2 = rss / (d.n_obs - rank)
    M = np.eye(d.n_obs) - d.X @ np.linalg.pinv(d.X)
    tau2 = (rss_x - rss - sigma2 * (rank - 2)) / np.trace(Z.T @ M @ Z)
    ours = anova_estimates(d)
    assert_allclose(ours.sigma2, sigma2, rtol=1e-10)
    assert_allclose(ours.D, [[tau2]], rtol=1e-9)


def test_anova_estimates_are_unbiased():
    """In expectation: the estimate is a quadratic form y'Ay with tr(A V) = tau2, whatever the design."""
    d = Design.from_arrays(Y, X, X[:, :1], GROUP).take(np.r_[0:3, 4, 8:24])
    V = lmmlib.dense.V(d, 2.0, 0.5)
    half = np.linalg.cholesky(V)
    # The sum over the columns of V^(1/2) of a quadratic form is its expectation.
    total = [anova_estimates(d.with_response(c)) for c in half.T]
    assert_allclose(sum(e.D[0, 0] for e in total), 2.0, rtol=1e-9)
    assert_allclose(sum(e.sigma2 for e in total), 0.5, rtol=1e-9)


def test_a_negative_estimate_is_an_answer_and_says_so():
    y = np.tile([0.0, 2.0, 5.0, -3.0], 6)
    estimates = anova_estimates(Design.from_arrays(y, np.ones((24, 1)), np.ones((24, 1)), GROUP))
    assert estimates.D[0, 0] < 0 and not estimates.is_valid
    assert "not positive semidefinite" in repr(estimates)
    assert "not positive" not in repr(anova_estimates(Design.from_arrays(Y, X, X[:, :1], GROUP)))


def test_groups_without_rows_change_nothing():
    d = Design.from_arrays(Y, X, X[:, :1], GROUP)
    alone = Design.from_arrays(Y[:20], X[:20], X[:20, :1], GROUP[:20])
    assert_allclose(anova_estimates(d.take(np.arange(20))).D, anova_estimates(alone).D, rtol=1e-12)


def test_units_of_the_random_column():
    """z -> 1000 z: tau2 -> tau2 / 1e6."""
    one, other = (anova_estimates(Design.from_arrays(Y, X, c * X[:, 1:], GROUP)) for c in (1.0, 1e3))
    assert_allclose(other.D, one.D / 1e6, rtol=1e-11)
    assert_allclose(other.sigma2, one.sigma2, rtol=1e-11)


NO_ANOVA = {
    "two columns": (Design.from_arrays(Y, X, X, GROUP), r"one random column; this design has 2 \(z0, z1\)"),
    "none": (Design.from_arrays(Y, X, X[:, :0], GROUP), r"has 0 \(none\)"),
    "one group": (Design.from_arrays(Y, X, X[:, :1], 0 * GROUP), "1 groups leave 22 .* and 0 between"),
    "one row per group": (Design.from_arrays(Y, X, X[:, :1], range(24)), "leave 0 degrees of freedom within"),
    "groups as fixed effects": (
        Design.from_arrays(Y, (GROUP[:, None] == range(6)).astype(float), X[:, :1], GROUP),
        "0 between",
    ),
    "zero column": (Design.from_arrays(Y, X, 0 * X[:, :1], GROUP), "0 between"),
    "dependent": (Design.from_arrays(Y, np.column_stack([X, 2 * TIME]), X[:, :1], GROUP), "linear combination"),
}


@pytest.mark.parametrize("name", NO_ANOVA)
def test_when_there_are_no_anova_estimates(name):
    design, words = NO_ANOVA[name]
    with pytest.raises(DesignError, match=words):
        anova_estimates(design)


def test_two_stage_by_its_definition():
    fits = np.array([np.linalg.lstsq(X[:4], Y[GROUP == i], rcond=None)[0] for i in range(6)])
    rss = sum(np.linalg.lstsq(X[:4], Y[GROUP == i], rcond=None)[1][0] for i in range(6))
    ours = two_stage_estimates(curves(Y, X, GROUP))
    assert_allclose(ours.sigma2, rss / 12, rtol=1e-11)
    assert_allclose(ours.D, np.cov(fits.T) - rss / 12 * np.linalg.inv(X[:4].T @ X[:4]), rtol=1e-9)
    assert ours.names == ("c0", "c1")


def test_two_stage_with_rows_in_any_order():
    order = np.random.default_rng(1).permutation(24)
    one, other = two_stage_estimates(curves(Y, X, GROUP)), two_stage_estimates(curves(Y[order], X[order], GROUP[order]))
    assert_allclose(other.D, one.D, rtol=1e-10)


NO_TWO_STAGE = {
    "other columns": (Design.from_arrays(Y, X, X[:, :1], GROUP), "needs X = Z; here X has x0, x1 and Z z0"),
    "unbalanced": (curves(Y, X, GROUP).take(np.arange(23)), "one Z_i'Z_i for all groups; there are 2"),
    "one group": (curves(Y[:4], X[:4], GROUP[:4]), "two groups and more rows"),
    "as many rows as coefficients": (curves(Y[:12], X[[0, 1] * 6], np.repeat(range(6), 2)), "6 groups of 2 rows"),
    "constant in each group": (
        curves(Y, np.column_stack([np.ones(24), GROUP.astype(float)]), GROUP),
        "Z_i'Z_i|do not determine",
    ),
    "dependent": (curves(Y, np.column_stack([X, 2 * TIME]), GROUP), "linear combination"),
}


@pytest.mark.parametrize("name", NO_TWO_STAGE)
def test_when_there_are_no_two_stage_estimates(name):
    design, words = NO_TWO_STAGE[name]
    with pytest.raises(DesignError, match=words):
        two_stage_estimates(design)
