r"""The James-Stein estimator: empirical Bayes for means of known variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.common.arguments import checked_finite, checked_sigma2, numbers
from lmmlib.common.text import fixed
from lmmlib.errors import ParameterError


@dataclass(frozen=True, eq=False)
class JamesStein:
    """Shrunken means.

    Attributes
    ----------
    estimate : (k,) array
        The James-Stein estimate; may overshoot ``toward``.
    positive : (k,) array
        Its positive part, which stops there; its risk is smaller everywhere.
    toward : (k,) array
        Where to.
    factor : float
        Estimate of sigma2 / (sigma2 + tau2), the share of the way that the means are moved; may be above 1.
    """

    estimate: np.ndarray
    positive: np.ndarray
    toward: np.ndarray
    factor: float

    def __repr__(self) -> str:
        return f"JamesStein: {len(self.estimate)} means moved {fixed(self.factor, 4)} of the way"


def james_stein(y, sigma2: float, *, toward=None) -> JamesStein:
    r"""James-Stein estimate of k means, each observed once with the same known variance.

    .. math:: \hat\theta = m + (1 - \hat B)(y - m), \qquad \hat B = \frac{(k - 2)\,\sigma^2}{\lVert y - m\rVert^2}

    Equation :eq:`james-stein` of the book; James and Stein (1961). If :math:`\theta_i \sim N(m_i, \tau^2)`, then
    :math:`\lVert y - m\rVert^2/(\sigma^2 + \tau^2) \sim \chi^2_k`, and as :math:`E(1/\chi^2_k) = 1/(k - 2)`,
    :math:`\hat B` is an unbiased estimate of the weight :math:`\sigma^2/(\sigma^2 + \tau^2)` by which the posterior
    mean moves y to m: the estimator is a plug-in posterior mean. With the mean of y for m one degree of freedom is
    spent, and k - 3 takes the place of k - 2 (Efron and Morris 1973).

    Parameters
    ----------
    y : (k,) array
    sigma2 : float
        Variance of each y given its mean.
    toward : float, or one for each y, optional
        m, chosen without looking at y; by default the mean of y.

    Returns
    -------
    JamesStein

    Raises
    ------
    ParameterError
        If k is below 3, or below 4 with the mean of y: then shrinking does not help everywhere.
    """
    y, sigma2 = numbers(y, "y"), checked_sigma2(sigma2)
    y = checked_finite("y", y, (y.size,))
    spent, least = (3, 4) if toward is None else (2, 3)
    if len(y) < least:
        raise ParameterError(
            f"y must have at least {least} entries to shrink toward {'their mean' if toward is None else 'a point'}; "
            f"got {len(y)}"
        )
    target = np.mean(y) if toward is None else numbers(toward, "toward")
    m = np.broadcast_to(checked_finite("toward", target, () if np.ndim(target) == 0 else y.shape), y.shape)
    gap = y - m
    square = gap @ gap
    factor = float((len(y) - spent) * sigma2 / square) if square > 0 else np.inf
    # At y = m nothing is left to move.
    estimate = m + (1 - factor) * gap if square > 0 else m.copy()
    return JamesStein(estimate, m + max(0.0, 1 - factor) * gap, m, factor)
