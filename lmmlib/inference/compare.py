r"""Comparisons of fitted models: likelihood ratio tests with the right reference, and tables of AIC and BIC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_choice, shown
from lmmlib.common.summary import Shown, Summary
from lmmlib.common.tails import chi2_tail
from lmmlib.common.text import fixed, p_equals
from lmmlib.design.cross import cross_products
from lmmlib.errors import DesignError, ParameterError
from lmmlib.fitting.fitted import Criteria, Fitted, Linear, Maximum
from lmmlib.inference.bootstrap import refits
from lmmlib.inference.boundary import chi_bar_square_sf, exact_null, variance_weights
from lmmlib.inference.nested import is_diagonal, matches, nested_fixed, nested_random, same_data

ONE_OF_SEVERAL = (
    "the mixture is exact in the limit of many groups, when the other variances are not zero; of one term among "
    "several method='bootstrap' needs neither"
)
SINGULAR_NULL = "the smaller model is singular, which this reference does not allow for"
METHODS = ("auto", "chi-square", "chi-bar-square", "exact", "bootstrap")
# Rounding of a statistic: that of the optimisers, and of sums of the size of the criterion.
ROUNDING, SHARE = 1e-8, 1e-11


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """A likelihood ratio test.

    Attributes
    ----------
    statistic : float
        Difference of the criteria, at least 0.
    p : float
    reference : str
        The distribution that p comes from.
    method : str
    mcse : float or None
        Monte Carlo standard error of p, where it is simulated.
    draws : (size,) array or None
        Simulated statistics of the hypothesis.
    n_failed : int
        Simulated data sets for which an optimum was not found; p counts the others.
    loglik0, loglik1 : float
    n_parameters0, n_parameters1 : int
    note : str
        What to keep in mind; may be empty.
    """

    statistic: float
    p: float
    reference: str
    method: str
    loglik0: float
    loglik1: float
    n_parameters0: int
    n_parameters1: int
    mcse: float | None = None
    draws: np.ndarray | None = field(default=None, repr=False)
    n_failed: int = 0
    note: str = ""

    def summary(self) -> Summary:
        """Statistic, p and reference in a line, and what to keep in mind."""
        error = "" if self.mcse is None else f" (Monte Carlo se {fixed(self.mcse, 4)})"
        line = f"Comparison: LRT = {fixed(self.statistic, 4)}, p {p_equals(self.p)}{error}; reference {self.reference}"
        return Summary((line,), notes=(f"  {self.note}",) if self.note else ())


def compare(
    fit0: Criteria, fit1: Criteria, *, method: str = "auto", size: int = 10_000, rng=None, nested=nested_random
) -> Comparison:
    r"""Likelihood ratio test of a smaller model within a larger one.

    .. math:: T = 2(\hat\ell_1 - \hat\ell_0)

    Equation :eq:`lrt` of the book. Fixed effects: chi-square, by ML only. A random column more: the chi-bar-square
    :eq:`chi-bar-square`, half on q and half on q + 1 degrees of freedom (Stram and Lee 1994); for a diagonal D up to
    three new columns, with weights from the information. Both hold if the other variances are not zero. One variance
    alone, by ML also together with fixed effects: the exact law :eq:`lrt-spectral`. One variance of several that are
    uncorrelated, by REML: the law that would be exact were the other random effects known and taken out, an
    approximation (Greven et al. 2008). Anything: the bootstrap :eq:`bootstrap-p`.

    Variances of levels, correlations and free covariances of residuals are tested in the interior, by chi-square. Of
    one term among several the mixture is an approximation, which the ``note`` names.

    Parameters
    ----------
    fit0 : Fit, SeveralFit, ResidualFit or GlmmFit
        The smaller model; for no random effects at all fit ``(0 | g)``.
    fit1 : Fit, SeveralFit, ResidualFit or GlmmFit
        The larger model, by the same method on the same rows, with the same weights and offset.
    method : {"auto", "chi-square", "chi-bar-square", "exact", "bootstrap"}
        "auto" is chi-square in the interior and chi-bar-square on the boundary. "exact" says in its ``reference``
        whether the law is exact or approximate.
    size : int
        Number of draws of "exact" and "bootstrap".
    rng : Generator or int, optional
        Needed by these two; a whole number is a seed.
    nested : function
        Of the two fits: how many variances of the larger model are zero in the smaller, on the boundary, and how many
        parameters of its covariances it has more. It knows how the random parts of these fits lie within each other.

    Returns
    -------
    Comparison

    Raises
    ------
    ParameterError
        If the models are not nested, differ in data or method, or are REML fits with different fixed effects.
    DesignError
        If the chosen reference does not exist for these models, or a fit has not converged.
    """
    checked_choice("method", method, METHODS)
    same_data(fit0, fit1)
    df_fixed = nested_fixed(fit0, fit1)
    boundary, df_random = nested(fit0, fit1)
    if (df := df_fixed + df_random) == 0:
        raise ParameterError("the two models are the same: there is nothing to test")
    sizes = fit0.n_parameters, fit1.n_parameters
    test = Comparison(_statistic(fit0, fit1), np.nan, "", method, fit0.loglik, fit1.loglik, *sizes)
    if method == "auto":
        test = replace(test, method="chi-bar-square" if boundary else "chi-square")
    if test.method == "chi-square":
        note = SINGULAR_NULL if df_random and fit0.is_singular else ""
        note = "the hypothesis is on the boundary, where chi-square is conservative" if boundary else note
        return replace(test, p=chi2_tail(test.statistic, df), reference=f"chi2({df})", note=note)
    if test.method == "chi-bar-square" and not boundary:
        raise DesignError("no variance is on the boundary of this hypothesis; its reference is method='chi-square'")
    if test.method == "chi-bar-square" and boundary == 1:
        # All new parameters but the variance are covariances, which may have either sign.
        note = "" if isinstance(fit1, Maximum) else ONE_OF_SEVERAL
        return _mixture(test, fit0, np.array([0.5, 0.5]), df - 1, note)
    if test.method == "chi-bar-square" and not is_diagonal(fit1):
        raise DesignError(
            f"the chi-bar-square of {boundary} variances at once has weights that depend on the design; use "
            "method='bootstrap', or add them one by one"
        )
    if isinstance(fit0, Linear) and isinstance(fit1, Linear) and method == "bootstrap":
        return _bootstrap(fit0, fit1, test, size, rng)
    if not (isinstance(fit0, Fitted) and isinstance(fit1, Fitted)):
        normal = isinstance(fit0, Linear) and isinstance(fit1, Linear)
        other = "method='bootstrap'" if normal else "simulate with fit0.simulate() and refit both"
        raise DesignError(
            f"method={test.method!r} is for normal responses with one grouping and independent residuals; of these "
            f"models use 'chi-square', which is conservative on the boundary, or {other}"
        )
    if method == "exact":
        return _spectral(fit0, fit1, test, df_fixed, size, rng)
    return _mixture(test, fit0, _diagonal_weights(fit0, fit1), df_fixed)


def _bootstrap(fit0: Linear, fit1: Linear, test: Comparison, size: int, rng) -> Comparison:
    small, large = refits(fit0, [fit0, fit1], size, rng)
    draws = _ratio(fit0, fit1, small.criterion, large.criterion)
    failed = small.failed | large.failed | (draws < 0)  # below 0: the optimum of the larger model was not found
    if failed.all():
        raise DesignError(f"no simulated data set could be fitted: {large.reason[0]}")
    note = f"{failed.sum()} of {size} simulated data sets could not be fitted and are not counted"
    test = replace(test, n_failed=int(failed.sum()), note=note if failed.any() else "")
    return _simulated(test, draws[~failed], "parametric bootstrap")


def _spectral(fit0: Fitted, fit1: Fitted, test: Comparison, df_fixed: int, size: int, rng) -> Comparison:
    """The exact law, or for one of several variances the approximation by that of a model with this one alone."""
    if not len(fit0.D) and len(fit1.D) == 1:
        law = f"exact law of the {'RLRT' if fit1.method == 'REML' else 'LRT'}"
        return _simulated(test, exact_null(fit1.cross, fit1.method, size, rng, df_fixed), law)
    if not is_diagonal(fit1) or len(fit1.D) - len(fit0.D) != 1 or df_fixed or fit1.method != "REML":
        raise DesignError(
            "the exact law is for one random column against none, (0 | g), and its approximation for one more of "
            "several that are uncorrelated, (x || g), by REML and with the same fixed effects; use method='bootstrap'"
        )
    (new,) = set(range(len(fit1.D))) - {k for k, _ in matches(fit0.design.Z, fit1.design.Z)}
    Z, name = fit1.design.Z[:, [new]], fit1.design.z_names[new]
    alone = cross_products(replace(fit1.design, Z=Z, z_names=(name,), diagonal=False))
    note = f"the law is exact when the other random effects are known, and {name} is the only one estimated"
    draws = exact_null(alone, "REML", size, rng)
    return _simulated(replace(test, note=note), draws, f"approximate law of the RLRT of {name}")


def _simulated(test: Comparison, draws: np.ndarray, reference: str) -> Comparison:
    """The comparison with statistics that were simulated."""
    # A statistic that is zero up to rounding is exceeded by all.
    extreme = int((draws >= test.statistic - 1e-9 * max(1.0, test.statistic)).sum())
    p = (1 + extreme) / (1 + len(draws))
    mcse = float(np.sqrt(p * (1 - p) / len(draws)))
    return replace(test, p=p, reference=f"{reference}, {len(draws)} draws", mcse=mcse, draws=draws)


def _mixture(test: Comparison, fit0: Criteria, weights: np.ndarray, df: int, note: str = "") -> Comparison:
    """The comparison with a chi-bar-square of df degrees of freedom and more, one by one."""
    dfs = [df + k for k in range(len(weights))]
    digits = 1 if len(weights) == 2 else 3
    reference = " + ".join(f"{fixed(w, digits)} chi2({d})" for w, d in zip(weights, dfs, strict=True))
    p, note = chi_bar_square_sf(test.statistic, dfs, weights), SINGULAR_NULL if fit0.is_singular else note
    return replace(test, p=p, reference=reference, note=note)


def _diagonal_weights(fit0: Fitted, fit1: Fitted) -> np.ndarray:
    found, D = matches(fit0.design.Z, fit1.design.Z), np.zeros(fit1.D.shape)
    for (k, factor), variance in zip(found, np.diag(fit0.D), strict=True):
        D[k, k] = variance * factor**2
    new = sorted(set(range(len(D))) - {k for k, _ in found})
    return variance_weights(fit1.cross, D, fit0.sigma2, new, fit1.method)


def _statistic(fit0: Criteria, fit1: Criteria) -> float:
    """Likelihood ratio of the two fits; an error if an optimum was not found."""
    for name, model in (("first", fit0), ("second", fit1)):
        if not model.converged:
            raise DesignError(f"the {name} fit did not converge ({model.reason}), so its likelihood is not its best")
    statistic = float(_ratio(fit0, fit1, fit0.criterion, fit1.criterion))
    if statistic < 0:
        raise DesignError(
            f"the larger model fits worse by {-statistic:.3g}: an optimum was not found; see Fit.reason of both"
        )
    return statistic


def _ratio(fit0: Criteria, fit1: Criteria, criterion0, criterion1) -> np.ndarray:
    """Difference of the criteria, of these responses or others; zero when it is rounding.

    REML's log-determinant of X depends on the basis of its columns: it is taken in an orthonormal one.
    """
    ratio = np.asarray(criterion0 - criterion1, float)
    if fit0.method == "REML" and isinstance(fit0, Linear) and isinstance(fit1, Linear):
        ratio = ratio - 2 * (fit0.cross.basis.logdet_x - fit1.cross.basis.logdet_x)
    return np.where(np.abs(ratio) <= ROUNDING + SHARE * np.abs(criterion1), 0.0, ratio)


def aic_table(fits: Mapping[str, Criteria]) -> pd.DataFrame:
    r"""AIC and BIC of several models of the same data.

    .. math:: \mathrm{AIC} = -2\hat\ell + 2k, \qquad \mathrm{BIC} = -2\hat\ell + k\log N

    Equations :eq:`aic` and :eq:`bic` of the book: k counts fixed effects, the entries of theta, and sigma2, and N is
    the number of observations, by ML and by REML, as lme4 counts.

    Parameters
    ----------
    fits : mapping of label to Fit

    Returns
    -------
    DataFrame
        Columns ``method``, ``n_parameters``, ``loglik``, ``aic``, ``bic``, ``delta_aic``; a row for each model.

    Raises
    ------
    ParameterError
        If data or methods differ, or REML fits have different fixed effects.
    """
    if not isinstance(fits, Mapping) or not fits:
        raise ParameterError(f"fits must map labels to fits, such as {{'small': fit0}}; got {shown(fits)}")
    first = next(iter(fits.values()))
    for label, other in fits.items():
        same_data(first, other)
        X0, X1 = first.design.X, other.design.X
        if first.method == "REML" and (X0.shape != X1.shape or not np.allclose(X0, X1, rtol=1e-10, atol=0)):
            raise ParameterError(
                f"model {label!r} has other fixed effects than the first, so their REML criteria, and AIC and BIC, "
                "do not compare; fit all with method='ML'"
            )
    rows = {label: [f.method, f.n_parameters, f.loglik, f.aic, f.bic] for label, f in fits.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["method", "n_parameters", "loglik", "aic", "bic"])
    return table.assign(delta_aic=table["aic"] - table["aic"].min())
