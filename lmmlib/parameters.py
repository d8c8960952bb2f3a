"""Checks of the parameters D and sigma2 that a user hands in, and the factor of a singular D."""

from __future__ import annotations

import numpy as np

from lmmlib.errors import ParameterError


def checked_sigma2(sigma2: float) -> float:
    """The residual variance as a float.

    Raises
    ------
    ParameterError
        Unless it is one finite number above zero.
    """
    value = np.asarray(sigma2, float)
    if value.size != 1 or not np.isfinite(value).all() or value.item() <= 0:
        raise ParameterError(f"sigma2 must be one finite number above 0; got {sigma2!r}")
    return value.item()


def checked_D(D, q: int) -> np.ndarray:
    """The covariance of the random effects as a symmetric (q, q) array; a number will do when q is 1.

    Raises
    ------
    ParameterError
        If the shape is wrong, an entry is not finite, or D is not symmetric and positive semidefinite.
    """
    D = np.asarray(D, float)
    if q == 1 and D.size == 1:
        D = D.reshape(1, 1)
    if D.shape != (q, q):
        raise ParameterError(f"D must be ({q}, {q}), one row per random column; got shape {D.shape}")
    if not np.isfinite(D).all():
        raise ParameterError("D has a missing or infinite entry")
    if np.abs(D - D.T).max(initial=0) > 1e-8 * np.abs(D).max(initial=0):
        raise ParameterError("D must be symmetric; use (D + D.T) / 2 if the difference is rounding")
    D = (D + D.T) / 2
    # Positive semidefinite is judged on correlations, so that the units of z do not matter.
    sd = np.sqrt(np.abs(np.diag(D)))
    unit = D / np.outer(np.where(sd > 0, sd, 1), np.where(sd > 0, sd, 1))
    lowest = np.linalg.eigvalsh(unit).min(initial=0)
    if lowest < -1e-8:
        raise ParameterError(
            f"D must be positive semidefinite; its correlation matrix has the eigenvalue {lowest:.3g}. "
            "A variance below zero, or a correlation beyond 1, cannot be one of random effects"
        )
    return D


def factor(D: np.ndarray) -> np.ndarray:
    """L with D = L L', also for a singular D; rounding below zero is cut off."""
    if not D.size:
        return D
    values, vectors = np.linalg.eigh(D)
    return vectors * np.sqrt(np.clip(values, 0, None))
