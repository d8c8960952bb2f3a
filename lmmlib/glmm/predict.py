r"""Fitted values, residuals and predictions of a generalised linear mixed model.

Three means are told apart. That of a row's own ``group``, of counts :math:`\exp(o + x'\beta + z'\hat b_i)`; that of a
``typical`` group with b = 0, the median of all groups; that of the ``population``, the mean over all groups, of counts
:math:`\exp(o + x'\beta + \frac12 z'Dz)`, which is larger.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice
from lmmlib.design.known import of_new_rows
from lmmlib.design.new_rows import new_rows
from lmmlib.equations.limits import normal_limits
from lmmlib.glmm.fitted import FittedGlmm

OF = ("group", "typical", "population")
KINDS = ("response", "pearson", "deviance")
SCALES = ("response", "link")
NEW_GROUPS = ("population", "error")


def _link(fit: FittedGlmm, of: str) -> np.ndarray:
    """Fitted linear predictors in the order of the working rows, (N,)."""
    checked_choice("of", of, OF)
    rows, link = fit.rows, fit.inner.density.fixed
    if of == "group":
        return link + rows.along(fit.inner.b)
    return link if of == "typical" else rows.family.population(link, ((fit.L.T @ rows.Z) ** 2).sum(axis=0))[0]


def fitted(fit: FittedGlmm, of: str = "group") -> np.ndarray:
    """Fitted means, (n_obs,), in the order of the data; ``of`` "group", "typical" or "population"."""
    return fit.rows.in_data_order(fit.rows.family.inverse(_link(fit, of)))


def residuals(fit: FittedGlmm, of: str = "group", kind: str = "pearson") -> np.ndarray:
    r"""Responses less fitted means, (n_obs,), as they are or scaled.

    .. math:: \frac{y - \mu}{\sqrt{\operatorname{Var}(y)}} \;\text{(pearson)}, \qquad
        \operatorname{sign}(y - \mu)\sqrt{2\{\log p(y \mid y) - \log p(y \mid \mu)\}} \;\text{(deviance)}

    Of counts the variance is :math:`\mu`, and the difference of the log-densities is
    :math:`y\log(y/\mu) - (y - \mu)`.
    """
    checked_choice("kind", kind, KINDS)
    family = fit.rows.family
    mu = family.mean(_link(fit, of))
    left = family.y - mu
    if kind == "response":
        left = left / family.size
    elif kind == "pearson":
        left = left / np.sqrt(family.variance(mu))
    elif kind == "deviance":
        left = np.sign(left) * np.sqrt(family.deviance(mu))
    return fit.rows.in_data_order(left)


def predict(
    fit: FittedGlmm,
    new: pd.DataFrame,
    of: str = "group",
    level: float = 0.95,
    scale: str = "response",
    new_groups: str = "population",
    offset=None,
) -> pd.DataFrame:
    r"""Predicted means of new rows, with standard errors and limits.

    .. math:: \operatorname{Var}(\hat\eta - \eta) \approx z'\Lambda S_i^{-1}\Lambda'z
        + \Big(\frac{d\hat\eta}{d\psi}\Big)'\operatorname{Var}(\hat\psi)\frac{d\hat\eta}{d\psi}

    which is :eq:`mode-variance` for the linear predictor. For a new group the first part is :math:`z'Dz`.

    Parameters
    ----------
    fit : FittedGlmm
    new : DataFrame
        The columns of the formula but for the response; only predictions of groups need the grouping column.
    of : {"group", "typical", "population"}
        With each row's group; for a group with b = 0; or the mean over all groups.
    level : float
        Coverage of each interval for the mean by itself: normal on the scale of the linear predictor.
    scale : {"response", "link"}
        Means of responses, or their linear predictors.
    new_groups : {"population", "error"}
        What to do, of groups, with those that the fit has not seen: predicted by b = 0, variance D.
    offset : str, Series or array, optional
        A column of ``new`` or one value for each row. By default the column that the fit was given; a fit with an
        array as offset needs it here.

    Returns
    -------
    DataFrame
        ``estimate``, ``se``, ``lower``, ``upper``, ``known_group``, indexed as ``new``.

    Raises
    ------
    DataError
        If a column or the offset is missing, or a group is unknown and ``new_groups="error"``.
    ParameterError
        If an option is unknown.
    """
    for name, value, allowed in (("of", of, OF), ("scale", scale, SCALES), ("new_groups", new_groups, NEW_GROUPS)):
        checked_choice(name, value, allowed)
    found = new_rows(fit.design, new, of, new_groups)
    known_part = of_new_rows(fit.design, "offset", offset, new)
    fit.rows.family.check_offset(known_part)
    family, basis, p = fit.rows.family, fit.rows.basis, len(fit.beta)
    X, Z, known = basis.x_work(found.X), basis.z_work(found.Z), found.group >= 0
    link = X @ fit.psi[:p] + (0.0 if known_part is None else known_part)
    slope, variance = np.zeros((len(X), len(fit.psi))), np.zeros(len(X))
    slope[:, :p] = X
    between = ((Z @ fit.L) ** 2).sum(axis=1)
    if of == "group":
        own = np.where(known, found.group, 0)
        link = link + np.where(known, np.einsum("rq,qr->r", Z, fit.inner.b[:, own]), 0.0)
        slope += np.where(known[:, None], np.einsum("rq,qpr->rp", Z, fit.slopes.db[:, :, own]), 0.0)
        variance = np.where(known, np.einsum("ra,abr,rb->r", Z, fit.inner.covariance[:, :, own], Z), between)
    elif of == "population":
        link, by_link, by_variance = family.population(link, between)
        slope[:, :p] *= by_link[:, None]
        slope[:, p:] = 2 * by_variance[:, None] * np.einsum("ra,kab,rb->rk", Z, fit.rows.coordinates, Z @ fit.L)
    se = np.sqrt(variance + np.einsum("rp,ps,rs->r", slope, fit.cov_psi, slope))
    table = normal_limits(pd.Series(link, new.index), pd.Series(se, new.index), level)
    if scale == "response":
        table = table.apply(family.inverse).assign(se=family.slope(link) * se)
    return table.assign(known_group=known)
