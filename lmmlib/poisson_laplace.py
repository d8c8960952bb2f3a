r"""Laplace's approximation to the log-likelihood of a Poisson mixed model, with exact gradient and Hessian.

All derivatives of the exponential function are itself. So the derivatives of the log-likelihood along a parameter a
need no more than :math:`t_a = d\eta/d\psi_a`, how the linear predictor changes when the mode moves along: with
:math:`\dot b_a = db_i/d\psi_a` it is :math:`x_a + z'\dot b_a` for a fixed effect, and :math:`z'\dot b_a` for an entry
of the factor of D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.entries import product
from lmmlib.poisson import Counts, Inner, solve, turn


@dataclass(frozen=True, eq=False)
class Slopes:
    r"""First derivatives along the P parameters (beta, theta), the modes moving along.

    ``Bu`` (q, k, n): :math:`B_ku_i`; ``Lambda`` is the sum of the :math:`\theta_kB_k`. ``turned`` (q, k, n): the
    score by :math:`B_k'`; ``du``, ``db`` (q, P, n): of the modes; ``N`` (q, p, n):
    :math:`Z_i'\operatorname{diag}(\mu_i)X_i`; ``dM``, ``dS`` (q, q, P, n); ``joint`` (P,): of the joint log-density.
    """

    Bu: np.ndarray
    turned: np.ndarray
    du: np.ndarray
    db: np.ndarray
    N: np.ndarray
    dM: np.ndarray
    dS: np.ndarray
    joint: np.ndarray


def slopes(counts: Counts, L: np.ndarray, coordinates: np.ndarray, inner: Inner) -> Slopes:
    r"""How modes and curvatures change with the parameters: the implicit function theorem for all groups at once.

    .. math:: \frac{d\hat u_i}{d\psi_a} = S_i^{-1}\frac{\partial^2 h_i}{\partial u\,\partial\psi_a}

    with :math:`h_i` the joint log-density of group i at :math:`\hat u_i`.

    Parameters
    ----------
    counts : Counts
    L : (q, q) array
    coordinates : (k, q, q) array
        The B_k of :func:`lmmlib.deviance.theta_coordinates`.
    inner : Inner
        At the modes.

    Returns
    -------
    Slopes
    """
    B, c, mu, M, (q, n) = coordinates, counts, inner.mu, inner.M, inner.u.shape
    p, P = len(c.X), len(c.X) + len(B)
    by_x = c.sums((mu * c.X)[:, None] * c.powers[1:]).swapaxes(0, 1)
    by_z = by_x if c.same else c.sums((mu * c.Z)[:, None] * c.powers[1:]).swapaxes(0, 1)
    N, ZZX, ZZZ = by_x[:q], by_x[q:], by_z[q:]

    # What rounding leaves of the last step to the modes, which with large counts is much for the score.
    rest = L @ solve(inner.half, L.T @ inner.score - inner.u)
    score = inner.score - product(M, rest[:, None])[:, 0]
    Bu = turn(B.reshape(len(B) * q, q), inner.u).reshape(len(B), q, n).swapaxes(0, 1)
    turned = turn(B.swapaxes(1, 2).reshape(len(B) * q, q), score).reshape(len(B), q, n).swapaxes(0, 1)
    cross = np.empty((q, P, n))
    cross[:, :p] = -turn(L.T, N)
    cross[:, p:] = turned - turn(L.T, product(M, Bu))
    du = solve(inner.half, cross)
    db = turn(L, du)
    db[:, p:] += Bu

    dM = product(ZZZ, db)
    dM[:, :p] += ZZX
    dM = c.square(dM)
    dS = turn(L.T, turn(L.T, dM).swapaxes(0, 1))
    ML = turn(L.T, M)
    for k, Bk in enumerate(B):
        side = turn(Bk.T, ML.swapaxes(0, 1))
        dS[:, :, p + k] += side + side.swapaxes(0, 1)
    by_beta = c.X @ (c.y - mu) - (N * rest[:, None]).sum(axis=(0, 2))
    joint = np.concatenate([by_beta, (score[:, None] * Bu).sum(axis=(0, 2))])
    return Slopes(Bu, turned, du, db, N, dM, dS, joint)


def loglik(counts: Counts, inner: Inner) -> float:
    r"""Laplace's approximation to the marginal log-likelihood, with all constants.

    .. math:: \ell(\beta, D) \approx \sum_i \Big\{\log p(y_i \mid \hat b_i) - \tfrac12 \hat u_i'\hat u_i
        - \tfrac12 \log|S_i|\Big\}

    Equation :eq:`laplace-marginal` of the book in terms of the standardised u: the :math:`(q/2)\log 2\pi` of their
    density and that of Laplace's constant, equation :eq:`laplace-constant`, cancel.

    Parameters
    ----------
    counts : Counts
    inner : Inner
        At the modes.

    Returns
    -------
    float
    """
    return float(inner.joint.sum() - inner.logdet.sum() / 2) + counts.constant


def gradient(inner: Inner, s: Slopes) -> np.ndarray:
    r"""Exact gradient of :func:`loglik` by beta and theta, (P,).

    .. math:: \frac{d\ell}{d\psi_a} = \sum_i \Big\{\frac{\partial h_i}{\partial\psi_a}
        - \tfrac12 \operatorname{tr}\Big(S_i^{-1}\frac{dS_i}{d\psi_a}\Big)\Big\}

    Equation :eq:`implicit-gradient` of the book; :math:`dS_i` follows the mode, by :func:`slopes`.

    Parameters
    ----------
    inner : Inner
    s : Slopes

    Returns
    -------
    (P,) array
    """
    inverse = product(inner.half.swapaxes(0, 1), inner.half)
    return s.joint - (inverse[:, :, None] * s.dS).sum(axis=(0, 1, 3)) / 2


def hessian(counts: Counts, L: np.ndarray, coordinates: np.ndarray, inner: Inner, s: Slopes) -> np.ndarray:
    r"""Exact Hessian of :func:`loglik` by beta and theta, (P, P).

    The joint log-density has :math:`h_{\psi\psi} + h_{\psi u}S^{-1}h_{u\psi}`; the determinants have
    :math:`-\frac12\{\operatorname{tr}(S^{-1}\ddot S_{ab}) - \operatorname{tr}(S^{-1}\dot S_aS^{-1}\dot S_b)\}`, in
    which the second derivatives of the modes are replaced by the equations that define them.

    Parameters
    ----------
    counts, L, coordinates, inner, s
        As in :func:`slopes`, and its result.

    Returns
    -------
    (P, P) array
    """
    return _of_joint(counts, L, inner, s) - _of_logdet(counts, L, coordinates, inner, s) / 2


def _pairs_sum(A: np.ndarray, C: np.ndarray) -> np.ndarray:
    """Sum over groups and entries of the products of the columns: (q, a, n) and (q, b, n) to (a, b)."""
    A, C = (M.swapaxes(0, 1).reshape(M.shape[1], M.shape[0] * M.shape[2]) for M in (A, C))
    return A @ C.T


def _of_joint(c: Counts, L: np.ndarray, inner: Inner, s: Slopes) -> np.ndarray:
    r"""Second derivatives of the sum of the joint log-densities at the modes.

    A column of X is split into :math:`Z_ig_i` and a rest r that the weights make orthogonal to it, so that nothing is
    the small difference of two sums as large as the counts: what z explains has :math:`M(I + DM)^{-1}` as information.
    """
    p, q = len(c.X), len(inner.u)
    ridge = inner.M + (1e-12 * np.einsum("aan->n", inner.M) + 1e-300) * np.eye(q)[:, :, None]
    share = np.linalg.solve(ridge.transpose(2, 0, 1), s.N.transpose(2, 0, 1)).transpose(1, 2, 0)
    g = np.concatenate([share, s.Bu], axis=1)
    rest = c.X - (c.Z[:, None] * c.spread(share)).sum(axis=0)
    M = inner.M.transpose(2, 0, 1)
    known = M @ np.linalg.inv(np.eye(q) + L @ L.T @ M)
    back = solve(inner.half, turn(L.T, product(inner.M, g)))
    H = -_pairs_sum(g, product(known.transpose(1, 2, 0), g))
    H[:p, :p] -= (inner.mu * rest) @ rest.T
    H[p:, p:] += _pairs_sum(s.turned, solve(inner.half, s.turned))
    mixed = _pairs_sum(s.turned, back)
    H[p:] -= mixed
    H[:, p:] -= mixed.T
    return (H + H.T) / 2


def _of_logdet(c: Counts, L: np.ndarray, B: np.ndarray, inner: Inner, s: Slopes) -> np.ndarray:
    """Second derivatives of the sum of log|S_i|."""
    (q, n), p, P = inner.u.shape, len(c.X), s.du.shape[1]
    rows, columns = np.triu_indices(q)
    twice = np.where(rows == columns, 1.0, 2.0)[:, None]
    to_u = turn(L, inner.half.swapaxes(0, 1)).swapaxes(0, 1)  # H L'
    C = product(to_u.swapaxes(0, 1), to_u)  # covariance of b_i given the counts
    leverage = (c.ZZ * c.spread(C[rows, columns] * twice)).sum(axis=0)
    m3 = c.sums((inner.mu * leverage) * c.Z)
    w = product(C, m3[:, None])[:, 0]
    v = solve(inner.half, L.T @ m3)
    weight = inner.mu * (leverage - c.along(w))

    packed = c.sums(weight * c.powers[1:])
    k1, K = packed[:q], c.square(packed[q:])
    Kx = K if c.same else c.sums((weight * c.X)[:, None] * c.Z).swapaxes(0, 1)
    H = _pairs_sum(s.db, product(K, s.db))
    H[:p, :p] += (weight * c.X) @ c.X.T
    side = np.zeros((P, P))
    side[:p] += _pairs_sum(Kx, s.db)

    Mt = product(inner.M, s.db)
    Mt[:, :p] += s.N
    SL = solve(inner.half, turn(L.T, np.eye(q)[:, :, None] * np.ones(n)))  # S^-1 L'
    inverse = product(inner.half.swapaxes(0, 1), inner.half)
    for k, Bk in enumerate(B):
        side[p + k] += ((Bk.T @ k1)[:, None] * s.du).sum(axis=(0, 2))
        BSL = turn(Bk, SL)
        side[p + k] += 2 * (BSL.swapaxes(0, 1)[:, :, None] * s.dM).sum(axis=(0, 1, 3))
        side[p + k] -= ((Bk @ v)[:, None] * Mt).sum(axis=(0, 2))
        BSB = turn(B.reshape(len(B) * q, q), turn(Bk, inverse).swapaxes(0, 1)).reshape(len(B), q, q, n)  # B_l S^-1 B_k'
        H[p + k, p:] += 2 * (BSB * inner.M).sum(axis=(1, 2, 3))
    white = _left(inner.half, _left(inner.half, s.dS).swapaxes(0, 1))
    flat = white.transpose(2, 0, 1, 3).reshape(P, q * q * n)
    H += side + side.T - flat @ flat.T
    return (H + H.T) / 2


def _left(A: np.ndarray, M: np.ndarray) -> np.ndarray:
    """A M for matrices (q, q, n) and many M (q, r, P, n)."""
    q, r, P, n = M.shape
    return product(A, M.reshape(q, r * P, n)).reshape(q, r, P, n)
