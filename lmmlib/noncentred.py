r"""A second way to draw D, so that chains reach a D near zero or near singular.

With :math:`b_i = \Lambda u_i`, :math:`D = \Lambda\Lambda'` and standard normal u the model is a regression of y - X
beta on the entries of Lambda. Gibbs sweeps that draw D given b take steps of the order of D itself: where the
likelihood is largest at a D of zero they come no nearer than one over their number, while K clones hold the posterior
within 1/K of it. Draws of Lambda given u take steps of the size that the posterior has. Each of the two moves leaves
the posterior as it is, and they are used in turn (Yu and Meng 2011).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lmmlib.conditionals import Model, State, at_beta, product_groups
from lmmlib.entries import bartlett, cholesky, inverse_lower, product, square, transposed


def redraw_D(rng: np.random.Generator, model: Model, state: State) -> State:
    r"""The state with a new D, drawn given the standardised random effects u, which are drawn first.

    .. math:: p(\Lambda \mid u, y, \beta, \sigma^2) \propto
        \exp\Big(-\frac1{2\sigma^2}\sum_i\|y_i - X_i\beta - Z_i\Lambda u_i\|^2\Big)\, p(\Lambda)

    The first factor, normal in the entries of Lambda, makes a proposal; it is taken with the ratio of the second, the
    scales of the prior integrated out.

    Parameters
    ----------
    rng : Generator
    model : Model
    state : State

    Returns
    -------
    State
    """
    state = replace(state, F=lower(state.F) if not model.diagonal else state.F)
    u, spare = standardised_effects(rng, model, state)
    basis = lambda_basis(model)
    precision, linear = lambda_given_u(model, state, basis, u, spare)
    now = entries_of(model, state.F)
    root = np.linalg.inv(np.linalg.cholesky(precision))
    z = np.einsum("cxy,cy->cx", root, linear) + rng.standard_normal(linear.shape)
    new = np.einsum("cxy,cx->yc", root, z)
    accept = np.log(rng.random(new.shape[1])) < log_prior(model, new) - log_prior(model, now)
    kept = np.where(accept, new, now)
    F = np.einsum("eab,ec->abc", basis, kept)
    return replace(state, F=F, rates_D=draw_rates_D(rng, model, F))


def standardised_effects(rng, model: Model, state: State) -> tuple[np.ndarray, np.ndarray]:
    """u (q, C, G) of the rotated groups with data given y, and sums of squares (q, q, C, n_patterns) of the others."""
    data, q = model.data, len(state.F)
    S = product(transposed(state.F[..., None]), product(data.ZtZ, state.F[..., None])) / state.sigma2[:, None]
    for a in range(q):
        S[a, a] += 1
    inverse = inverse_lower(cholesky(S))
    of_group = data.of_groups(inverse)
    v = product_groups(transposed(state.F)[..., None], at_beta(data.ZtW, state.beta)[:, None]) / state.sigma2[:, None]
    v = product_groups(of_group, v)[:, 0]
    u = product_groups(transposed(of_group), (v + rng.standard_normal(v.shape))[:, None])[:, 0]
    if not data.spare.any():
        return u, np.zeros((q, q, len(state.sigma2), len(data.spare)))
    root = bartlett(rng, q, data.spare, (len(state.sigma2), len(data.spare)))
    return u, square(product(transposed(inverse), root))


def lambda_given_u(model: Model, state: State, basis, u, spare) -> tuple[np.ndarray, np.ndarray]:
    r"""Precision (C, k, k) and its product with the mean (C, k) of the entries of Lambda, the prior left out.

    .. math:: P_{ef} = \frac1{\sigma^2}\sum_i\mathrm{tr}(B_e'Z_i'Z_iB_fu_iu_i'), \qquad
        l_e = \frac1{\sigma^2}\sum_iu_i'B_e'Z_i'(y_i - X_i\beta), \qquad \Lambda = \sum_e\lambda_eB_e
    """
    data, k = model.data, len(basis)
    residual = at_beta(data.ZtW, state.beta)
    linear = np.einsum("eab,cab->ce", basis, np.einsum("acg,bcg->cab", residual, u))
    ZtZ, every = data.of_groups(data.ZtZ)[:, :, 0], data.ZtZ[:, :, 0]
    precision = np.zeros((len(linear), k, k))
    for e in range(k):
        for f in range(e, k):
            with_data = np.einsum("as,abg,bt->stg", basis[e], ZtZ, basis[f])
            without = np.einsum("as,abg,bt->stg", basis[e], every, basis[f])
            value = np.einsum("stcg,stcg->c", np.broadcast_to(without[:, :, None], spare.shape), spare)
            for s, t in np.argwhere(with_data.any(axis=2)):
                value += np.einsum("g,cg,cg->c", np.broadcast_to(with_data[s, t], u.shape[2:]), u[s], u[t])
            precision[:, e, f] = precision[:, f, e] = value
    return precision / state.sigma2[:, None, None], linear / state.sigma2[:, None]


def log_prior(model: Model, entries: np.ndarray) -> np.ndarray:
    """Log density (C,) of the entries (k, C) of Lambda, up to a constant, the scales of the prior integrated out.

    The density of D times the Jacobian of its factor. Either sign of a column is the same D.
    """
    prior, Rz = model.D, model.Rz
    with np.errstate(divide="ignore", over="ignore"):
        if model.diagonal:
            d = entries**2
            own = -(prior.df + 2) / 2 * np.log(d) - np.diag(prior.scale)[:, None] / (2 * d) + np.log(d) / 2
            if prior.nu:
                own -= (prior.nu + 1) / 2 * np.log(prior.nu / d + prior.A[:, None] ** -2.0)
            return own.sum(axis=0)
        q = len(Rz)
        L = np.einsum("eab,ec->cab", lambda_basis(model), entries)
        pivots = np.log(np.abs(np.diagonal(L, axis1=1, axis2=2)))
        root = np.linalg.solve(L, Rz)  # D^-1 = root'root in the formula's basis
        of_columns = np.linalg.solve(L, model.columns)  # and for the columns that a half-t prior is about
        density = pivots @ (np.arange(q, 0, -1) - (prior.df + q + 1))
        density -= np.einsum("cab,cad,bd->c", root, root, prior.scale) / 2
        if prior.nu:
            density -= (prior.nu + q) / 2 * np.log(prior.nu * (of_columns**2).sum(axis=1) + prior.A**-2.0).sum(axis=1)
        return density


def lambda_basis(model: Model) -> np.ndarray:
    """Matrices B_e (k, q, q) of which Lambda is a combination: a lower triangle, or Rz times a diagonal."""
    q = len(model.Rz)
    if model.diagonal:
        return np.array([np.outer(model.Rz[:, a], np.eye(q)[a]) for a in range(q)])
    places = np.argwhere(np.tri(q))
    return np.array([np.outer(np.eye(q)[a], np.eye(q)[b]) for a, b in places])


def entries_of(model: Model, F: np.ndarray) -> np.ndarray:
    """Entries (k, C) of a factor (q, q, C) that is a combination of the basis."""
    if model.diagonal:
        return np.diagonal(np.linalg.solve(model.Rz, F.transpose(2, 0, 1)), axis1=1, axis2=2).T
    return F[np.tril_indices(len(F))]


def lower(F: np.ndarray) -> np.ndarray:
    """Lower triangular factors of the same D (q, q, C), no digits lost to a product."""
    if len(F) == 1:
        return F
    return np.linalg.qr(F.transpose(2, 1, 0), mode="r").transpose(2, 1, 0)


def draw_rates_D(rng, model: Model, F: np.ndarray) -> np.ndarray:
    """Scales of the prior given D, (q, C)."""
    root = np.linalg.solve(F.transpose(2, 0, 1), model.columns)
    return model.D.draw_rates(rng, (root**2).sum(axis=1).T, 1 if model.diagonal else len(F))
