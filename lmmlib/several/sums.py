r"""The sums of a model with several groupings: formed once, and all that the criterion sees.

One grouping, that with most random effects, is eliminated group by group: of its columns :math:`Z_1` the sums
:math:`C_{11} = Z_1'Z_1` are one small block for each group. The other groupings and X are the columns W that remain;
:math:`C_1 = Z_1'W` is sparse, and of many effects that seldom meet so is :math:`C = W'W`. Everything is in a working
basis: columns of each Z, and of X, orthogonal with mean square one, and y less its fit by least squares, so that
nothing cancels whatever the units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from lmmlib.design.basis import Basis, divide, triangle
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.errors import DesignError
from lmmlib.several.relationship import Relationship
from lmmlib.several.sparse import MOST_PRODUCTS, Plan
from lmmlib.several.terms import SeveralDesign

# Random effects that remain, of which a square matrix must fit into memory; and from where on it may be sparse.
MOST, MANY = 6_000, 500
# A sparse matrix with this share of entries is slower than a full one of this size.
FEW_ZEROS, LARGEST_FULL = 0.05, 2**25


@dataclass(frozen=True, eq=False)
class Grouping:
    """The terms of one grouping as one block of random effects.

    ``names`` of the groups; ``codes`` (n_obs,), each row's group; ``Z`` (n_obs, q), weighted rows in the working
    basis; ``numbers``, the places of the terms in the formula, ``bases`` and ``slices``, their working bases and
    columns; ``B`` (k, q, q) with L the sum of :math:`\\theta_kB_k`, ``E`` (k, q, q) with D over sigma2 the sum of
    :math:`\\alpha_rE_r`; ``known``, a relationship or None.
    """

    name: str
    names: tuple
    codes: np.ndarray
    Z: np.ndarray
    numbers: tuple[int, ...]
    bases: tuple[Basis, ...]
    slices: tuple[slice, ...]
    parts: tuple[slice, ...]
    B: np.ndarray
    E: np.ndarray
    known: Relationship | None

    @property
    def n(self) -> int:
        """Number of groups."""
        return len(self.names)

    @property
    def q(self) -> int:
        """Random effects of a group."""
        return self.Z.shape[1]

    @cached_property
    def columns(self) -> sparse.csr_array:
        """Z as the sparse matrix of all groups, (n_obs, n q): the effects of a group lie side by side."""
        N, q = self.Z.shape
        index = (self.codes[:, None] * q + np.arange(q)).ravel()
        return sparse.csr_array((self.Z.ravel(), index, np.arange(N + 1) * q), (N, self.n * q))

    def entries(self, D: np.ndarray) -> np.ndarray:
        """alpha (..., k) of symmetric matrices (..., q, q) that are sums of alpha_r E_r."""
        q2 = self.q**2
        return D.reshape(*D.shape[:-2], q2) @ np.linalg.pinv(self.E.reshape(len(self.E), q2))

    def per_group(self, v: np.ndarray) -> np.ndarray:
        """Rows (n q, columns) as (n, q, columns)."""
        return v.reshape(self.n, self.q, v.shape[1])

    def times(self, M: np.ndarray, v: np.ndarray, among: bool = False) -> np.ndarray:
        """(I x M) v of rows v (n q, columns); with ``among`` (A x M) v."""
        out = np.einsum("ab,gbc->gac", M, self.per_group(v))
        if among and self.known:
            out = np.tensordot(self.known.A, out, 1)
        return out.reshape(v.shape)


@dataclass(frozen=True, eq=False)
class SeveralSums:
    """All sums: ``first`` is eliminated, ``rest`` and X remain; ``C11`` (n, q, q), ``C1`` (n q, m), ``C`` (m, m).

    ``plan`` says how the effects of ``rest`` are eliminated if C is sparse, and is None if it is a full matrix.
    """

    design: SeveralDesign
    cross: CrossProducts
    first: Grouping
    rest: tuple[Grouping, ...]
    W: sparse.csr_array
    C11: np.ndarray
    C1: sparse.csr_array
    C: np.ndarray | sparse.csr_array
    plan: Plan | None
    y: np.ndarray
    C1y: np.ndarray
    Cy: np.ndarray
    beta0: np.ndarray

    @property
    def groupings(self) -> tuple[Grouping, ...]:
        """The one that is eliminated, and the others."""
        return (self.first, *self.rest)

    @property
    def n_obs(self) -> int:
        """Number of observations N."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Columns of X, the last of those that remain."""
        return len(self.cross.x_names)

    @cached_property
    def saturated(self) -> bool:
        """Whether random effects can fit all rows, so that the criterion may be finite at a sigma of zero."""
        effects = sum(np.minimum(np.bincount(g.codes), g.q).sum() for g in self.groupings)
        return bool(effects >= self.n_obs - self.p)

    @cached_property
    def places(self) -> tuple[slice, ...]:
        """Columns of each grouping among those that remain; X has the rest."""
        ends = np.cumsum([0, *(g.n * g.q for g in self.rest)])
        return tuple(slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True))

    @cached_property
    def theta_places(self) -> tuple[slice, ...]:
        """Entries of each grouping in theta, which follows :attr:`groupings`."""
        ends = np.cumsum([0, *(len(g.B) for g in self.groupings)])
        return tuple(slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True))

    @cached_property
    def dL(self) -> list[np.ndarray]:
        """Derivatives of L of each grouping by all entries of theta, (k, q, q) each."""
        found = [np.zeros((self.theta_places[-1].stop, g.q, g.q)) for g in self.groupings]
        for d, at, g in zip(found, self.theta_places, self.groupings, strict=True):
            d[at] = g.B
        return found

    @cached_property
    def precision(self) -> sparse.csr_array:
        """Inverse of the covariance of the standardised effects that remain, (m - p, m - p)."""
        one = sparse.csr_array((0, 0))
        blocks = [sparse.kron(g.known.Q if g.known else sparse.eye_array(g.n), np.eye(g.q)) for g in self.rest]
        return sparse.block_diag([one, *blocks], format="csr")

    @cached_property
    def _block_pattern(self) -> tuple[np.ndarray, np.ndarray]:
        n, q = self.first.n, self.first.q
        index = np.arange(n)[:, None, None] * q + np.zeros((q, 1), int) + np.arange(q)
        return index.ravel(), np.arange(n * q + 1) * q

    def sandwich(self, blocks: np.ndarray) -> np.ndarray | sparse.csr_array:
        """C1' M C1 of the blocks (n, q, q) of M, (m, m)."""
        if self.plan is not None or self._full is None:
            found = self._C1t @ (self.block_diagonal(blocks) @ self.C1)
            return found.toarray() if self.plan is None else found
        return self._full.T @ (blocks @ self._full.reshape(*blocks.shape[:2], -1)).reshape(self._full.shape)

    def block_diagonal(self, blocks: np.ndarray) -> sparse.csr_array:
        """Blocks (n, q, q) of the groups of the first grouping as one matrix, (n q, n q)."""
        return sparse.csr_array((blocks.ravel(), *self._block_pattern), (len(self.C1y),) * 2)

    @cached_property
    def _full(self) -> np.ndarray | None:
        """C1 with its zeros, where they are few and products are faster so."""
        size = self.C1.shape[0] * self.C1.shape[1]
        return self.C1.toarray() if 0 < size <= LARGEST_FULL and self.C1.nnz > FEW_ZEROS * size else None

    @cached_property
    def _C1t(self) -> sparse.csr_array:
        return self.C1.T.tocsr()

    def all_effects(self, first: np.ndarray, rest: np.ndarray) -> list[np.ndarray]:
        """Rows of the effects of each grouping, from those of the first and of the columns that remain."""
        return [first, *(rest[place] for place in self.places)]

    def response(self, y) -> SeveralSums:
        """The sums for another response (n_obs,)."""
        design = self.design.with_response(y)
        return replace(self, design=design, **_of_y(design, self.cross.basis, self.W, self.first.columns))


