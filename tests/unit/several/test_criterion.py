"""The criterion is that of V as printed, and its derivatives are those of differences."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from lmmlib.several import criterion as module
from lmmlib.several import sparse as sparse_module
from lmmlib.several import sums as sums_module
from lmmlib.several.criterion import State, criterion, factors, point
from lmmlib.several.sums import several_sums
from lmmlib.several.terms import build
from tests.several import FORMULAS, Dense, design_of, frame, state_at

WAYS = [(formula, method) for formula in FORMULAS for method in ("REML", "ML")]
STEP = 1e-5


@pytest.mark.parametrize(("formula", "method"), WAYS)
@pytest.mark.parametrize("known", [{}, {"weights": "w", "offset": "o"}])
def test_value_beta_and_residual_are_those_of_the_full_matrix(formula, method, known):
    design = design_of(formula, 1, **known)
    state, D, theta = state_at(design, method, 2)
    sigma2 = state.r2 / state.m
    dense = Dense(design, {t: sigma2 * one for t, one in D.items()}, sigma2)
    assert_allclose(criterion(state.sums, method, theta[None]).value[0], dense.criterion(method), rtol=1e-9)
    basis = state.sums.cross.basis
    assert_allclose(state.sums.beta0 + basis.x_back @ state.beta, dense.beta, rtol=1e-9)
    assert_allclose(sigma2 * basis.cov_beta_back(state.R_inverse @ state.R_inverse.T), dense.Phi, rtol=1e-9)
    assert_allclose(state.r2, sigma2 * (dense.y @ dense.P @ dense.y), rtol=1e-9)


def differences(function, theta, step=STEP):
    return np.array([(function(theta + e) - function(theta - e)) / (2 * step) for e in step * np.eye(len(theta))])


@pytest.mark.parametrize(("formula", "method"), WAYS)
def test_gradient_and_hessian_are_differences(formula, method):
    state, _, theta = state_at(design_of(formula, 3), method, 4)

    def at(theta):
        return criterion(state.sums, method, theta[None])

    found = at(theta)
    gradient = differences(lambda t: at(t).value[0], theta)
    assert_allclose(found.gradient[0], gradient, atol=1e-6 * (1 + np.abs(gradient).max()))
    hessian = differences(lambda t: at(t).gradient[0], theta)
    assert_allclose(found.hessian[0], hessian, atol=1e-6 * np.abs(hessian).max())


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_with_sigma2_given(method):
    state, _, theta = state_at(design_of(FORMULAS[1], 5), method, 6)
    sums, full = state.sums, np.append(theta, 0.3)
    dL = [np.concatenate([d, np.zeros((1, *d.shape[1:]))]) for d in sums.dL]

    def at(full):
        here = State(sums, [np.tensordot(full, d, 1) for d in dL], method == "REML")
        return point(full[None], here, dL, lambda s: s.at_sigma2(float(np.exp(full[-1]))))

    found = at(full)
    profiled = criterion(sums, method, theta[None]).value[0]
    at_best = at(np.append(theta, np.log(state.r2 / state.m))).value[0]
    assert_allclose(at_best, profiled, rtol=1e-13)
    gradient = differences(lambda t: at(t).value[0], full)
    assert_allclose(found.gradient[0], gradient, atol=1e-6 * (1 + np.abs(gradient).max()))
    hessian = differences(lambda t: at(t).gradient[0], full)
    assert_allclose(found.hessian[0], hessian, atol=1e-6 * np.abs(hessian).max())


def small_at(state, method, theta):
    """The gradient with the products of a small model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGE", 10**6)
        return criterion(state.sums, method, theta[None]).gradient


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_a_large_model_has_the_same_gradient_and_a_hessian_that_is_right_on_average(method, monkeypatch):
    design = design_of(FORMULAS[1], 7)
    state, D, theta = state_at(design, method, 8)
    small = criterion(state.sums, method, theta[None])
    monkeypatch.setattr(module, "LARGE", 0)
    large = criterion(state.sums, method, theta[None])
    assert_allclose(large.gradient, small.gradient, rtol=1e-9)
    flat = np.where(np.arange(len(theta)) == len(theta) - 1, 0.0, theta)  # of the grouping that remains
    assert_allclose(criterion(state.sums, method, flat[None]).gradient, small_at(state, method, flat), rtol=1e-9)
    assert large.value == small.value and not np.allclose(large.hessian, small.hessian)
    # Of responses from the model itself the vectors have the traces as their mean.
    dense, rng, sums = Dense(design, D, 1.0), np.random.default_rng(1), state.sums
    half, bends = np.linalg.cholesky(dense.V), []
    for _ in range(400):
        y = half @ rng.normal(size=len(dense.y))
        bends.append(State(sums.response(y), state.L, True).r2_bend / 2)
    bends = np.array(bends)
    gap = bends.mean(axis=0) - State(sums, state.L, True).traces
    assert (np.abs(gap) < 4.5 * bends.std(axis=0) / 20).all()


