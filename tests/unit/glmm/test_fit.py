"""From formula and data to a fit: units, offsets, singular fits, uncorrelated effects, options."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DataError, ParameterError
from lmmlib.glmm.fit import fit_glmm, fit_glmm_design
from tests.unit.glmm.designs import design, integral, offsets, with_offset

SLOPE = "y ~ x + (x | g)"


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(40), rng.integers(2, 9, 40))
    x, b = rng.normal(size=len(g)), rng.normal(size=(40, 2)) * [0.7, 0.4]
    hours = rng.uniform(1, 9, len(g))
    mean = np.exp(0.8 + 0.3 * x + b[g, 0] + b[g, 1] * x)
    data = pd.DataFrame({"g": [f"g{i}" for i in g], "x": x, "y": rng.poisson(mean), "hours": hours})
    data["many"], data["log_hours"] = rng.poisson(mean * hours), np.log(hours)
    return data.sample(frac=1, random_state=2).reset_index(drop=True)


@pytest.mark.parametrize("method", ["laplace", "aghq"])
def test_units_change_nothing(frame, method):
    fit = fit_glmm(SLOPE, frame, method=method)
    year = fit_glmm("y ~ year + (year | g)", frame.assign(year=2010 + 5 * frame.x), method=method)
    # A year is 2010 + 5 x: the slope a fifth, the intercept 402 slopes lower. D has the digits that 2010^2 leaves.
    T = np.array([[1.0, -402.0], [0.0, 0.2]])
    assert_allclose(year.loglik, fit.loglik, rtol=1e-11)
    assert_allclose(year.beta, T @ fit.beta, rtol=1e-8)
    assert_allclose(year.cov_beta, T @ fit.cov_beta @ T.T, rtol=1e-5)
    assert_allclose(year.D, T @ fit.D @ T.T, rtol=1e-6)
    seconds = fit_glmm("y ~ s + (s | g)", frame.assign(s=3e7 * frame.x), method=method)
    assert_allclose(seconds.D, fit.D / np.outer([1, 3e7], [1, 3e7]), rtol=1e-6)
    assert_allclose(seconds.loglik, fit.loglik, rtol=1e-11)


def test_the_loglik_is_the_integral_at_the_estimates():
    d = design(4, n=10)
    fit = fit_glmm_design(with_offset(d), method="aghq", n_quadrature=40)
    assert_allclose(fit.loglik, integral(d, fit.beta.to_numpy(), fit.D.to_numpy(), offsets(d)), rtol=1e-9)
    assert_allclose(fit.theta**2, np.diag(fit.D))


def test_groups_of_very_different_size():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(31), [1] * 20 + [2] * 10 + [5000])
    b = rng.normal(size=31)
    frame = pd.DataFrame({"g": g, "y": rng.poisson(np.exp(1 + b[g]))})
    for method in ("laplace", "aghq"):
        fit = fit_glmm("y ~ 1 + (1 | g)", frame, method=method)
        assert fit.converged and 0.5 < fit.theta[0] < 2
    se = fit.modes().se("known").iloc[:, 0]
    assert se.iloc[-1] < 0.02 < 0.1 < se.iloc[0]


def test_offset_by_name_and_as_an_array(frame):
    fit = fit_glmm("many ~ x + (1 | g)", frame, offset="log_hours")
    array = fit_glmm("many ~ x + (1 | g)", frame, offset=frame.log_hours.to_numpy())
    assert fit.loglik == array.loglik and fit.design.offset_column == "log_hours"
    without = fit_glmm("many ~ x + (1 | g)", frame)
    assert fit.loglik > without.loglik + 20
    # A constant offset only moves the intercept.
    moved = fit_glmm("many ~ x + (1 | g)", frame.assign(log_hours=frame.log_hours + 2), offset="log_hours")
    assert_allclose(moved.beta - fit.beta, [-2, 0], atol=1e-8)
    assert_allclose(moved.loglik, fit.loglik, rtol=1e-12)


def test_missing_rows_take_their_offset_along(frame):
    holes = frame.copy()
    holes.loc[3, "log_hours"], holes.loc[5, "x"], holes.loc[8, "g"] = np.nan, np.nan, None
    with pytest.raises(DataError, match="offset is missing in 1 rows, the first being row 3"):
        fit_glmm("many ~ x + (1 | g)", holes, offset="log_hours")
    right = fit_glmm("many ~ x + (1 | g)", frame.drop([3, 5, 8]), offset="log_hours")
    for offset in ("log_hours", holes.log_hours.to_numpy()):
        fit = fit_glmm("many ~ x + (1 | g)", holes, offset=offset, missing="drop")
        assert_allclose(fit.loglik, right.loglik, rtol=1e-13)
        assert fit.design.n_dropped == 3 and fit.n_obs == len(frame) - 3


def test_without_random_effects_it_is_a_glm(frame):
    fit = fit_glmm("many ~ x + (0 | g)", frame, offset="log_hours")
    X = sm.add_constant(frame[["x"]])
    theirs = sm.GLM(frame.many, X, family=sm.families.Poisson(), offset=frame.log_hours).fit(tol=1e-13)
    assert_allclose(fit.beta, theirs.params, rtol=1e-8)
    assert_allclose(fit.se, theirs.bse, rtol=1e-7)
    assert_allclose(fit.loglik, theirs.llf, rtol=1e-12)
    assert not fit.is_singular and fit.D.shape == (0, 0) and "Fixed effects" in repr(fit)
    # There is nothing to integrate out.
    by_quadrature = fit_glmm("many ~ x + (0 | g)", frame, offset="log_hours", method="aghq")
    assert_allclose(by_quadrature.loglik, fit.loglik, rtol=1e-13)
    assert_allclose(by_quadrature.se, fit.se, rtol=1e-6)


def test_no_variance_between_groups(frame):
    even = frame.assign(y=np.round(np.exp(0.8 + 0.3 * frame.x)))
    for formula in ("y ~ x + (1 | g)", SLOPE, "y ~ x + (x || g)"):
        for method in ("laplace", "aghq"):
            fit = fit_glmm(formula, even, method=method)
            glm = fit_glmm("y ~ x + (0 | g)", even)
            assert fit.is_singular and fit.converged and (fit.D.to_numpy() == 0).all()
            assert_allclose(fit.loglik, glm.loglik, rtol=1e-12)
            assert_allclose(fit.cov_beta, glm.cov_beta, rtol=1e-6)
            assert "D is singular" in repr(fit)


def test_a_covariance_of_rank_one(frame):
    rng = np.random.default_rng(1)
    g = frame.groupby("g").ngroup().to_numpy()
    b = 0.8 * rng.normal(size=40)
    line = frame.assign(y=rng.poisson(np.exp(1.5 + b[g] * (1 + 0.8 * frame.x))))
    fit = fit_glmm(SLOPE, line)
    assert fit.converged and fit.is_singular
    r = lmmlib.equations.moments.correlation(fit.D.to_numpy())[0, 1]
    assert_allclose(r, 1, atol=1e-6)
    assert np.isfinite(fit.se).all() and np.isfinite(fit.modes().estimated).all()
    assert_allclose(np.linalg.det(fit.modes().known), 0, atol=1e-9)


def test_uncorrelated_effects(frame):
    free, none = fit_glmm(SLOPE, frame), fit_glmm("y ~ x + (x || g)", frame)
    assert none.D.iloc[0, 1] == 0 and none.n_parameters == 4 == free.n_parameters - 1
    assert none.loglik <= free.loglik
    assert_allclose(none.theta, np.sqrt(np.diag(none.D)))
    # For the columns of the formula, not those of the working basis: moving x changes the model.
    assert abs(fit_glmm("y ~ s + (s || g)", frame.assign(s=frame.x + 5)).loglik - none.loglik) > 0.1


def test_three_random_effects(frame):
    fit = fit_glmm("y ~ x + (x + I(x**2) | g)", frame)
    assert fit.converged and fit.loglik >= fit_glmm(SLOPE, frame).loglik - 1e-8


def test_options_are_checked(frame):
    for arguments, message in (
        ({"method": "pql"}, "method is 'laplace' or 'aghq' or 'REML'; got 'pql'"),
        ({"n_quadrature": 5}, "n_quadrature=5 is for method='aghq'"),
        ({"method": "aghq", "n_quadrature": 0}, "n_quadrature must be"),
        ({"family": "gamma"}, "family is 'poisson' or 'binomial'; got 'gamma'"),
    ):
        with pytest.raises(ParameterError, match=message):
            fit_glmm(SLOPE, frame, **arguments)
    with pytest.raises(ParameterError, match="use method='laplace'"):
        fit_glmm("y ~ x + (x + I(x**2) | g)", frame, method="aghq")


def test_a_fit_that_is_no_frame():
    with pytest.raises(DataError, match="DataFrame"):
        fit_glmm(SLOPE, {"y": [1]}, offset=[1.0])


@pytest.mark.parametrize("seed", range(20))
def test_counts_of_all_sizes_and_units_are_ordinary_answers(seed):
    """No warning, and a standard error wherever the search converged."""
    r = np.random.default_rng(seed)
    n, m = r.integers(2, 15), r.integers(2, 12)
    g = np.repeat(np.arange(n), m)
    x = (r.normal(size=n * m) + r.choice([0, 2000, 1e5])) * 10.0 ** r.integers(-8, 9)
    eta = r.uniform(-2, 20) + r.choice([0, 0.3, 1]) * r.normal(size=n)[g] + 0.1 * (x - x.mean()) / x.std()
    frame = pd.DataFrame({"g": g, "x": x, "y": np.maximum(r.poisson(np.exp(eta)), g == 0)})
    for term in ("(1 | g)", "(x | g)", "(x || g)"):
        fit = fit_glmm(f"y ~ x + {term}", frame)
        assert fit.se.isna().all() != fit.converged
        assert repr(fit) and len(fit.confint()) and not fit.modes().se("known").isna().any(axis=None)
