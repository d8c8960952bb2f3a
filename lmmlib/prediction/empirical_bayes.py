r"""Empirical Bayes and its repairs: what is known of the random effects when D and sigma2 are estimated.

The law of b given y averages the law of b given y and alpha = (D, sigma2) over what is known of alpha. The plug-in
answer puts all of alpha at its estimate, and so leaves out one of the two terms of :eq:`total-variance`. Here are that
answer and four that put the term back: the corrected error, the delta method, the bootstrap, and a prior for alpha.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, checked_level, checked_made, shown
from lmmlib.design.responses import Responses
from lmmlib.equations.effects import Effects, labelled
from lmmlib.equations.information import directions
from lmmlib.equations.weighted import weigh
from lmmlib.errors import DesignError, ParameterError
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.bootstrap import parametric_bootstrap
from lmmlib.prediction.blups import blups
from lmmlib.prediction.mixture import Mixture, averaged, total_moments
from lmmlib.prediction.ratio import ratio_posterior

__all__ = [
    "Posterior",
    "kass_steffey",
    "laird_louis",
    "plug_in",
    "prediction_derivatives",
    "quadrature",
    "total_moments",
]


@dataclass(frozen=True, eq=False, repr=False)
class Posterior(Effects):
    """What is known of the random effects of every group.

    Attributes
    ----------
    b : DataFrame
        Means, a row for each group and a column for each random effect.
    cov : (n_groups, q, q) array
        Covariances.
    method : str
        Whose answer it is.
    mixture : Mixture or None
        The law of each random effect, where it is a mixture; None where it is taken to be normal.
    n_failed : int
        Refits of a bootstrap that found no optimum and were left out.
    """

    ERRORS = ("cov",)
    USUAL = "cov"
    cov: np.ndarray
    method: str
    mixture: Mixture | None = None
    n_failed: int = 0

    @property
    def law(self) -> str:
        """Which quantiles the intervals are made of."""
        return "normal" if self.mixture is None else f"quantiles of the {str(self.mixture).partition(',')[0].lower()}"

    def limits(self, level: float = 0.95, error: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Equal-tailed limits of each effect by ``law``, labelled as ``b``."""
        if self.mixture is None:
            return super().limits(level, error)
        p = (1 + checked_level(level)) / 2
        return self._labelled(self.mixture.quantile(1 - p)), self._labelled(self.mixture.quantile(p))

    def __repr__(self) -> str:
        failed = f"; {self.n_failed} refits failed and are left out" if self.n_failed else ""
        return f"{self._counted}: {self.method} ({self.law}){failed}"


def plug_in(fit: Fitted, error: str = "known") -> Posterior:
    r"""Empirical Bayes: the law of b given y with the estimates in the place of the parameters.

    .. math:: b_i \mid y \approx
        N\big(\hat b_i,\; \operatorname{Var}(b_i \mid y;\, \hat\beta, \hat D, \hat\sigma^2)\big)

    Equation :eq:`plug-in` of the book; its intervals are too short, and points where D is estimated by zero. The other
    errors of :func:`lmmlib.prediction.blups.blups` may take the place of the variance; only "corrected" is above zero
    there.

    Parameters
    ----------
    fit : Fit
    error : {"known", "pev", "corrected"}
        All parameters taken as known; beta estimated; or D and sigma2 estimated too, :eq:`prasad-rao`.

    Returns
    -------
    Posterior
        With normal intervals.
    """
    checked_made("fit", fit, Fitted, "fit")
    predicted = blups(fit)
    return Posterior(predicted.b, predicted.covariance(error), f"plug-in, error {error}")


def prediction_derivatives(fit: Fitted, working: bool = False) -> np.ndarray:
    r"""Derivatives of the predictions by the variance parameters (vech D, sigma2), beta following by GLS.

    .. math:: \frac{\partial\hat b_i}{\partial\alpha_r} = \dot D_rZ_i'V_i^{-1}\hat r_i
        - DZ_i'V_i^{-1}\dot V_{ir}V_i^{-1}\hat r_i + T_i\Phi\sum_jX_j'V_j^{-1}\dot V_{jr}V_j^{-1}\hat r_j

    with :math:`\hat r = y - X\hat\beta`, :math:`T_i = DZ_i'V_i^{-1}X_i` and :math:`\Phi = (X'V^{-1}X)^{-1}`: what
    equation :eq:`kass-steffey` of the book needs.

    Parameters
    ----------
    fit : Fit
    working : bool
        By the entries of D in the working basis of the cross-products instead of D itself.

    Returns
    -------
    (k, n_groups, q) array
    """
    checked_made("fit", fit, Fitted, "fit")
    checked_choice("working", working, (True, False))
    cross, (_, D, sigma2), base, basis = fit.cross, fit.estimates, fit.cross.work, fit.cross.basis
    w, d = weigh(cross, D, sigma2), fit.directions if working else directions(cross, D, sigma2)
    U, K, E = cross.of_groups(w.U), cross.of_groups(w.K), cross.D_directions(working)
    r = base.Zty - base.ZtX @ basis.beta_work(d.beta)
    u = w.ZtV(r[..., None])[..., 0] / sigma2  # Z_i'V_i^-1 r_i
    by_D = np.einsum("gab,rgb->rga", U, np.einsum("rab,gb->rga", E, u))
    by_sigma2 = -np.einsum("gab,gb->ga", K, u)
    by_beta = np.einsum("gax,rx->rga", w.DZtV(base.ZtX @ d.R_inverse), d.P[:, :-1, -1])
    return basis.b_back(np.concatenate([by_D, by_sigma2[None]]) + by_beta)


