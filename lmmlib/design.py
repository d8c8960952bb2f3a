r"""The design of a mixed model with one grouping factor, and the per-group cross-products.

The likelihoods and estimates of the Gaussian model depend on the rows of the data only through

.. math:: Z_i'Z_i,\; Z_i'X_i,\; Z_i'y_i \quad (i = 1, \dots, n), \qquad X'X,\; X'y,\; y'y.

They are formed in one pass, add up over chunks of rows, and are all that later modules see.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from lmmlib.basis import Basis, Sums, dependence, dependent
from lmmlib.common.arguments import checked_made, shown
from lmmlib.errors import DataError, DesignError
from lmmlib.frames import check_size, checked_known, group_codes
from lmmlib.minque import Grams, symmetric_units, vech

# Of a column of Z beside a diagonal D, whose directions are not scaled.
LARGEST_Z = 1e70


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
    columns : dict
        The data frame's columns behind ``y``, ``X`` and ``Z``, each with its categories, or None for numbers.
    weights : (n_obs,) array or None
        Known precisions: the residual variance of a row is sigma2 over its weight. See :mod:`lmmlib.known`.
    offset : (n_obs,) array or None
        A known part of the mean.
    weights_column, offset_column : str or None
        The columns that they come from, if they are columns.
    dropped : tuple of str
        Columns of the formula that ``X`` has not, because they depend on others (``drop="dependent"``).
    combinations : (p, len(dropped)) array or None
        What they are: ``X @ combinations``.
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
    columns: dict = field(default_factory=dict, repr=False)
    x_spec: object = field(default=None, repr=False)
    z_spec: object = field(default=None, repr=False)
    weights: np.ndarray | None = None
    offset: np.ndarray | None = None
    weights_column: str | None = None
    offset_column: str | None = None
    dropped: tuple[str, ...] = ()
    combinations: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def from_arrays(
        cls, y, X, Z, group, *, x_names=None, z_names=None, diagonal=False, weights=None, offset=None
    ) -> Design:
        """Design from arrays; ``group`` may hold any labels, in any order; ``weights`` and ``offset`` are (N,) arrays.

        Raises
        ------
        DataError
            If the lengths differ, there are no rows, a value is not finite, or a weight is not above zero.
        DesignError
            If two columns have one name.
        """
        try:
            y, X, Z = np.asarray(y, float), np.asarray(X, float), np.asarray(Z, float)
        except (TypeError, ValueError, OverflowError):
            given = ", ".join(map(shown, (y, X, Z)))
            raise DataError(f"y, X and Z must be arrays of real numbers; got {given}") from None
        if not isinstance(group, np.ndarray):
            group = np.array([*_labels("group", group), None], dtype=object)[:-1]
        shapes = y.shape, X.shape, Z.shape, group.shape
        if [len(s) for s in shapes] != [1, 2, 2, 1] or len({s[0] for s in shapes}) > 1:
            raise DataError(f"y, X, Z and group must be (N,), (N, p), (N, q), (N,); got {', '.join(map(str, shapes))}")
        if len(y) == 0:
            raise DataError("the data have no rows")
        for name, values in (("y", y), ("X", X), ("Z", Z)):
            check_size(values, name)
        known = {"weights": weights, "offset": offset}
        known = {name: checked_known(name, v, len(y)) for name, v in known.items() if v is not None}
        for name, given, columns in (("x_names", x_names, X.shape[1]), ("z_names", z_names, Z.shape[1])):
            labels = [f"{name[0]}{j}" for j in range(columns)] if given is None else _labels(name, given)
            if len(labels) != columns:
                raise DataError(f"{name} must name {columns} columns; got {', '.join(map(str, labels))}")
            check_names(labels)
            known[name] = tuple(labels)
        codes, names = group_codes(group)
        return cls(
            y=y,
            X=X,
            Z=Z,
            group=codes,
            group_names=names,
            diagonal=diagonal,
            **known,
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
    def by_group(self) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers sorted by group, and where each group begins in them, (n_groups + 1,)."""
        return np.argsort(self.group, kind="stable"), np.concatenate([[0], np.cumsum(self.n_i)])

    def rows(self, i: int) -> np.ndarray:
        """Row numbers of group ``i``, in the order of the data."""
        order, start = self.by_group
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
        known = {k: v[rows] for k in ("weights", "offset") if (v := getattr(self, k)) is not None}
        return replace(self, y=self.y[rows], X=self.X[rows], Z=self.Z[rows], group=self.group[rows], **known)

    @property
    def residual_variances(self) -> np.ndarray:
        """Of each row in units of sigma2, (n_obs,): one over its weight, or one."""
        return np.ones(self.n_obs) if self.weights is None else 1 / self.weights

    def centred(self, y) -> np.ndarray:
        """Responses (n_obs,) or (n_obs, B) less the offset."""
        return y if self.offset is None else (y.T - self.offset).T

    def standard_rows(self, y) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """y less the offset, X and Z with rows times the root of the weight, so that all have the variance sigma2."""
        y = self.centred(y)
        if self.weights is None:
            return y, self.X, self.Z
        root = np.sqrt(self.weights)
        X = self.X * root[:, None]
        return (y.T * root).T, X, X if self.Z is self.X else self.Z * root[:, None]

    def __repr__(self) -> str:
        dropped = f", {self.n_dropped} rows dropped" if self.n_dropped else ""
        lost = ", ".join(self.dropped)
        return (
            f"Design: {self.formula or self.response}\n"
            f"  {self.n_obs} observations in {self.n_groups} groups{dropped}\n"
            f"  fixed:  {', '.join(self.x_names)}{f' (without {lost})' if lost else ''}\n"
            f"  random: {', '.join(self.z_names) or 'none'}{' (uncorrelated)' if self.diagonal else ''}"
        )


