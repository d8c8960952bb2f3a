"""Modes and their errors; the oracle tests compare them with other programs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.glmm.fit import fit_glmm_design
from tests.unit.glmm.designs import design, offsets, with_offset


@pytest.fixture(scope="module")
def fit():
    d = design(q=2, n=30)
    return fit_glmm_design(with_offset(d))


def test_modes_solve_their_equation(fit):
    """D^-1 b = Z'(y - mu): the derivative of the joint log-density by b, rows of each group by themselves."""
    d, b = fit.design, fit.modes().b.to_numpy()
    mu = np.exp(offsets(d) + d.X @ fit.beta + (d.Z * b[d.group]).sum(axis=1))
    for i in range(d.n_groups):
        rows = d.rows(i)
        right = fit.D.to_numpy() @ d.Z[rows].T @ (d.y[rows] - mu[rows])
        assert_allclose(b[i], right, atol=1e-9)
        known = np.linalg.inv(np.linalg.inv(fit.D) + d.Z[rows].T @ (mu[rows, None] * d.Z[rows]))
        assert_allclose(fit.modes().known[i], known, rtol=1e-9)


def test_estimating_adds_a_positive_semidefinite_part(fit):
    added = fit.modes().estimated - fit.modes().known
    assert np.linalg.eigvalsh(added).min() > -1e-12 and np.linalg.eigvalsh(added).max() > 1e-3


def test_errors_are_those_of_simulation():
    """Modes of simulated data: the full error describes their distance from the b drawn, the known one does not."""
    d, rng = design(1, q=1, p=1, n=12, level=2.0), np.random.default_rng(8)
    truth = fit_glmm_design(d)
    beta, D = truth.beta.to_numpy(), truth.D.to_numpy()
    squares, said = [], {"known": [], "estimated": []}
    for _ in range(200):
        b = rng.normal(size=12) * np.sqrt(D[0, 0])
        fit = truth.refit(rng.poisson(np.exp(d.X @ beta + b[d.group])))
        modes = fit.modes()
        squares.append(np.mean((modes.b.iloc[:, 0] - b) ** 2))
        for error, values in said.items():
            values.append(np.mean(modes.covariance(error)))
    # Means of 200 with a spread of about one: 0.07. With 12 groups 1.09 and 1.73 are what 300 samples gave.
    assert np.mean(squares) / np.mean(said["estimated"]) < 1.3 < 1.4 < np.mean(squares) / np.mean(said["known"])
