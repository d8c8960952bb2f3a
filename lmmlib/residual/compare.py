r"""Likelihood ratio tests between models of which one has a residual covariance: which are nested, by which law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lmmlib.common.arguments import checked_choice, checked_count, generator
from lmmlib.common.small import symmetric_units, vech
from lmmlib.common.tails import chi2_tail
from lmmlib.equations.drawing import lmm
from lmmlib.errors import DesignError, LmmError, ParameterError
from lmmlib.fitting.batch import fit_many
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.boundary import chi_bar_square_sf
from lmmlib.inference.compare import ROUNDING, SHARE, SINGULAR_NULL, Comparison
from lmmlib.inference.nested import OUTSIDE, nested_fixed, same_data
from lmmlib.residual.blocks import simulate
from lmmlib.residual.fitted import ResidualFitted

METHODS = ("auto", "chi-square", "chi-bar-square", "bootstrap")
# Groups of each size whose covariances are compared.
FEW = 200


def compare_residual(fit0, fit1, *, method: str = "auto", size: int = 1000, rng=None) -> Comparison:
    r"""Likelihood ratio test of a smaller model within a larger one, either with a residual covariance.

    .. math:: T = 2(\hat\ell_1 - \hat\ell_0)

    Equation :eq:`lrt` of the book. Variances of levels, correlations and free covariances are tested in the interior:
    chi-square. A random column more lies on the boundary: half on df - 1 and half on df degrees of freedom.

    Parameters
    ----------
    fit0, fit1 : Fit or ResidualFit
        The smaller and the larger model, by one method on the same rows.
    method : {"auto", "chi-square", "chi-bar-square", "bootstrap"}
    size : int
        Simulated data sets of the bootstrap.
    rng : Generator or int, optional
        For the bootstrap; a whole number is a seed.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If the models are not nested, differ in data or method, or are REML fits with different fixed effects.
    DesignError
        If the chosen reference does not exist for these models, or an optimum was not found.
    """
    checked_choice("method", method, METHODS)
    for one in (fit0, fit1):
        if not isinstance(one, Fitted | ResidualFitted):
            raise ParameterError(f"models are compared as fits, from lmmlib.fit; got {type(one).__name__}")
        if not one.converged:
            raise DesignError(f"a fit did not converge ({one.reason}), so its likelihood is not its best")
    same_data(fit0, fit1)
    a, b = fit0.design, fit1.design
    pairs = len(np.unique(a.group * b.n_groups + b.group))
    if all(len(one.D) or isinstance(one, ResidualFitted) for one in (fit0, fit1)) and pairs > min(
        a.n_groups, b.n_groups
    ):
        raise ParameterError(f"the fits have different groups, {a.grouping!r} and {b.grouping!r}")
    df_fixed = nested_fixed(fit0, fit1)
    new, df = nested_covariances(fit0, fit1)
    df += df_fixed
    if not df:
        raise ParameterError("the two models are the same: there is nothing to test")
    statistic = float(_ratio(fit0, fit1, fit0.criterion, fit1.criterion))
    if statistic < 0:
        raise DesignError(
            f"the larger model fits worse by {-statistic:.3g}: an optimum was not found; see Fit.reason of both"
        )
    sizes = fit0.n_parameters, fit1.n_parameters
    test = Comparison(statistic, np.nan, "", method, fit0.loglik, fit1.loglik, *sizes)
    if method == "bootstrap":
        return _bootstrap(fit0, fit1, test, size, rng)
    note = SINGULAR_NULL if df > df_fixed and fit0.is_singular else ""
    if method == "chi-square" or method == "auto" and not new:
        note = "the hypothesis is on the boundary, where chi-square is conservative" if new else note
        return replace(test, method="chi-square", p=chi2_tail(statistic, df), reference=f"chi2({df})", note=note)
    if new != 1:
        reason = f"{new} new random columns have weights that depend on the design" if new else "no variance is new"
        raise DesignError(f"{reason}; use method={'bootstrap' if new else 'chi-square'!r}")
    p = chi_bar_square_sf(statistic, [df - 1, df], [0.5, 0.5])
    reference = f"0.5 chi2({df - 1}) + 0.5 chi2({df})"
    return replace(test, method="chi-bar-square", p=p, reference=reference, note=note)


def nested_covariances(fit0, fit1) -> tuple[int, int]:
    r"""New random columns on the boundary of the hypothesis, and parameters of V that it has less.

    V is linear in its parameters, :math:`V = \sum_r\alpha_r\dot V_r`: one model is within another if its
    :math:`\dot V_r` are combinations of those of the other. Where V is not linear, for ``ar1``, they are taken at
    the correlations of the smaller model, zero if it has none. The parameters of the larger model at the estimate of
    the smaller say whether the hypothesis lies on the boundary: the new random columns without variance there.

    Raises
    ------
    ParameterError
        If the models are not nested.
    """
    design, rho = fit1.design, getattr(fit0, "rho", None)
    first = [np.flatnonzero(design.n_i == m)[:FEW] for m in np.unique(design.n_i[design.n_i > 0])]
    rows = [design.rows(i) for i in np.concatenate(first)]
    small, coefficients = _covariances(fit0, rows, None)
    large, _ = _covariances(fit1, rows, np.zeros(1) if rho is None else rho)
    lengths = np.maximum(np.linalg.norm(large, axis=1, keepdims=True), 1e-300)
    weights = np.linalg.lstsq((large / lengths).T, small.T)[0] / lengths
    rest, length = np.linalg.norm(small - weights.T @ large, axis=1), np.linalg.norm(small, axis=1)
    df = (fit1.n_parameters - len(fit1.beta)) - (fit0.n_parameters - len(fit0.beta))
    if (rest > OUTSIDE * length).any() or df < 0:
        raise ParameterError(
            f"the covariances of the first model ({_told(fit0)}) are not within those of the second ({_told(fit1)}), "
            "so the models are not nested; is their order right? aic_table compares any models"
        )
    E = symmetric_units(len(fit1.D), design.diagonal)
    z = np.linalg.norm(design.Z, axis=0) / np.sqrt(fit1.n_obs)
    roots = np.linalg.eigvalsh(np.tensordot((weights @ coefficients)[: len(E)], E, 1) * np.outer(z, z))
    lost = int((roots < OUTSIDE * coefficients @ small[:, 0]).sum())
    return min(lost, max(len(fit1.D) - len(fit0.D), 0)), df


def _told(fit) -> str:
    """Random effects and residuals in words."""
    return (
        f"{', '.join(fit.design.z_names) or 'no random effects'}; residual {getattr(fit, 'residual', 'independent()')}"
    )


def _covariances(fit, rows: list[np.ndarray], rho: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the V of groups, side by side (k, entries), and the sum of them that V is at the estimate (k,)."""
    if isinstance(fit, ResidualFitted):
        return fit.covariances(rows, rho)
    Z, E = fit.design.standard_rows(fit.design.y)[2], symmetric_units(len(fit.D), fit.design.diagonal)
    parts = [np.concatenate([Z[r] @ E @ Z[r].T, np.eye(len(r))[None]]).reshape(len(E) + 1, -1) for r in rows]
    entries = [fit.D.to_numpy()[a, b] for a, b in vech(len(fit.D), fit.design.diagonal)]
    return np.hstack(parts), np.array([*entries, fit.sigma2])


