r"""Derivatives and information of the two likelihoods, by formula, from cross-products.

The variance parameters are :math:`\alpha = (\mathrm{vech}\,D, \sigma^2)`: D column by column from the diagonal
down (only the diagonal if D is diagonal), then the residual variance. :math:`\dot V_r = \partial V/\partial\alpha_r`
is :math:`Z E_r Z'` or the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.design import CrossProducts
from lmmlib.errors import DesignError
from lmmlib.gls import GLS, gls
from lmmlib.parameters import checked_beta, checked_choice, checked_made, checked_sigma2
from lmmlib.weighted import weigh

# Of sigma2: the third power of V^-1 is summed, and overflows or vanishes in other units.
LARGEST_SIGMA2 = 1e80


@dataclass(frozen=True, eq=False)
class Directions:
    r"""What every formula of first and second derivatives is made of, W = [X, r] with r the GLS residual.

    ``P`` (k, p+1, p+1): :math:`W'V^{-1}\dot V_r V^{-1}W`; ``Q`` (k, k, p+1, p+1):
    :math:`W'V^{-1}\dot V_rV^{-1}\dot V_sV^{-1}W`; ``trace1`` (k,): :math:`\mathrm{tr}\,V^{-1}\dot V_r`; ``trace2``
    (k, k): :math:`\mathrm{tr}\,V^{-1}\dot V_rV^{-1}\dot V_s`; ``Phi`` (p, p): :math:`(X'V^{-1}X)^{-1}`. X in the
    working basis.
    """

    P: np.ndarray
    Q: np.ndarray
    trace1: np.ndarray
    trace2: np.ndarray
    Phi: np.ndarray
    estimate: GLS


def directions(cross: CrossProducts, D, sigma2: float, beta=None, working: bool = False) -> Directions:
    """Per-direction sums at the given D and sigma2, with residuals at ``beta`` (by default the GLS estimate).

    ``working`` differentiates by the entries of D in the working basis. What does not depend on the choice, such
    as Satterthwaite's df, then keeps its digits with calendar years; a diagonal D stays as it is.

    Raises
    ------
    DesignError
        If the response has units in which the sums overflow or vanish.
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    if not 1 / LARGEST_SIGMA2 <= checked_sigma2(sigma2) <= LARGEST_SIGMA2:
        raise DesignError(
            f"the response has units in which sigma2 = {sigma2:g}, whose third power is no number; divide the response "
            f"by {np.sqrt(sigma2):.0e} or so"
        )
    q, n_p = len(cross.z_names), len(cross.x_names)
    estimate, w, base = gls(cross, D, sigma2), weigh(cross, D, sigma2), cross.work
    delta = cross.basis.Rx @ (
        (estimate.beta if beta is None else checked_beta(beta, cross.x_names)) - cross.basis.beta0
    )
    ZtZp, index = cross.patterns
    to_W = np.zeros((n_p + 1, n_p + 1))
    to_W[:n_p, :n_p], to_W[:n_p, n_p], to_W[n_p, n_p] = np.eye(n_p), -delta, 1.0
    gram = np.block([[base.XtX, base.Xty[:, None]], [base.Xty[None, :], np.array([[base.yty]])]])
    WtW = to_W.T @ gram @ to_W
    ZtW = np.concatenate([base.ZtX, base.Zty[:, :, None]], axis=2) @ to_W

    # V^-1 Z = Z F, so powers of V^-1 act on Z as powers of F.
    KZ = np.swapaxes(w.half, 1, 2) @ (w.half @ ZtZp)
    F = (np.eye(q) - KZ) / sigma2
    A1 = ZtZp @ F
    A2 = np.swapaxes(F, 1, 2) @ A1
    ZV1W = np.swapaxes(F, 1, 2)[index] @ ZtW
    ZV2W = np.swapaxes(F, 1, 2)[index] @ ZV1W
    HZtW = w.half[index] @ ZtW
    KZtW = np.swapaxes(w.half, 1, 2)[index] @ HZtW
    S1 = (WtW - np.einsum("gqa,gqb->ab", HZtW, HZtW)) / sigma2
    S2 = (S1 - np.einsum("gqa,gqb->ab", KZtW, ZV1W)) / sigma2
    S3 = (S2 - np.einsum("gqa,gqb->ab", KZtW, ZV2W)) / sigma2

    E = cross.D_directions(working)
    count = np.bincount(index, minlength=len(ZtZp)).astype(float)
    k = len(E) + 1
    P = np.empty((k, n_p + 1, n_p + 1))
    Q = np.empty((k, k, n_p + 1, n_p + 1))
    trace1, trace2 = np.empty(k), np.empty((k, k))
    EM1 = [e @ ZV1W for e in E]
    for r, e in enumerate(E):
        P[r] = np.einsum("gqa,gqb->ab", ZV1W, EM1[r])
        trace1[r] = count @ np.einsum("qs,psq->p", e, A1)
        trace2[r, -1] = trace2[-1, r] = count @ np.einsum("qs,psq->p", e, A2)
        Q[r, -1] = np.einsum("gqa,gqb->ab", EM1[r], ZV2W)
        Q[-1, r] = Q[r, -1].T
        for s, f in enumerate(E):
            Q[r, s] = np.einsum("gqa,gqb->ab", EM1[r], A1[index] @ EM1[s])
            trace2[r, s] = count @ np.einsum("pab,pba->p", e @ A1, f @ A1)
    P[-1], Q[-1, -1] = S2, S3
    traceK, traceK2 = np.einsum("pqq->p", KZ), np.einsum("pab,pba->p", KZ, KZ)
    trace1[-1] = (cross.n_obs - count @ traceK) / sigma2
    trace2[-1, -1] = (cross.n_obs - count @ (2 * traceK - traceK2)) / sigma2**2
    Phi = np.linalg.inv(S1[:n_p, :n_p])
    return Directions(P, Q, trace1, trace2, (Phi + Phi.T) / 2, estimate)


