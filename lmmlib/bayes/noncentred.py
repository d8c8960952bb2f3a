r"""A second way to draw D, so that chains reach a D near zero or near singular.

With :math:`b_i = \Lambda u_i`, :math:`D = \Lambda\Lambda'` and standard normal u the model is a regression of y - X
beta on the entries of Lambda. Gibbs sweeps that draw D given b take steps of the order of D itself: where the
likelihood is largest at a D of zero they come no nearer than one over their number, while K clones hold the posterior
within 1/K of it. Draws of Lambda given u take steps of the size that the posterior has. Each of the two moves leaves
the posterior as it is, and they are used in turn (Yu and Meng 2011).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from lmmlib.bayes.conditionals import (
    Model,
    State,
    at_beta,
    draw_normal,
    draw_rates_D,
    entries_of,
    precisions,
    times,
    triangle,
)
from lmmlib.common.small import bartlett, cholesky, inverse_lower, product, square, transposed

# Curvature that is added to a proposal, and taken back when it is accepted, as a share of what it has; the groups,
# clones counted, from which there is nothing to mend, while what is taken back would hold chains where they start.
LITTLE, ENOUGH = 1e-12, 1000


def redraw_D(rng: np.random.Generator, model: Model, state: State) -> State:
    r"""The state with a new D, drawn given the standardised random effects u, which are drawn first.

    .. math:: p(\Lambda \mid u, y, \beta, \sigma^2) \propto
        \exp\Big(-\frac1{2\sigma^2}\sum_i\|y_i - X_i\beta - Z_i\Lambda u_i\|^2\Big)\, p(\Lambda)

    The first factor, normal in the entries of Lambda, makes a proposal; it is taken with the ratio of the second, the
    scales of the prior integrated out.
    """
    state = state if model.diagonal else replace(state, F=lower(state.F))
    u, spare = standardised_effects(rng, model, state)
    basis = lambda_basis(model)
    precision, linear = lambda_given_u(model, state, basis, u, spare)
    # Entries that few groups do not tell apart have a flat proposal; a hardly curved one can be drawn from.
    little = (LITTLE if model.data.n_groups < ENOUGH else 0.0) * np.trace(precision, axis1=1, axis2=2)
    precision = precision + little[:, None, None] * np.eye(len(basis))
    now, new = entries_of(model, state.F), draw_normal(rng, precision, linear)
    both, chains = np.concatenate([new, now], axis=1), new.shape[1]
    density = log_prior(model, both) + np.tile(little, 2) / 2 * (both**2).sum(axis=0)
    kept = np.where(np.log(rng.random(chains)) < density[:chains] - density[chains:], new, now)
    F = np.einsum("eab,ec->abc", basis, kept)
    return replace(state, F=F, rates_D=draw_rates_D(rng, model, F))


def standardised_effects(rng, model: Model, state: State) -> tuple[np.ndarray, np.ndarray]:
    """u (q, C, n) of the rotated groups with data given y, and sums of squares (q, q, C, n_patterns) of the others."""
    data, q = model.data, len(state.F)
    S = product(transposed(state.F[..., None]), product(data.ZtZ, state.F[..., None])) / state.sigma2[:, None]
    np.einsum("aa...->a...", S)[...] += 1
    inverse = inverse_lower(cholesky(S))
    of_group = data.of_groups(inverse)
    v = times(of_group, times(transposed(state.F)[..., None], at_beta(data.ZtW, state.beta)) / state.sigma2[:, None])
    u = times(transposed(of_group), v + rng.standard_normal(v.shape))
    if not data.spare.any():
        return u, np.zeros((q, q, len(state.sigma2), len(data.spare)))
    root = bartlett(rng, q, data.spare, (len(state.sigma2), len(data.spare)))
    return u, square(product(transposed(inverse), root))


def lambda_given_u(model: Model, state: State, basis, u, spare) -> tuple[np.ndarray, np.ndarray]:
    r"""Precision (C, k, k) and its product with the mean (C, k) of the entries of Lambda, the prior left out.

    .. math:: P_{ef} = \frac1{\sigma^2}\sum_i\mathrm{tr}(B_e'Z_i'Z_iB_fu_iu_i'), \qquad
        l_e = \frac1{\sigma^2}\sum_iu_i'B_e'Z_i'(y_i - X_i\beta), \qquad \Lambda = \sum_e\lambda_eB_e
    """
    data, k, q = model.data, len(basis), len(u)
    cross = np.einsum("acg,bcg->cab", at_beta(data.ZtW, state.beta), u)
    # Of the products of an entry of Z_i'Z_i with one of u_i u_i'.
    sums = _sums(data.of_groups(data.ZtZ), u[:, None] * u)
    if spare.any():
        sums = sums + _sums(data.ZtZ, spare)
    pairs = np.einsum("eab,fcd->efacbd", basis, basis).reshape(k * k, -1)
    precision = (pairs @ sums.reshape(q**4, -1)).reshape(k, k, -1).transpose(2, 0, 1)
    linear = cross.reshape(-1, q * q) @ basis.reshape(k, -1).T
    return precision / state.sigma2[:, None, None], linear / state.sigma2[:, None]


def _sums(M: np.ndarray, U: np.ndarray) -> np.ndarray:
    """Sums over the last axis of M (q, q, 1, n or 1) times U (q, q, C, n), each entry with each: (q * q, q * q * C)."""
    if M.shape[-1] == 1:
        U = U.sum(axis=-1, keepdims=True)
    return M.reshape(-1, M.shape[-1]) @ U.reshape(-1, U.shape[-1]).T


def log_prior(model: Model, entries: np.ndarray) -> np.ndarray:
    """Log density (C,) of the entries (k, C) of Lambda, up to a constant, the scales of the prior integrated out.

    The density of D times the Jacobian of its factor. Either sign of a column is the same D.
    """
    prior, Rz = model.D, model.Rz
    with np.errstate(divide="ignore", over="ignore"):
        if model.diagonal:
            return (prior.log_density(entries**2) + np.log(entries**2) / 2).sum(axis=0)
        q = len(Rz)
        L = np.zeros((entries.shape[1], q, q))
        L[:, *triangle(q)] = entries.T
        pivots = np.log(np.abs(np.diagonal(L, axis1=1, axis2=2)))
        density = pivots @ (np.arange(q, 0, -1) - (prior.df + q + 1))
        if prior.nu:
            rates = prior.nu * precisions(model, L.transpose(1, 2, 0)).T + prior.A**-2.0
            density -= (prior.nu + q) / 2 * np.log(rates).sum(axis=1)
        else:
            root = np.linalg.solve(L, Rz)  # D^-1 = root'root in the formula's basis
            density -= np.einsum("cab,cad,bd->c", root, root, prior.scale) / 2
        return density


def lambda_basis(model: Model) -> np.ndarray:
    """Matrices B_e (k, q, q) of which Lambda is a combination: a lower triangle, or Rz times a diagonal."""
    q = len(model.Rz)
    if model.diagonal:
        return np.array([np.outer(model.Rz[:, a], np.eye(q)[a]) for a in range(q)])
    return _unit_matrices(q)


@cache
def _unit_matrices(q: int) -> np.ndarray:
    """A matrix (q, q) for each entry of a lower triangle: one there, zero elsewhere."""
    out = np.zeros((q * (q + 1) // 2, q, q))
    out[np.arange(len(out)), *triangle(q)] = 1
    return out


def lower(F: np.ndarray) -> np.ndarray:
    """Lower triangular factors of the same D (q, q, C), no digits lost to a product."""
    if len(F) == 1:
        return F
    return np.asarray(np.linalg.qr(F.transpose(2, 1, 0), mode="r")).transpose(2, 1, 0)
