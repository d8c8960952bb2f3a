r"""Tests and intervals for any combination of the fixed effects of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_limit
from lmmlib.common.tails import f_tail
from lmmlib.design.dependent import require_kept
from lmmlib.equations.generalised_least_squares import Estimate
from lmmlib.equations.wald_tests import Wald, checked_rows, wald
from lmmlib.errors import ParameterError
from lmmlib.fitting.fitted import Linear


def rows_of(fit: Linear, L) -> np.ndarray:
    """Contrasts (rows, p) from an array, a mapping of a fixed effect's name to its weight, or a list of mappings.

    A labelled Series is a mapping, a DataFrame with labelled columns a list of them. Fixed effects that a mapping does
    not name have weight zero.

    Raises
    ------
    ParameterError
        If a name is unknown, or a row is zero or not finite.
    """
    names = list(fit.beta.index)
    # Labels of pandas are names as well; by position their order would be taken for that of the fixed effects.
    if isinstance(L, pd.DataFrame) and not isinstance(L.columns, pd.RangeIndex):
        L = L.to_dict("records")
    if isinstance(L, pd.Series) and not isinstance(L.index, pd.RangeIndex):
        L = dict(L)
    if isinstance(L, Mapping):
        L = [L]
    if isinstance(L, list | tuple) and any(isinstance(row, Mapping) for row in L):
        if not all(isinstance(row, Mapping) for row in L):
            raise ParameterError("the rows of L are all mappings of names to weights, or all numbers; got some of each")
        unknown = [name for row in L for name in row if name not in names]
        if unknown:
            require_kept(fit.design, unknown[0])
            raise ParameterError(f"{unknown[0]!r} is no fixed effect; they are {', '.join(names)}")
        L = [[row.get(name, 0.0) for name in names] for row in L]
    return checked_rows(L, len(names))


def contrast(fit: Linear, L, *, df=None, null=0.0, level: float = 0.95) -> Wald:
    r"""Test and interval of one combination of the fixed effects, or the joint test of several.

    Equations :eq:`wald-statistic` and :eq:`wald-f` of the book, with the degrees of freedom of :eq:`satterthwaite` or
    :eq:`kenward-roger-f`.

    Parameters
    ----------
    fit : Fit
    L : array, mapping or list of mappings
        As :func:`rows_of` takes them. Rows that depend on others are allowed: the numerator df are the rank.
    df : {"satterthwaite", "kenward-roger", "z"} or float, optional
        By default "satterthwaite" for REML and "z" for ML, for which no df are derived. Kenward-Roger also corrects
        the standard errors.
    null : float or (rows,) array
        Hypothesised values.
    level : float
        Coverage of the interval.

    Returns
    -------
    Wald
    """
    return joint_test(fit, rows_of(fit, L), checked_df(fit, df), null, level)


def contrasts(fit: Linear, rows: Mapping, *, df=None, level: float = 0.95) -> pd.DataFrame:
    """A table of contrasts, one row each, every one tested by itself.

    Parameters
    ----------
    fit : Fit
    rows : mapping of label to contrast
        Each an array (p,) or a mapping of names to weights.
    df : {"satterthwaite", "kenward-roger", "z"} or float, optional
        As in :func:`contrast`.
    level : float
        Coverage of each interval by itself.

    Returns
    -------
    DataFrame
        Columns ``estimate``, ``se``, ``df``, ``t``, ``p``, ``lower``, ``upper``; where the law of the statistic is
        normal ``z`` in place of ``df`` and ``t``.
    """
    if not isinstance(rows, Mapping):
        raise ParameterError(f"contrasts takes a mapping of label to contrast; got {type(rows).__name__}")
    df, table = checked_df(fit, df), {}
    for label, L in rows.items():
        L = rows_of(fit, L)
        if len(L) != 1:
            raise ParameterError(f"contrast {label!r} has {len(L)} rows; test them together with Fit.contrast")
        w = joint_test(fit, L, df, 0.0, level)
        table[label] = [w.estimate[0], w.se[0], w.df[0], w.statistic, w.p, w.lower[0], w.upper[0]]
    columns = ["estimate", "se", "df", "t", "p", "lower", "upper"]
    frame = pd.DataFrame.from_dict(table, orient="index", columns=columns)
    return frame.drop(columns="df").rename(columns={"t": "z"}) if df == "z" else frame


def fixed_effects(fit: Linear, level: float = 0.95, *, df=None) -> pd.DataFrame:
    """The table of :func:`contrasts` for each fixed effect.

    Parameters
    ----------
    fit : Fit
    level : float
        Coverage of each interval by itself.
    df : {"satterthwaite", "kenward-roger", "z"} or float, optional

    Returns
    -------
    DataFrame
    """
    return contrasts(fit, dict(zip(fit.beta.index, np.eye(len(fit.beta)), strict=True)), df=df, level=level)


def checked_df(fit: Linear, df):
    """The df that a fit has by default, or these if it can have them."""
    if df is None:
        return "satterthwaite" if fit.method == "REML" else "z"
    if isinstance(df, str):
        if df not in ("satterthwaite", "kenward-roger", "z"):
            raise ParameterError(f"df is 'satterthwaite', 'kenward-roger', 'z' or a number; got {df!r}")
        if df != "z" and fit.method != "REML":
            raise ParameterError(f"{df} degrees of freedom are derived for REML; fit with method='REML', or use df='z'")
        return df
    return "z" if np.isinf(checked_limit("df", df)) else checked_limit("df", df)


def joint_test(fit: Linear, L: np.ndarray, df, null, level: float) -> Wald:
    """The test of rows of L (rows, p), with df from :func:`checked_df`."""
    estimate = Estimate(fit.beta.to_numpy(), fit.cov_beta.to_numpy(), tuple(fit.beta.index))
    if df == "satterthwaite":
        # At a singular D the REML optimum need not be a stationary point in D: the observed information means little.
        shared = fit.expected if fit.is_singular else fit.observed
        return wald(estimate, L, df=shared.satterthwaite(L), null=null, level=level)
    if df != "kenward-roger":
        return wald(estimate, L, df=None if df == "z" else df, null=null, level=level)
    k = fit.expected.kenward_roger(L, null)
    w = wald(Estimate(estimate.beta, k.cov, estimate.names), L, df=k.df, null=null, level=level)
    if len(L) == 1:
        return w
    p = f_tail(k.statistic, k.rows, k.df)
    return replace(w, statistic=k.statistic, df=(k.rows, k.df), p=p)
