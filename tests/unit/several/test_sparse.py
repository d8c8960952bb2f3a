"""What is eliminated level by level is what full matrices give."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from lmmlib.several import sparse as module
from lmmlib.several.sparse import Full, Plan, Sparse


def pattern_of(seed, m=40, rows=45):
    """Rows of some columns each, which are neighbours."""
    rng = np.random.default_rng(seed)
    meet = (rng.random((rows, m)) < rng.choice([0.03, 0.1])).astype(float)
    A = sparse.csr_array(((meet.T @ meet + np.eye(m)) > 0).astype(float))
    A.sort_indices()
    return A


def matrix_of(pattern, seed):
    B = np.random.default_rng(seed).normal(size=pattern.shape) * pattern.toarray()
    return B + B.T + np.diag(2 * np.abs(B + B.T).sum(axis=1) + 0.1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("full", [0, 7])
def test_determinant_inverse_and_solutions(seed, full, monkeypatch):
    monkeypatch.setattr(module, "FULL", full)
    monkeypatch.setattr(module, "FEW", [1 / 14, 1.0][seed % 2])
    pattern = pattern_of(seed)
    B, plan = matrix_of(pattern, seed + 100), Plan.of(pattern)
    assert sorted(plan.order) == list(range(40)) and (seed % 2 == 0 or plan.full <= full)
    found, inverse = Sparse(plan, sparse.csr_array(B)), np.linalg.inv(B)
    assert_allclose(found.logdet, np.linalg.slogdet(B)[1], rtol=1e-12)
    assert_allclose(found.inverse.toarray(), inverse * pattern.toarray(), atol=1e-13)
    v = np.random.default_rng(seed).normal(size=(40, 3))
    kept = v.copy()
    assert_allclose(found.solve(v), inverse @ v, atol=1e-12)
    assert (v == kept).all()
    assert_allclose(Full(B).inverse, inverse, atol=1e-13)
    assert_allclose(Full(B).solve(v), inverse @ v, atol=1e-12)
    assert_allclose(Full(B).logdet, found.logdet, rtol=1e-12)


def test_entries_that_are_zero_may_be_missing(monkeypatch):
    monkeypatch.setattr(module, "FULL", 0)
    pattern = pattern_of(3)
    B = np.diag(np.arange(1.0, 41))
    found = Sparse(Plan.of(pattern), sparse.csr_array(B))
    assert_allclose(found.inverse.toarray(), np.diag(1 / np.arange(1.0, 41)))


def test_nested_groups_are_two_levels_without_fill():
    parent = np.arange(1000) // 10
    touch = sparse.hstack([sparse.eye_array(1000), sparse.csr_array((np.ones(1000), (np.arange(1000), parent)))])
    pattern = sparse.csr_array(touch.T @ touch)
    plan = Plan.of(pattern)
    assert [len(block.neighbours) for block in plan.blocks][0] == 1000
    assert len(plan.keys) == 1000 == sum(block.pairs.size for block in plan.blocks) and plan.full == 100


@pytest.mark.parametrize("full", [0, 40])
def test_what_is_not_positive_definite_has_no_determinant(full, monkeypatch):
    monkeypatch.setattr(module, "FULL", full)
    monkeypatch.setattr(module, "FEW", 1.0)
    pattern = pattern_of(4)
    B = matrix_of(pattern, 5)
    B[7, 7] = -1.0
    if full:
        with pytest.raises(np.linalg.LinAlgError):
            Sparse(Plan.of(pattern), sparse.csr_array(B))
    else:
        with np.errstate(invalid="ignore"):
            assert np.isnan(Sparse(Plan.of(pattern), sparse.csr_array(B)).logdet)


def test_many_products_are_left_to_the_full_matrix(monkeypatch):
    """A ring of 40: every second row first, which makes neighbours of those that are left."""
    monkeypatch.setattr(module, "FULL", 0)
    monkeypatch.setattr(module, "FEW", 1.0)
    i = np.arange(40)
    pattern = sparse.csr_array((np.ones(120), (np.tile(i, 3), np.r_[i, i - 1, i - 39] % 40)))
    pattern.sort_indices()
    whole = Plan.of(pattern)
    assert whole.full == 0 and max(block.neighbours.shape[1] for block in whole.blocks) == 2
    monkeypatch.setattr(module, "MOST_PRODUCTS", 4 * len(whole.blocks[0].neighbours))
    some = Plan.of(pattern)
    assert len(some.blocks) == 1 and some.full == 40 - len(some.blocks[0].neighbours)
