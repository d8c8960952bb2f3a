r"""Modes of the random effects of a Poisson mixed model, with standard errors that say what they take as known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmlib.entries import product
from lmmlib.laplace_modes import Modes
from lmmlib.poisson import turn
from lmmlib.poisson_fitted import FittedGlmm


@dataclass(frozen=True, eq=False)
class Errors:
    """Of the modes in the working basis: ``known`` (q, q, n) and their derivatives ``db`` (q, P, n)."""

    known: np.ndarray
    db: np.ndarray

    @classmethod
    def of(cls, fit: FittedGlmm) -> Errors:
        """At the estimates."""
        half = turn(fit.L, fit.inner.half.swapaxes(0, 1))
        return cls(product(half, half.swapaxes(0, 1)), fit.slopes.db)


def modes(fit: FittedGlmm) -> Modes:
    r"""Modes of the random effects of a fit, with their errors.

    .. math:: \operatorname{Var}(\hat b_i - b_i) \approx \Lambda S_i^{-1}\Lambda'
        + \frac{d\hat b_i}{d\psi}\operatorname{Var}(\hat\psi)\frac{d\hat b_i}{d\psi}'

    Equation :eq:`mode-variance` of the book: the first part takes the parameters psi = (beta, D) as known, the second
    is what estimating them adds, through how the mode depends on them.

    Parameters
    ----------
    fit : FittedGlmm

    Returns
    -------
    Modes
    """
    e, Rz = Errors.of(fit), fit.counts.basis.Rz
    added = np.einsum("apn,pr,brn->abn", e.db, fit.cov_psi, e.db, optimize=True)
    groups = pd.Index(fit.design.group_names, name=fit.design.grouping)

    def turned(M):
        """From the working basis to the columns of the formula, groups first."""
        left = np.linalg.solve(Rz, M.transpose(2, 0, 1))
        return np.linalg.solve(Rz, left.swapaxes(1, 2))

    return Modes(
        pd.DataFrame(np.linalg.solve(Rz, fit.inner.b).T, groups, list(fit.design.z_names)),
        turned(e.known),
        turned(e.known + added),
    )
