"""Sums over the rows of each group, with which every later formula works: the rows are not read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lmmlib.common.arguments import checked_made
from lmmlib.common.small import symmetric_units, vech
from lmmlib.design.basis import Basis, Sums, dependence, dependent
from lmmlib.design.design import LARGEST_Z, Design
from lmmlib.design.minque import Grams
from lmmlib.errors import DesignError


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
        # Where one combination of the entries tells all groups apart there is nothing to sort by all of them.
        mixed = np.sort(np.cos(np.arange(len(key))) @ key)
        if (mixed[1:] != mixed[:-1]).all():
            return ZtZ, np.arange(self.n_groups)
        order = np.lexsort(key)
        new = (np.diff(key[:, order], prepend=np.nan) != 0).any(axis=0)
        if new.all():
            return ZtZ, np.arange(self.n_groups)
        index = np.empty(self.n_groups, int)
        index[order] = np.cumsum(new) - 1
        # Entries of all patterns side by side, as those of all groups are.
        return np.take(ZtZ.transpose(1, 2, 0), order[new], axis=2).transpose(2, 0, 1), index

    def of_groups(self, M: np.ndarray) -> np.ndarray:
        """What each pattern has, (n_patterns, ...), for each group, (n_groups, ...), side by side in memory."""
        if len(M) == self.n_groups:  # no two are alike, and the patterns are those of the groups in their order
            return M
        return np.moveaxis(np.take(np.moveaxis(M, 0, -1), self.patterns[1], axis=-1), -1, 0)

    def take(self, groups: np.ndarray) -> CrossProducts:
        """The sums of some groups, (g,) places among all, whose effects and errors then cost no more than they do.

        Sums that run over the rows of all groups, such as X'X, stay as they are.
        """
        (ZtZ, index), w = self.patterns, self.work
        work = replace(w, ZtZ=ZtZ[index[groups]], ZtX=w.ZtX[groups], Zty=w.Zty[groups])
        return replace(self, work=work, n_i=self.n_i[groups], group_names=tuple(self.group_names[i] for i in groups))

    @property
    def n_patterns(self) -> int:
        """Number of distinct Z_i'Z_i: one for a balanced design."""
        return len(self.patterns[0])

    @cached_property
    def theta_coordinates(self) -> np.ndarray:
        """Matrices B_k with L = sum of theta_k B_k, (k, q, q): :meth:`lmmlib.design.basis.Basis.theta_coordinates`."""
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

    def once(self, name: str, at: tuple | bytes, make: Callable[[], Any]) -> Any:
        """What ``make()`` returns, kept under the name until it is asked for ``at`` other parameters."""
        if name not in self._kept or self._kept[name][0] != at:
            self._kept[name] = at, make()
        return self._kept[name][1]

    @cached_property
    def _kept(self) -> dict[str, tuple]:
        return {}

    @cached_property
    def grams(self) -> Grams:
        """Inner products of the derivatives of V by D and sigma2."""
        return Grams(self.work, *self.patterns, self.n_obs)

    @cached_property
    def dependent(self) -> tuple[np.ndarray, np.ndarray]:
        """:func:`lmmlib.design.basis.dependent`: columns that depend on others (lost,), their weights (p, lost)."""
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
        return joined([self, other], [[place[name] for name in part.group_names] for part in (self, other)], names)

    def __repr__(self) -> str:
        return (
            f"CrossProducts: {self.n_obs} observations in {self.n_groups} groups, "
            f"{self.n_patterns} distinct Z_i'Z_i\n"
            f"  fixed:  {', '.join(self.x_names)}\n"
            f"  random: {', '.join(self.z_names) or 'none'}"
        )


def joined(parts: Sequence[CrossProducts], places: Sequence, names: tuple) -> CrossProducts:
    """The sums of all rows of the parts, whose groups stand at these places among the names."""
    first, n_i = parts[0], np.zeros(len(names), int)
    for part, mine in zip(parts, places, strict=True):
        n_i[mine] += part.n_i
    work = Sums.joined([part.work.moved(part.basis, first.basis) for part in parts], places, len(names))
    log_weights = sum(part.log_weights for part in parts)
    return replace(first, work=work, n_i=n_i, group_names=names, log_weights=log_weights)


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
