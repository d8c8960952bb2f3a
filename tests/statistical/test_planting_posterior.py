"""The reference values of document 004's thirty block coefficients, by importance sampling, without a chain.

Given Sigma and sigma2 the coefficients of a block have the mean theta_hat + W (own - theta_hat), because theta has the
mean theta_hat; W is a function of seven numbers whose posterior density is known up to a constant. The values in
``data/published.csv`` are from 20 million draws of this program; here are 100,000.
"""

import re

import numpy as np
import pytest
from scipy import stats

from lmmlib.book import datasets

DRAWS = 100_000


@pytest.fixture(scope="module")
def least_squares():
    """(X'X, the coefficients of ten blocks, residual sum of squares)."""
    frame = datasets.load("planting").sort_values(["block", "density"], kind="stable")
    yields = frame["yield"].to_numpy().reshape(10, 8)
    X = np.vander(frame["density"].to_numpy()[:8].astype(float), 3, increasing=True)
    own = yields @ np.linalg.pinv(X).T
    return X.T @ X, own, float(np.sum((yields - own @ X.T) ** 2))


def unpack(phi):
    """The factor of Sigma and sigma2 (S, 1, 1) from (log diagonal, below the diagonal, log sigma2)."""
    L = np.zeros((len(phi), 3, 3))
    L[:, [1, 2, 2], [0, 0, 1]] = phi[:, 3:6]
    L[:, range(3), range(3)] = np.exp(phi[:, :3])
    return L, np.exp(phi[:, 6])[:, None, None]


def log_posterior(phi, spread, rss):
    """Of phi, in coordinates in which X'X is the identity; theta and the random effects are integrated out."""
    L, s2 = unpack(phi)
    omega = L @ np.swapaxes(L, 1, 2) + s2 * np.eye(3)
    s2, logdet = s2[:, 0, 0], np.linalg.slogdet
    trace = np.trace(np.linalg.solve(omega, spread), axis1=1, axis2=2)
    data = -4.5 * (logdet(omega)[1] + trace) - 0.5 * logdet(spread + omega / 10)[1] - 25 * np.log(s2) - rss / (2 * s2)
    inverse_wishart = -8 * phi[:, :3].sum(axis=1) - 0.5 * np.sum(
        np.linalg.solve(L, np.linalg.cholesky(spread)) ** 2, axis=(1, 2)
    )
    jacobian = phi[:, :3] @ [4, 3, 2] + phi[:, 6]
    return data + inverse_wishart - 2 * np.log(s2) - 0.4924 / s2 + jacobian


def block_means(least_squares, draws, seed):
    """The thirty posterior means and their Monte Carlo errors, each (10, 3)."""
    XtX, own, rss = least_squares
    R = np.linalg.cholesky(XtX).T
    centre, away = own.mean(axis=0), (own - own.mean(axis=0)) @ R.T
    spread = R @ np.cov(own.T) @ R.T
    # Where the posterior is, roughly: means and standard deviations of phi.
    where = [-0.17, -0.34, -1.41, 0.94, -0.02, -0.03, -0.35]
    scale = [0.32, 0.33, 0.31, 0.46, 0.18, 0.15, 0.18]
    proposal = stats.multivariate_t(where, 1.5 * np.diag(scale) ** 2, df=5, seed=np.random.default_rng(seed))
    phi = proposal.rvs(draws)
    weight = log_posterior(phi, spread, rss) - proposal.logpdf(phi)
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    L, s2 = unpack(phi)
    S = L @ np.swapaxes(L, 1, 2)
    W = S @ np.linalg.inv(S + s2 * np.eye(3))
    means = centre + np.einsum("ab,sbc,jc->sja", np.linalg.inv(R), W, away)
    mean = np.einsum("s,sja->ja", weight, means)
    return mean, np.sqrt(np.einsum("s,sja->ja", weight**2, (means - mean) ** 2))


def references():
    rows = datasets.published().set_index("id")
    rows = rows.loc[[f"004-beta-block-{k + 1}-{c + 1}" for k in range(10) for c in range(3)]]
    errors = [float(re.search(r"Monte Carlo SE ([\d.]+)", note)[1]) for note in rows["note"]]
    return rows["reference"].to_numpy().reshape(10, 3), np.array(errors).reshape(10, 3)


def worst(mean, error):
    """The largest difference from the references, in standard errors of the difference."""
    reference, their_error = references()
    return float(np.abs((mean - reference) / np.hypot(error, their_error)).max())


def test_references_of_the_blocks(least_squares):
    assert worst(*block_means(least_squares, DRAWS, 1)) < 5


def test_curves_that_differ_by_a_twentieth_more_are_noticed(least_squares):
    XtX, own, rss = least_squares
    wider = own.mean(axis=0) + 1.05 * (own - own.mean(axis=0))
    assert worst(*block_means((XtX, wider, rss), DRAWS, 1)) > 20
