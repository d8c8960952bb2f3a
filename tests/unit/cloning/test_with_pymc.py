"""Cloning of models in PyMC: a Poisson model with random intercepts against quadrature, and models against the rule.

Two models are compiled, which is most of the time.
"""

import builtins
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln, logsumexp
from scipy.stats import norm

import lmmlib
from lmmlib.cloning.with_pymc import as_frame, chosen_parameters, clone_pymc, cloned_data
from lmmlib.errors import ParameterError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pymc as pm

SITES = 12


@pytest.fixture(scope="module")
def counts():
    frame = lmmlib.simulate.counts(np.random.default_rng(5), n_groups=SITES, n_i=3, mu=1.0, sigma=0.7)
    return {"y": frame["count"].to_numpy(), "site": frame["site"].to_numpy()}


def poisson(data, n_clones):
    """Counts with a normal random intercept for each site of each clone."""
    with pm.Model() as model:
        mu, log_sigma = pm.Normal("mu", 0, 3), pm.Normal("log_sigma", 0, 1)
        a = pm.Normal("a", mu, pm.math.exp(log_sigma), shape=(n_clones, SITES))
        pm.Deterministic("sigma", pm.math.exp(log_sigma))
        pm.Poisson("y", pm.math.exp(a[:, data["site"]]), observed=data["y"])
    return model


def maximum_likelihood(data):
    """mu and log sigma by the trapezoidal rule over the random intercepts, and their standard errors."""
    total, n = np.bincount(data["site"], data["y"]), np.bincount(data["site"])
    z = np.linspace(-9, 9, 1001)

    def minus(theta):
        a = theta[0] + np.exp(theta[1]) * z
        site = total[:, None] * a - n[:, None] * np.exp(a) + norm.logpdf(z) + np.log(z[1] - z[0])
        return -logsumexp(site, axis=1).sum() + gammaln(data["y"] + 1).sum()

    best = minimize(minus, [1.0, -0.5], method="BFGS", options={"gtol": 1e-8}).x
    h, H = 1e-3 * np.eye(2), np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            H[i, j] = sum(s * t * minus(best + s * h[i] + t * h[j]) for s in (1, -1) for t in (1, -1)) / 4e-6
    return best, np.sqrt(np.diag(np.linalg.inv(H)))


@pytest.fixture(scope="module")
def cloned(counts):
    return clone_pymc(poisson, counts, (2, 30), unchanged=["site"], draws=300, warmup=300, rng=1, progress=False)


@pytest.mark.slow
def test_it_tends_to_maximum_likelihood(cloned, counts):
    """Within Monte Carlo error, and a 30th of a standard error or two for the prior."""
    best, se = maximum_likelihood(counts)
    table = cloned.table().xs(30, level="n_clones").loc[["mu", "log_sigma"]]
    assert (np.abs(table["estimate"] - best) < 4.5 * table["mcse"] + 2 / 30 * se).all()
    np.testing.assert_allclose(table["se"] / se, 1, atol=0.15)
    # At two clones the estimate of log sigma is visibly that of a posterior.
    few = cloned.table().loc[("log_sigma", 2)]
    assert abs(few["estimate"] - best[1]) > 4.5 * few["mcse"]


@pytest.mark.slow
def test_the_same_result_object(cloned):
    assert cloned.n_clones == (2, 30) and cloned.title == "poisson" and cloned.chains == 4
    assert list(cloned.about) == ["mu", "log_sigma", "sigma"]
    assert cloned.verdicts()["verdict"].eq("estimable").all()
    assert cloned.diagnostics()["standardised"].iloc[-1] < 0.1
    twice = cloned.on(twice=lambda f: 2 * f["mu"])
    assert twice.parameters()["twice"] == pytest.approx(2 * cloned.parameters()["mu"])
    np.testing.assert_allclose(np.exp(cloned.draws()["log_sigma"]), cloned.draws()["sigma"])
    with pytest.raises(ParameterError, match="predictions are for what lmmlib.clone returns"):
        cloned.posterior_of_b(10, np.random.default_rng(1))


