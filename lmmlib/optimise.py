r"""Newton's method for the profiled deviance: exact Hessian, every step a descent, every step kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.design import CrossProducts
from lmmlib.deviance import Deviance, d_coordinates, deviance, gram, pieces, theta_coordinates

# Half the Newton decrement is what the deviance still has to fall: this is far below its rounding error.
DECREMENT = 1e-14
MAX_STEPS = 100
# Variances of the start are at least this share of sigma2; at zero the gradient vanishes and nothing moves.
LEAST_START = 0.01


@dataclass(frozen=True, eq=False)
class Step:
    """One point of the optimiser: ``theta`` (k,) in the working basis, ``deviance``, ``gradient_norm``."""

    theta: np.ndarray
    deviance: float
    gradient_norm: float


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the optimiser stopped: ``best``, the ``log`` of its steps, ``converged``, and the ``reason``."""

    best: Deviance
    log: tuple[Step, ...]
    converged: bool
    reason: str


def start(cross: CrossProducts) -> np.ndarray:
    """Starting theta from MINQUE(0).

    Quadratic forms of the OLS residuals have expectations that are linear in D and sigma2; equate and solve. In a
    balanced design this is the REML estimate already.

    Parameters
    ----------
    cross : CrossProducts

    Returns
    -------
    (k,) array
        In the working basis.
    """
    q = len(cross.z_names)
    s = pieces(cross, np.zeros((q, q)))
    E = d_coordinates(cross)
    k, G = len(E), s.C @ np.swapaxes(s.C, 1, 2)
    P = np.einsum("rab,axby->rxy", E, gram(s.C, s.C))
    expected = np.empty((k + 1, k + 1))
    expected[:k, :k] = np.einsum("rab,bcda,scd->rs", E, gram(s.A, s.A - 2 * G), E) + np.einsum("rxy,sxy->rs", P, P)
    expected[:k, k] = expected[k, :k] = np.einsum("rab,ab->r", E, (s.A - G).sum(axis=0))
    expected[k, k] = cross.n_obs - len(cross.x_names)
    observed = np.append(np.einsum("rab,ab->r", E, s.u.T @ s.u), s.r2)
    alpha = np.linalg.lstsq((expected + expected.T) / 2, observed, rcond=None)[0]
    sigma2 = max(alpha[-1], 0.05 * s.r2 / cross.n_obs)
    if cross.diagonal:
        return np.sqrt(np.maximum(alpha[:k] / sigma2, LEAST_START))
    D = np.zeros((q, q))
    # vech runs down the columns of the lower triangle, NumPy along the rows of the upper: the same pairs.
    D[np.triu_indices(q)] = alpha[:k] / sigma2
    values, vectors = np.linalg.eigh(D + np.triu(D, 1).T)
    L = np.linalg.cholesky((vectors * np.maximum(values, LEAST_START)) @ vectors.T)
    return L.T[np.triu_indices(q)]


def minimise(cross: CrossProducts, method: str) -> Optimum:
    """Theta of least deviance.

    A singular optimum is an ordinary point: L and -L give one D, so theta needs no bounds, and a column of L may
    become zero. The step is Newton's with the Hessian's eigenvalues made positive, halved until the deviance falls.

    Parameters
    ----------
    cross : CrossProducts
    method : {"REML", "ML"}

    Returns
    -------
    Optimum
    """
    B = theta_coordinates(cross)
    now = deviance(cross, start(cross), B, method)
    log, converged, reason = [], False, f"{MAX_STEPS} steps were not enough"
    for _ in range(MAX_STEPS):
        log.append(Step(now.theta, now.value, float(np.linalg.norm(now.gradient))))
        values, vectors = np.linalg.eigh(now.hessian)
        floor = 1e-10 * np.abs(values).max(initial=1e-300)
        step = -vectors @ ((vectors.T @ now.gradient) / np.maximum(np.abs(values), floor))
        decrement = -float(now.gradient @ step)
        if decrement <= DECREMENT and values.min(initial=0) >= -floor:
            converged, reason = True, "the gradient is zero and the Hessian has no negative eigenvalue"
            break
        length = min(1.0, 2.0 / np.abs(step).max(initial=1e-300))
        while length > 1e-10:
            new = deviance(cross, now.theta + length * step, B, method)
            if new.value <= now.value - 1e-4 * length * decrement:
                break
            length /= 2
        else:
            converged, reason = decrement < 1e-9, "no step lowers the deviance by more than its rounding error"
            break
        now = new
    return Optimum(now, tuple(log), converged, reason)
