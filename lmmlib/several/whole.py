r"""The criterion by full matrices of the rows, in which sigma may be zero.

With one random effect for each row, as in an animal model of one record each, :math:`V = \sum_t Z_t(A_t \otimes
D_t)Z_t' + \sigma^2I` is regular without its last part, and the criterion has a finite limit as :math:`\sigma \to 0`,
where :mod:`lmmlib.several.criterion`, which divides by sigma, has no digits left. Here :math:`V = s\,(\sum_t
Z_t(A_t \otimes L_tL_t')Z_t' + \rho^2I)` in a fixed unit s, of which :math:`\rho` is an ordinary coordinate: it and
:math:`-\rho` are one model, so that zero is no edge. By REML the rows are contrasts K'y with :math:`K'X = 0`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.linalg import cholesky, lapack

from lmmlib.several.sums import SeveralSums

# Rows of which several square matrices are formed; and the least eigenvalue, beside the largest, of a regular V.
MOST_ROWS, REGULAR = 2_000, 1e-10


class Whole:
    """The rows of a model: ``parts`` (k + 1, n, n) of V by the entries of each D and by rho^2, ``y`` (n,), X (n, p).

    By REML they are contrasts, n of them, and ``X`` has no columns. ``unit`` is s, the mean square of y, and
    ``constant`` is added to the criterion.
    """

    def __init__(self, sums: SeveralSums, reml: bool):
        self.sums, p = sums, sums.p
        X = sums.W[:, sums.W.shape[1] - p :].toarray() if p else np.zeros((sums.n_obs, 0))
        K = np.linalg.qr(X, mode="complete")[0][:, p:] if reml and p else np.eye(sums.n_obs)
        parts = []
        for g in sums.groupings:
            A, Z = g.known.A if g.known else sparse.eye_array(g.n), K.T @ g.columns.toarray()
            parts += [Z @ sparse.kron(A, E) @ Z.T for E in g.E]
        self.parts, self.y, self.X = (
            np.array([*parts, np.eye(K.shape[1])]),
            K.T @ sums.y,
            K.T @ X[:, : 0 if reml else p],
        )
        self.unit = float(sums.y @ sums.y) / sums.n_obs
        logdet_x = p * np.log(sums.n_obs) + 2 * sums.cross.basis.logdet_x
        self.constant = len(self.y) * np.log(2 * np.pi * self.unit) - sums.cross.log_weights + reml * logdet_x

    @cached_property
    def regular(self) -> bool:
        """Whether V is without sigma, if all random effects vary."""
        everything = [E for g in self.sums.groupings for E in g.entries(np.eye(g.q))]
        values = np.linalg.eigvalsh(np.tensordot(everything, self.parts[:-1], 1))
        return bool(values[0] > REGULAR * values[-1])


@dataclass(frozen=True, eq=False)
class WholeState:
    """Rows at the L (q, q) of each grouping and rho, in their unit."""

    rows: Whole
    L: list[np.ndarray]
    rho: float

    @property
    def sums(self) -> SeveralSums:
        """Those of the model."""
        return self.rows.sums

    def criterion(self) -> tuple[float, np.ndarray, np.ndarray]:
        """The criterion, its gradient (k + 1,) and Hessian by the entries of each D, and by rho.

        Raises
        ------
        LinAlgError
            If V is not positive definite.
        """
        rows, rho = self.rows, self.rho
        alpha = [g.entries(L @ L.T) for g, L in zip(self.sums.groupings, self.L, strict=True)]
        R = cholesky(np.tensordot(np.concatenate([*alpha, [rho**2]]), rows.parts, 1), lower=True, check_finite=False)
        half = lapack.dtrtri(R, lower=1)[0]
        X, white = half @ rows.X, half @ rows.parts @ half.T
        Q = np.linalg.qr(X)[0]
        e = half @ rows.y
        e = e - Q @ (Q.T @ e)
        along = white @ e
        bend = 2 * (along @ along.T - (along @ Q) @ (along @ Q).T) / rows.unit
        bend -= np.einsum("rab,sab->rs", white, white)
        slope = np.einsum("raa->r", white) - along @ e / rows.unit
        by_rho = np.append(np.ones(len(slope) - 1), 2 * rho)
        bend = by_rho[:, None] * bend * by_rho
        bend[-1, -1] += 2 * slope[-1]
        value = 2 * np.log(np.diag(R)).sum() + e @ e / rows.unit + rows.constant
        return float(value), slope * by_rho, bend
