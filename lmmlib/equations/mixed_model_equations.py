r"""Henderson's mixed model equations: fixed effects and predictions from one linear system, with all their errors.

As printed they hold :math:`D^{-1}`. With :math:`D = \Lambda_D\Lambda_D'` and :math:`b_i = \Lambda_Du_i` the rows of
group i become :math:`\Lambda_D'Z_i'X_i\beta + (\Lambda_D'Z_i'Z_i\Lambda_D + \sigma^2 I)u_i = \Lambda_D'Z_i'y_i`,
without an inverse: a singular D is as good as any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_made, checked_sigma2
from lmmlib.design.cross import CrossProducts
from lmmlib.equations.weighted import relative_factor


@dataclass(frozen=True, eq=False)
class MixedModelSolution:
    """Solution of the mixed model equations, and the blocks of the inverse that are covariances of its errors.

    Attributes
    ----------
    beta : (p,) array
        The GLS estimate.
    b : (n_groups, q) array
        The best linear unbiased predictions.
    cov_beta : (p, p) array
        Covariance of the estimate.
    cov_b : (n_groups, q, q) array
        Prediction error variances, of :math:`\\hat b_i - b_i`.
    cov_beta_b : (n_groups, p, q) array
        Covariances of the errors of beta and of b_i.
    """

    beta: np.ndarray
    b: np.ndarray
    cov_beta: np.ndarray
    cov_b: np.ndarray
    cov_beta_b: np.ndarray
    group_names: tuple
    x_names: tuple[str, ...]
    z_names: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """The predictions, a row for each group and a column for each random effect."""
        return pd.DataFrame(self.b, pd.Index(self.group_names, name="group"), list(self.z_names))

    def __repr__(self) -> str:
        return (
            f"MixedModelSolution: {len(self.beta)} fixed, {self.b.size} random effects in {len(self.b)} groups\n"
            f"  fixed:  {', '.join(self.x_names)}\n"
            f"  random: {', '.join(self.z_names) or 'none'}"
        )


def henderson(cross: CrossProducts, D, sigma2: float) -> MixedModelSolution:
    r"""Solve Henderson's mixed model equations by eliminating the random effects, one group after the other.

    .. math:: \begin{pmatrix} X'X & X'Z \\ Z'X & Z'Z + \sigma^2(I_n \otimes D^{-1}) \end{pmatrix}
        \begin{pmatrix} \hat\beta \\ \hat b \end{pmatrix} = \begin{pmatrix} X'y \\ Z'y \end{pmatrix}

    Equation :eq:`mixed-model-equations` of the book; Henderson (1975). With :math:`b_i = \Lambda_Du_i` and
    :math:`Q_i = \Lambda_D'Z_i'Z_i\Lambda_D + \sigma^2 I` the rows of group i read
    :math:`\hat u_i = Q_i^{-1}\Lambda_D'Z_i'(y_i - X_i\hat\beta)`; put into the first rows they leave p equations for
    :math:`\hat\beta`.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
        May be singular.
    sigma2 : float

    Returns
    -------
    MixedModelSolution

    Raises
    ------
    DesignError
        If the columns of X are linearly dependent; names them.
    ParameterError
        If D or sigma2 is outside its domain, or D so large beside sigma2 that the elimination has no digits left.
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    cross.require_full_rank()
    sigma2 = checked_sigma2(sigma2)
    L = relative_factor(cross, D, sigma2, "the elimination has") * np.sqrt(sigma2)
    base, basis, (ZtZ, index) = cross.work, cross.basis, cross.patterns
    inverse = np.linalg.inv(L.T @ ZtZ @ L + sigma2 * np.eye(len(L)))[index]
    LtZtX, LtZty = L.T @ base.ZtX, base.Zty @ L

    # u_i = alone - G beta: what a group has to say, and how it answers to beta.
    alone, G = np.einsum("gab,gb->ga", inverse, LtZty), inverse @ LtZtX
    schur = base.XtX - np.einsum("gqa,gqb->ab", LtZtX, G)
    beta = np.linalg.solve(schur, base.Xty - np.einsum("gqa,gq->a", LtZtX, alone))
    u = alone - G @ beta

    # sigma2 times the blocks of the inverse of the whole matrix; then back from u to b, and to the formula's columns.
    Phi = sigma2 * np.linalg.inv(schur)
    GPhi = G @ Phi
    cov_u = sigma2 * inverse + GPhi @ np.swapaxes(G, 1, 2)
    to_b = basis.L_back(L)
    return MixedModelSolution(
        beta=basis.beta_back(beta),
        b=u @ to_b.T,
        cov_beta=basis.cov_beta_back(Phi),
        cov_b=to_b @ cov_u @ to_b.T,
        cov_beta_b=-basis.x_back @ np.swapaxes(GPhi, 1, 2) @ to_b.T,
        group_names=cross.group_names,
        x_names=cross.x_names,
        z_names=cross.z_names,
    )
