"""A parameter held: the least criterion among the models in which it has the value."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize, minimize_scalar

import lmmlib
from lmmlib.errors import DesignError
from lmmlib.several import held as several_held
from lmmlib.several.fit import fit_several
from lmmlib.several.held import held
from lmmlib.several.parameters import kinds_of
from tests.several import Dense, animals, frame, pairs

FORMULA = "y ~ x + (x | h) + (1 | g)"


@pytest.fixture(scope="module")
def fit():
    return lmmlib.fit(FORMULA, frame(11))


def model(fit, name):
    return held(fit, kinds_of(fit.terms)[name])


def value_at(fit, sd1, sd2, r, sd3, sigma):
    D = np.array([[sd1**2, r * sd1 * sd2], [r * sd1 * sd2, sd2**2]])
    return Dense(fit.terms, {0: D, 1: [[sd3**2]]}, sigma**2).criterion("REML")


@pytest.mark.parametrize(("name", "place"), [("sd x | h", 1), ("corr (Intercept), x | h", 2), ("sigma", 4)])
def test_held_is_the_least_of_all_others(fit, name, place):
    """Against a search without derivatives, of the criterion of the full matrices."""
    best = fit.parameters().to_numpy()[2:]
    value = best[place] * 0.9 - 0.05

    def full(free):
        others = np.insert(np.concatenate([np.exp(free[:2]), free[2:3], np.exp(free[3:])])[:4], place, value)
        return others

    transform = [np.log, np.log, np.arctanh, np.log, np.log]
    back = [np.exp, np.exp, np.tanh, np.exp, np.exp]
    keep = [k for k in range(5) if k != place]

    def criterion(free):
        return value_at(fit, *np.insert([back[k](v) for k, v in zip(keep, free, strict=True)], place, value))

    first = [transform[k](best[k]) for k in keep]
    found = minimize(criterion, first, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000})
    assert_allclose(model(fit, name).at(value).criterion, found.fun, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["sd (Intercept) | h", "sd x | h", "sd (Intercept) | g", "corr (Intercept), x | h", "sigma"]
)
def test_at_its_estimate_it_is_the_fit(fit, name):
    one = model(fit, name)
    near = one.solve(one.estimate, one.points[0])
    assert_allclose(near.criterion, fit.criterion, atol=1e-8)


def test_a_standard_deviation_of_zero_is_the_model_without(fit):
    without = lmmlib.fit("y ~ x + (x | h)", frame(11))
    assert_allclose(model(fit, "sd (Intercept) | g").at(0.0).criterion, without.criterion, atol=1e-7)
    slope = lmmlib.fit("y ~ x + (1 | h) + (1 | g)", frame(11))
    assert_allclose(model(fit, "sd x | h").at(0.0).criterion, slope.criterion, atol=1e-6)


def test_a_fixed_effect_is_held_by_an_offset(fit):
    one = model(fit, "x")
    assert one.fit.method == "ML"
    data = frame(11)
    other = lmmlib.fit("y ~ 1 + (x | h) + (1 | g)", data, offset=0.4 * data["x"], method="ML")
    assert_allclose(one.at(0.4).criterion, other.criterion, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "formula"), [("dental", "distance ~ age + (age | Subject)"), ("dyestuff", "Yield ~ 1 + (1 | Batch)")]
)
def test_limits_of_one_grouping(name, formula):
    data = lmmlib.load(name)
    found, one = fit_several(formula, data).confint(), lmmlib.fit(formula, data).confint()
    assert_allclose(found, one, rtol=1e-5, atol=1e-5)


def test_limits_where_the_estimate_is_zero():
    rng, data = np.random.default_rng(1), frame(1)
    data["y"] = rng.normal(size=len(data))
    data["y"] -= data.groupby("h")["y"].transform("mean")
    fit = lmmlib.fit("y ~ 1 + (1 | g) + (1 | h)", data)
    limits = fit.confint(parameters="sd (Intercept) | h").iloc[0]
    assert limits["lower"] == 0 < limits["upper"]
    rise = held(fit, ("sd", 1, 0)).at(limits["upper"]).criterion - fit.criterion
    assert_allclose(rise, 3.841458820694124, rtol=1e-6)


def test_a_fit_that_is_no_optimum_is_not_profiled(fit):
    broken = lmmlib.fit(FORMULA, frame(11))
    vars(broken)["converged"] = False
    with pytest.raises(DesignError, match="no REML fit to profile"):
        model(broken, "sigma")
    low = lmmlib.fit(FORMULA, frame(11))
    vars(low)["loglik"] = low.loglik - 5
    with pytest.raises(DesignError, match="several maxima"):
        model(low, "sigma").at(1.01 * np.sqrt(low.sigma2))


def test_limits_of_an_animal_model():
    """Of lambs with one record each sigma may be zero: limits of both, and the rise of the criterion there."""
    lambs = lmmlib.load("lambs")
    lambs["lamb"] = [f"lamb {k}" for k in range(len(lambs))]
    flock = pd.DataFrame({"sire": [f"sire {k}" for k in lambs["sire"]], "dam": None}, lambs["lamb"])
    fit = lmmlib.fit("weight ~ 0 + line + dam_age + (1 | lamb)", lambs, relationship={"lamb": flock})
    limits = fit.confint(parameters=["sd (Intercept) | lamb", "sigma"])
    assert (limits["lower"] == 0).all()
    upper, sigma = limits["upper"]

    def rise(sd, sigma):
        return Dense(fit.terms, {0: np.array([[sd**2]])}, sigma**2).criterion("REML") - fit.criterion

    assert_allclose(rise(upper, 0.0), 3.841458820694124, rtol=1e-6)
    assert rise(upper, 0.1) > rise(upper, 0.0) < rise(upper, 0.01)
    assert_allclose(min(rise(sd, sigma) for sd in np.linspace(0, 1, 101)), 3.841458820694124, rtol=1e-6)
    profile = fit.profile("sigma", [0.0, 1e-9, 0.1])
    assert_allclose(profile["criterion"][:2], minimum(lambda sd: rise(sd, 0.0)) + fit.criterion, rtol=1e-9)


def minimum(function):
    return minimize_scalar(function, bounds=(0.5, 3.0), method="bounded", options={"xatol": 1e-9}).fun


def test_a_correlation_that_turns_is_looked_for_in_another_valley():
    """There the full matrices have 64.580, the lowest that has turned 64.534, and without a column it is 64.675."""
    fit = fit_several("y ~ x + (x | g)", pairs(4))
    assert_allclose(model(fit, "corr (Intercept), x | g").at(-0.5).criterion, 64.5801296557, rtol=1e-10)


def test_limits_of_one_grouping_where_sigma_may_be_zero():
    fit = lmmlib.fit("y ~ x + (x | g)", pairs(4))
    limits, same = fit.confint(parameters=["sd x", "sigma"]), fit_several(fit.formula, pairs(4))
    assert_allclose(limits, same.confint(parameters=["sd x | g", "sigma"]), rtol=1e-6)
    assert limits.loc["sigma", "lower"] == 0


def test_of_too_many_rows_the_error_says_what_needs_no_profile(monkeypatch):
    monkeypatch.setattr(several_held, "MOST_ROWS", 10)
    fit = animals(3)
    what = r"the minimum with sd \(Intercept\) \| calf held at 3 was not found: .*; confint\(method='bootstrap'\)"
    with pytest.raises(DesignError, match=what):
        fit.profile("sd (Intercept) | calf", [3.0])
    assert fit.confint(method="wald").notna().all(axis=None)
    assert fit.confint(method="bootstrap", size=5, rng=1)["upper"].notna().all()
