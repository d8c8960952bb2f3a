"""Predictions of random effects at given parameters: formulas as printed, derivatives by differences."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense
from lmmlib.equations.blup import conditional_covariance, estimation_error, random_effects
from lmmlib.errors import DesignError
from lmmlib.prediction.blups import blups
from tests.unit.equations.differences import blocks, differenced

# Two exact ways to the same numbers on 24 rows: rounding only.
EXACT = {"rtol": 1e-10, "atol": 1e-11}


def at(fit, D, sigma2):
    """The fit with D and sigma2 of the test's choice, and the beta that belongs to them."""
    beta, cov = dense.gls(fit.design, D, sigma2)
    z, x = fit.D.index, fit.beta.index
    return replace(
        fit,
        D=pd.DataFrame(D, z, z),
        sigma2=sigma2,
        beta=pd.Series(beta, x),
        cov_beta=pd.DataFrame(cov, x, x),
    )


def printed(design, D, sigma2):
    """Everything that the formulas say, with N x N matrices."""
    q, n = len(D), design.n_groups
    X, Z, big = design.X, dense.big_Z(design), np.kron(np.eye(n), D)
    W, P = np.linalg.inv(dense.V(design, D, sigma2)), dense.projection(design, D, sigma2)
    beta, Phi = dense.gls(design, D, sigma2)
    cov = -Phi @ X.T @ W @ Z @ big
    return {
        "b": (big @ Z.T @ W @ (design.y - X @ beta)).reshape(n, q),
        "known": blocks(big - big @ Z.T @ W @ Z @ big, q),
        "pev": blocks(big - big @ Z.T @ P @ Z @ big, q),
        "cov_beta_b": np.stack([cov[:, i : i + q] for i in range(0, n * q, q)]),
        "shrinkage": blocks(big @ Z.T @ W @ Z, q),
    }


def random_design(seed, q=2, diagonal=False):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(9), rng.integers(1, 7, size=9) + 1)
    N = len(group)
    X, Z = (np.column_stack([np.ones(N), rng.normal(size=(N, k - 1))]) for k in (3, q))
    return lmmlib.Design.from_arrays(rng.normal(size=N), X, Z, group, diagonal=diagonal).take(rng.permutation(N))


@pytest.fixture
def fitted(design):
    return lmmlib.fit_design(design)


SINGULAR = {
    "no variance": np.zeros((2, 2)),
    "no slopes": np.diag([1.5, 0.0]),
    "rank one": np.outer([1, -0.4], [1, -0.4]),
}


@pytest.mark.parametrize("name", ["regular", *SINGULAR])
def test_predictions_and_errors_are_the_printed_ones(fitted, D, name):
    D = SINGULAR.get(name, D)
    ours, theirs = blups(at(fitted, D, 0.8)), printed(fitted.design, D, 0.8)
    for key, value in theirs.items():
        assert_allclose(getattr(ours, key), value, err_msg=key, **EXACT)
    assert_allclose(conditional_covariance(fitted.cross, D, 0.8), theirs["known"], **EXACT)


def test_random_effects_about_any_mean(cross, design, D):
    beta = np.array([20.0, 0.5])
    big = np.kron(np.eye(design.n_groups), D)
    r = np.linalg.solve(dense.V(design, D, 0.8), design.y - design.X @ beta)
    assert_allclose(random_effects(cross, beta, D, 0.8).ravel(), big @ dense.big_Z(design).T @ r, **EXACT)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("q, diagonal", [(1, False), (2, False), (2, True), (3, False)])
def test_error_of_estimating_D_and_sigma2_by_differences(seed, q, diagonal):
    design = random_design(seed, q, diagonal)
    A = np.random.default_rng(seed).normal(size=(q, q))
    D = np.diag(np.diag(A) ** 2 + 0.3) if diagonal else A @ A.T + 0.3 * np.eye(q)
    ours, theirs = estimation_error(lmmlib.cross_products(design), D, 0.7), differenced(design, D, 0.7)
    # Central differences with steps of 1e-5 leave about 9 digits.
    assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7 * np.abs(theirs).max())


@pytest.mark.parametrize("name", SINGULAR)
def test_error_of_estimating_a_singular_D(name):
    """The formula is smooth across the boundary; at D = 0 the error is all that the corrected one has."""
    design, D = random_design(7), SINGULAR[name]
    cross = lmmlib.cross_products(design)
    ours, theirs = estimation_error(cross, D, 0.7), differenced(design, D, 0.7)
    assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7 * np.abs(theirs).max())
    assert np.linalg.eigvalsh(ours).min() > -1e-12 and np.trace(ours, axis1=1, axis2=2).min() > 0


def test_errors_at_given_parameters_have_the_units_to_the_last_digits(design, D):
    """At the same D and sigma2, in calendar years and in thousandths: equal to 8 digits."""
    shift, c = np.array([[1.0, 2000.0], [0.0, 1.0]]), 1e-3
    moved = lmmlib.Design.from_arrays(c * design.y, design.X @ shift, design.Z @ shift, design.group)
    back = np.linalg.inv(shift)
    one = estimation_error(lmmlib.cross_products(design), D, 0.8)
    two = estimation_error(lmmlib.cross_products(moved), c**2 * back @ D @ back.T, c**2 * 0.8)
    assert_allclose(shift @ two @ shift.T / c**2, one, rtol=1e-6, atol=1e-8)


def test_information_that_does_not_exist_is_named(design):
    """A fixed effect for every group leaves nothing that would tell D."""
    X = np.eye(design.n_groups)[design.group]
    saturated = lmmlib.Design.from_arrays(design.y, X, design.Z[:, :1], design.group)
    with pytest.raises(DesignError, match=r"the data do not identify D\[z0, z0\]"):
        estimation_error(lmmlib.cross_products(saturated), np.eye(1), 1.0)
