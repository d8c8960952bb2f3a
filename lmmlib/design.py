r"""The design of a mixed model with one grouping factor, and the per-group cross-products.

Everything that chapters 2 to 9 compute depends on the rows of the data only through

.. math:: Z_i'Z_i,\; Z_i'X_i,\; Z_i'y_i \quad (i = 1, \dots, n), \qquad X'X,\; X'y,\; y'y.

They are formed in one pass, add up over chunks of rows, and are all that later modules see.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from lmmlib.errors import DataError, DesignError

# A column counts as a combination of the earlier ones when what they leave of it is below this
# share of its length. Calendar years squared leave 1e-5, exact copies 1e-16.
DEPENDENT = 1e-10


@dataclass(frozen=True, eq=False)
class Design:
    """Response and design matrices of :math:`Y_i = X_i\\beta + Z_i b_i + \\varepsilon_i`, rows in any order.

    Equation :eq:`lmm` of the book. Usually made by :func:`lmmlib.build_design` from a formula, or from
    plain arrays by :meth:`from_arrays`.

    Attributes
    ----------
    y : (n_obs,) array
        Response.
    X : (n_obs, p) array
        Fixed-effects design, its columns named by ``x_names``.
    Z : (n_obs, q) array
        Random-effects design, its columns named by ``z_names``.
    group : (n_obs,) array of int
        Position of each row's group in ``group_names``.
    diagonal : bool
        True if D is diagonal (``||`` in the formula).
    n_dropped : int
        Rows left out because of missing values (``missing="drop"``).
    """

    y: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    group: np.ndarray
    group_names: tuple
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]
    response: str = "y"
    grouping: str = "group"
    formula: str = ""
    diagonal: bool = False
    n_dropped: int = 0
    x_spec: object = field(default=None, repr=False)
    z_spec: object = field(default=None, repr=False)

    @classmethod
    def from_arrays(cls, y, X, Z, group, *, x_names=None, z_names=None, diagonal=False) -> Design:
        """Design from arrays; ``group`` may hold any labels, in any order.

        Raises
        ------
        DataError
            If the lengths differ, there are no rows, or a value is not finite.
        """
        y, X, Z = np.asarray(y, float), np.asarray(X, float), np.asarray(Z, float)
        names, codes = np.unique(np.asarray(group), return_inverse=True)
        if y.ndim != 1 or X.ndim != 2 or Z.ndim != 2 or not len(y) == len(X) == len(Z) == len(codes):
            raise DataError(
                f"y, X, Z and group must be (N,), (N, p), (N, q), (N,); got {y.shape}, {X.shape}, {Z.shape}, "
                f"{codes.shape}"
            )
        if len(y) == 0:
            raise DataError("the data have no rows")
        for name, values in (("y", y), ("X", X), ("Z", Z)):
            if not np.isfinite(values).all():
                row = int(np.argwhere(~np.isfinite(values))[0][0])
                raise DataError(f"{name} has a missing or infinite value in row {row}")
        return cls(
            y=y,
            X=X,
            Z=Z,
            group=codes,
            group_names=tuple(names.tolist()),
            x_names=tuple(x_names or (f"x{j}" for j in range(X.shape[1]))),
            z_names=tuple(z_names or (f"z{j}" for j in range(Z.shape[1]))),
            diagonal=diagonal,
        )

    @property
    def n_obs(self) -> int:
        """Number of observations N."""
        return len(self.y)

    @property
    def n_groups(self) -> int:
        """Number of groups n."""
        return len(self.group_names)

    @cached_property
    def n_i(self) -> np.ndarray:
        """Observations in each group, (n_groups,)."""
        return np.bincount(self.group, minlength=self.n_groups)

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        return np.argsort(self.group, kind="stable"), np.concatenate([[0], np.cumsum(self.n_i)])

    def rows(self, i: int) -> np.ndarray:
        """Row numbers of group ``i``, in the order of the data."""
        order, start = self._order
        return order[start[i] : start[i + 1]]

    def group_rows(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(y_i, X_i, Z_i)`` of group ``i``."""
        rows = self.rows(i)
        return self.y[rows], self.X[rows], self.Z[rows]

    def with_response(self, y) -> Design:
        """The same design with another response of the same length."""
        y = np.asarray(y, float)
        if y.shape != self.y.shape or not np.isfinite(y).all():
            raise DataError(f"the new response must be {self.y.shape} finite numbers; got shape {y.shape}")
        return replace(self, y=y)

    def take(self, rows) -> Design:
        """The design of some rows only; groups without rows remain, with ``n_i`` = 0."""
        return replace(self, y=self.y[rows], X=self.X[rows], Z=self.Z[rows], group=self.group[rows])

    def __repr__(self) -> str:
        dropped = f", {self.n_dropped} rows dropped" if self.n_dropped else ""
        return (
            f"Design: {self.formula or self.response}\n"
            f"  {self.n_obs} observations in {self.n_groups} groups{dropped}\n"
            f"  fixed:  {', '.join(self.x_names)}\n"
            f"  random: {', '.join(self.z_names) or 'none'}{' (uncorrelated)' if self.diagonal else ''}"
        )


