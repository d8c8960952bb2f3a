r"""The working basis in which cross-products keep their digits, and the sums themselves.

The model is the same in any basis of its columns (chapter 3), but sums of squares are not equally accurate: with
x in calendar years X'X loses the digits that matter. Sums are therefore kept for columns that are nearly
orthonormal, and results are turned back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from lmmlib.common.small import symmetric_units

# A column counts as a combination of the earlier ones when what they leave of it is below this
# share of its length. Calendar years squared leave 1e-5, exact copies 1e-16.
DEPENDENT = 1e-10
# A square that is the rounding of a sum of squares, where the basis is that of other rows.
NO_SQUARE = 1e-12
# A part of a combination that is below this share of its length is rounding.
NO_PART = 1e-8

# Rows that are worked on at a time: what is computed of them is small beside the data, and fits into the cache.
CHUNK = 2**16
PER_GROUP = ("ZtZ", "ZtX", "Zty")


@dataclass(frozen=True, eq=False)
class Basis:
    r"""The working basis: :math:`X = \tilde X R_x`, :math:`Z = \tilde Z R_z`, :math:`\tilde y = y - X\beta_0`.

    So :math:`\tilde\beta = R_x(\beta - \beta_0)`, :math:`\tilde b = R_zb` and :math:`\tilde D = R_zDR_z'`. Each method
    ``work`` takes what belongs to the columns of the formula into the working basis, each ``back`` takes it back; any
    number of matrices or vectors may be stacked in leading axes.
    """

    Rx: np.ndarray
    Rz: np.ndarray
    beta0: np.ndarray

    @classmethod
    def of(cls, y, X, Z) -> Basis:
        """Basis in which the columns of these rows are orthogonal with mean square one."""
        both = triangle(X, y[:, None])  # beta0 is least squares by the triangle of [X, y]
        Rx = both[:-1, :-1]
        beta0 = solve_triangular(Rx, both[:-1, -1]) if Rx.size else np.zeros(0)
        return cls(Rx, Rx if Z is X else triangle(Z), beta0)

    def turn(self, y, X, Z) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of y, X and Z in the working basis."""
        work = divide(X, self.Rx)
        return y - X @ self.beta0, work, work if Z is X else divide(Z, self.Rz)

    def x_work(self, X: np.ndarray) -> np.ndarray:
        """Rows or combinations of X (rows, p): what they are for beta~."""
        return divide(X, self.Rx)

    def z_work(self, Z: np.ndarray) -> np.ndarray:
        """Rows or combinations of Z (rows, q): what they are for b~."""
        return divide(Z, self.Rz)

    def beta_work(self, beta) -> np.ndarray:
        """beta~ = Rx (beta - beta0) of fixed effects (..., p)."""
        return (np.asarray(beta) - self.beta0) @ self.Rx.T

    def beta_back(self, beta: np.ndarray) -> np.ndarray:
        """beta = beta0 + Rx^-1 beta~, (..., p)."""
        return self.beta0 + vectors_back(self.Rx, beta)

    def cov_beta_back(self, cov: np.ndarray) -> np.ndarray:
        """Covariance of beta from that of beta~, (..., p, p)."""
        return self.x_back @ cov @ self.x_back.T

    def b_back(self, b: np.ndarray) -> np.ndarray:
        """b = Rz^-1 b~, (..., q)."""
        return vectors_back(self.Rz, b)

    def L_back(self, L: np.ndarray) -> np.ndarray:
        """Rz^-1 L: a factor of D, or of a covariance of b, from that in the working basis, (..., q, k)."""
        return np.einsum("ab,...bc->...ac", self.z_back, L)

    def D_work(self, D) -> np.ndarray:
        """D~ = Rz D Rz' (..., q, q)."""
        return self.Rz @ D @ self.Rz.T

    def D_back(self, D: np.ndarray) -> np.ndarray:
        """D, or a covariance of b, (..., q, q) from that in the working basis: Rz^-1 D~ Rz^-1'."""
        return np.swapaxes(self.L_back(np.swapaxes(self.L_back(D), -1, -2)), -1, -2)

    @cached_property
    def x_back(self) -> np.ndarray:
        """Rx^-1, (p, p)."""
        return np.linalg.solve(self.Rx, np.eye(len(self.Rx)))

    @cached_property
    def z_back(self) -> np.ndarray:
        """Rz^-1, (q, q)."""
        return np.linalg.solve(self.Rz, np.eye(len(self.Rz)))

    @cached_property
    def z_size(self) -> np.ndarray:
        """Root mean squares of the columns of Z, (q,)."""
        return np.linalg.norm(self.Rz, axis=0)

    @cached_property
    def logdet_x(self) -> float:
        """Logarithm of the absolute determinant of Rx, by which log-likelihoods of the two bases differ."""
        return float(np.log(np.abs(np.diag(self.Rx))).sum())

    def theta_coordinates(self, diagonal: bool) -> np.ndarray:
        """Matrices B_k with L = sum of theta_k B_k, (k, q, q), for a factor L of D in the working basis.

        A full D has the lower triangle of L, column by column. A diagonal D is diagonal for the columns of the formula,
        where L is diagonal too; here that is a column of Rz each, of length one whatever its units.
        """
        if diagonal:
            return np.einsum("ca,ab->acb", self.Rz / self.z_size, np.eye(len(self.Rz)))
        return np.tril(symmetric_units(len(self.Rz)))


