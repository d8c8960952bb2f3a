"""A Newton search with exact derivatives, which says why it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmmlib.fitting.deviance import Deviance

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