def kass_steffey(fit: Fitted) -> Posterior:
    r"""Empirical Bayes with the variance that estimating D and sigma2 adds, to first order at the data at hand.

    .. math:: \operatorname{Var}(b_i \mid y) \approx \operatorname{Var}(b_i \mid y, \hat\alpha)
        + \sum_{r,s} W_{rs}\frac{\partial\hat b_i}{\partial\alpha_r}\frac{\partial\hat b_i'}{\partial\alpha_s}

    Equation :eq:`kass-steffey` of the book; Kass and Steffey (1989). The first term is the prediction error variance,
    that is, beta has a flat prior; W is the inverse of the observed REML information on :math:`\alpha`, or of the
    expected one where D is singular or the fit is by ML.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    Posterior
        With normal intervals.

    Raises
    ------
    DesignError
        If the information on D and sigma2 is singular.
    """
    checked_made("fit", fit, Fitted, "fit")
    W = (fit.expected if fit.is_singular or fit.method == "ML" else fit.observed).A
    slopes, predicted = prediction_derivatives(fit, working=True), blups(fit)
    return Posterior(predicted.b, predicted.pev + np.einsum("rs,rga,sgb->gab", W, slopes, slopes), "Kass-Steffey")


def laird_louis(fit: Fitted, size: int, rng: np.random.Generator | int) -> Posterior:
    r"""Empirical Bayes with the spread of estimates of all parameters, by the parametric bootstrap.

    .. math:: p(b_i \mid y) \approx \frac1S\sum_s N\big(b_i;\; E(b_i \mid y, \theta_s^*),\;
        \operatorname{Var}(b_i \mid y, \theta_s^*)\big)

    Equation :eq:`laird-louis` of the book, with :math:`\theta_s^* = (\beta, D, \sigma^2)` the estimates from data that
    the fit simulates, and y the original data: the type III bootstrap of Laird and Louis (1987). Mean and covariance
    are those of :func:`total_moments`.

    Parameters
    ----------
    fit : Fit
    size : int
        Number of simulated data sets S.
    rng : Generator, or int, its seed

    Returns
    -------
    Posterior
        Its intervals are quantiles of the mixture.

    Raises
    ------
    DesignError
        If no refit found an optimum.
    """
    checked_made("fit", fit, Fitted, "fit")
    fits, cross = parametric_bootstrap(fit, size, rng), fit.cross
    good = np.flatnonzero(~fits.failed)
    if not len(good):
        raise DesignError(f"none of {size} refits found an optimum: {fits.reason[0]}")
    b, cov, mixture = averaged(cross, fits.beta[good], fits.D[good], fits.sigma2[good])
    return Posterior(labelled(fit.design, b), cov, f"Laird-Louis, {size} refits", mixture, size - len(good))


def quadrature(fit: Fitted, prior: str = "uniform") -> Posterior:
    r"""The fully Bayesian answer for one random column, by quadrature.

    .. math:: p(b_i \mid y) = \int p(b_i \mid y, \lambda)\, p(\lambda \mid y)\, d\lambda, \qquad
        p(\beta, \sigma^2, \tau) \propto \frac1{\sigma^2}, \quad \lambda = \tau/\sigma

    Equation :eq:`bayes-quadrature` of the book; :func:`lmmlib.prediction.ratio.ratio_posterior` does it, and says how.
    The data alone are used, not the estimates of the fit. The posterior is proper if n_groups less the number of fixed
    effects that are constant within groups is at least 2. If there are such effects and it is below 4, the standard
    errors are infinite; the limits are finite always.

    Parameters
    ----------
    fit : Fit
        With one random column.
    prior : {"uniform"}
        Of the standard deviation tau.

    Returns
    -------
    Posterior
        Its intervals are quantiles of the mixture.

    Raises
    ------
    DesignError
        If there is not one random column, or the posterior is improper.
    ParameterError
        For a prior that is not offered, 1/tau and 1/tau^2 among them.
    """
    if not isinstance(prior, str) or prior != "uniform":
        raise ParameterError(
            f"prior is 'uniform' in tau; got {shown(prior)}. Densities such as 1/tau or 1/tau^2 give an improper "
            "posterior: the likelihood does not vanish at tau = 0, where their integral is infinite"
        )
    checked_made("fit", fit, Fitted, "fit")
    found = ratio_posterior(fit.cross, Responses.of_cross(fit.cross))
    b, variance = found.moments()
    m = found.mixture
    one = replace(m, means=m.means[:, 0, :, None], scales=m.scales[:, 0, :, None], weights=m.weights[:, 0, :, None])
    return Posterior(labelled(fit.design, b.T), variance[0, :, None, None], "Bayes by quadrature", one)
