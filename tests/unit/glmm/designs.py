"""Small designs of counts and marginal log-likelihoods by brute force, for the tests of one module after another."""

from dataclasses import replace

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm, poisson

import lmmlib


def design(seed=1, q=1, p=2, diagonal=False, n=8, level=0.8):
    """Groups of 1 to 5 rows in a mixed order, with q random columns of X = Z where both have them."""
    rng = np.random.default_rng(seed)
    g = rng.permutation(np.repeat(np.arange(n), rng.integers(1, 6, n)))
    W = np.column_stack([np.ones(len(g)), rng.normal(size=(len(g), 3))])
    b = 0.7 * rng.normal(size=(n, q))
    y = rng.poisson(np.exp(level + (W[:, :q] * b[g]).sum(axis=1)))
    return lmmlib.Design.from_arrays(y, W[:, :p], W[:, :q], g, diagonal=diagonal)


def offsets(d, seed=2):
    return 0.4 * np.random.default_rng(seed).normal(size=d.n_obs)


def with_offset(d):
    return replace(d, offset=offsets(d))


def integral(d, beta, D, offset=0.0):
    """The marginal log-likelihood for one or two random effects: each group's integral by the trapezoidal rule.

    For a smooth density that vanishes at the ends its error is below rounding at this spacing.
    """
    q, fixed = len(D), d.X @ beta + offset
    axis = np.linspace(-10, 10, {1: 2001, 2: 401}[q])
    u = np.stack(np.meshgrid(*[axis] * q), axis=-1).reshape(-1, q)
    b, prior, total = u @ np.linalg.cholesky(D).T, norm.logpdf(u).sum(axis=1), 0.0
    for rows in map(d.rows, range(d.n_groups)):
        eta = fixed[rows] + b @ d.Z[rows].T
        total += logsumexp(poisson.logpmf(d.y[rows], np.exp(eta)).sum(axis=1) + prior) + q * np.log(axis[1] - axis[0])
    return total


def differences(function, at, h=1e-5):
    """Central differences of a function of a vector, of numbers or of vectors."""
    steps = h * np.eye(len(at))
    return np.array([(np.asarray(function(at + e)) - np.asarray(function(at - e))) / (2 * h) for e in steps])
