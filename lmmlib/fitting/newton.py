"""A Newton search with exact derivatives, which says why it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Generic, Self, TypeVar

import numpy as np

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
    """One point of the optimiser: ``working`` (k,), theta in the working basis, ``deviance``, ``gradient_norm``."""

    working: np.ndarray
    deviance: float
    gradient_norm: float


@dataclass(frozen=True, eq=False)
class Point:
    """What is to be least at theta (B, k), with exact derivatives: ``value`` (B,), ``gradient`` (B, k), ``hessian``
    (B, k, k), one for each of B responses.
    """

    theta: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray

    def take(self, rows) -> Self:
        """Some of the responses, in their order: by their numbers, or by whether each is one."""
        if len(self.value) == 1 and np.shape(np.arange(1)[rows]) == (1,):
            return self
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def put(self, rows, other: Self) -> Self:
        """The same with others in the place of some."""
        if len(self.value) == 1 and len(other.value) == 1:
            return other
        changed = {f.name: getattr(self, f.name).copy() for f in fields(self)}
        for name, values in changed.items():
            values[rows] = getattr(other, name)
        return replace(self, **changed)


P = TypeVar("P", bound=Point)


@dataclass(frozen=True, eq=False)
class Optimum(Generic[P]):
    """Where the optimiser stopped, for each of B responses.

    ``best``; ``converged`` (B,); ``reason``, B texts; ``log``, the steps of the first response.
    """

    best: P
    log: tuple[Step, ...]
    converged: np.ndarray
    reason: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Here(Generic[P]):
    """The points ``at`` of some responses and Newton's steps from there: ``step`` (some, k), ``decrement`` (some,).

    The decrement is what the gradient says that twice the fall will be; ``minimum`` (some,): no eigenvalue of the
    Hessian is negative.
    """

    at: P
    rows: np.ndarray
    step: np.ndarray
    decrement: np.ndarray
    minimum: np.ndarray

    @classmethod
    def of(cls, at: P, rows: np.ndarray) -> _Here[P]:
        """-H^-1 g, with the eigenvalues of the Hessian H made positive, and the decrement g'H^-1 g."""
        values, vectors = np.linalg.eigh(at.hessian)
        size = np.abs(values)
        floor = 1e-10 * size.max(axis=1, initial=1e-300)[:, None]
        along = (at.gradient[:, None] @ vectors)[:, 0] / np.maximum(size, floor)
        step = -(vectors @ along[:, :, None])[:, :, 0]
        return cls(at, rows, step, -(at.gradient * step).sum(axis=1), (values >= -floor).all(axis=1))

    @property
    def rounding(self) -> np.ndarray:
        """Rounding errors of the deviances, (some,)."""
        return ROUNDING_ERROR * (10 + np.abs(self.at.value))

    def take(self, some) -> _Here[P]:
        if some.all():
            return self
        return _Here(self.at.take(some), self.rows[some], self.step[some], self.decrement[some], self.minimum[some])


def _polish(objective, here: _Here[P]) -> tuple[P, np.ndarray]:
    """One step more, of which the deviance shows nothing; False where the gradient shows nothing either."""
    new = objective(here.at.theta + here.step, here.rows)
    return new, np.linalg.norm(new.gradient, axis=1) < np.linalg.norm(here.at.gradient, axis=1)


def _leave_saddle(objective, here: _Here[P]) -> tuple[P, np.ndarray]:
    """The lowest point along the lowest eigenvector; False where the deviance shows nothing lower."""
    vector, lowest = np.linalg.eigh(here.at.hessian)[1][:, :, 0], here.at
    for length in SIDESTEPS:
        new = objective(here.at.theta + length * vector, here.rows)
        lower = new.value < lowest.value - 10 * here.rounding
        lowest = lowest.put(lower, new.take(lower))
    return lowest, lowest.value < here.at.value


def _descend(objective, here: _Here[P]) -> tuple[P, np.ndarray]:
    """The step, halved for each response until its deviance falls; False for one whose deviance never does."""
    now, step, decrement = here.at, here.step, here.decrement
    # A large theta may double: one of thousands is then few steps away. One of millions leaves no digits.
    longest = np.clip(np.abs(now.theta).max(axis=1, initial=0.0), 2.0, LONGEST)
    length = np.minimum(1.0, longest / np.abs(step).max(axis=1, initial=1e-300))
    close, rounded = here.minimum & (decrement < CLOSE), here.minimum & (decrement < ROUNDED)
    falls = np.zeros(len(step), bool)
    while len(todo := np.flatnonzero(~falls & (length > 1e-10))):
        new = objective(now.theta[todo] + length[todo, None] * step[todo], here.rows[todo])
        finite = np.isfinite(new.value)  # -inf: no residual is left
        good = finite & ~rounded[todo] & (new.value <= now.value[todo] - 1e-4 * length[todo] * decrement[todo])
        if len(near := np.flatnonzero(close[todo] & finite & ~good)):
            good[near] = _Here.of(new.take(near), near).decrement < decrement[todo[near]] / 4
        now = now.put(todo[good], new.take(good))
        falls[todo[good]] = True
        length[todo[~good]] /= np.where(rounded[todo[~good]], np.inf, 2.0)
    return now, falls


def _step(best: Point) -> Step:
    """Where the first response is."""
    return Step(best.theta[0], float(best.value[0]), float(np.sqrt(best.gradient[0] @ best.gradient[0])))


def newton(objective: Callable[[np.ndarray, np.ndarray], P], theta: np.ndarray, *, polish: bool = True) -> Optimum[P]:
    """Least value of an objective for each of B responses.

    From each point one of three moves: where the Newton decrement is that of a minimum, the search is over but for a
    last step that is too short for the deviance; where it vanishes elsewhere, a step off the saddle; or else a descent.

    Parameters
    ----------
    objective : function
        Of theta (some, k) and the numbers (some,) of the responses that it is for.
    theta : (B, k) array
        Start.
    polish : bool
        Take the last step, for theta; the least deviance is known without.

    Returns
    -------
    Optimum
    """
    best = objective(theta, np.arange(len(theta)))
    log, converged = [_step(best)], np.zeros(len(theta), bool)
    reason = np.full(len(theta), f"{MAX_STEPS} steps were not enough", dtype=object)
    reason[~np.isfinite(best.value)] = NO_DEVIANCE
    active = np.flatnonzero(np.isfinite(best.value))
    for steps_left in reversed(range(MAX_STEPS)):
        here, moved = _Here.of(best.take(active), active), np.zeros(len(active), bool)
        still = here.decrement <= here.rounding
        done = still & here.minimum
        converged[active[done]], reason[active[done]] = True, CONVERGED
        moves = [(_polish, polish & done & (here.decrement > POLISHED))]
        if steps_left:
            moves += [(_descend, ~still), (_leave_saddle, still & ~here.minimum)]
        for move, some in moves:
            if some.any():
                new, moved[some] = move(objective, here.take(some))
                best = best.put(active[some & moved], new.take(moved[some]))
        if steps_left:
            stuck = ~moved & ~done
            converged[active[stuck]] = (still | here.minimum & (here.decrement < ROUNDED))[stuck]
            reason[active[stuck]] = ROUNDING
        if best.value[0] != log[-1].deviance or (best.theta[0] != log[-1].working).any():
            log.append(_step(best))
        active = active[moved & ~done]
        if not len(active):
            break
    return Optimum(best, tuple(log), converged, tuple(reason))
