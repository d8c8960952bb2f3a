r"""Do the responses vary more than their family says about the means that the fit gives them?"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from lmmlib.common.arguments import checked_count
from lmmlib.common.summary import Shown, Summary
from lmmlib.common.text import fixed
from lmmlib.common.text import p as p_value
from lmmlib.errors import DesignError
from lmmlib.glmm.estimate import refit, simulate
from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.glmm.laplace import of_joint, over_groups


@dataclass(frozen=True, repr=False)
class Dispersion(Shown):
    """Pearson's statistic of the conditional residuals: ``pearson``, its ``df``, ``ratio``, ``z`` and ``p``."""

    pearson: float
    df: float
    ratio: float
    z: float
    p: float

    def summary(self) -> Summary:
        """The statistic in one line."""
        p = p_value(self.p)
        line = (
            f"Dispersion: Pearson {fixed(self.pearson, 2)} on {fixed(self.df, 2)} df, ratio {fixed(self.ratio, 3)}, "
            f"z = {fixed(self.z, 2)}, p {p.replace('<', '< ') if p.startswith('<') else '= ' + p}"
        )
        return Summary((line,))


def effective_parameters(fit: FittedGlmm) -> float:
    r"""Effective number of fixed and random effects: the trace of the hat matrix of the last Newton step.

    .. math:: \operatorname{tr}\{(J + P)^{-1}J\}

    where J is the information of the responses on (beta, u), and P is one for each u and zero for beta. Between p,
    where D is zero, and p + nq.
    """
    (q, n), p = fit.inner.u.shape, len(fit.beta)
    lost = np.einsum("aan->", fit.inner.inverse)
    if p:
        back = over_groups(fit.slopes.du, fit.slopes.du)
        lost -= np.trace(np.linalg.solve(of_joint(fit.slopes)[:p, :p], back[:p, :p]))
    return float(p + n * q - lost)


def overdispersion(
    fit: FittedGlmm, size: int | None = None, rng: np.random.Generator | int | None = None
) -> Dispersion:
    r"""Pearson's statistic about the conditional means, against what counts of the family give.

    .. math:: X^2 = \sum \frac{(y - \hat\mu)^2}{\hat\kappa_2}, \qquad
        z = \frac{X^2 - \nu}{\sqrt{\sum (2 + \hat\kappa_4/\hat\kappa_2^2)\,\nu/N}}

    with :math:`\nu` the number of rows less :func:`effective_parameters`. The square of a Pearson residual has mean 1
    and variance :math:`2 + \kappa_4/\kappa_2^2`, of a Poisson count :math:`2 + 1/\mu`, which makes z usable where
    counts are low and :math:`\chi^2_\nu` is not. p is that of an excess. A ratio well above 1 says that rows vary more
    than the family: add a random effect for each row, or use a model with a variance of its own.

    Modes are drawn towards zero, so with few and low counts a group the ratio tends to lie below 1 and z to say too
    little. With ``size`` the ratio is compared with those of data sets that the fit simulates, each fitted anew.

    Parameters
    ----------
    size : int, optional
        Simulated data sets.
    rng : Generator or int, optional
        For them.

    Returns
    -------
    Dispersion
        With ``size``, z is by the mean and standard deviation of the simulated ratios, and p the share of them, the
        data's own counted too, that are no smaller.

    Raises
    ------
    DesignError
        If every response is of one trial, whose variance follows from its mean: :eq:`binomial-overdispersion`.
    """
    if not fit.rows.family.dispersed:
        raise DesignError(
            f"each response of {fit.design.response!r} is of one trial, which cannot vary more than its mean says; "
            "overdispersion can be seen in numbers of successes of several trials"
        )
    d = pearson_statistic(fit)
    if size is None:
        return d
    ratios = []
    for y in simulate(fit, checked_count("size", size), rng).T:
        with suppress(DesignError):  # all counts zero, or separated
            ratios.append(pearson_statistic(refit(fit, y)).ratio)
    if len(ratios) < 2:
        raise DesignError("the data sets that the fit simulates cannot be fitted: their counts are too low")
    p = (1 + np.sum(np.array(ratios) >= d.ratio)) / (1 + len(ratios))
    return replace(d, z=float((d.ratio - np.mean(ratios)) / np.std(ratios, ddof=1)), p=float(p))


def pearson_statistic(fit: FittedGlmm) -> Dispersion:
    """:func:`overdispersion` without simulated data sets."""
    family, mu = fit.rows.family, fit.inner.mu
    variance, _, fourth = family.cumulants(mu)
    pearson = float(((family.y - mu) ** 2 / variance).sum())
    df = fit.n_obs - effective_parameters(fit)
    if df <= 0:
        return Dispersion(pearson, df, float("nan"), float("nan"), float("nan"))
    z = float((pearson - df) / np.sqrt((2 + fourth / variance**2).mean() * df))
    return Dispersion(pearson, df, pearson / df, z, float(ndtr(-z)))
