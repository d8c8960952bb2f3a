"""Designs and their cross-products: shapes, checks, dependent columns, patterns."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import Design, cross_products, equations
from lmmlib.errors import DataError, DesignError

N = 12
RNG = np.random.default_rng(4)
Y = RNG.normal(size=N)
TIME = np.tile([0.0, 1.0, 4.0, 6.0], 3)
X = np.column_stack([np.ones(N), TIME])
GROUP = np.repeat(["b", "a", "c"], 4)


def test_from_arrays():
    d = Design.from_arrays(Y, X, X[:, :1], GROUP)
    assert (d.n_obs, d.n_groups, d.x_names, d.z_names) == (12, 3, ("x0", "x1"), ("z0",))
    assert d.group_names == ("a", "b", "c")
    assert [d.group_names[i] for i in d.group] == GROUP.tolist()
    assert d.n_i.tolist() == [4, 4, 4]
    y, Xi, Zi = d.group_rows(0)
    assert_allclose(y, Y[4:8])
    assert_allclose(Xi, X[4:8])
    assert_allclose(Zi, X[4:8, :1])


@pytest.mark.parametrize(
    "labels", [[3, 1, 2], [2.5, -1.0, 7.0], ["b", 1, 2.5], [(1, 2), (0, 5), (1, 1)], [True, False, 2]]
)
def test_group_labels_of_any_type(labels):
    group = [labels[i] for i in np.repeat([0, 1, 2], 4)]
    d = Design.from_arrays(Y, X, X, group)
    assert [d.group_names[i] for i in d.group] == group
    assert d.n_groups == len(set(group))


def test_rows_of_a_group_keep_the_order_of_the_data():
    order = np.array([11, 0, 5, 3, 8, 1, 2, 10, 4, 9, 7, 6])
    d = Design.from_arrays(Y[order], X[order], X[order], GROUP[order])
    assert d.rows(1).tolist() == [k for k, row in enumerate(order) if row < 4]


def test_a_design_is_not_changed_by_what_is_made_of_it():
    d = Design.from_arrays(Y, X, X, GROUP)
    other = d.with_response(2 * Y)
    assert_allclose(other.y, 2 * Y)
    assert_allclose(d.y, Y)
    part = d.take(np.arange(4))
    assert part.n_obs == 4 and part.n_groups == 3 and part.n_i.tolist() == [0, 4, 0]
    assert d.n_obs == 12


BAD_ARRAYS = {
    "short y": ((Y[:3], X, X, GROUP), r"\(N,\).*got \(3,\)"),
    "matrix y": ((X, X, X, GROUP), r"got \(12, 2\), "),
    "vector X": ((Y, TIME, X, GROUP), r"\(12,\)"),
    "short group": ((Y, X, X, GROUP[:5]), r"\(5,\)"),
    "matrix group": ((Y, X, X, np.column_stack([GROUP, GROUP])), r"\(12, 2\)"),
    "no rows": (([], np.zeros((0, 1)), np.zeros((0, 1)), []), "no rows"),
    "missing y": ((np.where(TIME == 4, np.nan, Y), X, X, GROUP), "y has a missing or infinite value in row 2"),
    "infinite X": ((Y, np.where(X == 6, np.inf, X), X, GROUP), "X has a missing or infinite value in row 3"),
    "missing Z": ((Y, X, np.where(X == 6, np.nan, X), GROUP), "Z has a missing or infinite value in row 3"),
    "missing group": ((Y, X, X, np.where(TIME == 4, np.nan, 1.0)), "group is missing in row 2"),
    "None as group": ((Y, X, X, [None, *GROUP[1:]]), "group is missing in row 0"),
    "lists as groups": ((Y, X, X, [[1]] * 12), "group"),
    "text": ((["a"] * 12, X, X, GROUP), "numbers"),
    "too large": ((Y, 1e200 * X, X, GROUP), "beyond 1e.150"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(name):
    arrays, words = BAD_ARRAYS[name]
    with pytest.raises(DataError, match=words):
        Design.from_arrays(*arrays)


def test_names_fit_the_columns():
    with pytest.raises(DataError, match="x_names must name 2 columns"):
        Design.from_arrays(Y, X, X, GROUP, x_names=("a",))
    with pytest.raises(DataError, match="z_names must name 1 columns"):
        Design.from_arrays(Y, X, X[:, :1], GROUP, z_names=("a", "b"))


@pytest.mark.parametrize("y", [Y[:3], Y * np.nan, np.column_stack([Y, Y])], ids=["short", "missing", "matrix"])
def test_another_response_has_the_same_shape(y):
    with pytest.raises(DataError, match=r"must be \(12,\) finite numbers"):
        Design.from_arrays(Y, X, X, GROUP).with_response(y)


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
        args = (np.eye(2), 1.0, method)
        assert_allclose(
            equations.information_variance(one, *args),
            equations.information_variance(other, *args),
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
