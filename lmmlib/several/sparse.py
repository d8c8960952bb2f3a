r"""Sparse matrices: the determinant, solutions, and the inverse where the matrix has entries.

Rows that are no neighbours of each other are eliminated together, level after level, those with fewest neighbours
first; what remains is a full matrix. With the diagonal d of a row, its entries b and :math:`T = d^{-1}b` at its
neighbours

.. math:: B \to B - bT', \qquad \bar b = -\bar BT, \qquad \bar d = d^{-1} - T'\bar b

first all matrices that are left, then on the way back the entries of the inverse :math:`\bar B`, which asks for those
of the neighbours alone (Takahashi, Fagan and Chen 1973). Nested groupings have such levels and fill nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import cholesky, lapack

# A row is worth being eliminated by itself if it has so few neighbours, as a share of the rows that are left; products
# of all neighbours of rows that are kept in memory; rows that are a full matrix anyway.
FEW, MOST_PRODUCTS, FULL = 1 / 14, 10**8, 200
# Multiples of it, less their whole parts, are in no order: of neighbours with as many neighbours one is first.
GOLDEN = (5**0.5 - 1) / 2


class Full:
    """A full matrix B (m, m): ``logdet``, and its ``inverse`` (m, m)."""

    def __init__(self, B: np.ndarray):
        R = cholesky(B, lower=True, check_finite=False)
        self.logdet = 2 * float(np.log(np.diag(R)).sum())
        inverse = lapack.dpotri(R, lower=1)[0] if len(R) else R
        self.inverse = inverse + np.tril(inverse, -1).T  # above the diagonal were zeros

    def solve(self, v: np.ndarray) -> np.ndarray:
        """B^-1 v, (m, columns)."""
        return self.inverse @ v


class Block(NamedTuple):
    """``rows`` of one level with k ``neighbours`` (rows, k) each, by their numbers in the order.

    ``place`` of these entries, and places of the ``pairs`` of neighbours, (rows, k(k+1)/2).
    """

    rows: slice
    neighbours: np.ndarray
    place: slice
    pairs: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """How a symmetric ``pattern`` (m, m) is eliminated: the ``blocks`` of rows, and how many are left ``full``.

    ``order`` (m,) of the rows and ``number`` (m,), each row's place in it. Entries stand in one array: diagonals, those
    of neighbours row by row, named by ``keys``, and the full matrix.
    """

    pattern: sparse.csr_array
    order: np.ndarray
    number: np.ndarray
    blocks: list[Block]
    full: int
    keys: np.ndarray

    @classmethod
    def of(cls, pattern: sparse.csr_array) -> Plan:
        """The plan for a pattern whose diagonal is there."""
        m, A, left, levels, products = pattern.shape[0], pattern, np.arange(pattern.shape[0]), [], 0
        tie = np.arange(m) * GOLDEN % 1.0
        while len(left) > FULL:
            degree = np.diff(A.indptr) - 1
            rank = degree + tie[left]
            chosen = rank == np.minimum.reduceat(rank[A.indices], A.indptr[:-1])
            chosen &= degree <= max(FEW * len(left), 1)
            products += (degree[chosen] ** 2).sum()
            if not chosen.any() or products > MOST_PRODUCTS:
                break
            some = np.flatnonzero(chosen)[np.argsort(degree[chosen], kind="stable")]
            levels.append((left[some], left[~chosen], A[some][:, ~chosen]))
            A = A[~chosen][:, ~chosen] + levels[-1][2].T @ levels[-1][2]
            A.data[:] = 1.0
            left = left[~chosen]
        order = np.concatenate([*(rows for rows, *_ in levels), left])
        number, near = np.argsort(order), []
        for _, names, A in levels:
            k, n = np.unique(np.diff(A.indptr), return_counts=True)
            parts = np.split(number[names[A.indices]], np.cumsum(k * n)[:-1])
            near += [np.sort(part.reshape(size), axis=1) for part, *size in zip(parts, n, k, strict=True)]
        first = np.cumsum([0, *map(len, near)])
        keys = [((a + np.arange(len(one)))[:, None] * m + one).ravel() for a, one in zip(first, near, strict=False)]
        plan = cls(pattern, order, number, [], len(left), np.concatenate([*keys, np.zeros(0, int)]))
        place = first[-1] + np.cumsum([0, *(one.size for one in near)])
        for i, one in enumerate(near):
            a, b = np.tril_indices(one.shape[1])
            pairs = plan.places(one[:, b], one[:, a]).astype(np.int32)
            plan.blocks.append(Block(slice(*first[i : i + 2]), one, slice(*place[i : i + 2]), pairs))
        return plan

    def places(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Where the entries of rows a and b, numbered in the order, a at most b, stand."""
        m, c = len(self.order), len(self.order) - self.full
        found = np.where(a == b, a, c + np.searchsorted(self.keys, a * m + b))
        return np.where(a >= c, c + len(self.keys) + (a - c) * self.full + b - c, found)

    @cached_property
    def of_pattern(self) -> np.ndarray:
        """Where the entries of the pattern stand."""
        rows = np.repeat(np.arange(len(self.order)), np.diff(self.pattern.indptr))
        a, b = self.number[rows], self.number[self.pattern.indices]
        return self.places(np.minimum(a, b), np.maximum(a, b))


