"""Other units, other origins, another basis: the model is the same, so its log-likelihood must be too, to 8 digits.

Calendar years and offsets of 1e6 are what loses digits in sums of squares; the working basis is there to keep them.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from lmmlib import Design, cross_products, equations

# Eight digits of a log-likelihood near -60, as the purpose of the working basis has it.
DIGITS = {"rtol": 1e-8, "atol": 0}
D = np.array([[1.3, 0.2], [0.2, 0.7]])
SIGMA2 = 0.8


def data(seed, n=8):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 6, size=n)
    group = np.repeat(np.arange(n), sizes)
    x = np.concatenate([np.sort(rng.uniform(0, 6, size=k)) for k in sizes])
    b = rng.normal(size=(n, 2))[group]
    y = 3 - x + b[:, 0] + b[:, 1] * x + rng.normal(size=len(x))
    return y, np.column_stack([np.ones(len(x)), x]), group


def both(y, X, Z, group, D, sigma2=SIGMA2):
    cross = cross_products(Design.from_arrays(y, X, Z, group))
    return (
        equations.profile_loglik(cross, D, sigma2),
        equations.restricted_loglik(cross, D, sigma2),
        equations.gls(cross, D, sigma2),
    )


seeds = st.integers(0, 10**6)


@given(seeds, st.sampled_from([-1e6, 1900.0, 3.0]), st.sampled_from([-1e3, 1e-6, 2.0, 1e6]))
def test_response_in_other_units(seed, a, c):
    """y -> a + c y: beta_0 -> a + c beta_0, D -> c^2 D; the density shrinks by |c| per observation."""
    y, X, group = data(seed)
    plain, restricted, one = both(y, X, X, group, D)
    # The offset is in units of the new y, so that y keeps its digits.
    new, new_restricted, other = both(c * (a + y), X, X, group, c**2 * D, c**2 * SIGMA2)
    N, p = X.shape
    assert_allclose(new + N * np.log(abs(c)), plain, **DIGITS)
    assert_allclose(new_restricted + (N - p) * np.log(abs(c)), restricted, **DIGITS)
    assert_allclose(other.beta / c - [a, 0], one.beta, rtol=1e-8, atol=1e-8)
    assert_allclose(other.se / abs(c), one.se, rtol=1e-10)


@given(seeds, st.sampled_from([1e-6, 1e-3, -5.0, 365.25, 1e6]))
def test_predictor_in_other_units(seed, c):
    """x -> c x in X and Z: slope -> slope / c; REML shifts by log |c|, the determinant of the change of basis."""
    y, X, group = data(seed)
    plain, restricted, one = both(y, X, X, group, D)
    T = np.diag([1, 1 / c])
    new, new_restricted, other = both(y, X * [1, c], X * [1, c], group, T @ D @ T)
    assert_allclose(new, plain, **DIGITS)
    assert_allclose(new_restricted + np.log(abs(c)), restricted, **DIGITS)
    assert_allclose(other.beta * [1, c], one.beta, rtol=1e-9)
    assert_allclose(other.se * [1, abs(c)], one.se, rtol=1e-9)


@given(seeds, st.sampled_from([-40.0, 1900.0]))
def test_predictor_from_another_origin(seed, shift):
    """x -> x + 1900 in X and Z: D is that of intercepts 1900 years before."""
    y, X, group = data(seed)
    plain, restricted, one = both(y, X, X, group, D)
    T = np.array([[1, -shift], [0, 1]])
    moved = X @ [[1, shift], [0, 1]]
    new, new_restricted, other = both(y, moved, moved, group, T @ D @ T.T)
    assert_allclose(new, plain, **DIGITS)
    assert_allclose(new_restricted, restricted, **DIGITS)
    assert_allclose(other.beta[1], one.beta[1], rtol=1e-8, atol=1e-8)
    assert_allclose(other.se[1], one.se[1], rtol=1e-8)
    assert_allclose(np.linalg.inv(T) @ other.cov @ np.linalg.inv(T).T, one.cov, rtol=1e-5, atol=1e-6)


@given(seeds, st.sampled_from([1900.0, 1e6, -1e7]))
def test_offsets_of_a_fixed_effect_lose_nothing(seed, shift):
    """x -> x + 1e6 beside a random intercept, where D is free of x."""
    y, X, group = data(seed)
    plain, restricted, one = both(y, X, X[:, :1], group, 0.9)
    new, new_restricted, other = both(y, X @ [[1, shift], [0, 1]], X[:, :1], group, 0.9)
    assert_allclose(new, plain, **DIGITS)
    assert_allclose(new_restricted, restricted, **DIGITS)
    assert_allclose(other.beta[1], one.beta[1], rtol=1e-7, atol=1e-8)
    assert_allclose(other.se[1], one.se[1], rtol=1e-8)
    assert_allclose(other.beta[0] + shift * other.beta[1], one.beta[0], rtol=1e-8, atol=1e-5)


@given(seeds)
def test_another_basis_of_the_fixed_effects(seed):
    """X -> X A: beta -> A^-1 beta, REML shifts by log |det A|, Wald F of all coefficients is the same."""
    y, X, group = data(seed)
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(2, 2)) + 2 * np.eye(2)
    plain, restricted, one = both(y, X, X, group, D)
    new, new_restricted, other = both(y, X @ A, X, group, D)
    assert_allclose(new, plain, **DIGITS)
    assert_allclose(new_restricted + np.log(abs(np.linalg.det(A))), restricted, **DIGITS)
    assert_allclose(A @ other.beta, one.beta, rtol=1e-9, atol=1e-9)
    assert_allclose(equations.wald(other, np.eye(2)).statistic, equations.wald(one, np.eye(2)).statistic, rtol=1e-9)


@given(seeds)
def test_another_basis_of_the_random_effects(seed):
    """Z -> Z A with D -> A^-1 D A^-T leaves every V_i as it is, for D of any rank."""
    y, X, group = data(seed)
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(2, 2)) + 2 * np.eye(2)
    back = np.linalg.inv(A)
    for full in (D, np.outer([1, 0.5], [1, 0.5]), np.zeros((2, 2))):
        assert_allclose(both(y, X, X @ A, group, back @ full @ back.T)[:2], both(y, X, X, group, full)[:2], **DIGITS)


@settings(max_examples=10)
@given(seeds)
def test_small_sample_df_do_not_depend_on_units(seed):
    y, X, group = data(seed, n=12)
    T, c = np.array([[1, -1900.0], [0, 1]]), 1e-3
    moved = X @ [[1, 1900], [0, 1]]
    one = cross_products(Design.from_arrays(y, X, X, group))
    other = cross_products(Design.from_arrays(c * y, moved, moved, group))
    args = T @ D @ T.T * c**2, SIGMA2 * c**2
    for row in ([0, 1], [1, 2.0]):
        there = [row[0], row[1] + 1900 * row[0]]
        df = [equations.satterthwaite(*a, kind="expected") for a in ((one, row, D, SIGMA2), (other, there, *args))]
        # D in the shifted units has entries of 2e6, whose rounding is 1e-10 of the intercept's variance at the mean.
        assert_allclose(df[1], df[0], rtol=1e-6)
        kr = [equations.kenward_roger(*a) for a in ((one, row, D, SIGMA2), (other, there, *args))]
        assert_allclose([kr[1].df, kr[1].statistic], [kr[0].df, kr[0].statistic], rtol=1e-6)


SINGULAR = {"full": D, "one direction": np.outer([1, 0.5], [1, 0.5]), "slope": np.diag([0, 0.7]), "zero": 0 * D}


@settings(max_examples=25)
@given(seeds, st.sampled_from(sorted(SINGULAR)), st.booleans())
def test_a_hypothesis_has_one_test_however_it_is_written(seed, of, more_rows):
    """Rows L and R L, R of full rank and with rows to spare, and X in another basis: one F, one df, one p."""
    y, X, group = data(seed, n=12)
    rng = np.random.default_rng(seed)
    between = rng.normal(size=12)[group]
    X = np.column_stack([X, between, X[:, 1] * between, rng.normal(size=len(y))])
    rows = int(rng.integers(2, 5))
    L, R = rng.normal(size=(rows, 5)), np.linalg.qr(rng.normal(size=(rows + more_rows, rows)))[0]
    R, A = R * np.geomspace(1, 100, rows), rng.normal(size=(5, 5)) + 3 * np.eye(5)
    one, other = (cross_products(Design.from_arrays(y, x, X[:, :2], group)) for x in (X, X @ A))
    tests = []
    for cross, hypothesis in ((one, L), (one, R @ L), (other, R @ L @ A)):
        df = equations.satterthwaite(cross, hypothesis, SINGULAR[of], SIGMA2, kind="expected")
        w = equations.wald(equations.gls(cross, SINGULAR[of], SIGMA2), hypothesis, df=df)
        k = equations.kenward_roger(cross, hypothesis, SINGULAR[of], SIGMA2)
        assert w.df[0] == k.rows == rows
        tests.append([w.statistic, df, w.p, k.statistic, k.df, k.p])
    assert_allclose(tests[1], tests[0], rtol=1e-9, atol=1e-300)
    assert_allclose(tests[2], tests[0], rtol=1e-8, atol=1e-300)


def maximum(y, X, group, T, c=1.0):
    """Maximum of the profile log-likelihood over the log-Cholesky factor of D and log sigma2, by BFGS."""
    cross = cross_products(Design.from_arrays(y, X, X, group))

    def minus(theta):
        L = np.array([[np.exp(theta[0]), 0], [theta[1], np.exp(theta[2])]])
        return -equations.profile_loglik(cross, c**2 * T @ L @ L.T @ T.T, c**2 * np.exp(theta[3]))

    best = minimize(minus, np.zeros(4), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-11, "maxiter": 3000})
    return -best.fun


UNITS = {
    "years AD": (1900.0, 1.0, 1.0),
    "x in millionths": (0.0, 1e-6, 1.0),
    "x in millions": (0.0, 1e6, 1.0),
    "y in thousands": (0.0, 1.0, 1e3),
    "all at once": (1900.0, 365.25, 1e-3),
}


@pytest.fixture(scope="module")
def plain_maximum():
    return maximum(*data(5), np.eye(2))


@pytest.mark.parametrize("units", UNITS)
def test_the_maximum_does_not_depend_on_units(units, plain_maximum):
    """The likelihood is asked in the new units, D included; the search steps are the plain ones."""
    shift, unit, c = UNITS[units]
    y, X, group = data(5)
    moved = X @ [[1, shift * unit], [0, unit]]
    T = np.linalg.inv([[1, shift * unit], [0, unit]])
    assert_allclose(maximum(c * y, moved, group, T, c) + len(y) * np.log(c), plain_maximum, **DIGITS)
