"""What the Hessian of a log-likelihood says: covariances of the estimates, and directions without curvature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Curvature, with each parameter in the unit in which its own is one, that is none; and what differences leave of none.
FLAT, ROUGH = 1e-12, 1e-8
# A saddle so shallow that the search sees nothing higher beside it is flat.
SADDLE = 1e-3
# Step of the differences along parameters of order one: the errors by the step and by rounding are then both near 1e-9.
DIFFERENCE = 1e-4


def differences(gradient: Callable[[np.ndarray], np.ndarray], psi: np.ndarray, A: np.ndarray) -> np.ndarray:
    """The Hessian (P, P) along the columns of A at psi, by central differences of the gradient."""
    H = [(gradient(psi + e) - gradient(psi - e)) @ A / (2 * DIFFERENCE) for e in DIFFERENCE * A.T]
    return (np.reshape(H, A.shape) + np.reshape(H, A.shape).T) / 2


def curvature(hessian: np.ndarray, n_fixed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (P,) and vectors (P, P) of minus the Hessian in units of its diagonal, and those units (P,).

    Each parameter is measured in the unit in which its own curvature is one, so that neither large counts nor the
    units of a column make a direction look flat. Of the parameters after the first ``n_fixed``, which are of one kind,
    one without curvature beside the others keeps their unit.
    """
    size = np.diag(-hessian)
    rest = size[n_fixed:].max(initial=0.0)
    own = size > np.where(np.arange(len(size)) < n_fixed, 0.0, FLAT * rest)
    unit = 1 / np.sqrt(np.where(own, size, rest or 1.0))
    return *np.linalg.eigh(-hessian * np.outer(unit, unit)), unit


def whitening(hessian: np.ndarray, size: float) -> np.ndarray:
    r"""A matrix A (P, P) with :math:`-A'HA` = ``size`` times the identity, or minus that where it rises."""
    values, vectors, unit = curvature(hessian)
    return unit[:, None] * vectors * np.sqrt(size / np.maximum(np.abs(values), FLAT))


def covariance(hessian: np.ndarray, n_fixed: int = 0, flat: float = FLAT) -> np.ndarray:
    r"""Covariance of the estimates from the Hessian of the log-likelihood, (P, P).

    .. math:: \operatorname{Var}(\hat\psi) \approx (-H)^{-1}

    Turning the factor of a singular D changes nothing, so the Hessian may have directions without curvature, which are
    left out. NaN if it is no maximum, and for a fixed effect that changes in such a direction; the first ``n_fixed``
    parameters are fixed effects. Below the scale-free curvature ``flat`` a direction has none; it is more for a Hessian
    by differences.
    """
    values, vectors, unit = curvature(hessian, n_fixed)
    if not np.isfinite(values).all() or (values < -SADDLE).any():
        return np.full_like(hessian, np.nan)
    steep = values > flat
    cov = (vectors[:, steep] / values[steep]) @ vectors[:, steep].T * np.outer(unit, unit)
    lost = ((vectors[:, ~steep] ** 2).sum(axis=1) > 1e-6) & (np.arange(len(unit)) < n_fixed)
    return np.where(lost[:, None] | lost, np.nan, cov)


def without_curvature(hessian: np.ndarray, A: np.ndarray | None = None) -> np.ndarray:
    """Which parameters change in a direction in which the log-likelihood has no curvature, (P,): boolean.

    A (rows, P) has the parameters in those of the Hessian, by default the same.
    """
    values, vectors, unit = curvature(hessian)
    moves = unit[:, None] * vectors if A is None else A @ (unit[:, None] * vectors)
    return (moves[:, values <= ROUGH] ** 2).sum(axis=1) > 1e-6 * (moves**2).sum(axis=1)
