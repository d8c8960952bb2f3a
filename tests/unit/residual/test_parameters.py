import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import ParameterError
from lmmlib.residual import ar1, by, unstructured
from lmmlib.residual.parameters import Form, forms
from tests.unit.residual import dense


def test_names_and_values(trial):
    fit = lmmlib.fit("lead ~ week + (week | child)", trial, residual=by("arm"))
    p = fit.parameters()
    assert list(p.index) == [
        "(Intercept)",
        "week",
        "sd (Intercept)",
        "sd week",
        "corr (Intercept), week",
        "sigma placebo",
        "sigma succimer",
    ]
    assert_allclose(p["sd week"], np.sqrt(fit.D.loc["week", "week"]))
    D = fit.D.to_numpy()
    assert_allclose(p["corr (Intercept), week"], D[0, 1] / np.sqrt(D[0, 0] * D[1, 1]), rtol=1e-9)
    assert_allclose(p[["sigma placebo", "sigma succimer"]] ** 2, np.diag(fit.R()[0]))
    free = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=unstructured("week", by="arm"))
    R = free.R()[1]
    assert_allclose(free.parameters()["rho succimer: 1, 6"], R[1, 3] / np.sqrt(R[1, 1] * R[3, 3]))
    assert len(free.parameters()) == free.n_parameters


def test_covariance_is_that_of_the_likelihood_in_the_parameters(trial):
    """Half the Hessian of the criterion by (sigma, rho) themselves, from full matrices, inverted."""
    fit = lmmlib.fit("lead ~ week + (0 | child)", trial, residual=ar1("week"))
    X, y = fit.design.X, fit.design.y

    def criterion(p):
        R = dense.ar1(p[0] ** 2, p[1])
        return dense.criterion(
            dense.V(fit.design, np.zeros((0, 0)), lambda r: R[np.ix_(*2 * (fit.model.visits.code[r],))]), X, y, "REML"
        )

    at = fit.parameters()[["sigma", "rho"]].to_numpy()
    H = dense.differences(lambda p: dense.differences(criterion, p, 2e-4), at, 2e-4)
    cov = fit.cov_parameters()
    assert_allclose(cov.loc[["sigma", "rho"], ["sigma", "rho"]], np.linalg.inv(H / 2), rtol=1e-4)
    assert_allclose(cov.iloc[:2, :2], fit.cov_beta)
    assert (cov.iloc[:2, 2:] == 0).all(axis=None) or cov.iloc[:2, 2:].isna().all(axis=None)


def test_forms_and_their_derivatives():
    rng = np.random.default_rng(1)
    top, of, alpha = rng.normal(size=3), rng.uniform(size=(2, 3)), rng.uniform(1, 2, 3)
    for form in (Form("corr", top, of), Form("sd", top, np.zeros((0, 3)))):
        _, slope, bend = form.at(alpha)
        assert_allclose(dense.differences(lambda a, at=form.at: at(a)[0], alpha), slope, atol=1e-8)
        assert_allclose(dense.differences(lambda a, at=form.at: at(a)[1], alpha), bend, atol=1e-8)
    assert_allclose(Form("corr", top, of).at(alpha)[0], top @ alpha / np.sqrt((of[0] @ alpha) * (of[1] @ alpha)))


def test_two_parameters_of_one_name(trial):
    data = trial.assign(**{"sigma 0": np.arange(len(trial)) % 7})
    fit = lmmlib.fit("lead ~ week + `sigma 0` + (0 | child)", data, residual=by("week"))
    with pytest.raises(ParameterError, match="two parameters have one name"):
        forms(fit)
