"""Intervals: by profile, by standard errors, by the bootstrap."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import chi2, norm

import lmmlib
from lmmlib import equations
from lmmlib.equations import names as equations_names
from lmmlib.errors import ParameterError
from lmmlib.inference import intervals
from lmmlib.inference.intervals import confint, cov_parameters, parameters, variance_covariance

SLOPE = "Reaction ~ Days + (Days | Subject)"


def sleep(formula=SLOPE, method="REML"):
    return lmmlib.fit(formula, lmmlib.load("sleep"), method=method)


def planting():
    curve = "density + I(density**2)"
    return lmmlib.fit(f"yield ~ {curve} + ({curve} | block)", lmmlib.load("planting"))


def test_parameters_are_functions_of_the_estimates():
    fitted = sleep()
    values, D = parameters(fitted), fitted.D.to_numpy()
    assert list(values.index) == [*fitted.beta.index, "sd (Intercept)", "sd Days", "corr (Intercept), Days", "sigma"]
    expected = [*fitted.beta, *np.sqrt(np.diag(D)), D[0, 1] / np.sqrt(D[0, 0] * D[1, 1]), np.sqrt(fitted.sigma2)]
    assert_allclose(values, expected, rtol=1e-14)


def test_a_correlation_without_an_sd_is_nan():
    kinds = {"corr a, b": ("corr", 0, 1)}
    D = np.array([[[4.0, 0.0], [0.0, 0.0]], [[4.0, -2.0], [-2.0, 1.0]]])
    values = equations_names.derived(kinds, np.zeros((2, 0)), D, np.ones(2))["corr a, b"]
    assert np.isnan(values[0]) and values[1] == -1


def test_profile_limits_have_the_criterion_of_the_quantile():
    fitted = sleep()
    table = confint(fitted, level=0.9)
    assert list(table.columns) == ["estimate", "se", "lower", "upper"]
    kind = {"(Intercept)": "ML", "Days": "ML"}
    assert table.attrs["likelihood"] == {name: kind.get(name, "REML") for name in table.index}
    for name in ("Days", "sd Days", "corr (Intercept), Days", "sigma"):
        at = fitted.profile(name, table.loc[name, ["lower", "upper"]].astype(float))
        assert_allclose(at["zeta"] ** 2, chi2.ppf(0.9, 1), rtol=1e-7)
        assert table.loc[name, "lower"] < table.loc[name, "estimate"] < table.loc[name, "upper"]


def test_one_parameter_or_some():
    fitted = sleep()
    whole = confint(fitted)
    pd.testing.assert_frame_equal(confint(fitted, parameters="sigma"), whole.loc[["sigma"]])
    pd.testing.assert_frame_equal(confint(fitted, parameters=["sigma", "Days"]), whole.loc[["Days", "sigma"]])


def test_a_side_that_is_never_reached_ends_at_the_edge():
    table = confint(planting())
    sds = table.loc[[name for name in table.index if name.startswith("sd ")]]
    assert (sds["lower"] == 0).all() and (sds["upper"] > sds["estimate"]).all()
    correlations = table.loc[[name for name in table.index if name.startswith("corr ")]]
    # The models without one of the sds are within the interval, so every correlation is.
    assert (correlations["lower"] == -1).all() and (correlations["upper"] == 1).all()


def test_a_correlation_of_an_sd_that_is_zero_has_every_value():
    """Without differences at x = 0 the sd of the intercept is zero up to rounding, and nothing is known of its sign."""
    rng = np.random.default_rng(5)
    group, x = np.repeat(np.arange(8), 6), np.tile(np.arange(6.0), 8) - 2.5
    y = rng.standard_normal(48) + 1.5 * rng.standard_normal(8)[group] * x
    y -= y.reshape(8, 6).mean(axis=1)[group]
    X = np.column_stack([np.ones(48), x])
    fitted = lmmlib.fit_design(lmmlib.Design.from_arrays(y, X, X, group), method="ML")
    assert fitted.D.iloc[0, 0] < 1e-9 * fitted.D.iloc[1, 1]
    row = confint(fitted).loc["corr z0, z1"]
    assert (row["lower"], row["upper"]) == (-1, 1)


def test_wald_limits_of_fixed_effects_are_those_of_the_coefficients():
    for method in ("ML", "REML"):
        fitted = sleep(method=method)
        expected = fitted.fixed_effects(level=0.99)[["lower", "upper"]]
        assert_allclose(
            confint(fitted, method="wald", level=0.99).loc[expected.index, ["lower", "upper"]], expected, rtol=1e-14
        )


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("formula", [SLOPE, "Reaction ~ Days + (Days || Subject)"])
def test_wald_limits_of_variance_parameters(formula, method):
    """log sd and Fisher's z by the delta method, with gradients by differences and the information of vech D."""
    fitted = sleep(formula, method)
    cross, diagonal = fitted.cross, fitted.design.diagonal
    alpha = np.append(np.diag(fitted.D) if diagonal else fitted.D.to_numpy()[[0, 1, 1], [0, 0, 1]], fitted.sigma2)
    A = np.linalg.inv(equations.information_variance(cross, fitted.D, fitted.sigma2, method=method, kind="observed"))

    def scales(a):
        logs = [np.log(a[0]) / 2, np.log(a[-2]) / 2, np.log(a[-1]) / 2]
        return np.array(logs if diagonal else [*logs, np.arctanh(a[1] / np.sqrt(a[0] * a[2]))])

    J = np.array([(scales(alpha + e) - scales(alpha - e)) / (2 * e.max()) for e in np.diag(1e-5 * np.abs(alpha))]).T
    reach = norm.ppf(0.975) * np.sqrt(np.diag(J @ A @ J.T))
    low, high = scales(alpha) - reach, scales(alpha) + reach
    expected = np.exp(np.column_stack([low, high]))
    names = ["sd (Intercept)", "sd Days", "sigma"]
    if not diagonal:
        expected[3], names = np.tanh([low[3], high[3]]), [*names, "corr (Intercept), Days"]
    # Central differences of relative step 1e-5.
    assert_allclose(confint(fitted, method="wald").loc[names, ["lower", "upper"]], expected, rtol=1e-7)