@dataclass(frozen=True, eq=False)
class Basis:
    r"""The working basis: :math:`X = \tilde X R_x`, :math:`Z = \tilde Z R_z`, :math:`\tilde y = y - X\beta_0`.

    The model is the same in any basis of its columns (chapter 3), but sums of squares are not equally
    accurate: with x in calendar years X'X loses the digits that matter. Sums are therefore kept for
    columns that are nearly orthonormal, and results are turned back.
    """

    Rx: np.ndarray
    Rz: np.ndarray
    beta0: np.ndarray

    @classmethod
    def of(cls, y, X, Z) -> Basis:
        """Basis in which the columns of these rows are orthogonal with mean square one."""
        Rx, Rz = _triangle(X), _triangle(Z)
        work = _divide(X, Rx)
        beta0 = np.zeros(X.shape[1])
        if X.shape[1]:
            beta0 = solve_triangular(Rx, work.T @ y / len(y))
        return cls(Rx, Rz, beta0)


def _triangle(M: np.ndarray) -> np.ndarray:
    """Upper triangular R with M = Q R, Q'Q = N I; a dependent column keeps its own length instead."""
    N, k = M.shape
    if not k:
        return np.zeros((0, 0))
    length = np.linalg.norm(M, axis=0)
    R = np.zeros((k, k))
    R[: min(N, k)] = np.linalg.qr(M, mode="r")
    left = np.abs(np.diag(R))
    R[np.diag_indices(k)] = np.where(left > DEPENDENT * length, np.diag(R), np.where(length > 0, length, 1.0))
    return R / np.sqrt(N)


def _divide(M: np.ndarray, R: np.ndarray) -> np.ndarray:
    """M R^-1 for an upper triangular R."""
    return solve_triangular(R, M.T, trans="T").T if R.size else M


@dataclass(frozen=True, eq=False)
class Sums:
    """Cross-products of columns Z, X, y: per group for those with Z, in total for the others."""

    ZtZ: np.ndarray
    ZtX: np.ndarray
    Zty: np.ndarray
    XtX: np.ndarray
    Xty: np.ndarray
    yty: float

    @classmethod
    def of(cls, y, X, Z, group, n_groups) -> Sums:
        """One vectorised pass over the rows, which may come in any order."""
        q = Z.shape[1]
        columns = np.column_stack([Z, X, y])
        per_group = np.empty((n_groups, q, columns.shape[1]))
        for a in range(q):
            for c in range(columns.shape[1]):
                if c < a:
                    per_group[:, a, c] = per_group[:, c, a]
                else:
                    per_group[:, a, c] = np.bincount(group, Z[:, a] * columns[:, c], minlength=n_groups)
        return cls(per_group[:, :, :q], per_group[:, :, q:-1], per_group[:, :, -1], X.T @ X, X.T @ y, float(y @ y))

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