class Sparse:
    """A sparse matrix B (m, m) with the pattern of a plan: ``logdet``, and of the ``inverse`` these entries (m, m).

    The determinant of a matrix that is not positive definite is no number, or there is a LinAlgError.
    """

    def __init__(self, plan: Plan, B: sparse.csr_array):
        self.plan, m, r = plan, len(plan.order), plan.full
        c, B = m - r, B.tocoo()
        a, b = plan.number[B.row], plan.number[B.col]
        x = np.zeros(c + len(plan.keys) + r * r)
        x[plan.places(np.minimum(a, b), np.maximum(a, b))] = B.data
        self.T, d = [], x[:c]  # a view
        for block in plan.blocks:
            of = x[block.place].reshape(block.neighbours.shape)
            T = of / d[block.rows, None]
            low, up = np.tril_indices(block.neighbours.shape[1])
            np.subtract.at(x, block.pairs.ravel(), (T[:, low] * of[:, up]).ravel())
            self.T.append(T)
        self.diagonal = d.copy()
        self.rest = Full(x[len(x) - r * r :].reshape(r, r).T)
        self.logdet = float(np.log(d).sum()) + self.rest.logdet
        x[len(x) - r * r :] = self.rest.inverse.ravel()
        for block, T in zip(plan.blocks[::-1], self.T[::-1], strict=True):
            k = T.shape[1]
            square, (low, up) = np.zeros((k, k), int), np.tril_indices(k)
            square[low, up] = square[up, low] = np.arange(len(low))
            found = -(x[block.pairs][:, square] @ T[..., None])[..., 0]
            x[block.place] = found.ravel()
            x[block.rows] = 1 / x[block.rows] - (T * found).sum(axis=1)
        where = plan.pattern.indices, plan.pattern.indptr
        self.inverse = sparse.csr_array((x[plan.of_pattern], *where), plan.pattern.shape)

    def solve(self, v: np.ndarray) -> np.ndarray:
        """B^-1 v, (m, columns)."""
        plan, u = self.plan, v[self.plan.order]
        for block, T in zip(plan.blocks, self.T, strict=True):
            np.subtract.at(u, block.neighbours, T[..., None] * u[block.rows, None])
        c = len(u) - plan.full
        u[c:] = self.rest.solve(u[c:])
        u[:c] /= self.diagonal[:, None]
        for block, T in zip(plan.blocks[::-1], self.T[::-1], strict=True):
            u[block.rows] -= np.einsum("rk,rkc->rc", T, u[block.neighbours])
        return u[plan.number]
