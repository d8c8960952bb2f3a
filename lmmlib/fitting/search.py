r"""Newton's method for a deviance: exact Hessian, every step a descent, every step kept; many responses at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lmmlib.design.cross import CrossProducts
from lmmlib.design.minque import coordinates
from lmmlib.design.responses import Responses
from lmmlib.equations.pieces import gram
from lmmlib.fitting.deviance import deviance
from lmmlib.fitting.newton import ROUNDING, Optimum, newton

# Variances of the start are at least this share of sigma2; at zero the gradient vanishes and nothing moves.
LEAST_START = 0.01


def start(cross: CrossProducts, data: Responses) -> np.ndarray:
    """Starting theta from MINQUE(0).

    Quadratic forms of the OLS residuals have expectations that are linear in D and sigma2; equate and solve. In a
    balanced design this is the REML estimate already.

    Parameters
    ----------
    cross : CrossProducts
    data : Responses

    Returns
    -------
    (B, k) array
        In the working basis.
    """
    p, E = len(cross.x_names), cross.D_coordinates
    XtX, Xty = data.WtW[:, :p, :p], data.WtW[:, :p, p]
    beta = np.linalg.solve(XtX, Xty[..., None])[..., 0]
    Ztr = data.entries[:, p] - np.einsum("axzg,zx->azg", data.entries[:, :p], beta)
    r2 = data.WtW[:, p, p] - np.einsum("zx,zx->z", Xty, beta)
    observed = np.column_stack([np.einsum("rab,zab->zr", E, gram(Ztr, Ztr)), r2])
    to_E = coordinates(E)
    alpha = np.linalg.lstsq(to_E.T @ cross.grams.taken @ to_E, observed.T, rcond=None)[0].T
    sigma2 = np.maximum(alpha[:, -1], 0.05 * r2 / cross.n_obs)
    relative = alpha[:, :-1] / np.where(sigma2 > 0, sigma2, 1.0)[:, None]
    if cross.diagonal:
        return np.sqrt(np.maximum(relative, LEAST_START))
    values, vectors = np.linalg.eigh(np.tensordot(relative, E, 1))
    L = np.linalg.cholesky((vectors * np.maximum(values, LEAST_START)[:, None, :]) @ np.swapaxes(vectors, 1, 2))
    return np.einsum("kab,zab->zk", cross.theta_coordinates, L)


def minimise(cross: CrossProducts, method: str, data: Responses | None = None) -> Optimum:
    """Theta of least deviance, for each response.

    A singular optimum is an ordinary point: L and -L give one D, so theta needs no bounds, and a column of L may
    become zero. Where the first column of L is nearly zero the others can turn without much change of D, and the
    minimum lies in a long bent valley; a search that gets lost there goes on with the columns in another order.

    Parameters
    ----------
    cross : CrossProducts
    method : {"REML", "ML"}
    data : Responses, optional
        By default the response of the cross-products.

    Returns
    -------
    Optimum
    """
    dL, data = cross.theta_coordinates, data or Responses.of_cross(cross)
    optimum = newton(lambda theta, rows: deviance(cross, theta, dL, method, data.take(rows)), start(cross, data))
    slow = ~optimum.converged | (np.array(optimum.reason) == ROUNDING)
    lost = np.flatnonzero(slow & np.isfinite(optimum.best.value))
    if cross.diagonal or len(cross.z_names) < 2 or not len(lost):
        return optimum
    orders = np.array([_pivots(L @ L.T) for L in np.tensordot(optimum.best.theta[lost], dL, 1)])
    for order in np.unique(orders[(np.diff(orders) < 0).any(axis=1)], axis=0):
        optimum = _in_order(cross, method, data, optimum, lost[(orders == order).all(axis=1)], order)
    return optimum


def _pivots(D: np.ndarray) -> np.ndarray:
    """The columns in the order in which each adds the most variance to that of those before it."""
    left = D.copy()
    order: list[int] = []
    for _ in D:
        variance = np.diag(left).copy()
        variance[order] = -np.inf
        j = int(np.argmax(variance))
        order.append(j)
        if variance[j] > 0:
            left -= np.outer(left[:, j], left[j]) / variance[j]
    return np.array(order)


def _in_order(cross, method: str, data: Responses, optimum: Optimum, rows, order) -> Optimum:
    """The search of some responses continued with L lower triangular for the columns in another order."""
    dL, C = cross.theta_coordinates, np.eye(len(order))[:, order]
    turned = C @ dL

    def change(theta, old, C, new):
        """Coordinates of the same LL' by other matrices, which span the L with L = C T, T lower triangular."""
        T = np.swapaxes(np.linalg.qr(np.swapaxes(C.T @ np.tensordot(theta, old, 1), 1, 2), mode="r"), 1, 2)
        return np.einsum("kab,zab->zk", new, C @ T)

    some, best = data.take(rows), optimum.best
    again = newton(
        lambda theta, i: deviance(cross, theta, turned, method, some.take(i)),
        change(best.theta[rows], dL, C, turned),
    )

    def back(theta: np.ndarray) -> np.ndarray:
        return change(theta, turned, np.eye(len(order)), dL)

    found = deviance(cross, back(again.best.theta), dL, method, some)
    better = np.where(optimum.converged[rows], found.value <= best.value[rows], again.converged)
    kept, converged, reason = rows[better], optimum.converged.copy(), np.array(optimum.reason, dtype=object)
    converged[kept], reason[kept] = again.converged[better], np.array(again.reason, dtype=object)[better]
    log = optimum.log
    if 0 in kept:
        log += tuple(replace(step, working=back(step.working[None])[0]) for step in again.log[1:])
    return Optimum(best.put(kept, found.take(better)), log, converged, tuple(reason))
