"""Rotated groups hold the sums of the groups that they stand for."""

import numpy as np
import pytest

import lmmlib
from lmmlib.bayes.rotation import rotate
from lmmlib.design.responses import Responses
from lmmlib.errors import ParameterError


@pytest.fixture
def mixed():
    """Forty groups of two sizes that share two patterns, five of patterns of their own, one without rows."""
    rng = np.random.default_rng(3)
    sizes = np.r_[np.full(25, 4), np.full(15, 2), [1, 3, 5, 6, 7], 2]
    x = np.concatenate([np.arange(k) * 1.0 for k in sizes[:40]] + [rng.normal(size=k) for k in sizes[40:]])
    group = np.repeat(np.arange(len(sizes)), sizes)
    X = np.column_stack([np.ones(len(x)), x, rng.normal(size=len(x))])
    design = lmmlib.Design.from_arrays(rng.normal(size=len(x)), X, X[:, :2], group)
    return design.take(np.flatnonzero(group != 45))


def sums(ZtZ, M, ZtW):
    """Sum over groups of (Z_i'W_i)' M(Z_i'Z_i) (Z_i'W_i)."""
    return np.einsum("gav,gab,gbw->vw", ZtW, M(ZtZ), ZtW)


def of_rotated(r, M, chain=0):
    each = np.broadcast_to(r.of_groups(r.ZtZ)[:, :, 0], (2, 2, len(r.index)))
    return sums(each.transpose(2, 0, 1), M, r.ZtW[:, :, chain].transpose(2, 0, 1))


def inverse(shift):
    """A function of Z_i'Z_i such as the conditionals have: (Z_i'Z_i + S)^-1."""
    return lambda ZtZ: np.linalg.inv(ZtZ + shift * np.array([[1.0, 0.3], [0.3, 0.5]]))


@pytest.mark.parametrize("n_clones", [1, 3])
def test_weighted_sums_are_kept(mixed, n_clones):
    cross = lmmlib.cross_products(mixed)
    r, data = rotate(cross, n_clones=n_clones), Responses.of_cross(cross)
    for shift in (0.1, 3.0):
        expected = n_clones * sums(cross.work.ZtZ, inverse(shift), data.ZtW[0])
        np.testing.assert_allclose(of_rotated(r, inverse(shift)), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(r.WtW, n_clones * data.WtW)


def test_groups_are_counted(mixed):
    r = rotate(lmmlib.cross_products(mixed), n_clones=4)
    # In a large pattern Z_i'[1, x] is the same for all, and two other columns vary: 1 + 2 + 2 directions.
    # Single ones stay, the one without rows is left out.
    assert len(r.index) == 5 + 5 + 5
    assert (r.n_groups, r.n_obs) == (180, 4 * mixed.n_obs)
    assert sorted(r.spare) == [3] * 5 + [60 - 5, 100 - 5]
    assert len(r.index) + r.spare.sum() == r.n_groups


def test_what_the_groups_leave(mixed):
    """The residual cross-products within groups, by least squares of all columns on the Z_i."""
    cross = lmmlib.cross_products(mixed)
    W = np.column_stack([*np.linalg.solve(cross.basis.Rx.T, mixed.X.T), mixed.y - mixed.X @ cross.basis.beta0])
    left = W.copy()
    for i in range(mixed.n_groups):
        rows = mixed.rows(i)
        if len(rows):
            left[rows] -= mixed.Z[rows] @ np.linalg.lstsq(mixed.Z[rows], W[rows], rcond=None)[0]
    np.testing.assert_allclose(rotate(cross).within[0], left.T @ left, rtol=1e-8, atol=1e-9)


def test_many_responses(mixed):
    cross = lmmlib.cross_products(mixed)
    Y = np.random.default_rng(4).normal(size=(mixed.n_obs, 3)) + 5
    r = rotate(cross, Responses.of_columns(cross, mixed, Y))
    for k in range(3):
        one = lmmlib.cross_products(mixed.with_response(Y[:, k]))
        alone = rotate(one)
        np.testing.assert_allclose(
            of_rotated(r, inverse(1.0), k), of_rotated(alone, inverse(1.0)), rtol=1e-8, atol=1e-8
        )
        np.testing.assert_allclose(r.within[k], alone.within[0], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(np.linalg.solve(cross.basis.Rx, r.beta0[k]), one.basis.beta0, rtol=1e-10)


def test_no_random_columns():
    frame = lmmlib.load("dental")
    r = rotate(lmmlib.cross_products(lmmlib.build_design("distance ~ age + (0 | Subject)", frame)))
    assert len(r.index) == len(r.spare) == 0
    np.testing.assert_array_equal(r.within, r.WtW)


@pytest.mark.parametrize("n_clones", [0, 1.5, True])
def test_clones_are_whole(mixed, n_clones):
    with pytest.raises(ParameterError, match="n_clones"):
        rotate(lmmlib.cross_products(mixed), n_clones=n_clones)


def test_dependent_entries_take_no_group():
    """Balanced with X = Z: the products with X are the same for all groups, those with y vary in two directions."""
    frame = lmmlib.load("sleep")
    cross = lmmlib.cross_products(lmmlib.build_design("Reaction ~ Days + (Days | Subject)", frame))
    r = rotate(cross)
    assert len(r.index) == 3 and list(r.spare) == [15]
    data = Responses.of_cross(cross)
    expected = sums(cross.work.ZtZ, inverse(1.0), data.ZtW[0])
    np.testing.assert_allclose(of_rotated(r, inverse(1.0)), expected, rtol=1e-10, atol=1e-10 * expected[0, 0])


def test_rounding_does_not_turn_the_groups(mixed):
    """Columns in other units, the same up to rounding in the working basis: the same rotated groups."""
    other = lmmlib.Design.from_arrays(mixed.y, mixed.X * [1.0, 1 / 3, 7.0], mixed.Z * [1.0, 1 / 3], mixed.group)
    one, two = rotate(lmmlib.cross_products(mixed)), rotate(lmmlib.cross_products(other))
    np.testing.assert_allclose(one.ZtW, two.ZtW, atol=1e-9 * np.abs(one.ZtW).max())
