"""The dense formulas are the oracle of the fast ones, so they are checked against other programs and by hand."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal

import lmmlib
from lmmlib import dense, equations


def test_dense_uses_nothing_of_the_fast_code():
    source = inspect.getsource(dense)
    imports = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    modules = ["__future__", "numpy", "lmmlib.design.design", "lmmlib.errors"]
    assert [line.split()[1] for line in imports] == modules
    assert "cross" not in source.split('"""', 2)[2]


def test_V_is_block_diagonal_in_the_order_of_groups(design, D):
    order = np.concatenate([design.rows(i) for i in range(design.n_groups)])
    blocks = [Z @ D @ Z.T + 0.8 * np.eye(len(Z)) for _, _, Z in map(design.group_rows, range(design.n_groups))]
    assert_allclose(dense.V(design, D, 0.8)[np.ix_(order, order)], block_diag(*blocks), rtol=1e-14, atol=1e-14)
    assert dense.big_Z(design).shape == (design.n_obs, 2 * design.n_groups)


def test_likelihood_is_a_normal_density(design, D):
    beta = [20.0, 0.5]
    stored = multivariate_normal(design.X @ beta, dense.V(design, D, 0.8)).logpdf(design.y)
    assert dense.loglik(design, beta, D, 0.8) == pytest.approx(stored, abs=1e-9)


def test_gls_is_least_squares_on_whitened_rows(design, D):
    half = np.linalg.cholesky(dense.V(design, D, 0.8))
    X, y = np.linalg.solve(half, design.X), np.linalg.solve(half, design.y)
    beta, cov = dense.gls(design, D, 0.8)
    assert_allclose(beta, np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-11)
    assert_allclose(cov, np.linalg.inv(X.T @ X), rtol=1e-11)


def test_derivatives_of_V_are_exact(design, D):
    """V is linear in D and sigma2, so a unit step is the derivative."""
    V = dense.V(design, D, 0.8)
    steps = [[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]]
    for step, dV in zip(steps, dense.V_derivatives(design), strict=False):
        assert_allclose(dense.V(design, D + step, 0.8) - V, dV, atol=1e-12)
    assert_allclose(dense.V(design, D, 1.8) - V, dense.V_derivatives(design)[-1], atol=1e-12)


def test_projection(design, D):
    P = dense.projection(design, D, 0.8)
    assert_allclose(P @ design.X, 0, atol=1e-11)
    assert_allclose(P @ dense.V(design, D, 0.8) @ P, P, atol=1e-11)
    r = design.y - design.X @ dense.gls(design, D, 0.8)[0]
    assert_allclose(P @ design.y, np.linalg.solve(dense.V(design, D, 0.8), r), atol=1e-10)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_score_and_information_by_differences(design, D, method):
    """Central differences of the likelihood; the step loses half of the digits."""
    likelihood = dense.profile_loglik if method == "ML" else dense.restricted_loglik
    h = 1e-5

    def move(r, size):
        step = np.zeros(4)
        step[r] = size
        return D + [[step[0], step[1]], [step[1], step[2]]], 0.8 + step[3]

    score = dense.score_variance(design, D, 0.8, method=method)
    observed = dense.information_variance(design, D, 0.8, method=method, kind="observed")
    for r in range(4):
        up, down = move(r, h), move(r, -h)
        assert score[r] == pytest.approx((likelihood(design, *up) - likelihood(design, *down)) / (2 * h), abs=1e-5)
        slope = (
            dense.score_variance(design, *up, method=method) - dense.score_variance(design, *down, method=method)
        ) / (2 * h)
        assert_allclose(observed[r], -slope, rtol=1e-5, atol=1e-6)


def test_ols_covariance_and_sandwich_by_hand(design, D):
    H = np.linalg.pinv(design.X)
    assert_allclose(dense.ols_covariance(design, D, 0.8), H @ dense.V(design, D, 0.8) @ H.T, rtol=1e-10)
    beta = H @ design.y
    scores = [X.T @ (y - X @ beta) for y, X, _ in map(design.group_rows, range(design.n_groups))]
    bread = np.linalg.inv(design.X.T @ design.X)
    meat = np.array(scores).T @ np.array(scores)
    assert_allclose(dense.sandwich(design, beta, 0 * D, 1.0), bread @ meat @ bread, rtol=1e-10)


def test_small_sample_formulas_on_the_growth_data():
    """Balanced, X = Z: 26 df for every contrast, and no correction of the covariance; lmerTest and pbkrtest agree."""
    design = lmmlib.build_design("distance ~ age + (age | Subject)", lmmlib.load("dental"))
    est = equations.two_stage_estimates(design)
    assert dense.satterthwaite(design, [0, 1], est.D, est.sigma2) == pytest.approx(26, rel=1e-7)
    cov = dense.gls(design, est.D, est.sigma2)[1]
    assert_allclose(dense.kenward_roger_covariance(design, est.D, est.sigma2), cov, rtol=1e-7)
