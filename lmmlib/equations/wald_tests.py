"""Tests and intervals of combinations of the fixed effects, with the df that they are given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.common.arguments import checked_df, checked_level, numbers, standard_deviations
from lmmlib.common.summary import Shown, Summary
from lmmlib.common.tails import f_tail, half_width, two_sided
from lmmlib.common.text import fixed, p_equals
from lmmlib.equations.generalised_least_squares import Estimate
from lmmlib.errors import ParameterError

# Rows of L whose span is narrower than this, in units of the fixed effects, are dependent.
DEPENDENT = 1e-10
# Eigenvalues closer than this share are one: their vectors are not determined by them.
TIED = 1e-6


@dataclass(frozen=True, repr=False)
class Wald(Shown):
    """A Wald test. One row of L: ``estimate``, ``se``, ``statistic`` (t or z), limits; several: ``statistic`` is F."""

    estimate: np.ndarray
    se: np.ndarray
    statistic: float
    df: tuple
    p: float
    lower: np.ndarray
    upper: np.ndarray
    level: float

    @property
    def is_f(self) -> bool:
        """True when several rows are tested together."""
        return len(self.estimate) > 1

    def summary(self) -> Summary:
        """The test in a line."""
        p, df = p_equals(self.p), fixed(self.df[-1], 2)
        if self.is_f:
            return Summary((f"Wald: F({self.df[0]}, {df}) = {fixed(self.statistic, 3)}, p {p}",))
        law = "z" if np.isinf(self.df[-1]) else f"t({df})"
        estimate, se, lower, upper = (fixed(v[0], 4) for v in (self.estimate, self.se, self.lower, self.upper))
        test = f"Wald: {estimate} (se {se}), {law} = {fixed(self.statistic, 3)}, p {p}"
        return Summary((f"{test}, {100 * self.level:g}% interval {lower} to {upper}",))


def checked_rows(L, p: int) -> np.ndarray:
    """L as a (rows, p) array of contrasts, none of them zero."""
    L = np.atleast_2d(numbers(L, "L"))
    if L.ndim != 2 or not len(L) or L.shape[1] != p or not np.isfinite(L).all():
        raise ParameterError(f"L must have {p} finite numbers in a row, one per fixed effect; got shape {L.shape}")
    if not L.any(axis=1).all():
        row = int(np.argmin(L.any(axis=1)))
        raise ParameterError(f"the rows of L must not be zero, and row {row} is (rows count from 0); leave it out")
    return L


def independent(L: np.ndarray, null=0.0) -> tuple[np.ndarray, np.ndarray]:
    """Linearly independent rows that say what the rows of L say, and their hypothesised values.

    Parameters
    ----------
    L : (rows, p) array
    null : float or (rows,) array

    Returns
    -------
    tuple of (rank, p) array, (rank,) array
        L and its null themselves if the rows are independent.

    Raises
    ------
    ParameterError
        If null has the wrong length, or contradicts a dependence between the rows.
    """
    null = _null(null, len(L))
    columns = np.abs(L).max(axis=0)  # units of the fixed effects, which a rank must not depend on
    scaled = L / np.where(columns > 0, columns, 1.0)
    length = np.linalg.norm(scaled, axis=1)
    U, s, _ = np.linalg.svd(scaled / length[:, None], full_matrices=False)
    rank = int((s > DEPENDENT * s[0]).sum())
    if rank == len(L):
        return L, null
    U, values = U[:, :rank], null / length
    if np.linalg.norm(values - U @ (U.T @ values)) > DEPENDENT**0.5 * np.linalg.norm(values):
        raise ParameterError(
            f"the {len(L)} rows of L have rank {rank}, and null={null.tolist()} contradicts what one row says of the "
            "others; leave the dependent rows out"
        )
    return U.T @ (L / length[:, None]), U.T @ values


def _null(null, rows: int) -> np.ndarray:
    """The hypothesised values, one for each row of L."""
    null = numbers(null, "null")
    if null.shape not in {(), (rows,)} or not np.isfinite(null).all():
        raise ParameterError(f"null must be one finite number, or {rows}, one for each row of L; got {null}")
    return np.broadcast_to(null, rows)


def wald(result: Estimate, L, *, df: float | None = None, null=0.0, level: float = 0.95) -> Wald:
    r"""Wald test and interval of linear combinations of the fixed effects.

    .. math:: t = \frac{l'\hat\beta - c}{\sqrt{l'Cl}}, \qquad
        F = \frac{1}{r}(L\hat\beta - c)'(LCL')^{-1}(L\hat\beta - c)

    Equations :eq:`wald-statistic` and :eq:`wald-f` of the book.

    Parameters
    ----------
    result : Estimate
        From :func:`lmmlib.equations.gls` or :func:`lmmlib.equations.ols`.
    L : (p,) or (rows, p) array
        One contrast, or several tested together; rows that depend on others leave r, their rank, as it is.
    df : float, optional
        Denominator degrees of freedom, from :func:`lmmlib.equations.satterthwaite` for instance. None: those of
        ``result`` (OLS), or infinity, that is z and chi-square.
    null : float or (rows,) array
        Hypothesised value c.
    level : float
        Coverage of the intervals, each row by itself.

    Returns
    -------
    Wald
    """
    if not (hasattr(result, "cov") and hasattr(result, "df")):
        raise ParameterError(
            f"wald takes what gls or ols of lmmlib.equations returns; got a {type(result).__name__}. Of a fit, hand in "
            "Estimate(fit.beta.to_numpy(), fit.cov_beta.to_numpy(), tuple(fit.beta.index)) from "
            "lmmlib.equations.generalised_least_squares"
        )
    L = checked_rows(L, len(result.beta))
    level = checked_level(level)
    df = np.inf if df is None and result.df is None else checked_df(result.df if df is None else df).item()
    estimate, cov = L @ result.beta, L @ result.cov @ L.T
    gap, se = estimate - _null(null, len(L)), standard_deviations(cov, "the contrasts")
    reach = half_width(level, df) * se
    if len(L) == 1:
        statistic = float(gap[0] / se[0])
        p = float(two_sided(statistic, df))
        dfs: tuple = (df,)
    else:
        rows, values = independent(L, null)
        r, gap = len(rows), rows @ result.beta - values
        statistic = float(gap @ np.linalg.solve(rows @ result.cov @ rows.T, gap)) / r
        p = f_tail(statistic, r, df)
        dfs = (r, df)
    return Wald(estimate, se, statistic, dfs, p, estimate - reach, estimate + reach, level)
