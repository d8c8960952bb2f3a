"""Fitted values and residuals against the dense formulas, and against the quantiles that a document prints."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense
from lmmlib.book import ledger
from lmmlib.errors import ParameterError

FORMULAS = [
    "lead ~ week + (1 | child)",
    "lead ~ week + (week | child)",
    "lead ~ week * drug + (week || child)",
    "lead ~ week + (0 | child)",
    "lead ~ 0 + (week | child)",
]


@pytest.fixture(params=FORMULAS)
def fitted(request, frame):
    """Seven children, one to five rows each, rows in a mixed order."""
    return lmmlib.fit(request.param, frame)


def by_dense(fitted):
    """V, and the conditional mean X beta + Z D Z' V^-1 (y - X beta), from N by N matrices."""
    d, D = fitted.design, fitted.D.to_numpy()
    V = dense.V(d, D, fitted.sigma2)
    mean = d.X @ fitted.beta.to_numpy()
    return V, mean, mean + (V - fitted.sigma2 * np.eye(d.n_obs)) @ np.linalg.solve(V, d.y - mean)


def test_fitted_values(fitted):
    _, mean, conditional = by_dense(fitted)
    assert_allclose(fitted.fitted(of="population"), mean, rtol=1e-12, atol=1e-12)
    assert_allclose(fitted.fitted(), conditional, rtol=1e-9)
    assert_allclose(fitted.fitted(of="group"), fitted.fitted(), rtol=0)


def test_residuals_are_the_response_less_fitted(fitted):
    _, mean, conditional = by_dense(fitted)
    y = fitted.design.y
    assert_allclose(fitted.residuals(), y - conditional, atol=1e-9)
    assert_allclose(fitted.residuals(of="population"), y - mean, atol=1e-10)
    assert_allclose(fitted.residuals(kind="scaled"), (y - conditional) / np.sqrt(fitted.sigma2), atol=1e-9)


def test_whitened_residuals(fitted):
    """Block by block C_i^-1 r_i with the lower Cholesky factor, rows in the order of the data."""
    V, mean, _ = by_dense(fitted)
    white, raw = fitted.residuals(of="population", kind="scaled"), fitted.design.y - mean
    for i in range(fitted.n_groups):
        rows = fitted.design.rows(i)
        C = np.linalg.cholesky(V[np.ix_(rows, rows)])
        assert_allclose(white[rows], np.linalg.solve(C, raw[rows]), atol=1e-10)
    assert_allclose(white @ white, raw @ np.linalg.solve(V, raw), rtol=1e-10)
    # At the REML estimate this sum is N - p.
    assert_allclose(white @ white, fitted.n_obs - len(fitted.beta), rtol=1e-6)


def test_one_size_of_group_or_groups_without_rows(frame):
    fitted = lmmlib.fit("lead ~ week + (week | child)", frame)
    d = fitted.design.take(np.flatnonzero(fitted.design.group != 3))
    D, sigma2 = fitted.D.to_numpy(), fitted.sigma2
    ours = lmmlib.fit_design(d)
    white, raw = ours.residuals(of="population", kind="scaled"), ours.residuals(of="population")
    assert d.n_i[3] == 0 and np.isfinite(white).all()
    assert_allclose(white @ white, raw @ np.linalg.solve(dense.V(d, ours.D, ours.sigma2), raw), rtol=1e-9)
    assert np.abs(ours.D - D).max().max() + abs(ours.sigma2 - sigma2) > 1e-3


def test_rows_in_any_order(frame):
    formula = "lead ~ week + (week | child)"
    mixed = frame.sample(frac=1, random_state=8)
    one, other = lmmlib.fit(formula, frame), lmmlib.fit(formula, mixed)
    for how in ({}, {"of": "population"}, {"of": "group", "kind": "scaled"}):
        assert_allclose(other.residuals(**how), one.residuals(**how)[mixed.index], atol=1e-6)
    # The Cholesky factor goes along a group's rows in their order, so only the sum of squares stays.
    a, b = (f.residuals(of="population", kind="scaled") for f in (one, other))
    assert_allclose(b @ b, a @ a, rtol=1e-8)
    assert np.abs(b - a[mixed.index]).max() > 1e-3


def test_a_singular_D(frame):
    """No variance between children: each is at the population's mean."""
    flat = frame.assign(lead=frame["lead"] - frame.groupby("child")["lead"].transform("mean"))
    fitted = lmmlib.fit("lead ~ week + (1 | child)", flat)
    assert fitted.is_singular and fitted.D.iloc[0, 0] == 0
    assert_allclose(fitted.fitted(), fitted.fitted(of="population"), rtol=1e-12)
    assert_allclose(fitted.residuals(of="population", kind="scaled"), fitted.residuals(kind="scaled"), rtol=1e-9)
    line = lmmlib.fit("lead ~ week + (week | child)", flat)
    assert line.is_singular
    assert_allclose(line.fitted(), by_dense(line)[2], atol=1e-8)


@pytest.mark.parametrize(
    ("of", "kind"), [("conditional", "response"), ("group", "pearson"), (None, "scaled"), (0, None), ([], "scaled")]
)
def test_arguments_are_checked(of, kind, frame):
    fitted = lmmlib.fit(FORMULAS[0], frame)
    with pytest.raises(ParameterError, match="(of|kind) is '"):
        fitted.residuals(of=of, kind=kind)
    with pytest.raises(ParameterError, match="of is 'group' or 'population'; got 'marginal'"):
        fitted.fitted(of="marginal")


PRINTED = {
    "003-lead-week-1-id": "lead ~ week + (1 | id)",
    "003-lead-week-treatment-1-id": "lead ~ week + treatment + (1 | id)",
    "003-lead-week-week-id-placebo-only": "lead ~ week + (week | id)",
}


@pytest.mark.parametrize("model", PRINTED)
def test_quantiles_of_scaled_residuals_as_printed(model):
    tlc = lmmlib.load("tlc")
    if "placebo" in model:
        tlc = tlc[tlc["treatment"] == "placebo"]
    fitted = lmmlib.fit(PRINTED[model], tlc)
    quantiles = np.quantile(fitted.residuals(kind="scaled"), [0, 0.25, 0.5, 0.75, 1])
    names = ["minimum", "first-quartile", "median", "third-quartile", "maximum"]
    for name, ours in zip(names, quantiles, strict=True):
        assert ledger.compare(f"{model}-scaled-residual-{name}", ours).passed
        # Another scale, such as the whitened residuals', is seen.
        assert not ledger.compare(f"{model}-scaled-residual-{name}", 1.01 * ours).passed


def test_standardised_residuals(fitted):
    """Each over the root of its own variance, from N by N matrices: V - X Phi X' and sigma^4 P."""
    V, mean, conditional = by_dense(fitted)
    d, P = fitted.design, dense.projection(fitted.design, fitted.D.to_numpy(), fitted.sigma2)
    of = {"population": (d.y - mean, V @ P @ V), "group": (d.y - conditional, fitted.sigma2**2 * P)}
    for name, (raw, covariance) in of.items():
        found = fitted.residuals(of=name, kind="standardised")
        assert_allclose(found, raw / np.sqrt(np.diag(covariance)), rtol=1e-6, atol=1e-9)


def test_a_row_that_has_a_coefficient_of_its_own_has_no_residual(frame):
    only = frame.assign(one=(np.arange(len(frame)) == 2).astype(float))
    fit = lmmlib.fit("lead ~ week + one + (1 | child)", only)
    assert list(np.flatnonzero(np.isnan(fit.residuals(kind="standardised")))) == [2]
