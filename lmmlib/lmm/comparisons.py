"""Likelihood ratio tests of any two fits: what their rooms say of their random parts, and one test for all."""

from __future__ import annotations

from lmmlib.inference import compare as comparison
from lmmlib.inference.compare import Comparison
from lmmlib.inference.nested import nested_random
from lmmlib.residual.fitted import ResidualFitted
from lmmlib.residual.nested import nested_covariances
from lmmlib.several.fitted import SeveralFitted
from lmmlib.several.nested import nested_terms


def compare(fit0, fit1, *, method: str = "auto", size: int = 10_000, rng=None) -> Comparison:
    """Likelihood ratio test of a smaller model within a larger one, equation :eq:`lrt` of the book.

    :func:`lmmlib.inference.compare.compare`, which knows from :func:`lmmlib.several.nested.nested_terms` how models
    with several groupings lie within each other, and from :func:`lmmlib.residual.nested.nested_covariances` those with
    a residual covariance.

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
    nested, fits = nested_random, (fit0, fit1)
    if any(isinstance(one, SeveralFitted) for one in fits):
        nested = nested_terms
    elif any(isinstance(one, ResidualFitted) for one in fits):
        nested = nested_covariances
    return comparison.compare(fit0, fit1, method=method, size=size, rng=rng, nested=nested)
