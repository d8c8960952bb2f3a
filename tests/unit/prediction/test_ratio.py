"""The posterior by quadrature: against sums over grids of all parameters, with full matrices."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtr
from scipy.stats import multivariate_normal

import lmmlib
from lmmlib.design.responses import Responses
from lmmlib.errors import DesignError
from lmmlib.prediction import empirical_bayes, ratio
from lmmlib.prediction.ratio import _Split, ratio_posterior

INTERCEPTS = "lead ~ week + drug + (1 | child)"


@pytest.fixture(scope="module")
def intercepts(many):
    return lmmlib.fit(INTERCEPTS, many)


def brute(design, taus, sigmas, x):
    """Mean, variance, and P(b_i <= x_i) of every b_i by summing over a product grid of (tau, sigma), dense matrices.

    The prior in (log sigma, tau) is flat; ``taus`` and ``sigmas`` are pairs of nodes and weights.
    """
    y, X, Z = design.y, design.X, design.Z[:, 0, None] * np.eye(design.n_groups)[design.group]
    logs, means, variances = [], [], []
    for tau in taus[0]:
        values, Q = np.linalg.eigh(tau**2 * Z @ Z.T)
        yq, Xq, Zq = Q.T @ y, Q.T @ X, Q.T @ Z
        for sigma in sigmas[0]:
            v = values + sigma**2
            A = Xq.T @ (Xq / v[:, None])
            Phi = np.linalg.inv(A)
            r = yq - Xq @ (Phi @ (Xq.T @ (yq / v)))
            logs.append(-0.5 * (np.log(v).sum() + np.linalg.slogdet(A)[1] + r @ (r / v)))
            means.append(tau**2 * Zq.T @ (r / v))
            ZVX, ZVZ = Zq.T @ (Xq / v[:, None]), (Zq**2 / v[:, None]).sum(axis=0)
            variances.append(tau**2 - tau**4 * (ZVZ - np.einsum("ix,xy,iy->i", ZVX, Phi, ZVX)))
    w = np.exp(np.array(logs) - max(logs)) * np.outer(taus[1], sigmas[1]).ravel()
    w /= w.sum()
    means, variances = np.array(means), np.maximum(variances, 0)
    mean = w @ means
    below = w @ ndtr((x - means) / np.sqrt(np.maximum(variances, 1e-300)))
    return mean, w @ (variances + (means - mean) ** 2), below


@pytest.mark.parametrize("formula", ["lead ~ week + drug + (1 | child)", "lead ~ week + (0 + week | child)"])
def test_quadrature_against_a_grid_of_tau_and_sigma(many, formula):
    data = many[many["child"] < 9]
    fit = lmmlib.fit(formula, data)
    posterior = empirical_bayes.quadrature(fit)
    limits = posterior.frame(0.9)
    s, u = np.linspace(0, 9, 220), np.linspace(-1.6, 2.6, 150)
    taus = np.sinh(s) * 0.5, np.cosh(s) * np.where(s == 0, 0.5, 1)
    sigmas = np.exp(u) * np.sqrt(fit.sigma2) * 0.8, np.ones(len(u))
    for x, p in ((limits["lower"], 0.05), (limits["upper"], 0.95)):
        mean, variance, below = brute(fit.design, taus, sigmas, x.to_numpy())
        assert_allclose(below, p, atol=2e-6)
    assert_allclose(posterior.b.iloc[:, 0], mean, atol=1e-5 * np.sqrt(variance.max()))
    assert_allclose(posterior.cov[:, 0, 0], variance, rtol=2e-5)


DESIGNS = {
    "tau is zero": ("y ~ 1 + (1 | g)", 0.0),
    "no fixed effects": ("y ~ 0 + (1 | g)", 1.0),
    "between and within": ("y ~ w * x + (0 + x | g)", 1.0),
    "some groups without z": ("y ~ x + (0 + late | g)", 1.0),
    "tau is large": ("y ~ w + x + (1 | g)", 5.0),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_quadrature_of_unbalanced_designs(name):
    """Groups of one to five rows, against the same sums."""
    formula, tau = DESIGNS[name]
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(8), [1, 4, 2, 5, 1, 3, 4, 2])
    data = pd.DataFrame({"x": rng.normal(size=22), "w": rng.normal(size=8)[g], "g": g})
    data["late"] = np.where(g < 3, 0.0, data["x"])
    z = data["x"] if "+ x |" in formula else data["late"] if "late" in formula else 1.0
    data["y"] = 3 + data["x"] + tau * rng.normal(size=8)[g] * z + rng.normal(size=22)
    fit = lmmlib.fit(formula, data)
    posterior, s, u = empirical_bayes.quadrature(fit), np.linspace(0, 11, 180), np.linspace(-2.2, 3.2, 110)
    unit = max(0.3, np.sqrt(fit.D.iloc[0, 0]) / 3)
    taus = np.sinh(s) * unit, np.cosh(s) * np.where(s == 0, 0.5, 1)
    sigmas = np.exp(u) * np.sqrt(fit.sigma2) * 0.8, np.ones(len(u))
    x = posterior.frame(0.9)["upper"].to_numpy()
    mean, variance, below = brute(fit.design, taus, sigmas, x)
    # The grid has hardly any node where b is narrow beside its x.
    assert_allclose(below, 0.95, atol=1e-4)
    assert_allclose(posterior.b.iloc[:, 0], mean, atol=1e-6 * np.sqrt(variance.max()))
    # Its tail ends at tau of 10,000.
    assert_allclose(posterior.cov[:, 0, 0], variance, rtol=2e-6)


def test_quadrature_against_a_grid_of_all_three_parameters():
    """No formula for beta either: the density of y is that of N(mu, V), with mu on the grid too."""
    rng = np.random.default_rng(6)
    n, m = 6, 3
    y = 1 + 0.8 * rng.standard_normal((n, 1)) + rng.standard_normal((n, m))
    group = np.repeat(np.arange(n), m)
    fit = lmmlib.fit("y ~ 1 + (1 | g)", pd.DataFrame({"y": y.ravel(), "g": group}))
    s, u, v = np.linspace(0, 9, 90), np.linspace(-1.4, 1.6, 50), np.linspace(-9, 9, 181)
    total = np.zeros(3)
    for s1, u1 in ((a, b) for a in s for b in u):
        tau, sigma = 0.5 * np.sinh(s1), np.exp(u1)
        V = sigma**2 * np.eye(m) + tau**2
        # The grid of mu follows the width of its likelihood.
        width = np.sqrt(V.mean() / n)
        mu = y.mean() + np.sinh(v / 4) * width
        law = multivariate_normal(np.zeros(m), V)
        logs = sum(law.logpdf(row - mu[:, None]) for row in y)
        w = np.exp(logs + 20) * width * np.cosh(v / 4) * np.cosh(s1) * (0.5 if s1 == 0 else 1)
        shrink = tau**2 * m / (tau**2 * m + sigma**2)
        b = shrink * (y[0].mean() - mu)
        total += w.sum(), w @ b, w @ (b**2 + tau**2 * (1 - shrink))
    mean = total[1] / total[0]
    posterior = empirical_bayes.quadrature(fit)
    assert_allclose(posterior.b.iloc[0, 0], mean, rtol=1e-4)
    assert_allclose(posterior.cov[0, 0, 0], total[2] / total[0] - mean**2, rtol=1e-3)


def test_density_of_the_ratio_is_the_restricted_likelihood(intercepts):
    """p(lambda | y) is exp(-REML criterion / 2) but for the power of r^2: from the optimiser's own deviance."""
    cross = intercepts.cross
    data, ratio = Responses.of_cross(cross), np.array([[0.1, 0.7, 2.0]])
    node = _Split.of(cross, data).at(ratio)
    reml = lmmlib.fitting.deviance.deviance(cross, ratio.T, cross.theta_coordinates, "REML", data)
    m = cross.n_obs - 3
    theirs = -reml.value / 2 + 0.5 * np.log(reml.sigma2 * m)
    assert_allclose(np.diff(node.log_density[0]), np.diff(theirs), rtol=1e-9)
    assert_allclose(node.r2[0], reml.sigma2 * m, rtol=1e-10)


