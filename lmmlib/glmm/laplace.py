r"""Laplace's approximation to the log-likelihood of a generalised linear mixed model, with exact gradient and Hessian.

All derivatives go through :math:`t_a = d\eta/d\psi_a`, how the linear predictor changes with a parameter when the mode
moves along: with :math:`\dot b_a = d\hat b/d\psi_a` it is :math:`x_a + z'\dot b_a` for a fixed effect, and
:math:`z'\dot b_a` for an entry of the factor of D. The cumulants of a response, :math:`\kappa_2, \kappa_3, \kappa_4`,
are minus the derivatives of its log-density by :math:`\eta`; of a Poisson count all are its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmmlib.common.small import product, transposed
from lmmlib.glmm.rows import Inner, turn


@dataclass(frozen=True, eq=False)
class Slopes:
    r"""First derivatives along the parameters (beta, theta), the modes moving along; :math:`\Lambda = \sum\theta_kB_k`.

    ``inner``: the groups at the modes; ``turned`` (q, P, n): the score by :math:`B_k'`, zero for a fixed effect;
    ``du``, ``db`` (q, P, n): of the modes; ``t`` (P, N): of the linear predictors; ``joint`` (P,): of the joint
    log-density.
    """

    inner: Inner
    turned: np.ndarray
    du: np.ndarray
    db: np.ndarray
    t: np.ndarray
    joint: np.ndarray

    @cached_property
    def dM(self) -> np.ndarray:
        r""":math:`\dot M_{ia} = Z_i'\operatorname{diag}(\kappa_3t_a)Z_i`, (q, q, P, n)."""
        rows = self.inner.density.rows
        return rows.crossed(rows.family.cumulants(self.inner.mu)[1] * self.t)

    @cached_property
    def dS(self) -> np.ndarray:
        r""":math:`\dot S_{ia} = \Lambda'\dot M_{ia}\Lambda + B_a'M_i\Lambda + \Lambda'M_iB_a`, (q, q, P, n)."""
        L, B = self.inner.density.L, self.inner.density.rows.coordinates
        dS = turn(L.T, transposed(turn(L.T, self.dM)))
        one_side = np.einsum("kca,cbn->abkn", B, transposed(turn(L.T, self.inner.M)))
        dS[:, :, len(self.t) - len(B) :] += one_side + transposed(one_side)
        return dS


def slopes(inner: Inner) -> Slopes:
    r"""How modes and linear predictors change with the parameters: the implicit function theorem, all groups at once.

    .. math:: \frac{d\hat u_i}{d\psi_a} = S_i^{-1}\frac{\partial^2 h_i}{\partial u\,\partial\psi_a}, \qquad
        \frac{d\hat b_i}{d\psi_a} = \Lambda\frac{d\hat u_i}{d\psi_a} + B_a\hat u_i

    with :math:`h_i` the joint log-density of group i at :math:`\hat u_i`, the mode, at which ``inner`` is, and
    :math:`B_a` zero for a fixed effect.
    """
    c, L, M, (q, n) = inner.density.rows, inner.density.L, inner.M, inner.u.shape
    p, B = len(c.X), c.coordinates
    # What rounding leaves of the last step to the modes, which with large counts is much for the score.
    rest = L @ inner.solve(inner.slope)
    score = inner.score - product(M, rest[:, None])[:, 0]
    zero = np.zeros((q, p, n))
    Bu = np.concatenate([zero, np.einsum("kab,bn->akn", B, inner.u)], axis=1)
    turned = np.concatenate([zero, np.einsum("kba,bn->akn", B, score)], axis=1)
    by_eta = product(M, Bu)  # Z'W times how eta changes at fixed u
    by_eta[:, :p] = c.sums((c.family.variance(inner.mu) * c.X) * c.Z[:, None])
    du = inner.solve(turned - turn(L.T, by_eta))
    db = turn(L, du) + Bu
    t = c.along(db)
    t[:p] += c.X
    by_beta = c.X @ (c.family.y - inner.mu) - (by_eta[:, :p] * rest[:, None]).sum(axis=(0, 2))
    joint = np.concatenate([by_beta, (score[:, None] * Bu).sum(axis=(0, 2))[p:]])
    return Slopes(inner, turned, du, db, t, joint)


def loglik(inner: Inner) -> float:
    r"""Laplace's approximation to the marginal log-likelihood, with all constants.

    .. math:: \ell(\beta, D) \approx \sum_i \Big\{\log p(y_i \mid \hat b_i) - \tfrac12 \hat u_i'\hat u_i
        - \tfrac12 \log|S_i|\Big\}

    Equation :eq:`laplace-marginal` of the book in terms of the standardised u: the :math:`(q/2)\log 2\pi` of their
    density and that of Laplace's constant, equation :eq:`laplace-constant`, cancel.
    """
    return float(inner.joint.sum() - inner.logdet.sum() / 2) + inner.density.rows.family.constant


def gradient(s: Slopes) -> np.ndarray:
    r"""Exact gradient of :func:`loglik` by beta and theta, (P,).

    .. math:: \frac{d\ell}{d\psi_a} = \sum_i \Big\{\frac{\partial h_i}{\partial\psi_a}
        - \tfrac12 \operatorname{tr}\Big(S_i^{-1}\frac{dS_i}{d\psi_a}\Big)\Big\}

    Equation :eq:`implicit-gradient` of the book; :math:`dS_i` follows the mode, by :class:`Slopes`.
    """
    return s.joint - (s.inner.inverse[:, :, None] * s.dS).sum(axis=(0, 1, 3)) / 2


def hessian(s: Slopes) -> np.ndarray:
    r"""Exact Hessian of :func:`loglik` by beta and theta, (P, P): :func:`of_joint` less half of ``_of_logdet``."""
    H = of_joint(s) - _of_logdet(s) / 2
    return (H + H.T) / 2


def over_groups(A: np.ndarray, C: np.ndarray) -> np.ndarray:
    """Sums over groups and entries of the products of the columns: (q, left, n) and (q, right, n) to (left, right)."""
    return (A @ C.swapaxes(1, 2)).sum(axis=0)


def _over_entries(A: np.ndarray, C: np.ndarray) -> np.ndarray:
    """The same of matrices: (q, q, left, n) and (q, q, right, n) to (left, right)."""
    return over_groups(*(one.reshape(one.shape[0] ** 2, *one.shape[2:]) for one in (A, C)))


def of_joint(s: Slopes) -> np.ndarray:
    r"""Second derivatives of the sum of the joint log-densities at the modes.

    .. math:: \frac{d^2h}{d\psi_a\,d\psi_b} = -\sum\kappa_2t_at_b - \dot u_a'\dot u_b
        + (B_a'Z's)'\dot u_b + (B_b'Z's)'\dot u_a, \qquad s = y - \mu

    Of the chain rule along the modes; the second derivatives of u go with that of h by u, which is zero. Nothing is the
    small difference of two sums as large as the counts.
    """
    variance = s.inner.density.rows.family.variance(s.inner.mu)
    side = over_groups(s.turned, s.du)
    return side + side.T - (variance * s.t) @ s.t.T - over_groups(s.du, s.du)


def _of_logdet(s: Slopes) -> np.ndarray:
    r"""Second derivatives of the sum of :math:`\log|S_i|`.

    .. math:: \frac{d^2\log|S|}{d\psi_a\,d\psi_b} = \operatorname{tr}(S^{-1}\ddot S_{ab})
        - \operatorname{tr}(S^{-1}\dot S_aS^{-1}\dot S_b)

    With :math:`G = \Lambda S^{-1}\Lambda'` and :math:`g = z'Gz` of each row, the variance of its linear predictor given
    the responses, and B zero for a fixed effect, the first trace is

    .. math:: \operatorname{tr}(G\ddot M_{ab}) + 2\operatorname{tr}(B_a'\dot M_b\Lambda S^{-1})
        + 2\operatorname{tr}(B_b'\dot M_a\Lambda S^{-1}) + 2\operatorname{tr}(B_a'MB_bS^{-1}), \qquad
        \operatorname{tr}(G\ddot M_{ab}) = \sum g\kappa_4t_at_b + m'\ddot b_{ab}, \quad m = Z'(g\kappa_3)

    Those of the modes, :math:`\ddot b_{ab} = \Lambda\ddot u_{ab} + B_a\dot u_b + B_b\dot u_a`, come from
    differentiating :math:`\Lambda'Z'(y - \mu) = u` twice:

    .. math:: S\ddot u_{ab} = -\Lambda'Z'(\kappa_3t_at_b) - \Lambda'M(B_a\dot u_b + B_b\dot u_a)
        - B_a'Z'(\kappa_2t_b) - B_b'Z'(\kappa_2t_a)

    So with :math:`v = S^{-1}\Lambda'm`, :math:`w = \Lambda v = Gm` and :math:`\omega = g\kappa_4 - \kappa_3z'w`

    .. math:: \operatorname{tr}(G\ddot M_{ab}) = \sum\omega t_at_b + \{(m - Mw)'B_a\dot u_b - v'B_a'Z'(\kappa_2t_b)\}
        + \{(m - Mw)'B_b\dot u_a - v'B_b'Z'(\kappa_2t_a)\}
    """
    inner, c, B, L, M = s.inner, s.inner.density.rows, s.inner.density.rows.coordinates, s.inner.density.L, s.inner.M
    variance, third, fourth = c.family.cumulants(inner.mu)
    g = np.einsum("aN,aN->N", c.Z, c.along(inner.covariance))
    m = c.sums(g * third * c.Z)
    v = inner.solve(L.T @ m)
    w = L @ v
    omega = g * fourth - third * c.along(w)
    rest = m - product(M, w[:, None])[:, 0]
    Zt = c.sums((variance * s.t) * c.Z[:, None])
    BLS = np.einsum("kab,cbn->ackn", B, turn(L, inner.inverse))  # B_k (Lambda S^-1)'

    p = len(c.X)
    of_B = np.zeros((p + len(B),) * 2)  # the terms with one B, that of the row
    of_B[p:] = over_groups(np.einsum("kab,an->bkn", B, rest), s.du) - over_groups(np.einsum("kab,bn->akn", B, v), Zt)
    of_B[p:] += 2 * _over_entries(BLS, s.dM)
    of_BB = np.zeros_like(of_B)
    q, n = inner.u.shape
    both = (M.reshape(q * q, n) @ inner.inverse.reshape(q * q, n).T).reshape(q, q, q, q)
    of_BB[p:, p:] = 2 * np.einsum("kab,acdb,lcd->kl", B, both, B)
    white = both_sides(inner.half, s.dS)
    traces = _over_entries(white, white)
    return (omega * s.t) @ s.t.T + of_B + of_B.T + of_BB - traces


def both_sides(half: np.ndarray, dS: np.ndarray) -> np.ndarray:
    """H dS_a H' for the inverse Cholesky factors H of S and all parameters a, (q, q, P, n)."""
    return product(half[:, :, None], transposed(product(half[:, :, None], dS)))
