r"""Modes of the random effects, with standard errors that say what they take as known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.laplace.modes import Modes


def modes(fit: FittedGlmm) -> Modes:
    r"""Modes of the random effects of a fit, with their errors.

    .. math:: \operatorname{Var}(\hat b_i - b_i) \approx \Lambda S_i^{-1}\Lambda'
        + \frac{d\hat b_i}{d\psi}\operatorname{Var}(\hat\psi)\frac{d\hat b_i}{d\psi}'

    Equation :eq:`mode-variance` of the book: the first part takes the parameters psi = (beta, D) as known, the second
    is what estimating them adds, through how the mode depends on them.
    """
    db, known, basis = fit.slopes.db, fit.inner.covariance, fit.rows.basis
    added = np.einsum("apn,pr,brn->abn", db, fit.cov_psi, db, optimize=True)
    groups = pd.Index(fit.design.group_names, name=fit.design.grouping)
    known, estimated = (basis.D_back(M.transpose(2, 0, 1)) for M in (known, known + added))
    return Modes(pd.DataFrame(basis.L_back(fit.inner.b).T, groups, list(fit.design.z_names)), known, estimated)
