"""Cross-products: dependent columns, patterns of groups, groups without rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import Design, cross_products, equations
from lmmlib.errors import DesignError

N = 12


RNG = np.random.default_rng(4)


Y = RNG.normal(size=N)


TIME = np.tile([0.0, 1.0, 4.0, 6.0], 3)


X = np.column_stack([np.ones(N), TIME])


GROUP = np.repeat(["b", "a", "c"], 4)


# ---------------------------------------------------------------- dependent columns

NAMED = {
    "combination": (2 * TIME + 1, r"'w' .*linear combination of others \(w = 1 one \+ 2 time\)"),
    "multiple": (3 * TIME, r"\(w = 3 time\)"),
    "constant": (np.full(N, 5.0), r"\(w = 5 one\)"),
    "zero": (np.zeros(N), "'w'.* is zero in every row"),
    "large constant": (TIME + 1e9, r"'w'.*linear combination"),
    "small multiple": (1e-9 * TIME, r"\(w = 1e-09 time\)"),
}


@pytest.mark.parametrize("name", NAMED)
def test_dependent_columns_are_named_with_their_combination(name):
    column, words = NAMED[name]
    cross = cross_products(Design.from_arrays(Y, np.column_stack([X, column]), X, GROUP, x_names=("one", "time", "w")))
    D = np.eye(2)
    for call in (
        cross.require_full_rank,
        lambda: equations.gls(cross, D, 1.0),
        lambda: equations.ols(cross),
        lambda: equations.ols_covariance(cross, D, 1.0),
        lambda: equations.profile_loglik(cross, D, 1.0),
        lambda: equations.restricted_loglik(cross, D, 1.0),
        lambda: equations.information_variance(cross, D, 1.0),
        lambda: equations.score_variance(cross, D, 1.0),
        lambda: equations.satterthwaite(cross, [0, 1, 0], D, 1.0),
        lambda: equations.kenward_roger(cross, [0, 1, 0], D, 1.0),
    ):
        with pytest.raises(DesignError, match=words):
            call()


def test_dependent_columns_do_not_harm_what_needs_no_estimate():
    """The likelihood at a given beta, and its score, exist whatever the rank of X."""
    d = Design.from_arrays(Y, np.column_stack([X, 3 * TIME]), X, GROUP)
    cross, beta, D = cross_products(d), [1.0, 0.5, -0.2], np.eye(2)
    assert_allclose(equations.loglik(cross, beta, D, 1.0), lmmlib.dense.loglik(d, beta, D, 1.0), rtol=1e-12)
    score = d.X.T @ np.linalg.solve(lmmlib.dense.V(d, D, 1.0), d.y - d.X @ beta)
    assert_allclose(equations.score_beta(cross, beta, D, 1.0), score, rtol=1e-11, atol=1e-12)


def test_more_columns_than_rows():
    d = Design.from_arrays(Y[:3], RNG.normal(size=(3, 5)), X[:3], GROUP[:3])
    with pytest.raises(DesignError, match="linear combination"):
        equations.gls(cross_products(d), np.eye(2), 1.0)


def test_nearly_dependent_columns_are_ordinary():
    """A part of 1e-6 of its length that no other column explains is enough, as in calendar years squared."""
    year = 2000 + TIME
    d = Design.from_arrays(Y, np.column_stack([X[:, 0], year, year**2]), X[:, :1], GROUP)
    plain = Design.from_arrays(Y, np.column_stack([X, TIME**2]), X[:, :1], GROUP)
    for likelihood in (equations.profile_loglik, equations.restricted_loglik):
        values = [likelihood(cross_products(design), 1.0, 1.0) for design in (d, plain)]
        assert_allclose(values[0], values[1], rtol=1e-8)


def test_dependent_random_columns_are_ordinary():
    """Z of rank one: V is what counts."""
    Z = np.column_stack([X[:, 1], 2 * X[:, 1], np.zeros(N)])
    d = Design.from_arrays(Y, X, Z, GROUP)
    assert_allclose(
        equations.profile_loglik(cross_products(d), np.eye(3), 1.0),
        lmmlib.dense.profile_loglik(d, np.eye(3), 1.0),
        rtol=1e-12,
    )


# ---------------------------------------------------------------- patterns


def test_groups_with_one_design_share_a_pattern():
    assert cross_products(Design.from_arrays(Y, X, X, GROUP)).n_patterns == 1
    d = Design.from_arrays(Y, X, X, GROUP).take(np.arange(11))
    cross = cross_products(d)
    assert cross.n_patterns == 2
    assert cross.patterns[1][0] == cross.patterns[1][1] != cross.patterns[1][2]


def test_patterns_are_told_apart_at_every_scale():
    """Times that differ by 1e-6 of their size are different designs."""
    time = TIME.copy()
    time[3] += 1e-6
    moved = np.column_stack([np.ones(N), time])
    assert cross_products(Design.from_arrays(Y, X, moved, GROUP)).n_patterns == 2


def test_groups_without_rows_change_nothing():
    whole = Design.from_arrays(Y, X, X, GROUP)
    part = whole.take(np.flatnonzero(GROUP != "a"))
    alone = Design.from_arrays(Y[GROUP != "a"], X[GROUP != "a"], X[GROUP != "a"], GROUP[GROUP != "a"])
    one, other = cross_products(part), cross_products(alone)
    assert one.n_groups == 3 and other.n_groups == 2
    for likelihood in (equations.profile_loglik, equations.restricted_loglik):
        assert_allclose(likelihood(one, np.eye(2), 1.0), likelihood(other, np.eye(2), 1.0), rtol=1e-13)
    for method in ("ML", "REML"):
        args = (np.eye(2), 1.0)
        assert_allclose(
            equations.information_variance(one, *args, method=method),
            equations.information_variance(other, *args, method=method),
            rtol=1e-12,
        )


def test_attributes_of_cross_products():
    cross = cross_products(Design.from_arrays(Y, X, X[:, :1], GROUP))
    assert (cross.n_obs, cross.n_groups, cross.n_patterns) == (12, 3, 1)
    shapes = [getattr(cross, k).shape for k in ("ZtZ", "ZtX", "Zty", "XtX", "Xty")]
    assert shapes == [(3, 1, 1), (3, 1, 2), (3, 1), (2, 2), (2,)]
    assert isinstance(cross.yty, float)


def test_patterns_are_numbered_as_their_groups():
    """Also when all are distinct; each group finds its own Z_i'Z_i."""
    for time in (TIME, np.arange(N) ** 1.5, np.r_[TIME[:8], 9.0, 1.0, 4.0, 6.0]):
        cross = cross_products(Design.from_arrays(Y, X, np.column_stack([X[:, 0], time]), GROUP))
        patterns, index = cross.patterns
        assert_allclose(patterns[index], cross.work.ZtZ, rtol=0, atol=1e-9)
        assert len(patterns) == len(np.unique(np.round(cross.work.ZtZ, 6), axis=0))
