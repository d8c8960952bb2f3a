r"""Predictions for new rows, of known groups and new ones, with intervals that say what they take as known.

The error of :math:`x'\hat\beta + z'\hat b_i` has one part that knowing all parameters would leave, and one that beta
adds through both terms; estimating D and sigma2 adds a third:

* ``plugin``: the first two, D and sigma2 taken as known;
* ``corrected``: plus twice the variance that it adds to first order, through both terms together;
* ``bootstrap``: errors seen when data that the fit simulates are fitted and predicted, D and sigma2 estimated anew.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, checked_level
from lmmlib.common.tails import half_width
from lmmlib.design.known import of_new_rows
from lmmlib.design.new_rows import new_rows
from lmmlib.equations.blup import random_effects
from lmmlib.fitting.fitted import Fitted
from lmmlib.prediction.errors import bootstrap_interval, error_variance

OPTIONS = {
    "of": ("group", "typical", "population"),
    "new_groups": ("population", "error"),
    "interval": (None, "confidence", "prediction"),
    "method": ("plugin", "corrected", "bootstrap"),
}


def predict(
    fit: Fitted,
    new: pd.DataFrame,
    *,
    of: str = "group",
    new_groups: str = "population",
    interval: str | None = None,
    method: str = "plugin",
    level: float = 0.95,
    size: int = 1000,
    rng: np.random.Generator | int | None = None,
    weights=None,
    offset=None,
) -> pd.DataFrame:
    r"""Predictions for new rows, with intervals for their means or for new observations.

    .. math:: x'\hat\beta + z'\hat b_i, \qquad \operatorname{Var} = z'\operatorname{Var}(b_i \mid y)z
        + (x - T_i'z)'\Phi(x - T_i'z), \quad T_i = DZ_i'V_i^{-1}X_i

    Equation :eq:`prediction-variance` of the book, which is :math:`x'\Phi x + z'\operatorname{PEV}_iz` plus twice the
    covariance of the errors of :math:`x'\hat\beta` and :math:`z'\hat b_i`. For a group of which nothing is known b is
    predicted by zero, and the variance is :math:`x'\Phi x + z'Dz`, equation :eq:`new-group-variance`. Of the
    population the target is :math:`x'\beta`, with variance :math:`x'\Phi x`. :mod:`lmmlib.prediction.errors` has the
    errors of the other methods. Only the groups of the new rows are looked at.

    Parameters
    ----------
    fit : Fit
    new : DataFrame
        The columns of the formula but for the response; the grouping column is needed for ``of="group"`` alone.
    of : {"group", "typical", "population"}
        Of each row's group; of a group with b = 0, or the mean of the population, which are the same here.
    new_groups : {"population", "error"}
        What to do, for ``of="group"``, with groups that the fit has not seen.
    interval : {"confidence", "prediction"}, optional
        For :math:`x'\beta + z'b_i` (group) or :math:`x'\beta` (population); or for a new observation, which adds
        sigma2 (over its weight), and for the population the :math:`z'Dz` of a group that is not known.
    method : {"plugin", "corrected", "bootstrap"}
        Errors for known D and sigma2; corrected for their estimation, by REML's information also for ML fits; or from
        ``size`` simulated data sets. The limits of the first two are normal quantiles, so for x'beta with few groups
        :meth:`lmmlib.lmm.fit.Fit.contrast`, which has t quantiles, is the better choice. Where D is estimated by zero
        the first and the last take groups to be alike, the first with certainty; "corrected" does not.
    level : float
        Coverage of each interval by itself, between 0 and 1.
    size : int
        Simulated data sets of the bootstrap.
    rng : Generator, or int, its seed
        For the bootstrap.
    weights : str, Series or array, optional
        Of the new rows, for prediction intervals: by default the column that the fit had.
    offset : str, Series or array, optional
        Of the new rows: by default the column that the fit had; a fit with an array as offset needs it here.

    Returns
    -------
    DataFrame
        Indexed as ``new``: ``estimate``; ``se``, the standard error that belongs to the interval (without one, of the
        confidence kind); ``lower`` and ``upper`` if an interval is asked for; ``known_group``. For the bootstrap ``se``
        is the root mean square of the simulated errors, and ``attrs["failed"]`` the number of refits left out.

    Raises
    ------
    DataError
        If a column is missing or has missing, infinite or unknown values, there are no rows, or a group is unknown and
        ``new_groups="error"``; names column, row and groups.
    DesignError
        If the information on D and sigma2 is singular (corrected), or no refit succeeds (bootstrap).
    ParameterError
        If an option is unknown, or the bootstrap has no generator.
    """
    for name, value in (("of", of), ("new_groups", new_groups), ("interval", interval), ("method", method)):
        checked_choice(name, value, OPTIONS[name])
    level = checked_level(level)
    rows = new_rows(fit.design, new, of, new_groups)
    seen = rows.group >= 0
    if of != "group":
        rows = replace(rows, group=np.full(len(seen), -1))
    beta, D, sigma2 = fit.estimates
    groups, own = rows.own
    estimate = rows.X @ beta + own.at(random_effects(fit.cross.take(groups), beta, D, sigma2))
    shift = of_new_rows(fit.design, "offset", offset, new)
    estimate = estimate if shift is None else estimate + shift

    noise = np.zeros(len(seen))  # variance of the part of the error that is independent of the data
    if interval == "prediction" or of == "group":
        noise += np.where(rows.group < 0, np.einsum("ra,ab,rb->r", rows.Z, D, rows.Z), 0.0)
    if interval == "prediction":
        known = of_new_rows(fit.design, "weights", weights, new)
        noise += sigma2 if known is None else sigma2 / known
    failed = None
    if method == "bootstrap":
        se, ends, failed = bootstrap_interval(fit, rows, noise, level, size, rng)
    else:
        se = np.sqrt(noise + error_variance(fit, rows, corrected=method == "corrected"))
        ends = half_width(level) * np.stack([-se, se])
    limits = {} if interval is None else {"lower": estimate + ends[0], "upper": estimate + ends[1]}
    frame = pd.DataFrame({"estimate": estimate, "se": se, **limits, "known_group": seen}, new.index)
    if failed is not None:
        frame.attrs["failed"] = failed
    return frame
