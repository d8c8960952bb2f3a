"""What a fit of a generalised linear mixed model is, of which the other modules ask their questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lmmlib.fitting.fitted import Maximum
from lmmlib.glmm.laplace import Slopes, slopes
from lmmlib.glmm.rows import Inner, Rows, modes


@dataclass(frozen=True, eq=False)
class FittedGlmm(Maximum):
    """A fitted generalised linear mixed model.

    Attributes
    ----------
    cov_beta : DataFrame
        The covariance of beta, D estimated too: a block of the inverse of minus the Hessian of the marginal
        log-likelihood.
    family : str
        Of the responses given the random effects.
    loglik : float
        Marginal log-likelihood, by Laplace or by quadrature.
    notes : tuple of str
        What the data have that a reader should know, such as groups without a count above zero.
    """

    family: str
    n_quadrature: int
    notes: tuple[str, ...]
    psi: np.ndarray = field(repr=False)
    cov_psi: np.ndarray = field(repr=False)
    rows: Rows = field(repr=False)
    u: np.ndarray | None = field(repr=False)

    @property
    def offsets(self) -> np.ndarray:
        """The offset of each row, (n_obs,), in the order of the data; zeros if there is none."""
        return self.rows.in_data_order(self.rows.offset)

    @property
    def L(self) -> np.ndarray:
        """The factor of D in the working basis, (q, q)."""
        return self.inner.density.L

    @cached_property
    def inner(self) -> Inner:
        """The groups at the modes of their random effects, in the working basis."""
        return modes(self.rows, *self.rows.split(self.psi), self.u)

    @cached_property
    def slopes(self) -> Slopes:
        """How the modes depend on the parameters, in the working basis."""
        return slopes(self.inner)
