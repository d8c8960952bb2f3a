"""Likelihood ratio tests of any two fits, each by the room that knows its random part."""

from __future__ import annotations

from lmmlib.inference.compare import Comparison
from lmmlib.inference.compare import compare as compare_one
from lmmlib.residual.compare import compare_residual
from lmmlib.residual.fitted import ResidualFitted
from lmmlib.several.compare import compare_several
from lmmlib.several.fitted import SeveralFitted


def compare(fit0, fit1, *, method: str = "auto", size: int = 10_000, rng=None) -> Comparison:
    """Likelihood ratio test of a smaller model within a larger one, equation :eq:`lrt` of the book.

    Fits with one grouping and counts by :func:`lmmlib.inference.compare.compare`; if one of the two has several
    groupings, by :func:`lmmlib.several.compare.compare_several`, or a residual covariance, by
    :func:`lmmlib.residual.compare.compare_residual`.

    Parameters
    ----------
    fit0, fit1 : Fit, SeveralFit, ResidualFit or GlmmFit
        The smaller and the larger model.
    method : {"auto", "chi-square", "chi-bar-square", "exact", "bootstrap"}
        Of several groupings, and of residual covariances, there is no exact law.
    size : int
        Number of draws of "exact" and "bootstrap".
    rng : Generator or int, optional
        Needed by these two; a whole number is a seed.

    Returns
    -------
    Comparison
    """
    if isinstance(fit0, SeveralFitted) or isinstance(fit1, SeveralFitted):
        return compare_several(fit0, fit1, method=method, size=size, rng=rng)
    if isinstance(fit0, ResidualFitted) or isinstance(fit1, ResidualFitted):
        return compare_residual(fit0, fit1, method=method, size=size, rng=rng)
    return compare_one(fit0, fit1, method=method, size=size, rng=rng)
