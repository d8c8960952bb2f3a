"""What Newton's method takes of a log-likelihood: derivatives by theta, no value where there is none, and back."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.fitting.newton import Point, newton
from lmmlib.laplace.point import Ascent

# Minus a quadratic form about the best psi, which is undefined beyond 50.
BEST, H = np.array([3.0, -1.0]), np.array([[4.0, 1.0], [1.0, 2.0]])
A, ORIGIN = np.array([[2.0, 0.0], [1.0, 0.5]]), np.array([1.0, 1.0])


def quadratic(psi, A):
    if np.abs(psi).max() > 50:
        raise ZeroDivisionError
    gap = psi - BEST
    return -gap @ H @ gap / 2, -A.T @ H @ gap, -A.T @ H @ A


@pytest.fixture
def ascent():
    return Ascent(quadratic, A, ORIGIN, ZeroDivisionError)


def test_a_point_holds_minus_twice_the_log_likelihood(ascent):
    at = ascent(np.array([[0.5, 0.2]]), np.array([0]))
    value, gradient, hessian = quadratic(ORIGIN + A @ [0.5, 0.2], A)
    assert_allclose(at.value, [-2 * value])
    assert_allclose(at.gradient, [-2 * gradient])
    assert_allclose(at.hessian, [-2 * hessian])


def test_where_there_is_no_value_it_is_infinite(ascent):
    at = ascent(np.array([[100.0, 0.0]]), np.array([0]))
    assert at.value == np.inf and not at.gradient.any()
    broken = Ascent(lambda psi, A: (np.nan, psi, H), A, ORIGIN, ZeroDivisionError)
    assert broken(np.zeros((1, 2)), np.array([0])).value == np.inf


def test_no_points(ascent):
    at = ascent(np.zeros((0, 2)), np.array([], int))
    assert at.value.shape == (0,) and at.hessian.shape == (0, 2, 2)


def test_the_optimum_and_its_log_come_back_as_psi(ascent):
    found = newton(ascent, np.zeros((1, 2)))
    back = ascent.back(found)
    assert_allclose(back.best.theta[0], BEST, rtol=1e-9)
    assert_allclose(back.best.hessian[0], 2 * H, rtol=1e-9)
    start, end = back.log[0].working, back.log[-1].working
    assert_allclose(start, ORIGIN)
    assert_allclose(end, BEST, rtol=1e-9)


def test_points_are_taken_and_put(ascent):
    one, other = (ascent(np.array([[t, 0.0]]), np.array([0])) for t in (0.0, 1.0))
    assert isinstance(one.take(np.array([True])), Point) and one.take(np.array([False])).value.size == 0
    for rows, expected in ((np.array([False]), one), (np.array([], int), one), ([0], other), (np.array([True]), other)):
        put = one.put(rows, other.take(rows))
        for name in ("theta", "value", "gradient", "hessian"):
            assert (getattr(put, name) == getattr(expected, name)).all()
