"""What the simulations share: one draw from the model, and checks of the parameters of a simulation."""

from numbers import Integral

import numpy as np

from lmmlib.errors import ParameterError
from lmmlib.parameters import checked_D, checked_sigma2


def responses(rng, X, Z, group, n_groups, beta, D, sigma2, count):
    """(n_obs, count) responses; b is drawn before epsilon, one column after the other by `count` fastest."""
    q = Z.shape[1]
    beta, sd = finite("beta", beta, (X.shape[1],)), np.sqrt(checked_sigma2(sigma2))
    b = np.einsum("jk,gkc->gjc", semidefinite_cholesky(checked_D(D, q)), rng.standard_normal((n_groups, q, count)))
    y = (X @ beta)[:, None] + sd * rng.standard_normal((len(X), count))
    for k in range(q):
        y += Z[:, k, None] * b[group, k]
    return y


def semidefinite_cholesky(D):
    """Lower triangular L with D = L L'; D may be singular: a column without variance left is zero.

    Unlike an eigenvector, L has no sign to choose, so a seed gives the same draws on every machine.
    """
    L = np.zeros_like(D)
    for k in range(len(D)):
        left = D[k:, k] - L[k:, :k] @ L[k, :k]
        if left[0] > 1e-14 * D[k, k]:
            L[k:, k] = left / np.sqrt(left[0])
    return L


def group_sizes(n_groups, n_i) -> np.ndarray:
    n_groups = count_of("n_groups", n_groups)
    if np.ndim(n_i) == 0:
        return np.full(n_groups, count_of("n_i", n_i))
    if len(n_i) != n_groups:
        raise ParameterError(f"n_i has {len(n_i)} entries, n_groups is {n_groups}; give one for each group.")
    return np.array([count_of("n_i", n) for n in n_i])


def count_of(name, value) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ParameterError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return int(value)


def at_least_zero(name, value) -> float:
    if not (np.ndim(value) == 0 and np.isfinite(value) and value >= 0):
        raise ParameterError(f"{name} must be one finite number of at least 0, not {value!r}.")
    return float(value)


def finite(name, value, shape) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    if array.shape != shape or not np.isfinite(array).all():
        raise ParameterError(f"{name} must be finite and of shape {shape}; got {value!r}.")
    return array
