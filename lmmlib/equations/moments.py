r"""What the mixed model says about means, variances and correlations."""

from __future__ import annotations

import numpy as np

from lmmlib.common.arguments import checked_at_least_zero, checked_D, checked_sigma2, numbers, shown
from lmmlib.common.small import factor
from lmmlib.errors import ParameterError


def _rows(Z) -> np.ndarray:
    """Rows of a random-effects design, (rows, q)."""
    Z = np.atleast_2d(numbers(Z, "Z"))
    if Z.ndim != 2 or not np.isfinite(Z).all():
        raise ParameterError(f"Z must be rows of finite numbers; got {shown(Z)}")
    return Z


def marginal_mean(X, beta) -> np.ndarray:
    r"""Marginal mean :math:`E(Y_i) = X_i\beta`, (n_i,).

    Equation :eq:`marginal-mean` of the book.

    Parameters
    ----------
    X : (n_i, p) array
    beta : (p,) array
    """
    X, beta = np.atleast_2d(numbers(X, "X")), numbers(beta, "beta")
    if beta.shape != X.shape[1:]:
        raise ParameterError(
            f"beta must have one entry for each of the {X.shape[1]} columns of X; got shape {beta.shape}"
        )
    return X @ beta


def marginal_covariance(Z, D, sigma2: float) -> np.ndarray:
    r"""Marginal covariance of one group's observations, (n_i, n_i).

    .. math:: V_i = Z_i D Z_i' + \sigma^2 I

    Equation :eq:`marginal-covariance` of the book.

    Parameters
    ----------
    Z : (n_i, q) array
        Random-effects rows of the group.
    D : (q, q) array
        Covariance of the random effects, positive semidefinite.
    sigma2 : float
        Residual variance, > 0.
    """
    Z = _rows(Z)
    return Z @ checked_D(D, Z.shape[1]) @ Z.T + checked_sigma2(sigma2) * np.eye(len(Z))


def correlation(V) -> np.ndarray:
    """Correlation matrix of a covariance matrix; a row of zero variance has correlation NaN with all others."""
    V = numbers(V, "V")
    if V.ndim != 2 or len(V) != V.shape[1]:
        raise ParameterError(f"V must be a square matrix; got shape {V.shape}")
    sd = np.sqrt(np.diag(V))
    sd = np.where(sd > 0, sd, np.nan)
    return V / np.outer(sd, sd)


def icc(tau2: float, sigma2: float) -> float:
    r"""Intraclass correlation of a random-intercept model.

    .. math:: \rho = \frac{\tau^2}{\tau^2 + \sigma^2}

    Equation :eq:`icc` of the book.

    Parameters
    ----------
    tau2 : float
        Variance of the random intercept, >= 0.
    sigma2 : float
        Residual variance, > 0.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ParameterError
        If a variance is outside its domain.
    """
    tau2 = checked_at_least_zero("tau2", tau2)
    return tau2 / (tau2 + checked_sigma2(sigma2))


def variance_function(z, D, sigma2: float) -> np.ndarray:
    r"""Variance of an observation whose random-effects row is z, one value per row.

    .. math:: \operatorname{Var}(Y) = z'Dz + \sigma^2

    Equation :eq:`variance-function` of the book; a convex quadratic in time for a random slope.

    Parameters
    ----------
    z : (rows, q) array
    D : (q, q) array
    sigma2 : float
    """
    z = _rows(z)
    return np.einsum("ra,ab,rb->r", z, checked_D(D, z.shape[1]), z) + checked_sigma2(sigma2)


def covariance_function(z1, z2, D) -> np.ndarray:
    r"""Covariance of two different observations of one group, one value per pair of rows, (rows1, rows2).

    .. math:: \operatorname{Cov}(Y, Y') = z_1'Dz_2

    Equation :eq:`covariance-function` of the book.

    Parameters
    ----------
    z1, z2 : (rows, q) arrays
    D : (q, q) array
    """
    z1, z2 = _rows(z1), _rows(z2)
    if z1.shape[1] != z2.shape[1]:
        raise ParameterError(f"z1 and z2 must have the same columns; got {z1.shape[1]} and {z2.shape[1]}")
    return z1 @ checked_D(D, z1.shape[1]) @ z2.T


def precision(Z, D, sigma2: float) -> np.ndarray:
    r"""Inverse of the marginal covariance through a q by q system, (n_i, n_i).

    .. math:: V_i^{-1} = \frac{1}{\sigma^2}\Big(I - Z_iL(\sigma^2 I + L'Z_i'Z_iL)^{-1}L'Z_i'\Big), \qquad D = LL'

    Equation :eq:`woodbury` of the book. D may be singular.

    Parameters
    ----------
    Z : (n_i, q) array
    D : (q, q) array
    sigma2 : float
    """
    Z = _rows(Z)
    sigma2, ZL = checked_sigma2(sigma2), Z @ factor(checked_D(D, Z.shape[1]))
    inner = sigma2 * np.eye(Z.shape[1]) + ZL.T @ ZL
    return (np.eye(len(Z)) - ZL @ np.linalg.solve(inner, ZL.T)) / sigma2


def log_determinant(Z, D, sigma2: float) -> float:
    r"""Logarithm of the determinant of the marginal covariance through a q by q determinant.

    .. math:: \log|V_i| = (n_i - q)\log\sigma^2 + \log|\sigma^2 I + L'Z_i'Z_iL|, \qquad D = LL'

    Equation :eq:`determinant-lemma` of the book.

    Parameters
    ----------
    Z : (n_i, q) array
    D : (q, q) array
    sigma2 : float
    """
    Z = _rows(Z)
    sigma2, ZL = checked_sigma2(sigma2), Z @ factor(checked_D(D, Z.shape[1]))
    n_i, q = Z.shape
    return float((n_i - q) * np.log(sigma2) + np.linalg.slogdet(sigma2 * np.eye(q) + ZL.T @ ZL)[1])
