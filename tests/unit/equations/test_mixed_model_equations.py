"""Henderson's equations: the elimination against the printed system, the predictions of blup, and at a singular D."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense, equations
from lmmlib.equations.mixed_model_equations import henderson
from lmmlib.errors import DesignError, ParameterError
from lmmlib.prediction.blups import blups

# Two exact ways to the same numbers on 24 rows: rounding only.
EXACT = {"rtol": 1e-10, "atol": 1e-11}


def at(fit, D, sigma2):
    """The fit with D and sigma2 of the test's choice, and the beta that belongs to them."""
    estimate = equations.gls(fit.cross, D, sigma2)
    z, x = list(fit.D.index), list(fit.beta.index)
    frame = type(fit.D)
    return replace(
        fit,
        D=frame(D, z, z),
        sigma2=sigma2,
        beta=type(fit.beta)(estimate.beta, x),
        cov_beta=frame(estimate.cov, x, x),
    )


@pytest.fixture
def fitted(design):
    return lmmlib.fit_design(design)


def test_elimination_solves_the_printed_equations(design, cross, D):
    ours = henderson(cross, D, 0.8)
    beta, b, inverse = dense.henderson(design, D, 0.8)
    p, q = len(beta), len(D)
    assert_allclose(ours.beta, beta, **EXACT)
    assert_allclose(ours.b, b, **EXACT)
    assert_allclose(ours.cov_beta, inverse[:p, :p], **EXACT)
    for i in range(design.n_groups):
        of_i = slice(p + i * q, p + (i + 1) * q)
        assert_allclose(ours.cov_b[i], inverse[of_i, of_i], **EXACT)
        assert_allclose(ours.cov_beta_b[i], inverse[:p, of_i], **EXACT)


def test_the_printed_equations_are_stationary_for_the_joint_density(design, D):
    """Henderson's derivation: (beta, b) minimise |y - X beta - Z b|^2 / sigma2 + b'D^-1 b, and any step costs."""
    beta, b, inverse = dense.henderson(design, D, 0.8)
    X, Z, precision = design.X, dense.big_Z(design), np.kron(np.eye(design.n_groups), np.linalg.inv(D))

    def penalised(beta, b):
        return np.sum((design.y - X @ beta - Z @ b) ** 2) / 0.8 + b @ precision @ b

    least, rng, start = penalised(beta, b.ravel()), np.random.default_rng(1), np.concatenate([beta, b.ravel()])
    for _ in range(20):
        step = rng.normal(size=len(start))
        moved = start + step
        # The function is quadratic, its second derivatives twice the inverse of the covariance.
        expected = least + step @ np.linalg.inv(inverse) @ step
        assert_allclose(penalised(moved[:2], moved[2:]), expected, rtol=1e-9)


@pytest.mark.parametrize("D", [np.diag([1.5, 0.0]), np.outer([1, 0.3], [1, 0.3]), np.zeros((2, 2))], ids=str)
def test_a_singular_D_needs_no_inverse(fitted, D):
    """The printed system does not exist; the conditional expectation does, and so do limits from the inside."""
    with pytest.raises(DesignError, match="D is singular, and these equations hold its inverse"):
        dense.henderson(fitted.design, D, 0.8)
    ours, theirs = henderson(fitted.cross, D, 0.8), blups(at(fitted, D, 0.8))
    assert_allclose(ours.beta, equations.gls(fitted.cross, D, 0.8).beta, **EXACT)
    assert_allclose(ours.b, theirs.b, **EXACT)
    assert_allclose(ours.cov_b, theirs.pev, **EXACT)
    assert_allclose(ours.cov_beta_b, theirs.cov_beta_b, **EXACT)
    # A thousandth of a millionth of variance more moves the answer as little.
    _, b, inverse = dense.henderson(fitted.design, D + 1e-9 * np.eye(2), 0.8)
    assert_allclose(ours.b, b, atol=1e-7)
    assert_allclose(ours.cov_b[0], inverse[2:4, 2:4], atol=1e-7)


def test_diagonal_and_intercept_only(frame):
    for formula in ("lead ~ week * drug + (week || child)", "lead ~ drug + (1 | child)", "lead ~ 0 + (1 | child)"):
        fit = lmmlib.fit(formula, frame, method="ML")
        ours, theirs = henderson(fit.cross, fit.D, fit.sigma2), fit.blups()
        assert_allclose(ours.beta, fit.beta, rtol=1e-8)
        assert_allclose(ours.b, theirs.b, atol=1e-8)
        assert_allclose(ours.cov_b, theirs.pev, atol=1e-10)
        assert list(ours.frame().columns) == list(fit.D.columns)


def test_without_random_effects_it_is_least_squares(frame):
    cross = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (0 | child)", frame))
    solution = henderson(cross, np.zeros((0, 0)), 2.0)
    assert_allclose(solution.beta, equations.ols(cross).beta, rtol=1e-12)
    assert solution.b.shape == (7, 0) and solution.cov_b.shape == (7, 0, 0)
    assert "random: none" in repr(solution)


def test_calendar_years_cost_no_digits(design, D):
    """x -> x + 2000 in X and Z: the predictions at the mean year are the same to 8 digits."""
    shift = np.array([[1.0, 2000.0], [0.0, 1.0]])
    moved = lmmlib.Design.from_arrays(design.y, design.X @ shift, design.Z @ shift, design.group)
    back = np.linalg.inv(shift)
    one, two = (henderson(*a, 0.8) for a in ((lmmlib.cross_products(design), D), (_cross(moved), back @ D @ back.T)))
    assert_allclose(two.b @ shift.T, one.b, rtol=1e-7, atol=1e-8)
    assert_allclose(shift @ two.beta, one.beta, rtol=1e-8)


def _cross(design):
    return lmmlib.cross_products(design)


def test_errors(design, cross, D):
    with pytest.raises(ParameterError, match="sigma2 must be one finite number above 0"):
        henderson(cross, D, 0.0)
    with pytest.raises(ParameterError, match="D must be positive semidefinite"):
        henderson(cross, -D, 1.0)
    with pytest.raises(ParameterError, match="1e\\+11 times sigma2.*no digits"):
        henderson(cross, 1e12 * D, 1.0)
    twice = lmmlib.Design.from_arrays(design.y, design.X[:, [0, 1, 1]], design.Z, design.group)
    with pytest.raises(DesignError, match="'x2'.*linear combination"):
        henderson(_cross(twice), D, 1.0)


def test_it_shows_itself_briefly(cross, D):
    solution = henderson(cross, D, 0.8)
    assert repr(solution) == (
        "MixedModelSolution: 2 fixed, 14 random effects in 7 groups\n"
        "  fixed:  (Intercept), week\n  random: (Intercept), week"
    )
    assert list(solution.frame().index) == [f"c{i}" for i in range(7)]
