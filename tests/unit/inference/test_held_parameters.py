"""Models with a parameter held: they hold it, their derivatives are right, and nothing lower is left."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import lmmlib
from lmmlib import dense, equations
from lmmlib.inference.held_parameters import HeldCorrelation, HeldEffect, HeldRatio, HeldSd, HeldSigma

FORMULAS = {
    "full": "lead ~ week + (week | child)",
    "three": "lead ~ drug + (week + dose | child)",
    "diagonal": "lead ~ week + (week || child)",
    "intercept": "lead ~ 1 + (1 | child)",
}
CASES = [
    ("full", "ML", HeldSd, (0,), 0.7),
    ("full", "REML", HeldSd, (1,), 0.9),
    ("full", "REML", HeldSd, (1,), 1e-3),
    ("full", "REML", HeldSd, (0,), 0.0),
    ("full", "ML", HeldCorrelation, (0, 1), -0.6),
    ("full", "REML", HeldCorrelation, (0, 1), 0.8),
    ("full", "ML", HeldCorrelation, (0, 1), 1.0),
    ("full", "REML", HeldSigma, (), 1.4),
    ("three", "ML", HeldSd, (2,), 0.8),
    ("three", "ML", HeldSd, (1,), 0.0),
    ("three", "ML", HeldCorrelation, (0, 2), 0.3),
    ("three", "REML", HeldCorrelation, (2, 1), -0.4),
    ("diagonal", "REML", HeldSd, (1,), 0.9),
    ("diagonal", "ML", HeldSd, (0,), 0.0),
    ("diagonal", "ML", HeldSigma, (), 0.8),
    ("intercept", "REML", HeldSd, (0,), 0.5),
    ("intercept", "ML", HeldSd, (0,), 0.0),
]


@pytest.fixture
def frame():
    """Sixteen children of three to six visits, every random column well visible."""
    rng = np.random.default_rng(7)
    sizes = np.tile([3, 4, 5, 6], 4)
    child = np.repeat(np.arange(16), sizes)
    week = np.concatenate([np.arange(k) + 0.5 * (k % 2) for k in sizes])
    dose = rng.uniform(-2, 2, len(child))
    b = rng.standard_normal((16, 3)) @ [[4.0, 0.5, 0.2], [0.0, 0.9, 0.3], [0.0, 0.0, 1.0]]
    lead = 25 - week + (b[child] * np.column_stack([np.ones(len(child)), week, dose])).sum(axis=1)
    drug = np.where(child % 2, "succimer", "placebo")
    return pd.DataFrame(
        {"lead": lead + rng.standard_normal(len(child)), "week": week, "dose": dose, "drug": drug, "child": child}
    )


@pytest.fixture
def peak(frame):
    return lambda formula, method: lmmlib.fit(FORMULAS[formula], frame, method=method)


def D_of(peak, point):
    half = np.linalg.solve(peak.cross.basis.Rz, point.L)
    return point.sigma2 * half @ half.T


@pytest.mark.parametrize(("formula", "method", "kind", "at", "value"), CASES)
def test_the_optimum_holds_the_parameter_and_has_the_criterion(peak, formula, method, kind, at, value):
    peak = peak(formula, method)
    point = kind(peak, *at).at(value)
    D = D_of(peak, point)
    if kind is HeldSd:
        # The square root of a rounding error of D.
        assert_allclose(np.sqrt(D[at[0], at[0]]), value, rtol=1e-9, atol=1e-7 if value == 0 else 0)
    elif kind is HeldSigma:
        assert_allclose(point.sigma2, value**2, rtol=1e-14)
    else:
        assert_allclose(lmmlib.equations.moments.correlation(D)[at], value, atol=1e-10)
    if peak.cross.diagonal:
        assert_allclose(D, np.diag(np.diag(D)), atol=1e-14)
        D = np.diag(np.diag(D))
    loglik = equations.profile_loglik if method == "ML" else equations.restricted_loglik
    assert_allclose(point.criterion, -2 * loglik(peak.cross, D, point.sigma2), rtol=1e-11)
    assert point.criterion > peak.criterion


@pytest.mark.parametrize(("formula", "method", "kind", "at", "value"), CASES)
def test_derivatives(peak, formula, method, kind, at, value):
    model = kind(peak(formula, method), *at)
    B = model.coordinates(value)
    size2 = (B**2).sum(axis=(1, 2))
    products = np.einsum("kab,lab->kl", B, B)
    assert_allclose(products, np.diag(size2), atol=1e-12 * size2.max(initial=0))
    here, h = 0.6 + 0.3 * np.random.default_rng(1).standard_normal(len(B)), 1e-5
    d = model.deviance(here[None], B, value)
    ends = [
        (model.deviance((here + e)[None], B, value), model.deviance((here - e)[None], B, value))
        for e in h * np.eye(len(B))
    ]
    # Central differences: rounding of a value up to 1e6 / h, truncation h^2 times derivatives of that size.
    size = 1 + np.abs(d.value[0])
    assert_allclose(d.gradient[0], [(a.value[0] - b.value[0]) / (2 * h) for a, b in ends], rtol=1e-7, atol=1e-8 * size)
    differences = [(a.gradient[0] - b.gradient[0]) / (2 * h) for a, b in ends]
    assert_allclose(d.hessian[0], np.reshape(differences, (len(B),) * 2), rtol=1e-6, atol=1e-6 * size)


def dense_least(design, held, size, starts):
    """Least of -2 loglik over (beta, D, sigma2) as ``held`` makes them of a vector, by a search without derivatives."""

    def deviance(v):
        beta, D, sigma2 = held(v)
        return -2 * dense.loglik(design, beta, D, sigma2)

    found = []
    for start in starts:
        best = minimize(deviance, start, method="Nelder-Mead", options={"maxiter": 4000, "adaptive": True})
        found.append(minimize(deviance, best.x, method="BFGS").fun)
    return min(found)


def test_against_a_search_with_full_matrices(frame):
    """sd, correlation, sigma, fixed effect: the formulas as printed and an optimiser that knows nothing of ours."""
    design = lmmlib.build_design(FORMULAS["full"], frame)
    peak = lmmlib.fit_design(design, method="ML")
    beta = list(peak.beta)

    def D(s0, s1, rho):
        return np.array([[s0**2, rho * s0 * s1], [rho * s0 * s1, s1**2]])

    starts = [[*beta, 0.2, 0.1, 0.0], [*beta, 0.2, -0.5, 0.5], [*beta, 0.2, -0.5, -0.5]]
    e, t = np.exp, np.tanh
    cases = [
        (HeldSd(peak, 1), 0.9, lambda v: (v[:2], D(e(v[3]), 0.9, t(v[4])), e(v[2])), starts),
        (HeldCorrelation(peak, 0, 1), -0.6, lambda v: (v[:2], D(e(v[3]), e(v[4]), -0.6), e(v[2])), starts),
        (HeldSigma(peak), 1.4, lambda v: (v[:2], D(e(v[2]), e(v[3]), t(v[4])), 1.4**2), starts),
        (
            HeldEffect(peak, 1),
            -0.2,
            lambda v: ([v[0], -0.2], D(e(v[2]), e(v[3]), t(v[4])), e(v[1])),
            [[beta[0], *start[2:], 0.0] for start in starts],
        ),
    ]
    for model, value, held, begin in cases:
        assert_allclose(model.at(value).criterion, dense_least(design, held, 5, begin), rtol=0, atol=1e-6)


def test_a_fixed_effect_held_is_an_offset(frame):
    design = lmmlib.build_design(FORMULAS["full"], frame)
    point = HeldEffect(lmmlib.fit_design(design, method="ML"), 1).at(-0.3)
    moved = lmmlib.Design.from_arrays(
        design.y + 0.3 * design.X[:, 1], design.X[:, :1], design.Z, design.group, z_names=design.z_names
    )
    assert_allclose(point.criterion, lmmlib.fit_design(moved, method="ML").criterion, rtol=0, atol=1e-9)


def test_sd_zero_is_the_model_without_the_column(frame):
    full, less = (lmmlib.build_design(f"lead ~ week + {term}", frame) for term in ("(week | child)", "(1 | child)"))
    held = HeldSd(lmmlib.fit_design(full, method="REML"), 1).at(0.0)
    assert_allclose(held.criterion, lmmlib.fit_design(less).criterion, rtol=0, atol=1e-9)
    # And the limit of models with a little of it.
    near = HeldSd(lmmlib.fit_design(full, method="REML"), 1).at(1e-7)
    assert_allclose(near.criterion, held.criterion, rtol=0, atol=1e-5)


def test_the_ratio_is_the_deviance_at_a_theta(frame):
    design = lmmlib.build_design(FORMULAS["intercept"], frame)
    peak = lmmlib.fit_design(design, method="REML")
    point = HeldRatio(peak).at(0.8)
    tau2 = 0.64 * point.sigma2
    assert_allclose(point.criterion, -2 * equations.restricted_loglik(peak.cross, tau2, point.sigma2), rtol=1e-12)


def test_a_correlation_out_of_reach_is_met_by_a_model_without_one_sd():
    """Slopes and intercepts that rise together exactly: a strong negative correlation is worse than no slope at all."""
    rng = np.random.default_rng(4)
    group, x = np.repeat(np.arange(12), 5), np.tile(np.arange(5.0), 12)
    b = rng.standard_normal(12)
    y = 2 * b[group] + 0.6 * b[group] * x + rng.standard_normal(60)
    X = np.column_stack([np.ones(60), x])
    peak = lmmlib.fit_design(lmmlib.Design.from_arrays(y, X, X, group), method="ML")
    model = HeldCorrelation(peak, 0, 1)
    least = min(HeldSd(peak, a).at(0.0).criterion for a in (0, 1))
    assert_allclose(model.at(-0.95).criterion, least, rtol=0, atol=1e-9)
    assert model.at(0.95).criterion < least - 10
