r"""The covariance of the groups of a design, :math:`V_i = Z_iDZ_i' + R_i`, and the likelihood with exact derivatives.

Equation :eq:`residual-marginal-covariance` of the book, with R for E.

All is in working units: the columns of X and Z in the working basis, and a residual of least squares of length one.
The natural parameters :math:`\alpha` are the entries of D in this basis, then those of each R; the working ones, w, are
the entries of a factor of D, then those of :mod:`lmmlib.residual.structures`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import block_diag

from lmmlib.design.cross import CrossProducts
from lmmlib.design.design import Design
from lmmlib.equations.information import Directions, information_of
from lmmlib.equations.likelihood import LOG_2PI
from lmmlib.fitting.newton import Point
from lmmlib.residual.patterns import Batch, batches
from lmmlib.residual.structures import curvature_of_square, entries_of_square
from lmmlib.residual.visits import Visits

# Shares of the residual variance that random effects and residuals have at the start.
SHARES = (0.5, 0.05)
# A mean square of a visit, as a share of that of all, to start from.
LEAST = 0.05


def _t(M: np.ndarray) -> np.ndarray:
    return np.swapaxes(M, -1, -2)


@dataclass(frozen=True, eq=False)
class Surface:
    r"""Minus twice a log-likelihood at alpha: ``value``, ``gradient`` (k,) and ``hessian`` (k, k) by alpha.

    ``directions`` has what these are made of; ``precision``: for each batch :math:`V^{-1}` of its patterns and
    :math:`V^{-1}XR^{-1}` of what stands for the groups.
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    directions: Directions
    precision: list[tuple[np.ndarray, np.ndarray]]
    alpha: np.ndarray


