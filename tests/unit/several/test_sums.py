"""The sums are those of the rows, whichever grouping is eliminated."""

import numpy as np
import pytest
import scipy
from numpy.testing import assert_allclose

from lmmlib.errors import DataError, DesignError
from lmmlib.several import sparse
from lmmlib.several import sums as module
from lmmlib.several.sums import several_sums
from lmmlib.several.terms import build
from tests.several import FORMULAS, design_of, frame


@pytest.mark.parametrize("formula", FORMULAS)
def test_sums_are_products_of_the_columns(formula):
    sums = several_sums(design_of(formula, 1, weights="w"))
    Z1, W = sums.first.columns.toarray(), sums.W.toarray()
    assert_allclose(sums.C, W.T @ W, atol=1e-10)
    assert_allclose(sums.C1.toarray(), Z1.T @ W, atol=1e-10)
    full = np.zeros((Z1.shape[1],) * 2)
    for i, block in enumerate(sums.C11):
        at = slice(i * sums.first.q, (i + 1) * sums.first.q)
        full[at, at] = block
    assert_allclose(full, Z1.T @ Z1, atol=1e-10)
    assert_allclose(sums.C1y, Z1.T @ sums.y, atol=1e-9)
    assert_allclose(sums.Cy, W.T @ sums.y, atol=1e-9)
    assert_allclose(sums.Cy[-sums.p :], 0, atol=1e-8)  # least squares leaves nothing along X


def test_the_grouping_with_most_effects_is_eliminated():
    sums = several_sums(design_of("y ~ x + (1 | g) + (x + z | h)", 1))
    assert (sums.first.name, [g.name for g in sums.rest]) == ("h", ["g"])
    assert [g.n * g.q for g in sums.groupings] == [18, 12]


def test_terms_of_one_grouping_are_one_block():
    sums = several_sums(design_of("y ~ z + (x | g) + (0 + z | g)", 1))
    (g,) = sums.groupings
    assert g.q == 3 and g.B.shape == (4, 3, 3) and g.slices == (slice(0, 2), slice(2, 3))
    assert (g.B[:3, 2] == 0).all() and (g.B[3, :2] == 0).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_sparse_and_full_products_are_the_same(share, monkeypatch):
    sums = several_sums(design_of(FORMULAS[1], 2))
    blocks = np.random.default_rng(1).normal(size=sums.C11.shape)
    C1, full = sums.C1.toarray(), np.zeros((len(sums.C1y),) * 2)
    for i, block in enumerate(blocks):
        at = slice(i * sums.first.q, (i + 1) * sums.first.q)
        full[at, at] = block
    monkeypatch.setattr(module, "FEW_ZEROS", share)
    assert_allclose(sums.sandwich(blocks), C1.T @ full @ C1, atol=1e-9)


def test_another_response():
    design = design_of(FORMULAS[0], 3, weights="w", offset="o")
    y = np.random.default_rng(2).normal(size=design.fixed.n_obs)
    found, new = several_sums(design).response(y), several_sums(design.with_response(y))
    for name in ("y", "C1y", "Cy", "beta0"):
        assert_allclose(getattr(found, name), getattr(new, name), atol=1e-10)
    with pytest.raises(DataError, match="90 finite|finite numbers"):
        several_sums(design).response(np.full(design.fixed.n_obs, np.nan))


def test_dependent_columns_are_an_error():
    data = frame(1).assign(x2=lambda d: 2 * d["x"])
    with pytest.raises(DesignError, match="'x2' of the fixed effects is a linear combination"):
        several_sums(build("y ~ x + x2 + (1 | g) + (1 | h)", data))


def test_what_does_not_fit_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "MOST", 5)
    with pytest.raises(DesignError, match="beside 'g' there are 6 random effects, of which 6 .*at most 5"):
        several_sums(design_of(FORMULAS[0], 1))
    monkeypatch.setattr(module, "MANY", 3)
    monkeypatch.setattr(sparse, "FULL", 3)
    monkeypatch.setattr(sparse, "FEW", 1.0)
    assert several_sums(design_of(FORMULAS[0], 1)).plan.full <= 3
    monkeypatch.setattr(module, "MOST_PRODUCTS", 100)  # the neighbours of 12 groups
    with pytest.raises(DesignError, match="of which 6 "):
        several_sums(design_of(FORMULAS[0], 1))


def test_neighbours_meet_in_a_group_or_in_a_pedigree(monkeypatch):
    monkeypatch.setattr(module, "MANY", 0)
    monkeypatch.setattr(sparse, "FULL", 0)
    monkeypatch.setattr(sparse, "FEW", 1.0)
    sums = several_sums(design_of("y ~ x + (1 | g) + (x | k) + (1 | h)", 1))
    assert [g.name for g in sums.rest] == ["k", "h"] and sums.plan.pattern.shape == (14, 14)
    touch = (sums.C1[:, :14].toarray() != 0).astype(float)
    assert (sums.plan.pattern.toarray() == (touch.T @ touch > 0)).all()
    assert isinstance(sums.C, scipy.sparse.csr_array)
    assert_allclose(sums.C.toarray(), (sums.W.T @ sums.W).toarray(), atol=1e-10)
