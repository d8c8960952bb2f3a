"""Draws from the mixed model: what the simulations share."""

import numpy as np

from lmmlib.common.arguments import checked_count, checked_D, checked_finite, checked_made, checked_sigma2, generator
from lmmlib.common.small import semidefinite_cholesky
from lmmlib.design.design import Design


def responses(rng, X, Z, group, n_groups, beta, D, sigma2, count, variances=None, offset=None):
    """(n_obs, count) responses; b is drawn before epsilon, one column after the other by `count` fastest.

    ``variances`` (n_obs,) are those of the rows in units of sigma2, and ``offset`` is added to the mean.
    """
    rng, q = generator(rng), Z.shape[1]
    beta, sd = checked_finite("beta", beta, (X.shape[1],)), np.sqrt(checked_sigma2(sigma2))
    b = np.einsum("jk,gkc->gjc", semidefinite_cholesky(checked_D(D, q)), rng.standard_normal((n_groups, q, count)))
    sd = sd if variances is None else sd * np.sqrt(variances)[:, None]
    y = (X @ beta)[:, None] + sd * rng.standard_normal((len(X), count))
    y += 0.0 if offset is None else offset[:, None]
    for k in range(q):
        y += Z[:, k, None] * b[group, k]
    return y


def lmm(design: Design, beta, D, sigma2: float, rng: np.random.Generator, size: int | None = None) -> np.ndarray:
    r"""New responses for a design: y = X beta + Z b + epsilon, equation :eq:`lmm` of the book.

    Parameters
    ----------
    design : Design
        Its X, Z and groups are used, its y is not.
    beta : (p,) array
        Fixed effects.
    D : (q, q) array
        Covariance of the random effects, positive semidefinite; may be singular.
    sigma2 : float
        Residual variance, > 0.
    rng : Generator
    size : int, optional
        Number of responses.

    Returns
    -------
    (n_obs,) array, or (n_obs, size) if `size` is given

    Raises
    ------
    ParameterError
        If a parameter is outside its domain or of the wrong shape; names it.
    """
    checked_made("design", design, Design, "build_design")
    count = 1 if size is None else checked_count("size", size)
    known = None if design.weights is None else design.residual_variances, design.offset
    y = responses(rng, design.X, design.Z, design.group, design.n_groups, beta, D, sigma2, count, *known)
    return y[:, 0] if size is None else y
