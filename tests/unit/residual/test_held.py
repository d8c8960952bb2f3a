import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

import lmmlib
from lmmlib.errors import DesignError
from lmmlib.residual import ar1, compound
from lmmlib.residual.held import HeldEffect, HeldForm
from tests.unit.residual import dense

F = "lead ~ week + (0 | child)"


@pytest.fixture(scope="module")
def fit(trial):
    return lmmlib.fit(F, trial, residual=ar1("week"))


def criterion(fit, sigma2, rho, method="REML", X=None, y=None):
    R, code = dense.ar1(sigma2, rho), fit.model.visits.code
    V = dense.V(fit.design, np.zeros((0, 0)), lambda r: R[np.ix_(code[r], code[r])])
    return dense.criterion(V, fit.design.X if X is None else X, fit.design.y if y is None else y, method)


@pytest.mark.parametrize("share", [0.5, 0.9, 1.3])
def test_a_correlation_drawn_aside_is_a_point_of_the_profile(fit, share):
    held = HeldForm(fit, "rho")
    point = held.at(share * held.estimate)
    rho = held.parameter(share * held.estimate)
    best = minimize_scalar(
        lambda s: criterion(fit, np.exp(s), rho), bounds=(-2, 4), method="bounded", options={"xatol": 1e-8}
    )
    assert_allclose(point.criterion, best.fun, rtol=1e-10)
    assert 0 < (rho - held.estimate) / (share - 1) / held.estimate < 1


def test_a_variance_drawn_aside_is_one_too(fit):
    held = HeldForm(fit, "sigma")
    point = held.at(1.4 * held.estimate)
    sigma2 = held.parameter(1.4 * held.estimate) ** 2
    best = minimize_scalar(
        lambda r: criterion(fit, sigma2, r), bounds=(-0.5, 0.95), method="bounded", options={"xatol": 1e-8}
    )
    assert_allclose(point.criterion, best.fun, rtol=1e-10)


def test_an_effect_held(fit):
    held = HeldEffect(fit.by_ml, 1)
    point = held.at(-0.4)
    X, y = fit.design.X[:, :1], fit.design.y + 0.4 * fit.design.X[:, 1]
    own = fit.model.natural(point.working)[0] * [fit.model.unit**2, 1]
    assert_allclose(point.criterion, criterion(fit, *own, "ML", X, y), rtol=1e-10)
    near = [
        criterion(fit, own[0] * a, own[1] + b, "ML", X, y) for a, b in ((1.02, 0), (0.98, 0), (1, 0.02), (1, -0.02))
    ]
    assert min(near) > point.criterion
    assert held.parameter(-0.4) == -0.4


def test_edges_are_reached_and_kept():
    rng = np.random.default_rng(4)
    import pandas as pd

    data = pd.DataFrame(
        {"y": rng.standard_normal(30), "g": np.repeat(np.arange(10), 3), "v": np.tile(np.arange(3), 10)}
    )
    fit = lmmlib.fit("y ~ 1 + (0 | g)", data, residual=compound("v"))
    held = HeldForm(fit, "rho")
    low, high = (held.parameter(edge) for edge in held.edges)
    assert -0.5 <= low < fit.parameters()["rho"] < high <= 1
    assert held.at(held.edges[0]).criterion > fit.criterion
    assert held.parameter(np.inf) == np.inf


def test_a_search_that_ends_nowhere_is_said(fit, monkeypatch):
    from lmmlib.fitting import newton

    monkeypatch.setattr(newton, "MAX_STEPS", 1)
    with pytest.raises(DesignError, match="the minimum with the parameter held at 30 was not found: 1 steps"):
        HeldEffect(fit.by_ml, 1).at(30.0)
