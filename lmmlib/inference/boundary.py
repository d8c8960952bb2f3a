r"""Reference distributions of likelihood ratios when a variance is tested: chi-bar-square, and the exact law."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from lmmlib.common.arguments import checked_count, checked_made, checked_method, generator
from lmmlib.common.tails import chi2_tail
from lmmlib.design.cross import CrossProducts
from lmmlib.design.identify import require_identified
from lmmlib.equations.information import information_variance
from lmmlib.equations.moments import correlation
from lmmlib.errors import DesignError, ParameterError

# Values of the variance ratio at which a maximum is looked for before it is refined.
GRID = np.concatenate([[0.0], np.geomspace(1e-5, 1e5, 150)])
REFINEMENTS = 60
# Draws that are made together.
CHUNK = 2_000


def chi_bar_square_sf(statistic: float, df, weights) -> float:
    r"""Tail probability of a mixture of chi-square distributions.

    .. math:: P(\bar\chi^2 \ge c) = \sum_k w_k P(\chi^2_{d_k} \ge c)

    Equation :eq:`chi-bar-square` of the book; zero degrees of freedom mean a point at zero.

    Parameters
    ----------
    statistic : float
    df : sequence of int
    weights : sequence of float
        Probabilities, one for each of ``df``.

    Returns
    -------
    float
    """
    df, weights = np.asarray(df), np.asarray(weights, float)
    if df.shape != weights.shape or (weights < 0).any() or abs(weights.sum() - 1) > 1e-8 or (df < 0).any():
        raise ParameterError(f"weights must be probabilities that sum to 1, one for each df; got {weights} for {df}")
    tails = [float(statistic <= 0) if k == 0 else chi2_tail(statistic, k) for k in df]
    return float(weights @ tails)


def orthant_weights(cov) -> np.ndarray:
    r"""Weights of the chi-bar-square when r variances are zero together, of 0, ..., r degrees of freedom.

    .. math:: w_2 = \frac{\pi - \arccos\rho}{2\pi}, \quad w_1 = \tfrac12, \quad w_0 = \frac{\arccos\rho}{2\pi}
        \qquad (r = 2)

    Probabilities that the point of the orthant nearest to a normal vector lies on a face of each dimension; for r = 3
    the arccos of correlations and of partial correlations. Weights of equation :eq:`chi-bar-square` of the book;
    Shapiro (1985).

    Parameters
    ----------
    cov : (r, r) array
        Limiting covariance of the estimates without the constraint, r at most 3.

    Returns
    -------
    (r+1,) array
    """
    r = len(cov)
    if r > 3:
        raise DesignError(f"the weights for {r} new variances have no closed form; use method='bootstrap'")
    if r == 1:
        return np.array([0.5, 0.5])
    # Three pairs for r = 3, each given the third: minus the scaled inverse holds the partial correlations.
    pairs = np.triu_indices(r, 1)
    angle = np.arccos(np.clip(correlation(cov)[pairs], -1, 1)).sum()
    if r == 2:
        return np.array([angle, np.pi, np.pi - angle]) / (2 * np.pi)
    partial = np.arccos(np.clip(-correlation(np.linalg.inv(cov))[pairs], -1, 1)).sum()
    top, second = (2 * np.pi - angle) / (4 * np.pi), (3 * np.pi - partial) / (4 * np.pi)
    return np.array([0.5 - second, 0.5 - top, second, top])


def variance_weights(cross: CrossProducts, D, sigma2: float, new, method: str) -> np.ndarray:
    r"""Weights of the chi-bar-square for new variances of a diagonal D, at the null model.

    The covariance of :func:`orthant_weights` is the block of the inverse information :eq:`information-variance` for
    the new variances, so that sigma2 and the variances that are there already count as estimated.

    Parameters
    ----------
    cross : CrossProducts
        Of the larger model, with a diagonal D.
    D : (q, q) array
        Zero for the new columns.
    sigma2 : float
        Of the smaller model.
    new : sequence of int
        The new columns.
    method : {"REML", "ML"}

    Returns
    -------
    (r+1,) array
    """
    # Weights are those of correlations, so that the information may be scaled to have its digits.
    inverse = np.linalg.inv(correlation(information_variance(cross, D, sigma2, method=method)))
    return orthant_weights(inverse[np.ix_(new, new)])


def spectrum(cross: CrossProducts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct eigenvalues of Z'MZ and of Z'Z with their multiplicities, M taking out the fixed effects.

    For one random column, in the working basis; Z has a column for each group. Zero eigenvalues are left out.
    """
    checked_made("cross", cross, CrossProducts, "cross_products")
    if len(cross.z_names) != 1:
        raise DesignError(
            f"the exact law is for one random column; the model has {len(cross.z_names)} ({', '.join(cross.z_names)}). "
            "Use method='bootstrap'"
        )
    patterns, index = cross.patterns
    ZtZ, count = patterns[:, 0, 0], np.bincount(cross.patterns[1], minlength=len(patterns))
    # Z'MZ = diag(Z'Z) - BB'. Groups of one Z'Z keep it as an eigenvalue in all directions that B does not see, so only
    # the few that it sees, at most p for each distinct Z'Z, need to be solved for.
    B = solve_triangular(np.linalg.cholesky(cross.work.XtX), cross.work.ZtX[:, 0, :].T, lower=True).T
    order = np.argsort(index, kind="stable")
    seen = [np.linalg.qr(part, mode="r") for part in np.split(B[order], np.cumsum(count)[:-1])]
    rank = np.array([len(part) for part in seen])
    B = np.concatenate(seen)
    solved = np.linalg.eigvalsh(np.diag(np.repeat(ZtZ, rank)) - B @ B.T)
    mu = np.concatenate([solved, ZtZ])
    times = np.concatenate([np.ones(len(solved), int), count - rank])
    return *_distinct(mu, times), *_distinct(ZtZ, count)


