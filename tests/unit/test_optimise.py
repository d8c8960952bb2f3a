"""Newton's method: where it starts, that it goes down, and what it says when it stops."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import optimise
from lmmlib.deviance import deviance, theta_coordinates
from lmmlib.responses import Responses


def cross_of(formula, data):
    return lmmlib.cross_products(lmmlib.build_design(formula, data))


@pytest.fixture
def unbalanced():
    sleep = lmmlib.load("sleep")
    return cross_of("Reaction ~ Days + (Days | Subject)", sleep[sleep.index % 7 != 2])


def test_the_start_is_reml_in_a_balanced_design():
    cross = cross_of("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"))
    d = deviance(cross, optimise.start(cross, Responses.of_cross(cross))[0], theta_coordinates(cross), "REML")
    assert np.abs(d.gradient).max() < 1e-8


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_every_step_goes_down_and_the_last_gradient_is_zero(unbalanced, method):
    optimum = optimise.minimise(unbalanced, method)
    values = [step.deviance for step in optimum.log]
    # The last step is below the rounding of the deviance, 1e3 times 1e-16.
    assert len(values) > 2 and np.diff(values).max() < 1e-11
    assert optimum.converged[0] and optimum.log[-1].gradient_norm < 1e-5 < optimum.log[0].gradient_norm


def test_a_far_start_reaches_the_same_optimum(unbalanced, monkeypatch):
    best = optimise.minimise(unbalanced, "REML").best.value
    for far in ([30.0, 0.0, 30.0], [0.01, 0.0, 0.01], [-2.0, 5.0, -3.0]):
        monkeypatch.setattr(optimise, "start", lambda cross, data, far=far: np.array([far]))
        assert_allclose(optimise.minimise(unbalanced, "REML").best.value, best, rtol=1e-13)


def test_too_few_steps_are_said(unbalanced, monkeypatch):
    monkeypatch.setattr(optimise, "MAX_STEPS", 1)
    optimum = optimise.minimise(unbalanced, "ML")
    assert not optimum.converged[0] and "not enough" in optimum.reason[0] and len(optimum.log) == 1
