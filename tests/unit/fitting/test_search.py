"""The search for the optimum: where it starts, and that the start does not matter."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.design.responses import Responses
from lmmlib.fitting import search
from lmmlib.fitting.deviance import deviance


def cross_of(formula, data):
    return lmmlib.cross_products(lmmlib.build_design(formula, data))


@pytest.fixture
def unbalanced():
    sleep = lmmlib.load("sleep")
    return cross_of("Reaction ~ Days + (Days | Subject)", sleep[sleep.index % 7 != 2])


def test_the_start_is_reml_in_a_balanced_design():
    cross = cross_of("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"))
    d = deviance(cross, search.start(cross, Responses.of_cross(cross))[0], cross.theta_coordinates, "REML")
    assert np.abs(d.gradient).max() < 1e-8


def test_a_far_start_reaches_the_same_optimum(unbalanced, monkeypatch):
    best = search.minimise(unbalanced, "REML").best.value
    for far in ([30.0, 0.0, 30.0], [0.01, 0.0, 0.01], [-2.0, 5.0, -3.0]):
        monkeypatch.setattr(search, "start", lambda cross, data, far=far: np.array([far]))
        assert_allclose(search.minimise(unbalanced, "REML").best.value, best, rtol=1e-13)


def test_the_start_of_every_response_is_its_own(unbalanced):
    design = lmmlib.build_design("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep")[lambda d: d.index % 7 != 2])
    rng = np.random.default_rng(3)
    Y = design.y[:, None] + 20 * rng.standard_normal((design.n_obs, 3))
    together = search.start(unbalanced, Responses.of_columns(unbalanced, design, Y))
    for k, y in enumerate(Y.T):
        alone = lmmlib.cross_products(design.with_response(y))
        assert_allclose(together[k], search.start(alone, Responses.of_cross(alone))[0], rtol=1e-8)


def test_a_start_is_never_singular():
    """At L = 0 the gradient by L vanishes, and the optimiser would stay there."""
    for formula in ("y ~ 1 + (1 | g)", "y ~ t + (t | g)", "y ~ t + (t || g)"):
        rng = np.random.default_rng(1)
        frame = pd.DataFrame({"g": np.repeat(range(10), 4), "t": np.tile(range(4), 10), "y": rng.normal(size=40)})
        frame["y"] -= frame.groupby("g")["y"].transform("mean")  # less variance between groups than by chance
        cross = cross_of(formula, frame)
        theta = search.start(cross, Responses.of_cross(cross))
        L = np.tensordot(theta, cross.theta_coordinates, 1)[0]
        assert np.linalg.svd(L)[1].min() >= 0.05


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_no_random_effects_is_no_step(method):
    cross = cross_of("Reaction ~ Days + (0 | Subject)", lmmlib.load("sleep"))
    optimum = search.minimise(cross, method)
    assert optimum.converged[0] and len(optimum.log) == 1 and optimum.best.theta.shape == (1, 0)


def test_pivots():
    """Each column that comes next adds the most variance to that of the columns before it."""
    assert search._pivots(np.diag([1.0, 3.0, 2.0])).tolist() == [1, 2, 0]
    # The third is the sum of the first two, so that it comes first and leaves the least of them for the end.
    L = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 2.0]])
    assert search._pivots(L @ L.T).tolist() == [2, 0, 1]
    assert search._pivots(np.zeros((2, 2))).tolist() == [0, 1]
