"""The table of variance components."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import f as f_law

import lmmlib
from lmmlib import equations
from lmmlib.errors import ParameterError
from lmmlib.inference import intervals
from lmmlib.inference.components import variance_components
from lmmlib.inference.intervals import confint


@pytest.fixture
def dyestuff():
    return lmmlib.fit("Yield ~ 1 + (1 | Batch)", lmmlib.load("dyestuff"))


def row(table, term, quantity):
    return table.set_index(["term", "quantity"]).loc[(term, quantity)]


def test_the_rows():
    table = variance_components(lmmlib.fit("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep")), method="wald")
    assert list(table.columns) == ["term", "quantity", "estimate", "se", "lower", "upper"]
    assert list(zip(table["term"], table["quantity"], strict=True)) == [
        ("(Intercept)", "variance"),
        ("(Intercept)", "sd"),
        ("Days", "variance"),
        ("Days", "sd"),
        ("(Intercept), Days", "correlation"),
        ("Residual", "variance"),
        ("Residual", "sd"),
    ]


@pytest.mark.parametrize("method", ["profile", "wald", "bootstrap"])
def test_sds_are_those_of_confint_and_variances_their_squares(dyestuff, method):
    table = variance_components(dyestuff, 0.9, method=method, size=30, rng=np.random.default_rng(5))
    limits = confint(dyestuff, method=method, level=0.9, size=30, rng=np.random.default_rng(5))
    for term, name in (("(Intercept)", "sd (Intercept)"), ("Residual", "sigma")):
        expected, ends = limits.loc[name], ["estimate", "lower", "upper"]
        assert_allclose(row(table, term, "sd").astype(float), expected, rtol=1e-12)
        assert_allclose(row(table, term, "variance")[ends].astype(float), expected[ends] ** 2, rtol=1e-12)
        # The delta method: a variance is the square of an sd.
        assert_allclose(row(table, term, "variance")["se"], 2 * expected["estimate"] * expected["se"], rtol=1e-12)
    for what in ("failed", "undefined"):
        assert table.attrs.get(what) == limits.attrs.get(what)


def test_estimates(dyestuff):
    table = variance_components(dyestuff, method="wald")
    assert_allclose(row(table, "(Intercept)", "variance")["estimate"], 1764.05, rtol=1e-9)
    assert_allclose(row(table, "Residual", "variance")["estimate"], 2451.25, rtol=1e-9)
    assert_allclose(row(table, "(Intercept)", "icc")["estimate"], 1764.05 / (1764.05 + 2451.25), rtol=1e-9)


def test_icc_limits_by_profile(dyestuff):
    """In a balanced layout the likelihood of the ICC is a function of F = MSB / MSW alone."""
    table = variance_components(dyestuff)
    low, high = row(table, "(Intercept)", "icc")[["lower", "upper"]]
    n, k = 6, 5
    ssb, ssw = (n - 1) * (k * 1764.05 + 2451.25), n * (k - 1) * 2451.25

    def criterion(rho):
        lam = 1 + k * rho / (1 - rho)
        return (n - 1) * np.log(lam) + (n * k - 1) * np.log(ssb / lam + ssw)

    least = criterion(1764.05 / (1764.05 + 2451.25))
    assert_allclose([criterion(low) - least, criterion(high) - least], 3.841458820694124, rtol=1e-7)
    # The exact interval, from F, is close by.
    F = (ssb / (n - 1)) / (ssw / (n * (k - 1)))
    exact = [F / f_law.ppf(p, n - 1, n * (k - 1)) for p in (0.975, 0.025)]
    assert_allclose([low, high], [(f - 1) / (f - 1 + k) for f in exact], atol=0.1)


def test_icc_limits_by_wald(dyestuff):
    """Logit of the ICC, with the observed information on (tau2, sigma2)."""
    low, high = row(variance_components(dyestuff, 0.8, method="wald"), "(Intercept)", "icc")[["lower", "upper"]]
    A = np.linalg.inv(equations.information_variance(dyestuff.cross, 1764.05, 2451.25, method="REML", kind="observed"))
    slope = np.array([1 / 1764.05, -1 / 2451.25])
    reach = 1.2815515655446004 * np.sqrt(slope @ A @ slope)
    centre = np.log(1764.05 / 2451.25)
    assert_allclose(np.log([low / (1 - low), high / (1 - high)]), [centre - reach, centre + reach], rtol=1e-7)


def test_icc_limits_by_bootstrap(dyestuff, monkeypatch):
    """Of the same refits as the other rows: they are made once."""
    asked = []
    bootstrap = intervals.refits
    monkeypatch.setattr(intervals, "refits", lambda *a: asked.append(1) or bootstrap(*a))
    table = variance_components(dyestuff, 0.9, method="bootstrap", size=40, rng=np.random.default_rng(3))
    refits = lmmlib.fit_many(dyestuff.design, dyestuff.simulate(40, rng=np.random.default_rng(3)))
    rho = refits.D[:, 0, 0] / (refits.D[:, 0, 0] + refits.sigma2)
    ends = row(table, "(Intercept)", "icc")[["lower", "upper"]]
    assert_allclose(ends, np.quantile(rho, [0.05, 0.95]), rtol=1e-12, atol=1e-12)
    assert len(asked) == 1 and table.attrs["failed"] == 0


def test_icc_only_for_an_intercept_alone():
    sleep = lmmlib.load("sleep")
    for term in ("(Days | Subject)", "(0 + Days | Subject)", "(Days || Subject)"):
        table = variance_components(lmmlib.fit(f"Reaction ~ Days + {term}", sleep), method="wald")
        assert "icc" not in set(table["quantity"])


def test_no_variance_between_groups():
    """tau2 = 0: the lower limits are zero; by Wald there are none."""
    rng = np.random.default_rng(3)
    y = rng.standard_normal((6, 5))
    y -= 0.9 * (y.mean(axis=1, keepdims=True) - y.mean())
    one = np.ones((30, 1))
    group = np.repeat(np.arange(6), 5)
    fitted = lmmlib.fit_design(lmmlib.Design.from_arrays(y.ravel(), one, one, group, z_names=["(Intercept)"]))
    table = variance_components(fitted)
    rows = table[table["term"] == "(Intercept)"]
    assert (rows[["estimate", "lower"]] == 0).all().all() and (rows["upper"] > 0.1).all()
    wald = variance_components(fitted, method="wald")
    assert wald[["lower", "upper"]].isna().all().all()


def test_without_random_effects_there_is_the_residual():
    fitted = lmmlib.fit("Reaction ~ Days + (0 | Subject)", lmmlib.load("sleep"))
    for method in ("profile", "wald"):
        table = variance_components(fitted, method=method)
        assert list(table["quantity"]) == ["variance", "sd"] and table.notna().all().all()


def test_arguments_are_checked(dyestuff):
    for arguments, message in (
        ({"method": "anova"}, "method is "),
        ({"level": 1.0}, "level must lie"),
        ({"method": "bootstrap"}, "rng must be a numpy Generator"),
    ):
        with pytest.raises(ParameterError, match=message):
            variance_components(dyestuff, **arguments)