def _of_y(design: SeveralDesign, basis: Basis, W: sparse.csr_array, Z1: sparse.csr_array) -> dict[str, Any]:
    """y less its fit by least squares, (n_obs,), its sums, and the coefficients of that fit."""
    y, X, _ = design.fixed.standard_rows(design.fixed.y)
    beta0 = np.zeros(0)
    if X.shape[1]:
        beta0 = basis.x_back @ (divide(X, basis.Rx).T @ y) / len(y)
        y = y - X @ beta0
    return {"y": y, "C1y": Z1.T @ y, "Cy": W.T @ y, "beta0": beta0}


def _groupings(design: SeveralDesign) -> list[Grouping]:
    """The terms by their groupings, those with most random effects first; one with a relationship is never first."""
    found, root = [], np.sqrt(1 / design.fixed.residual_variances)[:, None]
    for name in design.names:
        numbers = tuple(t for t, term in enumerate(design.terms) if term.grouping == name)
        parts = [design.terms[t].design for t in numbers]
        known, names, codes = design.known.get(name), parts[0].group_names, parts[0].group
        if known is not None:
            place = {label: i for i, label in enumerate(known.names)}
            unknown = [label for label in names if label not in place]
            if unknown:
                raise DesignError(f"{name!r} has the group {unknown[0]!r}, which its relationship does not name")
            names, codes = known.names, np.array([place[label] for label in names])[codes]
        Rz = [triangle(part.Z * root) for part in parts]
        bases = tuple(Basis(np.eye(0), R, np.zeros(0)) for R in Rz)
        coordinates = [b.theta_coordinates(part.diagonal) for b, part in zip(bases, parts, strict=True)]
        ends, at = (np.cumsum([0, *map(len, each)]) for each in (Rz, coordinates))
        slices, places = (tuple(slice(a, b) for a, b in zip(e[:-1], e[1:], strict=True)) for e in (ends, at))
        B = np.zeros((at[-1], ends[-1], ends[-1]))
        E = np.zeros_like(B)
        for own, columns, dL, part in zip(places, slices, coordinates, parts, strict=True):
            B[own, columns, columns] = dL
            t = np.swapaxes(dL, 1, 2)
            E[own, columns, columns] = dL @ t if part.diagonal else np.maximum(dL, t)
        Z = np.column_stack([divide(part.Z * root, R) for part, R in zip(parts, Rz, strict=True)])
        found.append(Grouping(name, names, codes, Z, numbers, bases, slices, places, B, E, known))
    return sorted(found, key=lambda g: (g.known is not None, -g.n * g.q))


