r"""Likelihood ratio tests between models with several groupings: a term dropped, columns of a term, fixed effects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lmmlib.common.arguments import checked_choice, checked_count, generator
from lmmlib.common.tails import chi2_tail
from lmmlib.design.design import Design
from lmmlib.equations.drawing import lmm
from lmmlib.errors import DesignError, ParameterError
from lmmlib.fitting.batch import fit_many
from lmmlib.fitting.fitted import Fitted
from lmmlib.inference.boundary import chi_bar_square_sf
from lmmlib.inference.compare import ROUNDING, SHARE, SINGULAR_NULL, Comparison
from lmmlib.inference.nested import nested_fixed, same_data
from lmmlib.several.fitted import SeveralFitted, refitted
from lmmlib.several.predict import pieces, simulate

METHODS = ("auto", "chi-square", "chi-bar-square", "bootstrap")
MIXTURE = (
    "the mixture is exact in the limit of many groups, when the other variances are not zero; of one term among "
    "several method='bootstrap' needs neither"
)


def random_parts(fit) -> list[Design]:
    """The designs of the random terms of a fit, of one grouping or of several."""
    if isinstance(fit, SeveralFitted):
        return [term.design for term in fit.terms.terms]
    return [fit.design] if fit.design.z_names else []


def _within(small: Design, large: Design) -> bool:
    """Whether a term is part of another: the same groups of rows, its columns among those of the other."""
    pairs = len(np.unique(small.group * large.n_groups + large.group))
    if not pairs == len(np.unique(small.group)) == len(np.unique(large.group)):
        return False
    if large.diagonal and large.Z.shape[1] > 1:
        return all(any(np.array_equal(a, b) for b in large.Z.T) for a in small.Z.T) and (
            small.diagonal or small.Z.shape[1] == 1
        )
    rest = small.Z - large.Z @ np.linalg.lstsq(large.Z, small.Z, rcond=None)[0]
    return bool((np.linalg.norm(rest, axis=0) <= 1e-8 * np.linalg.norm(small.Z, axis=0)).all())


def nested_terms(fit0, fit1) -> tuple[int, int]:
    """How many variances, and how many parameters of the random terms, the larger model has more.

    Raises
    ------
    ParameterError
        If a term of the first model is not within one of the second.
    """
    small, large = random_parts(fit0), random_parts(fit1)
    free = list(large)
    for part in small:
        home = next((one for one in free if _within(part, one)), None)
        if home is None:
            raise ParameterError(
                f"the random effects ({', '.join(part.z_names)} | {part.grouping}) of the first model are not within a "
                "term of the second, so the models are not nested; is their order right?"
            )
        free = [one for one in free if one is not home]
    variances = sum(len(one.z_names) for one in large) - sum(len(one.z_names) for one in small)
    return variances, len(fit1.theta) - len(fit0.theta)


def compare_several(fit0, fit1, *, method: str = "auto", size: int = 1000, rng=None) -> Comparison:
    r"""Likelihood ratio test of a smaller model within a larger one, either with several groupings.

    .. math:: T = 2(\hat\ell_1 - \hat\ell_0)

    Equation :eq:`lrt` of the book. Fixed effects, by ML only, and covariances: chi-square. One variance more, with its
    covariances, or a term of one column: half on df - 1 and half on df degrees of freedom (Stram and Lee 1994), an
    approximation that the ``note`` names. Anything: the parametric bootstrap.

    Parameters
    ----------
    fit0, fit1 : Fit or SeveralFit
        The smaller and the larger model, by one method on the same rows.
    method : {"auto", "chi-square", "chi-bar-square", "bootstrap"}
        "auto" is chi-square, and on the boundary chi-bar-square.
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
        If the chosen reference does not exist for these models, or a fit has not converged.
    """
    checked_choice("method", method, METHODS)
    for one in (fit0, fit1):
        if not isinstance(one, Fitted | SeveralFitted):
            raise ParameterError(f"models are compared as fits, from lmmlib.fit; got {type(one).__name__}")
        if not one.converged:
            raise DesignError(f"a fit did not converge ({one.reason}), so its likelihood is not its best")
    same_data(fit0, fit1)
    df_fixed = nested_fixed(fit0, fit1)
    variances, df_random = nested_terms(fit0, fit1)
    df = df_fixed + df_random
    if df == 0:
        raise ParameterError("the two models are the same: there is nothing to test")
    sizes = fit0.n_parameters, fit1.n_parameters
    test = Comparison(float(_ratio(fit0, fit1)), np.nan, "", method, fit0.loglik, fit1.loglik, *sizes)
    if test.statistic < 0:
        raise DesignError(f"the larger model fits worse by {-test.statistic:.3g}: an optimum was not found")
    if method == "bootstrap":
        return _bootstrap(fit0, fit1, test, size, rng)
    if method == "auto":
        method = "chi-bar-square" if variances else "chi-square"
    singular = SINGULAR_NULL if fit0.is_singular and df_random else ""
    if method == "chi-square":
        note = "the hypothesis is on the boundary, where chi-square is conservative" if variances else singular
        p = chi2_tail(test.statistic, df)
        return replace(test, method=method, p=p, reference=f"chi2({df})", note=note)
    if variances != 1:
        raise DesignError(
            f"{variances} variances are tested, and the chi-bar-square is for one; use "
            f"{'chi-square' if not variances else 'bootstrap'!r}, or add the terms one by one"
        )
    p = chi_bar_square_sf(test.statistic, [df - 1, df], np.array([0.5, 0.5]))
    reference = f"0.5 chi2({df - 1}) + 0.5 chi2({df})"
    return replace(test, method=method, p=p, reference=reference, note=singular or MIXTURE)


def _ratio(fit0, fit1) -> float:
    """Difference of the criteria, X in an orthonormal basis; zero when it is rounding."""
    ratio = fit0.criterion - fit1.criterion - _of_x(fit0, fit1)
    return 0.0 if abs(ratio) <= ROUNDING + SHARE * abs(fit1.criterion) else float(ratio)


def _of_x(fit0, fit1) -> float:
    """What REML criteria differ by because X is in another basis."""
    return 2 * (fit0.cross.basis.logdet_x - fit1.cross.basis.logdet_x) if fit0.method == "REML" else 0.0


def _simulated(fit, size: int, rng: np.random.Generator) -> np.ndarray:
    """Responses that a fit simulates, (n_obs, size)."""
    return lmm(fit.design, *fit.estimates, rng, size) if isinstance(fit, Fitted) else simulate(fit, size, rng=rng)


def _criteria(fit, Y: np.ndarray) -> np.ndarray:
    """Criteria of the same model for other responses (n_obs, B), NaN where no optimum was found, (B,)."""
    if isinstance(fit, Fitted):
        fits = fit_many(fit.design, Y, method=fit.method)
        return np.where(fits.converged, fits.criterion, np.nan)
    return np.array([one.criterion if one.converged else np.nan for one in (refitted(fit, y) for y in Y.T)])


def _bootstrap(fit0, fit1, test: Comparison, size: int, rng) -> Comparison:
    """The comparison with statistics of data that the smaller model simulates; both are fitted to them."""
    size, rng, parts = checked_count("size", size), generator(rng), []
    for many in pieces(size):
        Y = _simulated(fit0, many, rng)
        ratio = _criteria(fit0, Y) - _criteria(fit1, Y) - _of_x(fit0, fit1)
        parts.append(np.where(np.abs(ratio) <= ROUNDING, 0.0, ratio))
    draws = np.concatenate(parts)
    draws = draws[draws >= 0]  # no number where a fit failed; below 0 an optimum was not found
    failed = size - len(draws)
    if not len(draws):
        raise DesignError("no simulated data set could be fitted")
    extreme = int((draws >= test.statistic - 1e-9 * max(1.0, test.statistic)).sum())
    p = (1 + extreme) / (1 + len(draws))
    note = f"{failed} of {size} simulated data sets could not be fitted and are not counted" if failed else ""
    reference, error = f"parametric bootstrap, {len(draws)} draws", float(np.sqrt(p * (1 - p) / len(draws)))
    return replace(test, p=p, reference=reference, mcse=error, draws=draws, n_failed=failed, note=note)
