r"""The Poisson mixed model of counts in groups, and the modes of its random effects for all groups at once.

Given :math:`b_i \sim N(0, D)` the counts are independent, Poisson with logarithmic means
:math:`\eta_i = o_i + X_i\beta + Z_ib_i`, o being the offset. With :math:`D = \Lambda\Lambda'` and
:math:`b_i = \Lambda u_i` the u are standard normal, so that a singular D is an ordinary one. Everything is computed in
a working basis, in which the columns of X, and those of Z, are orthogonal with mean square one; rows are sorted by
group, and rows or groups are the last axis of every array.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from scipy.special import gammaln

from lmmlib.basis import Basis, divide, triangle
from lmmlib.design import Design
from lmmlib.entries import inverse_cholesky, product
from lmmlib.laplace_point import CLOSE

# A start with a larger decrement than this is compared with that by least squares.
NEAR = 1.0
MAX_STEPS = 200
# From this count on its log-density is taken by what the logarithms of count and mean differ, not as a difference of
# two large numbers; and its constant by Stirling's series, which is exact there.
LARGE = 1e6


@dataclass(frozen=True, eq=False)
class Counts:
    """The rows of a Poisson model, sorted by group, in the working basis.

    ``y``, ``offset``, ``group`` (N,); ``X`` (p, N); ``powers`` (1 + q + q(q+1)/2, N): ones, the columns ``Z`` (q, N)
    and their products ``ZZ``; ``first`` (n,): where each group begins; ``order`` (N,): numbers of the rows in the
    data; ``log_y`` (N,): logarithms of the counts, 0 for a zero; ``Zty`` (q, n); ``constant``: what the log-likelihood
    has of y alone, the saturated log-likelihood; ``same``: X and Z are one matrix.
    """

    y: np.ndarray
    X: np.ndarray
    powers: np.ndarray
    offset: np.ndarray
    group: np.ndarray
    first: np.ndarray
    order: np.ndarray
    log_y: np.ndarray
    Zty: np.ndarray
    constant: float
    basis: Basis
    z_names: tuple[str, ...]
    diagonal: bool
    same: bool

    @classmethod
    def of(cls, design: Design, offset: np.ndarray | None = None) -> Counts:
        """The counts of a design without empty groups, and an offset (n_obs,)."""
        order, start = design.by_group
        Rx = triangle(design.X)
        same = design.Z is design.X
        Rz = Rx if same else triangle(design.Z)
        X = np.ascontiguousarray(divide(design.X[order], Rx).T)
        Z = X if same else divide(design.Z[order], Rz).T
        y, first = design.y[order], start[:-1]
        log_y = np.log(np.maximum(y, 1.0))
        return cls(
            y=y,
            X=X,
            powers=np.concatenate([np.ones((1, len(y))), Z, *(Z[None, a] * Z[b] for a, b in pairs(len(Z)))]),
            offset=np.zeros(len(y)) if offset is None else offset[order],
            group=design.group[order],
            first=first,
            order=order,
            log_y=log_y,
            Zty=np.add.reduceat(y * Z, first, axis=-1),
            constant=float(_saturated(y, log_y).sum()),
            basis=Basis(Rx, Rz, np.zeros(len(X))),
            z_names=design.z_names,
            diagonal=design.diagonal,
            same=same,
        )

    @property
    def Z(self) -> np.ndarray:
        """Columns of the random effects, (q, N)."""
        return self.powers[1 : 1 + len(self.z_names)]

    @property
    def ZZ(self) -> np.ndarray:
        """Their distinct products, in the order of :func:`pairs`."""
        return self.powers[1 + len(self.z_names) :]

    @property
    def n_groups(self) -> int:
        """Number of groups n."""
        return len(self.first)

    @property
    def large(self) -> bool:
        """Whether some count is so large that differences of sums lose digits."""
        return bool(self.y.max(initial=0.0) >= LARGE)

    def sums(self, rows: np.ndarray) -> np.ndarray:
        """Sums over the rows of each group: (..., N) to (..., n)."""
        return np.add.reduceat(rows, self.first, axis=-1)

    def spread(self, groups: np.ndarray) -> np.ndarray:
        """To each row what its group has: (..., n) to (..., N)."""
        return np.take(groups, self.group, axis=-1)

    def along(self, b: np.ndarray) -> np.ndarray:
        """Zb, (N,), from a vector (q, n) for each group."""
        return np.einsum("qN,qN->N", self.Z, self.spread(b))

    def square(self, packed: np.ndarray) -> np.ndarray:
        """Symmetric matrices (q, q, ...) from their entries in the order of ``ZZ``."""
        return packed[places(len(self.Z))]


def _saturated(y: np.ndarray, log_y: np.ndarray) -> np.ndarray:
    """y log y - y - log y! of every count."""
    above = np.maximum(y, LARGE)
    stirling = -0.5 * np.log(2 * np.pi * above) - 1 / (12 * above)
    return np.where(y < LARGE, y * log_y - y - gammaln(y + 1), stirling)


def pairs(q: int) -> list[tuple[int, int]]:
    """The distinct entries of a symmetric matrix."""
    return [(a, b) for a in range(q) for b in range(a, q)]


def places(q: int) -> np.ndarray:
    """Where each entry of a symmetric matrix stands among :func:`pairs`, (q, q)."""
    index = np.zeros((q, q), int)
    for k, (a, b) in enumerate(pairs(q)):
        index[a, b] = index[b, a] = k
    return index


def turn(L: np.ndarray, M: np.ndarray) -> np.ndarray:
    """L M for one matrix L and many vectors or matrices M, entries first."""
    return (L @ M.reshape(len(M), prod(M.shape[1:]))).reshape(len(L), *M.shape[1:])


@dataclass(frozen=True, eq=False)
class Inner:
    r"""The groups at some u, usually at the modes.

    ``u``, ``b`` (q, n); ``mu`` (N,): means; ``score`` (q, n): :math:`Z_i'(y_i - \mu_i)`; ``M`` (q, q, n):
    :math:`Z_i'\operatorname{diag}(\mu_i)Z_i`; ``half`` (q, q, n): inverse Cholesky factors of :math:`S_i = I +
    \Lambda'M_i\Lambda`; ``logdet`` (n,): logarithms of their determinants; ``joint`` (n,): log-densities of
    :math:`(y_i, u_i)`, without the saturated log-likelihood and without :math:`(q/2)\log 2\pi`.
    """

    u: np.ndarray
    b: np.ndarray
    mu: np.ndarray
    score: np.ndarray
    M: np.ndarray
    half: np.ndarray
    logdet: np.ndarray
    joint: np.ndarray


@dataclass(frozen=True, eq=False)
class Conditional:
    """Joint log-densities of counts and u as functions of u, at fixed parameters."""

    counts: Counts
    L: np.ndarray
    fixed: np.ndarray
    base: np.ndarray

    @classmethod
    def of(cls, counts: Counts, beta: np.ndarray, L: np.ndarray) -> Conditional:
        """At beta (p,) and L (q, q) of the working basis."""
        fixed = counts.offset + beta @ counts.X
        return cls(counts, L, fixed, counts.sums(counts.y * (fixed - counts.log_y) + counts.y))

    def curvature(self, M: np.ndarray) -> np.ndarray:
        """S = I + L'M L, (q, q, n)."""
        S = turn(self.L.T, turn(self.L.T, M).swapaxes(0, 1))
        for a in range(len(S)):
            S[a, a] += 1
        return S

    @np.errstate(
        over="ignore", invalid="ignore", divide="ignore"
    )  # a step too long: its density is zero, its logarithm -inf
    def at(self, u: np.ndarray) -> Inner:
        """Value and derivatives at u (q, n)."""
        c, q = self.counts, len(u)
        b = self.L @ u
        mu = np.exp(self.fixed + c.along(b))
        packed = c.sums(mu * c.powers)
        M = c.square(packed[1 + q :])
        half, logdet = inverse_cholesky(self.curvature(M))
        # The residuals first, then their sums: as a difference of sums the score would lose the digits of large counts.
        return Inner(u, b, mu, c.sums((c.y - mu) * c.Z), M, half, logdet, self.joint(u, b, mu, packed[0]))

    def joint(self, u: np.ndarray, b: np.ndarray, mu: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Log-densities (n,) as :class:`Inner` has them, at means mu (N,) with sums (n,)."""
        c = self.counts
        if c.large:
            gap = self.fixed + c.along(b) - c.log_y
            of_counts = c.sums(np.where(c.y > 0, c.y * (gap - np.expm1(gap)), -mu))
        else:
            of_counts = self.base + (b * c.Zty).sum(axis=0) - total
        return of_counts - (u * u).sum(axis=0) / 2

    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """Least squares for the logarithms of the counts, near the modes (q, n); and their inverse Cholesky factors."""
        c = self.counts
        weight = c.y + 0.5
        half = inverse_cholesky(self.curvature(c.square(c.sums(weight * c.ZZ))))[0]
        return solve(half, self.L.T @ c.sums(weight * (np.log(weight) - self.fixed) * c.Z)), half


def solve(half: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """S^-1 v from inverse Cholesky factors of S (q, q, n), for v (q, n) or (q, columns, n)."""
    if vectors.ndim == 2:
        return solve(half, vectors[:, None])[:, 0]
    return product(half.swapaxes(0, 1), product(half, vectors))


def modes(counts: Counts, beta: np.ndarray, L: np.ndarray, u: np.ndarray | None = None) -> Inner:
    r"""Modes of the random effects given the counts, by Newton's method for all groups at once.

    .. math:: u \leftarrow u + S_i^{-1}\{\Lambda'Z_i'(y_i - \mu_i) - u\}, \qquad
        S_i = I + \Lambda'Z_i'\operatorname{diag}(\mu_i)Z_i\Lambda

    Equation :eq:`inner-newton` of the book. The joint log-density is strictly concave in u, so there is one mode; a
    step is halved for those groups in which the density would fall.

    Parameters
    ----------
    counts : Counts
    beta : (p,) array
        In the working basis, as L (q, q).
    L : (q, q) array
    u : as that of Inner, optional
        Start; by default from the logarithms of the counts.

    Returns
    -------
    Inner
        At the modes.
    """
    density = Conditional.of(counts, beta, L)
    now = _begin(density, u)
    last = False
    close = CLOSE + 1e-27 * float(counts.y.sum())  # with large counts rounding keeps the decrement from falling further
    for _ in range(MAX_STEPS):
        slope = L.T @ now.score - now.u
        white = product(now.half, slope[:, None])
        decrement = (white**2).sum(axis=(0, 1))
        largest = decrement.max(initial=0.0)
        if last or largest == 0:
            break
        last = largest < close
        now = _uphill(density, now, product(now.half.swapaxes(0, 1), white)[:, 0], decrement)
    return now


def _begin(density: Conditional, u: np.ndarray | None) -> Inner:
    """At u, or at the start by least squares for the groups for which that is better."""
    if u is not None:
        now = density.at(u)
        with np.errstate(invalid="ignore"):
            slope = density.L.T @ now.score - now.u
            decrement = (product(now.half, slope[:, None]) ** 2).sum(axis=(0, 1)).max(initial=0.0)
        if decrement < NEAR:
            return now
    other = density.at(density.start()[0])
    if u is None:
        return other
    return density.at(np.where(now.joint >= other.joint, now.u, other.u))


def _uphill(density: Conditional, now: Inner, step: np.ndarray, decrement: np.ndarray) -> Inner:
    """A Newton step, halved where the joint density does not rise as it should; a tiny one is taken as it is."""
    new = density.at(now.u + step)
    if decrement.max() < 1e-6:
        return new
    length = np.ones(len(decrement))
    for _ in range(60):
        fails = (decrement > 1e-6) & ~(new.joint >= now.joint + 1e-4 * length * decrement)
        if not fails.any():
            break
        length[fails] /= 2
        new = density.at(now.u + length * step)
    return new
