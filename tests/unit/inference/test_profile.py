"""Profiles: the signed root, where it reaches a value, and the table."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

import lmmlib
from lmmlib.equations.names import parameter_names
from lmmlib.errors import DesignError, ParameterError
from lmmlib.inference import held as held_module
from lmmlib.inference.profile import held, profile, reach, zeta
from lmmlib.several.fit import fit_several
from tests.unit.residual import dense as of_visits


@pytest.fixture
def sleep():
    return lmmlib.fit("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"), method="ML")


@pytest.fixture
def no_variance():
    """A balanced one-way layout in which the group means differ by less than chance: tau2 = 0."""
    rng = np.random.default_rng(3)
    y = rng.standard_normal((6, 5))
    y -= 0.9 * (y.mean(axis=1, keepdims=True) - y.mean())
    design = lmmlib.Design.from_arrays(
        y.ravel(), np.ones((30, 1)), np.ones((30, 1)), np.repeat(np.arange(6), 5), z_names=["(Intercept)"]
    )
    fitted = lmmlib.fit_design(design)
    assert fitted.D.iloc[0, 0] == 0
    return fitted


@pytest.mark.parametrize("name", ["Days", "sd (Intercept)", "sd Days", "corr (Intercept), Days", "sigma"])
def test_the_table(sleep, name):
    table = profile(sleep, name)
    assert list(table.columns) == ["value", "criterion", "zeta"] and len(table) == 31
    assert (np.diff(table["value"]) > 0).all() and (np.diff(table["zeta"]) > 0).all()
    middle = table.iloc[15]
    assert middle["zeta"] == 0 and middle["criterion"] == sleep.criterion
    if name.startswith("corr"):  # a model without one of the two sds is no worse than the edge
        assert table["value"].iloc[-1] == 1 and 2 < table["zeta"].iloc[-1] < 3
    else:
        assert_allclose(table["zeta"].iloc[-1], 3, rtol=1e-6)
    rise = np.sign(table["value"] - middle["value"]) * np.sqrt(table["criterion"] - sleep.criterion)
    assert_allclose(table["zeta"], rise, atol=1e-12)


def test_values_in_any_order(sleep):
    whole = profile(sleep, "sd Days")
    some = whole.iloc[[30, 3, 15, 22]]
    table = profile(sleep, "sd Days", some["value"])
    # The same minima, found from other starts.
    assert_allclose(table, some, rtol=0, atol=1e-6)
    assert profile(sleep, "sigma", 30.0)["value"].tolist() == [30.0]


def test_fixed_effects_by_ml():
    """REML of the whole fit does not enter the profile of a fixed effect."""
    sleep = lmmlib.load("sleep")
    reml, ml = (lmmlib.fit("Reaction ~ Days + (Days | Subject)", sleep, method=method) for method in ("REML", "ML"))
    values = [5.0, 10.0, 16.0]
    assert_allclose(profile(reml, "Days", values), profile(ml, "Days", values), rtol=1e-12)
    assert_allclose(profile(reml, "sigma", [25.0])["criterion"][0], reml.criterion, atol=0.5)
    assert abs(profile(ml, "sigma", [25.0])["criterion"][0] - reml.criterion) > 5


def test_values_outside_the_parameter_space(sleep):
    for name, value, low in (("sd Days", -1.0, "0"), ("sigma", 0.0, "0"), ("corr (Intercept), Days", 1.1, "-1")):
        with pytest.raises(
            ParameterError, match=rf"values of '{name.replace('(', '.').replace(')', '.')}'.*from {low}"
        ):
            profile(sleep, name, [value])
    with pytest.raises(ParameterError, match="finite"):
        profile(sleep, "Days", [np.nan])
    edges = profile(sleep, "corr (Intercept), Days", [-1, 1])
    assert np.isfinite(edges).all().all()
    assert np.isfinite(profile(sleep, "sd Days", [0])["zeta"][0])


def test_reach_inverts_zeta(sleep):
    peak = sleep
    for name, kind in parameter_names(sleep.design).items():
        for root in (-2.5, -0.3, 0.3, 2.5):
            model = held(peak, kind)
            assert_allclose(zeta(held(peak, kind), reach(model, root)), root, rtol=1e-7, err_msg=name)


def test_a_step_does_not_leave_the_parameter_space(sleep):
    """Ten standard errors below the estimate sigma would be negative; the root of 17 is there all the same."""
    small = lmmlib.fit("Reaction ~ 1 + (1 | Subject)", lmmlib.load("sleep").iloc[:30], method="ML")
    peak = small
    model = held(peak, ("sigma",))
    end = reach(model, -17.0)
    assert 17 * model.step > model.estimate and 0 < end < model.estimate
    assert_allclose(zeta(model, end), -17.0, rtol=1e-7)


def test_the_work_is_bounded(sleep, monkeypatch):
    """Both limits of all six parameters: Newton's method has few steps from a neighbour, and no search hangs."""
    calls = []

    def counted(objective, theta, **how):
        def objective_counted(at, rows):
            calls.append(len(at))
            return objective(at, rows)

        return newton(objective_counted, theta, **how)

    newton = held_module.newton
    monkeypatch.setattr(held_module, "newton", counted)
    peak = sleep
    for kind in parameter_names(sleep.design).values():
        model = held(peak, kind)
        reach(model, -1.96), reach(model, 1.96)
    assert len(calls) < 1000  # about 500


