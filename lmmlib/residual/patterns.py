r"""Groups with the same visits, and all that the likelihood needs of them.

Groups with the same visits and the same rows of Z have one :math:`V_i`, a *pattern*. What is needed of the n groups of
a pattern are sums such as :math:`\sum_iW_i'AW_i` with :math:`W_i = [X_i, y_i]`, quadratic in the entries of
:math:`W_i`, for any A. Written in a row each, these entries make a matrix with n rows; its triangular factor has the
same sums, and at most m(p+1) rows: it stands for the groups, whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.design.cross import CrossProducts
from lmmlib.design.design import Design
from lmmlib.residual.visits import Visits


@dataclass(frozen=True, eq=False)
class Batch:
    """The groups that have ``size`` rows each, by their patterns.

    Of the groups: ``group`` (groups,), their ``rows`` (groups, size) and ``pattern`` (groups,). Of the patterns: the
    visits ``code`` (patterns, size), the covariance ``cell`` (patterns,), ``Z`` (patterns, size, q) in the working
    basis, the number of groups ``n`` (patterns,). What stands for the groups: ``W`` (stand, size, p+1), rows [X, y] in
    the working basis, of the patterns ``of`` (stand,), which rise.
    """

    group: np.ndarray
    rows: np.ndarray
    pattern: np.ndarray
    code: np.ndarray
    cell: np.ndarray
    Z: np.ndarray
    n: np.ndarray
    W: np.ndarray
    of: np.ndarray

    def per_pattern(self, products: np.ndarray) -> np.ndarray:
        """Sums (patterns, ...) over what stands for the groups of each pattern."""
        return np.add.reduceat(products, np.flatnonzero(np.diff(self.of, prepend=-1)), axis=0)


def batches(design: Design, cross: CrossProducts, visits: Visits, unit: float) -> list[Batch]:
    """All groups, by size; y is in units of ``unit``."""
    y, X, Z = design.standard_rows(design.y)
    v, X_work, Z_work = cross.basis.turn(y, X, Z)
    W = np.column_stack([X_work, v / unit])
    order = np.lexsort([*Z.T[::-1], visits.code, design.group])
    first, found = design.by_group[1], []
    for m in np.unique(design.n_i[design.n_i > 0]):
        group = np.flatnonzero(design.n_i == m)
        rows = order[first[group][:, None] + np.arange(m)]
        key = np.column_stack([visits.cell[group], visits.code[rows], Z[rows].reshape(len(group), -1)])
        _, head, pattern, n = np.unique(key, axis=0, return_index=True, return_inverse=True, return_counts=True)
        pattern = pattern.ravel()
        some = np.split(rows[np.argsort(pattern, kind="stable")], np.cumsum(n)[:-1])
        parts = [_standing_for(W[r]) for r in some]
        of = np.repeat(np.arange(len(n)), [len(part) for part in parts])
        own = rows[head]
        about = visits.code[own], visits.cell[group[head]], Z_work[own], n
        found.append(Batch(group, rows, pattern, *about, np.concatenate(parts), of))
    return found


def _standing_for(W: np.ndarray) -> np.ndarray:
    """At most m(p+1) matrices with the same sums of products as these (groups, size, p+1)."""
    flat = W.reshape(len(W), -1)
    return W if len(flat) <= flat.shape[1] else np.asarray(np.linalg.qr(flat, mode="r")).reshape(-1, *W.shape[1:])