def check_names(names: list[str], origins: list[str] | None = None) -> None:
    """Raise if two coefficients have one name; ``origins`` says where each name comes from."""
    for j, name in enumerate(names):
        k = names.index(name)
        if k < j:
            first, second = (origins[k], origins[j]) if origins else (f"column {k}", f"column {j}")
            raise DesignError(
                f"two coefficients have the name {name!r}: {first} and {second} (columns count from 0); rename a "
                "column or a category, so that each can be told by its name"
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
    log_weights : float
        Sum of the logarithms of the weights of the rows, zero without weights.
    """

    work: Sums
    basis: Basis
    n_i: np.ndarray
    group_names: tuple
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]
    diagonal: bool = False
    log_weights: float = 0.0

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
        if not ZtZ.size:
            return ZtZ[:1], np.zeros(self.n_groups, int)
        scale = np.abs(ZtZ).max()
        lower = np.tril_indices(len(self.z_names))
        key = np.round(ZtZ[:, *lower].T / (scale * 1e-12 or 1.0))
        order = np.lexsort(key)
        new = (np.diff(key[:, order], prepend=np.nan) != 0).any(axis=0)
        if new.all():
            return ZtZ, np.arange(self.n_groups)
        index = np.empty(self.n_groups, int)
        index[order] = np.cumsum(new) - 1
        # Entries of all patterns side by side, as those of all groups are.
        return np.take(ZtZ.transpose(1, 2, 0), order[new], axis=2).transpose(2, 0, 1), index

    @property
    def n_patterns(self) -> int:
        """Number of distinct Z_i'Z_i: one for a balanced design."""
        return len(self.patterns[0])

    @cached_property
    def theta_coordinates(self) -> np.ndarray:
        """Matrices B_k with L = sum of theta_k B_k, (k, q, q): :meth:`lmmlib.basis.Basis.theta_coordinates`."""
        return self.basis.theta_coordinates(self.diagonal)

    @cached_property
    def D_coordinates(self) -> np.ndarray:
        """Symmetric E_r with D = sum of alpha_r E_r in the working basis, (k, q, q), in the order of vech D."""
        B = self.theta_coordinates
        return B @ np.swapaxes(B, 1, 2) if self.diagonal else np.maximum(B, np.swapaxes(B, 1, 2))

    @property
    def variance_names(self) -> tuple[str, ...]:
        """Names of the variance parameters in their order, such as ``D[week, (Intercept)]`` and ``sigma2``."""
        z = self.z_names
        return (*(f"D[{z[a]}, {z[b]}]" for a, b in vech(len(z), self.diagonal)), "sigma2")

    def D_directions(self, working: bool = False) -> np.ndarray:
        """Derivatives of D, as it is in the working basis, by the entries of vech D, (k-1, q, q).

        The entries are those of the formula's D; with ``working`` those of the working basis, but for a diagonal D.

        Raises
        ------
        DesignError
            If a column of Z with a variance of its own has units in which its fourth power overflows or vanishes.
        """
        E = symmetric_units(len(self.z_names), self.diagonal)
        if working and not self.diagonal:
            return E
        for name, size in zip(self.z_names, self.basis.z_size * self.diagonal, strict=True):
            if size and not 1 / LARGEST_Z <= size <= LARGEST_Z:
                raise DesignError(
                    f"the random column {name} has values around {size:.0e}, whose fourth power is no number; divide "
                    f"it by {size:.0e} or so"
                )
        return self.basis.D_work(E)

    def D_entries(self, D, working: bool = False) -> np.ndarray:
        """alpha with D = sum of alpha_r E_r in the working basis, E as :meth:`D_directions`, (k-1,)."""
        D = np.reshape(np.asarray(D, float), (len(self.z_names),) * 2)
        D = self.basis.D_work(D) if working and not self.diagonal else D
        return np.array([D[a, b] for a, b in vech(len(D), self.diagonal)])

    @cached_property
    def grams(self) -> Grams:
        """Inner products of the derivatives of V by D and sigma2."""
        return Grams(self.work, *self.patterns, self.n_obs)

    @cached_property
    def dependent(self) -> tuple[np.ndarray, np.ndarray]:
        """:func:`lmmlib.basis.dependent`: the dependent columns of X, (d,), and their combinations, (p, d)."""
        return dependent(self.basis.Rx, self.work.XtX / self.n_obs)

    def require_full_rank(self) -> None:
        """Raise unless the columns of X are linearly independent.

        Raises
        ------
        DesignError
            Names the column and the combination that it is.
        """
        lost, weights = self.dependent
        if len(lost):
            name = self.x_names[lost[0]]
            raise DesignError(
                f"column {name!r} of the fixed effects {dependence(name, self.x_names, weights[:, 0])}, so its "
                "coefficient is not identified; leave it out, as build_design with drop='dependent' does"
            )

    def __add__(self, other: CrossProducts) -> CrossProducts:
        if self.x_names != other.x_names or self.z_names != other.z_names or self.diagonal != other.diagonal:
            raise DesignError(
                f"cannot add cross-products of different columns: {self.x_names} and {self.z_names} here, "
                f"{other.x_names} and {other.z_names} there"
            )
        names = tuple(dict.fromkeys(self.group_names + other.group_names))
        place = {name: i for i, name in enumerate(names)}
        here, there = ([place[name] for name in part.group_names] for part in (self, other))
        moved = other.work.moved(other.basis, self.basis)
        n_i = np.zeros(len(names), int)
        n_i[here] += self.n_i
        n_i[there] += other.n_i
        return replace(
            self,
            work=self.work.spread(here, len(names)) + moved.spread(there, len(names)),
            n_i=n_i,
            group_names=names,
            log_weights=self.log_weights + other.log_weights,
        )

    def __repr__(self) -> str:
        return (
            f"CrossProducts: {self.n_obs} observations in {self.n_groups} groups, "
            f"{self.n_patterns} distinct Z_i'Z_i\n"
            f"  fixed:  {', '.join(self.x_names)}\n"
            f"  random: {', '.join(self.z_names) or 'none'}"
        )


def _labels(name: str, given) -> list:
    """Labels as a list."""
    if not np.iterable(given):
        raise DataError(f"{name} must be a sequence of labels; got {shown(given)}")
    return list(given)


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
    checked_made("design", design, Design, "build_design")
    y, X, Z = design.standard_rows(design.y)
    basis = Basis.of(y, X, Z)
    work = Sums.of(y, X, Z, design.group, design.n_groups, basis)
    names = design.group_names, design.x_names, design.z_names
    log_weights = 0.0 if design.weights is None else float(np.log(design.weights).sum())
    return CrossProducts(work, basis, design.n_i, *names, design.diagonal, log_weights)
