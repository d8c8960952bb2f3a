"""statsmodels as a second implementation: OLS, GLS with the dense covariance, cluster sandwich, MixedLM likelihood."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.stats import f as f_distribution
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

import lmmlib
from lmmlib import dense, equations
from lmmlib.design.formula import fixed_matrix
from tests.tolerances import CLOSED_FORM

D = np.array([[612.0, 9.6], [9.6, 35.0]])
SIGMA2 = 655.0


@pytest.fixture(scope="module")
def sleep():
    """The sleep study with rows taken away, so that nothing is balanced, and in a mixed order."""
    frame = lmmlib.load("sleep")
    return frame[(frame.index % 7 != 3) & (frame.index % 5 != 1)].sample(frac=1, random_state=2)


@pytest.fixture(scope="module")
def design(sleep):
    return lmmlib.build_design("Reaction ~ Days + (Days | Subject)", sleep)


@pytest.fixture(scope="module")
def cross(design):
    return lmmlib.cross_products(design)


def test_ols_is_lm(design, cross):
    ours, theirs = equations.ols(cross), sm.OLS(design.y, design.X).fit()
    assert_allclose(ours.beta, theirs.params, rtol=CLOSED_FORM)
    assert_allclose(ours.cov, theirs.cov_params(), rtol=CLOSED_FORM)
    assert_allclose([ours.rss, ours.sigma2, ours.df], [theirs.ssr, theirs.scale, theirs.df_resid], rtol=CLOSED_FORM)


def test_wald_of_ols(design, cross):
    ours, theirs = equations.ols(cross), sm.OLS(design.y, design.X).fit()
    slope = equations.wald(ours, [0, 1], null=8.0)
    stored = theirs.t_test([[0, 1]], use_t=True)
    assert_allclose([slope.estimate[0], slope.se[0]], [stored.effect[0], stored.sd[0, 0]], rtol=CLOSED_FORM)
    assert_allclose(slope.statistic, (stored.effect[0] - 8) / stored.sd[0, 0], rtol=CLOSED_FORM)
    assert_allclose([slope.lower[0], slope.upper[0]], stored.conf_int()[0], rtol=CLOSED_FORM)
    both = equations.wald(ours, np.eye(2), null=[260, 8])
    stored = theirs.f_test((np.eye(2), [260, 8]))
    assert_allclose([both.statistic, both.p], [stored.fvalue, stored.pvalue], rtol=1e-9)
    assert both.df == (2, theirs.df_resid)
    assert_allclose(both.p, f_distribution.sf(both.statistic, *both.df), rtol=CLOSED_FORM)


def test_wald_without_df_is_z_and_chi_square(design, cross):
    ours = equations.gls(cross, D, SIGMA2)
    theirs = sm.GLS(design.y, design.X, dense.V(design, D, SIGMA2)).fit(cov_type="fixed scale", use_t=False)
    one, stored = equations.wald(ours, [0, 1]), theirs.t_test([[0, 1]])
    assert_allclose([one.statistic, one.p], [stored.statistic[0, 0], stored.pvalue], rtol=1e-9)
    assert_allclose([one.lower[0], one.upper[0]], stored.conf_int()[0], rtol=CLOSED_FORM)
    both, stored = (
        equations.wald(ours, np.eye(2), null=[260, 8]),
        theirs.wald_test((np.eye(2), [260, 8]), scalar=True),
    )
    assert_allclose(2 * both.statistic, stored.statistic, rtol=1e-9)
    assert_allclose(both.p, stored.pvalue, rtol=1e-8)


def test_gls_with_the_dense_covariance(design, cross):
    ours = equations.gls(cross, D, SIGMA2)
    theirs = sm.GLS(design.y, design.X, dense.V(design, D, SIGMA2)).fit(cov_type="fixed scale")
    assert_allclose(ours.beta, theirs.params, rtol=CLOSED_FORM)
    # "fixed scale" is the covariance (X'V^-1 X)^-1 with V taken as known.
    assert_allclose(ours.cov, theirs.cov_params(), rtol=1e-10)


@pytest.mark.parametrize("correction", ["none", "groups"])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_cluster_sandwich(design, cross, correction, scale):
    """Whitening by V^(-1/2), block by block, turns GLS into OLS, whose cluster covariance statsmodels knows."""
    beta = equations.gls(cross, scale * D, SIGMA2).beta
    ours = equations.sandwich(design, beta, scale * D, SIGMA2, correction=correction)
    options = {"groups": design.group, "use_correction": correction == "groups"}
    # With Cholesky factors, observations of one group mix among themselves only.
    order = np.argsort(design.group, kind="stable")
    V = dense.V(design, scale * D, SIGMA2)[np.ix_(order, order)]
    model = sm.GLS(design.y[order], design.X[order], V)
    options["groups"] = design.group[order]
    theirs = model.fit(cov_type="cluster", cov_kwds=options)
    assert_allclose(ours, theirs.cov_params(), rtol=1e-9)


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_likelihood_is_that_of_mixedlm(design, cross, reml, size):
    """MixedLM profiles sigma2 out of its likelihood; at that sigma2, from a dense sum of squares, ours is the same."""
    Psi = size * D / SIGMA2
    beta = equations.gls(cross, Psi, 1.0).beta
    r = design.y - design.X @ beta
    sigma2 = r @ np.linalg.solve(dense.V(design, Psi, 1.0), r) / (design.n_obs - 2 * reml)
    model = MixedLM(design.y, design.X, groups=design.group, exog_re=design.Z)
    model.reml, model.cov_pen, model.fe_pen = reml, None, None
    params = MixedLMParams.from_components(fe_params=beta, cov_re=Psi)
    ours = (equations.restricted_loglik if reml else equations.profile_loglik)(cross, sigma2 * Psi, sigma2)
    # Values near -600; MixedLM works with per-group inverses.
    assert_allclose(ours, model.loglike(params, profile_fe=True), rtol=0, atol=1e-9)


def test_predicted_means_and_bands(sleep, cross, design):
    new = sleep.iloc[:4].assign(Days=[0.0, 2.5, 9.0, 20.0])
    X_new = fixed_matrix(design, new)
    ours = equations.predict_mean(equations.ols(cross), X_new, level=0.9)
    theirs = sm.OLS(design.y, design.X).fit().get_prediction(X_new).summary_frame(alpha=0.1)
    stored = theirs[["mean", "mean_se", "mean_ci_lower", "mean_ci_upper"]]
    assert_allclose(ours[["estimate", "se", "lower", "upper"]], stored, rtol=CLOSED_FORM)
