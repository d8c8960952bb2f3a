"""Parameters, their covariance and intervals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import ParameterError
from lmmlib.inference import bootstrap
from lmmlib.several.parameters import kinds_of
from tests.several import Dense, frame

FORMULA = "y ~ x + (x | h) + (1 | g)"


@pytest.fixture(scope="module", params=["REML", "ML"])
def fit(request):
    return lmmlib.fit(FORMULA, frame(11), method=request.param)


def test_names_and_values(fit):
    names = [
        "(Intercept)",
        "x",
        "sd (Intercept) | h",
        "sd x | h",
        "corr (Intercept), x | h",
        "sd (Intercept) | g",
        "sigma",
    ]
    found = fit.parameters()
    assert list(found.index) == names == list(kinds_of(fit.terms))
    D = fit.D[0].to_numpy()
    sd = np.sqrt(np.diag(D))
    values = [*fit.beta, *sd, D[0, 1] / sd.prod(), np.sqrt(fit.D[1].iloc[0, 0]), np.sqrt(fit.sigma2)]
    assert_allclose(found, values, rtol=1e-12)


def test_the_covariance_is_that_of_the_full_information(fit):
    dense = Dense(fit.terms, fit.D, fit.sigma2)
    A = np.linalg.inv(dense.information("observed", fit.method))  # of vech D of h, D of g, sigma2
    D = fit.D[0].to_numpy()
    (a, b), c, r = np.sqrt(np.diag(D)), D[0, 1], D[0, 1] / np.sqrt(D[0, 0] * D[1, 1])
    J = np.array(
        [
            [1 / (2 * a), 0, 0, 0, 0],
            [0, 0, 1 / (2 * b), 0, 0],
            [-r / (2 * D[0, 0]), r / c, -r / (2 * D[1, 1]), 0, 0],
            [0, 0, 0, 1 / (2 * np.sqrt(fit.D[1].iloc[0, 0])), 0],
            [0, 0, 0, 0, 1 / (2 * np.sqrt(fit.sigma2))],
        ]
    )
    found = fit.cov_parameters()
    assert list(found.index) == list(found.columns) == list(fit.parameters().index)
    expected = J @ A @ J.T
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(found.iloc[2:, 2:] - expected) < 1e-6 * scale).all(axis=None)
    assert_allclose(found.iloc[:2, :2], fit.cov_beta)
    assert (found.iloc[:2, 2:] == 0).all(axis=None)


def test_wald(fit):
    found = fit.confint(method="wald")
    assert_allclose(found.loc[["(Intercept)", "x"], ["lower", "upper"]], fit.fixed_effects()[["lower", "upper"]])
    sd = found.loc["sd (Intercept) | g"]
    assert_allclose(sd["lower"] * sd["upper"], sd["estimate"] ** 2, rtol=1e-9)
    r = found.loc["corr (Intercept), x | h"]
    assert_allclose(np.arctanh(r[["lower", "upper"]]).mean(), np.arctanh(r["estimate"]), rtol=1e-9)
    some = fit.confint(0.5, method="wald", parameters="sigma")
    assert list(some.index) == ["sigma"] and some.loc["sigma", "lower"] > found.loc["sigma", "lower"]


def test_bootstrap_is_quantiles_of_refits(fit):
    found = fit.confint(method="bootstrap", size=20, rng=1)
    draws = bootstrap.refits(fit, [fit], 20, 1)[0].parameters()
    assert_allclose(found["lower"], np.quantile(draws, 0.025, axis=0))
    assert_allclose(found["se"], draws.std(axis=0, ddof=1))
    assert found.attrs == {"failed": 0, "undefined": {"corr (Intercept), x | h": 0}}


def test_refits_are_fits(fit):
    for one, y in zip(bootstrap.refits(fit, [fit], 3, 5)[0].fits, fit.simulate(3, rng=5).T, strict=True):
        again = lmmlib.fit(FORMULA, frame(11).assign(y=y), method=fit.method)
        assert_allclose(one.criterion, again.criterion, atol=1e-7)
        assert type(one) is type(fit) and one.terms.fixed.n_obs == 90
        assert_allclose(fit.refit(y).criterion, again.criterion, atol=1e-8)


def test_variance_components(fit):
    found = fit.variance_components(method="wald")
    assert list(found) == ["grouping", "term", "quantity", "estimate", "se", "lower", "upper"]
    assert list(found["grouping"]) == ["h"] * 5 + ["g"] * 2 + [""] * 2
    assert list(found["term"][:5]) == ["(Intercept)", "(Intercept)", "x", "x", "(Intercept), x"]
    assert list(found["quantity"][:5]) == ["variance", "sd", "variance", "sd", "correlation"]
    assert_allclose(found["estimate"][0], fit.D[0].iloc[0, 0])
    assert_allclose(found["lower"][0], found["lower"][1] ** 2)
    assert list(found["term"][-2:]) == ["Residual"] * 2
    assert_allclose(found["se"][7], 2 * np.sqrt(fit.sigma2) * found["se"][8])


def test_a_correlation_of_nothing_is_nan():
    fit = lmmlib.fit(FORMULA, frame(11))
    vars(fit)["D"][0] = 0 * fit.D[0]
    assert np.isnan(fit.parameters()["corr (Intercept), x | h"])


def test_what_there_is_not(fit, monkeypatch):
    with pytest.raises(ParameterError, match="'tau' is no parameter of this fit; they are .Intercept.; x; sd"):
        fit.confint(parameters="tau")
    with pytest.raises(ParameterError, match="method is"):
        fit.confint(method="exact")
    with pytest.raises(ParameterError, match="rng must be"):
        fit.confint(method="bootstrap")
    monkeypatch.setattr(bootstrap, "simulated", lambda fit, size, rng: np.zeros((90, size)))
    with pytest.raises(ParameterError, match="all 3 refits failed"):
        fit.confint(method="bootstrap", size=3, rng=1)
