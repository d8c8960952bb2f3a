"""Designs: shapes, labels, order of rows, bad arrays."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib import Design
from lmmlib.errors import DataError

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