def chunks(n_rows: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices of ``size`` rows, the last may be shorter, that cover all."""
    return (slice(first, first + size) for first in range(0, n_rows, size))


def triangle(*parts: np.ndarray) -> np.ndarray:
    """Upper triangular R with M = Q R, Q'Q = N I, M the parts side by side; a dependent column keeps its own length."""
    N, k = len(parts[0]), sum(part.shape[1] for part in parts)
    if not k:
        return np.zeros((0, 0))
    upper, length2 = np.zeros((0, k)), np.zeros(k)
    for rows in chunks(N):
        # The triangle of the rows before stands for them.
        M = np.concatenate([part[rows] for part in parts], axis=1)
        upper = np.asarray(np.linalg.qr(np.concatenate([upper, M]), mode="r"))
        length2 += np.einsum("ij,ij->j", M, M)
    length = np.sqrt(length2)
    R = np.zeros((k, k))
    R[: len(upper)] = upper
    for j in range(k):
        if abs(R[j, j]) <= DEPENDENT * length[j]:
            if R[j, j + 1 :].any():  # what the later columns have here is theirs
                R[j + 1 :, j + 1 :] = np.linalg.qr(R[j:, j + 1 :], mode="r")
            R[j, j:] = 0.0
            R[j, j] = length[j] or 1.0
    return R / np.sqrt(N)


def divide(M: np.ndarray, R: np.ndarray) -> np.ndarray:
    """M R^-1 for an upper triangular R."""
    return solve_triangular(R, M.T, trans="T").T if R.size else M


def vectors_back(R: np.ndarray, v: np.ndarray) -> np.ndarray:
    """R^-1 v for vectors v (..., k) and an upper triangular R."""
    x = np.array(v, float)
    for j in reversed(range(len(R))):  # of all vectors at a time, which are many and short
        x[..., j] = (x[..., j] - x[..., j + 1 :] @ R[j, j + 1 :]) / R[j, j]
    return x


@dataclass(frozen=True, eq=False)
class Sums:
    """Cross-products of columns Z, X, y: per group for those with Z, in total for the others.

    However they come about, an entry of all groups lies side by side in memory, as what is computed of them runs along
    the groups.
    """

    ZtZ: np.ndarray
    ZtX: np.ndarray
    Zty: np.ndarray
    XtX: np.ndarray
    Xty: np.ndarray
    yty: float

    def __post_init__(self):
        for key in PER_GROUP:
            M = getattr(self, key)
            if M.strides[0] != M.itemsize:
                object.__setattr__(self, key, np.moveaxis(np.ascontiguousarray(np.moveaxis(M, 0, -1)), -1, 0))

    @classmethod
    def of(cls, y, X, Z, group, n_groups, basis: Basis | None = None) -> Sums:
        """One pass over the rows, which may come in any order; of their columns in ``basis`` if one is given."""
        p, q, same = X.shape[1], Z.shape[1], Z is X
        XtX, Xty, yty = np.zeros((p, p)), np.zeros(p), 0.0
        per_group = np.zeros((q, q + 1 if same else q + p + 1, n_groups))
        # Rows that stand together by groups, as most do, are summed in place. Of others each chunk adds to all groups,
        # and with fewer rows than groups most of what it adds would be zeros.
        together = bool((group[1:] >= group[:-1]).all())
        for rows in chunks(len(y), CHUNK if together else max(CHUNK, n_groups)):
            v, W = y[rows], X[rows]
            v, W, U = (v, W, W if same else Z[rows]) if basis is None else basis.turn(v, W, W if same else Z[rows])
            columns, of = [*U.T, v] if same else [*U.T, *W.T, v], group[rows]
            first = np.flatnonzero(np.concatenate([[True], of[1:] != of[:-1]])) if together else of
            for a in range(q):
                for c in range(a, len(columns)):
                    product = columns[a] * columns[c]
                    if together:
                        per_group[a, c, of[first]] += np.add.reduceat(product, first)
                    else:
                        per_group[a, c] += np.bincount(of, product, minlength=n_groups)
            XtX, Xty, yty = XtX + W.T @ W, Xty + W.T @ v, yty + float(v @ v)
        for a in range(q):
            per_group[a, :a] = per_group[:a, a]
        per_group = per_group.transpose(2, 0, 1)
        ZtZ = per_group[:, :, :q]
        return cls(ZtZ, ZtZ if same else per_group[:, :, q:-1], per_group[:, :, -1], XtX, Xty, yty)

    def change(self, Mz, Mx, d) -> Sums:
        """Sums for the columns Z Mz, X Mx and y + X d."""
        return Sums(
            ZtZ=Mz.T @ self.ZtZ @ Mz,
            ZtX=Mz.T @ self.ZtX @ Mx,
            Zty=(self.Zty + self.ZtX @ d) @ Mz,
            XtX=Mx.T @ self.XtX @ Mx,
            Xty=Mx.T @ (self.Xty + self.XtX @ d),
            yty=self.yty + 2 * float(d @ self.Xty) + float(d @ self.XtX @ d),
        )

    def moved(self, old: Basis, new: Basis) -> Sums:
        """Sums that are kept in one working basis, in another."""
        if old is new or all(np.array_equal(getattr(old, f.name), getattr(new, f.name)) for f in fields(Basis)):
            return self
        return self.change(divide(old.Rz, new.Rz), divide(old.Rx, new.Rx), old.Rx @ (old.beta0 - new.beta0))

    @classmethod
    def joined(cls, parts: Sequence[Sums], places: Sequence, n_groups: int) -> Sums:
        """Sums of parts that are in one basis and whose groups stand at these places among ``n_groups``."""
        total: dict[str, Any] = {key: np.zeros((n_groups, *getattr(parts[0], key).shape[1:])) for key in PER_GROUP}
        for part, mine in zip(parts, places, strict=True):
            for key, sums in total.items():
                sums[mine] += getattr(part, key)
        rest = {key: sum(getattr(part, key) for part in parts) for key in ("XtX", "Xty", "yty")}
        return cls(**total, **rest)


def dependent(Rx: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the columns of X that are combinations of those kept before, (lost,), and their weights, (p, lost).

    ``gram`` is X'X / N in the working basis, in which a dependent column has nothing left. Columns that are not kept
    have the weight zero.
    """
    length = np.sqrt(np.einsum("ij,ij->j", Rx, gram @ Rx))
    factor, left, keep = np.zeros_like(gram), gram.copy(), np.ones(len(gram), bool)
    # Cholesky's factorisation, in which a column of which nothing is left has no row.
    for j in range(len(gram)):
        root = np.sqrt(max(left[j, j], 0.0))
        keep[j] = root * abs(Rx[j, j]) > DEPENDENT * length[j] and left[j, j] > NO_SQUARE * gram[j, j]
        if keep[j]:
            factor[j, j:] = left[j, j:] / root
            left[j + 1 :, j + 1 :] -= np.outer(factor[j, j + 1 :], factor[j, j + 1 :])
    lost = np.flatnonzero(~keep)
    weights = np.zeros((len(gram), len(lost)))
    if keep.any() and len(lost):
        own = Rx[lost, lost] * solve_triangular(factor[keep][:, keep], factor[keep][:, lost])
        weights[keep] = solve_triangular(Rx[keep][:, keep], Rx[keep][:, lost] + own)
        weights[np.abs(weights) * length[:, None] <= NO_PART * length[lost]] = 0.0
    return lost, weights


def dependence(name: str, names, weights: np.ndarray) -> str:
    """What to say of a column that is the combination of the named ones with these weights."""
    parts = [f"{w:.4g} {one}" for w, one in zip(weights, names, strict=True) if w]
    return f"is a linear combination of others ({name} = {' + '.join(parts)})" if parts else "is zero in every row"
