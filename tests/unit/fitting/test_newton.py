"""Newton's method: that it goes down, and what it says when it stops."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.design.responses import Responses
from lmmlib.fitting import newton, search
from lmmlib.fitting.deviance import deviance


def cross_of(formula, data):
    return lmmlib.cross_products(lmmlib.build_design(formula, data))


@pytest.fixture
def unbalanced():
    sleep = lmmlib.load("sleep")
    return cross_of("Reaction ~ Days + (Days | Subject)", sleep[sleep.index % 7 != 2])


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_every_step_goes_down_and_the_last_gradient_is_zero(unbalanced, method):
    optimum = search.minimise(unbalanced, method)
    values = [step.deviance for step in optimum.log]
    # The last step is below the rounding of the deviance, 1e3 times 1e-16.
    assert len(values) > 2 and np.diff(values).max() < 1e-11
    assert optimum.converged[0] and optimum.log[-1].gradient_norm < 1e-5 < optimum.log[0].gradient_norm


def test_too_few_steps_are_said(unbalanced, monkeypatch):
    monkeypatch.setattr(newton, "MAX_STEPS", 1)
    optimum = search.minimise(unbalanced, "ML")
    assert not optimum.converged[0] and "not enough" in optimum.reason[0] and len(optimum.log) == 1


def one_way(ratio, sizes=(5,) * 20, seed=2):
    """Groups whose standard deviation is so many times that of the residuals."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    y = ratio * rng.normal(size=len(sizes))[group] + rng.normal(size=len(group))
    return lmmlib.Design.from_arrays(y, np.ones((len(y), 1)), np.ones((len(y), 1)), group)


@pytest.mark.parametrize("ratio", [1.0, 30.0, 300.0, 3000.0])
@pytest.mark.parametrize("sizes", [(5,) * 20, (2, 9, 4, 1, 6) * 4])
def test_a_large_theta_takes_few_steps(ratio, sizes):
    """The step may double theta; with a fixed bound a ratio of 300 took more than 100 steps."""
    cross = lmmlib.cross_products(one_way(ratio, sizes))
    for method in ("ML", "REML"):
        optimum = search.minimise(cross, method)
        assert optimum.converged[0] and len(optimum.log) < 25
        assert_allclose(optimum.best.theta[0, 0] / ratio, 1, atol=0.5)


def test_rounding_of_the_deviance_does_not_stop_the_descent():
    """With variances of ratio 1e8 the deviance has 8 digits left; the decrement goes on to fall."""
    optimum = search.minimise(lmmlib.cross_products(one_way(1e4)), "REML")
    here = newton._Here.of(optimum.best, np.arange(1))
    assert optimum.converged[0] and here.minimum[0] and here.decrement[0] < 1e-9
    # Balanced: the REML estimates are those of analysis of variance, D / sigma2 = (F - 1) / 5.
    y = one_way(1e4).y.reshape(20, 5)
    F = 5 * y.mean(axis=1).var(ddof=1) / y.var(axis=1, ddof=1).mean()
    assert_allclose(optimum.best.theta[0, 0] ** 2, (F - 1) / 5, rtol=1e-5)


def test_a_response_without_bounds_does_not_disturb_the_others():
    design = one_way(1.0)
    cross = lmmlib.cross_products(design)
    Y = np.column_stack([design.y, np.arange(20.0)[design.group], np.zeros(100)])
    optimum = search.minimise(cross, "REML", Responses.of_columns(cross, design, Y))
    assert optimum.converged.tolist() == [True, False, False]
    assert optimum.reason[2] == newton.NO_DEVIANCE and optimum.reason[0] == newton.CONVERGED
    alone = search.minimise(cross, "REML")
    assert_allclose(optimum.best.value[0], alone.best.value[0], rtol=1e-13)
    assert len(optimum.log) == len(alone.log)


@pytest.mark.parametrize("far", [1e-4, 0.0])
def test_a_saddle_is_left(far):
    """At L = 0, or where one column of L is zero, the gradient by it is zero too, but that need not be a minimum."""
    cross = cross_of("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"))
    B, best = cross.theta_coordinates, search.minimise(cross, "REML").best.value
    for start in ([far, far, far], [1.3, 0.5, far]):
        optimum = newton.newton(lambda theta, rows: deviance(cross, theta, B, "REML"), np.array([start]))
        assert optimum.converged[0] and optimum.reason == (newton.CONVERGED,)
        assert_allclose(optimum.best.value, best, rtol=1e-12)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_a_bent_valley(method, monkeypatch):
    """Responses without differences between groups, whose D is nearly the second column's alone."""
    design = lmmlib.build_design("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"))
    cross = lmmlib.cross_products(design)
    Y = np.random.default_rng(1).normal(size=(180, 2000))[:, :800]
    data = Responses.of_columns(cross, design, Y)
    optimum = search.minimise(cross, method, data)
    assert optimum.converged.all() and set(optimum.reason) == {newton.CONVERGED}
    assert np.linalg.norm(optimum.best.gradient, axis=1).max() < 1e-6
    monkeypatch.setattr(search, "_in_order", lambda cross, method, data, optimum, rows, order: optimum)
    lost = search.minimise(cross, method, data)
    rows = np.flatnonzero(np.array(lost.reason) != newton.CONVERGED)
    assert len(rows) and (lost.best.value[rows] > optimum.best.value[rows]).all()
    # The search of the first response is logged to its end.
    monkeypatch.undo()
    one = search.minimise(cross, method, data.take(rows[:1]))
    assert one.log[-1].deviance == pytest.approx(one.best.value[0], rel=1e-13)
    assert_allclose(np.abs(one.log[-1].working), np.abs(one.best.theta[0]), atol=1e-9)
    assert_allclose(
        deviance(cross, one.log[-1].working[None], cross.theta_coordinates, method, data.take(rows[:1])).value,
        one.best.value,
    )