@pytest.mark.parametrize("formula", [SLOPE, "Reaction ~ Days + (Days || Subject)", "Reaction ~ 1 + (1 | Subject)"])
def test_the_covariance_of_all_parameters(formula):
    """Of fixed effects cov_beta; of the others the delta method, with gradients by differences."""
    fitted = sleep(formula)
    cov, p, q = cov_parameters(fitted), len(fitted.beta), len(fitted.D)
    assert list(cov.index) == list(cov.columns) == list(parameters(fitted).index)
    assert_allclose(cov.iloc[:p, :p], fitted.cov_beta, rtol=0)
    assert not cov.iloc[:p, p:].any(axis=None) and not cov.iloc[p:, :p].any(axis=None)
    alpha, kinds = np.append(fitted.D, fitted.sigma2), equations_names.parameter_names(fitted.design)

    def values(a):
        D = a[:-1].reshape(1, q, q)
        return equations_names.derived(kinds, np.zeros((1, p)), (D + D.transpose(0, 2, 1)) / 2, a[-1:]).to_numpy()[
            0, p:
        ]

    steps = 1e-5 * np.diag(np.maximum(np.abs(alpha), 1.0))
    J = np.array([(values(alpha + h) - values(alpha - h)) / (2 * h.max()) for h in steps]).T
    A = variance_covariance(fitted)
    assert_allclose(cov.iloc[p:, p:], J @ A @ J.T, rtol=1e-6)
    for method in ("wald", "profile"):
        assert_allclose(confint(fitted, method=method)["se"], np.sqrt(np.diag(cov)), rtol=1e-14)


def test_wald_limits_at_a_singular_D_are_nan_but_for_fixed_effects():
    table = confint(planting(), method="wald")
    assert table.iloc[:3].notna().all().all()
    assert table.iloc[3:][["lower", "upper"]].isna().all().all() and table["estimate"].notna().all()
    assert np.isnan(variance_covariance(planting())).all()
    # At tau2 = 0 the likelihood falls on both sides of the edge, so that the information there says nothing.
    y = np.random.default_rng(3).standard_normal((6, 5))
    y -= y.mean(axis=1, keepdims=True)
    y += np.sqrt(0.8 * y.var() * 30 / 24 / 5 / np.arange(-2.5, 3).var(ddof=1)) * np.arange(-2.5, 3)[:, None]  # F = 0.8
    one = np.ones((30, 1))
    flat = lmmlib.fit_design(lmmlib.Design.from_arrays(y.ravel(), one, one, np.repeat(np.arange(6), 5)))
    assert flat.D.iloc[0, 0] == 0
    assert np.linalg.eigvalsh(equations.information_variance(flat.cross, 0.0, flat.sigma2, kind="observed")).min() > 0
    assert np.isnan(variance_covariance(flat)).all()