@dataclass(frozen=True, eq=False)
class CrossProducts:
    r"""What a mixed model keeps of its data: :math:`Z_i'Z_i, Z_i'X_i, Z_i'y_i` per group and :math:`X'X, X'y, y'y`.

    Equation :eq:`cross-product-gls` of the book shows why no more is needed. ``a + b`` merges the sums of
    two chunks of rows, also when they share groups.

    Attributes
    ----------
    work : Sums
        The sums in the working basis; what the other modules compute with.
    basis : Basis
        How the working basis relates to the columns of the formula.
    n_i : (n_groups,) array
        Observations in each group.
    """

    work: Sums
    basis: Basis
    n_i: np.ndarray
    group_names: tuple
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]
    diagonal: bool = False

    @property
    def n_obs(self) -> int:
        """Number of observations N."""
        return int(self.n_i.sum())

    @property
    def n_groups(self) -> int:
        """Number of groups n."""
        return len(self.group_names)

    @cached_property
    def _original(self) -> Sums:
        """The sums of the columns of the formula: X = X~ Rx, Z = Z~ Rz, y = y~ + X~ Rx beta0."""
        beta = self.basis.Rx @ self.basis.beta0
        return self.work.change(self.basis.Rz, self.basis.Rx, beta)

    @property
    def ZtZ(self) -> np.ndarray:
        """Z_i'Z_i, (n_groups, q, q)."""
        return self._original.ZtZ

    @property
    def ZtX(self) -> np.ndarray:
        """Z_i'X_i, (n_groups, q, p)."""
        return self._original.ZtX

    @property
    def Zty(self) -> np.ndarray:
        """Z_i'y_i, (n_groups, q)."""
        return self._original.Zty

    @property
    def XtX(self) -> np.ndarray:
        """X'X, (p, p)."""
        return self._original.XtX

    @property
    def Xty(self) -> np.ndarray:
        """X'y, (p,)."""
        return self._original.Xty

    @property
    def yty(self) -> float:
        """y'y."""
        return self._original.yty

    @cached_property
    def patterns(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct Z_i'Z_i (n_patterns, q, q) in the working basis, and each group's pattern (n_groups,).

        Two groups share a pattern when their sums differ by rounding only (the order of the rows).
        """
        ZtZ = self.work.ZtZ
        scale = np.abs(ZtZ).max() if ZtZ.size else 1.0
        key = np.round(ZtZ.reshape(self.n_groups, -1) / (scale * 1e-12 or 1.0))
        _, first, index = np.unique(key, axis=0, return_index=True, return_inverse=True)
        return ZtZ[first], index.reshape(-1)

    @property
    def n_patterns(self) -> int:
        """Number of distinct Z_i'Z_i: one for a balanced design."""
        return len(self.patterns[0])

    @cached_property
    def _dependent(self) -> int | None:
        """The first column of X that is a linear combination of those before it."""
        R, G = self.basis.Rx, self.work.XtX / self.n_obs
        length = np.sqrt(np.diag(R.T @ G @ R))
        for j in range(len(self.x_names)):
            weights = np.linalg.lstsq(G[:j, :j], G[:j, j], rcond=None)[0] if j else np.zeros(0)
            left = np.sqrt(max(G[j, j] - G[:j, j] @ weights, 0.0)) * abs(R[j, j])
            if left <= DEPENDENT * length[j]:
                return j
        return None

    def require_full_rank(self) -> None:
        """Raise unless the columns of X are linearly independent.

        Raises
        ------
        DesignError
            Names the column and the combination that it is.
        """
        if self._dependent is not None:
            j = self._dependent
            raise DesignError(_dependence(self.x_names[j], self.x_names[:j], self.XtX, j))

    def __add__(self, other: CrossProducts) -> CrossProducts:
        if self.x_names != other.x_names or self.z_names != other.z_names or self.diagonal != other.diagonal:
            raise DesignError(
                f"cannot add cross-products of different columns: {self.x_names} and {self.z_names} here, "
                f"{other.x_names} and {other.z_names} there"
            )
        a, b = self.basis, other.basis
        moved = other.work.change(
            _divide(b.Rz, a.Rz), _divide(b.Rx, a.Rx), b.Rx @ (b.beta0 - a.beta0)
        )
        names = self.group_names + tuple(sorted(set(other.group_names) - set(self.group_names), key=_label))
        place = {name: i for i, name in enumerate(names)}
        to = np.array([place[name] for name in other.group_names], dtype=int)
        n_i = np.concatenate([self.n_i, np.zeros(len(names) - self.n_groups, int)])
        n_i[to] += other.n_i
        merged = {}
        for key in ("ZtZ", "ZtX", "Zty"):
            mine = getattr(self.work, key)
            merged[key] = np.concatenate([mine, np.zeros((len(names) - self.n_groups, *mine.shape[1:]))])
            merged[key][to] += getattr(moved, key)
        for key in ("XtX", "Xty", "yty"):
            merged[key] = getattr(self.work, key) + getattr(moved, key)
        return replace(self, work=Sums(**merged), n_i=n_i, group_names=names)

    def __repr__(self) -> str:
        return (
            f"CrossProducts: {self.n_obs} observations in {self.n_groups} groups, "
            f"{self.n_patterns} distinct Z_i'Z_i\n"
            f"  fixed:  {', '.join(self.x_names)}\n"
            f"  random: {', '.join(self.z_names) or 'none'}"
        )


def _label(name) -> tuple[str, str]:
    return type(name).__name__, str(name)


def _dependence(name, earlier, XtX, j) -> str:
    if XtX[j, j] == 0:
        return f"column {name!r} of the fixed effects is zero in every row; leave it out"
    weights = np.linalg.lstsq(XtX[:j, :j], XtX[:j, j], rcond=None)[0]
    parts = [f"{w:.4g} {c}" for w, c in zip(weights, earlier, strict=True) if abs(w) > 1e-8 * np.abs(weights).max()]
    return (
        f"column {name!r} of the fixed effects is a linear combination of others ({name} = {' + '.join(parts)}), "
        f"so its coefficient is not identified; leave it out"
    )


def cross_products(design: Design) -> CrossProducts:
    r"""Per-group cross-products of a design, in one pass over its rows.

    .. math:: \{Z_i'Z_i,\; Z_i'X_i,\; Z_i'y_i\}_{i=1}^n,\quad X'X,\; X'y,\; y'y

    The sums that equation :eq:`cross-product-gls` of the book needs; Bates et al. (2015), section 3.

    Parameters
    ----------
    design : Design
        n_obs rows, p fixed and q random columns, n_groups groups of any sizes.

    Returns
    -------
    CrossProducts
        Additive over chunks of rows.
    """
    basis = Basis.of(design.y, design.X, design.Z)
    work = Sums.of(
        design.y - design.X @ basis.beta0,
        _divide(design.X, basis.Rx),
        _divide(design.Z, basis.Rz),
        design.group,
        design.n_groups,
    )
    return CrossProducts(
        work, basis, design.n_i, design.group_names, design.x_names, design.z_names, design.diagonal
    )
