r"""Rotated groups: what a sampler needs of groups that share one :math:`Z_i'Z_i`, and of clones of the data.

Given beta, D and sigma2 the random effects of m such groups are independent, with one covariance C and with means
that are linear in the :math:`Z_i'[X_i, y_i]`. An orthogonal rotation of the m groups keeps independence and C, and
every sum over groups of products of random effects with each other and with the :math:`Z_i'[X_i, y_i]`. Choose the one
that turns the m x q(p+1) matrix of all entries of these into a triangle: no more than q(p+1) rotated groups have data,
and the other ones, with mean zero, enter the sums through one Wishart matrix with as many degrees of freedom as there
are of them. So the cost of a sweep over balanced data does not depend on the number of groups.

K clones of a group are no other case: rotated, the first has :math:`\sqrt K` times the data, K - 1 have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmmlib.common.arguments import checked_count
from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses

# An eigenvalue of Z_i'Z_i that is zero up to the rounding of sums.
NO_DATA = 1e-12
# What an entry leaves of its sum of squares, when earlier ones determine it up to rounding.
DEPENDENT = 1e-12


@dataclass(frozen=True, eq=False)
class Rotated:
    """Groups with data after the rotation, for one response or for B, in the working basis; entries come first.

    Attributes
    ----------
    ZtZ : (q, q, 1, n_patterns) array
        Distinct Z_i'Z_i.
    index : (G,) array of int
        Pattern of each rotated group.
    ZtW : (q, p+1, B, n) array
        Rotated Z_i'[X_i, y_i].
    own : (q, p+1, B, n) array
        Least-squares coefficients of these columns on Z_i: (Z_i'Z_i)^+ Z_i'[X_i, y_i], rotated.
    spare : (n_patterns,) array
        Rotated groups without data.
    WtW : (B, p+1, p+1) array
        [X, y]'[X, y].
    within : (B, p+1, p+1) array
        The same of what Z_i leaves of the columns.
    beta0 : (B, p) array
        Each y is held as y less X beta0, in the working basis.
    n_obs, n_groups : int
        Rows, and groups with data, all clones counted.
    """

    ZtZ: np.ndarray
    index: np.ndarray
    ZtW: np.ndarray
    own: np.ndarray
    spare: np.ndarray
    WtW: np.ndarray
    within: np.ndarray
    beta0: np.ndarray
    n_obs: int
    n_groups: int

    def of_groups(self, M: np.ndarray) -> np.ndarray:
        """Matrices (..., n_patterns) of the patterns, for each rotated group (..., n)."""
        return M if M.shape[-1] == 1 or self._aligned else np.take(M, self.index, axis=-1)

    @cached_property
    def _aligned(self) -> bool:
        """Whether each rotated group has a pattern of its own."""
        return np.array_equal(self.index, np.arange(len(self.spare)))


def rotate(cross: CrossProducts, data: Responses | None = None, n_clones: int = 1) -> Rotated:
    """Rotate the groups of each pattern, and their clones.

    Parameters
    ----------
    cross : CrossProducts
    data : Responses, optional
        Several responses on the design, one for each chain; by default the response of the cross-products.
    n_clones : int
        Copies of the data.

    Returns
    -------
    Rotated
        Groups without rows are left out: they say nothing about beta, D and sigma2.
    """
    data, n_clones = data or Responses.of_cross(cross), checked_count("n_clones", n_clones)
    patterns, index = cross.patterns
    q, width = len(cross.z_names), data.entries.shape[1]
    count = np.bincount(index, minlength=len(patterns)) if q else np.zeros(len(patterns), int)
    kept = np.flatnonzero(patterns.any(axis=(1, 2)) & (count > 0)) if q else np.zeros(0, int)
    number = np.full(len(patterns), -1)
    number[kept] = np.arange(len(kept))
    small = np.isin(index, np.flatnonzero(count <= q * width)) & (number[index] >= 0)
    parts, places = [data.entries[..., small]], [number[index[small]]]
    order = np.argsort(index, kind="stable")
    ends = np.cumsum(count)
    for pattern in kept[count[kept] > q * width]:
        members = order[ends[pattern] - count[pattern] : ends[pattern]]
        parts.append(_triangle(data.entries[..., members]))
        places.append(np.full(parts[-1].shape[-1], number[pattern]))
    ZtW, place = np.concatenate(parts, axis=-1), np.concatenate(places)
    ZtZ = np.ascontiguousarray(patterns[kept].transpose(1, 2, 0))
    inverse = np.linalg.pinv(patterns[kept], rcond=NO_DATA, hermitian=True).transpose(1, 2, 0)
    own = np.einsum("abg,bwzg->awzg", np.take(inverse, place, axis=-1), ZtW)
    return Rotated(
        ZtZ=ZtZ[:, :, None],
        index=place,
        ZtW=np.sqrt(n_clones) * ZtW,
        own=np.sqrt(n_clones) * own,
        spare=n_clones * count[kept] - np.bincount(place, minlength=len(kept)),
        WtW=n_clones * data.WtW,
        within=n_clones * (data.WtW - np.einsum("avzg,awzg->zvw", ZtW, own, optimize=True)),
        beta0=data.beta0,
        n_obs=n_clones * cross.n_obs,
        n_groups=n_clones * int(count[kept].sum()),
    )


def _triangle(entries: np.ndarray) -> np.ndarray:
    """Entries (q, p+1, B, groups) of m groups, rotated into as many groups as their rank.

    The triangle is that of Cholesky's decomposition of the sums of squares and products of the entries, in which a
    dependent entry has no row: QR would give it one, in a direction that is rounding alone.
    """
    q, width, many, m = entries.shape
    flat = entries.reshape(q * width, many, m).transpose(1, 0, 2)
    left = flat @ flat.transpose(0, 2, 1)
    own = np.diagonal(left, axis1=1, axis2=2).copy()
    rows = np.zeros((q * width, *own.shape))
    for k in range(q * width):
        more = left[:, k, k] > DEPENDENT * own[:, k]
        pivot = np.sqrt(np.where(more, left[:, k, k], 1.0))
        rows[k] = np.where(more, left[:, k].T / pivot, 0.0).T
        left = left - rows[k][:, :, None] * rows[k][:, None, :]
    rows = rows[rows.any(axis=(1, 2))]
    return np.ascontiguousarray(rows.transpose(2, 1, 0)).reshape(q, width, many, len(rows))
