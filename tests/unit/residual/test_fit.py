import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DesignError, ParameterError
from lmmlib.residual import ar1, by, unstructured


@pytest.fixture(scope="module")
def lead():
    """The trial of chapter 5, with the effects of succimer at weeks 1, 4 and 6 and none at week 0."""
    tlc = lmmlib.load("tlc")
    treated = (tlc["treatment"] == "succimer").astype(float)
    return tlc.assign(**{f"succimer_{w}": treated * (tlc["week"] == w) for w in (1, 4, 6)})


def test_the_adequate_model_of_chapter_5(lead):
    formula = "lead ~ C(week) + succimer_1 + succimer_4 + succimer_6 + (0 | id)"
    fit = lmmlib.fit(formula, lead, residual=unstructured("week", by="treatment"))
    table = fit.fixed_effects().loc[["succimer_1", "succimer_4", "succimer_6"]]
    assert_allclose(table["estimate"], [-11.34, -8.77, -3.12], atol=0.005)
    assert_allclose(table["se"], [1.09, 1.13, 1.25], atol=0.005)
    assert_allclose(table["df"], [67.6, 67.7, 68.8], atol=0.05)
    assert_allclose(table["lower"], [-13.52, -11.02, -5.62], atol=0.005)
    cautious = fit.contrast({"succimer_6": 1}, df=49)
    assert_allclose([cautious.lower[0], cautious.upper[0]], [-5.63, -0.61], atol=0.005)
    # One step of the chapter's own iteration leaves the covariances where they are.
    r, X = (lead["lead"] - fit.fitted(of="population")).to_numpy(), fit.design.X
    for k, arm in enumerate(("placebo", "succimer")):
        rows = [fit.design.rows(i) for i in np.flatnonzero(fit.model.visits.cell == k)]
        parts = [np.outer(r[i], r[i]) + X[i] @ fit.cov_beta.to_numpy() @ X[i].T for i in rows]
        assert_allclose(fit.residual_covariance().loc[arm], np.mean(parts, axis=0), rtol=1e-7)


def test_all_verbs_answer(trial):
    fit = lmmlib.fit("lead ~ C(week) * arm + (0 | child)", trial, residual=unstructured("week", by="arm"))
    assert isinstance(fit, lmmlib.ResidualFit) and fit.converged
    assert_allclose(fit.contrast({"armsuccimer": 1}).estimate, fit.beta["armsuccimer"])
    assert list(fit.contrasts({"arm": {"armsuccimer": 1}}).columns)[:3] == ["estimate", "se", "df"]
    means = fit.marginal_means(["arm", "week"])
    assert_allclose(means.loc[("placebo", 0.0), "estimate"], fit.beta["(Intercept)"])
    for df in ("satterthwaite", "kenward-roger", "z"):
        assert fit.anova(df=df)["p"].between(0, 1).all()
    assert list(fit.anova().index) == ["C(week)", "arm", "C(week):arm"]
    new = fit.refit(fit.simulate(rng=1))
    assert new.loglik != fit.loglik and new.n_parameters == fit.n_parameters == 28
    with pytest.raises(ParameterError, match="derived for REML"):
        lmmlib.fit("lead ~ week + (0 | child)", trial, residual=by("week"), method="ML").anova(df="satterthwaite")


def test_without_residual_nothing_is_new(trial):
    assert type(lmmlib.fit("lead ~ week + (1 | child)", trial)) is lmmlib.Fit
    assert type(lmmlib.fit("lead ~ week + (1 | child)", trial, residual=None)) is lmmlib.Fit


def test_wrong_input(trial):
    with pytest.raises(ParameterError, match="residual must be made by a function of lmmlib.residual.* got 'ar1'"):
        lmmlib.fit("lead ~ week + (0 | child)", trial, residual="ar1")
    with pytest.raises(
        DesignError, match="says what the groups are that have a residual covariance: add \\(0 \\| g\\)"
    ):
        lmmlib.fit("lead ~ week", trial, residual=ar1("week"))
    with pytest.raises(DesignError, match="is for formulas with one random term of one grouping"):
        lmmlib.fit("lead ~ week + (1 | child) + (1 | arm)", trial, residual=ar1("week"))
    with pytest.raises(DesignError, match="without relationship="):
        lmmlib.fit("lead ~ week + (1 | child)", trial, residual=ar1("week"), relationship={"child": trial})
    with pytest.raises(ParameterError, match="method is 'REML' or 'ML'"):
        lmmlib.fit("lead ~ week + (0 | child)", trial, residual=ar1("week"), method="ml")


def test_visits_missing_at_random(trial):
    """A response that is missing, or a row that is not there, are one thing."""
    data = trial.copy()
    data.loc[[4, 8], "lead"] = np.nan
    one = lmmlib.fit("lead ~ week + (0 | child)", data, residual=ar1("week"), missing="drop")
    other = lmmlib.fit("lead ~ week + (0 | child)", trial.drop([4, 8]), residual=ar1("week"))
    assert_allclose(one.parameters(), other.parameters(), rtol=1e-9)
    assert one.design.n_dropped == 2
