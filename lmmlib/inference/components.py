r"""Variance components as a table: variances, standard deviations, correlations and the ICC, with intervals."""

from __future__ import annotations

import pandas as pd

from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.intervals import limits
from lmmlib.inference.parametrised import Parametrised

QUANTITY = {"sd": "sd", "sigma": "sd", "corr": "correlation", "rho": "correlation", "icc": "icc"}


def variance_components(
    fit: Parametrised, level: float = 0.95, *, method: str = "profile", size: int = 1000, rng=None
) -> pd.DataFrame:
    r"""The random part of a fit, with confidence intervals.

    Those of standard deviations and correlations are by :func:`lmmlib.inference.intervals.confint`, those of a variance
    are their squares. The intraclass correlation :math:`\rho = r^2 / (1 + r^2)`, equation :eq:`icc` of the book, rises
    with :math:`r = \tau/\sigma`: its profile limits are those of r, equation :eq:`profile-interval`; by "wald" they are
    those of logit :math:`\rho`.

    Parameters
    ----------
    fit : Fit
    level : float
        Coverage of each interval by itself.
    method : {"profile", "wald", "bootstrap"}
    size : int
        Bootstrap samples.
    rng : numpy.random.Generator or int
        For the bootstrap; a whole number is a seed.

    Returns
    -------
    DataFrame
        One row each for the ``quantity`` "variance" and "sd" of every random column and of the term "Residual", with
        the visit behind it where there are several, "correlation" of every pair, such as the term "(Intercept), week",
        and "icc", if the only random column is the intercept; ``estimate``, ``se``, ``lower``, ``upper``. ``attrs`` as
        :func:`lmmlib.inference.intervals.confint` has them.

    Raises
    ------
    ParameterError
        If the method or the level is unknown, or the bootstrap has no generator.
    """
    kinds = {name: kind for name, kind in fit.kinds.items() if kind[0] != "effect"}
    if isinstance(fit, Fitted) and fit.cross.z_names == ("(Intercept)",):
        kinds["icc"] = ("icc",)
    table, rows = limits(fit, kinds, level, method, size, rng), []
    for (name, (kind, *_)), (estimate, se, *ends) in zip(kinds.items(), table.to_numpy(), strict=True):
        term = "(Intercept)" if kind == "icc" else name.partition(" ")[2]
        term = f"Residual {term}".strip() if kind in ("sigma", "rho") else term
        if QUANTITY[kind] == "sd":
            rows.append((term, "variance", estimate**2, 2 * estimate * se, *(end**2 for end in ends)))
        rows.append((term, QUANTITY[kind], estimate, se, *ends))
    frame = pd.DataFrame(rows, columns=["term", "quantity", "estimate", "se", "lower", "upper"])
    frame.attrs = table.attrs
    return frame
