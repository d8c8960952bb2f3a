r"""Limits from standard errors: the delta method, and scales on which a parameter has no edge."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from lmmlib.common.table import labels
from lmmlib.common.tails import half_width

# Scales on which a parameter has no edge, the way back, and the slope there.
LOG = (np.log, np.exp, lambda x: 1 / x)
FISHER = (np.arctanh, np.tanh, lambda x: 1 / (1 - x**2))
SCALES = {
    "sd": LOG,
    "sigma": LOG,
    "corr": FISHER,
    "rho": FISHER,
    "icc": (logit, expit, lambda x: 1 / (x * (1 - x))),
}


def normal_limits(estimate: pd.Series, se: pd.Series, level: float, kinds: Iterable[str] = ()) -> pd.DataFrame:
    """Estimates with normal limits, each of the coverage ``level`` by itself: estimate, se, lower, upper.

    With the ``kinds`` of the parameters limits of all but "effect" are made on the scales of ``SCALES``.
    """
    values, errors, reach = estimate.to_numpy(float), se.to_numpy(float), half_width(level)
    limits = np.stack([values - reach * errors, values + reach * errors])
    for k, (value, error, kind) in enumerate(zip(values, errors, kinds, strict=False)):
        if kind in SCALES and not np.isnan(error):
            scale, back, slope = SCALES[kind]
            limits[:, k] = back(scale(value) + np.array([-1, 1]) * reach * error * slope(value))
    columns = labels(("estimate", "se", "lower", "upper"))
    return pd.DataFrame(np.stack([values, errors, *limits], axis=1), estimate.index, columns)


def slopes(kinds: Iterable[tuple], D: np.ndarray, sigma2: float = np.nan) -> np.ndarray:
    """Derivatives of sd, corr, sigma and icc by vec of D and by sigma2, (rows, q q + 1)."""
    q, sd, kinds = len(D), np.sqrt(np.diag(D)), list(kinds)
    J = np.zeros((len(kinds), q * q + 1))
    for row, (kind, *at) in zip(J, kinds, strict=True):
        if kind == "sd":
            row[at[0] * (q + 1)] = 1 / (2 * sd[at[0]])
        elif kind == "corr":
            a, b = at
            row[a * q + b] = 1 / (sd[a] * sd[b])
            row[[a * (q + 1), b * (q + 1)]] = -row[a * q + b] * D[a, b] / (2 * D[[a, b], [a, b]])
        elif kind == "sigma":
            row[-1] = 1 / (2 * np.sqrt(sigma2))
        else:
            row[:] = np.array([sigma2, -D[0, 0]]) / (D[0, 0] + sigma2) ** 2
    return J
