"""Covariances of the residuals of one group: who has which variance, and which visits are alike.

``lmmlib.fit(..., residual=lmmlib.residual.unstructured("week", by="treatment"))`` and the like.
"""

from lmmlib.residual.structures import ar1, by, compound, independent, unstructured

__all__ = ["ar1", "by", "compound", "independent", "unstructured"]