def _ratio(fit0, fit1, criterion0, criterion1) -> np.ndarray:
    """Difference of criteria, that of X in an orthonormal basis by REML; zero when it is rounding."""
    ratio = np.asarray(criterion0 - criterion1, float)
    if fit0.method == "REML":
        ratio = ratio - 2 * (fit0.cross.basis.logdet_x - fit1.cross.basis.logdet_x)
    return np.where(np.abs(ratio) <= ROUNDING + SHARE * np.abs(criterion1), 0.0, ratio)


def _bootstrap(fit0, fit1, test: Comparison, size: int, rng) -> Comparison:
    """The test with the law of the statistic in data that the smaller model simulates."""
    size, rng = checked_count("size", size), generator(rng)
    Y = simulate(fit0, size, rng) if isinstance(fit0, ResidualFitted) else _plain(fit0, size, rng)
    draws = _ratio(fit0, fit1, _criteria(fit0, Y), _criteria(fit1, Y))
    good = np.isfinite(draws) & (draws >= 0)
    if not good.any():
        raise DesignError("no simulated data set could be fitted by both models")
    extreme = int((draws[good] >= test.statistic - 1e-9 * max(1.0, test.statistic)).sum())
    p, failed = (1 + extreme) / (1 + int(good.sum())), int((~good).sum())
    note = f"{failed} of {size} simulated data sets could not be fitted and are not counted" if failed else ""
    about = {"mcse": float(np.sqrt(p * (1 - p) / good.sum())), "draws": draws[good], "n_failed": failed, "note": note}
    return replace(test, p=p, reference=f"parametric bootstrap, {int(good.sum())} draws", **about)


def _plain(fit: Fitted, size: int, rng: np.random.Generator) -> np.ndarray:
    """Responses (n_obs, size) from a fit without residual covariance."""
    beta, D, sigma2 = fit.estimates
    return lmm(fit.design, beta, D, sigma2, rng, size)


def _criteria(fit, Y: np.ndarray) -> np.ndarray:
    """Criteria of the refits to columns of Y, NaN where one failed."""
    if isinstance(fit, Fitted):
        fits = fit_many(fit.design, Y, method=fit.method)
        return np.where(fits.failed, np.nan, fits.criterion)
    found = np.full(Y.shape[1], np.nan)
    for k, y in enumerate(Y.T):
        try:
            again = fit.again(y)
        except LmmError:
            continue
        found[k] = again.criterion if again.converged else np.nan
    return found
