import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import ParameterError
from lmmlib.residual import ar1, by, independent
from tests.unit.residual import dense

F = "lead ~ week + arm + (week | child)"


@pytest.fixture(scope="module")
def fit(trial):
    return lmmlib.fit("lead ~ week + arm + (1 | child)", trial, residual=ar1("week"), weights="w", offset="o")


def matrices(fit):
    """V, R and D of all rows with full matrices, weights included."""
    design, root, code = fit.design, np.sqrt(fit.design.weights), fit.model.visits.code
    p = fit.parameters()
    R1 = dense.ar1(p["sigma"] ** 2, p["rho"])

    def R_of(r):
        return R1[np.ix_(code[r], code[r])] / np.outer(root[r], root[r])

    R = dense.V(design, np.zeros((1, 1)), R_of)
    return dense.V(design, fit.D.to_numpy(), R_of), R


def test_random_effects_and_fitted_values(fit):
    V, R = matrices(fit)
    X, y, group = fit.design.X, fit.design.y - fit.design.offset, fit.design.group
    Z = np.eye(fit.n_groups)[group]
    beta, Phi = dense.gls(V, X, y)
    assert_allclose(fit.beta, beta, rtol=1e-8)
    D = fit.D.iloc[0, 0]
    b = D * Z.T @ np.linalg.solve(V, y - X @ beta)
    blups = fit.blups()
    assert_allclose(blups.b["(Intercept)"], b, rtol=1e-7, atol=1e-10)
    T = D * Z.T @ np.linalg.inv(V)
    assert_allclose(blups.known[:, 0, 0], D - np.diag(D * T @ Z), rtol=1e-7)
    assert_allclose(blups.pev[:, 0, 0], np.diag(D - D * T @ Z + T @ X @ Phi @ X.T @ T.T), rtol=1e-7)
    assert_allclose(fit.fitted(), X @ beta + fit.design.offset + b[group], rtol=1e-9)
    assert_allclose(fit.fitted(of="population"), X @ beta + fit.design.offset)
    frame = fit.random_effects()
    assert list(frame.columns) == ["group", "term", "estimate", "se_known", "se_pev", "se_corrected", "lower", "upper"]


def test_residuals_by_full_matrices(fit):
    V, R = matrices(fit)
    X, y = fit.design.X, fit.design.y - fit.design.offset
    beta, Phi = dense.gls(V, X, y)
    r, P = y - X @ beta, dense.projection(V, X)
    e = R @ np.linalg.solve(V, r)
    assert_allclose(fit.residuals(of="population"), r, rtol=1e-8, atol=1e-9)
    assert_allclose(fit.residuals(), e, rtol=1e-7, atol=1e-9)
    assert_allclose(fit.residuals(kind="scaled"), e / np.sqrt(np.diag(R)), rtol=1e-7, atol=1e-9)
    assert_allclose(fit.residuals(kind="standardised"), e / np.sqrt(np.diag(R @ P @ R)), rtol=1e-6, atol=1e-9)
    of_population = r / np.sqrt(np.diag(V - X @ Phi @ X.T))
    assert_allclose(fit.residuals(of="population", kind="standardised"), of_population, rtol=1e-7, atol=1e-9)
    white = fit.residuals(of="population", kind="scaled")
    assert_allclose(white @ white, r @ np.linalg.solve(V, r), rtol=1e-9)


@pytest.mark.parametrize("of", ["group", "population"])
@pytest.mark.parametrize("kind", ["response", "scaled", "standardised"])
def test_residuals_of_the_plain_model(of, kind, trial):
    plain, fit = lmmlib.fit(F, trial), lmmlib.fit(F, trial, residual=independent())
    if (of, kind) == ("population", "scaled"):  # they depend on the order of a group's rows
        return
    assert_allclose(fit.residuals(of=of, kind=kind), plain.residuals(of=of, kind=kind), rtol=1e-6, atol=1e-7)


def test_simulated_responses_have_the_model_s_moments(fit):
    Y, (V, _) = fit.simulate(4000, rng=1), matrices(fit)
    assert Y.shape == (fit.n_obs, 4000) and fit.simulate(rng=1).shape == (fit.n_obs,)
    mean = fit.fitted(of="population")
    se = np.sqrt(np.diag(V) / 4000)
    assert np.abs(Y.mean(axis=1) - mean).max() < 5 * se.max()
    error = np.sqrt((np.outer(np.diag(V), np.diag(V)) + V**2) / 4000)
    assert (np.abs(np.cov(Y) - V) < 5.5 * error).all()


def test_no_random_effects(trial):
    fit = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=by("week"))
    assert len(fit.random_effects()) == 0
    assert_allclose(fit.residuals(), fit.residuals(of="population"))


def test_wrong_words(fit):
    with pytest.raises(ParameterError, match="of is 'group' or 'population'"):
        fit.fitted(of="typical")
    with pytest.raises(ParameterError, match="kind is 'response' or 'scaled'"):
        fit.residuals(kind="pearson")
