"""Scores and information in closed form where they have one; names and order of the parameters."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import equations
from lmmlib.equations.information import directions, information_variance, score_variance
from lmmlib.errors import ParameterError


def one_way(n=6, m=4, seed=9):
    rng = np.random.default_rng(seed)
    group = np.repeat(range(n), m)
    y = 5 + 2 * rng.normal(size=n)[group] + rng.normal(size=n * m)
    return lmmlib.cross_products(
        lmmlib.Design.from_arrays(y, np.ones((n * m, 1)), np.ones((n * m, 1)), group)
    ), y.reshape(n, m)


def test_one_way_information_by_hand():
    """On lambda = sigma2 + m tau2 and sigma2 it is diagonal: n / 2 lambda^2 (REML n - 1) and n (m - 1) / 2 sigma^4."""
    n, m, tau2, sigma2 = 6, 4, 1.5, 0.7
    cross, _ = one_way(n, m)
    lam = sigma2 + m * tau2
    J = np.array([[m, 1.0], [0.0, 1.0]])  # d (lambda, sigma2) / d (tau2, sigma2)
    for method, lost in (("ML", 0), ("REML", 1)):
        diagonal = np.diag([(n - lost) / (2 * lam**2), n * (m - 1) / (2 * sigma2**2)])
        assert_allclose(information_variance(cross, tau2, sigma2, method=method), J.T @ diagonal @ J, rtol=1e-12)


def test_one_way_score_by_hand():
    n, m, tau2, sigma2 = 6, 4, 1.5, 0.7
    cross, y = one_way(n, m)
    lam = sigma2 + m * tau2
    between, within = m * ((y.mean(axis=1) - y.mean()) ** 2).sum(), ((y - y.mean(axis=1, keepdims=True)) ** 2).sum()
    for method, lost in (("ML", 0), ("REML", 1)):
        by_lambda = -(n - lost) / (2 * lam) + between / (2 * lam**2)
        by_sigma2 = -n * (m - 1) / (2 * sigma2) + within / (2 * sigma2**2)
        ours = score_variance(cross, tau2, sigma2, method=method)
        assert_allclose(ours, [m * by_lambda, by_lambda + by_sigma2], rtol=1e-11)


def test_names_follow_vech(frame):
    full = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (week + age | child)", frame))
    names = [n.replace("(Intercept)", "1") for n in full.variance_names]
    assert names == ["D[1, 1]", "D[week, 1]", "D[age, 1]", "D[week, week]", "D[age, week]", "D[age, age]", "sigma2"]
    diagonal = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (week || child)", frame))
    assert [n.replace("(Intercept)", "1") for n in diagonal.variance_names] == ["D[1, 1]", "D[week, week]", "sigma2"]
    D = np.eye(2)
    assert information_variance(diagonal, D, 1.0).shape == (3, 3)
    inside = np.ix_([0, 2, 3], [0, 2, 3])
    slope = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (week | child)", frame))
    for kind in ("expected", "observed"):
        part = information_variance(slope, D, 1.0, method="REML", kind=kind)[inside]
        assert_allclose(information_variance(diagonal, D, 1.0, method="REML", kind=kind), part, rtol=1e-11)


def test_expected_information_is_the_mean_of_the_observed():
    """The observed information is a quadratic form in y, so its mean is the sum over the columns of V^(1/2)."""
    rng = np.random.default_rng(10)
    X = np.column_stack([np.ones(9), rng.normal(size=9)])
    design = lmmlib.Design.from_arrays(rng.normal(size=9), X, X, [0, 0, 0, 1, 1, 2, 2, 2, 2])
    D, sigma2 = np.array([[1.0, 0.3], [0.3, 0.5]]), 0.6
    half = np.linalg.cholesky(lmmlib.dense.V(design, D, sigma2))

    def observed(y):
        return information_variance(
            lmmlib.cross_products(design.with_response(y)), D, sigma2, method="REML", kind="observed"
        )

    zero = observed(np.zeros(9))
    mean = sum(observed(column) - zero for column in half.T) + zero
    # For REML only: the profile likelihood does not take the estimation of beta into account.
    assert_allclose(mean, information_variance(lmmlib.cross_products(design), D, sigma2), rtol=1e-9, atol=1e-9)


def test_information_is_positive_semidefinite_on_the_boundary(cross):
    for D in (np.zeros((2, 2)), np.outer([2.0, 1.0], [2.0, 1.0])):
        for method in ("ML", "REML"):
            values = np.linalg.eigvalsh(information_variance(cross, D, 0.8, method=method))
            assert values.min() > 0


def test_directions_take_residuals_at_any_beta(design, cross, D):
    beta = np.array([20.0, 1.0])
    d = directions(cross, D, 0.8, beta)
    W = np.linalg.inv(lmmlib.dense.V(design, D, 0.8))
    r = design.y - design.X @ beta
    assert_allclose(d.P[-1, -1, -1], r @ W @ W @ r, rtol=1e-10)


@pytest.mark.parametrize("method", ["reml", "foo", None, True], ids=repr)
def test_method_is_ml_or_reml(cross, D, method):
    for call in (information_variance, score_variance):
        with pytest.raises(ParameterError, match="method is 'REML' or 'ML'"):
            call(cross, D, 1.0, method=method)


@pytest.mark.parametrize("kind", ["Expected", "fisher", None], ids=repr)
def test_kind_is_expected_or_observed(cross, D, kind):
    with pytest.raises(ParameterError, match="kind.*'expected'"):
        information_variance(cross, D, 1.0, method="ML", kind=kind)
    with pytest.raises(ParameterError, match="kind.*'expected'"):
        equations.satterthwaite(cross, [0, 1], D, 1.0, kind=kind)


def test_information_keeps_its_digits_with_calendar_years():
    """V less the parts of D cancels among entries of D at year 0: 7e-5 of the information of sigma2 was noise."""
    rng = np.random.default_rng(3)
    group, year = np.repeat(np.arange(12), 5), np.tile(np.arange(5.0), 12) + rng.integers(0, 2, 60)
    y = rng.normal(size=12)[group] + rng.normal(size=60)
    D, sigma2, to_0 = np.array([[4.0, 0.3], [0.3, 0.5]]), 1.1, np.array([[1.0, -2010.0], [0.0, 1.0]])

    def at(x, D):
        cross = lmmlib.cross_products(
            lmmlib.build_design("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": group}))
        )
        return equations.information_variance(cross, D, sigma2)

    entries = [(0, 0), (1, 0), (1, 1)]
    moved = np.eye(4)  # derivatives of the entries of D here by those of D at year 0: of T^-1 D T'^-1
    for r, (a, b) in enumerate(entries):
        E = np.zeros((2, 2))
        E[a, b] = E[b, a] = 1
        back = np.linalg.inv(to_0) @ E @ np.linalg.inv(to_0).T
        moved[:3, r] = [back[k] for k in entries]
    assert_allclose(at(year + 2010, to_0 @ D @ to_0.T), moved.T @ at(year, D) @ moved, rtol=1e-8)
