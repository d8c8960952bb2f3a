"""lmmlib against answers that share no code with it: a 60-digit optimiser, lme4 with lmerTest and pbkrtest.

tests/reference/exact holds each optimum from 60-digit arithmetic, rounded to doubles. tests/reference/*.json
holds lme4 at its tightest stopping rules, whose own error in the variance parameters is up to 2e-7 relative.
"""

import numpy as np
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal

import lmmlib
from lmmlib import dense, equations
from tests.tolerances import CLOSED_FORM, LME4, LME4_TAIL, LOGLIK


def names(design):
    return list(design.x_names)


def test_every_stored_fit_is_used(reference, exact_names):
    assert {path.stem for path in reference.glob("*ml.json")} == set(exact_names)
    assert len(exact_names) == 17


def test_design_is_that_of_lme4(fit):
    assert names(fit.design) == list(fit.lme4["fixef"]) == fit.exact["coef_names"]
    # lme4 lists the terms of (Days || Subject) as two blocks, Subject and Subject.1.
    blocks = fit.lme4["varcorr"].values()
    assert list(fit.design.z_names) == [name for block in blocks for name in np.atleast_1d(block["names"])]
    assert fit.design.diagonal == (len(blocks) > 1)
    assert fit.design.n_obs == fit.lme4["nobs"]
    assert {fit.design.n_groups} == set(fit.lme4["ngroups"].values())


def test_likelihood_at_the_optimum(fit):
    cross, D, sigma2 = fit.cross, fit.D, fit.sigma2
    likelihood = equations.profile_loglik if fit.method == "ML" else equations.restricted_loglik
    assert_allclose(likelihood(cross, D, sigma2), fit.exact["loglik"], rtol=0, atol=LOGLIK)
    assert_allclose(-2 * likelihood(cross, D, sigma2), fit.exact["criterion"], rtol=0, atol=2 * LOGLIK)
    assert_allclose(likelihood(cross, D, sigma2), fit.lme4["loglik"], rtol=0, atol=1e-10)
    if fit.method == "ML":
        assert_allclose(
            equations.loglik(cross, fit.exact["fixef"], D, sigma2), fit.exact["loglik"], rtol=0, atol=LOGLIK
        )


def test_dense_likelihood_at_the_optimum(fit):
    likelihood = dense.profile_loglik if fit.method == "ML" else dense.restricted_loglik
    assert_allclose(likelihood(fit.design, fit.D, fit.sigma2), fit.exact["loglik"], rtol=0, atol=10 * LOGLIK)


def test_likelihood_is_that_of_a_normal_vector(fit):
    """ell is the sum of scipy's multivariate normal log-densities, group by group."""
    beta, total = fit.exact["fixef"], 0.0
    for i in range(fit.design.n_groups):
        y, X, Z = fit.design.group_rows(i)
        total += multivariate_normal(
            X @ beta, lmmlib.equations.moments.marginal_covariance(Z, fit.D, fit.sigma2)
        ).logpdf(y)
    assert_allclose(equations.loglik(fit.cross, beta, fit.D, fit.sigma2), total, rtol=0, atol=1e-9)


def test_estimates_and_standard_errors(fit):
    result = equations.gls(fit.cross, fit.D, fit.sigma2)
    assert_allclose(result.beta, fit.exact["fixef"], rtol=CLOSED_FORM)
    assert_allclose(result.se, fit.exact["se"], rtol=CLOSED_FORM)
    # Off-diagonal entries may be small beside the diagonal, so they are compared at its scale.
    assert_allclose(result.cov, fit.exact["vcov_fixef"], rtol=CLOSED_FORM, atol=CLOSED_FORM * result.se.max() ** 2)


def test_scores_vanish_at_the_optimum(fit):
    """Each score is compared with 1 / (standard error of its parameter), its natural unit."""
    cross, D, sigma2 = fit.cross, fit.D, fit.sigma2
    unit = np.sqrt(np.diag(equations.information_variance(cross, D, sigma2, method=fit.method)))
    score = equations.score_variance(cross, D, sigma2, method=fit.method)
    assert np.abs(score / unit).max() < 1e-10
    # The other criterion has its optimum elsewhere: the test above can fail.
    other = equations.score_variance(cross, D, sigma2, method={"ML": "REML", "REML": "ML"}[fit.method])
    assert np.abs(other / unit).max() > 1e-2
    beta, se = np.array(fit.exact["fixef"]), np.array(fit.exact["se"])
    assert np.abs(equations.score_beta(cross, beta, D, sigma2) * se).max() < 1e-9


