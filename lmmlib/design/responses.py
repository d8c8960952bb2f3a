r"""Cross-products of one response or of many: what the likelihoods of B data sets on one design need.

The design enters through Z'Z, Z'X and X'X, which all responses share; a response y adds :math:`Z_i'y_i`, X'y and y'y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lmmlib.design.basis import vectors_back
from lmmlib.design.cross import CrossProducts
from lmmlib.design.design import Design


@dataclass(frozen=True, eq=False)
class Responses:
    """Sums of W = [X, y] in the working basis, for B responses.

    ``entries`` (q, p+1, B, n_groups): those of all :math:`Z_i'W_i`; ``WtW`` (B, p+1, p+1): W'W; ``beta0`` (B, p): each
    y is held as y less X beta0, with beta0 in the working basis, so that its mean costs no digits.
    """

    entries: np.ndarray
    WtW: np.ndarray
    beta0: np.ndarray

    @property
    def ZtW(self) -> np.ndarray:
        """Z_i'W_i, (B, n_groups, q, p+1)."""
        return self.entries.transpose(2, 3, 0, 1)

    @classmethod
    def of_cross(cls, cross: CrossProducts) -> Responses:
        """The one response of the cross-products."""

        def make() -> Responses:
            w = cross.work
            return cls(
                np.concatenate([w.ZtX.transpose(1, 2, 0), w.Zty.T[:, None]], axis=1)[:, :, None],
                _bordered(w.XtX, w.Xty[None], np.array([w.yty])),
                (cross.basis.Rx @ cross.basis.beta0)[None],
            )

        return cross.once("responses", (), make)

    @classmethod
    def of_columns(cls, cross: CrossProducts, design: Design, Y: np.ndarray) -> Responses:
        """The columns of Y (n_obs, B) in place of the response of the design."""
        Y, X, Z = design.standard_rows(Y)
        X, Z = cross.basis.x_work(X), cross.basis.z_work(Z)
        beta0 = X.T @ Y / len(Y)
        Y = Y - X @ beta0
        q, p = Z.shape[1], X.shape[1]
        entries = np.empty((q, p + 1, Y.shape[1], design.n_groups))
        entries[:, :-1] = cross.work.ZtX.transpose(1, 2, 0)[:, :, None]
        order, there = np.argsort(design.group, kind="stable"), np.flatnonzero(design.n_i)
        first = np.concatenate([[0], np.cumsum(design.n_i[there])])[:-1]
        for a in range(q):
            sums = np.zeros((design.n_groups, Y.shape[1]))
            sums[there] = np.add.reduceat((Z[:, a, None] * Y)[order], first, axis=0)
            entries[a, -1] = sums.T
        return cls(entries, _bordered(cross.work.XtX, (X.T @ Y).T, np.einsum("nb,nb->b", Y, Y)), beta0.T)

    def take(self, rows) -> Responses:
        """The responses of these numbers, which rise."""
        if len(rows) == len(self):
            return self
        return replace(self, entries=self.entries[:, :, rows], WtW=self.WtW[rows], beta0=self.beta0[rows])

    def __len__(self) -> int:
        return len(self.WtW)

    def coefficients(self, cross: CrossProducts, beta: np.ndarray) -> np.ndarray:
        """Fixed effects (B, p) of the working basis, in that of the formula."""
        return vectors_back(cross.basis.Rx, self.beta0 + beta)


def _bordered(XtX, Xty, yty) -> np.ndarray:
    """W'W from its blocks, (B, p+1, p+1)."""
    p = len(XtX)
    out = np.empty((len(yty), p + 1, p + 1))
    out[:, :p, :p] = XtX
    out[:, :p, p] = out[:, p, :p] = Xty
    out[:, p, p] = yty
    return out
