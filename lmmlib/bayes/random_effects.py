r"""Random effects of a Bayesian mixed model, from the draws of its parameters.

Given beta, D, sigma2 and the data the b_i are independent normals, so they are drawn, or their moments averaged, when
they are asked for; a sampler need not carry them along.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmmlib.bayes.conditionals import half
from lmmlib.bayes.diagnostics import readable
from lmmlib.common.arguments import checked_limit, shown
from lmmlib.common.small import semidefinite_cholesky
from lmmlib.design.basis import chunks
from lmmlib.design.cross import CrossProducts
from lmmlib.errors import ParameterError

# Numbers in the largest array that is formed at a time.
BLOCK = 1_000_000


def draws_of_b(
    cross: CrossProducts,
    beta: np.ndarray,
    D: np.ndarray,
    sigma2: np.ndarray,
    rng: np.random.Generator,
    groups=None,
    max_memory: float = 2e9,
) -> np.ndarray:
    r"""Draws of the random effects, one for each draw of the parameters.

    .. math:: b_i \mid y, \beta, D, \sigma^2 \sim N(H_i'H_iZ_i'(y_i - X_i\beta),\; \sigma^2H_i'H_i)

    Equation :eq:`full-conditional-b` of the book.

    Parameters
    ----------
    cross : CrossProducts
    beta : (chains, draws, p) array
    D : (chains, draws, q, q) array
    sigma2 : (chains, draws) array
    rng : Generator
    groups : sequence, optional
        Labels of groups; all by default.
    max_memory : float
        Bytes that they may take.

    Returns
    -------
    (chains, draws, groups, q) array

    Raises
    ------
    ParameterError
        If a group is unknown, or the draws would not fit into memory.
    """
    places, q = _places(cross, groups), len(cross.z_names)
    need = 8 * sigma2.size * len(places) * q
    if need > checked_limit("max_memory", max_memory):
        raise ParameterError(
            f"draws of {len(places):,} groups would take {readable(need)} of memory, more than {readable(max_memory)}; "
            "choose groups, take every tenth with thin=10, or use random_effects(), which keeps moments only"
        )
    out = np.empty((sigma2.size, len(places), q))
    to_formula = np.linalg.inv(cross.basis.Rz) if q else np.empty((0, 0))
    for block, mean, root in _conditionals(cross, beta, D, sigma2, places):
        b = mean + np.einsum("bazg,bzg->azg", root, rng.standard_normal(mean.shape))
        out[block] = np.einsum("ka,azg->zgk", to_formula, b)
    return out.reshape(*sigma2.shape, len(places), q)


def moments_of_b(
    cross: CrossProducts, beta: np.ndarray, D: np.ndarray, sigma2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Posterior means and standard deviations (groups, q) of the random effects, without drawing them.

    .. math:: E(b_i \mid y) = E\{E(b_i \mid y, \beta, D, \sigma^2)\}, \qquad \operatorname{Var}(b_i \mid y) =
        E\{\operatorname{Var}(b_i \mid y, \cdot)\} + \operatorname{Var}\{E(b_i \mid y, \cdot)\}

    Averages of the conditional moments over the draws of the parameters: less noise than averages of draws. The
    parameters are those of :func:`draws_of_b`.
    """
    q, n = len(cross.z_names), cross.n_groups
    total, squares, shift = np.zeros((q, n)), np.zeros((q, n)), np.zeros((q, n))
    to_formula = np.linalg.inv(cross.basis.Rz) if q else np.empty((0, 0))
    for block, mean, root in _conditionals(cross, beta, D, sigma2, np.arange(n)):
        mean = np.einsum("ka,azg->kzg", to_formula, mean)
        if block.start == 0:
            shift = mean.mean(axis=1)  # variances about a value that is near the mean
        variance = (np.einsum("ka,bazg->kbzg", to_formula, root) ** 2).sum(axis=(1, 2))
        total += (mean - shift[:, None]).sum(axis=1)
        squares += ((mean - shift[:, None]) ** 2).sum(axis=1) + variance
    average = total / sigma2.size
    return (shift + average).T, np.sqrt(np.maximum(squares / sigma2.size - average**2, 0)).T


def limits_of_b(
    cross: CrossProducts, beta: np.ndarray, D: np.ndarray, sigma2: np.ndarray, rng: np.random.Generator, level: float
) -> np.ndarray:
    """Equal-tailed limits (2, groups, q): quantiles of :func:`draws_of_b`, which are made for some groups at a time."""
    q, tail, names = len(cross.z_names), (1 - level) / 2, cross.group_names
    limits = np.empty((2, len(names), q))
    # Of few groups at a time H would be formed for all patterns too often.
    for part in chunks(len(names), max(1, 32 * BLOCK // (sigma2.size * q))) if q else ():
        b = draws_of_b(cross, beta, D, sigma2, rng, names[part], np.inf)
        limits[:, part] = np.quantile(b.reshape(sigma2.size, -1, q), (tail, 1 - tail), axis=0)
    return limits


def _places(cross: CrossProducts, groups) -> np.ndarray:
    """Positions of the groups."""
    names = list(cross.group_names)
    if groups is None:
        return np.arange(len(names))
    place = {name: k for k, name in enumerate(names)}
    try:
        unknown = [group for group in groups if group not in place]
    except TypeError:
        raise ParameterError(f"groups must be labels of groups, such as [{names[0]!r}]; got {shown(groups)}") from None
    if unknown:
        raise ParameterError(f"there is no group {unknown[0]!r}; the first of {len(names)} is {names[0]!r}")
    return np.array([place[group] for group in groups], int)


def _working(cross: CrossProducts, beta, D, sigma2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws in the working basis, in one row: beta (p, S), a factor of D (q, q, S), sigma2 (S,)."""
    basis, sigma2 = cross.basis, sigma2.ravel()
    beta = basis.Rx @ (beta.reshape(len(sigma2), -1) - basis.beta0).T
    D = D.reshape(len(sigma2), *D.shape[2:])
    return beta, np.moveaxis(basis.Rz @ semidefinite_cholesky(D), 0, 2), sigma2


def _conditionals(
    cross: CrossProducts, beta, D, sigma2, places: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """For blocks of draws: means (q, S, groups), and R (q, q, S, groups) with covariances R'R; the working basis."""
    beta, F, sigma2 = _working(cross, beta, D, sigma2)
    q, patterns, index = len(F), cross.patterns[0].transpose(1, 2, 0), cross.patterns[1][places]
    if not q:
        return
    ZtX, Zty = cross.work.ZtX[places].transpose(1, 2, 0), cross.work.Zty[places].T
    size = max(1, BLOCK // (q * q * max(len(places), patterns.shape[-1])))
    for first in range(0, len(sigma2), size):
        block = slice(first, min(first + size, len(sigma2)))
        sd = np.sqrt(sigma2[block])
        H = np.take(half(patterns[:, :, None], F[..., block], sigma2[block]), index, axis=-1)
        u = Zty[:, None] - np.einsum("axg,xz->azg", ZtX, beta[:, block])
        mean = np.einsum("bazg,bzg->azg", H, np.einsum("bczg,czg->bzg", H, u))
        yield block, mean, H * sd[:, None]
