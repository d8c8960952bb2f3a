import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DataError, ParameterError
from lmmlib.residual import ar1, by, compound, independent, unstructured
from tests.unit.residual import dense

F = "lead ~ week + arm + (1 | child)"


@pytest.mark.parametrize("interval", [None, "confidence", "prediction"])
@pytest.mark.parametrize("of", ["group", "population"])
def test_the_plain_model(of, interval, trial):
    known = {"weights": "w", "offset": "o"}
    plain, fit = lmmlib.fit(F, trial, **known), lmmlib.fit(F, trial, residual=independent(), **known)
    new = trial.head(6).assign(child=["c03", "new", "c07", "c00", "c03", "other"])
    ours, theirs = (one.predict(new, of=of, interval=interval) for one in (fit, plain))
    assert list(ours.columns) == list(theirs.columns)
    assert_allclose(ours.astype(float), theirs.astype(float), rtol=1e-6)


@pytest.mark.parametrize("interval", ["confidence", "prediction"])
@pytest.mark.parametrize("weights", [None, "w"])
def test_a_further_visit_by_full_matrices(interval, weights, trial):
    """The universal predictor: c'V^-1 r with c the covariance of the new row with all rows, and its error."""
    fit = lmmlib.fit(F, trial, residual=ar1("week"), weights=weights)
    seen = trial.groupby("child")["week"].agg(set)
    child = next(c for c in seen.index if 6.0 not in seen[c])
    new = pd.DataFrame({"week": [6.0, 9.0], "arm": "succimer", "child": child, "w": [0.7, 1.3]})
    p, D = fit.parameters(), fit.D.iloc[0, 0]
    times = np.array([0, 1, 4, 6, 9.0])
    R = dense.ar1(p["sigma"] ** 2, p["rho"], times)
    root = np.ones(fit.n_obs) if weights is None else np.sqrt(trial["w"].to_numpy())
    code, X, y = fit.model.visits.code, fit.design.X, fit.design.y
    V = dense.V(fit.design, fit.D.to_numpy(), lambda r: R[np.ix_(code[r], code[r])] / np.outer(root[r], root[r]))
    beta, Phi = dense.gls(V, X, y)
    mine = np.flatnonzero(fit.design.group == fit.design.group_names.index(child))
    table = fit.predict(new, interval=interval)
    for k, at in enumerate((3, 4)):
        x, w0 = np.array([1, new["week"][k], 1.0]), 1.0 if weights is None else np.sqrt(new["w"][k])
        beside = R[at, code[mine]] / root[mine] / w0
        c = np.zeros(fit.n_obs)
        c[mine] = D + beside
        s = np.linalg.solve(V, c)
        R_own = R[np.ix_(code[mine], code[mine])] / np.outer(root[mine], root[mine])
        new_part = R[at, at] / w0**2 - beside @ np.linalg.solve(R_own, beside)
        gap = x - X.T @ s
        variance = D + R[at, at] / w0**2 - c @ s + gap @ Phi @ gap - (interval == "confidence") * new_part
        assert_allclose(table["estimate"][k], x @ beta + s @ (y - X @ beta), rtol=1e-8)
        assert_allclose(table["se"][k], np.sqrt(variance), rtol=1e-7)


def test_the_residuals_of_a_group_say_something_of_its_next_visit(trial):
    """Compound symmetry predicts a further visit as the random intercept does."""
    plain = lmmlib.fit(F, trial)
    fit = lmmlib.fit("lead ~ week + arm + (0 | child)", trial, residual=compound("week"))
    new = pd.DataFrame({"week": 9.0, "arm": "placebo", "child": ["c00", "c02", "nobody"]})
    for interval in (None, "prediction"):
        ours, theirs = (one.predict(new, interval=interval) for one in (fit, plain))
        assert_allclose(ours["estimate"], theirs["estimate"], rtol=1e-6)
        if interval is None:  # what the residuals say of the mean is known, and the random intercept is not
            assert (ours["se"][:2] < theirs["se"][:2]).all()
            continue
        assert_allclose(ours["se"], theirs["se"], rtol=1e-6)


def test_a_visit_that_was_seen_is_its_mean(trial):
    fit = lmmlib.fit(F, trial, residual=ar1("week"))
    assert_allclose(fit.predict(trial)["estimate"], fit.fitted(), rtol=1e-9)
    population = fit.predict(trial, of="population", interval="prediction")
    assert_allclose(population["estimate"], fit.fitted(of="population"), rtol=1e-9)
    x = fit.design.X
    variance = fit.D.iloc[0, 0] + fit.R()[0, 0, 0] + np.einsum("nx,xy,ny->n", x, fit.cov_beta, x)
    assert_allclose(population["se"], np.sqrt(variance), rtol=1e-8)


def test_variances_of_the_arm_and_the_week(trial):
    fit = lmmlib.fit("lead ~ week + arm + (0 | child)", trial, residual=by("arm", "week"))
    new = trial.head(5).drop(columns="child")
    wide = fit.predict(new, of="population", interval="prediction")
    narrow = fit.predict(new, of="population", interval="confidence")
    labels = new["arm"] + ", " + new["week"].map("{:g}".format)
    sigma = fit.parameters()["sigma " + labels].to_numpy()
    assert_allclose(wide["se"] ** 2 - narrow["se"] ** 2, sigma**2, rtol=1e-8)
    assert fit.predict(new.drop(columns="week").assign(week=5.0), of="population")["se"].gt(0).all()
    with pytest.raises(DataError, match="arm, week = placebo, 5 is not in the data"):
        fit.predict(pd.DataFrame({"week": [5.0], "arm": "placebo"}), of="population", interval="prediction")


def test_what_cannot_be_predicted(trial):
    fit = lmmlib.fit("lead ~ week + arm + (0 | child)", trial, residual=unstructured("week"))
    new = pd.DataFrame({"week": [9.0], "arm": "placebo", "child": "c00"})
    with pytest.raises(DataError, match="week = 9 is not in the data of the fit"):
        fit.predict(new)
    assert len(fit.predict(new, of="population")) == 1
    with pytest.raises(ParameterError, match="interval is None or 'confidence'"):
        fit.predict(new, interval="both")
    with pytest.raises(DataError, match="were not in the data of the fit: 'nobody'"):
        fit.predict(new.assign(child="nobody"), new_groups="error")
