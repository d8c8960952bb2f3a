import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DesignError
from lmmlib.residual import ar1, by, compound, independent, unstructured
from tests.unit.residual import dense

F = "lead ~ week * arm + (0 | child)"
PLAIN = ["lead ~ week * arm + (1 | child)", "lead ~ week + (week | child)", "lead ~ week + (week || child)"]


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("formula", [*PLAIN, F])
def test_independent_is_the_plain_model(formula, method, trial):
    known = {"weights": "w", "offset": "o"}
    plain = lmmlib.fit(formula, trial, method=method, **known)
    fit = lmmlib.fit(formula, trial, method=method, residual=independent(), **known)
    assert_allclose(fit.criterion, plain.criterion, rtol=1e-12)
    assert_allclose(fit.beta, plain.beta, rtol=1e-10, atol=1e-10)
    assert_allclose(fit.cov_beta, plain.cov_beta, rtol=1e-8, atol=1e-12)
    assert_allclose(fit.D, plain.D, rtol=1e-7, atol=1e-10)
    assert_allclose(fit.R()[0, 0, 0], plain.sigma2, rtol=1e-8)
    assert (fit.n_parameters, fit.is_singular) == (plain.n_parameters, plain.is_singular)
    assert_allclose((fit.aic, fit.bic), (plain.aic, plain.bic), rtol=1e-12)
    if method == "REML":
        for df in ("satterthwaite", "kenward-roger"):
            assert_allclose(fit.fixed_effects(df=df), plain.fixed_effects(df=df), rtol=1e-6)
            assert_allclose(fit.anova(df=df), plain.anova(df=df), rtol=1e-6)


@pytest.mark.parametrize("structure", [ar1("week"), by("week"), compound("week"), unstructured("week")])
def test_degrees_of_freedom_by_full_matrices(structure, trial):
    """Satterthwaite with the observed information, Kenward-Roger with the expected one, in natural parameters."""
    random = "(1 | child)" if structure == by("week") else "(0 | child)"
    some = trial[trial["child"] < "c20"]
    fit = lmmlib.fit(f"lead ~ week * arm + {random}", some, residual=structure)
    model, X, y = fit.model, fit.design.X, fit.design.y

    def V(alpha):
        R = model.unit**2 * model.R(alpha)

        def R_of(rows):
            code = model.visits.code[rows]
            own = R[model.visits.cell[fit.design.group[rows[0]]]][np.ix_(code, code)]
            return own * np.eye(len(rows)) if structure.is_diagonal else own

        return dense.V(fit.design, model.unit**2 * fit.cross.basis.D_back(model.D(alpha)), R_of)

    alpha, at = fit.alpha, V(fit.alpha)
    slopes = dense.differences(V, alpha, 1e-4)
    bends = np.zeros((len(alpha), *slopes.shape))
    if not structure.is_linear:
        bends = dense.differences(lambda a: dense.differences(V, a, 1e-3), alpha, 1e-3)
    P, W = dense.projection(at, X), np.linalg.inv(at)
    beta, Phi = dense.gls(at, X, y)
    PV = P @ slopes
    expected = 0.5 * np.einsum("rij,sji->rs", PV, PV)
    Vu, WVX = slopes @ (P @ y), slopes @ W @ X
    second = Vu @ P @ Vu.T
    curved = 0.5 * (np.einsum("ij,rsji->rs", P, bends) - np.einsum("i,rsij,j->rs", P @ y, bends, P @ y))
    observed = second - expected + curved
    of_X = np.einsum("ix,rij,jy->rxy", W @ X, slopes, W @ X)
    table = fit.fixed_effects()
    for k in range(len(beta)):
        g = (Phi @ of_X @ Phi)[:, k, k]
        df = 2 * Phi[k, k] ** 2 / (g @ np.linalg.solve(observed, g))
        assert_allclose(table["df"].iloc[k], df, rtol=1e-5)
    A = np.linalg.inv(expected)
    Q = np.einsum("rix,ij,sjy->rsxy", WVX, W, WVX, optimize=True)
    PP = np.einsum("rxy,yz,szw->rsxw", of_X, Phi, of_X)
    bend = np.einsum("ix,rsij,jy->rsxy", W @ X, bends, W @ X)
    adjusted = Phi + 2 * Phi @ np.einsum("rs,rsxy->xy", A, Q - PP - bend / 4) @ Phi
    assert_allclose(fit.expected.kenward_roger(np.eye(len(beta))).cov, adjusted, rtol=1e-5, atol=1e-8)
    assert (np.abs(bend).max() > 1e-3) == (not structure.is_linear)


