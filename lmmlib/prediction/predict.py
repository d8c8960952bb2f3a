r"""Predictions for new rows, of known groups and new ones, with intervals that say what they take as known.

The error of :math:`x'\hat\beta + z'\hat b_i` has one part that knowing all parameters would leave, and one that beta
adds through both terms; estimating D and sigma2 adds a third:

* ``plugin``: the first two, D and sigma2 taken as known;
* ``corrected``: plus twice the variance that it adds to first order, through both terms together;
* ``bootstrap``: errors seen when data that the fit simulates are fitted and predicted, D and sigma2 estimated anew.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, numbers
from lmmlib.common.tails import half_width
from lmmlib.design.known import of_new_rows
from lmmlib.design.new_rows import NewRows, new_rows
from lmmlib.equations.blup import random_effects
from lmmlib.errors import ParameterError
from lmmlib.fitting.fitted import Fitted
from lmmlib.prediction.errors import bootstrap_interval, error_variance

OPTIONS = {
    "level": ("conditional", "population"),
    "new_groups": ("population", "error"),
    "interval": (None, "confidence", "prediction"),
    "method": ("plugin", "corrected", "bootstrap"),
}


def predict(
    fit: Fitted,
    newdata: pd.DataFrame,
    level: str = "conditional",
    new_groups: str = "population",
    interval: str | None = None,
    method: str = "plugin",
    coverage: float = 0.95,
    size: int = 1000,
    rng: np.random.Generator | None = None,
    weights=None,
    offset=None,
) -> pd.DataFrame:
    r"""Predictions for new rows, with intervals for their means or for new observations.

    .. math:: x'\hat\beta + z'\hat b_i, \qquad \operatorname{Var} = z'\operatorname{Var}(b_i \mid y)z
        + (x - T_i'z)'\Phi(x - T_i'z), \quad T_i = DZ_i'V_i^{-1}X_i

    Equation :eq:`prediction-variance` of the book, which is :math:`x'\Phi x + z'\operatorname{PEV}_iz` plus twice the
    covariance of the errors of :math:`x'\hat\beta` and :math:`z'\hat b_i`. For a group of which nothing is known b is
    predicted by zero, and the variance is :math:`x'\Phi x + z'Dz`, equation :eq:`new-group-variance`. At the level of
    the population the target is :math:`x'\beta`, with variance :math:`x'\Phi x`. :mod:`lmmlib.prediction.errors` has
    the errors of the other methods.

    Parameters
    ----------
    fit : Fit
    newdata : DataFrame
        The columns of the formula but for the response; ``level="population"`` needs no grouping column.
    level : {"conditional", "population"}
        With each row's group, or the mean of the population at the row's x.
    new_groups : {"population", "error"}
        What to do, at the conditional level, with groups that the fit has not seen.
    interval : {"confidence", "prediction"}, optional
        For :math:`x'\beta + z'b_i` (conditional) or :math:`x'\beta` (population); or for a new observation, which adds
        sigma2 (over its weight), and at the level of the population the :math:`z'Dz` of a group that is not known.
    method : {"plugin", "corrected", "bootstrap"}
        Errors for known D and sigma2; corrected for their estimation, by REML's information also for ML fits; or from
        ``size`` simulated data sets. The limits of the first two are normal quantiles, so for x'beta with few groups
        :meth:`lmmlib.lmm.fit.Fit.contrast`, which has t quantiles, is the better choice. Where D is estimated by zero
        the first and the last take groups to be alike, the first with certainty; "corrected" does not.
    coverage : float
        Of each interval by itself, between 0 and 1.
    size : int
        Simulated data sets of the bootstrap.
    rng : Generator
        For the bootstrap.
    weights : str, Series or array, optional
        Of the new rows, for prediction intervals: by default the column that the fit had.
    offset : str, Series or array, optional
        Of the new rows: by default the column that the fit had; a fit with an array as offset needs it here.

    Returns
    -------
    DataFrame
        Indexed as ``newdata``: ``mean``; ``se``, the standard error that belongs to the interval (without one, of the
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
    for name, value in (("level", level), ("new_groups", new_groups), ("interval", interval), ("method", method)):
        checked_choice(name, value, OPTIONS[name])
    coverage = _checked_coverage(coverage)
    rows = new_rows(fit.design, newdata, level, new_groups)
    seen = rows.group >= 0
    if level == "population":
        rows = NewRows(rows.X, rows.Z, np.full(len(rows.X), -1))
    beta, D, sigma2 = fit.beta.to_numpy(), fit.D.to_numpy(), fit.sigma2

    mean = rows.X @ beta + rows.at(random_effects(fit.cross, beta, D, sigma2))
    own = np.zeros(len(mean))  # the part of the error that is independent of the data
    if interval == "prediction" or level == "conditional":
        own += np.where(rows.group < 0, np.einsum("ra,ab,rb->r", rows.Z, D, rows.Z), 0.0)
    shift = of_new_rows(fit.design, "offset", offset, newdata)
    mean = mean if shift is None else mean + shift
    if interval == "prediction":
        known = of_new_rows(fit.design, "weights", weights, newdata)
        own += sigma2 if known is None else sigma2 / known
    failed = None
    if method == "bootstrap":
        se, ends, failed = bootstrap_interval(fit, rows, own, coverage, size, rng)
    else:
        se = np.sqrt(own + error_variance(fit, rows, corrected=method == "corrected"))
        ends = half_width(coverage) * np.stack([-se, se])
    limits = {} if interval is None else {"lower": mean + ends[0], "upper": mean + ends[1]}
    frame = pd.DataFrame({"mean": mean, "se": se, **limits, "known_group": seen}, newdata.index)
    if failed is not None:
        frame.attrs["failed"] = failed
    return frame


def _checked_coverage(coverage: float) -> float:
    value = numbers(coverage, "coverage")
    if value.ndim or not 0 < value < 1:
        raise ParameterError(f"coverage must lie between 0 and 1; got {coverage!r}")
    return value.item()
