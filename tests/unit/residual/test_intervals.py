import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

import lmmlib
from lmmlib.common.tails import half_width
from lmmlib.errors import DesignError, LmmError, ParameterError
from lmmlib.residual import ar1, by, compound, independent, unstructured
from lmmlib.residual.held import HeldForm
from tests.unit.residual import dense

F = "lead ~ week + arm + (1 | child)"


@pytest.fixture(scope="module")
def fit(trial):
    return lmmlib.fit("lead ~ week + (0 | child)", trial, residual=ar1("week"))


@pytest.mark.parametrize("formula", [F, "lead ~ week + (week | child)"])
def test_profiles_and_wald_limits_are_those_of_the_plain_model(formula, trial):
    plain, fit = lmmlib.fit(formula, trial), lmmlib.fit(formula, trial, residual=independent())
    for method in ("profile", "wald"):
        ours, theirs = fit.confint(0.9, method=method), plain.confint(0.9, method=method)
        assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
        assert ours.attrs == theirs.attrs
    assert_allclose(fit.cov_parameters(), plain.cov_parameters(), rtol=1e-5, atol=1e-9)


def test_compound_symmetry_has_the_intervals_of_the_random_intercept(trial):
    plain = lmmlib.fit(F, trial).variance_components()
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
    held = HeldForm(free, "rho placebo: 1, 4")
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
    fit = lmmlib.fit(F, trial, residual=by("week"))
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