@pytest.mark.parametrize(("method", "less"), [("ML", 0), ("REML", 1)])
def test_unstructured_has_a_closed_form_where_no_visit_is_missing(method, less):
    """A mean for each visit: V is the sum of squares and products of the residuals, over n or n - 1."""
    tlc = lmmlib.load("tlc")
    for arm, data in tlc.groupby("treatment", observed=True):
        wide = data.pivot(index="id", columns="week", values="lead")
        fit = lmmlib.fit("lead ~ C(week) + (0 | id)", data, residual=unstructured("week"), method=method)
        assert_allclose(fit.R()[0], np.cov(wide.T) * 49 / (50 - less), rtol=1e-8), arm
        assert_allclose(fit.residual_covariance(), fit.R()[0])


def test_a_free_covariance_does_not_care_for_missing_groups(trial):
    """Fits to the arms apart have the covariances of the fit of both, when their means are apart too."""
    fit = lmmlib.fit("lead ~ week * arm + (0 | child)", trial, residual=unstructured("week", by="arm"))
    loglik = 0
    for k, (_, data) in enumerate(trial.groupby("arm")):
        one = lmmlib.fit("lead ~ week + (0 | child)", data, residual=unstructured("week"))
        assert_allclose(one.R()[0], fit.R()[k], rtol=1e-7)
        loglik += one.loglik
    X = fit.design.X
    apart = np.column_stack([X[:, [0, 1]] * (X[:, [2]] == a) for a in (0, 1)])
    change = np.linalg.lstsq(X, apart)[0]
    assert_allclose(loglik, fit.loglik - np.log(np.abs(np.linalg.det(change))), rtol=1e-10)


def test_compound_symmetry_is_the_random_intercept(trial):
    plain = lmmlib.fit("lead ~ week * arm + (1 | child)", trial)
    fit = lmmlib.fit(F, trial, residual=compound("week"))
    tau2 = plain.D.iloc[0, 0]
    assert tau2 > 0 and not plain.is_singular
    assert_allclose(fit.loglik, plain.loglik, rtol=1e-11)
    assert_allclose(fit.R()[0], dense.compound(tau2 + plain.sigma2, tau2), rtol=1e-6)


def test_compound_symmetry_may_be_below_zero():
    """Where litter mates compete the variance of the random intercept is zero, and the covariance negative."""
    rng = np.random.default_rng(2)
    group, visit = np.repeat(np.arange(60), 3), np.tile(np.arange(3), 60)
    y = (np.linalg.cholesky(dense.compound(2.0, -0.8, 3)) @ rng.standard_normal((3, 60))).T.ravel()
    data = pd.DataFrame({"y": y, "g": group, "v": visit})
    plain = lmmlib.fit("y ~ 1 + (1 | g)", data)
    fit = lmmlib.fit("y ~ 1 + (0 | g)", data, residual=compound("v"))
    assert plain.is_singular and not fit.is_singular
    assert fit.parameters()["rho"] < -0.3 and fit.loglik > plain.loglik + 5
    anova = data.groupby("g")["y"].mean().var() * 3, data.groupby("g")["y"].var().mean()
    eigenvalues = np.linalg.eigvalsh(fit.R()[0])
    assert_allclose([eigenvalues[0], eigenvalues[1]], anova, rtol=1e-7)
    assert fit.se.iloc[0] < plain.se.iloc[0]


