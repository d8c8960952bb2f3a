"""Best linear unbiased prediction at given parameters: conditional means, covariances, what estimation adds."""

from __future__ import annotations

import numpy as np

from lmmlib.design.cross import CrossProducts
from lmmlib.equations.degrees import Curvature, curvature
from lmmlib.equations.weighted import weigh


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
    Ztr = cross.work.Zty - cross.work.ZtX @ cross.basis.beta_work(beta)
    return cross.basis.b_back(weigh(cross, D, sigma2).DZtV(Ztr[:, :, None])[:, :, 0])


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
    return cross.of_groups(cross.basis.D_back(sigma2 * weigh(cross, D, sigma2).K))


def estimation_error(cross: CrossProducts, D, sigma2: float) -> np.ndarray:
    r"""What estimating D and sigma2 by REML adds to the covariance of the prediction errors, (n_groups, q, q).

    .. math:: \sum_{r,s} W_{rs}\, \dot S_r V_i \dot S_s' = \sum_{r,s} W_{rs}\,U_iE_rA_iE_sU_i',
        \qquad S = DZ_i'V_i^{-1}, \quad U_i = I - SZ_i, \quad A_i = Z_i'V_i^{-1}Z_i

    Kackar and Harville (1984); the corrected error, equation :eq:`prasad-rao` of the book, holds it twice. S depends on
    :math:`D/\sigma^2` alone: the sum runs over its entries, and W is their covariance.

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
    return estimation_covariance(curvature(cross, D, sigma2, "expected"))


def estimation_covariance(at: Curvature) -> np.ndarray:
    """:func:`estimation_error` where the expected information is there already, (n_groups, q, q)."""
    cross, sigma2, w, E = at.cross, at.sigma2, weigh(at.cross, at.D, at.sigma2), at.cross.D_directions(working=True)
    UE, WUE = (np.einsum("gab,rbc->rgac", w.U, some) for some in (E, np.tensordot(at.W, E, 1)))
    total = np.einsum("rgac,rgdc->gad", np.einsum("rgab,gbc->rgac", UE, w.A), WUE)
    return cross.of_groups(cross.basis.D_back(sigma2 * (total + np.swapaxes(total, 1, 2)) / 2))
