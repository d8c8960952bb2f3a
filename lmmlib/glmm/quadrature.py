r"""Adaptive Gauss-Hermite quadrature of the random effects, with exact gradient.

The nodes of each group lie about the mode of its random effects, at distances that the curvature there sets. With one
node this is Laplace's approximation; with more it tends to the exact marginal likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as grid

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from lmmlib.common.arguments import shown
from lmmlib.common.small import product
from lmmlib.errors import ParameterError
from lmmlib.glmm import laplace
from lmmlib.glmm.fitted import FittedGlmm
from lmmlib.glmm.laplace import Slopes, both_sides
from lmmlib.glmm.rows import Inner

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
        np.array(list(grid(x, repeat=q))).reshape(len(x) ** q, q),
        np.array([np.prod(each) for each in grid(w, repeat=q)]),
    )


def loglik(s: Slopes, nodes: Rule) -> tuple[float, np.ndarray]:
    r"""The marginal log-likelihood by adaptive quadrature, and its exact gradient by (beta, theta).

    .. math:: \ell_i \approx -\tfrac12\log|S_i| + \log\sum_k w_k
        \exp\{h_i(\hat u_i + S_i^{-T/2}x_k) + \tfrac12 x_k'x_k\}

    Equation :eq:`aghq` of the book, :math:`h_i` being the joint log-density of responses and u. The gradient follows
    the nodes, which move with the mode and with the Cholesky factor of :math:`S_i`. The value has all constants; the
    gradient is (P,).
    """
    inner, c, q = s.inner, s.inner.density.rows, len(s.inner.u)
    total, score_x, score_u, slope, slope_x = _means(inner, nodes)
    value = (inner.joint + np.log(total) - inner.logdet / 2).sum() + c.family.constant

    # C^-T = H' changes by -H'Phi', Phi being the lower triangle of H dS H' with half its diagonal.
    white = both_sides(inner.half, s.dS)
    Phi = white * (np.tril(np.ones((q, q)), -1) + np.eye(q) / 2)[:, :, None, None]
    moved = (slope[:, None] * s.du).sum(axis=(0, 2)) - (slope_x[:, :, None] * Phi).sum(axis=(0, 1, 3))
    direct = np.concatenate([score_x.sum(axis=1), np.einsum("kab,abn->k", c.coordinates, score_u)])
    return float(value), direct + moved - np.einsum("aapn->p", white) / 2


def _means(inner: Inner, nodes: Rule) -> tuple[np.ndarray, ...]:
    """Sums of the weights of the nodes, (n,); and by them means of X'(y - mu) (p, n), of score u' (q, q, n), of the
    derivative of the joint density by u (q, n), and of that times x in coordinates of the nodes (q, q, n).
    """
    density, c, (q, n) = inner.density, inner.density.rows, inner.u.shape
    total, score_x, score_u = np.zeros(n), np.zeros((len(c.X), n)), np.zeros((q, q, n))
    slope, slope_x = np.zeros((q, n)), np.zeros((q, q, n))
    for x, w in zip(nodes.nodes, nodes.weights, strict=True):
        u = inner.u + np.einsum("ban,b->an", inner.half, x)
        eta = density.fixed + c.along(density.L @ u)
        mu = c.family.mean(eta)
        left = c.family.y - mu
        joint, score = c.sums(c.family.log_density(eta, mu)) - (u * u).sum(axis=0) / 2, c.sums(left * c.Z)
        weight, along = w * np.exp(joint - inner.joint + x @ x / 2), density.L.T @ score - u
        total += weight
        score_x += weight * c.sums(left * c.X)
        score_u += weight * score[:, None] * u
        slope += weight * along
        slope_x += weight * x[:, None, None] * product(inner.half, along[:, None])[:, 0]
    return total, score_x / total, score_u / total, slope / total, slope_x / total


def laplace_error(fit: FittedGlmm, n_quadrature: int | None = None) -> float:
    """Log-likelihood by Laplace less that by adaptive quadrature, at the estimates: one or two random effects."""
    q = len(fit.D)
    nodes = rule(NODES.get(q, 15) if n_quadrature is None else n_quadrature, q)
    return laplace.loglik(fit.inner) - loglik(fit.slopes, nodes)[0]
