r"""Fitted values and residuals of a mixed model, about the population's mean or about each group's own."""

from __future__ import annotations

import numpy as np

from lmmlib.common.arguments import checked_choice
from lmmlib.design.basis import chunks
from lmmlib.design.cross import CrossProducts
from lmmlib.design.design import Design
from lmmlib.equations.blup import random_effects


def fitted(design: Design, cross: CrossProducts, beta, D, sigma2: float, *, of: str = "group") -> np.ndarray:
    r"""Fitted values, (n_obs,).

    .. math:: X_i\hat\beta + Z_i\hat b_i \;\text{(group)}, \qquad X_i\hat\beta \;\text{(population)}

    and the offset if there is one.

    Parameters
    ----------
    design : Design
    cross : CrossProducts
        Of the design.
    beta : (p,) array
    D : (q, q) array
    sigma2 : float
    of : {"group", "population"}

    Returns
    -------
    (n_obs,) array
    """
    checked_choice("of", of, ("group", "population"))
    mean = design.X @ beta
    mean = mean if design.offset is None else mean + design.offset
    if of == "population":
        return mean
    effects = random_effects(cross, beta, D, sigma2).T
    for rows in chunks(len(mean)):
        for z, b in zip(design.Z[rows].T, effects, strict=True):
            mean[rows] += z * b[design.group[rows]]
    return mean


def residuals(
    design: Design, cross: CrossProducts, beta, D, sigma2: float, *, of: str = "group", kind: str = "response"
) -> np.ndarray:
    r"""Response less fitted value, (n_obs,), as it is or scaled.

    Scaled residuals about the groups' own values are divided by sigma (and times the root of the weight), as lme4
    prints them. Scaled ones about the population's are :math:`C_i^{-1}(y_i - X_i\hat\beta)` with :math:`V_i = C_iC_i'`
    (Cholesky): under the model uncorrelated with variance 1, up to the estimation of the parameters.

    Parameters
    ----------
    design : Design
    cross : CrossProducts
        Of the design.
    beta : (p,) array
    D : (q, q) array
    sigma2 : float
    of : {"group", "population"}
    kind : {"response", "scaled"}

    Returns
    -------
    (n_obs,) array
    """
    checked_choice("kind", kind, ("response", "scaled"))
    raw = fitted(design, cross, beta, D, sigma2, of=of)
    np.subtract(design.y, raw, out=raw)
    if kind == "response":
        return raw
    if of == "population":
        return _whitened(design, raw, D, sigma2)
    raw /= np.sqrt(sigma2 if design.weights is None else sigma2 * design.residual_variances)
    return raw


def _whitened(design: Design, raw, D, sigma2: float) -> np.ndarray:
    """Each group's residuals times the inverse Cholesky factor of V_i, groups of one size at a time."""
    out, (order, first) = np.empty_like(raw), design.by_group
    for size in np.unique(design.n_i[design.n_i > 0]):
        rows = order[first[:-1][design.n_i == size][:, None] + np.arange(size)]
        Z = design.Z[rows]
        noise = sigma2 * design.residual_variances[rows][:, :, None] * np.eye(size)
        C = np.linalg.cholesky(Z @ D @ np.swapaxes(Z, 1, 2) + noise)
        out[rows] = np.linalg.solve(C, raw[rows][..., None])[..., 0]
    return out
