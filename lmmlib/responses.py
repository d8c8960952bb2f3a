r"""Cross-products of one response or of many: what the likelihoods of B data sets on one design need.

The design enters through Z'Z, Z'X and X'X, which all responses share; a response y adds :math:`Z_i'y_i`, X'y and y'y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

from lmmlib.basis import divide
from lmmlib.design import CrossProducts, Design


@dataclass(frozen=True, eq=False)
class Responses:
    """Sums of W = [X, y] in the working basis, one response along the first axis.

    ``ZtW`` (B, n_groups, q, p+1): :math:`Z_i'W_i`; ``WtW`` (B, p+1, p+1): W'W; ``beta0`` (B, p): each y is held as
    y less X beta0, with beta0 in the working basis, so that its mean costs no digits.
    """

    ZtW: np.ndarray
    WtW: np.ndarray
    beta0: np.ndarray

    @classmethod
    def of_cross(cls, cross: CrossProducts) -> Responses:
        """The one response of the cross-products."""
        w = cross.work
        return cls(
            np.concatenate([w.ZtX, w.Zty[:, :, None]], axis=2)[None],
            _bordered(w.XtX, w.Xty[None], np.array([w.yty])),
            (cross.basis.Rx @ cross.basis.beta0)[None],
        )

    @classmethod
    def of_columns(cls, cross: CrossProducts, design: Design, Y: np.ndarray) -> Responses:
        """The columns of Y (n_obs, B) in place of the response of the design."""
        X, Z = divide(design.X, cross.basis.Rx), divide(design.Z, cross.basis.Rz)
        beta0 = X.T @ Y / len(Y)
        Y = Y - X @ beta0
        ZtX, q = cross.work.ZtX, Z.shape[1]
        ZtW = np.empty((Y.shape[1], *ZtX.shape[:2], ZtX.shape[2] + 1))
        ZtW[..., :-1] = ZtX
        order, there = np.argsort(design.group, kind="stable"), np.flatnonzero(design.n_i)
        first = np.concatenate([[0], np.cumsum(design.n_i[there])])[:-1]
        for a in range(q):
            sums = np.zeros((design.n_groups, Y.shape[1]))
            sums[there] = np.add.reduceat((Z[:, a, None] * Y)[order], first, axis=0)
            ZtW[:, :, a, -1] = sums.T
        return cls(ZtW, _bordered(cross.work.XtX, (X.T @ Y).T, np.einsum("nb,nb->b", Y, Y)), beta0.T)

    def take(self, rows) -> Responses:
        """The responses of these numbers, which rise."""
        if len(rows) == len(self):
            return self
        return replace(self, ZtW=self.ZtW[rows], WtW=self.WtW[rows], beta0=self.beta0[rows])

    def __len__(self) -> int:
        return len(self.WtW)

    def coefficients(self, cross: CrossProducts, beta: np.ndarray) -> np.ndarray:
        """Fixed effects (B, p) of the working basis, in that of the formula."""
        total = self.beta0 + beta
        return solve_triangular(cross.basis.Rx, total.T).T if total.size else total


def _bordered(XtX, Xty, yty) -> np.ndarray:
    """W'W from its blocks, (B, p+1, p+1)."""
    p = len(XtX)
    out = np.empty((len(yty), p + 1, p + 1))
    out[:, :p, :p] = XtX
    out[:, :p, p] = out[:, p, :p] = Xty
    out[:, p, p] = yty
    return out
