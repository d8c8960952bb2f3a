"""A model with a parameter held: known points are kept, and what is lower than the fit is no optimum of it."""

from types import SimpleNamespace

import pytest

from lmmlib.errors import DesignError
from lmmlib.inference.profiled import Point, Profiled

FIT = SimpleNamespace(converged=True, method="ML", criterion=5.0, reason="")


class Parabola(Profiled[Point]):
    lowest, found = 5.0, 0

    def find(self, value):
        self.found += 1
        return Point(value, self.lowest + (value - 1) ** 2)


def test_points_are_found_once():
    model = Parabola(FIT, 1.0, 0.5, Point(1.0, 5.0))
    assert model.at(1.0) is model.points[0] and model.at(2.0) is model.at(2.0)
    assert model.found == 1 and model.near(1.8).value == 2.0 and model.parameter(3.0) == 3.0


def test_a_lower_point_says_that_the_fit_is_no_optimum():
    model = Parabola(FIT, 1.0, 0.5, Point(1.0, 5.0))
    model.lowest = 3.0
    with pytest.raises(DesignError, match="several maxima.* 5.000000, and 3.010000 is possible"):
        model.at(1.1)
    with pytest.raises(DesignError, match="no ML fit to profile: no"):
        Parabola(SimpleNamespace(converged=False, method="ML", reason="no"), 1.0, 0.5, Point(1.0, 5.0))
