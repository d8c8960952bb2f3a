r"""The posterior of one random effect per group under flat priors, by quadrature over the ratio tau / sigma.

With one random column, :math:`D = \tau^2` and :math:`\lambda = \tau/\sigma`, beta and sigma2 are integrated
analytically: given lambda and y, b is a multivariate t. One dimension is left, and all groups and all responses share
its nodes.

Sums weighted by :math:`V_0^{-1}`, :math:`V_0 = I + \lambda^2 ZZ'`, are sums within groups, which lambda does not
change, plus sums between groups divided by :math:`1 + \lambda^2 z_i'z_i`. Nothing is subtracted, so that lambda may be
as large as its tail needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lmmlib.design.basis import vectors_back
from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.errors import DesignError
from lmmlib.prediction.mixture import Mixture, total_moments

# Nodes of the first grid, and the most of them.
NODES, MAX_NODES = 65, 10_000
# Where the logarithm of the density is so much below its peak, nothing is left of it; v up to which that is looked for.
DROP, FAR = 25.0, 3.1
# A column of X whose share within groups is below this lies in the span of Z.
BETWEEN = 1e-12


@dataclass(frozen=True, eq=False)
class RatioPosterior:
    """Posterior of B responses as mixtures over G nodes of the ratio.

    Attributes
    ----------
    ratio, weights : (B, K) arrays
        Nodes of tau / sigma, for Z of the formula, and their posterior probabilities.
    beta : (B, K, p) array
        Mean of the fixed effects at each node.
    means, scales : (B, K, n_groups) arrays
        Of the t distribution of b_i at each node.
    sigma2 : (B, K) array
        :math:`r^2/\\nu`, the squared scale of all t distributions.
    df : int
        :math:`\\nu`, their degrees of freedom.
    has_variance : bool
        False if the prior leaves b without a variance: then there are limits, but no standard error.
    """

    ratio: np.ndarray
    weights: np.ndarray
    beta: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    sigma2: np.ndarray
    df: int
    has_variance: bool

    @property
    def mixture(self) -> Mixture:
        """The marginal posterior of each b_i of each response, (B, n_groups)."""
        means, scales = np.swapaxes(self.means, 0, 1), np.swapaxes(self.scales, 0, 1)
        return Mixture(means, scales, self.weights.T[:, :, None], self.df)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each b_i of each response, (B, n_groups)."""
        m = self.mixture
        within = m.scales[..., None, None] ** 2 * self.df / max(self.df - 2, 1)
        weights = np.broadcast_to(m.weights, m.means.shape)
        mean, variance = total_moments(m.means[..., None], within, weights)
        return mean[..., 0], variance[..., 0, 0] if self.has_variance else np.full(mean.shape[:-1], np.inf)


@dataclass(frozen=True, eq=False)
class _Node:
    """What the likelihood is made of at lambda (B, K): ``R_inverse``, R'R = X'V_0^-1 X."""

    log_density: np.ndarray
    beta: np.ndarray
    R_inverse: np.ndarray
    r2: np.ndarray


