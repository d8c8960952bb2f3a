r"""Fits of data that do not fit into memory: chunks of rows become sums, and the sums are all that a fit needs.

Equation :eq:`chunk-sums` of the book: the cross-products of all rows are the sum of those of the chunks. Four steps:
:func:`coding` fixes how rows become columns, :func:`chunk_sums` turns each chunk into sums, anywhere and in any order,
:func:`merge` adds them, and :func:`fit_sums` fits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lmmlib.common.arguments import checked_made, checked_method
from lmmlib.design.basis import Basis, divide
from lmmlib.design.coding import Coding, chunk_sums, coding, merge
from lmmlib.design.cross import CrossProducts
from lmmlib.errors import DesignError
from lmmlib.lmm.fit import Fit, fit_cross

__all__ = ["Coding", "chunk_sums", "coding", "fit_sums", "merge"]


def _orthonormal(cross: CrossProducts) -> CrossProducts:
    """The same sums in the working basis of all rows, which the optimiser takes as orthonormal.

    That of the example is near to it and so costs few digits, although the squares of the columns are factorised here.
    """
    work, old, N = cross.work, cross.basis, cross.n_obs
    Cx, Cz = (np.linalg.cholesky(gram / N).T for gram in (work.XtX, work.ZtZ.sum(axis=0)))
    Mx, Mz = (divide(np.eye(len(C)), C) for C in (Cx, Cz))
    d = Mx @ (Mx.T @ work.Xty) / N
    basis = Basis(Cx @ old.Rx, Cz @ old.Rz, old.beta_back(d))
    return replace(cross, work=work.change(Mz, Mx, -d), basis=basis)


def fit_sums(coding: Coding, cross: CrossProducts, *, method: str = "REML") -> Fit:
    """Fit a linear mixed model from cross-products.

    The maximum of :eq:`restricted-loglik` or :eq:`profile-loglik`, which :func:`lmmlib.fit` finds from the rows.

    Parameters
    ----------
    coding : Coding
        The one that the sums were made with.
    cross : CrossProducts
        Of all rows, from :func:`merge`.
    method : {"REML", "ML"}

    Returns
    -------
    Fit
        Without what needs rows: asking for residuals, simulations or a bootstrap raises NoRowsError.

    Raises
    ------
    DesignError
        If coding and sums do not belong together, columns of X are dependent, or the rows do not identify D and sigma2.
    """
    checked_method(method)
    checked_made("coding", coding, Coding, "chunked.coding")
    checked_made("cross", cross, CrossProducts, "cross_products")
    if (coding.x_names, coding.z_names, coding.diagonal) != (cross.x_names, cross.z_names, cross.diagonal):
        raise DesignError(
            f"the coding has the columns {coding.x_names} and {coding.z_names}, the sums have {cross.x_names} and "
            f"{cross.z_names}: the sums were made with another coding"
        )
    cross.require_full_rank()  # names dependent columns, at which the factors of _orthonormal would stop
    if np.linalg.eigvalsh(cross.work.ZtZ.sum(axis=0) / cross.n_obs).min(initial=1) < 1e-12:
        raise DesignError(
            f"the random columns {', '.join(cross.z_names)} are linearly dependent over all rows, and sums need "
            "independent ones; leave one out"
        )
    return fit_cross(replace(coding, group_names=cross.group_names), _orthonormal(cross), method)