def test_quadrature_of_many_responses_is_that_of_each(intercepts):
    Y = intercepts.simulate(6, rng=np.random.default_rng(8))
    found = ratio_posterior(intercepts.cross, Responses.of_columns(intercepts.cross, intercepts.design, Y))
    mean, variance = found.moments()
    for d in range(6):
        one = empirical_bayes.quadrature(lmmlib.fit_design(intercepts.design.with_response(Y[:, d])))
        assert_allclose(mean[d], one.b.iloc[:, 0], atol=1e-7)
        assert_allclose(variance[d], one.cov[:, 0, 0], rtol=1e-6)
    assert found.beta.shape == (*found.ratio.shape, 3)


def test_posterior_of_beta_and_sigma2_of_quadrature(intercepts):
    """With thousands of rows they are the estimates, and tau is where REML finds it."""
    rng = np.random.default_rng(9)
    g = np.repeat(np.arange(4000), 3)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=len(g))})
    frame["y"] = 2 + frame["x"] + 1.5 * rng.standard_normal(4000)[g] + rng.standard_normal(len(g))
    fit = lmmlib.fit("y ~ x + (1 | g)", frame)
    found = ratio_posterior(fit.cross, Responses.of_cross(fit.cross))
    assert_allclose((found.weights @ found.beta[0])[0], fit.beta, atol=1e-3)
    assert_allclose(found.weights[0] @ found.sigma2[0], fit.sigma2, rtol=1e-3)
    assert_allclose(found.weights[0] @ found.ratio[0], fit.theta[0], rtol=2e-3)


