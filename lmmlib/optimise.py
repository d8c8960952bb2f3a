r"""Newton's method for a deviance: exact Hessian, every step a descent, every step kept; many responses at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lmmlib.design.cross import CrossProducts
from lmmlib.design.minque import coordinates
from lmmlib.design.responses import Responses
from lmmlib.deviance import Deviance, d_coordinates, deviance, theta_coordinates

# Half the Newton decrement is what the deviance still has to fall. Below this share of the deviance, its rounding
# error, the fall cannot be seen any more; theta, whose error is the square root, is then worth a last step.
ROUNDING_ERROR, POLISHED = 1e-15, 1e-18
# Where D is many times sigma2 the deviance has fewer digits than the gradient. Below the first decrement a step that
# brings it to a quarter is as good as one that is seen to descend; below the second nothing else is looked at, and if
# that fails too the minimum is reached up to rounding.
CLOSE, ROUNDED = 1e-3, 1e-9
MAX_STEPS, LONGEST = 100, 1e4
# Steps away from a saddle, where theta of order one is a variance like sigma2.
SIDESTEPS = (0.01, 0.03, 0.1, 0.3)
# Variances of the start are at least this share of sigma2; at zero the gradient vanishes and nothing moves.
LEAST_START = 0.01

CONVERGED = "the gradient is zero and the Hessian has no negative eigenvalue"
ROUNDING = "no step lowers the deviance by more than its rounding error"
NO_DEVIANCE = "the deviance is not a number: the fixed and random effects leave no residual"


@dataclass(frozen=True, eq=False)
class Step:
    """One point of the optimiser: ``theta`` (k,) in the working basis, ``deviance``, ``gradient_norm``."""

    theta: np.ndarray
    deviance: float
    gradient_norm: float


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the optimiser stopped, for each of B responses.

    ``best``; ``converged`` (B,); ``reason``, B texts; ``log``, the steps of the first response.
    """

    best: Deviance
    log: tuple[Step, ...]
    converged: np.ndarray
    reason: tuple[str, ...]


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
    q, p, many = len(cross.z_names), len(cross.x_names), len(data)
    E = d_coordinates(cross)
    k, to_E = len(E), coordinates(E)
    beta = np.linalg.solve(data.WtW[:, :p, :p], data.WtW[:, :p, p, None])[..., 0]
    u = data.entries[:, p] - np.einsum("axzg,zx->azg", data.entries[:, :p], beta)
    r2 = data.WtW[:, p, p] - np.einsum("zx,zx->z", data.WtW[:, :p, p], beta)
    observed = np.column_stack([np.einsum("rab,azg,bzg->zr", E, u, u, optimize=True), r2])
    alpha = np.linalg.lstsq(to_E.T @ cross.grams.taken @ to_E, observed.T, rcond=None)[0].T
    sigma2 = np.maximum(alpha[:, k], 0.05 * r2 / cross.n_obs)
    relative = alpha[:, :k] / np.where(sigma2 > 0, sigma2, 1.0)[:, None]
    if cross.diagonal:
        return np.sqrt(np.maximum(relative, LEAST_START))
    D = np.zeros((many, q, q))
    # vech runs down the columns of the lower triangle, NumPy along the rows of the upper: the same pairs.
    upper = np.triu_indices(q)
    D[:, upper[0], upper[1]] = D[:, upper[1], upper[0]] = relative
    values, vectors = np.linalg.eigh(D)
    L = np.linalg.cholesky((vectors * np.maximum(values, LEAST_START)[:, None, :]) @ np.swapaxes(vectors, 1, 2))
    return np.swapaxes(L, 1, 2)[:, upper[0], upper[1]]


