r"""The rows of a generalised linear mixed model, and the modes of its random effects for all groups at once.

Given :math:`b_i \sim N(0, D)` the responses are independent, with linear predictors
:math:`\eta_i = o_i + X_i\beta + Z_ib_i`, o being the offset. With :math:`D = \Lambda\Lambda'` and
:math:`b_i = \Lambda u_i` the u are standard normal, so that a singular D is an ordinary one. Everything is computed in
a working basis, in which the columns of X, and those of Z, are orthogonal with mean square one; rows are sorted by
group, and rows or groups are the last axis of every array.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from lmmlib.common.small import inverse_cholesky, product, transposed
from lmmlib.design.basis import Basis, triangle
from lmmlib.design.design import Design
from lmmlib.glmm.family import Family
from lmmlib.glmm.poisson import Poisson
from lmmlib.laplace.point import CLOSE

# A start with a larger decrement than this is compared with that by least squares.
NEAR = 1.0
MAX_STEPS = 200
# A decrement below the first is no longer seen in the density, below the second not in the modes either.
UNSEEN, NOTHING = 1e-6, 1e-26


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a model, sorted by group, in the working basis.

    ``family`` has the responses; ``X`` (p, N); ``Z`` (q, N); ``ZZ`` (q(q+1)/2, N): the distinct products of its
    columns; ``offset``, ``group`` (N,); ``first`` (n,): where each group begins; ``order`` (N,): numbers of the rows
    in the data; ``coordinates`` (k, q, q): the B_k with :math:`\\Lambda` the sum of the :math:`\\theta_kB_k`.
    """

    family: Family
    X: np.ndarray
    Z: np.ndarray
    ZZ: np.ndarray
    offset: np.ndarray
    group: np.ndarray
    first: np.ndarray
    order: np.ndarray
    basis: Basis
    diagonal: bool
    coordinates: np.ndarray

    @classmethod
    def of(cls, design: Design, family: type[Family] = Poisson, basis: Basis | None = None) -> Rows:
        """The rows of a design without empty groups."""
        order, start = design.by_group
        same = design.Z is design.X
        if basis is None:
            Rx = triangle(design.X)
            basis = Basis(Rx, Rx if same else triangle(design.Z), np.zeros(len(Rx)))
        X = np.ascontiguousarray(basis.x_work(design.X[order]).T)
        Z = X if same else np.ascontiguousarray(basis.z_work(design.Z[order]).T)
        a, b = np.triu_indices(len(Z))
        return cls(
            family=family.of(design, order),
            X=X,
            Z=Z,
            ZZ=Z[a] * Z[b],
            offset=np.zeros(len(order)) if design.offset is None else design.offset[order],
            group=design.group[order],
            first=start[:-1],
            order=order,
            basis=basis,
            diagonal=design.diagonal,
            coordinates=basis.theta_coordinates(design.diagonal),
        )

    @property
    def n_groups(self) -> int:
        """Number of groups n."""
        return len(self.first)

    @cached_property
    def place(self) -> np.ndarray:
        """Where in ``ZZ`` the product of two columns stands, (q, q)."""
        place, pairs = np.zeros((len(self.Z),) * 2, int), np.triu_indices(len(self.Z))
        place[pairs] = place.T[pairs] = np.arange(len(self.ZZ))
        return place

    def sums(self, rows: np.ndarray) -> np.ndarray:
        """Sums over the rows of each group: (..., N) to (..., n)."""
        return np.add.reduceat(rows, self.first, axis=-1)

    def crossed(self, weight: np.ndarray) -> np.ndarray:
        """Z_i' diag(weight) Z_i: weights (N,) or (P, N) to matrices (q, q, n) or (q, q, P, n)."""
        return self.sums(weight * (self.ZZ if weight.ndim == 1 else self.ZZ[:, None]))[self.place]

    def along(self, b: np.ndarray) -> np.ndarray:
        """Zb of each row, (..., N), from vectors of its group (q, ..., n)."""
        rows = np.take(b, self.group, axis=-1)
        return self.Z[0] * rows[0] if len(rows) == 1 else np.einsum("qN,q...N->...N", self.Z, rows)

    def split(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """beta (p,) and the factor L of D (q, q) of the parameters psi."""
        p = len(self.X)
        return psi[:p], combined(psi[p:], self.coordinates)

    def in_data_order(self, rows: np.ndarray) -> np.ndarray:
        """What has a number for each row (..., N), in the order of the data."""
        out = np.empty_like(rows)
        out[..., self.order] = rows
        return out


def combined(theta: np.ndarray, B: np.ndarray) -> np.ndarray:
    """The sum of theta_k B_k, (q, q)."""
    return (theta @ B.reshape(len(B), B.shape[1] ** 2)).reshape(B.shape[1:])


def turn(L: np.ndarray, M: np.ndarray) -> np.ndarray:
    """L M for one matrix L and many vectors or matrices M, entries first."""
    if len(L) == 1:
        return L[0, 0] * M
    return (L @ M.reshape(len(M), prod(M.shape[1:]))).reshape(len(L), *M.shape[1:])


@dataclass(frozen=True, eq=False)
class Inner:
    r"""The groups at some u, usually at the modes.

    ``density``: of which u are the arguments; ``u``, ``b`` (q, n); ``eta``, ``mu`` (N,): means; ``score`` (q, n):
    :math:`Z_i'(y_i - \mu_i)`; ``slope`` (q, n): :math:`\Lambda'` times it less u, zero at the modes; ``M`` (q, q, n):
    :math:`Z_i'W_iZ_i`, :math:`W_i` having the variances of the responses on its diagonal; ``half`` (q, q, n): inverse
    Cholesky factors of :math:`S_i = I + \Lambda'M_i\Lambda`; ``logdet`` (n,): logarithms of their determinants.
    """

    density: Conditional
    u: np.ndarray
    b: np.ndarray
    eta: np.ndarray
    mu: np.ndarray
    score: np.ndarray
    slope: np.ndarray
    M: np.ndarray
    half: np.ndarray
    logdet: np.ndarray

    @cached_property
    def joint(self) -> np.ndarray:
        r"""Log-densities of :math:`(y_i, u_i)`, less the saturated log-likelihood and :math:`(q/2)\log 2\pi`, (n,)."""
        c = self.density.rows
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return c.sums(c.family.log_density(self.eta, self.mu)) - (self.u * self.u).sum(axis=0) / 2

    def solve(self, vectors: np.ndarray) -> np.ndarray:
        """S^-1 v for v (q, ..., n)."""
        return solve(self.half, vectors)

    def decrement(self) -> np.ndarray:
        """Twice what a Newton step for u would gain if the density were a parabola, (n,)."""
        white = product(self.half, self.slope[:, None])[:, 0]
        return (white * white).sum(axis=0)

    @cached_property
    def inverse(self) -> np.ndarray:
        """S^-1, the covariance of u given the responses, (q, q, n)."""
        return product(transposed(self.half), self.half)

    @cached_property
    def covariance(self) -> np.ndarray:
        r""":math:`\Lambda S_i^{-1}\Lambda'`, that of b, (q, q, n)."""
        root = turn(self.density.L, transposed(self.half))
        return product(root, transposed(root))


@dataclass(frozen=True, eq=False)
class Conditional:
    """Joint log-densities of responses and u as functions of u, at fixed parameters."""

    rows: Rows
    L: np.ndarray
    fixed: np.ndarray

    @classmethod
    def of(cls, rows: Rows, beta: np.ndarray, L: np.ndarray) -> Conditional:
        """At beta (p,) and a factor L of D (q, q) of the working basis."""
        return cls(rows, L, rows.offset + beta @ rows.X)

    def curvature(self, M: np.ndarray) -> np.ndarray:
        """S = I + L'M L, (q, q, n)."""
        if len(M) == 1:
            return 1 + self.L[0, 0] ** 2 * M
        return np.eye(len(M))[:, :, None] + turn(self.L.T, transposed(turn(self.L.T, M)))

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a step too long: its density is zero
    def at(self, u: np.ndarray) -> Inner:
        """Value and derivatives at u (q, n)."""
        c, b = self.rows, self.L @ u
        eta = self.fixed + c.along(b)
        mu = c.family.mean(eta)
        # The residuals first, then their sums: as a difference of sums the score would lose the digits of large counts.
        score = c.sums((c.family.y - mu) * c.Z)
        M = c.crossed(c.family.variance(mu))
        half, logdet = inverse_cholesky(self.curvature(M))
        return Inner(self, u, b, eta, mu, score, self.L.T @ score - u, M, half, logdet)

    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """Least squares for what is best for each row alone, near the modes (q, n); with its ``half``."""
        c = self.rows
        best, weight = c.family.near()
        half = inverse_cholesky(self.curvature(c.crossed(weight)))[0]
        return solve(half, self.L.T @ c.sums(weight * (best - self.fixed) * c.Z)), half


def solve(half: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """S^-1 v from inverse Cholesky factors of S (q, q, n), for v (q, n) or (q, columns, n)."""
    if vectors.ndim == 2:
        return solve(half, vectors[:, None])[:, 0]
    return product(transposed(half), product(half, vectors))


def modes(rows: Rows, beta: np.ndarray, L: np.ndarray, u: np.ndarray | None = None) -> Inner:
    r"""Modes of the random effects given the responses, by Newton's method for all groups at once.

    .. math:: u \leftarrow u + S_i^{-1}\{\Lambda'Z_i'(y_i - \mu_i) - u\}, \qquad S_i = I + \Lambda'Z_i'W_iZ_i\Lambda

    Equation :eq:`inner-newton` of the book, where :math:`W_i = \operatorname{diag}(\mu_i)`. The joint log-density is
    strictly concave in u, so there is one mode; a step is halved for those groups in which the density would fall.
    beta (p,) and the factor L of D (q, q) are those of the working basis; the start u (q, n) is by default from what is
    best for each row alone.
    """
    now = _begin(Conditional.of(rows, beta, L), u)
    last = False
    close = CLOSE + 1e-27 * float(rows.family.y.sum())  # with large counts rounding keeps it from falling further
    for _ in range(MAX_STEPS):
        decrement = now.decrement()
        largest = decrement.max(initial=0.0)
        if last or largest < NOTHING:
            break
        last = largest < close
        now = _uphill(now, decrement)
    return now


def _begin(density: Conditional, u: np.ndarray | None) -> Inner:
    """At u, or at the start by least squares for the groups for which that is better."""
    if u is None:
        return density.at(density.start()[0])
    now = density.at(u)
    with np.errstate(invalid="ignore"):
        if now.decrement().max(initial=0.0) < NEAR:
            return now
    other = density.at(density.start()[0])
    return density.at(np.where(now.joint >= other.joint, now.u, other.u))


def _uphill(now: Inner, decrement: np.ndarray) -> Inner:
    """A Newton step, halved where the joint density does not rise as it should; a tiny one is taken as it is."""
    step, length, seen = now.solve(now.slope), np.ones(len(decrement)), ~(decrement <= UNSEEN)
    new = now.density.at(now.u + step)
    for _ in range(60 * bool(seen.any())):
        fails = seen & ~(new.joint >= now.joint + 1e-4 * length * decrement)
        if not fails.any():
            break
        length[fails] /= 2
        new = now.density.at(now.u + length * step)
    return new