def _plan(first: Grouping, rest: list[Grouping]) -> Plan | None:
    """How the effects that remain are eliminated, those that meet in a group of the first or in a row being neighbours.

    None if so many meet that a full matrix is as good.
    """
    rows = first.codes if first.q else np.arange(len(first.codes))
    one = np.ones(len(rows))
    meet = sparse.hstack([sparse.csr_array((one, (rows, g.codes)), (rows.max() + 1, g.n)) for g in rest], format="csr")
    if (np.diff(meet.indptr).astype(float) ** 2).sum() > MOST_PRODUCTS:
        return None
    own = sparse.block_diag([abs(g.known.Q) if g.known else sparse.eye_array(g.n) for g in rest])
    groups = np.repeat(np.arange(meet.shape[1]), np.repeat([g.q for g in rest], [g.n for g in rest]))
    pattern = sparse.csr_array(meet.T @ meet + own)[groups][:, groups]
    pattern.sort_indices()
    pattern.data[:] = 1.0
    plan = Plan.of(pattern)
    return plan if plan.full <= len(groups) / 2 else None


def several_sums(design: SeveralDesign) -> SeveralSums:
    """The sums of a design, in one pass over its rows.

    Raises
    ------
    DesignError
        If columns of X are dependent, a grouping has a single group, or so many random effects remain that their
        matrix does not fit into memory.
    """
    cross = cross_products(design.fixed)
    cross.require_full_rank()
    first, *rest = _groupings(design)
    if first.known is not None:  # nothing can be eliminated group by group
        nothing = np.zeros((len(first.codes), 0))
        empty = np.zeros((0, 0, 0))
        first, rest = Grouping("", (), first.codes * 0, nothing, (), (), (), (), empty, empty, None), [first, *rest]
    most = sum(g.n * g.q for g in rest)
    plan = _plan(first, rest) if most > MANY else None
    full = most if plan is None else plan.full
    if full > MOST:
        raise DesignError(
            f"beside {first.name!r} there are {most} random effects, of which {full} meet so many of each other that "
            f"their matrix is too large (at most {MOST}); leave a grouping out, or make its levels coarser"
        )
    X = divide(design.fixed.standard_rows(design.fixed.y)[1], cross.basis.Rx)
    W = sparse.hstack([*(g.columns for g in rest), sparse.csr_array(X)], format="csr")
    Z1 = first.columns
    C11 = np.zeros((first.n, first.q, first.q))
    for a, b in np.ndindex(first.q, first.q):
        C11[:, a, b] = np.bincount(first.codes, first.Z[:, a] * first.Z[:, b], minlength=first.n)
    C = W.T @ W
    sums = (C11, sparse.csr_array(Z1.T @ W), C.toarray() if plan is None else sparse.csr_array(C), plan)
    return SeveralSums(design, cross, first, tuple(rest), W, *sums, **_of_y(design, cross.basis, W, Z1))
