r"""Best linear unbiased predictions of the random effects, with three errors that say what they take as known.

With :math:`T_i = DZ_i'V_i^{-1}X_i` and :math:`\Phi = (X'V^{-1}X)^{-1}`, the error :math:`\hat b_i - b_i` has covariance

* everything known: :math:`D - DZ_i'V_i^{-1}Z_iD = \operatorname{Var}(b_i \mid y)`, equation :eq:`conditional-variance`;
* beta estimated: that plus :math:`T_i\Phi T_i'`, equation :eq:`prediction-error-variance`;
* D and sigma2 estimated too, equation :eq:`prasad-rao`: that plus twice :math:`\sum_{rs} W_{rs}\dot S_rV_i\dot S_s'`,
  where :math:`S = DZ_i'V_i^{-1}` and W is the covariance of the variance parameters (Kackar and Harville 1984; Prasad
  and Rao 1990). Once is what the estimates add to the error, and once what the second line loses by using them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular
from scipy.stats import norm

from lmmlib.common.arguments import checked_choice, checked_level, standard_deviations
from lmmlib.design.cross import CrossProducts
from lmmlib.errors import DesignError
from lmmlib.fitted import Fitted
from lmmlib.inference import curvature
from lmmlib.weighted import Weighted, weigh

ERRORS = ("known", "pev", "corrected")


@dataclass(frozen=True, eq=False)
class Blups:
    """Predictions of the random effects of every group.

    Attributes
    ----------
    b : DataFrame
        Predictions, a row for each group and a column for each random effect.
    known, pev, corrected : (n_groups, q, q) arrays
        Covariances of the error: all parameters known, beta estimated, D and sigma2 estimated too.
    cov_beta_b : (n_groups, p, q) array
        Covariance of the errors of beta and of b_i, D and sigma2 known.
    shrinkage : (n_groups, q, q) array
        The weight :eq:`shrinkage-weight` that b_i gives to the group's own data: the prediction is this times the
        group's own estimate.
    note : str
        Why ``corrected`` is NaN where the rows do not identify how far D and sigma2 are off; otherwise empty.
    """

    b: pd.DataFrame
    known: np.ndarray
    pev: np.ndarray
    corrected: np.ndarray
    cov_beta_b: np.ndarray
    shrinkage: np.ndarray
    note: str = ""

    def covariance(self, error: str = "pev") -> np.ndarray:
        """Covariances of the error by name, (n_groups, q, q); ``error`` is "known", "pev" or "corrected"."""
        checked_choice("error", error, ERRORS)
        if error == "corrected" and self.note:
            raise DesignError(f"{self.note}; error='pev' takes them as known")
        return getattr(self, error)

    def se(self, error: str = "pev") -> pd.DataFrame:
        """Standard errors, the roots of the diagonal of :meth:`covariance`, labelled as ``b``."""
        return pd.DataFrame(
            standard_deviations(self.covariance(error), "the random effects"), self.b.index, self.b.columns
        )

    def frame(self, error: str = "pev", level: float = 0.95) -> pd.DataFrame:
        """One row for each group and random effect: prediction, the three standard errors, normal limits by one."""
        reach = norm.ppf((1 + checked_level(level)) / 2) * self.se(error).to_numpy().ravel()
        index = pd.MultiIndex.from_product([self.b.index, self.b.columns], names=["group", "term"])
        b = self.b.to_numpy().ravel()
        errors = {f"se_{e}": standard_deviations(getattr(self, e), "the random effects").ravel() for e in ERRORS}
        return pd.DataFrame({"b": b, **errors, "lower": b - reach, "upper": b + reach}, index).reset_index()

    def __repr__(self) -> str:
        n, q = self.b.shape
        return f"Blups of {n} groups, {q} random effect{'s' * (q != 1)} each: {', '.join(map(str, self.b.columns))}"


@dataclass(frozen=True, eq=False)
class _Factors:
    """``half`` as in :class:`lmmlib.weighted.Weighted`, and ``half_b`` the same with the formula's D at its end."""

    w: Weighted
    half: np.ndarray
    half_b: np.ndarray
    index: np.ndarray

    @classmethod
    def of(cls, cross: CrossProducts, D, sigma2: float) -> _Factors:
        w, Rz = weigh(cross, D, sigma2), cross.basis.Rz
        half_b = np.swapaxes(np.linalg.solve(Rz, np.swapaxes(w.half, 1, 2)), 1, 2) if Rz.size else w.half
        return cls(w, w.half, half_b, cross.patterns[1])

    def times(self, M: np.ndarray) -> np.ndarray:
        """:math:`DZ_i'V_i^{-1}W_i` of each group from the Z_i'W_i (n_groups, q, columns) of the working basis."""
        return np.swapaxes(self.half_b, 1, 2)[self.index] @ (self.half[self.index] @ M)


