r"""Sums weighted by the inverse covariance: :math:`\sum X_i'V_i^{-1}X_i` and its kin, from cross-products alone.

With Woodbury's identity :math:`V_i^{-1} = (I - Z_i K_i Z_i')/\sigma^2`, every weighted sum is the plain sum
less a correction through :math:`Z_i`; a row of the data is never touched again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmmlib.common.arguments import checked_D, checked_made, checked_sigma2, numbers
from lmmlib.common.small import factor, logdet
from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.equations.pieces import woodbury_factor
from lmmlib.errors import ParameterError

# X'V^-1 X is a difference of sums 1 + D/sigma2 times its size: at this ratio four digits are left.
LIMIT = 1e11


@dataclass(frozen=True, eq=False)
class Weighted:
    r"""Sums weighted by :math:`V_i^{-1}`, in the working basis.

    ``H`` (n_patterns, q, q) is that in :math:`V_i^{-1} = (I - Z_i H'H Z_i')/\sigma^2`; H Z' is never larger than 1,
    while K = H'H grows as D when a group has fewer rows than random columns. ``logdet`` is the sum of
    :math:`\log|V_i|`.
    """

    cross: CrossProducts
    sigma2: float
    H: np.ndarray
    logdet: float

    @cached_property
    def WtVW(self) -> np.ndarray:
        """:math:`\\sum_iW_i'V_i^{-1}W_i` for W = [X, y], (p+1, p+1)."""
        data = Responses.of_cross(self.cross)
        HW = self.HZt(data.ZtW[0])
        return (data.WtW[0] - np.tensordot(HW, HW, ([0, 1], [0, 1]))) / self.sigma2

    @property
    def XtVX(self) -> np.ndarray:
        """:math:`\\sum_iX_i'V_i^{-1}X_i`, (p, p)."""
        return self.WtVW[:-1, :-1]

    @property
    def XtVy(self) -> np.ndarray:
        """:math:`\\sum_iX_i'V_i^{-1}y_i`, (p,)."""
        return self.WtVW[:-1, -1]

    @property
    def ytVy(self) -> float:
        """:math:`\\sum_iy_i'V_i^{-1}y_i`."""
        return float(self.WtVW[-1, -1])

    @cached_property
    def K(self) -> np.ndarray:
        """K_i = H'H of each pattern, (n_patterns, q, q): :math:`DZ_i'V_i^{-1} = K_iZ_i'`."""
        return np.einsum("gba,gbc->gac", self.H, self.H)

    @cached_property
    def U(self) -> np.ndarray:
        """:math:`I - DZ_i'V_i^{-1}Z_i` of each pattern, (n_patterns, q, q); :math:`\\sigma^2V_i^{-1}Z_i = Z_iU_i`."""
        return np.eye(len(self.cross.z_names)) - np.einsum("gab,gbc->gac", self.K, self.cross.patterns[0])

    @cached_property
    def A(self) -> np.ndarray:
        """:math:`\\sigma^2Z_i'V_i^{-1}Z_i` of each pattern, (n_patterns, q, q)."""
        return np.einsum("gab,gbc->gac", self.cross.patterns[0], self.U)

    def HZt(self, ZtW: np.ndarray) -> np.ndarray:
        """:math:`H_iZ_i'W_i` of each group from its Z_i'W_i, (n_groups, q, columns)."""
        return np.einsum("gab,gbw->gaw", self.cross.of_groups(self.H), ZtW)

    def DZtV(self, ZtW: np.ndarray) -> np.ndarray:
        """:math:`DZ_i'V_i^{-1}W_i = H_i'H_iZ_i'W_i` of each group from its Z_i'W_i, (n_groups, q, columns)."""
        return np.einsum("gba,gbw->gaw", self.cross.of_groups(self.H), self.HZt(ZtW))

    def ZtV(self, ZtW: np.ndarray) -> np.ndarray:
        """:math:`\\sigma^2Z_i'V_i^{-1}W_i = U_i'Z_i'W_i` of each group from its Z_i'W_i, (n_groups, q, columns)."""
        return np.einsum("gba,gbw->gaw", self.cross.of_groups(self.U), ZtW)


def relative_factor(cross: CrossProducts, D, sigma2: float, sums: str = "cross-products have") -> np.ndarray:
    r"""L with :math:`D = \sigma^2LL'` in the working basis, (q, q), of checked parameters.

    Raises
    ------
    ParameterError
        Also if D is so large beside sigma2 that the named sums have no digits left.
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    sigma2 = checked_sigma2(sigma2)
    L = cross.basis.Rz @ factor(checked_D(D, len(cross.z_names))) / np.sqrt(sigma2)
    # What is above the limit is looked at: no Z_i c is longer than the trace of Z_i'Z_i says.
    longest = np.einsum("gaa->g", cross.patterns[0]).max(initial=0) * (L**2).sum()
    if longest > LIMIT and np.einsum("ba,gbc,ca->ga", L, cross.patterns[0], L).max(initial=0) > LIMIT:
        raise ParameterError(
            f"Z_i D Z_i' is more than {LIMIT:g} times sigma2 = {sigma2:g}, for which {sums} no digits "
            "left; is sigma2 a variance, and are both in squared units of the response?"
        )
    return L


def factors(cross: CrossProducts, L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`lmmlib.equations.pieces.woodbury_factor` of all patterns at L, (q, q, n_patterns) both."""
    ZtZ = cross.patterns[0].transpose(1, 2, 0)
    return cross.once("factors", L.tobytes(), lambda: woodbury_factor(ZtZ, L[..., None]))


def weigh(cross: CrossProducts, D, sigma2) -> Weighted:
    r"""Sums weighted by the inverse covariance.

    .. math:: \sum_i X_i'V_i^{-1}X_i = \frac{1}{\sigma^2}\Big(X'X - \sum_i X_i'Z_i K_i Z_i'X_i\Big),
        \qquad K_i = L(I + L'Z_i'Z_iL)^{-1}L', \quad D = \sigma^2LL'

    Equation :eq:`cross-product-gls` of the book. Groups with one Z_i'Z_i share a factorisation, and a
    singular D needs no special case.

    Parameters
    ----------
    cross : CrossProducts
    D : (q, q) array
        Covariance of the random effects, positive semidefinite.
    sigma2 : float
        Residual variance, > 0.

    Returns
    -------
    Weighted
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    D, sigma2, index = numbers(D, "D"), checked_sigma2(sigma2), cross.patterns[1]

    def make() -> Weighted:
        H, C = factors(cross, relative_factor(cross, D, sigma2))
        of_V = cross.n_obs * np.log(sigma2) + logdet(C)[index].sum() - cross.log_weights
        return Weighted(cross, sigma2, H.transpose(2, 0, 1), float(of_V))

    return cross.once("weighted", (D.tobytes(), D.shape, sigma2), make)
