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
from functools import cached_property

import numpy as np

from lmmlib.equations.blup import conditional_covariance, estimation_covariance, random_effects
from lmmlib.equations.effects import Effects, labelled
from lmmlib.equations.weighted import Weighted, weigh
from lmmlib.errors import DesignError
from lmmlib.fitting.fitted import Fitted


@dataclass(frozen=True, eq=False, repr=False)
class Blups(Effects):
    """Predictions of the random effects of every group; their errors are computed when they are asked for.

    Attributes
    ----------
    b : DataFrame
        Predictions, a row for each group and a column for each random effect.
    fit : Fit
        Whose they are.
    """

    ERRORS = ("known", "pev", "corrected")
    USUAL = "pev"
    fit: Fitted

    @cached_property
    def known(self) -> np.ndarray:
        """Covariance of the error, all parameters known, (n_groups, q, q)."""
        _, D, sigma2 = self.fit.estimates
        return conditional_covariance(self.fit.cross, D, sigma2)

    @cached_property
    def pev(self) -> np.ndarray:
        """Covariance of the error, beta estimated too, (n_groups, q, q): the prediction error variance."""
        return self.known + np.einsum("gax,gxb->gab", *self._T_PhiT)

    @property
    def corrected(self) -> np.ndarray:
        """Covariance of the error, D and sigma2 estimated too, (n_groups, q, q); NaN where ``note`` says why."""
        return self.pev + 2 * self._estimated[0]

    @property
    def note(self) -> str:
        """Why the rows do not identify how far D and sigma2 are off; empty where they do."""
        return self._estimated[1]

    @property
    def cov_beta_b(self) -> np.ndarray:
        """Covariance of the errors of beta and of b_i, D and sigma2 known, (n_groups, p, q)."""
        return -self.fit.cross.basis.x_back @ self._T_PhiT[1]

    @property
    def shrinkage(self) -> np.ndarray:
        """The weight :eq:`shrinkage-weight` that b_i gives to the group's own data, (n_groups, q, q).

        The prediction is this times the group's own estimate.
        """
        cross = self.fit.cross
        return cross.basis.L_back(self._weighted.DZtV(cross.work.ZtZ)) @ cross.basis.Rz

    def covariance(self, error: str | None = None) -> np.ndarray:
        """Covariances of the error by name, (n_groups, q, q): "known", "pev" (the usual one) or "corrected"."""
        covariance = super().covariance(error)
        if error == "corrected" and self.note:
            raise DesignError(f"{self.note}; error='pev' takes them as known")
        return covariance

    @property
    def _weighted(self) -> Weighted:
        _, D, sigma2 = self.fit.estimates
        return weigh(self.fit.cross, D, sigma2)

    @cached_property
    def _T_PhiT(self) -> tuple[np.ndarray, np.ndarray]:
        """T_i (n_groups, q, p) and Phi T_i' (n_groups, p, q), X in the working basis."""
        cross, w = self.fit.cross, self._weighted
        T = cross.basis.L_back(w.DZtV(cross.work.ZtX))
        return T, np.einsum("xy,gay->gxa", self.fit.Phi, T)

    @cached_property
    def _estimated(self) -> tuple[np.ndarray, str]:
        """What estimating D and sigma2 adds to the errors; or NaN, and why the rows do not identify it."""
        try:
            return estimation_covariance(self.fit.expected), ""
        except DesignError as error:
            return np.full_like(self.known, np.nan), str(error)


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
    return Blups(labelled(fit.design, random_effects(fit.cross, *fit.estimates)), fit)