@pytest.mark.parametrize("structure", [ar1("week"), unstructured("week", by="arm"), by("arm", "week")])
def test_order_and_units_do_not_matter(structure, trial):
    fit = lmmlib.fit("lead ~ week * arm + (0 | child)", trial, residual=structure)
    order = trial.sample(frac=1, random_state=8)
    again = lmmlib.fit("lead ~ week * arm + (0 | child)", order, residual=structure)
    assert_allclose(again.loglik, fit.loglik, rtol=1e-11)
    assert_allclose(again.parameters(), fit.parameters(), rtol=1e-6)
    units = trial.assign(lead=1000 * trial["lead"] + 5e5, week=7 * trial["week"] + 700)
    other = lmmlib.fit("lead ~ week * arm + (0 | child)", units, residual=structure)
    assert_allclose(other.R(), 1e6 * fit.R(), rtol=1e-6)
    assert_allclose(other.beta.iloc[1], 1000 / 7 * fit.beta.iloc[1], rtol=1e-7)
    assert_allclose(other.fixed_effects()["df"].iloc[[1, 3]], fit.fixed_effects()["df"].iloc[[1, 3]], rtol=1e-6)


def test_a_variance_may_be_zero():
    """A visit that varies less than the children do has no residual of its own, and nothing else is wrong."""
    rng = np.random.default_rng(3)
    group, visit = np.repeat(np.arange(40), 4), np.tile(np.arange(4), 40)
    y = rng.standard_normal(40)[group] * np.where(visit > 1, 1, 0.6) + (visit > 1) * rng.standard_normal(160)
    data = pd.DataFrame({"y": y, "g": group, "v": visit})
    fit = lmmlib.fit("y ~ 1 + (1 | g)", data[data["v"] > 0], residual=by("v"))
    assert fit.converged and fit.is_singular
    assert fit.parameters()["sigma 1"] < 1e-6 < 0.8 < fit.parameters()["sigma 2"]
    assert np.isfinite(fit.fixed_effects()).all(axis=None)
    assert fit.cov_parameters().loc["sigma 1"].isna().sum() == 4


def test_a_covariance_without_maximum():
    tlc = lmmlib.load("tlc")
    few = tlc[tlc["id"].astype(int) < 5]
    with pytest.raises(DesignError, match=r"unstructured\('week'\) has no maximum: .*fewer groups than visits"):
        lmmlib.fit("lead ~ C(week) + (0 | id)", few, residual=unstructured("week"))


def test_refits(trial):
    fit = lmmlib.fit(F, trial, residual=ar1("week"))
    assert_allclose(fit.refit(fit.design.y).parameters(), fit.parameters(), rtol=1e-9)
    assert fit.by_ml.method == "ML" and fit.by_ml.by_ml is fit.by_ml
    assert_allclose(fit.by_ml.loglik, lmmlib.fit(F, trial, residual=ar1("week"), method="ML").loglik)
    with pytest.raises(DesignError, match="fit the response exactly"):
        fit.refit(np.zeros(fit.n_obs))
    with pytest.raises(DesignError, match="fit the response exactly"):
        fit.refit(fit.design.X @ [1.0, 2, 3, 4])


def test_several_maxima_have_one_answer(trial):
    """The search starts at several correlations, and the best of what is found is kept."""
    fit = lmmlib.fit("lead ~ week + (1 | child)", trial, residual=ar1("week"))
    for rho in np.linspace(-0.9, 0.9, 13):
        start = fit.working.copy()
        start[-1] = np.arctanh(rho)
        one = type(fit).of(fit.design, fit.model.visits, "REML", start)
        assert one.loglik <= fit.loglik + 1e-9


def test_root(trial):
    fit = lmmlib.fit(F, trial, residual=ar1("week"))
    assert_allclose(fit.root.T @ fit.root, fit.design.X.T @ fit.design.X, rtol=1e-10)