def test_an_sd_of_zero(no_variance):
    """The profile of sd begins at its edge; sigma's is that of OLS."""
    table = profile(no_variance, "sd (Intercept)")
    assert len(table) == 16 and table["value"].iloc[0] == table["zeta"].iloc[0] == 0
    assert (np.diff(table["zeta"]) > 0).all()
    assert reach(held(no_variance, ("sd", 0)), -1.0) == 0
    # tau2 stays 0 for larger sigma: -2 loglik = m log sigma2 + RSS / sigma2 + constant, with m sigma2hat = RSS.
    m, sigma2 = 29, no_variance.sigma2
    above = profile(no_variance, "sigma", [1.3 * np.sqrt(sigma2)])
    assert_allclose(above["zeta"] ** 2, m * (np.log(1.69) + 1 / 1.69 - 1), rtol=1e-9)


def test_a_correlation_that_does_not_exist(no_variance):
    """With one sd at zero every correlation is as good as any other."""
    x = np.tile(np.arange(5.0) - 2, 6)
    Z = np.column_stack([np.ones(30), x])
    y = no_variance.design.y + 2 * np.repeat(np.random.default_rng(1).standard_normal(6), 5) * x
    y -= y.reshape(6, 5).mean(axis=1).repeat(5)  # no differences between groups at x = 0
    fitted = lmmlib.fit_design(lmmlib.Design.from_arrays(y, Z, Z, np.repeat(np.arange(6), 5)))
    D = fitted.D.to_numpy()
    assert D[0, 0] < 1e-9 * D[1, 1]  # zero but for rounding: the correlation of the fit is rounding alone
    table = profile(fitted, "corr z0, z1", np.linspace(-1, 1, 9))
    assert_allclose(table["criterion"], fitted.criterion, rtol=0, atol=1e-8)
    # At an sd of exactly zero there is no estimate, and no root has a sign.
    peak = fitted
    model = held(replace(peak, D=0 * peak.D + np.diag([0.0, D[1, 1]])), ("corr", 0, 1))
    assert np.isnan(model.estimate)
    assert [zeta(model, rho) for rho in (-1.0, 0.3)] == [0, 0] and (reach(model, -1.0), reach(model, 1.0)) == (-1, 1)


def test_a_rank_one_covariance_has_correlations_at_their_edge():
    curve = "density + I(density**2)"
    planting = lmmlib.fit(f"yield ~ {curve} + ({curve} | block)", lmmlib.load("planting"))
    table = profile(planting, "corr (Intercept), density", [-1.0, -0.5, 0.5, 1.0])
    assert_allclose(table["criterion"][0], planting.criterion, rtol=0, atol=1e-6)
    assert (np.diff(table["zeta"]) >= -1e-6).all() and table["zeta"].iloc[-1] < 1.96


