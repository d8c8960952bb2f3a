r"""Fitted values and residuals of a mixed model, about the population's mean or about each group's own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmmlib.common.arguments import checked_choice
from lmmlib.design.basis import chunks
from lmmlib.design.cross import CrossProducts
from lmmlib.design.design import Design
from lmmlib.equations.blup import random_effects
from lmmlib.equations.weighted import weigh

# A variance that is so much smaller than what it is a difference of is none.
NOTHING = 1e-10


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
    r"""Response less fitted value, (n_obs,), as it is, scaled or standardised.

    Scaled residuals about the groups' own values are divided by sigma (and times the root of the weight), as lme4
    prints them. Scaled ones about the population's are :math:`C_i^{-1}(y_i - X_i\hat\beta)` with :math:`V_i = C_iC_i'`
    (Cholesky): under the model uncorrelated with variance 1, up to the estimation of the parameters. Standardised ones
    are divided by the roots of their own variances, equation :eq:`residual-covariances` of the book; NaN in a row that
    the mean fits whatever its response.

    Parameters
    ----------
    design : Design
    cross : CrossProducts
        Of the design.
    beta : (p,) array
    D : (q, q) array
    sigma2 : float
    of : {"group", "population"}
    kind : {"response", "scaled", "standardised"}

    Returns
    -------
    (n_obs,) array
    """
    checked_choice("kind", kind, ("response", "scaled", "standardised"))
    raw = fitted(design, cross, beta, D, sigma2, of=of)
    np.subtract(design.y, raw, out=raw)
    if kind == "response":
        return raw
    if kind == "standardised":
        return raw / standard_errors(design, cross, D, sigma2, of=of)
    if of == "population":
        return _whitened(design, raw, D, sigma2)
    raw /= np.sqrt(sigma2 if design.weights is None else sigma2 * design.residual_variances)
    return raw


def standard_errors(design: Design, cross: CrossProducts, D, sigma2: float, *, of: str = "group") -> np.ndarray:
    r"""Standard deviations of the residuals for known D and sigma2, (n_obs,).

    .. math:: V - X\Phi X' \;\text{(population)}, \qquad
        \sigma^4\{V^{-1} - V^{-1}X\Phi X'V^{-1}\} \;\text{(group)}, \qquad \Phi = (X'V^{-1}X)^{-1}

    The roots of the diagonals, equation :eq:`residual-covariances` of the book; NaN where nothing is left of one.
    """
    X, Phi = cross.basis.x_work(design.X), np.linalg.inv(weigh(cross, D, sigma2).XtVX)
    out = np.empty(design.n_obs)
    for rows, V in _blocks(design, D, sigma2):
        x = X[rows]
        if of == "group":
            V = np.linalg.inv(V)
            x = V @ x
        all_of_it = np.einsum("gii->gi", V)
        left = all_of_it - np.einsum("gix,xy,giy->gi", x, Phi, x)
        out[rows] = np.where(left > NOTHING * all_of_it, left, np.nan)
    return np.sqrt(out) * (sigma2 * design.residual_variances if of == "group" else 1.0)


def _blocks(design: Design, D, sigma2: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of all groups of one size (g, size), and their V_i (g, size, size)."""
    order, first = design.by_group
    for size in np.unique(design.n_i[design.n_i > 0]):
        rows = order[first[:-1][design.n_i == size][:, None] + np.arange(size)]
        Z = design.Z[rows]
        noise = sigma2 * design.residual_variances[rows][:, :, None] * np.eye(size)
        yield rows, Z @ D @ np.swapaxes(Z, 1, 2) + noise


def _whitened(design: Design, raw, D, sigma2: float) -> np.ndarray:
    """Each group's residuals times the inverse Cholesky factor of V_i."""
    out = np.empty_like(raw)
    for rows, V in _blocks(design, D, sigma2):
        out[rows] = np.linalg.solve(np.linalg.cholesky(V), raw[rows][..., None])[..., 0]
    return out
