r"""What estimating D and R adds to the errors of predictions (Kackar and Harville 1984; Prasad and Rao 1990).

A prediction :math:`x'\hat\beta + c'V_i^{-1}(y_i - X_i\hat\beta)`, with c the covariance of its target with the rows of
group i, has derivatives :math:`m_r'Py` by the parameters :math:`\alpha_r` of V; their estimation adds to first order

.. math:: \sum_{r,s}A_{rs}\,m_r'Pm_s, \qquad m_r = \dot c_r - \dot V_r(V_i^{-1}c + V^{-1}X\Phi d), \quad
    d = x - X_i'V_i^{-1}c

A being their covariance by the expected information of REML: once by what they are off, and once because the error for
known parameters is too small by as much where they are estimated, as in :eq:`prasad-rao`. Where V or c is not linear in
the parameters that error is off by half of its own second derivatives too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmmlib.residual.fitted import ResidualFitted


class Targets(NamedTuple):
    """T targets each of rows or groups, and what they are predicted from.

    ``V`` (rows, size, size) and ``X`` (rows, size, p) of the group; ``slopes`` (k, rows, size, size), derivatives of V,
    ``bends`` (rows, size, size), the sum of A times its second ones; ``c`` (rows, size, T), covariances of the targets
    with the responses, ``dc`` (k, rows, size, T) and ``bent`` (rows, size, T) likewise; ``x``
    (rows, T, p), or None where beta is taken as known.
    """

    V: np.ndarray
    X: np.ndarray
    slopes: np.ndarray
    bends: np.ndarray
    c: np.ndarray
    dc: np.ndarray
    bent: np.ndarray
    x: np.ndarray | None = None


def slopes_of(fit: ResidualFitted, b: int, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of V by alpha (k, rows, size, size), and the sum of A times the second ones, of patterns."""
    unit2, A = fit.model.unit**2, fit.expected.A
    return unit2 * fit.model.slopes(b, fit.alpha)[:, pattern], unit2 * fit.model.bends(fit.alpha, A)[b][pattern]


def added(fit: ResidualFitted, t: Targets) -> np.ndarray:
    """What the covariance of the errors for known parameters lacks, (rows, T, T)."""
    A, R, P = fit.expected.A, fit.expected.R_inverse, fit.expected.slopes
    VX, Vc = (np.linalg.solve(t.V, part) for part in (t.X @ R, t.c))
    own = t.dc - t.slopes @ Vc
    Vown = np.linalg.solve(t.V, own)
    plain = np.einsum("rs,rnit,sniu->ntu", A, own, Vown, optimize=True)
    if t.x is None:
        bent = np.swapaxes(Vc, 1, 2) @ t.bends @ Vc - 2 * np.swapaxes(Vc, 1, 2) @ t.bent
        return 2 * plain - (bent + np.swapaxes(bent, 1, 2)) / 4
    d = t.x @ R - np.einsum("nit,nip->ntp", t.c, VX)
    of_X = np.einsum("kniq,nip->knqp", own, VX)
    # Of all groups: -V_r V^-1 X R^-1 d', in group i these rows, with X'V^-1 times all -P_r d'.
    rest, P_d = -np.einsum("knij,njp,ntp->knit", t.slopes, VX, d), -np.einsum("kpq,ntq->kntp", P, d)
    plain -= np.einsum("rs,rntp,snup->ntu", A, of_X, of_X, optimize=True)
    side = np.einsum("rs,rnit,sniu->ntu", A, Vown, rest, optimize=True)
    side -= np.einsum("rs,rntp,snup->ntu", A, of_X, P_d, optimize=True)
    total = plain + side + np.swapaxes(side, 1, 2)
    bent = np.einsum("nit,nij,nju->ntu", Vc, t.bends, Vc + 2 * np.einsum("nip,nup->niu", VX, d))
    bent -= 2 * np.einsum("nit,niu->ntu", Vc + np.einsum("nip,ntp->nit", VX, d), t.bent)
    return 2 * total - (bent + np.swapaxes(bent, 1, 2)) / 4 + 2 * d @ fit.expected.adjustment @ np.swapaxes(d, 1, 2)
