"""Laplace's approximation for any model with random effects."""

from lmmlib.laplace.likelihood import MarginalFit, marginal

__all__ = ["MarginalFit", "marginal"]