def random_effects(cross: CrossProducts, beta, D, sigma2: float) -> np.ndarray:
    r"""Conditional means of the random effects given the data, (n_groups, q).

    .. math:: \hat b_i = E(b_i \mid y_i) = D Z_i'V_i^{-1}(y_i - X_i\beta)

    Equation :eq:`blup` of the book; at the GLS estimate of beta it is the best linear unbiased predictor.

    Parameters
    ----------
    cross : CrossProducts
    beta : (p,) array
    D : (q, q) array
        May be singular: b is zero in the directions without variance.
    sigma2 : float

    Returns
    -------
    (n_groups, q) array
    """
    base = cross.work
    Ztr = base.Zty - base.ZtX @ (cross.basis.Rx @ (np.asarray(beta) - cross.basis.beta0))
    return _Factors.of(cross, D, sigma2).times(Ztr[:, :, None])[:, :, 0]


def conditional_covariance(cross: CrossProducts, D, sigma2: float) -> np.ndarray:
    r"""Covariance of the random effects given the data, all parameters known, (n_groups, q, q).

    .. math:: \operatorname{Var}(b_i \mid y_i) = D - D Z_i'V_i^{-1}Z_iD
        = \sigma^2 \Lambda_D(\sigma^2 I + \Lambda_D'Z_i'Z_i\Lambda_D)^{-1}\Lambda_D', \qquad D = \Lambda_D\Lambda_D'

    Equation :eq:`conditional-variance` of the book; computed in the last form, which has no difference.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
    sigma2 : float

    Returns
    -------
    (n_groups, q, q) array
    """
    f = _Factors.of(cross, D, sigma2)
    return (sigma2 * (np.swapaxes(f.half_b, 1, 2) @ f.half_b))[f.index]


def estimation_error(cross: CrossProducts, D, sigma2: float) -> np.ndarray:
    r"""What estimating D and sigma2 by REML adds to the covariance of the prediction errors, (n_groups, q, q).

    .. math:: \sum_{r,s} W_{rs}\, \dot S_r V_i \dot S_s', \qquad S = DZ_i'V_i^{-1}, \quad W = I_R^{-1}

    Kackar and Harville (1984); the corrected error, equation :eq:`prasad-rao` of the book, holds it twice.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
        May be singular; at D = 0 it is what keeps the error from being zero.
    sigma2 : float

    Returns
    -------
    (n_groups, q, q) array

    Raises
    ------
    DesignError
        If the expected information on D and sigma2 is singular.
    """
    W, E = curvature(cross, D, sigma2, "expected").A, cross.D_directions(working=True)
    ZtZ, index = cross.patterns
    half, q, Rz = weigh(cross, D, sigma2).half, len(cross.z_names), cross.basis.Rz
    K = np.swapaxes(half, 1, 2) @ half
    D_work = Rz @ np.reshape(D, (q, q)) @ Rz.T
    F = (np.eye(q) - K @ ZtZ) / sigma2  # V^-1 Z = Z F
    A1 = ZtZ @ F
    A2 = A1 @ F
    U = np.eye(q) - K @ ZtZ  # I - D Z'V^-1 Z
    UE = U[:, None] @ E
    total = np.einsum("rs,prab,pbc,psdc->pad", W[:-1, :-1], UE, A1, UE, optimize=True)
    mixed = -np.einsum("r,prab,pbc,cd->pad", W[:-1, -1], UE, A2, D_work, optimize=True)
    total = total + mixed + np.swapaxes(mixed, 1, 2) + W[-1, -1] * (D_work @ A2 @ F @ D_work)
    back = np.linalg.solve(Rz, np.swapaxes(np.linalg.solve(Rz, total), 1, 2))
    return ((back + np.swapaxes(back, 1, 2)) / 2)[index]


def blups(fit: Fitted) -> Blups:
    r"""Best linear unbiased predictions of the random effects of a fit, with their errors.

    .. math:: \hat b_i = D Z_i'V_i^{-1}(y_i - X_i\hat\beta)

    Equation :eq:`blup` of the book; Robinson (1991). The errors are those at the head of this module.

    Parameters
    ----------
    fit : Fit
        By REML or ML; the corrected error uses the information of REML for both.

    Returns
    -------
    Blups
    """
    cross, D, sigma2 = fit.cross, fit.D.to_numpy(), fit.sigma2
    f, beta, Rx = _Factors.of(cross, D, sigma2), fit.beta.to_numpy(), cross.basis.Rx
    known = (sigma2 * (np.swapaxes(f.half_b, 1, 2) @ f.half_b))[f.index]
    T = f.times(cross.work.ZtX)
    Phi = np.linalg.inv(f.w.XtVX)
    pev = known + T @ Phi @ np.swapaxes(T, 1, 2)
    to_formula = solve_triangular(Rx, np.eye(len(Rx))) if Rx.size else Rx
    groups = pd.Index(fit.design.group_names, name=fit.design.grouping)
    b = pd.DataFrame(random_effects(cross, beta, D, sigma2), groups, list(fit.design.z_names))
    note = ""
    try:
        corrected = pev + 2 * estimation_error(cross, D, sigma2)
    except DesignError as error:
        corrected, note = np.full_like(pev, np.nan), str(error)
    return Blups(
        b=b,
        known=known,
        pev=pev,
        corrected=corrected,
        cov_beta_b=-to_formula @ Phi @ np.swapaxes(T, 1, 2),
        shrinkage=f.times(cross.work.ZtZ) @ cross.basis.Rz,
        note=note,
    )
