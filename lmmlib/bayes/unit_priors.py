"""Priors whose parameters come from least squares in each group: Hoff's semiconjugate model."""

from __future__ import annotations

import numpy as np

from lmmlib.bayes.priors import InverseGamma, InverseWishart, Normal, Priors
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.formula import build_design
from lmmlib.errors import DesignError


def unit_information(formula: str, data, *, missing: str = "error") -> Priors:
    r"""Hoff's semiconjugate priors, their parameters taken from one least-squares fit in each group.

    .. math:: \theta \sim N(\hat\theta, \hat\Sigma), \quad \Sigma \sim IW(q + 1, \hat\Sigma), \quad
        \sigma^2 \sim IG(1, \hat\sigma^2)

    with the mean and the covariance of the groups' coefficients, and the pooled residual mean square: equation
    :eq:`unit-information` of the book. They use the data twice. The mean of Sigma does not exist.

    Parameters
    ----------
    formula : str
        The random columns must be the fixed ones, as in ``y ~ x + (x | g)``.
    data : DataFrame
    missing : {"error", "drop"}

    Returns
    -------
    Priors

    Raises
    ------
    DesignError
        If the columns differ, D is diagonal, or a group does not determine its own coefficients.
    """
    cross = cross_products(build_design(formula, data, missing=missing))
    return unit_information_of(cross)


def unit_information_of(cross: CrossProducts) -> Priors:
    """:func:`unit_information` from cross-products."""
    w, q = cross.work, len(cross.z_names)
    if cross.x_names != cross.z_names or cross.diagonal:
        raise DesignError(
            f"unit information is for equal fixed and random columns and a full D; got {', '.join(cross.x_names)} and "
            f"{', '.join(cross.z_names) or 'none'}{' (uncorrelated)' if cross.diagonal else ''}"
        )
    ranks = np.linalg.matrix_rank(w.ZtZ, hermitian=True)
    if (ranks < q).any() or cross.n_obs <= q * cross.n_groups or cross.n_groups <= q:
        raise DesignError(
            f"unit information needs more than {q} groups, {q} rows or more in each, and rows to spare: "
            f"{int((ranks < q).sum())} of the {cross.n_groups} groups do not determine their coefficients"
        )
    own = np.linalg.solve(w.ZtZ, w.Zty[:, :, None])[:, :, 0]
    rss = w.yty - float(np.sum(own * w.Zty))
    coefficients = np.linalg.solve(cross.basis.Rz, own.T) + cross.basis.beta0[:, None]
    Sigma = np.atleast_2d(np.cov(coefficients))
    return Priors(
        beta=Normal(coefficients.mean(axis=1), Sigma),
        sigma=InverseGamma(1.0, rss / (cross.n_obs - q * cross.n_groups)),
        D=InverseWishart(q + 1.0, Sigma),
    )