def _direction(now: Deviance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Newton's step with the eigenvalues of the Hessian made positive, its decrement, and where it is a minimum."""
    values, vectors = np.linalg.eigh(now.hessian)
    size = np.abs(values)
    floor = 1e-10 * size.max(axis=1, initial=1e-300)[:, None]
    along = np.einsum("zab,za->zb", vectors, now.gradient) / np.maximum(size, floor)
    step = -np.einsum("zab,zb->za", vectors, along)
    decrement = -np.einsum("za,za->z", now.gradient, step)
    return step, decrement, (values >= -floor).all(axis=1)


def _leave_saddle(objective, now: Deviance, rows) -> tuple[Deviance, np.ndarray]:
    """The lowest point along the lowest eigenvector; False where the deviance shows nothing lower."""
    vector, lowest = np.linalg.eigh(now.hessian)[1][:, :, 0], now
    for length in SIDESTEPS:
        new = objective(now.theta + length * vector, rows)
        lower = new.value < lowest.value - 10 * _rounding(now)
        lowest = lowest.put(lower, new.take(lower))
    return lowest, lowest.value < now.value


def _rounding(now: Deviance) -> np.ndarray:
    return ROUNDING_ERROR * (10 + np.abs(now.value))


def _descend(objective, now: Deviance, rows, step, decrement, minimum) -> tuple[Deviance, np.ndarray]:
    """The step, halved for each response until its deviance falls; False for one whose deviance never does."""
    # A large theta may double: one of thousands is then few steps away. One of millions leaves no digits.
    longest = np.clip(np.abs(now.theta).max(axis=1, initial=0.0), 2.0, LONGEST)
    length = np.minimum(1.0, longest / np.abs(step).max(axis=1, initial=1e-300))
    close, rounded = minimum & (decrement < CLOSE), minimum & (decrement < ROUNDED)
    falls = np.zeros(len(rows), bool)
    while len(todo := np.flatnonzero(~falls & (length > 1e-10))):
        new = objective(now.theta[todo] + length[todo, None] * step[todo], rows[todo])
        finite = np.isfinite(new.value)  # -inf: no residual is left
        good = finite & ~rounded[todo] & (new.value <= now.value[todo] - 1e-4 * length[todo] * decrement[todo])
        near = np.flatnonzero(close[todo] & finite)
        good[near] |= _direction(new.take(near))[1] < decrement[todo[near]] / 4
        now = now.put(todo[good], new.take(good))
        falls[todo[good]] = True
        length[todo[~good]] /= np.where(rounded[todo[~good]], np.inf, 2.0)
    return now, falls


def _step(best: Deviance) -> Step:
    """Where the first response is."""
    return Step(best.theta[0], float(best.value[0]), float(np.linalg.norm(best.gradient[0])))


def newton(objective: Callable[[np.ndarray, np.ndarray], Deviance], theta: np.ndarray) -> Optimum:
    """Least value of an objective for each of B responses.

    Parameters
    ----------
    objective : function
        Of theta (b, k) and the numbers (b,) of the responses that it is for.
    theta : (B, k) array
        Start.

    Returns
    -------
    Optimum
    """
    many = len(theta)
    best = objective(theta, np.arange(many))
    log = [_step(best)]
    reason = np.full(many, f"{MAX_STEPS} steps were not enough", dtype=object)
    converged = np.zeros(many, bool)
    reason[~np.isfinite(best.value)] = NO_DEVIANCE
    active = np.flatnonzero(np.isfinite(best.value))
    for taken in range(MAX_STEPS):
        now = best.take(active)
        step, decrement, minimum = _direction(now)
        still = decrement <= _rounding(now)
        done, saddle, moving = still & minimum, still & ~minimum, ~still
        converged[active[done]], reason[active[done]] = True, CONVERGED
        last = done & (decrement > POLISHED)
        if last.any():
            new = objective(now.theta[last] + step[last], active[last])
            better = np.linalg.norm(new.gradient, axis=1) < np.linalg.norm(now.gradient[last], axis=1)
            best = best.put(active[last][better], new.take(better))
        moved = np.zeros(len(active), bool)
        if taken < MAX_STEPS - 1 and moving.any():
            go = (now.take(moving), active[moving], step[moving], decrement[moving], minimum[moving])
            new, moved[moving] = _descend(objective, *go)
            best = best.put(active[moved], new.take(moved[moving]))
            stuck = moving & ~moved
            converged[active[stuck]] = (minimum & (decrement < ROUNDED))[stuck]
            reason[active[stuck]] = ROUNDING
        if taken < MAX_STEPS - 1 and saddle.any():
            new, moved[saddle] = _leave_saddle(objective, now.take(saddle), active[saddle])
            best = best.put(active[saddle & moved], new.take(moved[saddle]))
            converged[active[saddle & ~moved]], reason[active[saddle & ~moved]] = True, ROUNDING
        if best.value[0] != log[-1].deviance or (best.theta[0] != log[-1].theta).any():
            log.append(_step(best))
        active = active[moved]
        if not len(active):
            break
    return Optimum(best, tuple(log), converged, tuple(reason))


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
    B, data = theta_coordinates(cross), data or Responses.of_cross(cross)
    optimum = newton(lambda theta, rows: deviance(cross, theta, B, method, data.take(rows)), start(cross, data))
    slow = ~optimum.converged | (np.array(optimum.reason) == ROUNDING)
    lost = np.flatnonzero(slow & np.isfinite(optimum.best.value))
    if cross.diagonal or len(cross.z_names) < 2 or not len(lost):
        return optimum
    orders = np.array([_pivots(L @ L.T) for L in np.tensordot(optimum.best.theta[lost], B, 1)])
    for order in np.unique(orders[(np.diff(orders) < 0).any(axis=1)], axis=0):
        optimum = _in_order(cross, method, data, optimum, lost[(orders == order).all(axis=1)], order)
    return optimum


def _pivots(D: np.ndarray) -> np.ndarray:
    """The columns in the order in which each adds the most variance to that of those before it."""
    left, order = D.copy(), []
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
    B = theta_coordinates(cross)
    turned = np.eye(len(order))[:, order] @ B

    def change(theta, old, new):
        """Coordinates of the same LL' by other matrices, which span the L with L = C T, T lower triangular."""
        C = np.eye(len(order)) if new is B else np.eye(len(order))[:, order]
        T = np.swapaxes(np.linalg.qr(np.swapaxes(C.T @ np.tensordot(theta, old, 1), 1, 2), mode="r"), 1, 2)
        return np.einsum("kab,zab->zk", B, T)

    some = data.take(rows)
    again = newton(
        lambda theta, i: deviance(cross, theta, turned, method, some.take(i)),
        change(optimum.best.theta[rows], B, turned),
    )
    theta = change(again.best.theta, turned, B)
    found = deviance(cross, theta, B, method, some)
    better = np.where(optimum.converged[rows], found.value <= optimum.best.value[rows], again.converged)
    kept, converged, reason = rows[better], optimum.converged.copy(), np.array(optimum.reason, dtype=object)
    converged[kept], reason[kept] = again.converged[better], np.array(again.reason, dtype=object)[better]
    log = optimum.log
    if 0 in kept:
        log += tuple(replace(step, theta=change(step.theta[None], turned, B)[0]) for step in again.log[1:])
    return Optimum(optimum.best.put(kept, found.take(better)), log, converged, tuple(reason))