def score_beta(cross: CrossProducts, beta, D, sigma2: float) -> np.ndarray:
    r"""Score of the fixed effects, (p,).

    .. math:: \frac{\partial\ell}{\partial\beta} = \sum_i X_i'V_i^{-1}(y_i - X_i\beta)

    Equation :eq:`score-beta` of the book.

    Parameters
    ----------
    cross : CrossProducts
    beta : (p,) array
    D : (q, q) array
    sigma2 : float

    Returns
    -------
    (p,) array
        Zero at the GLS estimate.
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    beta, w = checked_beta(beta, cross.x_names), weigh(cross, D, sigma2)
    R = cross.basis.Rx
    return R.T @ (w.XtVy - w.XtVX @ (R @ (beta - cross.basis.beta0)))


def information_beta(cross: CrossProducts, D, sigma2: float) -> np.ndarray:
    r"""Information on the fixed effects, expected and observed alike, (p, p).

    .. math:: I_{\beta\beta} = \sum_i X_i'V_i^{-1}X_i

    Equation :eq:`information-beta` of the book.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
    sigma2 : float

    Returns
    -------
    (p, p) array
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    R = cross.basis.Rx
    return R.T @ weigh(cross, D, sigma2).XtVX @ R


def information_variance(
    cross: CrossProducts, D, sigma2: float, method: str = "REML", kind: str = "expected"
) -> np.ndarray:
    r"""Information on the variance parameters (vech D, sigma2), (k, k).

    .. math:: I_{rs} = \tfrac12\operatorname{tr}(V^{-1}\dot V_r V^{-1}\dot V_s) \;\text{(ML)}, \qquad
        I_{rs} = \tfrac12\operatorname{tr}(P\dot V_r P\dot V_s) \;\text{(REML)}

    with :math:`P = V^{-1} - V^{-1}X(X'V^{-1}X)^{-1}X'V^{-1}`; the observed kind is
    :math:`y'P\dot V_rP\dot V_sPy` less the same, minus the Hessian of the profile or restricted log-likelihood.
    Equation :eq:`information-variance` of the book; Harville (1977).

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
    sigma2 : float
    method : {"REML", "ML"}
    kind : {"expected", "observed"}

    Returns
    -------
    (k, k) array
        In the order of ``cross.variance_names``.
    """
    checked_method(method)
    checked_choice("kind", kind, ("expected", "observed"))
    return _information(directions(cross, D, sigma2), method, kind)


def checked_method(method: str) -> None:
    """Raise ParameterError unless the method is "REML" or "ML"."""
    checked_choice("method", method, ("REML", "ML"))


def _information(d: Directions, method: str, kind: str) -> np.ndarray:
    p = len(d.Phi)
    trace = d.trace2
    if method == "REML":
        # tr(P Vr P Vs) written out; P here is the projection, d.P the sums of the docstring above.
        PhiP = d.Phi @ d.P[:, :p, :p]
        trace = trace - 2 * np.einsum("ab,rsba->rs", d.Phi, d.Q[:, :, :p, :p])
        trace = trace + np.einsum("rab,sba->rs", PhiP, PhiP)
    expected = (trace + trace.T) / 4
    if kind == "expected":
        return expected
    Xe = d.P[:, :p, p]
    curvature = d.Q[:, :, p, p] - np.einsum("ra,ab,sb->rs", Xe, d.Phi, Xe)
    return (curvature + curvature.T) / 2 - expected


def score_variance(cross: CrossProducts, D, sigma2: float, method: str = "REML") -> np.ndarray:
    r"""Score of the variance parameters with the fixed effects profiled out, (k,).

    .. math:: \frac{\partial\ell_R}{\partial\alpha_r} = -\tfrac12\operatorname{tr}(P\dot V_r)
        + \tfrac12\, y'P\dot V_rPy

    For ML the trace is :math:`\operatorname{tr}(V^{-1}\dot V_r)`. Derived with equation
    :eq:`information-variance` of the book.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
    sigma2 : float
    method : {"REML", "ML"}

    Returns
    -------
    (k,) array
        Zero at an optimum in the interior.
    """
    checked_method(method)
    d = directions(cross, D, sigma2)
    p = len(d.Phi)
    trace = d.trace1 - (np.einsum("ab,rba->r", d.Phi, d.P[:, :p, :p]) if method == "REML" else 0.0)
    return 0.5 * (d.P[:, p, p] - trace)
