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

from lmmlib.equations.blup import conditional_covariance, estimation_error, random_effects
from lmmlib.equations.effects import Effects
from lmmlib.equations.weighted import weigh
from lmmlib.errors import DesignError
from lmmlib.fitting.fitted import Fitted


@dataclass(frozen=True, eq=False, repr=False)
class Blups(Effects):
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

    ERRORS = ("known", "pev", "corrected")
    USUAL = "pev"
    known: np.ndarray
    pev: np.ndarray
    corrected: np.ndarray
    cov_beta_b: np.ndarray
    shrinkage: np.ndarray
    note: str = ""

    def covariance(self, error: str | None = None) -> np.ndarray:
        """Covariances of the error by name, (n_groups, q, q): "known", "pev" (the usual one) or "corrected"."""
        covariance = super().covariance(error)
        if error == "corrected" and self.note:
            raise DesignError(f"{self.note}; error='pev' takes them as known")
        return covariance


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
    cross, (beta, D, sigma2) = fit.cross, fit.estimates
    w, basis = weigh(cross, D, sigma2), cross.basis
    T, Phi = basis.L_back(w.DZtV(cross.work.ZtX)), np.linalg.inv(w.XtVX)
    PhiT = np.einsum("xy,gay->gxa", Phi, T)
    known = conditional_covariance(cross, D, sigma2)
    pev = known + np.einsum("gax,gxb->gab", T, PhiT)
    groups = pd.Index(fit.design.group_names, name=fit.design.grouping)
    note = ""
    try:
        corrected = pev + 2 * estimation_error(cross, D, sigma2)
    except DesignError as error:
        corrected, note = np.full_like(pev, np.nan), str(error)
    return Blups(
        b=pd.DataFrame(random_effects(cross, beta, D, sigma2), groups, list(fit.design.z_names)),
        known=known,
        pev=pev,
        corrected=corrected,
        cov_beta_b=-basis.x_back @ PhiT,
        shrinkage=basis.L_back(w.DZtV(cross.work.ZtZ)) @ basis.Rz,
        note=note,
    )
