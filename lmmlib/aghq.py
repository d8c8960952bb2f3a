r"""Adaptive Gauss-Hermite quadrature of the random effects, with exact gradient.

The nodes of each group lie about the mode of its random effects, at distances that the curvature there sets. With one
node this is Laplace's approximation; with more it tends to the exact marginal likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as grid

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from lmmlib import poisson_laplace
from lmmlib.entries import product
from lmmlib.errors import ParameterError
from lmmlib.parameters import shown
from lmmlib.poisson import Conditional, Counts, Inner
from lmmlib.poisson_fitted import FittedGlmm
from lmmlib.poisson_laplace import Slopes

# More nodes than this for one random effect change no digit, and their weights underflow.
MOST = 200
# Nodes in each direction by default, by the number of random effects.
NODES = {0: 1, 1: 25, 2: 15}


@dataclass(frozen=True, eq=False)
class Rule:
    """Nodes (K, q) and weights (K,) for expectations under q independent standard normal variables."""

    nodes: np.ndarray
    weights: np.ndarray


def rule(n_quadrature: int, q: int) -> Rule:
    """Gauss-Hermite rule with ``n_quadrature`` nodes in each of q directions.

    Parameters
    ----------
    n_quadrature : int
        From 1 to 200.
    q : int
        Random effects, 0 to 2: the number of nodes is ``n_quadrature ** q``.

    Returns
    -------
    Rule

    Raises
    ------
    ParameterError
        If either is out of its range.
    """
    if (
        isinstance(n_quadrature, bool)
        or not isinstance(n_quadrature, (int, np.integer))
        or not 1 <= n_quadrature <= MOST
    ):
        raise ParameterError(f"n_quadrature must be a whole number from 1 to {MOST}; got {shown(n_quadrature)}")
    if q > 2:
        raise ParameterError(
            f"quadrature is for one or two random effects a group; the formula has {q}, with {n_quadrature}^{q} nodes; "
            "use method='laplace'"
        )
    x, w = hermegauss(n_quadrature)
    w = w / w.sum()
    return Rule(
        np.array(list(grid(x, repeat=q))).reshape(-1, q),
        np.array([np.prod(each) for each in grid(w, repeat=q)]),
    )


def loglik(
    counts: Counts, beta: np.ndarray, L: np.ndarray, coordinates: np.ndarray, inner: Inner, s: Slopes, nodes: Rule
) -> tuple[float, np.ndarray]:
    r"""The marginal log-likelihood by adaptive quadrature, and its exact gradient by (beta, theta).

    .. math:: \ell_i \approx -\tfrac12\log|S_i| + \log\sum_k w_k
        \exp\{h_i(\hat u_i + S_i^{-T/2}x_k) + \tfrac12 x_k'x_k\}

    Equation :eq:`aghq` of the book, :math:`h_i` being the joint log-density of counts and u. The gradient follows the
    nodes, which move with the mode and with the Cholesky factor of :math:`S_i`.

    Parameters
    ----------
    counts : Counts
    beta : (p,) array
        In the working basis, as L.
    L : (q, q) array
    coordinates : (k, q, q) array
    inner : Inner
        At the modes.
    s : Slopes
    nodes : Rule

    Returns
    -------
    float
        The log-likelihood, with all constants.
    (P,) array
        Its gradient.
    """
    mean = _means(counts, beta, L, inner, nodes)
    value = (inner.joint + np.log(mean.total) - inner.logdet / 2).sum() + counts.constant

    # C^-T = H' changes by -H'Phi', Phi being the lower triangle of H dS H' with half its diagonal.
    white = _both_sides(inner.half, s.dS)
    Phi = white * (np.tril(np.ones((len(L), len(L))), -1) + np.eye(len(L)) / 2)[:, :, None, None]
    moved = (mean.slope[:, None] * s.du).sum(axis=(0, 2)) - (mean.slope_x[:, :, None] * Phi).sum(axis=(0, 1, 3))
    direct = np.concatenate(
        [
            mean.score_x.sum(axis=1),
            np.einsum("kab,abn->k", coordinates, mean.score_u),
        ]
    )
    trace = np.einsum("aapn->p", white)
    return float(value), direct + moved - trace / 2


@dataclass(frozen=True, eq=False)
class _Means:
    """Weighted over the nodes: ``total`` (n,) of the weights; means of X'(y - mu) (p, n), of score u' (q, q, n), of the
    derivative of the joint density by u (q, n), and of x times that in coordinates of the nodes (q, q, n).
    """

    total: np.ndarray
    score_x: np.ndarray
    score_u: np.ndarray
    slope: np.ndarray
    slope_x: np.ndarray


def _means(c: Counts, beta: np.ndarray, L: np.ndarray, inner: Inner, nodes: Rule) -> _Means:
    (q, n), p = inner.u.shape, len(beta)
    density = Conditional.of(c, beta, L)
    total, score_x, score_u = np.zeros(n), np.zeros((p, n)), np.zeros((q, q, n))
    slope, slope_x = np.zeros((q, n)), np.zeros((q, q, n))
    for x, w in zip(nodes.nodes, nodes.weights, strict=True):
        u = inner.u + np.einsum("ban,b->an", inner.half, x)
        b = L @ u
        mu = np.exp(density.fixed + c.along(b))
        left = c.y - mu
        sums = c.sums(np.concatenate([mu[None], left * c.Z, left * c.X]))
        weight = w * np.exp(density.joint(u, b, mu, sums[0]) - inner.joint + x @ x / 2)
        score = sums[1 : 1 + q]
        along = L.T @ score - u
        total += weight
        score_x += weight * sums[1 + q :]
        score_u += weight * score[:, None] * u
        slope += weight * along
        slope_x += weight * x[:, None, None] * product(inner.half, along[:, None])[:, 0]
    return _Means(total, score_x / total, score_u / total, slope / total, slope_x / total)


def _both_sides(half: np.ndarray, dS: np.ndarray) -> np.ndarray:
    """H dS_a H' for all parameters a, (q, q, P, n)."""
    q, P, n = len(half), dS.shape[2], dS.shape[3]
    once = product(half, dS.reshape(q, q * P, n)).reshape(q, q, P, n).swapaxes(0, 1)
    return product(half, once.reshape(q, q * P, n)).reshape(q, q, P, n)


def laplace_error(fit: FittedGlmm, n_quadrature: int | None = None) -> float:
    """Log-likelihood by Laplace less that by adaptive quadrature, at the estimates: one or two random effects."""
    q, beta = len(fit.D), fit.psi[: len(fit.beta)]
    nodes = rule(NODES.get(q, 15) if n_quadrature is None else n_quadrature, q)
    exact = loglik(fit.counts, beta, fit.L, fit.B, fit.inner, fit.slopes, nodes)[0]
    return poisson_laplace.loglik(fit.counts, fit.inner) - exact