def relatives(seed):
    """Animals of a pedigree, some without a record, in pens."""
    rng, names = np.random.default_rng(seed), [f"a{i}" for i in range(25)]
    parents = pd.DataFrame(
        {"sire": [None if i < 6 else names[i % 3] for i in range(25)], "dam": [None] * 25}, names, dtype=object
    )
    data = frame(seed).assign(animal=lambda d: [names[i] for i in rng.integers(3, 25, len(d))])
    return build("y ~ x + (x | animal) + (1 | h)", data, relationship={"animal": parents})


def both_ways(design, monkeypatch):
    """The sums with a full and with a sparse part that remains."""
    full = several_sums(design)
    monkeypatch.setattr(sums_module, "MANY", 0)
    monkeypatch.setattr(sparse_module, "FULL", 2)
    monkeypatch.setattr(sparse_module, "FEW", 1.0)
    found = several_sums(design)
    assert full.plan is None and found.plan is not None and found.plan.full <= 3
    return full, found


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("formula", [f for f in FORMULAS if "h" in f] + ["relatives"])
@pytest.mark.parametrize("singular", [False, True])
def test_a_sparse_part_is_the_full_one(formula, method, singular, monkeypatch):
    design = relatives(5) if formula == "relatives" else design_of(formula, 5, weights="w")
    full, found = both_ways(design, monkeypatch)
    theta = np.random.default_rng(6).normal(size=full.theta_places[-1].stop)
    theta[full.theta_places[-1]] *= not singular
    one, other = (State(sums, factors(sums, theta), method == "REML") for sums in (full, found))
    for name in ("h", "r2", "beta", "R_inverse", "N", "h_slope", "r2_slope", "r2_bend"):
        expected = np.asarray(getattr(one, name))
        assert_allclose(getattr(other, name), expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max(), err_msg=name)
    gradient = criterion(full, method, theta[None]).gradient
    assert_allclose(criterion(found, method, theta[None]).gradient, gradient, rtol=1e-8, atol=1e-8)
    assert_allclose(other.traces, one.traces, rtol=1e-4, atol=1e-5 * np.abs(one.traces).max())
    exact = criterion(found, method, theta[None], exact=True).hessian
    hessian = criterion(full, method, theta[None]).hessian
    assert_allclose(exact, hessian, atol=1e-4 * np.abs(hessian).max())
    v = sparse.csr_array(np.random.default_rng(7).normal(size=(9, len(full.Cy))) * (np.arange(9)[:, None] % 3 > 0))
    for known in (False, True):
        assert_allclose(other.forms(v, known), one.forms(v, known), rtol=1e-8)
    vectors = np.random.default_rng(8).normal(size=(len(full.y), 2))
    sums = full.first.columns.T @ vectors, full.W.T @ vectors
    for a, b in zip(other.project(*sums), one.project(*sums), strict=True):
        assert_allclose(a, b, rtol=1e-8, atol=1e-8 * np.abs(b).max())


def test_the_gradient_vanishes_where_l_does():
    """A variance of zero is an ordinary point: L and -L give one D."""
    state, _, theta = state_at(design_of(FORMULAS[0], 9), "REML", 1)
    found = criterion(state.sums, "REML", 0 * theta[None])
    assert np.isfinite(found.value[0]) and (found.gradient == 0).all()
    mirrored = criterion(state.sums, "REML", -theta[None])
    assert_allclose(mirrored.value, criterion(state.sums, "REML", theta[None]).value, rtol=1e-14)


def test_no_residual_is_no_number():
    state, _, theta = state_at(design_of(FORMULAS[0], 9), "REML", 1)
    zero = state.sums.response(0 * state.sums.y)
    found = criterion(zero, "REML", theta[None])
    assert np.isnan(found.value[0])
