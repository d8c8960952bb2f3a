"""Cross-products of many responses: the sums of the working basis, column by column."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense
from lmmlib.design.responses import Responses


@pytest.fixture
def Y(design):
    return np.column_stack([design.y, np.random.default_rng(0).normal(size=(design.n_obs, 3)), 1e6 + design.y])


def sums(design, cross, y):
    """Z'W of all groups and W'W from the rows, W = [X, y - X beta0] in the working basis."""
    X, Z = design.X @ np.linalg.inv(cross.basis.Rx), design.Z @ np.linalg.inv(cross.basis.Rz)
    W = np.column_stack([X, y - X @ (X.T @ y) / len(y)])
    ZtW = np.array([Z[design.rows(i)].T @ W[design.rows(i)] for i in range(design.n_groups)])
    return ZtW, W.T @ W


def test_sums_of_every_column(design, cross, Y):
    data = Responses.of_columns(cross, design, Y)
    assert len(data) == 5
    for b, y in enumerate(Y.T):
        ZtW, WtW = sums(design, cross, y)
        # The last column has an offset of 1e6, whose rounding is 1e-10.
        assert_allclose(data.ZtW[b], ZtW, atol=1e-8)
        assert_allclose(data.WtW[b], WtW, atol=1e-7)


def test_the_response_of_the_design(design, cross):
    one, same = Responses.of_cross(cross), Responses.of_columns(cross, design, design.y[:, None])
    for name in ("ZtW", "WtW", "beta0"):
        assert_allclose(getattr(one, name), getattr(same, name), atol=1e-12)


def test_an_offset_costs_no_digits(design, cross):
    """y and y + 1e9 differ in what is held apart, and hardly in the sums."""
    plain, far = (Responses.of_columns(cross, design, (design.y + c)[:, None]) for c in (0.0, 1e9))
    # Rounding of y itself, 1e9 times 1e-16, in a sum of squares near 100.
    assert_allclose(far.WtW, plain.WtW, atol=1e-4)
    assert_allclose(far.ZtW, plain.ZtW, atol=1e-4)


def test_groups_without_rows_have_zeros(design, Y):
    rows = np.flatnonzero(design.group != 2)
    few = design.take(rows)
    cross = lmmlib.cross_products(few)
    data = Responses.of_columns(cross, few, Y[rows])
    assert few.n_i[2] == 0 and (data.ZtW[:, 2, :, -1] == 0).all()
    for b, y in enumerate(Y[rows].T):
        assert_allclose(data.ZtW[b], sums(few, cross, y)[0], atol=1e-8)


def test_the_last_group_may_be_empty(design, Y):
    rows = np.flatnonzero(design.group != design.n_groups - 1)
    few = design.take(rows)
    cross = lmmlib.cross_products(few)
    data = Responses.of_columns(cross, few, Y[rows])
    assert_allclose(data.ZtW[1], sums(few, cross, Y[rows, 1])[0], atol=1e-9)


def test_take_keeps_the_numbers(design, cross, Y):
    data = Responses.of_columns(cross, design, Y)
    some = data.take(np.array([1, 3]))
    assert len(some) == 2 and data.take(np.arange(5)) is data
    assert_allclose(some.WtW, data.WtW[[1, 3]], rtol=0)
    assert_allclose(some.ZtW, data.ZtW[[1, 3]], rtol=0)
    assert_allclose(some.beta0, data.beta0[[1, 3]], rtol=0)


def test_coefficients_of_the_formula(design, cross, Y):
    """What the working basis leaves of OLS is zero, so beta0 alone is OLS."""
    data = Responses.of_columns(cross, design, Y)
    ours = data.coefficients(cross, np.zeros((5, 2)))
    assert_allclose(ours, np.linalg.lstsq(design.X, Y, rcond=None)[0].T, rtol=1e-9)
    step = data.coefficients(cross, np.ones((5, 2))) - ours
    assert_allclose(step @ cross.basis.Rx.T, 1, rtol=1e-8)


@pytest.mark.parametrize(("q", "p"), [(0, 2), (2, 0), (0, 1)])
def test_no_columns(design, q, p):
    few = lmmlib.Design.from_arrays(design.y, design.X[:, :p], design.Z[:, :q], design.group)
    cross = lmmlib.cross_products(few)
    data = Responses.of_columns(cross, few, np.column_stack([few.y, 2 * few.y]))
    assert data.ZtW.shape == (2, 7, q, p + 1) and data.WtW.shape == (2, p + 1, p + 1)
    assert data.coefficients(cross, np.zeros((2, p))).shape == (2, p)
    assert_allclose(data.WtW[1, -1, -1], 4 * data.WtW[0, -1, -1], rtol=1e-12)
    assert_allclose(data.WtW[:, -1, -1], Responses.of_cross(cross).WtW[0, -1, -1] * np.array([1, 4]), rtol=1e-12)
    assert len(dense.big_Z(few).T) == 7 * q
