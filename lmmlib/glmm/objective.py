r"""The log-likelihood of a generalised linear mixed model as the optimiser takes it.

The parameters are psi = (beta, theta) of the working basis, where theta are the entries of the factor L of D; L and -L
give one D, so theta needs no bounds and a singular optimum is an ordinary point.
"""

from __future__ import annotations

import numpy as np

from lmmlib.fitting.newton import Optimum, newton
from lmmlib.glmm import laplace, quadrature
from lmmlib.glmm.laplace import Slopes
from lmmlib.glmm.rows import Rows, modes
from lmmlib.laplace.curvature import differences, whitening
from lmmlib.laplace.point import Ascent

# Up to a change of the parameters of this size the modes are guessed along their slopes.
FAR = 0.5


class Objective:
    """The log-likelihood of psi = (beta, theta); each evaluation starts from the modes of the one before."""

    def __init__(self, rows: Rows, method: str, n_quadrature: int):
        self.rows = rows
        self.rule = quadrature.rule(n_quadrature, len(rows.Z)) if method == "aghq" else None
        self.last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def newton(self, psi: np.ndarray) -> Optimum:
        """From psi, in parameters of like curvature if counts are large, so that no direction is lost beside others."""
        A = np.eye(len(psi))
        if self.rows.family.large:
            hessian = self.derivatives(psi)[2]
            A = whitening(hessian, self.rows.n_groups) if np.isfinite(hessian).all() else A
        ascent = Ascent(self.derivatives, A, np.zeros(len(psi)), np.linalg.LinAlgError)
        return ascent.back(newton(ascent, np.linalg.solve(A, psi)[None]))

    def slopes(self, psi: np.ndarray) -> Slopes:
        """The groups at their modes, found from the last ones and their slopes, and the slopes there."""
        s = laplace.slopes(modes(self.rows, *self.rows.split(psi), self.guess(psi)))
        if np.isfinite(s.inner.joint).all():
            self.last = psi.copy(), s.inner.u, s.du
        return s

    def guess(self, psi: np.ndarray) -> np.ndarray | None:
        """The modes, (q, n), from the last ones and their slopes."""
        if self.last is None:
            return None
        known, u, du = self.last
        move = psi - known
        return u + np.einsum("qPn,P->qn", du, move) if np.abs(move).max(initial=0) < FAR else u

    def derivatives(self, psi: np.ndarray, A: np.ndarray | None = None) -> tuple[float, np.ndarray, np.ndarray]:
        """The log-likelihood, its gradient, and its Hessian, along the columns of A if one is given."""
        s, rule = self.slopes(psi), self.rule
        A = np.eye(len(psi)) if A is None else A
        if rule is None:
            return laplace.loglik(s.inner), laplace.gradient(s) @ A, A.T @ laplace.hessian(s) @ A
        value, gradient = quadrature.loglik(s, rule)
        return value, gradient @ A, differences(lambda at: quadrature.loglik(self.slopes(at), rule)[1], psi, A)
