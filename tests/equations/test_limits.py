"""Limit laws at a large number of groups, by simulation with a fixed seed."""

import numpy as np
from scipy.stats import chi2, norm

import lmmlib
from tests.tolerances import monte_carlo

GROUPS, ROWS, DRAWS = 150, 4, 1500


def design(rng, columns):
    """Intercept and normal columns of X, and a random intercept."""
    group = np.repeat(np.arange(GROUPS), ROWS)
    X = np.column_stack([np.ones(len(group)), rng.normal(size=(len(group), columns))])
    labels = np.array([f"g{i:03d}" for i in group])
    return X, group, lmmlib.Design.from_arrays(np.zeros(len(group)), X, X[:, :1], labels)


def share(hits):
    """A share of the draws and its standard error."""
    return hits.mean(), np.sqrt(hits.mean() * (1 - hits.mean()) / len(hits))


def test_wilks():
    """`thm-wilks`: T of k = 2 fixed effects that are zero has the mean and tail of a chi-square with 2 df."""
    rng = np.random.default_rng(1)
    X, group, large = design(rng, 2)
    small = lmmlib.Design.from_arrays(large.y, X[:, :1], X[:, :1], np.array([f"g{i:03d}" for i in group]))
    Y = 1 + rng.normal(size=(GROUPS, DRAWS))[group] + rng.normal(size=(len(group), DRAWS))
    T = 2 * (lmmlib.fit_many(large, Y, method="ML").loglik - lmmlib.fit_many(small, Y, method="ML").loglik)
    assert abs(T.mean() - 2) < monte_carlo(T.std() / np.sqrt(DRAWS))
    for p in (0.5, 0.1):
        rate, error = share(chi2.ppf(1 - p, 2) <= T)
        assert abs(rate - p) < monte_carlo(error)


def test_asymptotic_normality():
    """`thm-asymptotic-normality`: standardised estimates of skew data, with estimated variances, are about N(0, I)."""
    rng = np.random.default_rng(2)
    X, group, one = design(rng, 1)
    beta = np.array([1.0, -0.5])
    b, e = rng.exponential(size=(GROUPS, DRAWS)) - 1, rng.exponential(size=(len(group), DRAWS)) - 1
    fits = lmmlib.fit_many(one, (X @ beta)[:, None] + b[group] + e)
    roots = np.linalg.cholesky(np.linalg.inv(fits.cov_beta))
    z = np.einsum("bji,bj->bi", roots, fits.beta - beta)  # L'(betahat - beta) for sum X'V^-1 X = LL'
    assert (np.abs(z.mean(0)) < monte_carlo(1 / np.sqrt(DRAWS))).all()
    assert (np.abs(np.cov(z.T) - np.eye(2)) < monte_carlo(np.sqrt(2 / DRAWS))).all()
    for p in (0.5, 0.1):
        rate, error = share(np.abs(z[:, 1]) > norm.ppf(1 - p / 2))
        assert abs(rate - p) < monte_carlo(error)
