r"""Derivatives and information of the two likelihoods, by formula, from cross-products.

The variance parameters are :math:`\alpha = (\mathrm{vech}\,D, \sigma^2)`: D column by column from the diagonal
down (only the diagonal if D is diagonal), then the residual variance. :math:`\dot V_r = \partial V/\partial\alpha_r`
is :math:`Z E_r Z'` or the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.common.arguments import checked_beta, checked_choice, checked_made, checked_method, checked_sigma2
from lmmlib.common.small import vech
from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.equations.pieces import along, pieces
from lmmlib.equations.weighted import factors, relative_factor, weigh
from lmmlib.errors import DesignError

# Of sigma2: the third power of V^-1 is summed, and overflows or vanishes in other units.
LARGEST_SIGMA2 = 1e80


@dataclass(frozen=True, eq=False)
class Directions:
    r"""What every formula of first and second derivatives is made of, with :math:`W = [XR^{-1}, r]`, r a residual.

    R is the factor of :math:`X'V^{-1}X = R'R`: for the columns of W :math:`\Phi = (X'V^{-1}X)^{-1}` is the identity.

    ``P`` (k, p+1, p+1): :math:`W'V^{-1}\dot V_rV^{-1}W`; of :math:`W'V^{-1}\dot V_rV^{-1}\dot V_sV^{-1}W` there are
    ``QX`` (k, k), the trace over the columns of X, and ``Qr`` (k, k), the entry of r; ``trace1`` (k,):
    :math:`\operatorname{tr}V^{-1}\dot V_r`; ``trace2`` (k, k): :math:`\operatorname{tr}V^{-1}\dot V_rV^{-1}\dot V_s`.
    ``R_inverse`` (p, p): :math:`R^{-1}` for X in the working basis; ``beta`` (p,): where the residuals are taken, for
    the columns of the formula; ``change`` (k, k): the derivatives of V as sums of :math:`\sigma^2ZE_rZ'` and V.
    """

    P: np.ndarray
    QX: np.ndarray
    Qr: np.ndarray
    trace1: np.ndarray
    trace2: np.ndarray
    R_inverse: np.ndarray
    beta: np.ndarray
    change: np.ndarray


def directions(cross: CrossProducts, D, sigma2: float, beta=None, working: bool = False) -> Directions:
    r"""Per-direction sums at the given D and sigma2, with residuals at ``beta`` (by default the GLS estimate).

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
    cross.require_full_rank()
    L = relative_factor(cross, D, sigma2)
    if beta is not None:
        at = cross.basis.beta_work(checked_beta(beta, cross.x_names))[None]
        return _directions(cross, L, D, sigma2, working, at)
    at_D = np.asarray(D, float).tobytes(), float(sigma2), working
    return cross.once("directions", at_D, lambda: _directions(cross, L, D, sigma2, working))


def _directions(cross: CrossProducts, L, D, sigma2: float, working: bool, beta=None) -> Directions:
    data, p, sigma = Responses.of_cross(cross), len(cross.x_names), np.sqrt(sigma2)
    s = pieces(cross, data, L[None], beta, factors(cross, L))
    # In units in which sigma2 is 1: V is V0, and the residual r / sigma. With M_i = Z_i'V_i^-1 W_i the sums by
    # Z E_r Z', E_r = dD/d alpha_r, are those of M_i'E_r M_i over the groups; by V they are W'V^-1 W.
    # In the working basis, where V less its parts does not cancel; by entries of the formula's D with the chain rule.
    E, alpha = cross.D_directions(working=True), cross.D_entries(D, working=True) / sigma2
    M = np.empty((len(E) + 1, p + 1, p + 1))
    M[:-1, :p, :p], M[-1, :p, :p] = np.einsum("rab,axby->rxy", E, s.CC[0]), np.eye(p)
    M[:-1, :p, p], M[-1, :p, p] = np.einsum("rab,axb->rx", E, s.Cu[0]) / sigma, s.gap[0] / sigma
    M[:-1, p, p], M[-1, p, p] = np.einsum("rab,ab->r", E, s.uu[0]) / sigma2, s.r2[0] / sigma2
    M[:, p, :p] = M[:, :p, p]
    trace = np.append(np.einsum("rab,ab->r", E, s.A[0]), cross.n_obs)
    # Those by sigma2 follow: V is linear in its parameters, so that I = V - sum of alpha_r Z E_r Z'.
    change = np.eye(len(E) + 1) / sigma2
    change[-1, :-1] = -alpha / sigma2
    if not (working or cross.diagonal):
        rows, columns = np.array(vech(len(L)), int).reshape(-1, 2).T
        change[:-1] = cross.D_directions()[:, rows, columns] @ change[:-1]

    def second(sums: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Sums that are linear in two derivatives of V; where one of the two is V, they are those of the other."""
        by = np.block([[along(E[None], sums)[0], first[:-1, None]], [first]])
        return change @ by @ change.T

    return Directions(
        P=np.tensordot(change, M, 1),
        QX=second(s.AG, np.einsum("rxx->r", M[:, :p, :p])),
        Qr=second(s.Auu / sigma2, M[:, p, p]),
        trace1=change @ trace,
        trace2=second(s.AA, trace),
        R_inverse=sigma * s.R_inverse[0],
        beta=data.coefficients(cross, s.beta)[0],
        change=change,
    )


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
    beta, w = cross.basis.beta_work(checked_beta(beta, cross.x_names)), weigh(cross, D, sigma2)
    return cross.basis.Rx.T @ (w.XtVy - w.XtVX @ beta)


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
    cross: CrossProducts, D, sigma2: float, *, method: str = "REML", kind: str = "expected"
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
    return information_of(directions(cross, D, sigma2), method, kind)


def information_of(d: Directions, method: str, kind: str) -> np.ndarray:
    """:func:`information_variance` by the parameters that the directions are those of."""
    p, trace = len(d.R_inverse), d.trace2
    X, r = d.P[:, :p, :p], d.P[:, :p, p]
    if method == "REML":  # tr(P Vr P Vs) written out, P the projection and not d.P
        trace = trace - 2 * d.QX + np.einsum("rxy,sxy->rs", X, X)
    expected = (trace + trace.T) / 4
    return expected if kind == "expected" else (d.Qr + d.Qr.T) / 2 - r @ r.T - expected


def inverse(information: np.ndarray) -> np.ndarray | None:
    """Inverse of an information matrix, whatever its units; None if it has a direction without curvature."""
    scale = np.sqrt(np.abs(np.diag(information)))
    relative = information / np.outer(scale, scale)
    curved = np.linalg.eigvalsh(relative).min() > 1e-10
    return np.linalg.inv(relative) / np.outer(scale, scale) if curved else None


def score_variance(cross: CrossProducts, D, sigma2: float, *, method: str = "REML") -> np.ndarray:
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
    trace = d.trace1 - (np.einsum("rxx->r", d.P[:, :-1, :-1]) if method == "REML" else 0.0)
    return 0.5 * (d.P[:, -1, -1] - trace)
