"""Draws from the mixed model: what the simulations share."""

import numpy as np

from lmmlib.common.arguments import checked_D, checked_finite, checked_rng, checked_sigma2
from lmmlib.common.small import semidefinite_cholesky


def responses(rng, X, Z, group, n_groups, beta, D, sigma2, count, variances=None, offset=None):
    """(n_obs, count) responses; b is drawn before epsilon, one column after the other by `count` fastest.

    ``variances`` (n_obs,) are those of the rows in units of sigma2, and ``offset`` is added to the mean.
    """
    rng, q = checked_rng(rng), Z.shape[1]
    beta, sd = checked_finite("beta", beta, (X.shape[1],)), np.sqrt(checked_sigma2(sigma2))
    b = np.einsum("jk,gkc->gjc", semidefinite_cholesky(checked_D(D, q)), rng.standard_normal((n_groups, q, count)))
    sd = sd if variances is None else sd * np.sqrt(variances)[:, None]
    y = (X @ beta)[:, None] + sd * rng.standard_normal((len(X), count))
    y += 0.0 if offset is None else offset[:, None]
    for k in range(q):
        y += Z[:, k, None] * b[group, k]
    return y
