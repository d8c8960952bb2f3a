"""Fitted values, predictions and new responses: by hand, and against the full matrices."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag

import lmmlib
from lmmlib.errors import DataError, ParameterError
from lmmlib.several.predict import fitted_values, predict, residuals, simulate
from lmmlib.several.relationship import pedigree
from tests.several import Dense, frame

FORMULA = "y ~ x + (x | g) + (1 | h)"


@pytest.fixture(scope="module")
def fit():
    return lmmlib.fit(FORMULA, frame(11), weights="w", offset="o")


@pytest.fixture(scope="module")
def dense(fit):
    return Dense(fit.terms, fit.D, fit.sigma2)


def test_fitted_and_residuals(fit, dense):
    b, d = dense.effects()[0], fit.design
    mean = d.X @ dense.beta + d.offset
    assert_allclose(fitted_values(fit, of="population"), mean, rtol=1e-9)
    assert_allclose(fit.fitted(), mean + np.concatenate(dense.Z, axis=1) @ b, rtol=1e-8)
    assert_allclose(fit.residuals(), d.y - fit.fitted(), atol=1e-12)
    scaled = residuals(fit, kind="scaled")
    assert_allclose(scaled, fit.residuals() * np.sqrt(d.weights / fit.sigma2), rtol=1e-12)
    with pytest.raises(ParameterError, match="kind is 'response' or 'scaled' or 'standardised'; got 'pearson'"):
        fit.residuals(kind="pearson")
    with pytest.raises(ParameterError, match="of is"):
        fit.fitted(of="all")


def rows_of(fit, new):
    """Weights of all effects and beta of new rows."""
    names = [list(term.design.group_names) for term in fit.terms.terms]
    X = np.column_stack([np.ones(len(new)), new["x"]])
    parts = []
    for term, levels in zip(fit.terms.terms, names, strict=True):
        Z = X if len(term.design.z_names) == 2 else np.ones((len(new), 1))
        rows = np.zeros((len(new), len(levels) * Z.shape[1]))
        for row, (label, z) in enumerate(zip(new[term.grouping], Z, strict=True)):
            if label in levels:
                at = levels.index(label) * len(z)
                rows[row, at : at + len(z)] = z
        parts.append(rows)
    return X, np.concatenate(parts, axis=1)


NEW = pd.DataFrame(
    {"x": [1.0, 4.0, 7.0, 3.0], "g": [3, 99, 5, 98], "h": [2, 1, 77, 66], "w": 2.0, "o": [0.0, 1.0, 2.0, 3.0]}
)


def test_predictions_for_known_and_new_groups(fit, dense):
    X, A = rows_of(fit, NEW)
    Z, G = np.concatenate(dense.Z, axis=1), block_diag(*dense.G)
    b = dense.effects()[0]
    # The error of x'beta + z'b, b the effects of known groups: by the covariance of (beta, b).
    W = np.linalg.inv(dense.W_inverse) / fit.sigma2
    C = np.block([[dense.X.T @ W @ dense.X, dense.X.T @ W @ Z], [Z.T @ W @ dense.X, Z.T @ W @ Z + np.linalg.inv(G)]])
    rows = np.column_stack([X, A])
    error = np.einsum("rc,cd,rd->r", rows, np.linalg.inv(C), rows)
    D, tau2 = fit.D[0].to_numpy(), fit.D[1].iloc[0, 0]
    new_g = np.array([0, 1, 0, 1]) * np.einsum("ra,ab,rb->r", X, D, X)
    error += new_g + np.array([0, 0, 1, 1]) * tau2
    found = fit.predict(NEW, interval="confidence")
    assert_allclose(found["estimate"], X @ dense.beta + A @ b + NEW["o"], rtol=1e-7)
    assert_allclose(found["se"], np.sqrt(error), rtol=1e-6)
    assert_allclose(found["upper"] - found["estimate"], 1.959963984540054 * found["se"], rtol=1e-9)
    assert list(found["known_g"]) == [True, False, True, False] and list(found["known_h"]) == [True, True, False, False]
    observed = fit.predict(NEW, interval="prediction", level=0.9)
    assert_allclose(observed["se"] ** 2, found["se"] ** 2 + fit.sigma2 / 2, rtol=1e-9)
    plain = fit.predict(NEW)
    assert list(plain) == ["estimate", "se", "known_g", "known_h"] and (plain["se"] == found["se"]).all()


def test_predictions_of_the_population(fit, dense):
    X, _ = rows_of(fit, NEW)
    found = fit.predict(NEW[["x", "o"]], of="population", interval="confidence", offset=np.zeros(4))
    assert_allclose(found["estimate"], X @ dense.beta, rtol=1e-8)
    assert_allclose(found["se"], np.sqrt(np.einsum("ra,ab,rb->r", X, dense.Phi, X)), rtol=1e-6)
    observed = fit.predict(NEW[["x", "o"]], of="typical", interval="prediction", weights=np.ones(4))
    D, tau2 = fit.D[0].to_numpy(), fit.D[1].iloc[0, 0]
    more = np.einsum("ra,ab,rb->r", X, D, X) + tau2 + fit.sigma2
    assert_allclose(observed["se"] ** 2, found["se"] ** 2 + more, rtol=1e-8)


def test_rows_of_the_data_are_fitted_values():
    data = frame(11)
    for formula in (FORMULA, "y ~ x + (1 | h/k)", "y ~ x + (x || g) + (0 + z | g) + (1 | k)"):
        fit = lmmlib.fit(formula, data)
        assert_allclose(fit.predict(data)["estimate"], fit.fitted(), rtol=1e-9)


def test_relatives_without_a_record_are_known_groups():
    """Parents come before their offspring in a pedigree, whatever the order of the records is."""
    names = [f"a{i}" for i in range(30)]
    sires = [None if i < 4 else names[i % 4] for i in range(30)]
    parents = pd.DataFrame({"sire": sires, "dam": [None] * 30}, index=names, dtype=object)
    half = np.linalg.cholesky(pedigree(parents).A)
    data = pd.DataFrame({"animal": names[:3:-1] * 4, "x": np.arange(104) % 7})
    place = [pedigree(parents).names.index(name) for name in data["animal"]]
    rng = np.random.default_rng(7)
    data["y"] = 2 * (half @ rng.normal(size=30))[place] + rng.normal(size=104)
    fit = lmmlib.fit("y ~ x + (1 | animal)", data, relationship={"animal": parents})
    table = fit.random_effects()
    found = fit.predict(pd.DataFrame({"x": 1.0, "animal": table["group"]}))
    assert found["known_animal"].all() and fit.D[0].iloc[0, 0] > 1
    assert_allclose(found["estimate"], fit.beta.sum() + table["estimate"], rtol=1e-10)


def test_cells_of_new_rows():
    fit = lmmlib.fit("y ~ x + (1 | h/k)", frame(11))
    new = pd.DataFrame({"x": 1.0, "h": [0, 0, 99], "k": [1, 99, 1]})
    found = fit.predict(new)
    assert list(found["known_h"]) == [True, True, False] and list(found["known_h:k"]) == [True, False, False]


def test_what_cannot_be_predicted(fit):
    with pytest.raises(DataError, match="uses 'g', which is not a column"):
        fit.predict(NEW.drop(columns="g"))
    with pytest.raises(DataError, match="2 of the groups in 'g' were not in the data"):
        fit.predict(NEW, new_groups="error")
    with pytest.raises(ParameterError, match="method is 'plugin' or 'corrected'; got 'bootstrap'"):
        predict(fit, NEW, method="bootstrap")
    with pytest.raises(DataError, match="missing"):
        fit.predict(NEW.assign(g=[3, None, 5, 98]))
    with pytest.raises(DataError, match="missing values: x 4"):
        fit.predict(NEW.assign(x=np.nan))


def test_simulated_responses_have_the_moments_of_the_model(fit, dense):
    Y = simulate(fit, 4000, rng=1)
    assert Y.shape == (90, 4000) and fit.simulate(rng=1).shape == (90,)
    d = fit.design
    mean = d.X @ dense.beta + d.offset
    error = np.sqrt(np.diag(dense.V) / 4000)
    assert (np.abs(Y.mean(axis=1) - mean) < 5 * error).all()
    gap = np.cov(Y) - dense.V
    spread = np.sqrt((dense.V**2 + np.outer(np.diag(dense.V), np.diag(dense.V))) / 4000)
    assert (np.abs(gap) < 5.5 * spread).all()


def test_simulated_relatives_are_alike():
    names = [f"a{i}" for i in range(40)]
    sires = [None if i < 4 else names[i % 4] for i in range(40)]
    parents = pd.DataFrame({"sire": sires, "dam": [None] * 40}, index=names, dtype=object)
    data = frame(11, 120).assign(animal=np.tile(names, 3))
    fit = lmmlib.fit("y ~ x + (1 | animal) + (1 | g)", data, relationship={"animal": parents})
    D = {0: 4 * np.eye(1), 1: np.eye(1)}
    vars(fit)["D"].update({t: pd.DataFrame(one) for t, one in D.items()})
    dense = Dense(fit.terms, D, fit.sigma2)
    Y = simulate(fit, 4000, rng=2)
    spread = np.sqrt((dense.V**2 + np.outer(np.diag(dense.V), np.diag(dense.V))) / 4000)
    assert (np.abs(np.cov(Y) - dense.V) < 5.5 * spread).all()