def jacobian(fit):
    """d (vech D, sigma2) / d (theta, sigma) for D = sigma^2 Lambda Lambda', Lambda lower triangular in theta."""
    q, sigma = len(fit.design.z_names), np.sqrt(fit.sigma2)
    if fit.design.diagonal:
        cells = [(a, a) for a in range(q)]
    else:
        cells = [(a, b) for b in range(q) for a in range(b, q)]
    Lambda = np.zeros((q, q))
    for value, cell in zip(fit.exact["theta"], cells, strict=True):
        Lambda[cell] = value
    J = np.zeros((len(cells) + 1, len(cells) + 1))
    for k, cell in enumerate(cells):
        step = np.zeros((q, q))
        step[cell] = 1.0
        J[:-1, k] = [(fit.sigma2 * (step @ Lambda.T + Lambda @ step.T))[c] for c in cells]
    J[:-1, -1] = [(2 * sigma * Lambda @ Lambda.T)[c] for c in cells]
    J[-1, -1] = 2 * sigma
    return J


def test_observed_information_is_the_hessian(fit):
    """The stored covariance of (theta, sigma) is the inverse Hessian, differentiated there with 60 digits."""
    J = jacobian(fit)
    information = equations.information_variance(fit.cross, fit.D, fit.sigma2, method=fit.method, kind="observed")
    assert len(fit.cross.variance_names) == len(J)
    stored = np.array(fit.exact["vcov_theta_sigma"])
    unit = np.sqrt(np.diag(stored))
    ours = np.linalg.inv(J.T @ information @ J)
    # Inverting loses the 3 to 4 digits of its condition number.
    assert_allclose(ours / np.outer(unit, unit), stored / np.outer(unit, unit), rtol=0, atol=1e-9)


def test_satterthwaite(reml_fit):
    cross, D, sigma2 = reml_fit.cross, reml_fit.D, reml_fit.sigma2
    for row, exact, lmer in zip(
        np.eye(len(cross.x_names)),
        reml_fit.exact["satterthwaite_df"],
        reml_fit.lme4["satterthwaite_df"].values(),
        strict=True,
    ):
        df = equations.satterthwaite(cross, row, D, sigma2)
        # The inverse of the Hessian costs a few digits; balanced designs have whole numbers here (26, 25, 49).
        assert_allclose(df, exact, rtol=1e-9)
        # lmerTest differentiates numerically.
        assert_allclose(df, lmer, rtol=LME4)


def test_kenward_roger(reml_fit):
    cross, D, sigma2 = reml_fit.cross, reml_fit.D, reml_fit.sigma2
    lme4 = reml_fit.lme4["kenward_roger"]
    beta = equations.gls(cross, D, sigma2).beta
    for j, name in enumerate(cross.x_names):
        result = equations.kenward_roger(cross, np.eye(len(beta))[j], D, sigma2)
        stored = np.array(lme4["vcov_adj"]["values"])
        assert_allclose(result.cov, stored, rtol=LME4, atol=LME4 * np.abs(stored).max() * 1e-2)
        assert_allclose(result.df, lme4["df"][name], rtol=LME4)
        assert_allclose(result.statistic, result.scale * beta[j] ** 2 / result.cov[j, j], rtol=1e-10)
        assert_allclose(result.statistic, lme4["t"][name] ** 2, rtol=LME4)
        # A p-value of a t statistic of 20 amplifies the statistic's error twentyfold.
        assert_allclose(result.p, lme4["p"][name], rtol=LME4_TAIL)


def test_anova_of_the_growth_model(case, stored):
    """lmerTest::anova, type III: age is tested at the mean of the two sexes' slopes."""
    fit = case("orthodont_agesex_reml")
    estimate = equations.gls(fit.cross, fit.D, fit.sigma2)
    contrasts = {"age": [0, 1, 0, 0.5], "Sex": [0, 0, 1, 0], "age:Sex": [0, 0, 0, 1]}
    for label in ("satterthwaite", "kr"):
        table = stored("inference/inference.json")[f"anova_{label}_orthodont_agesex"]
        for term, L in contrasts.items():
            if label == "kr":
                result = equations.kenward_roger(fit.cross, L, fit.D, fit.sigma2)
                F, df, p = result.statistic, result.df, result.p
            else:
                df = equations.satterthwaite(fit.cross, L, fit.D, fit.sigma2)
                result = equations.wald(estimate, L, df=df)
                F, p = result.statistic**2, result.p
            assert_allclose(F, table["F value"][term], rtol=LME4)
            assert_allclose(df, table["DenDF"][term], rtol=LME4)
            assert_allclose(p, table["Pr(>F)"][term], rtol=LME4 * 10)
