"""Tails and quantiles of the normal, t, chi-square and F laws: ``scipy.stats`` has them too, but is slow to import."""

from __future__ import annotations

import numpy as np
from scipy.special import chdtrc, fdtrc, gammaincinv, ndtr, ndtri, stdtr, stdtrit

from lmmlib.common.arguments import checked_level


def half_width(level: float, df=np.inf):
    """Standard errors from an estimate to its limits with this coverage: normal, or of t with df (one, or an array)."""
    p = (1 + checked_level(level)) / 2
    return np.where(np.isinf(df), ndtri(p), stdtrit(df, p))[()]


def two_sided(statistic, df: float = np.inf):
    """Probability that a normal variable, or a t variable with df, lies further from zero."""
    below = -np.abs(statistic)
    return 2 * (ndtr(below) if np.isinf(df) else stdtr(df, below))


def chi2_tail(x: float, df: float) -> float:
    """Probability that a chi-square variable is larger."""
    return float(chdtrc(df, np.maximum(x, 0.0)))


def chi2_quantile(p, df: float):
    """Values that a chi-square variable does not exceed with these probabilities."""
    return 2 * gammaincinv(df / 2, p)


def f_tail(statistic: float, rows: float, df: float = np.inf) -> float:
    """Probability that an F variable is larger; with infinite df it is a chi-square one over ``rows``."""
    return chi2_tail(statistic * rows, rows) if np.isinf(df) else float(fdtrc(rows, df, np.maximum(statistic, 0.0)))
