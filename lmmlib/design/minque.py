r"""Inner products of the derivatives of V: what MINQUE(0) solves with, and what shows which parameters data can see.

The variance is linear in its parameters, :math:`V = \sum_r\alpha_r\dot V_r` with :math:`\alpha = (\mathrm{vech}\,D,
\sigma^2)`. With M the projection that takes out the fixed effects, the quadratic forms :math:`y'M\dot V_rMy` have the
expectations :math:`\sum_s\operatorname{tr}(M\dot V_rM\dot V_s)\,\alpha_s`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from lmmlib.common.small import symmetric_units, vech
from lmmlib.design.basis import Sums, chunks

# Numbers in the largest array that is formed for a block of groups: about what a processor's cache holds.
BLOCK = 200_000
# A direction of X, scaled column by column, that is rounding alone.
NOTHING = 1e-10
# And a square of a column of X that is: of one that depends on others the working basis keeps what rounding left.
NO_SQUARE = 1e-18


def coordinates(E: np.ndarray) -> np.ndarray:
    """Symmetric matrices (k, q, q), and a last parameter sigma2, as columns of coordinates: vech and sigma2."""
    columns = np.zeros((len(vech(E.shape[1])) + 1, len(E) + 1))
    for r, (a, b) in enumerate(vech(E.shape[1])):
        columns[r, :-1] = E[:, a, b]
    columns[-1, -1] = 1.0
    return columns


class Grams:
    r"""Inner products (k, k) of the derivatives of V by vech D, in the working basis, and by sigma2.

    ``plain``: :math:`\operatorname{tr}(\dot V_r\dot V_s)`; ``taken``, what the fixed effects leave of it:
    :math:`\operatorname{tr}(M\dot V_rM\dot V_s)`.
    """

    def __init__(self, work: Sums, patterns: np.ndarray, index: np.ndarray, n_obs: int):
        self.work, self.patterns, self.index, self.n_obs = work, patterns, index, n_obs
        self.E = symmetric_units(work.ZtZ.shape[1])

    def at(self, ratio: float) -> Grams:
        r"""The same with :math:`\operatorname{tr}(P\dot V_rP\dot V_s)` at :math:`V = I + \text{ratio}\,ZZ'`.

        With :math:`P = V^{-1} - V^{-1}X(X'V^{-1}X)^{-1}X'V^{-1}`. The last direction is V in place of sigma2: as
        PVP = P, all has the form that it has at I, with the columns weighted by V.
        """
        work, A = self.work, self.patterns
        T = np.linalg.inv(np.eye(A.shape[1]) + ratio * A)
        ZtX = np.swapaxes(T, 1, 2)[self.index] @ work.ZtX
        XtX = work.XtX - ratio * np.einsum("gax,gay->xy", work.ZtX, ZtX, optimize=True)
        return Grams(replace(work, ZtX=ZtX, XtX=XtX), A @ T, self.index, self.n_obs)

    @cached_property
    def plain(self) -> np.ndarray:
        return self._bordered(self._pairs(self._AA), self._sum_A, self.n_obs)

    @cached_property
    def taken(self) -> np.ndarray:
        work, q = self.work, self.E.shape[1]
        half = _whitening(work.XtX)
        r = half.shape[1]
        AG, CC = np.zeros((q * q, q * q)), np.zeros((q * r, q * r))
        own = len(self.patterns) == len(self.index)  # no two groups are alike
        A, ZtX = self.patterns.transpose(1, 2, 0), work.ZtX.transpose(1, 2, 0)
        for groups in chunks(len(self.index), max(1, BLOCK // (q * (r + 1) or 1))):
            C = half.T @ ZtX[..., groups]  # entries first, so that all runs along the groups
            G_i = np.einsum("axg,bxg->abg", C, C)
            A_i = A[..., groups] if own else np.take(A, self.index[groups], axis=2)
            n = C.shape[-1]
            AG += A_i.reshape(q * q, n) @ G_i.reshape(q * q, n).T
            flat = C.reshape(q * r, n)
            CC += flat @ flat.T
        G = np.einsum("axbx->ab", CC.reshape(q, r, q, r))
        P = np.einsum("eab,axby->exy", self.E, CC.reshape(q, r, q, r))
        quadratic = self._pairs(self._AA - 2 * AG.reshape([q] * 4)) + np.einsum("exy,fxy->ef", P, P)
        return self._bordered(quadratic, self._sum_A - G, self.n_obs - r)

    @cached_property
    def _count(self) -> np.ndarray:
        return np.bincount(self.index, minlength=len(self.patterns)).astype(float)

    @cached_property
    def _sum_A(self) -> np.ndarray:
        return np.einsum("g,gab->ab", self._count, self.patterns)

    @cached_property
    def _AA(self) -> np.ndarray:
        flat = self.patterns.reshape(len(self.patterns), self.E.shape[1] ** 2)
        return ((flat.T * self._count) @ flat).reshape([self.E.shape[1]] * 4)

    def _pairs(self, sums: np.ndarray) -> np.ndarray:
        """Sums of tr(E_r A_i E_s B_i), from those of the products of all entries of A_i and B_i."""
        return np.einsum("rab,bcda,scd->rs", self.E, sums, self.E)

    def _bordered(self, quadratic: np.ndarray, linear: np.ndarray, rows: int) -> np.ndarray:
        border = np.einsum("rab,ab->r", self.E, linear)
        gram = np.block([[quadratic, border[:, None]], [border[None], np.array([[float(rows)]])]])
        return (gram + gram.T) / 2


def _whitening(gram: np.ndarray) -> np.ndarray:
    """H with H'X'XH = I, and as many columns as X has rank."""
    squares = np.diag(gram)
    unit = np.where(squares > NO_SQUARE * squares.max(initial=0), squares, np.inf) ** -0.5
    values, vectors = np.linalg.eigh(gram * np.outer(unit, unit))
    seen = values > NOTHING
    return unit[:, None] * vectors[:, seen] / np.sqrt(values[seen])
