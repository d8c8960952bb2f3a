r"""Wald inference for fixed effects: t and F with Satterthwaite or Kenward-Roger degrees of freedom, or z."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from lmmlib.common.arguments import checked_choice, checked_made
from lmmlib.common.summary import Shown, Summary
from lmmlib.common.tails import f_tail
from lmmlib.common.text import fixed, p_equals
from lmmlib.design.basis import divide
from lmmlib.design.cross import CrossProducts
from lmmlib.design.identify import require_identified
from lmmlib.equations.information import Directions, directions, information_of, inverse
from lmmlib.equations.wald_tests import TIED, checked_rows, independent
from lmmlib.equations.weighted import weigh
from lmmlib.errors import DesignError


def _variance_of_parameters(cross: CrossProducts, d: Directions, kind: str) -> np.ndarray:
    information = information_of(d, "REML", kind)
    # A diagonal of rounding errors beside what ML would know means that the fixed effects leave nothing to see.
    seen = (np.diag(information) > 1e-10 * np.diag(d.trace2)).all()
    A = inverse(information) if seen else None
    if A is None:
        require_identified(cross)
        why = "D is beyond the digits of its information; use fewer random columns or fixed effects between groups"
        if kind == "observed":
            why = (
                "they are no interior REML optimum; "
                "satterthwaite with kind='expected' and contrasts of a fit with df='kenward-roger' need less"
            )
        raise DesignError(f"the {kind} information on the variance parameters is not positive definite here: {why}")
    return A


class Degrees(ABC):
    r"""Satterthwaite's and Kenward and Roger's df of all contrasts of a fit, from what they share.

    Columns of X may be those of any basis: ``Rx`` turns those of the basis into those of the formula, X = X~ Rx, and
    the other arrays are in the basis. With :math:`R_X` the factor of :math:`X'V^{-1}X = R_X'R_X`: ``R_inverse`` (p, p)
    is :math:`R_X^{-1}`; ``slopes`` (k, p, p): :math:`R_X^{-1\prime}X'V^{-1}\dot V_rV^{-1}XR_X^{-1}`; ``A`` (k, k): the
    covariance of the variance parameters; ``adjustment`` (p, p): half of what Kenward and Roger add to the covariance
    of beta, between :math:`R_X^{-1}` and its transpose; ``gram`` (p, p): X'X; ``beta`` (p,): of the formula.
    """

    Rx: np.ndarray
    R_inverse: np.ndarray
    slopes: np.ndarray
    A: np.ndarray
    gram: np.ndarray
    beta: np.ndarray

    @property
    @abstractmethod
    def adjustment(self) -> np.ndarray:
        """Half of what Kenward and Roger add to the covariance of beta, (p, p)."""

    def satterthwaite(self, L: np.ndarray) -> float:
        """:func:`satterthwaite` of rows (rows, p)."""
        return _satterthwaite(self, _standard_rows(self.gram, divide(independent(L)[0], self.Rx)))

    def kenward_roger(self, L: np.ndarray, null=0.0) -> KenwardRoger:
        """:func:`kenward_roger` of rows (rows, p); ``A`` must be of the expected information."""
        L, null = independent(L, null)
        back = divide(np.eye(len(self.Rx)), self.Rx) @ self.R_inverse
        rows, ell, adjusted = divide(L, self.Rx) @ self.R_inverse, len(L), np.eye(len(back)) + 2 * self.adjustment
        Theta = rows.T @ np.linalg.solve(rows @ rows.T, rows)
        T = Theta @ self.slopes
        trace = np.einsum("raa->r", T)
        A1, A2 = trace @ self.A @ trace, np.einsum("rs,rab,sba->", self.A, T, T)
        df, scale = _moments_match(A1, A2, ell)
        gap = L @ self.beta - null
        statistic = scale * float(gap @ np.linalg.solve(rows @ adjusted @ rows.T, gap)) / ell
        return KenwardRoger(back @ adjusted @ back.T, df, scale, statistic, f_tail(statistic, ell, df), ell)


@dataclass(frozen=True, eq=False)
class Curvature(Degrees):
    """What the df of all contrasts of one fit share; ``A`` is the covariance of the variance parameters."""

    cross: CrossProducts
    D: np.ndarray
    sigma2: float
    directions: Directions
    A: np.ndarray

    def __post_init__(self) -> None:
        d, p = self.directions, len(self.directions.R_inverse)
        shared = {"Rx": self.cross.basis.Rx, "R_inverse": d.R_inverse, "slopes": d.P[:, :p, :p], "beta": d.beta}
        vars(self).update(shared | {"gram": self.cross.work.XtX})

    @cached_property
    def W(self) -> np.ndarray:
        """Covariance of the entries of D over sigma2, (k-1, k-1), on which alone the estimates of beta and b depend."""
        change = self.directions.change[:, :-1]
        return change.T @ self.A @ change

    @cached_property
    def adjustment(self) -> np.ndarray:
        r"""Half of what Kenward and Roger add to the covariance of beta, for the columns of Directions, (p, p).

        .. math:: \sum_{r,s}W_{rs}(Q_{rs} - P_rP_s), \qquad P_r = \sum_iC_i'E_rC_i, \quad
            Q_{rs} = \sum_iC_i'E_rA_iE_sC_i

        with the sums by the entries of :math:`D/\sigma^2`; along V itself the term in brackets vanishes.
        :math:`C_i = Z_i'V_i^{-1}X_iR^{-1}` and :math:`A_i = Z_i'V_i^{-1}Z_i`.
        """
        d, w, p = self.directions, weigh(self.cross, self.D, self.sigma2), len(self.directions.R_inverse)
        E, P = self.cross.D_directions(working=True), self.sigma2 * d.P[:-1, :p, :p]
        C = w.ZtV(self.cross.work.ZtX @ (d.R_inverse / np.sqrt(self.sigma2)))
        A = self.cross.of_groups(w.A)
        total = -np.einsum("rs,rxy,syz->xz", self.W, P, P)
        for E_s, WE_s in zip(E, np.tensordot(self.W, E, 1), strict=True):
            EC, WEC = (np.einsum("ab,gbx->gax", M, C) for M in (E_s, WE_s))
            total += np.tensordot(WEC, np.einsum("gab,gbx->gax", A, EC), ([0, 1], [0, 1]))
        return (total + total.T) / 2


def curvature(cross: CrossProducts, D, sigma2: float, kind: str) -> Curvature:
    """The shared part, at REML estimates, with the observed or the expected information; raises as satterthwaite."""
    checked_choice("kind", kind, ("observed", "expected"))
    d = directions(cross, D, sigma2, working=True)

    def make() -> Curvature:
        return Curvature(cross, D, sigma2, d, _variance_of_parameters(cross, d, kind))

    return cross.once(kind, (np.asarray(D, float).tobytes(), sigma2), make)


def satterthwaite(cross: CrossProducts, L, D, sigma2: float, *, kind: str = "observed") -> float:
    r"""Satterthwaite degrees of freedom of a contrast at REML estimates of D and sigma2.

    .. math:: \nu = \frac{2\,(l'Cl)^2}{g'Ag}, \qquad g_r = \frac{\partial\, l'Cl}{\partial\alpha_r},
        \quad A = I_R(\alpha)^{-1}

    Equation :eq:`satterthwaite` of the book; Satterthwaite (1946). For several rows the df of eigen-contrasts are
    pooled as Fai and Cornelius (1996) do. Which contrasts these are must not depend on how the hypothesis is written,
    so they are those of :math:`LCL'` relative to :math:`L(X'X)^{-1}L'`: uncorrelated under the model and by least
    squares alike. Rows with the same span, and any coding or units of the columns of X, then have the same df. SAS and
    lmerTest take the eigenvectors of :math:`LCL'` itself, so that their df change with the rows: in a balanced design
    not at all, otherwise by some per cent.

    Parameters
    ----------
    cross : CrossProducts
    L : (p,) or (rows, p) array
    D : (q, q) array
        REML estimate; the observed information means little elsewhere.
    sigma2 : float
    kind : {"observed", "expected"}
        Information on the variance parameters.

    Returns
    -------
    float
        Denominator degrees of freedom.

    Raises
    ------
    DesignError
        If the information is not positive definite.
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    L = checked_rows(L, len(cross.x_names))
    return curvature(cross, D, sigma2, kind).satterthwaite(L)


def _standard_rows(gram: np.ndarray, L: np.ndarray) -> np.ndarray:
    """Rows of the working basis with the same span, uncorrelated and of one length by least squares."""
    root = solve_triangular(np.linalg.cholesky(gram), L.T, lower=True)
    return solve_triangular(np.linalg.qr(root, mode="r"), L, trans="T")


def _satterthwaite(at: Degrees, L: np.ndarray) -> float:
    """Satterthwaite's df of standard rows in the working basis."""
    rows, A = L @ at.R_inverse, at.A
    values, vectors = np.linalg.eigh(rows @ rows.T)
    slopes = rows @ at.slopes @ rows.T
    # Vectors of one eigenvalue are told apart by how it changes with the variance parameters.
    change = np.einsum("rs,rab,sbc->ac", A, slopes, slopes)
    for tied in np.split(np.arange(len(L)), np.flatnonzero(np.diff(values) > TIED * values[1:]) + 1):
        V = vectors[:, tied]
        vectors[:, tied] = V @ np.linalg.eigh(V.T @ change @ V)[1]
    g = np.einsum("am,rab,bm->rm", vectors, slopes, vectors)
    each = 2 * values**2 / np.einsum("rm,rs,sm->m", g, A, g)
    if len(each) == 1:
        return float(each[0])
    if np.ptp(each) < TIED * each.max():
        return float(np.mean(each))
    # E[F] of the pooled statistic; rows with no more than 2 df have no mean and leave 2 in all.
    if each.min() <= 2:
        return 2.0
    total = (each / (each - 2)).sum()
    return float(2 * total / (total - len(each)))


@dataclass(frozen=True, repr=False)
class KenwardRoger(Shown):
    """Kenward-Roger test: adjusted ``cov`` of beta, ``df``, ``scale`` of F, scaled F ``statistic``, ``p``, ``rows``."""

    cov: np.ndarray
    df: float
    scale: float
    statistic: float
    p: float
    rows: int

    def summary(self) -> Summary:
        """The test in a line."""
        test = f"KenwardRoger: F({self.rows}, {fixed(self.df, 2)}) = {fixed(self.statistic, 3)}, p {p_equals(self.p)}"
        return Summary((f"{test}, scale {fixed(self.scale, 4)}",))


def kenward_roger(cross: CrossProducts, L, D, sigma2: float, *, null=0.0) -> KenwardRoger:
    r"""Kenward-Roger test: a covariance corrected for the estimated D and sigma2, with matching F and df.

    .. math:: \Phi_A = \Phi + 2\Phi\Big\{\sum_{r,s} W_{rs}(Q_{rs} - P_r\Phi P_s)\Big\}\Phi, \qquad W = I_R^{-1}

    Equations :eq:`kenward-roger-covariance` and :eq:`kenward-roger-f` of the book; Kenward and Roger (1997).
    The second derivatives of V vanish, because V is linear in D and sigma2.

    Parameters
    ----------
    cross : CrossProducts
    L : (p,) or (rows, p) array
    D : (q, q) array
        REML estimate.
    sigma2 : float
    null : float or (rows,) array

    Returns
    -------
    KenwardRoger

    Raises
    ------
    DesignError
        If the expected information is not positive definite.
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    L = checked_rows(L, len(cross.x_names))
    return curvature(cross, D, sigma2, "expected").kenward_roger(L, null)


def _moments_match(A1: float, A2: float, ell: int) -> tuple[float, float]:
    """df and scale for which the scaled F has the mean and variance of an F; Kenward and Roger (1997)."""
    if ell == 1:
        # A1 = A2 here, and the formulas below reduce to Satterthwaite's df; at 2 and 4 df they read 0 / 0.
        return float(2 / A2), 1.0
    if abs(1 - A2 / ell) < 1e-5:
        # F with 2 df has no mean: 0 / 0, with limits along the ray of A1 and A2, on which the df change.
        near = [_moments_match(A1 * (1 + e), A2 * (1 + e), ell) for e in (-1e-4, 1e-4)]
        return (near[0][0] + near[1][0]) / 2, (near[0][1] + near[1][1]) / 2
    B = (A1 + 6 * A2) / (2 * ell)
    g = ((ell + 1) * A1 - (ell + 4) * A2) / ((ell + 2) * A2)
    denominator = 3 * ell + 2 * (1 - g)
    c1, c2, c3 = g / denominator, (ell - g) / denominator, (ell + 2 - g) / denominator
    mean = 1 / (1 - A2 / ell)
    with np.errstate(divide="ignore"):  # an infinite variance means 4 df
        variance = 2 / ell * np.divide(1 + c1 * B, (1 - c2 * B) ** 2 * (1 - c3 * B))
    rho = variance / (2 * mean**2)
    df = 4 + (ell + 2) / (ell * rho - 1)
    return float(df), float(df / (mean * (df - 2)))