def test_quadrature_does_not_depend_on_units_or_origin(many):
    one = empirical_bayes.quadrature(lmmlib.fit(INTERCEPTS, many))
    moved = many.assign(lead=1000 * many["lead"] + 5e4, week=many["week"] + 2000)
    other = empirical_bayes.quadrature(lmmlib.fit(INTERCEPTS, moved))
    assert_allclose(np.array(other.limits()) / 1000, one.limits(), rtol=1e-6)


def test_ratio_and_effects_have_the_units_of_z(many):
    """Days in the place of weeks: slopes and tau a seventh, whatever sign z has."""
    one, other = (
        ratio_posterior(cross, Responses.of_cross(cross))
        for cross in (
            lmmlib.cross_products(lmmlib.build_design("lead ~ drug + (0 + week | child)", data))
            for data in (many, many.assign(week=-7 * many["week"]))
        )
    )
    assert_allclose(other.ratio, one.ratio / 7, rtol=1e-6)
    assert_allclose(other.moments()[0], -one.moments()[0] / 7, rtol=1e-8)
    assert_allclose(other.moments()[1], one.moments()[1] / 49, rtol=1e-8)
    # At the mode the ratio is about that of REML.
    fit = lmmlib.fit("lead ~ drug + (0 + week | child)", many)
    assert_allclose(one.weights[0] @ one.ratio[0], fit.theta[0], rtol=0.2)


def toy(n_groups, m=3, seed=1):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_groups), m)
    return pd.DataFrame({"y": rng.standard_normal(n_groups)[g] + rng.standard_normal(len(g)), "g": g, "x": g % 2})


def test_propriety_needs_three_groups():
    with pytest.raises(DesignError, match="improper.*here it is 1, in 2 groups"):
        empirical_bayes.quadrature(lmmlib.fit("y ~ 1 + (1 | g)", toy(2)))
    with pytest.raises(DesignError, match="here it is 1, in 3 groups"):
        empirical_bayes.quadrature(lmmlib.fit("y ~ x + (1 | g)", toy(3)))
    assert np.isfinite(empirical_bayes.quadrature(lmmlib.fit("y ~ 1 + (1 | g)", toy(3))).limits()).all()


@pytest.mark.parametrize("n_groups, finite", [(4, False), (5, True)])
def test_variance_needs_five_groups(n_groups, finite):
    posterior = empirical_bayes.quadrature(lmmlib.fit("y ~ 1 + (1 | g)", toy(n_groups)))
    assert np.isfinite(posterior.cov).all() == finite
    assert np.isfinite(posterior.limits()).all()


def test_only_fixed_effects_between_groups_cost_a_variance():
    """Without them nothing of lambda's tail reaches b: three groups are enough, and x within groups costs nothing."""
    data = toy(3).assign(x=np.tile([-1.0, 0.0, 1.0], 3))
    assert np.isfinite(empirical_bayes.quadrature(lmmlib.fit("y ~ 0 + (1 | g)", data)).cov).all()
    assert np.isfinite(empirical_bayes.quadrature(lmmlib.fit("y ~ 0 + x + (1 | g)", data)).cov).all()
    assert np.isinf(empirical_bayes.quadrature(lmmlib.fit("y ~ 1 + x + (1 | g)", data)).cov).all()


def test_rows_within_groups_are_needed():
    """One row a group but for one, whose two rows a fixed effect tells apart: nothing is left for sigma2."""
    data = toy(6, m=1)
    data = pd.concat([data, data.iloc[[0]].assign(y=9.0)], ignore_index=True).assign(x=lambda d: d.index == 6)
    design = lmmlib.build_design("y ~ x + (1 | g)", data.astype({"x": float}))
    cross = lmmlib.cross_products(design)
    with pytest.raises(DesignError, match="7 rows leave nothing within groups to tell sigma2 by"):
        ratio_posterior(cross, Responses.of_cross(cross))


def test_two_random_columns_need_a_sampler(many):
    with pytest.raises(DesignError, match="one random column, not 2"):
        empirical_bayes.quadrature(lmmlib.fit("lead ~ week + (week | child)", many))


def test_a_grid_that_is_too_coarse_is_refused(intercepts, monkeypatch):
    monkeypatch.setattr(ratio, "MAX_NODES", 100)
    with pytest.raises(DesignError, match="did not converge with 65 nodes"):
        ratio_posterior(intercepts.cross, Responses.of_cross(intercepts.cross), tolerance=0.0)