def _distinct(values: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values above zero that differ by more than rounding, with their multiplicities added up."""
    kept = np.flatnonzero((values > 1e-10 * values.max(initial=0)) & (times > 0))
    kept = kept[np.argsort(values[kept])]
    values, times = values[kept], times[kept]
    place = np.cumsum(np.diff(values, prepend=values[:1]) > 1e-9 * values.max(initial=0))
    count = np.bincount(place, times).astype(int)
    return np.bincount(place, values * times) / count, count


def exact_null(cross: CrossProducts, method: str, size: int, rng, n_fixed: int = 0) -> np.ndarray:
    r"""Draws from the exact law of the likelihood ratio of one variance, when it is zero.

    .. math:: \sup_{\lambda\ge0}\Big\{m\log\frac{u + \sum_sw_s^2}{\sum_sw_s^2/(1 + \lambda\mu_s)}
        - \sum_s\log(1 + \lambda\xi_s)\Big\}

    with u = 0, or, if fixed effects are tested together with the variance, chi-square with as many degrees of freedom.
    Equation :eq:`lrt-spectral` of the book; Crainiceanu and Ruppert (2004). The :math:`\mu_s` are the eigenvalues of
    :math:`Z'MZ`; for ML m = N and the :math:`\xi_s` are those of Z'Z, for REML m = N - p and they are the
    :math:`\mu_s`. The supremum is refined to rounding error.

    Parameters
    ----------
    cross : CrossProducts
        One random column.
    method : {"REML", "ML"}
    size : int
    rng : Generator or int
        A whole number is a seed.
    n_fixed : int
        Fixed effects that the hypothesis leaves out too, for ML only.

    Returns
    -------
    (size,) array
        Without fixed effects exactly zero where the estimated variance is.

    Raises
    ------
    DesignError
        If there is not exactly one random column.
    """
    checked_method(method)
    require_identified(cross)
    size, rng = checked_count("size", size), generator(rng)
    mu, many, xi, many_xi = spectrum(cross)
    N, p = cross.n_obs, len(cross.x_names)
    if not len(mu) or many.sum() >= N - p:
        raise DesignError(
            f"the fixed effects and the groups leave {N - p - many.sum()} residual and {many.sum()} group degrees of "
            "freedom; the exact law needs some of both: leave fixed effects out"
        )
    m, xi, many_xi = (N - p, mu, many) if method == "REML" else (N, xi, many_xi)
    scale = 1 / np.average(mu, weights=many)
    draws = []
    for first in range(0, size, CHUNK):
        chunk = min(CHUNK, size - first)
        w2 = rng.chisquare(many, (chunk, len(mu)))
        rest = rng.chisquare(N - p - many.sum(), chunk)
        u = rng.chisquare(n_fixed, chunk) if n_fixed else 0.0
        draws.append(_suprema(w2, rest, u, mu * scale, xi * scale, many_xi, m))
    return np.concatenate(draws)


def _suprema(w2, rest, u, mu, xi, many_xi, m) -> np.ndarray:
    """The best gain over all ratios, for each row of w2: the best of a grid, then golden sections around it."""
    left_over = w2.sum(axis=1) + rest
    total = left_over + u

    def gain(ratio):
        """At one ratio for each draw."""
        shrunk = (w2 / (1 + ratio[:, None] * mu)).sum(axis=1) + rest
        return m * np.log(total / shrunk) - (many_xi * np.log1p(ratio[:, None] * xi)).sum(axis=1)

    shrunk = w2 @ (1 / (1 + mu[:, None] * GRID)) + rest[:, None]
    coarse = m * np.log(total[:, None] / shrunk) - many_xi @ np.log1p(xi[:, None] * GRID)
    best = coarse.argmax(axis=1)
    a, b = GRID[np.maximum(best - 1, 0)], GRID[np.minimum(best + 1, len(GRID) - 1)]
    inner = (np.sqrt(5) - 1) / 2
    for _ in range(REFINEMENTS):
        left, right = b - inner * (b - a), a + inner * (b - a)
        up = gain(left) < gain(right)
        a, b = np.where(up, left, a), np.where(up, b, right)
    fine = gain((a + b) / 2)
    # The gain starts with this slope: downwards, and with no better point of the grid, the maximum is at zero.
    slope = m * (w2 @ mu) / left_over - (many_xi * xi).sum()
    start = m * np.log(total / left_over)
    return np.where((best == 0) & (slope <= 0), start, np.maximum(np.maximum(fine, coarse.max(axis=1)), start))
