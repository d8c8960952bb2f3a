r"""The Gaussian log-likelihoods of the mixed model, with all constants, from cross-products."""

from __future__ import annotations

import numpy as np

from lmmlib.common.arguments import checked_beta, checked_made
from lmmlib.design.cross import CrossProducts
from lmmlib.equations.weighted import weigh

LOG_2PI = float(np.log(2 * np.pi))


def loglik(cross: CrossProducts, beta, D, sigma2: float) -> float:
    r"""Marginal log-likelihood.

    .. math:: \ell(\beta, \alpha) = -\frac{N}{2}\log 2\pi - \frac12\sum_i \log|V_i|
        - \frac12\sum_i (y_i - X_i\beta)'V_i^{-1}(y_i - X_i\beta)

    Equation :eq:`marginal-loglik` of the book.

    Parameters
    ----------
    cross : CrossProducts
    beta : (p,) array
        Fixed effects.
    D : (q, q) array
        Covariance of the random effects, positive semidefinite.
    sigma2 : float
        Residual variance, > 0.

    Returns
    -------
    float
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    beta, w = cross.basis.beta_work(checked_beta(beta, cross.x_names)), weigh(cross, D, sigma2)
    of_r = np.append(-beta, 1.0)  # r = y - X beta from the columns of W = [X, y]
    quadratic = float(of_r @ w.WtVW @ of_r)
    return -0.5 * (cross.n_obs * LOG_2PI + w.logdet + quadratic)


def profile_loglik(cross: CrossProducts, D, sigma2: float) -> float:
    r"""Log-likelihood with the fixed effects at their best for the given D and sigma2.

    .. math:: \ell_p(\alpha) = \ell(\hat\beta(\alpha), \alpha)

    Equation :eq:`profile-loglik` of the book.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
    sigma2 : float

    Returns
    -------
    float

    Raises
    ------
    DesignError
        If the columns of X are linearly dependent.
    """
    return _profile(cross, D, sigma2)[0]


def restricted_loglik(cross: CrossProducts, D, sigma2: float) -> float:
    r"""Restricted log-likelihood, whose maximum is REML; lme4's constants.

    .. math:: \ell_R(\alpha) = \ell_p(\alpha) + \frac{p}{2}\log 2\pi - \frac12\log\Big|\sum_i X_i'V_i^{-1}X_i\Big|

    Equation :eq:`restricted-loglik` of the book; Harville (1974).

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
    sigma2 : float

    Returns
    -------
    float

    Raises
    ------
    DesignError
        If the columns of X are linearly dependent.
    """
    value, C = _profile(cross, D, sigma2)
    logdet = 2 * np.log(np.diag(C)).sum() + 2 * cross.basis.logdet_x
    return value + 0.5 * (len(cross.x_names) * LOG_2PI - float(logdet))


def _profile(cross: CrossProducts, D, sigma2) -> tuple[float, np.ndarray]:
    """Profile log-likelihood and the Cholesky factor of X'V^-1 X in the working basis."""
    checked_made("cross", cross, CrossProducts, "cross_products")
    cross.require_full_rank()
    w = weigh(cross, D, sigma2)
    C = np.linalg.cholesky(w.XtVX)
    explained = np.linalg.solve(C, w.XtVy)
    return -0.5 * (cross.n_obs * LOG_2PI + w.logdet + w.ytVy - float(explained @ explained)), C