@dataclass(frozen=True, eq=False)
class _Split:
    """Sums of W = [X U, y] within groups and, per pattern, between; the columns of X U are orthogonal within groups."""

    within: np.ndarray
    between: np.ndarray
    s: np.ndarray
    count: np.ndarray
    U: np.ndarray
    spread: int
    df: int

    @classmethod
    def of(cls, cross: CrossProducts, data: Responses) -> _Split:
        p, (ZtZ, index) = len(cross.x_names), cross.patterns
        s, order = ZtZ[:, 0, 0], np.argsort(index, kind="stable")
        count = np.bincount(index, minlength=len(s))
        first = np.concatenate([[0], np.cumsum(count)])[:-1]
        ZtW = data.ZtW[:, order, 0]
        if len(s) < cross.n_groups:
            between = np.array([[b.T @ b for b in np.split(each, first[1:])] for each in ZtW])
        else:
            between = ZtW[..., :, None] * ZtW[..., None, :]
        between = between / np.where(s > 0, s, np.inf)[:, None, None]
        within = data.WtW - between.sum(axis=1)
        values, U = np.linalg.eigh(within[0, :p, :p])
        inside = values > BETWEEN * cross.n_obs
        T = np.eye(p + 1)
        T[:p, :p] = U
        within, between = T.T @ within @ T, T.T @ between @ T
        # What is zero but for rounding would count in the tail, where the sums between groups are small too.
        keep = np.append(inside, True)
        within = within * np.outer(keep, keep)
        rank = int(count[s > 0].sum() + inside.sum())
        spread = rank - p
        if spread < 2:
            raise DesignError(
                f"the posterior is improper: a uniform prior of tau needs n_groups less the fixed effects that are "
                f"constant within groups to be at least 2; here it is {spread}, in {cross.n_groups} groups"
            )
        if cross.n_obs <= rank:
            raise DesignError(
                f"the posterior is improper: {cross.n_obs} rows leave nothing within groups to tell sigma2 by"
            )
        return cls(within, between, s, count, U, spread, cross.n_obs - p - 1)

    def ratio(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lambda at v, and the logarithm of its derivative but for a constant."""
        scale = 1 / np.sqrt(self.s[self.s > 0].mean())
        with np.errstate(divide="ignore"):
            return scale * np.sinh(v**3), 2 * np.log(v) + np.log(np.cosh(v**3))

    def at(self, ratio: np.ndarray) -> _Node:
        """The pieces at lambda (B, K)."""
        p, factor = len(self.U), 1 / (1 + ratio[..., None] ** 2 * self.s)
        many, nodes = ratio.shape
        between = factor @ self.between.reshape(many, len(self.s), -1)
        total = self.within[:, None] + between.reshape(many, nodes, p + 1, p + 1)
        R = np.swapaxes(np.linalg.cholesky(total[..., :p, :p]), -1, -2)
        R_inverse = np.linalg.inv(R)
        explained = np.einsum("bgxy,bgx->bgy", R_inverse, total[..., :p, p])
        r2 = total[..., p, p] - (explained**2).sum(axis=-1)
        log_density = np.log(factor) @ self.count / 2 - self.df / 2 * np.log(r2)
        log_density -= np.log(np.diagonal(R, axis1=-2, axis2=-1)).sum(axis=-1)
        return _Node(log_density, np.einsum("bgxy,bgy->bgx", R_inverse, explained), R_inverse, r2)


def ratio_posterior(cross: CrossProducts, data: Responses, tolerance: float = 1e-6) -> RatioPosterior:
    r"""Posterior of the random effects of one random column, for each response.

    .. math:: p(\lambda \mid y) \propto |V_0|^{-1/2}\,|X'V_0^{-1}X|^{-1/2}\,\big(r^2\big)^{-(N-p-1)/2}, \qquad
        b \mid \lambda, y \sim t_{N-p-1}

    under :math:`p(\beta, \sigma^2, \tau) \propto 1/\sigma^2`: equation :eq:`bayes-quadrature` of the book. The density
    is an even function of lambda, so that the trapezoidal rule in v, :math:`\lambda \propto \sinh v^3`, converges
    exponentially: sinh for the tail, and the cube for small lambda, where the distribution of b is narrow.

    Parameters
    ----------
    cross : CrossProducts
        With one random column.
    data : Responses
    tolerance : float
        Nodes are doubled until half of them give the same probabilities up to this; the error of all of them is much
        smaller.

    Returns
    -------
    RatioPosterior

    Raises
    ------
    DesignError
        If there is not one random column, the posterior is improper, or thousands of nodes are not enough.
    """
    if len(cross.z_names) != 1:
        raise DesignError(
            f"quadrature is for one random column, not {len(cross.z_names)} ({', '.join(cross.z_names)}); "
            "more of them need a sampler"
        )
    split = _Split.of(cross, data)
    # Where X lies in part between groups, b has the moments of lambda up to the tail lambda^-spread.
    confounded = split.spread < split.count[split.s > 0].sum()
    moment = min(2, split.spread - 2) if confounded else 0
    has_variance = (moment == 2 or not confounded) and split.df > 2
    lower, upper = _window(split, len(data), moment)
    nodes = NODES
    while True:
        v = lower + (upper - lower) * np.linspace(0, 1, nodes)
        found = _posterior(cross, data, split, v, has_variance)
        if _distance(found) <= tolerance:
            return found
        nodes = 2 * nodes - 1
        if nodes > MAX_NODES:
            raise DesignError(
                f"quadrature over tau / sigma did not converge with {nodes // 2 + 1} nodes; is a group far from all "
                "the others?"
            )


def _posterior(cross: CrossProducts, data: Responses, split: _Split, v, has_variance: bool) -> RatioPosterior:
    """The posterior on a grid of v (B, K), in the columns of the formula."""
    ratio, log_slope = split.ratio(v)
    node, index, basis = split.at(ratio), cross.patterns[1], cross.basis
    log_value = node.log_density + log_slope
    # The trapezoidal rule: the ends of the grid, which it takes by half, weigh nothing.
    weights = np.exp(log_value - log_value.max(axis=1, keepdims=True))
    # In the working basis b_i is shrunk by lambda^2 / (1 + lambda^2 s_i), and its variance over sigma2 is that plus
    # the square of it times what beta adds.
    shrink = (ratio[..., None] ** 2 / (1 + ratio[..., None] ** 2 * split.s))[..., index]
    ZtX, Zty = data.ZtW[:, :, 0, :-1] @ split.U, data.ZtW[:, :, 0, -1]
    means = shrink * (Zty[:, None] - node.beta @ np.swapaxes(ZtX, 1, 2))
    variances = shrink + shrink**2 * ((ZtX[:, None] @ node.R_inverse) ** 2).sum(axis=-1)
    Rz, sigma2 = basis.Rz[0, 0], node.r2 / split.df
    return RatioPosterior(
        ratio=ratio / abs(Rz),
        weights=weights / weights.sum(axis=1, keepdims=True),
        beta=vectors_back(basis.Rx, node.beta @ split.U.T + data.beta0[:, None]),
        means=means / Rz,
        scales=np.sqrt(sigma2[..., None] * variances) / abs(Rz),
        sigma2=sigma2,
        df=split.df,
        has_variance=has_variance,
    )


def _distance(fine: RatioPosterior) -> float:
    """How much is changed by leaving out every second node: of probabilities, of means in SDs, of variances."""
    weights = fine.weights[:, ::2] / fine.weights[:, ::2].sum(axis=1, keepdims=True)
    coarse = replace(fine, weights=weights, means=fine.means[:, ::2], scales=fine.scales[:, ::2])
    one, other = fine.mixture, coarse.mixture
    center, spread = ((one.weights * part).sum(axis=0) for part in (one.means, one.scales))
    worst = [np.abs(one.cdf(x) - other.cdf(x)).max() for x in (center - 2 * spread, center + 2 * spread)]
    if fine.has_variance:
        (mean, variance), (mean_coarse, variance_coarse) = fine.moments(), coarse.moments()
        worst += [(np.abs(mean - mean_coarse) / np.sqrt(variance)).max(), np.abs(variance_coarse / variance - 1).max()]
    return max(worst)


def _window(split: _Split, many: int, moment: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends (B, 1) in v of where lambda^moment times the posterior is seen on a grid that is not mostly empty."""
    lower, upper = np.zeros((many, 1)), np.full((many, 1), FAR)
    rows, grid = np.arange(many), np.linspace(0, 1, NODES)
    for _ in range(60):
        v = lower + (upper - lower) * grid
        ratio, log_slope = split.ratio(v)
        value = split.at(ratio).log_density + log_slope + moment * np.log(np.cosh(v**3))
        seen = value > value.max(axis=1, keepdims=True) - DROP
        first = np.maximum(seen.argmax(axis=1) - 1, 0)
        last = np.minimum(NODES - seen[:, ::-1].argmax(axis=1), NODES - 1)
        lower, upper = v[rows, first][:, None], v[rows, last][:, None]
        if (last - first > NODES // 2).all():
            break
    return lower, upper
