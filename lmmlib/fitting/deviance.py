r"""The profiled deviance of a mixed model as a function of theta alone, with exact gradient and Hessian.

With :math:`D = \sigma^2 LL'` the best beta and sigma2 for a given L have closed forms, so the optimiser sees only
the entries theta of L (Bates et al. 2015). Everything is computed in the working basis of the cross-products, where L
is scale-free, and for many theta, or many responses, at once: they are the first axis of every array. The sums over the
groups are those of :mod:`lmmlib.equations.pieces`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.equations.likelihood import LOG_2PI
from lmmlib.equations.pieces import along, pieces


def theta_coordinates(cross: CrossProducts) -> np.ndarray:
    """Matrices B_k with L = sum of theta_k B_k, (k, q, q), in the working basis.

    A full D has the lower triangle of L, column by column. A diagonal D is diagonal for the columns of the formula,
    where L is diagonal too; in the working basis that is a column of Rz each, of length one whatever its units.
    """
    q = len(cross.z_names)
    if cross.diagonal:
        B = np.zeros((q, q, q))
        for a in range(q):
            B[a, :, a] = cross.basis.Rz[:, a] / np.linalg.norm(cross.basis.Rz[:, a])
        return B
    pairs = [(a, b) for b in range(q) for a in range(b, q)]
    B = np.zeros((len(pairs), q, q))
    for k, (a, b) in enumerate(pairs):
        B[k, a, b] = 1.0
    return B


def d_coordinates(cross: CrossProducts) -> np.ndarray:
    """Symmetric matrices E_r with D = sum of alpha_r E_r, (k, q, q), in the working basis, in the order of vech D."""
    B = theta_coordinates(cross)
    if cross.diagonal:
        return B @ np.swapaxes(B, 1, 2)
    return np.maximum(B, np.swapaxes(B, 1, 2))


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
    half: np.ndarray


def surface(cross: CrossProducts, data: Responses, theta: np.ndarray, B: np.ndarray, reml: bool) -> Surface:
    """Log-determinants and residual sum of squares at theta (B, k), with their derivatives."""
    L = np.tensordot(theta, B, 1)
    s = pieces(cross, data, L)
    Gamma = s.A - s.G if reml else s.A

    # Derivatives by LL' along E_k = dLL'/dtheta_k, and by the chain rule what comes from the change of E_k itself.
    E = B @ _t(L)[:, None]
    E = E + _t(E)
    h_hessian = 2 * np.einsum("kab,zac,lcb->zkl", B, Gamma, B)
    h_hessian -= along(E, s.AA - 2 * s.AG if reml else s.AA)
    if reml:
        P = np.einsum("zrab,zaxby->zrxy", E, s.CC)
        h_hessian -= np.einsum("zrxy,zsxy->zrs", P, P)
    c = np.einsum("zrab,zaxb->zrx", E, s.Cu)
    r2_hessian = 2 * along(E, s.Auu)
    r2_hessian -= 2 * c @ _t(c) + 2 * np.einsum("kab,zac,lcb->zkl", B, s.uu, B)
    return Surface(
        h=s.logdet_V + (s.logdet_X if reml else 0.0),
        h_gradient=2 * np.einsum("kab,zab->zk", B, Gamma @ L),
        h_hessian=(h_hessian + _t(h_hessian)) / 2,
        r2=s.r2,
        r2_gradient=-2 * np.einsum("kab,zab->zk", B, s.uu @ L),
        r2_hessian=(r2_hessian + _t(r2_hessian)) / 2,
        beta=s.beta,
        half=s.half,
    )


@dataclass(frozen=True, eq=False)
class Deviance:
    """Minus twice a log-likelihood at theta, with what the estimates are made of.

    ``gradient`` (B, k) and ``hessian`` (B, k, k) are exact derivatives; ``beta`` (B, p) in the working basis and
    ``sigma2`` (B,) are the best for theta (B, k); ``half`` (B, p, p): half half' is the covariance of beta over sigma2.
    """

    theta: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray
    beta: np.ndarray
    sigma2: np.ndarray
    half: np.ndarray

    def take(self, rows) -> Deviance:
        """Some of the responses."""
        return Deviance(*(getattr(self, f.name)[rows] for f in fields(self)))

    def put(self, rows, other: Deviance) -> Deviance:
        """The same with others in the place of some."""
        changed = {f.name: getattr(self, f.name).copy() for f in fields(self)}
        for name, values in changed.items():
            values[rows] = getattr(other, name)
        return replace(self, **changed)


def degrees(cross: CrossProducts, method: str) -> int:
    """m, what sigma2 is a mean over: N for ML, N - p for REML."""
    return cross.n_obs - (len(cross.x_names) if method == "REML" else 0)


def deviance(
    cross: CrossProducts, theta: np.ndarray, coordinates: np.ndarray, method: str, data: Responses | None = None
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
    coordinates : (k, q, q) array
        The B_k of :func:`theta_coordinates`.
    method : {"REML", "ML"}
    data : Responses, optional
        One for each theta, or one for all; by default the response of the cross-products.

    Returns
    -------
    Deviance
    """
    if theta.ndim == 1:
        return deviance(cross, theta[None], coordinates, method, data).take(0)
    m, data = degrees(cross, method), data or Responses.of_cross(cross)
    s = surface(cross, data, theta, coordinates, method == "REML")
    with np.errstate(invalid="ignore", divide="ignore"):  # a response without residual has no deviance: NaN
        value = s.h + m * (1 + LOG_2PI + np.log(s.r2 / m))
        slope = s.r2_gradient / s.r2[:, None]
        bend = s.r2_hessian / s.r2[:, None, None] - slope[:, :, None] * slope[:, None, :]
    return Deviance(theta, value, s.h_gradient + m * slope, s.h_hessian + m * bend, s.beta, s.r2 / m, s.half)