def test_profile_and_wald_agree_in_large_samples():
    """2,000 groups: zeta is a straight line. In small ones it is not (the limits of sd Days of sleep study)."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal((2000, 5))
    b = rng.standard_normal((2000, 2)) @ np.linalg.cholesky([[1.0, 0.3], [0.3, 0.5]]).T
    y = 1 + 0.5 * x + b[:, :1] + b[:, 1:] * x + rng.standard_normal(x.shape)
    X = np.column_stack([np.ones(x.size), x.ravel()])
    fitted = lmmlib.fit_design(lmmlib.Design.from_arrays(y.ravel(), X, X, np.repeat(np.arange(2000), 5)))
    by_profile, by_wald = confint(fitted), confint(fitted, method="wald")
    width = (by_wald["upper"] - by_wald["lower"]).to_numpy()
    for end in ("lower", "upper"):
        assert (np.abs(by_profile[end] - by_wald[end]) < 0.01 * width).all()
    small = [confint(sleep(), method=m).loc["sd Days"] for m in ("profile", "wald")]
    assert abs(small[0]["upper"] - small[1]["upper"]) > 0.03 * (small[1]["upper"] - small[1]["lower"])


def test_bootstrap_limits_are_quantiles_of_the_refits():
    fitted = sleep("Reaction ~ Days + (1 | Subject)")
    table = confint(fitted, method="bootstrap", level=0.9, size=60, rng=np.random.default_rng(8))
    refits = lmmlib.fit_many(fitted.design, fitted.simulate(60, rng=np.random.default_rng(8)))
    draws = {"Days": refits.beta[:, 1], "sd (Intercept)": np.sqrt(refits.D[:, 0, 0]), "sigma": np.sqrt(refits.sigma2)}
    for name, values in draws.items():
        assert_allclose(table.loc[name, ["lower", "upper"]], np.quantile(values, [0.05, 0.95]), rtol=1e-12)
    assert table.attrs["failed"] == 0 and table.attrs["undefined"] == {}
    assert_allclose(table["estimate"], parameters(fitted), rtol=1e-15)


def test_bootstrap_counts_what_failed_and_what_does_not_exist(monkeypatch):
    fitted = sleep()

    def some_fail(fit, models, size, rng):
        Y = fit.simulate(size, rng=rng)
        Y[0, :3] = np.nan
        fits = lmmlib.fit_many(fit.design, Y)
        fits.D[5, 1] = fits.D[5, :, 1] = 0.0
        return [fits]

    monkeypatch.setattr(intervals, "refits", some_fail)
    table = confint(fitted, method="bootstrap", size=20, rng=np.random.default_rng(2))
    assert table.attrs == {"failed": 3, "undefined": {"corr (Intercept), Days": 1}}
    assert table.notna().all().all()

    def all_fail(fit, models, size, rng):
        Y = np.zeros((180, size))  # the first has another reason than the others
        Y[:, 0] = np.nan
        return [lmmlib.fit_many(fit.design, Y)]

    monkeypatch.setattr(intervals, "refits", all_fail)
    with pytest.raises(ParameterError, match="all 4 refits failed, the first with: the response has a missing"):
        confint(fitted, method="bootstrap", size=4, rng=np.random.default_rng(2))


def test_arguments_are_checked():
    fitted = sleep("Reaction ~ 1 + (1 | Subject)")
    for arguments, message in (
        ({"method": "likelihood"}, "method is 'profile' or 'wald' or 'bootstrap'; got 'likelihood'"),
        ({"level": 95}, "level must lie between 0 and 1; got 95"),
        ({"parameters": "tau"}, "'tau' is no parameter of this fit; they are .*sigma"),
        ({"method": "bootstrap"}, "rng must be a numpy Generator"),
        ({"method": "bootstrap", "rng": np.random.default_rng(1), "size": 0}, "size must be a whole number"),
    ):
        with pytest.raises(ParameterError, match=message):
            confint(fitted, **arguments)


@settings(max_examples=6)
@given(
    st.sampled_from([1e-6, 0.01, -3.0, 1e4]),
    st.sampled_from([1e-6, 7.0, 365.25, 1e5]),
    st.sampled_from(["profile", "wald"]),
    st.sampled_from(["ML", "REML"]),
    st.sampled_from([SLOPE, "Reaction ~ Days + (Days || Subject)"]),
)
def test_units_of_response_and_predictor_move_the_limits_with_them(c, u, how, method, formula):
    """y -> c y, x -> u x: everything in units of y grows by |c|, slopes shrink by u, correlations stay."""
    sleep = lmmlib.load("sleep")
    other = sleep.assign(Reaction=c * sleep["Reaction"], Days=u * sleep["Days"])
    one, two = (confint(lmmlib.fit(formula, data, method=method), method=how) for data in (sleep, other))
    if c < 0:  # the limits of a fixed effect change sides
        one.loc[["(Intercept)", "Days"], ["lower", "upper"]] *= -1
        one.loc[["(Intercept)", "Days"], ["lower", "upper"]] = one.loc[
            ["(Intercept)", "Days"], ["upper", "lower"]
        ].to_numpy()
    scale = {
        "(Intercept)": abs(c),
        "sd (Intercept)": abs(c),
        "sigma": abs(c),
        "Days": abs(c) / u,
        "sd Days": abs(c) / u,
    }
    for name in one.index:
        expected = scale.get(name, 1.0) * one.loc[name, ["lower", "upper"]].astype(float)
        # Roots to 1e-11 of their distance; the z of Wald's limits to the digits of the fits.
        assert_allclose(two.loc[name, ["lower", "upper"]].astype(float), expected, rtol=1e-7, err_msg=name)


def test_calendar_years():
    """Another origin of time: slope, its sd and sigma keep their limits, those of the intercept are of another one."""
    sleep = lmmlib.load("sleep")
    names = ["Days", "sd Days", "sigma"]
    for how in ("profile", "wald"):
        one, two = (confint(lmmlib.fit(SLOPE, sleep.assign(Days=sleep["Days"] + at)), method=how) for at in (0, 1990))
        columns = ["lower", "upper"]
        assert_allclose(two.loc[names, columns].astype(float), one.loc[names, columns].astype(float), rtol=1e-7)
        assert -1 < two.loc["corr (Intercept), Days", "lower"] < two.loc["corr (Intercept), Days", "upper"] < -0.99999
