r"""Predictions for new rows from a fit with a residual covariance: a group's residuals say something of others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, checked_level
from lmmlib.common.tails import half_width
from lmmlib.design.known import of_new_rows
from lmmlib.design.new_rows import new_rows
from lmmlib.prediction.predict import OPTIONS
from lmmlib.residual.blocks import blocks, phi
from lmmlib.residual.corrected import estimation_covariance, slopes_of_D
from lmmlib.residual.fitted import ResidualFitted


def predict(
    fit: ResidualFitted,
    new: pd.DataFrame,
    *,
    of: str = "group",
    new_groups: str = "population",
    interval: str | None = None,
    method: str = "plugin",
    level: float = 0.95,
    weights=None,
    offset=None,
) -> pd.DataFrame:
    r"""Predictions for new rows, with intervals for their means or for new observations.

    The best prediction of a further visit of a known group, with :math:`c = Z_iDz + R_{i0}` its covariance with
    :math:`y_i`, uses what the group's residuals say of it:

    .. math:: x'\hat\beta + c'V_i^{-1}(y_i - X_i\hat\beta), \qquad
        \operatorname{Var} = z'Dz + R_{00} - c'V_i^{-1}c + (x - X_i'V_i^{-1}c)'\Phi(x - X_i'V_i^{-1}c)

    equations :eq:`residual-blup` and :eq:`residual-prediction-variance` of the book. A confidence interval is
    for the mean given b_i and the residuals, :math:`x'\beta + z'b_i + R_{0i}R_i^{-1}\varepsilon_i`: its variance is
    less by :math:`R_{00} - R_{0i}R_i^{-1}R_{i0}`, what is new in the residual. For a visit that the group has already
    the answer is its mean :math:`x'\beta + z'b_i`, :math:`R_{i0}` being taken as zero, and a prediction interval is
    for one more measurement with an error of its own. New groups and the population are predicted as
    :func:`lmmlib.prediction.predict.predict` does.

    Parameters
    ----------
    fit : ResidualFit
    new : DataFrame
        The columns of the formula but for the response; for ``of="group"`` the grouping column and, as for prediction
        intervals, those of the residual covariance.
    of : {"group", "typical", "population"}
    new_groups : {"population", "error"}
        What to do, for ``of="group"``, with groups that the fit has not seen.
    interval : {"confidence", "prediction"}, optional
    method : {"plugin", "corrected"}
        Errors for known D and R; or with what their estimation adds, :mod:`lmmlib.residual.corrected`.
    level : float
        Coverage of each interval by itself, by normal quantiles.
    weights, offset : str, Series or array, optional
        Of the new rows: by default the columns that the fit had.

    Returns
    -------
    DataFrame
        Indexed as ``new``: ``estimate``, ``se``, ``lower`` and ``upper`` if an interval is asked for, ``known_group``.

    Raises
    ------
    DataError
        If a column is missing or has missing or unknown values, or the residual variance of a visit is not known.
    """
    for name, value in (("of", of), ("new_groups", new_groups), ("interval", interval)):
        checked_choice(name, value, OPTIONS[name])
    checked_choice("method", method, ("plugin", "corrected"))
    level = checked_level(level)
    rows = new_rows(fit.design, new, of, new_groups)
    seen, x = rows.group >= 0, fit.cross.basis.x_work(rows.X)
    group = rows.group if of == "group" else np.full(len(seen), -1)
    estimate, Phi = rows.X @ fit.beta.to_numpy(), phi(fit)
    shift = of_new_rows(fit.design, "offset", offset, new)
    estimate = estimate if shift is None else estimate + shift
    known = of_new_rows(fit.design, "weights", weights, new) if interval == "prediction" or of == "group" else None
    root = np.ones(len(seen)) if known is None else np.sqrt(known)

    correlated = not fit.residual.is_diagonal
    R = None
    if interval == "prediction" or of == "group" and correlated:
        code, cell, positions = fit.model.visits.of_new(new, rows.group)
        alpha = fit.model.parts(fit.alpha)[1]
        R = fit.model.unit**2 * np.array([fit.residual.matrix(one, positions) for one in alpha])
    variance = np.einsum("nx,xy,ny->n", x, Phi, x)
    corrected, added = method == "corrected", np.zeros(len(x))
    if corrected:
        dD, places = slopes_of_D(fit), fit.model.visits.positions if R is None else positions
        dR = fit.model.unit**2 * fit.model.slopes_of_R(fit.alpha, places)
        half = x @ fit.expected.R_inverse
        added = np.einsum("nx,xy,ny->n", half, fit.expected.spread, half)
    if interval == "prediction" or of == "group":
        variance += np.einsum("na,ab,nb->n", rows.Z, fit.D.to_numpy(), rows.Z)
    if interval == "prediction" and R is not None:
        variance += R[cell, code, code] / root**2
    for b, block in enumerate(blocks(fit)):
        there = np.flatnonzero(np.isin(group, block.group))
        if not len(there):
            continue
        at = np.searchsorted(block.group, group[there])
        Z, V, X, r = block.Z[at], block.V[at], block.X[at], block.r[at]
        c = np.einsum("nia,ab,nb->ni", Z, fit.D.to_numpy(), rows.Z[there])
        if correlated and R is not None:
            old = fit.model.visits.code[block.rows[at]]
            again = (old == code[there, None]).any(axis=1)
            beside = R[cell[there, None], old, code[there, None]] / root[there, None]
            beside = np.where(again[:, None], 0.0, beside)
            c += beside
            if interval != "prediction":  # what the residuals of the group say of this one is part of the target
                variance[there] += np.einsum("ni,ni->n", beside, _solve(block.R[at], beside))
        S = _solve(V, c)
        estimate[there] += np.einsum("ni,ni->n", S, r)
        gap, own = x[there] - np.einsum("nix,ni->nx", X, S), x[there]
        variance[there] += np.einsum("nx,xy,ny->n", gap, Phi, gap) - np.einsum("nx,xy,ny->n", own, Phi, own)
        variance[there] -= np.einsum("ni,ni->n", c, S)
        if corrected:
            pattern, dc = fit.model.batches[b].pattern[at], np.einsum("nia,kab,nb->kni", Z, dD, rows.Z[there])
            if correlated and R is not None:
                dc += dR[:, cell[there, None], old, code[there, None]] / root[there, None] * ~again[:, None]
            about = V, X, c[..., None], dc[..., None], x[there][:, None]
            added[there] = estimation_covariance(fit, b, pattern, *about)[:, 0, 0]
    variance += 2 * added
    se = np.sqrt(np.maximum(variance, 0.0))
    limits = {}
    if interval is not None:
        limits = {"lower": estimate - half_width(level) * se, "upper": estimate + half_width(level) * se}
    return pd.DataFrame({"estimate": estimate, "se": se, **limits, "known_group": seen}, new.index)


def _solve(M: np.ndarray, v: np.ndarray) -> np.ndarray:
    """M^-1 v for each row (rows, size); of a singular R the least solution."""
    try:
        return np.linalg.solve(M, v[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return np.einsum("nij,nj->ni", np.linalg.pinv(M, hermitian=True), v)