@dataclass(frozen=True, eq=False)
class Model:
    """A design with the visits of its rows; ``unit`` is the root mean square of the residuals of least squares."""

    design: Design
    cross: CrossProducts
    visits: Visits
    unit: float
    batches: list[Batch]

    @classmethod
    def of(cls, design: Design, cross: CrossProducts, visits: Visits) -> Model:
        """The model of a design with its cross-products."""
        unit = float(np.sqrt(cross.work.yty / cross.n_obs))
        return cls(design, cross, visits, unit, batches(design, cross, visits, unit))

    def without(self, l: np.ndarray, value: float) -> Model:
        """The model whose combination l'beta of the fixed effects (p,), in working units, has a value; for ML."""
        p = len(l)
        change = np.zeros((p + 1, p))
        change[:p, : p - 1] = np.linalg.svd(l[None])[2][1:].T
        change[:p, p - 1], change[p, p - 1] = -l * value / (l @ l), 1.0
        return replace(self, batches=[replace(batch, W=batch.W @ change) for batch in self.batches])

    @property
    def n_D(self) -> int:
        """Number of entries of D."""
        return len(self.cross.theta_coordinates)

    def parts(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of natural or working parameters (k,) those of D, (k_D,), and those of each R, (cells, k_R)."""
        return v[: self.n_D], v[self.n_D :].reshape(len(self.visits.cells), -1)

    def natural(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """alpha (k,) at w, with its derivatives by w (k, k)."""
        theta, own, v = *self.parts(w), self.visits
        blocks = [entries_of_square(self.cross.theta_coordinates, theta, self.cross.diagonal)]
        blocks += [v.structure.natural(one, v.positions, v.most) for one in own]
        return np.concatenate([alpha for alpha, _ in blocks]), block_diag(*(first for _, first in blocks))

    def curvature(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Second derivatives by w of the sum of alpha times g (k,), (k, k)."""
        (_, own), (g_D, g_R), v = self.parts(w), self.parts(g), self.visits
        blocks = [curvature_of_square(self.cross.theta_coordinates, g_D, self.cross.diagonal)]
        blocks += [v.structure.curvature(*one, v.positions, v.most) for one in zip(own, g_R, strict=True)]
        return block_diag(*blocks)

    def starts(self) -> list[np.ndarray]:
        """Working parameters to start from."""
        q, v, B = len(self.cross.z_names), self.visits, self.cross.theta_coordinates
        squares = np.maximum(self._mean_squares(), LEAST)
        found = []
        for share in SHARES if q and not v.structure.is_linear else SHARES[:1]:
            theta = np.sqrt(share) * np.einsum("kaa->k", B) / (np.maximum((B**2).sum(axis=(1, 2)), 1e-300))
            cells = [v.structure.starts(s * (1 - share if q else 1.0), v.positions) for s in squares]
            found += [np.concatenate([theta, *one]) for one in zip(*cells, strict=True)]
        return found

    def _mean_squares(self) -> np.ndarray:
        """Mean squares of the residuals of least squares at each visit, for each R, (cells, levels)."""
        v, M = self.visits, len(self.visits.levels)
        y, X, _ = self.design.standard_rows(self.design.y)
        place = v.cell[self.design.group] * M + v.code
        sums, counts = (
            np.bincount(place, weights=w, minlength=M * len(v.cells))
            for w in (((y - X @ self.cross.basis.beta0) / self.unit) ** 2, None)
        )
        return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0).reshape(len(v.cells), M)

    def D(self, alpha: np.ndarray) -> np.ndarray:
        """D in the working basis, (q, q)."""
        return np.tensordot(alpha[: self.n_D], self.cross.D_coordinates, 1)

    def R(self, alpha: np.ndarray) -> np.ndarray:
        """R of all visits, (cells, levels, levels)."""
        return np.array([self.visits.structure.matrix(one, self.visits.positions) for one in self.parts(alpha)[1]])

    def of_patterns(self, batch: Batch, full: np.ndarray) -> np.ndarray:
        """Of matrices (..., cells, levels, levels) those of the visits of each pattern, (..., patterns, size, size)."""
        code = batch.code
        found = full[..., batch.cell[:, None, None], code[:, :, None], code[:, None, :]]
        return found * np.eye(code.shape[1]) if self.visits.structure.is_diagonal else found

    def V(self, batch: Batch, alpha: np.ndarray) -> np.ndarray:
        """V of each pattern, (patterns, size, size)."""
        return batch.Z @ self.D(alpha) @ _t(batch.Z) + self.of_patterns(batch, self.R(alpha))

    def slopes(self, b: int, alpha: np.ndarray) -> np.ndarray:
        """Derivatives of V by alpha, (k, patterns, size, size), of a batch by its number."""
        return self._linear[b] if self.visits.structure.is_linear else self._slopes(self.batches[b], alpha)

    @cached_property
    def _linear(self) -> list[np.ndarray]:
        zero = np.zeros(len(self.natural(self.starts()[0])[0]))
        return [self._slopes(batch, zero) for batch in self.batches]

    def _slopes(self, batch: Batch, alpha: np.ndarray) -> np.ndarray:
        of_D = np.einsum("kia,rab,kjb->rkij", batch.Z, self.cross.D_coordinates, batch.Z)
        of_R = self.slopes_of_R(alpha, self.visits.positions)[self.n_D :]
        return np.concatenate([of_D, self.of_patterns(batch, of_R)])

    def slopes_of_R(self, alpha: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Derivatives by alpha of R of visits at these positions, (k, cells, levels, levels)."""
        own = self.parts(alpha)[1]
        out = np.zeros((len(alpha), len(own), len(positions), len(positions)))
        for cell, one in enumerate(own):
            start = self.n_D + cell * len(one)
            out[start : start + len(one), cell] = self.visits.structure.slopes(one, positions)
        return out

    def bends(self, alpha: np.ndarray, A: np.ndarray) -> list[np.ndarray]:
        """Sums over the entries of A (k, k) of second derivatives of V times these, by batch (patterns, size, size)."""
        v, (_, own) = self.visits, self.parts(alpha)
        k, full = own.shape[1], []
        for cell, one in enumerate(own):
            at = slice(self.n_D + cell * k, self.n_D + (cell + 1) * k)
            full.append(np.tensordot(A[at, at], v.structure.bends(one, v.positions), 2))
        return [self.of_patterns(batch, np.array(full)) for batch in self.batches]

    def bent(self, alpha: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
        """Inner products of the second derivatives of V and weights (patterns, size, size) for each batch, (k, k)."""
        v, (_, own) = self.visits, self.parts(alpha)
        out, k = np.zeros((len(alpha), len(alpha))), own.shape[1]
        if v.structure.is_linear:
            return out
        for cell, one in enumerate(own):
            at = slice(self.n_D + cell * k, self.n_D + (cell + 1) * k)
            bends = v.structure.bends(one, v.positions)
            for batch, weight in zip(self.batches, weights, strict=True):
                code, there = batch.code, batch.cell == cell
                own_bends = bends[..., code[there][:, :, None], code[there][:, None, :]]
                out[at, at] += np.einsum("rskij,kij->rs", own_bends, weight[there])
        return out

    def at(self, alpha: np.ndarray, method: str) -> Surface | None:
        r"""Minus twice the log-likelihood at alpha; None where V is not positive definite.

        With :math:`P = V^{-1} - V^{-1}X\Phi X'V^{-1}`, u = Py and M = P for REML, :math:`V^{-1}` for ML

        .. math:: \partial_r = \operatorname{tr}(M\dot V_r) - u'\dot V_ru, \qquad
            \partial_r\partial_s = 2u'\dot V_rP\dot V_su - \operatorname{tr}(M\dot V_rM\dot V_s)
            + \operatorname{tr}\{(M - uu')\ddot V_{rs}\}
        """
        reml, p, precision = method == "REML", self.batches[0].W.shape[2] - 1, []
        logdet, G = 0.0, np.zeros((p + 1, p + 1))
        for batch in self.batches:
            try:
                C = np.linalg.cholesky(self.V(batch, alpha))
            except np.linalg.LinAlgError:
                return None
            half = np.linalg.inv(C)
            logdet += 2 * float(batch.n @ np.log(np.einsum("kii->ki", C)).sum(axis=1))
            precision.append(_t(half) @ half)
            W = half[batch.of] @ batch.W
            G += np.tensordot(W, W, ([0, 1], [0, 1]))
        if not np.isfinite(G).all() or not np.isfinite(logdet):
            return None
        try:
            R_inverse = _t(np.linalg.inv(np.linalg.cholesky(G[:p, :p])))
        except np.linalg.LinAlgError:
            return None
        beta = R_inverse @ (R_inverse.T @ G[:p, p])
        turn = np.eye(p + 1)
        turn[:p, :p], turn[:p, p] = R_inverse, -beta
        k, r2 = len(alpha), 0.0
        P, trace1 = np.zeros((k, p + 1, p + 1)), np.zeros(k)
        QX, Qr, trace2 = np.zeros((3, k, k))
        weights, of_X = [], []
        for b, (batch, W_inverse) in enumerate(zip(self.batches, precision, strict=True)):
            turned = batch.W @ turn
            U = W_inverse[batch.of] @ turned
            r2 += float(np.vdot(turned[..., p], U[..., p]))
            slopes, n = self.slopes(b, alpha), batch.n[:, None, None] * W_inverse
            H = batch.per_pattern(np.einsum("fix,fjx->fij", U[..., :p], U[..., :p]))
            uu = batch.per_pattern(U[..., p][:, :, None] * U[..., p][:, None, :])
            P += np.array([np.tensordot(slope[batch.of] @ U, U, ([0, 1], [0, 1])) for slope in slopes])
            right = _t(W_inverse @ slopes).reshape(k, -1)
            for total, weight in ((QX, H), (Qr, uu), (trace2, n)):
                total += (weight @ slopes).reshape(k, -1) @ right.T
            trace1 += np.einsum("kij,rkij->r", n, slopes)
            weights.append(n - reml * H - uu)
            of_X.append(U[..., :p])
        d = Directions(P, QX, Qr, trace1, trace2, R_inverse, beta, np.eye(k))
        trace_X = np.einsum("rxx->r", d.P[:, :p, :p])
        gradient = d.trace1 - reml * trace_X - d.P[:, p, p]
        hessian = 2 * information_of(d, method, "observed") + self.bent(alpha, weights)
        value = logdet + r2 + self._constant(method) - 2 * reml * float(np.log(np.abs(np.diag(R_inverse))).sum())
        return Surface(value, gradient, hessian, d, list(zip(precision, of_X, strict=True)), alpha)

    def _constant(self, method: str) -> float:
        """What the units of X and y, the weights and pi add."""
        m, log_weights = self.cross.n_obs, self.cross.log_weights
        basis = 0.0
        if method == "REML":
            m, basis = m - len(self.cross.x_names), 2 * self.cross.basis.logdet_x
        return m * (LOG_2PI + 2 * np.log(self.unit)) + basis - log_weights

    def objective(self, method: str, penalty=None):
        """The criterion as a function of w (some, k), for :func:`lmmlib.fitting.newton.newton`.

        ``penalty`` adds to it: a function of w that returns its value, gradient and Hessian.
        """

        def at(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            alpha, J = self.natural(w)
            s, k = self.at(alpha, method), len(w)
            if s is None:
                return np.inf, np.zeros(k), np.eye(k)
            found = s.value, J.T @ s.gradient, J.T @ s.hessian @ J + self.curvature(w, s.gradient)
            return found if penalty is None else tuple(a + b for a, b in zip(found, penalty(w), strict=True))

        def of(theta: np.ndarray, _) -> Point:
            parts = [at(w) for w in theta]
            return Point(theta, *(np.array(part) for part in zip(*parts, strict=True)))

        return of
