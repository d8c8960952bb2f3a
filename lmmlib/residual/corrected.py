r"""What estimating D and R adds to the errors of predictions (Kackar and Harville 1984; Prasad and Rao 1990).

A prediction :math:`x'\hat\beta + c'V_i^{-1}(y_i - X_i\hat\beta)`, with c the covariance of its target with the rows of
group i, has derivatives :math:`m_r'Py` by the parameters :math:`\alpha_r` of V; their estimation adds to first order

.. math:: \sum_{r,s}A_{rs}\,m_r'Pm_s, \qquad m_r = \dot c_r - \dot V_r(V_i^{-1}c + V^{-1}X\Phi d), \quad
    d = x - X_i'V_i^{-1}c

A being their covariance by the expected information of REML. It is added twice, as in :eq:`prasad-rao`: once for what
they are off, and once because the error for known parameters is too small by as much where they are estimated. That is
exact to this order where V and c are linear in the parameters; second derivatives, of ``ar1`` and of targets that hold
residuals, are left out, as with them the sum may be negative.
"""

from __future__ import annotations

import numpy as np

from lmmlib.residual.fitted import ResidualFitted


def slopes_of_D(fit: ResidualFitted) -> np.ndarray:
    """Derivatives of D by the natural parameters, (k, q, q)."""
    slopes = np.zeros((len(fit.alpha), *fit.D.shape))
    slopes[: fit.model.n_D] = fit.model.unit**2 * fit.cross.basis.D_back(fit.cross.D_coordinates)
    return slopes


def estimation_covariance(
    fit: ResidualFitted, b: int, pattern: np.ndarray, V, X, c: np.ndarray, dc: np.ndarray, x: np.ndarray | None = None
) -> np.ndarray:
    """What estimating D and R adds to the covariance of T errors of each of some groups, once, (some, T, T).

    Of a batch by its number ``b`` some groups with their ``pattern`` (some,), V (some, size, size) and X (some, size,
    p) in the working basis; of the targets ``c`` (some, size, T), covariances with the responses, ``dc`` (k, some,
    size, T), their derivatives, and ``x`` (some, T, p), or None where beta is taken as known.
    """
    e, slopes = fit.expected, fit.model.unit**2 * fit.model.slopes(b, fit.alpha)[:, pattern]
    own = dc - slopes @ np.linalg.solve(V, c)
    Vown = np.linalg.solve(V, own)
    total = np.einsum("rs,rnit,sniu->ntu", e.A, own, Vown, optimize=True)
    if x is None:
        return total
    VX = np.linalg.solve(V, X @ e.R_inverse)
    d, of_X = x @ e.R_inverse - np.einsum("nit,nip->ntp", c, VX), np.einsum("kniq,nip->knqp", own, VX)
    # Of all groups -V_r V^-1 X R^-1 d', of which these are the rows of group i, and X'V^-1 times all is -P_r d'.
    rest, P_d = -np.einsum("knij,njp,ntp->knit", slopes, VX, d), -np.einsum("kpq,ntq->kntp", e.slopes, d)
    side = np.einsum("rs,rnit,sniu->ntu", e.A, Vown, rest, optimize=True)
    side -= np.einsum("rs,rntp,snup->ntu", e.A, of_X, P_d, optimize=True)
    total += side + np.swapaxes(side, 1, 2) + d @ e.spread @ np.swapaxes(d, 1, 2)
    return total - np.einsum("rs,rntp,snup->ntu", e.A, of_X, of_X, optimize=True)
