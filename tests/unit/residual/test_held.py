"""One parameter held, drawn or by its column, and the intervals and tables that follow."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

import lmmlib
from lmmlib.common.tails import half_width
from lmmlib.errors import DesignError, LmmError, ParameterError
from lmmlib.residual import ar1, by, compound, independent, unstructured
from lmmlib.residual.held import HeldEffect, HeldForm
from lmmlib.residual.parameters import forms
from tests.several import frame
from tests.unit.residual import dense

F = "lead ~ week + (0 | child)"
ARM = "lead ~ week + arm + (1 | child)"


@pytest.fixture(scope="module")
def fit(trial):
    return lmmlib.fit(F, trial, residual=ar1("week"))


def criterion(fit, sigma2, rho, method="REML", X=None, y=None):
    R, code = dense.ar1(sigma2, rho), fit.model.visits.code
    V = dense.V(fit.design, np.zeros((0, 0)), lambda r: R[np.ix_(code[r], code[r])])
    return dense.criterion(V, fit.design.X if X is None else X, fit.design.y if y is None else y, method)


@pytest.mark.parametrize("share", [0.5, 0.9, 1.1])
def test_a_correlation_drawn_aside_is_a_point_of_the_profile(fit, share):
    held = HeldForm(fit, forms(fit)["rho"])
    point = held.at(share * held.estimate)
    rho = held.parameter(share * held.estimate)
    best = minimize_scalar(
        lambda s: criterion(fit, np.exp(s), rho), bounds=(-2, 4), method="bounded", options={"xatol": 1e-8}
    )
    assert_allclose(point.criterion, best.fun, rtol=1e-10)
    assert 0 < (rho - held.estimate) / (share - 1) / held.estimate < 1


def test_a_variance_drawn_aside_is_one_too(fit):
    held = HeldForm(fit, forms(fit)["sigma"])
    point = held.at(1.4 * held.estimate)
    sigma2 = held.parameter(1.4 * held.estimate) ** 2
    best = minimize_scalar(
        lambda r: criterion(fit, sigma2, r), bounds=(-0.5, 0.95), method="bounded", options={"xatol": 1e-8}
    )
    assert_allclose(point.criterion, best.fun, rtol=1e-10)


def test_an_effect_held(fit):
    held = HeldEffect(fit.by_ml, 1)
    point = held.at(-0.4)
    X, y = fit.design.X[:, :1], fit.design.y + 0.4 * fit.design.X[:, 1]
    own = fit.model.natural(point.working)[0] * [fit.model.unit**2, 1]
    assert_allclose(point.criterion, criterion(fit, *own, "ML", X, y), rtol=1e-10)
    near = [
        criterion(fit, own[0] * a, own[1] + b, "ML", X, y) for a, b in ((1.02, 0), (0.98, 0), (1, 0.02), (1, -0.02))
    ]
    assert min(near) > point.criterion
    assert held.parameter(-0.4) == -0.4


def test_edges_are_reached_and_kept():
    rng = np.random.default_rng(4)
    data = pd.DataFrame(
        {"y": rng.standard_normal(30), "g": np.repeat(np.arange(10), 3), "v": np.tile(np.arange(3), 10)}
    )
    fit = lmmlib.fit("y ~ 1 + (0 | g)", data, residual=compound("v"))
    held = HeldForm(fit, forms(fit)["rho"])
    low, high = (held.parameter(edge) for edge in held.edges)
    assert -0.5 <= low < fit.parameters()["rho"] < high <= 1
    assert held.at(held.edges[0]).criterion > fit.criterion
    assert held.parameter(np.inf) == np.inf


def test_a_search_that_ends_nowhere_is_said(fit, monkeypatch):
    from lmmlib.fitting import newton

    monkeypatch.setattr(newton, "MAX_STEPS", 1)
    with pytest.raises(DesignError, match="held at 30 was not found: 1 steps"):
        HeldEffect(fit.by_ml, 1).at(30.0)


@pytest.mark.parametrize("formula", [ARM, "lead ~ week + (week | child)"])
def test_profiles_and_wald_limits_are_those_of_the_plain_model(formula, trial):
    plain, fit = lmmlib.fit(formula, trial), lmmlib.fit(formula, trial, residual=independent())
    for method in ("profile", "wald"):
        ours, theirs = fit.confint(0.9, method=method), plain.confint(0.9, method=method)
        assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
        assert ours.attrs == theirs.attrs
    assert_allclose(fit.cov_parameters(), plain.cov_parameters(), rtol=1e-5, atol=1e-9)


def test_compound_symmetry_has_the_intervals_of_the_random_intercept(trial):
    plain = lmmlib.fit(ARM, trial).variance_components()
    table = lmmlib.fit("lead ~ week + arm + (0 | child)", trial, residual=compound("week")).confint()
    icc = plain[plain["quantity"] == "icc"].iloc[0]
    assert icc["lower"] > 0
    assert_allclose(
        table.loc["rho", ["estimate", "lower", "upper"]].to_numpy(float),
        icc[["estimate", "lower", "upper"]].to_numpy(float),
        rtol=1e-6,
    )


def test_limits_of_profiles_are_where_the_criterion_has_risen(fit):
    """By full matrices: the least criterion with the correlation at its limit is 3.84 above that of the fit."""
    table = fit.confint(parameters=["sigma", "rho", "week"])
    code, X, y = fit.model.visits.code, fit.design.X, fit.design.y

    def criterion(log_sigma2, rho):
        R = dense.ar1(np.exp(log_sigma2), rho)
        return dense.criterion(
            dense.V(fit.design, np.zeros((0, 0)), lambda r: R[np.ix_(code[r], code[r])]), X, y, "REML"
        )

    for end in table.loc["rho", ["lower", "upper"]]:
        best = minimize_scalar(criterion, args=(end,), bounds=(-2, 4), method="bounded", options={"xatol": 1e-7})
        assert_allclose(best.fun - fit.criterion, half_width(0.95) ** 2, rtol=1e-6)
    for end in table.loc["sigma", ["lower", "upper"]]:
        best = minimize_scalar(
            lambda rho, at=2 * np.log(end): criterion(at, rho), bounds=(-0.5, 0.99), method="bounded"
        )
        assert_allclose(best.fun - fit.criterion, half_width(0.95) ** 2, rtol=1e-6)
    assert table.attrs["likelihood"] == {"week": "ML", "sigma": "REML", "rho": "REML"}


def test_one_of_a_free_covariance(trial):
    free = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=unstructured("week", by="arm"))
    table = free.confint(parameters=["sigma placebo: 0", "rho placebo: 1, 4"])
    held = HeldForm(free, forms(free)["rho placebo: 1, 4"])
    for end in table.loc["rho placebo: 1, 4", ["lower", "upper"]]:
        target = end + 0.2 * (end - held.estimate)
        rises = [held.at(t).criterion - free.criterion for t in (end, target)]
        assert rises[0] < 3.84146 + 0.5 and rises[1] > rises[0]
    assert table["lower"].gt([0, -1]).all() and table["upper"].lt([np.inf, 1]).all()


def test_bootstrap_counts_the_refits_that_failed(fit, monkeypatch):
    table = fit.confint(method="bootstrap", size=12, rng=3, parameters="rho")
    assert table.attrs == {"failed": 0, "undefined": {"rho": 0}} and table["lower"].iloc[0] < fit.parameters()["rho"]
    plain, calls = type(fit).again, []

    def sometimes(self, y):
        calls.append(y)
        if len(calls) % 3 == 0:
            raise DesignError("no")
        return plain(self, y)

    monkeypatch.setattr(type(fit), "again", sometimes)
    some = fit.confint(method="bootstrap", size=12, rng=3)
    assert some.attrs["failed"] == 4
    monkeypatch.setattr(type(fit), "again", lambda self, y: (_ for _ in ()).throw(DesignError("no")))
    with pytest.raises(ParameterError, match="all 4 refits failed, the first with: no"):
        fit.confint(method="bootstrap", size=4, rng=1)


def test_variance_components(trial):
    fit = lmmlib.fit(ARM, trial, residual=by("week"))
    table = fit.variance_components(method="wald")
    assert list(table["term"]) == [
        *["(Intercept)"] * 2,
        *(f"Residual {week}" for week in (0, 1, 4, 6) for _ in range(2)),
    ]
    variances, sds = (table[table["quantity"] == name].reset_index() for name in ("variance", "sd"))
    for column in ("estimate", "lower", "upper"):
        assert_allclose(variances[column], sds[column] ** 2)
    ar = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=ar1("week")).variance_components(method="wald")
    assert list(ar["quantity"]) == ["variance", "sd", "correlation"] and set(ar["term"]) == {"Residual"}


def test_wrong_requests(fit):
    with pytest.raises(ParameterError, match="'tau' is no parameter of this fit; they are .*; sigma; rho"):
        fit.confint(parameters="tau")
    with pytest.raises(LmmError, match="method is 'profile' or 'wald' or 'bootstrap'"):
        fit.confint(method="score")
    with pytest.raises(ParameterError, match="rng must be"):
        fit.confint(method="bootstrap", size=3)


def test_a_correlation_that_does_not_exist_may_be_anything(fit):
    held = HeldForm(fit, forms(fit)["rho"])
    held.estimate = np.nan
    assert [held.parameter(edge) for edge in held.edges] == [-1, 1]


@pytest.mark.parametrize("seed", [3, 5])
def test_profiles_that_bend_the_other_way(seed):
    """Few groups, whose criterion is a concave function of the correlation near its edge."""
    formula, data = "y ~ x + (x | h)", frame(seed)
    ours = lmmlib.fit(formula, data, residual=independent()).confint(parameters="corr (Intercept), x")
    assert_allclose(ours, lmmlib.fit(formula, data).confint(parameters="corr (Intercept), x"), rtol=1e-5, atol=1e-5)
