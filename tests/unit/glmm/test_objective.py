"""What the optimiser sees: values that do not depend on where the search has been."""

import numpy as np
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.glmm.objective import Objective
from lmmlib.glmm.rows import Rows
from tests.unit.glmm.designs import design

PSI = np.array([0.4, -0.3, 0.6])


def test_the_last_modes_are_a_start_and_nothing_more():
    rows = Rows.of(design(q=1, p=2))
    fresh, used = Objective(rows, "laplace", 1), Objective(rows, "laplace", 1)
    for step in (2.0, 0.3, 0.0):
        used.derivatives(PSI + step)
    for one, other in zip(fresh.derivatives(PSI), used.derivatives(PSI), strict=True):
        assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_along_other_parameters_the_chain_rule_holds():
    objective, A = Objective(Rows.of(design(q=1, p=2)), "laplace", 1), np.array([[2.0, 1, 0], [0, 1, 0], [0, 3, 0.5]])
    value, gradient, hessian = objective.derivatives(PSI)
    along = objective.derivatives(PSI, A)
    assert_allclose(along[0], value, rtol=1e-13)
    assert_allclose(along[1], gradient @ A)
    assert_allclose(along[2], A.T @ hessian @ A)


def test_guesses_follow_the_slopes_of_the_modes():
    objective = Objective(Rows.of(design(q=1, p=2)), "laplace", 1)
    assert objective.guess(PSI) is None
    u = objective.slopes(PSI).inner.u
    near = PSI + 1e-4
    exact = lmmlib.glmm.rows.modes(objective.rows, *objective.rows.split(near)).u
    assert_allclose(objective.guess(near), exact, atol=1e-6)
    assert (objective.guess(PSI + 3) == u).all()  # too far for slopes
