r"""The profiled deviance of a mixed model as a function of theta alone, with exact gradient and Hessian.

With :math:`D = \sigma^2 LL'` the best beta and sigma2 for a given L have closed forms, so the optimiser sees only
the entries theta of L (Bates et al. 2015). Everything is computed in the working basis of the cross-products, where L
is scale-free, and for many theta, or many responses, at once: they are the first axis of every array. The sums over the
groups are those of :mod:`lmmlib.equations.pieces`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.equations.likelihood import LOG_2PI
from lmmlib.equations.pieces import along, pieces
from lmmlib.fitting.newton import Point


def _t(M: np.ndarray) -> np.ndarray:
    """Each matrix transposed."""
    return np.swapaxes(M, -1, -2)


@dataclass(frozen=True, eq=False)
class Surface:
    """The two parts of a deviance at theta, each with gradient (B, k) and Hessian (B, k, k).

    ``h`` (B,): :math:`\\log|V_0|`, for REML with :math:`\\log|X'V_0^{-1}X|`; ``r2`` (B,): the generalised residual sum
    of squares.
    """

    h: np.ndarray
    h_gradient: np.ndarray
    h_hessian: np.ndarray
    r2: np.ndarray
    r2_gradient: np.ndarray
    r2_hessian: np.ndarray
    beta: np.ndarray
    R_inverse: np.ndarray


def surface(cross: CrossProducts, data: Responses, theta: np.ndarray, dL: np.ndarray, reml: bool) -> Surface:
    r"""Log-determinants and residual sum of squares at theta (B, k), with their derivatives.

    By the entries of LL', with E_r and :math:`M = V_0^{-1}` or, for REML, the projection P that takes out X:

    .. math:: \partial_rh = \operatorname{tr}(MZE_rZ'), \qquad
        \partial_r\partial_sh = -\operatorname{tr}(MZE_rZ'MZE_sZ'), \\
        \partial_rr^2 = -r'V_0^{-1}ZE_rZ'V_0^{-1}r, \qquad
        \partial_r\partial_sr^2 = 2\,r'V_0^{-1}ZE_rZ'PZE_sZ'V_0^{-1}r

    As LL' is quadratic in theta, with :math:`E_k = \partial LL'/\partial\theta_k` a second derivative by theta adds
    the first one along :math:`\partial_k\partial_lLL' = \dot L_k\dot L_l' + \dot L_l\dot L_k'`.
    """
    L = np.tensordot(theta, dL, 1)
    s = pieces(cross, data, L)
    E = dL @ _t(L)[:, None]
    E = E + _t(E)

    def by_theta(slope: np.ndarray, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian of what changes by tr(slope dLL') to first order, and by ``bend`` along E to second."""
        hessian = bend + 2 * np.einsum("kab,zac,lcb->zkl", dL, slope, dL)
        return 2 * np.einsum("kab,zab->zk", dL, slope @ L), (hessian + _t(hessian)) / 2

    c = np.einsum("zrab,zaxb->zrx", E, s.Cu)
    of_r2 = by_theta(-s.uu, 2 * along(E, s.Auu) - 2 * c @ _t(c))
    if not reml:
        return Surface(s.logdet_V, *by_theta(s.A, -along(E, s.AA)), s.r2, *of_r2, s.beta, s.R_inverse)
    P = np.einsum("zrab,zaxby->zrxy", E, s.CC)
    bend = 2 * along(E, s.AG) - along(E, s.AA) - np.einsum("zrxy,zsxy->zrs", P, P)
    return Surface(s.logdet_V + s.logdet_X, *by_theta(s.A - s.G, bend), s.r2, *of_r2, s.beta, s.R_inverse)


@dataclass(frozen=True, eq=False)
class Deviance(Point):
    """Minus twice a log-likelihood at theta, with what the estimates are made of.

    ``gradient`` (B, k) and ``hessian`` (B, k, k) are exact derivatives; ``beta`` (B, p) in the working basis and
    ``sigma2`` (B,) are the best for theta (B, k); ``R_inverse`` (B, p, p) with R'R = X'V0^-1 X, whose inverse is the
    covariance of beta over sigma2.
    """

    beta: np.ndarray
    sigma2: np.ndarray
    R_inverse: np.ndarray


def degrees(cross: CrossProducts, method: str) -> int:
    """m, what sigma2 is a mean over: N for ML, N - p for REML."""
    return cross.n_obs - (len(cross.x_names) if method == "REML" else 0)


def deviance(
    cross: CrossProducts, theta: np.ndarray, dL: np.ndarray, method: str, data: Responses | None = None
) -> Deviance:
    r"""Profiled deviance, its gradient and its Hessian.

    .. math:: d(\theta) = \log|V_0| + [\log|X'V_0^{-1}X|] + m\Big(1 + \log\frac{2\pi\,r^2}{m}\Big),
        \qquad V_0 = I + ZLL'Z'

    with :math:`r^2` the generalised residual sum of squares, m = N for ML, and for REML m = N - p and the term in
    brackets: equations :eq:`profile-loglik` and :eq:`restricted-loglik` of the book with sigma2 at its best too; Bates
    et al. (2015).

    Parameters
    ----------
    cross : CrossProducts
    theta : (k,) or (B, k) array
        Coordinates of L, in the working basis; with (B, k) every part of the answer has the axis B in front.
    dL : (k, q, q) array
        Derivatives of L by theta, ``cross.theta_coordinates``.
    method : {"REML", "ML"}
    data : Responses, optional
        One for each theta, or one for all; by default the response of the cross-products.

    Returns
    -------
    Deviance
    """
    if theta.ndim == 1:
        return deviance(cross, theta[None], dL, method, data).take(0)
    m, data = degrees(cross, method), data or Responses.of_cross(cross)
    s = surface(cross, data, theta, dL, method == "REML")
    with np.errstate(invalid="ignore", divide="ignore"):  # a response without residual has no deviance: NaN
        value = s.h + m * (1 + LOG_2PI + np.log(s.r2 / m))
        slope = s.r2_gradient / s.r2[:, None]
        bend = s.r2_hessian / s.r2[:, None, None] - slope[:, :, None] * slope[:, None, :]
    return Deviance(theta, value, s.h_gradient + m * slope, s.h_hessian + m * bend, s.beta, s.r2 / m, s.R_inverse)