def test_data_get_a_leading_axis():
    out = cloned_data({"y": [1, 2, 3], "X": np.eye(2), "c": 5.0, "g": [0, 1]}, ["g"], 4)
    assert out["y"].shape == (4, 3) and out["X"].shape == (4, 2, 2) and out["c"].shape == (4,)
    assert (out["y"] == [1, 2, 3]).all() and out["g"] == [0, 1]


def test_parameters_are_what_has_no_clone_axis(counts):
    assert chosen_parameters(pm, poisson, counts, ["site"], None) == ["mu", "log_sigma", "sigma"]
    assert chosen_parameters(pm, poisson, counts, ["site"], "mu") == ["mu"]


def test_entries_of_arrays_are_columns():
    import xarray as xr

    values = np.arange(2 * 3 * 4.0).reshape(2, 3, 2, 2)
    frame = as_frame({"x": xr.DataArray(values), "s": xr.DataArray(values[:, :, 0, 0])}, ["x", "s"])
    assert list(frame) == ["x[0, 0]", "x[0, 1]", "x[1, 0]", "x[1, 1]", "s"]
    np.testing.assert_array_equal(frame["x[1, 0]"], values[:, :, 1, 0].ravel())
    assert frame.index.names == ["chain", "draw"] and frame.index[4] == (1, 1)


def forgot_the_axis(data, n_clones):
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 3)
        pm.Poisson("y", pm.math.exp(mu), observed=data["y"][0])
    return model


def no_clones_of_effects(data, n_clones):
    with pm.Model() as model:
        a = pm.Normal("a", pm.Normal("mu", 0, 3), 1, shape=30)
        pm.Poisson("y", pm.math.exp(a[data["site"]]), observed=data["y"])
    return model


def nothing_observed(data, n_clones):
    with pm.Model() as model:
        pm.Normal("mu")
    return model


def only_latent(data, n_clones):
    with pm.Model() as model:
        a = pm.Normal("a", shape=(n_clones, SITES))
        pm.Poisson("y", pm.math.exp(a[:, data["site"]]), observed=data["y"])
    return model


@pytest.mark.parametrize(
    ("model", "change", "says"),
    [
        (forgot_the_axis, {}, r"observed variable 'y' has shape \(36,\) for 2 clones; its first axis must be"),
        (no_clones_of_effects, {}, r"'a' has shape \(30,\) whatever the number of clones; if it is a latent"),
        (nothing_observed, {}, "no observed variable"),
        (only_latent, {}, r"all variables \(a\) have a clone axis"),
        (lambda data, n_clones: 3, {}, "must return a pymc.Model; it returned int"),
        (3, {}, "build_model must be a function"),
        (poisson, {"parameters": "nu"}, "no variable 'nu'; there are mu, log_sigma, a, sigma"),
        (poisson, {"parameters": ["mu", "a"]}, r"'a' has a clone axis, shape \(2, 12\) for 2 clones"),
        (poisson, {"unchanged": "site"}, "unchanged must be a sequence of names"),
        (poisson, {"unchanged": ["place"]}, "unchanged names 'place', which is not in data; there are y, site"),
        (poisson, {"unchanged": ["y", "site"]}, "nothing would be cloned"),
        (poisson, {"data": [1, 2]}, "data must be a mapping"),
        (poisson, {"n_clones": 0}, "n_clones must be"),
        (poisson, {"chains": 1}, "2 chains of 4 draws"),
        (poisson, {"warmup": 0}, "warmup must be"),
    ],
)
def test_bad_input(counts, model, change, says):
    with pytest.raises(ParameterError, match=says):
        clone_pymc(model, **{"data": counts, "n_clones": 2, "unchanged": ["site"]} | change)


@pytest.mark.parametrize("absent", ["pymc", "nutpie"])
def test_without_pymc_it_says_what_to_install(counts, monkeypatch, absent):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == absent:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ParameterError, match=f"needs PyMC and nutpie, and {absent} is not installed"):
        clone_pymc(poisson, counts, 2, unchanged=["site"])


def test_pymc_is_not_imported_with_lmmlib():
    import subprocess
    import sys

    code = "import sys, lmmlib.cloning.with_pymc; print('pymc' in sys.modules, 'nutpie' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]
