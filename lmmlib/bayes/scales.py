r"""Priors of variances in the one form that their conditionals need: an inverse Wishart, its scale fixed or random.

A half-Cauchy or half-t standard deviation is a mixture of inverse gamma variances over a scale that is itself inverse
gamma, equations :eq:`half-cauchy-mixture` and :eq:`huang-wand` of the book; the scales are drawn along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmlib.bayes.priors import Flat, HalfCauchy, HuangWand, InverseGamma, InverseWishart


@dataclass(frozen=True, eq=False)
class Scale:
    """An inverse Wishart prior whose scale may have a random part: S + 2 nu diag(1/a), 1/a_k gamma with A_k^2.

    ``df`` is that of the inverse Wishart given a; ``nu`` is 0 without a random part. A variance is the case q = 1.
    """

    df: float
    scale: np.ndarray
    nu: float
    A: np.ndarray

    @classmethod
    def of_sigma(cls, prior) -> Scale:
        """The prior of sigma2 in this form."""
        if isinstance(prior, InverseGamma):
            return cls(2 * prior.shape, np.array([[2 * prior.rate]]), 0.0, np.ones(1))
        if isinstance(prior, HalfCauchy):
            return cls(1.0, np.zeros((1, 1)), 1.0, np.array([prior.scale]))
        return cls(-1.0 if isinstance(prior, Flat) else 0.0, np.zeros((1, 1)), 0.0, np.ones(1))

    @classmethod
    def of_D(cls, prior, q: int, diagonal: bool) -> Scale:
        """The prior of D in this form; of each variance when D is diagonal."""
        if isinstance(prior, InverseWishart):
            return cls(prior.df, np.asarray(prior.scale), 0.0, np.ones(q))
        if isinstance(prior, HuangWand):
            df = prior.df if diagonal else prior.df + q - 1
            return cls(df, np.zeros((q, q)), prior.df, np.asarray(prior.scale))
        return cls(-1.0, np.zeros((q, q)), 0.0, np.ones(q))

    def log_density(self, v: np.ndarray) -> np.ndarray:
        """Log densities of variances (q, C), up to a constant, the scale of the prior integrated out."""
        density = -(self.df + 2) / 2 * np.log(v) - np.diag(self.scale)[:, None] / (2 * v)
        if self.nu:
            density -= (self.nu + 1) / 2 * np.log(self.nu / v + self.A[:, None] ** -2.0)
        return density

    def draw_rates(self, rng, precision: np.ndarray, df: float) -> np.ndarray:
        r"""1/a_k given the diagonal of D^-1 (q, C): gamma with shape (nu + q)/2 and rate nu (D^-1)_kk + 1/A_k^2.

        ``df`` is q of a full D, 1 of a variance.
        """
        if not self.nu:
            return np.zeros_like(precision)
        rate = self.nu * precision + self.A[:, None] ** -2.0
        return rng.standard_gamma((self.nu + df) / 2, precision.shape) / rate