def test_an_intercept_alone():
    """No column is left in X when the only one is held."""
    fitted = lmmlib.fit("Reaction ~ 1 + (1 | Subject)", lmmlib.load("sleep"), method="ML")
    # Balanced: d = n log(lambda1) + ..., so the profile of the mean depends on the means of the 18 subjects alone:
    # lambda1(c) = ten times the mean square of (mean_i - c), as long as it exceeds sigma2.
    means = lmmlib.load("sleep").groupby("Subject", observed=True)["Reaction"].mean().to_numpy()
    for c in (285.0, 310.0):
        rise = 18 * np.log(((means - c) ** 2).mean() / means.var())
        assert_allclose(profile(fitted, "(Intercept)", [c])["zeta"] ** 2, rise, rtol=1e-9)


@pytest.mark.parametrize("name", ["age", "sd (Intercept)", "sd age", "corr (Intercept), age", "sigma"])
def test_of_one_grouping_all_profiles_are_those_of_a_fit(name):
    """Where a standard deviation is zero and where a correlation has no better model than without one of them too."""
    dental, formula = lmmlib.load("dental"), "distance ~ age + (age | Subject)"
    one = lmmlib.fit(formula, dental).profile(name)
    grouped = f"{name} | Subject" if name.startswith(("sd", "corr")) else name
    plain = lmmlib.fit(formula, dental, residual=lmmlib.residual.independent())
    for own, fit in ((grouped, fit_several(formula, dental)), (name, plain)):
        assert_allclose(fit.profile(own, one["value"][::3]), one[::3], rtol=1e-6, atol=2e-6)


def some_children():
    return lmmlib.load("tlc").assign(id=lambda d: d["id"].astype(int)).query("id < 30")


@pytest.mark.parametrize("name", ["rho", "sigma"])
def test_profiles_of_a_residual_covariance(name):
    """Against a search with full matrices; and the whole table, out to a signed root of three."""
    tlc = some_children()
    fit = lmmlib.fit("lead ~ week + (0 | id)", tlc, residual=lmmlib.residual.ar1("week"))
    table, code, times = fit.profile(name), fit.model.visits.code, np.array([0.0, 1.0, 4.0, 6.0])

    def criterion(log_sigma2, rho):
        R = of_visits.ar1(np.exp(log_sigma2), rho, times)
        V = of_visits.V(fit.design, np.zeros((0, 0)), lambda r: R[np.ix_(code[r], code[r])])
        return of_visits.criterion(V, fit.design.X, fit.design.y, "REML")

    for _, (value, found, root) in table.iloc[::6].iterrows():
        f, bounds = {
            "rho": (lambda s, v=value: criterion(s, v), (-2, 6)),
            "sigma": (lambda rho, v=value: criterion(2 * np.log(v), rho), (-0.3, 0.99)),
        }[name]
        best = minimize_scalar(f, bounds=bounds, method="bounded", options={"xatol": 1e-8}).fun
        assert_allclose(found, best, rtol=1e-9)
        assert_allclose(root**2, max(best - fit.criterion, 0), atol=1e-6)
    assert len(table) == 31 and (np.diff(table["zeta"]) > 0).all() and abs(table["zeta"].iloc[-1] - 3) < 1e-5
    with pytest.raises(ParameterError, match="values of 'rho' must be finite numbers from -1 to 1; got 1.5"):
        fit.profile("rho", [0.5, 1.5])


def test_a_value_that_no_model_has_is_said():
    tlc = some_children()
    fit = lmmlib.fit("lead ~ week + (0 | id)", tlc, residual=lmmlib.residual.compound("week"))
    with pytest.raises(DesignError, match="rho held at -0.6 was not found: the nearest that was reached is -0.3"):
        fit.profile("rho", [-0.6])
