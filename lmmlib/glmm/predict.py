r"""Fitted values, residuals and predictions of a Poisson mixed model.

Three means are told apart. ``conditional`` is that of a row's own group, :math:`\exp(o + x'\beta + z'\hat b_i)`;
``typical`` that of a group with b = 0, the median of all groups; ``population`` the mean over all groups,
:math:`\exp(o + x'\beta + \frac12 z'Dz)`, which is larger.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, checked_level
from lmmlib.common.tails import half_width
from lmmlib.design.new_rows import new_rows
from lmmlib.errors import DataError
from lmmlib.glmm.checks import checked_offset, offset_of
from lmmlib.glmm.fitted import FittedGlmm

LEVELS = ("conditional", "typical", "population")
KINDS = ("response", "pearson", "deviance")
SCALES = ("response", "link")
NEW_GROUPS = ("population", "error")


def fitted(fit: FittedGlmm, level: str = "conditional") -> np.ndarray:
    """Fitted means, (n_obs,), in the order of the data.

    Parameters
    ----------
    fit : FittedGlmm
    level : {"conditional", "typical", "population"}

    Returns
    -------
    (n_obs,) array
    """
    checked_choice("level", level, LEVELS)
    return fit.counts.in_data_order(_means(fit, level))


def _means(fit: FittedGlmm, level: str) -> np.ndarray:
    """Fitted means in the order of the working rows."""
    c = fit.counts
    if level == "conditional":
        return fit.inner.mu
    link = fit.inner.density.fixed
    if level == "population":
        link = c.family.population(link, ((fit.L.T @ c.Z) ** 2).sum(axis=0))[0]
    return c.family.mean(link)


def residuals(fit: FittedGlmm, level: str = "conditional", kind: str = "pearson") -> np.ndarray:
    r"""Counts less fitted means, (n_obs,), as they are or scaled.

    .. math:: \frac{y - \mu}{\sqrt\mu} \;\text{(pearson)}, \qquad
        \operatorname{sign}(y - \mu)\sqrt{2\{y\log(y/\mu) - (y - \mu)\}} \;\text{(deviance)}

    Parameters
    ----------
    fit : FittedGlmm
    level : {"conditional", "typical", "population"}
    kind : {"response", "pearson", "deviance"}

    Returns
    -------
    (n_obs,) array
    """
    checked_choice("kind", kind, KINDS)
    checked_choice("level", level, LEVELS)
    family, mu = fit.counts.family, _means(fit, level)
    left = family.y - mu
    if kind == "pearson":
        left = left / np.sqrt(family.cumulants(mu)[0])
    elif kind == "deviance":
        left = np.sign(left) * np.sqrt(family.deviance(mu))
    return fit.counts.in_data_order(left)


def predict(
    fit: FittedGlmm,
    newdata: pd.DataFrame,
    level: str = "conditional",
    scale: str = "response",
    new_groups: str = "population",
    coverage: float = 0.95,
    offset=None,
) -> pd.DataFrame:
    r"""Predicted means of new rows, with standard errors and limits.

    .. math:: \operatorname{Var}(\hat\eta - \eta) \approx z'\Lambda S_i^{-1}\Lambda'z
        + \Big(\frac{d\hat\eta}{d\psi}\Big)'\operatorname{Var}(\hat\psi)\frac{d\hat\eta}{d\psi}

    which is :eq:`mode-variance` for the linear predictor. For a new group the first part is :math:`z'Dz`.

    Parameters
    ----------
    fit : FittedGlmm
    newdata : DataFrame
        The columns of the formula but for the response; only the conditional level needs the grouping column.
    level : {"conditional", "typical", "population"}
        With each row's group; for a group with b = 0; or the mean over all groups.
    scale : {"response", "link"}
        Means of counts, or their logarithms.
    new_groups : {"population", "error"}
        What to do, at the conditional level, with groups that the fit has not seen: predicted by b = 0, variance D.
    coverage : float
        Of each interval for the mean by itself: normal on the scale of the logarithm.
    offset : str or array, optional
        A column of ``newdata`` or one value for each row. By default the column that the fit was given; a fit with an
        array as offset needs it here.

    Returns
    -------
    DataFrame
        ``estimate``, ``se``, ``lower``, ``upper``, ``known_group``, indexed as ``newdata``.

    Raises
    ------
    DataError
        If a column or the offset is missing, or a group is unknown and ``new_groups="error"``.
    ParameterError
        If an option is unknown.
    """
    for name, value, allowed in (
        ("level", level, LEVELS),
        ("scale", scale, SCALES),
        ("new_groups", new_groups, NEW_GROUPS),
    ):
        checked_choice(name, value, allowed)
    coverage = checked_level(coverage)
    conditional = level == "conditional"
    kind = "conditional" if conditional else "population"
    rows = new_rows(fit.design, newdata, kind, new_groups)
    basis, B = fit.counts.basis, fit.counts.coordinates
    X, Z = basis.x_work(rows.X), basis.z_work(rows.Z)
    known = rows.group >= 0
    own = np.where(known & conditional, rows.group, 0)
    link = _new_offset(fit, newdata, offset) + X @ fit.psi[: X.shape[1]]
    slope = np.zeros((len(X), len(fit.psi)))
    slope[:, : X.shape[1]] = X
    variance = np.zeros(len(X))
    if conditional:
        link = link + np.where(known, np.einsum("rq,qr->r", Z, fit.inner.b[:, own]), 0.0)
        slope += np.where(known[:, None], np.einsum("rq,qpr->rp", Z, fit.slopes.db[:, :, own]), 0.0)
        within = np.einsum("ra,abr,rb->r", Z, fit.inner.covariance[:, :, own], Z)
        variance = np.where(known, within, ((Z @ fit.L) ** 2).sum(axis=1))
    elif level == "population":
        link = link + ((Z @ fit.L) ** 2).sum(axis=1) / 2
        slope[:, X.shape[1] :] = np.einsum("ra,kab,rb->rk", Z, B, Z @ fit.L)
    se = np.sqrt(variance + np.einsum("rp,ps,rs->r", slope, fit.cov_psi, slope))
    reach = half_width(coverage) * se
    values = {"estimate": link, "se": se, "lower": link - reach, "upper": link + reach}
    if scale == "response":
        values = {name: np.exp(v) for name, v in values.items()}
        values["se"] = values["estimate"] * se
    return pd.DataFrame(values | {"known_group": known}, newdata.index)


def _new_offset(fit: FittedGlmm, newdata: pd.DataFrame, offset) -> np.ndarray:
    """The offset of new rows."""
    if offset is None and fit.offset is None:
        return np.zeros(len(newdata))
    if offset is None and not isinstance(fit.offset, str):
        raise DataError("the fit has an array as offset; pass offset= with one value for each new row")
    return checked_offset(offset_of(fit.offset if offset is None else offset, newdata), len(newdata))
