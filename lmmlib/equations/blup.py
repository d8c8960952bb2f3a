"""Best linear unbiased prediction at given parameters: conditional means, covariances, what estimation adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.design.cross import CrossProducts
from lmmlib.equations.degrees import curvature
from lmmlib.equations.weighted import Weighted, weigh


@dataclass(frozen=True, eq=False)
class _Factors:
    """``half`` as in :class:`lmmlib.equations.weighted.Weighted`; ``half_b`` has the formula's D at its end."""

    w: Weighted
    half: np.ndarray
    half_b: np.ndarray
    index: np.ndarray

    @classmethod
    def of(cls, cross: CrossProducts, D, sigma2: float) -> _Factors:
        w, Rz = weigh(cross, D, sigma2), cross.basis.Rz
        half_b = np.swapaxes(np.linalg.solve(Rz, np.swapaxes(w.half, 1, 2)), 1, 2) if Rz.size else w.half
        return cls(w, w.half, half_b, cross.patterns[1])

    def times(self, M: np.ndarray) -> np.ndarray:
        """:math:`DZ_i'V_i^{-1}W_i` of each group from the Z_i'W_i (n_groups, q, columns) of the working basis."""
        return np.swapaxes(self.half_b, 1, 2)[self.index] @ (self.half[self.index] @ M)


def random_effects(cross: CrossProducts, beta, D, sigma2: float) -> np.ndarray:
    r"""Conditional means of the random effects given the data, (n_groups, q).

    .. math:: \hat b_i = E(b_i \mid y_i) = D Z_i'V_i^{-1}(y_i - X_i\beta)

    Equation :eq:`blup` of the book; at the GLS estimate of beta it is the best linear unbiased predictor.

    Parameters
    ----------
    cross : CrossProducts
    beta : (p,) array
    D : (q, q) array
        May be singular: b is zero in the directions without variance.
    sigma2 : float

    Returns
    -------
    (n_groups, q) array
    """
    base = cross.work
    Ztr = base.Zty - base.ZtX @ (cross.basis.Rx @ (np.asarray(beta) - cross.basis.beta0))
    return _Factors.of(cross, D, sigma2).times(Ztr[:, :, None])[:, :, 0]


def conditional_covariance(cross: CrossProducts, D, sigma2: float) -> np.ndarray:
    r"""Covariance of the random effects given the data, all parameters known, (n_groups, q, q).

    .. math:: \operatorname{Var}(b_i \mid y_i) = D - D Z_i'V_i^{-1}Z_iD
        = \sigma^2 \Lambda_D(\sigma^2 I + \Lambda_D'Z_i'Z_i\Lambda_D)^{-1}\Lambda_D', \qquad D = \Lambda_D\Lambda_D'

    Equation :eq:`conditional-variance` of the book; computed in the last form, which has no difference.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
    sigma2 : float

    Returns
    -------
    (n_groups, q, q) array
    """
    f = _Factors.of(cross, D, sigma2)
    return (sigma2 * (np.swapaxes(f.half_b, 1, 2) @ f.half_b))[f.index]


def estimation_error(cross: CrossProducts, D, sigma2: float) -> np.ndarray:
    r"""What estimating D and sigma2 by REML adds to the covariance of the prediction errors, (n_groups, q, q).

    .. math:: \sum_{r,s} W_{rs}\, \dot S_r V_i \dot S_s', \qquad S = DZ_i'V_i^{-1}, \quad W = I_R^{-1}

    Kackar and Harville (1984); the corrected error, equation :eq:`prasad-rao` of the book, holds it twice.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
        May be singular; at D = 0 it is what keeps the error from being zero.
    sigma2 : float

    Returns
    -------
    (n_groups, q, q) array

    Raises
    ------
    DesignError
        If the expected information on D and sigma2 is singular.
    """
    W, E = curvature(cross, D, sigma2, "expected").A, cross.D_directions(working=True)
    ZtZ, index = cross.patterns
    half, q, Rz = weigh(cross, D, sigma2).half, len(cross.z_names), cross.basis.Rz
    K = np.swapaxes(half, 1, 2) @ half
    D_work = Rz @ np.reshape(D, (q, q)) @ Rz.T
    F = (np.eye(q) - K @ ZtZ) / sigma2  # V^-1 Z = Z F
    A1 = ZtZ @ F
    A2 = A1 @ F
    U = np.eye(q) - K @ ZtZ  # I - D Z'V^-1 Z
    UE = U[:, None] @ E
    total = np.einsum("rs,prab,pbc,psdc->pad", W[:-1, :-1], UE, A1, UE, optimize=True)
    mixed = -np.einsum("r,prab,pbc,cd->pad", W[:-1, -1], UE, A2, D_work, optimize=True)
    total = total + mixed + np.swapaxes(mixed, 1, 2) + W[-1, -1] * (D_work @ A2 @ F @ D_work)
    back = np.linalg.solve(Rz, np.swapaxes(np.linalg.solve(Rz, total), 1, 2))
    return ((back + np.swapaxes(back, 1, 2)) / 2)[index]
