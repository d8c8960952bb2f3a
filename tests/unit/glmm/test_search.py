"""The search: where it starts, that it ends at a maximum from anywhere, singular optima."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.glmm import search
from lmmlib.glmm.objective import Objective
from lmmlib.glmm.rows import Rows
from lmmlib.glmm.search import glm, is_singular, maximise, start
from lmmlib.laplace.point import Ascent
from tests.unit.glmm.designs import design, offsets


def groups(n, n_i, mean, sd, seed=1, slope=0.0):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n), n_i)
    X = np.column_stack([np.ones(len(g)), rng.normal(size=len(g))])
    b = sd * rng.normal(size=n)
    y = rng.poisson(np.exp(mean + b[g] + (0.3 + slope * b[g]) * X[:, 1]))
    return y, X, g


def test_glm_is_that_of_statsmodels():
    d = design(p=3)
    o = offsets(d)
    c = Rows.of(replace(d, offset=o))
    theirs = sm.GLM(d.y, d.X, family=sm.families.Poisson(), offset=o).fit(tol=1e-12)
    # A start: Newton's method ends there at a decrement of 1e-8.
    assert_allclose(np.linalg.solve(c.basis.Rx, glm(c)), theirs.params, atol=1e-4)


def test_the_start_is_near_where_groups_are_large():
    y, X, g = groups(300, 20, 2.0, 0.8)
    c = Rows.of(lmmlib.Design.from_arrays(y, X, X[:, :1], g))
    begin = start(c)
    peak = maximise(c)
    assert_allclose(np.abs(begin[-1]), np.abs(peak.psi[-1]), rtol=0.2)
    assert_allclose(begin[:2], peak.psi[:2], atol=0.2)


def test_every_step_goes_up_and_the_last_gradient_is_zero():
    peak = maximise(Rows.of(design(q=2, n=20)))
    values = [step.deviance for step in peak.log]
    assert len(values) > 2 and np.diff(values).max() < 1e-10
    assert peak.converged and peak.log[-1].gradient_norm < 1e-7 < peak.log[0].gradient_norm
    assert_allclose(peak.loglik, -values[-1] / 2)


@pytest.mark.parametrize("method", ["laplace", "aghq"])
def test_other_starts_end_at_the_same_maximum(method):
    c = Rows.of(design(q=2, n=20))
    peak, rng = maximise(c, method, 7), np.random.default_rng(1)
    for _ in range(4):
        psi = peak.psi + rng.normal(size=5)
        other = Objective(c, method, 7).newton(psi)
        assert_allclose(-other.best.value[0] / 2, peak.loglik, rtol=1e-11)


def test_no_variance_between_groups_is_a_maximum_at_zero():
    y, X, g = groups(20, 6, 1.0, 0.0)
    c = Rows.of(lmmlib.Design.from_arrays(np.round(np.exp(1 + 0.3 * X[:, 1])), X, X[:, :1], g))
    peak = maximise(c)
    assert peak.converged and abs(peak.psi[-1]) < 1e-6
    # The curvature in theta is that of two equal branches, theta and -theta: beta and theta do not mix.
    assert np.abs(peak.hessian[-1, :-1]).max() < 1e-6 and np.linalg.eigvalsh(peak.hessian).max() < 0


def test_a_covariance_of_rank_one():
    y, X, g = groups(30, 5, 1.5, 0.8, slope=0.8)
    c = Rows.of(lmmlib.Design.from_arrays(y, X, X, g))
    objective, peak = Objective(c, "laplace", 1), maximise(c)
    assert peak.converged and is_singular(c.split(peak.psi)[1])
    values, vectors = np.linalg.eigh(c.split(peak.psi)[1] @ c.split(peak.psi)[1].T)
    assert values[0] < 1e-8 * values[1]
    # No D near it is better.
    for step in np.random.default_rng(2).normal(size=(20, 5)):
        assert objective.derivatives(peak.psi + 1e-2 * step)[0] < peak.loglik


def test_a_singular_optimum_is_tried_again(monkeypatch):
    """Five groups, for which the first search ends at a singular optimum 2.3 below the maximum."""
    c = Rows.of(design(240, q=2, n=5, level=1.5))
    high = maximise(c)
    monkeypatch.setattr(search, "_second", lambda objective, first: first)
    low = maximise(c)
    assert low.converged and high.converged and high.loglik > low.loglik + 1


def test_the_hessian_by_differences_is_exact_where_the_exact_one_is_known():
    c = Rows.of(design(q=2, n=20))
    psi = maximise(c).psi
    by_differences, exact = (Objective(c, m, 1).derivatives(psi)[2] for m in ("aghq", "laplace"))
    assert_allclose(by_differences, exact, rtol=0, atol=1e-6 * np.abs(exact).max())


def test_a_step_too_long_has_no_value():
    c = Rows.of(design())
    ascent = Ascent(Objective(c, "laplace", 1).derivatives, np.eye(3), np.zeros(3), np.linalg.LinAlgError)
    point = ascent(np.full((1, 3), 1e4), np.arange(1))
    assert point.value[0] == np.inf and np.isfinite(point.gradient).all()
