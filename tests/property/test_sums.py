"""Cross-products add over chunks of rows, and nothing depends on the order of rows or on the labels of groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lmmlib import Design, cross_products, equations
from lmmlib.errors import DesignError
from tests.tolerances import LIKELIHOOD, SUMS

D = np.array([[1.3, 0.2], [0.2, 0.7]])


def growth(rng, sizes, times=None):
    """Columns 1, time, a group-level covariate and its product with time; Z = (1, time)."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    time = rng.normal(size=len(group)) if times is None else np.resize(times, len(group)).astype(float)
    level = rng.normal(size=len(sizes))[group]
    X = np.column_stack([np.ones(len(group)), time, level, level * time])
    b = rng.normal(size=(len(sizes), 2))[group]
    centred = time - time.mean()
    y = 3 - centred + level * (0.5 + 2 * centred) + b[:, 0] + b[:, 1] * centred + rng.normal(size=len(group))
    return Design.from_arrays(y, X, X[:, :2], np.array([f"g{i}" for i in range(len(sizes))])[group])


def part(design, rows):
    """A chunk as a user has it: its own rows, in their order, and only the groups that occur in it."""
    labels = np.array(design.group_names)[design.group[rows]]
    return Design.from_arrays(
        design.y[rows], design.X[rows], design.Z[rows], labels, x_names=design.x_names, z_names=design.z_names
    )


def agree(merged, whole, D=D):
    place = [merged.group_names.index(name) for name in whole.group_names]
    assert merged.n_obs == whole.n_obs
    assert set(merged.group_names) == set(whole.group_names)
    assert (merged.n_i[place] == whole.n_i).all()
    for key in ("ZtZ", "ZtX", "Zty"):
        ours, theirs = getattr(merged, key)[place], getattr(whole, key)
        assert_allclose(ours, theirs, rtol=0, atol=SUMS * np.abs(theirs).max(), err_msg=key)
    for key in ("XtX", "Xty", "yty"):
        ours, theirs = getattr(merged, key), getattr(whole, key)
        assert_allclose(ours, theirs, rtol=0, atol=SUMS * np.abs(theirs).max(), err_msg=key)
    for likelihood in (equations.profile_loglik, equations.restricted_loglik):
        assert_allclose(likelihood(merged, D, 0.8), likelihood(whole, D, 0.8), rtol=0, atol=LIKELIHOOD)
    ours, theirs = equations.gls(merged, D, 0.8), equations.gls(whole, D, 0.8)
    assert_allclose(ours.beta, theirs.beta, rtol=1e-8, atol=1e-8)
    assert_allclose(ours.se, theirs.se, rtol=1e-8)


def total(chunks):
    merged = cross_products(chunks[0])
    for chunk in chunks[1:]:
        merged = merged + cross_products(chunk)
    return merged


@given(st.data())
def test_any_split_of_the_rows_adds_up(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=3, max_size=7))
    sizes += [4] * (sum(sizes) < 8)
    design = growth(rng, sizes)
    n_chunks = data.draw(st.integers(2, 4))
    chunk_of = rng.integers(0, n_chunks, design.n_obs)
    chunk_of[:n_chunks] = np.arange(n_chunks)
    rows = [rng.permutation(np.flatnonzero(chunk_of == c)) for c in range(n_chunks)]
    agree(total([part(design, r) for r in rows]), cross_products(design))
    agree(total([design.take(r) for r in rows]), cross_products(design))


@pytest.mark.parametrize("times", [(0.0, 1.0, 4.0, 6.0), (2015.0, 2016.0, 2019.0, 2021.0)])
@pytest.mark.parametrize("first", [0, 1, 3])
def test_chunks_in_which_a_column_is_constant(times, first):
    """One file per visit: in each, time is a constant, and X has rank two instead of four."""
    design = growth(np.random.default_rng(3), [4] * 8, times)
    visits = np.argsort([(k - first) % 4 for k in range(4)])
    # A covariance of intercepts at the mean year, said in terms of intercepts at year 0.
    shift = np.array([[1.0, -np.mean(times)], [0.0, 1.0]])
    merged = total([part(design, np.arange(32)[np.arange(32) % 4 == v]) for v in visits])
    agree(merged, cross_products(design), shift @ D @ shift.T)


def test_chunks_by_group_with_a_constant_covariate():
    """One file per child: the child-level covariate is a constant in each, and other groups are absent."""
    design = growth(np.random.default_rng(4), [4, 1, 5, 2, 3])
    agree(total([part(design, design.rows(i)) for i in (3, 1, 4, 0, 2)]), cross_products(design))


def test_single_rows_add_up():
    design = growth(np.random.default_rng(5), [3, 2, 4])
    agree(total([part(design, [r]) for r in range(9)]), cross_products(design))


def test_a_chunk_with_a_zero_column_first():
    """The first file holds the reference treatment only: its indicator column is zero."""
    rng = np.random.default_rng(6)
    treated = np.repeat([0.0, 1.0], 12)
    X = np.column_stack([np.ones(24), np.tile([0.0, 1, 4, 6], 6), treated])
    labels = np.repeat([f"g{i}" for i in range(6)], 4)
    design = Design.from_arrays(rng.normal(size=24) + X @ [20, -1, 4], X, X[:, :2], labels)
    agree(total([part(design, range(12)), part(design, range(12, 24))]), cross_products(design))
    agree(total([part(design, range(12, 24)), part(design, range(12))]), cross_products(design))


def test_addition_is_associative_and_commutes():
    design = growth(np.random.default_rng(7), [3, 4, 5, 2])
    a, b, c = (cross_products(part(design, np.arange(k, 14, 3))) for k in range(3))
    agree((a + b) + c, cross_products(design))
    agree(a + (b + c), cross_products(design))
    agree(c + b + a, cross_products(design))


def test_chunks_of_different_columns_do_not_add():
    design = growth(np.random.default_rng(8), [4, 4])
    other = Design.from_arrays(design.y, design.X, design.Z, design.group, x_names=("a", "b", "c", "d"))
    with pytest.raises(DesignError, match="different columns.*x0.*a"):
        cross_products(design) + cross_products(other)


@given(st.integers(0, 10**6))
def test_row_order_does_not_matter_and_a_balanced_design_has_one_pattern(seed):
    rng = np.random.default_rng(seed)
    design = growth(rng, [4] * rng.integers(2, 9), (0.1, 1.0, 4.0, 6.3))
    shuffled = design.take(rng.permutation(design.n_obs))
    one, other = cross_products(design), cross_products(shuffled)
    assert one.n_patterns == other.n_patterns == 1
    agree(other, one)


@given(st.integers(0, 10**6))
def test_group_labels_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    design = growth(rng, rng.integers(2, 6, size=5))
    renamed = rng.permutation([3.5, -1.0, 7.0, 0.0, 2.0])[design.group]
    other = Design.from_arrays(design.y, design.X, design.Z, renamed)
    for likelihood in (equations.profile_loglik, equations.restricted_loglik):
        one, two = (likelihood(cross_products(d), D, 0.8) for d in (design, other))
        # The same sums in another order: rounding only.
        assert_allclose(one, two, rtol=0, atol=1e-11)
    args = [equations.gls(cross_products(d), D, 0.8).beta for d in (design, other)]
    assert_allclose(*args, rtol=1e-11)
    robust = [equations.sandwich(d, args[0], D, 0.8) for d in (design, other)]
    assert_allclose(*robust, rtol=1e-9, atol=1e-11)
