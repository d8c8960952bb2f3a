"""The sums over groups: against the dense matrices, group by group."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense
from lmmlib.common.small import inverse_cholesky
from lmmlib.design.responses import Responses
from lmmlib.equations import pieces as pieces_module
from lmmlib.equations.pieces import gram, pieces, product


def sums_of_groups(design, cross, L):
    """All that Pieces holds but for r2 and the logarithms, from V0 and its inverse as printed."""
    X, Z = design.X @ np.linalg.inv(cross.basis.Rx), design.Z @ np.linalg.inv(cross.basis.Rz)
    y, half = design.y - design.X @ cross.basis.beta0, np.linalg.solve(cross.basis.Rz, L)
    W = np.linalg.inv(dense.V(design, half @ half.T, 1.0))
    R = np.linalg.cholesky(X.T @ W @ X).T
    beta = np.linalg.solve(X.T @ W @ X, X.T @ W @ y)
    rows = [design.rows(i) for i in range(design.n_groups)]
    A = [Z[r].T @ W[np.ix_(r, r)] @ Z[r] for r in rows]
    C = [Z[r].T @ W[np.ix_(r, r)] @ X[r] @ np.linalg.inv(R) for r in rows]
    u = [Z[r].T @ W[np.ix_(r, r)] @ (y[r] - X[r] @ beta) for r in rows]
    G, uu = [c @ c.T for c in C], [np.outer(v, v) for v in u]

    def of(one, other):
        return sum(np.multiply.outer(a, b) for a, b in zip(one, other, strict=True))

    parts = {"beta": beta, "R_inverse": np.linalg.inv(R), "A": sum(A), "G": sum(G), "uu": sum(uu)}
    return parts | {"AA": of(A, A), "AG": of(A, G), "Auu": of(A, uu), "CC": of(C, C), "Cu": of(C, u)}


@pytest.mark.parametrize("n_groups_per_block", [1, 3, 100])
def test_the_sums_are_those_of_the_dense_matrices(design, cross, monkeypatch, n_groups_per_block):
    monkeypatch.setattr(pieces_module, "_blocks", lambda n, width: [slice(k, k + step) for k in range(0, n, step)])
    step = n_groups_per_block
    for L in (np.array([[1.2, 0.0], [-0.4, 0.7]]), np.array([[0.8, 0.0], [1.1, 0.0]]), np.zeros((2, 2))):
        ours = pieces(cross, Responses.of_cross(cross), L[None])
        for name, expected in sums_of_groups(design, cross, L).items():
            assert_allclose(getattr(ours, name)[0], expected, rtol=1e-9, atol=1e-10, err_msg=name)


def test_one_pattern_serves_all_groups_that_have_it():
    """Balanced: as many sums as groups, from one factor."""
    design = lmmlib.build_design("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"))
    cross, L = lmmlib.cross_products(design), np.array([[1.2, 0.0], [-0.4, 0.7]])
    assert cross.n_patterns == 1
    ours = pieces(cross, Responses.of_cross(cross), L[None])
    for name, expected in sums_of_groups(design, cross, L).items():
        assert_allclose(getattr(ours, name)[0], expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_products_and_sums_of_small_matrices():
    rng = np.random.default_rng(4)
    A, B = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(3, 2, 4, 5))
    one, other = (np.moveaxis(M, (0, 1), (-2, -1)) for M in (A, B))
    assert_allclose(np.moveaxis(product("ab,bc->ac", A, B), (0, 1), (-2, -1)), one @ other, rtol=1e-12)
    assert_allclose(gram(A, B), np.einsum("abzg,cdzg->zabcd", A, B), rtol=1e-12)
    assert gram(A[:0], B).shape == (4, 0, 3, 3, 2)


@pytest.mark.parametrize("n_groups", [1, 7, 12])
@pytest.mark.parametrize("width", [0, 1, 5, 10**7])
def test_blocks_cover_every_group_once(n_groups, width, monkeypatch):
    monkeypatch.setattr(pieces_module, "BLOCK", 15)
    blocks = pieces_module._blocks(n_groups, width)
    assert np.concatenate([np.arange(n_groups)[b] for b in blocks]).tolist() == list(range(n_groups))
    assert max(len(range(n_groups)[b]) for b in blocks) == min(n_groups, {0: 15, 1: 15, 5: 3, 10**7: 1}[width])


def test_factors_of_many_matrices():
    rng = np.random.default_rng(6)
    A = rng.normal(size=(2, 5, 3, 3))
    S = A @ np.swapaxes(A, -1, -2) + np.eye(3)
    inverse, logdet = inverse_cholesky(np.moveaxis(S, (-2, -1), (0, 1)))
    assert_allclose(np.moveaxis(inverse, (0, 1), (-2, -1)), np.linalg.inv(np.linalg.cholesky(S)), atol=1e-12)
    assert_allclose(logdet, np.linalg.slogdet(S)[1], rtol=1e-12)
    bad = S[0].copy()
    bad[2] = -np.eye(3)
    C = pieces_module._cholesky(bad)
    assert np.isnan(C[2]).all() and np.isfinite(C[[0, 1, 3, 4]]).all()
    assert_allclose(C[0], np.linalg.cholesky(S[0, 0]), rtol=1e-14)
