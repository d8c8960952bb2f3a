"""Names of the parameters, in their order, and the names that are asked for."""

import pytest

import lmmlib
from lmmlib.equations.names import chosen, parameter_names
from lmmlib.errors import ParameterError
from lmmlib.inference.profile import profile


@pytest.fixture
def sleep():
    return lmmlib.fit("Reaction ~ Days + (Days | Subject)", lmmlib.load("sleep"), method="ML")


def test_names_in_their_order(sleep):
    names = ["(Intercept)", "Days", "sd (Intercept)", "sd Days", "corr (Intercept), Days", "sigma"]
    assert list(parameter_names(sleep.design)) == names
    assert list(chosen(parameter_names(sleep.design), sleep.design, ["sigma", "Days"])) == ["Days", "sigma"]
    assert list(chosen(parameter_names(sleep.design), sleep.design, "sigma")) == ["sigma"]
    uncorrelated = lmmlib.fit("Reaction ~ Days + (Days || Subject)", lmmlib.load("sleep"))
    assert "corr (Intercept), Days" not in parameter_names(uncorrelated.design)


def test_names_of_three_columns_and_of_none():
    curve = "density + I(density**2)"
    planting = lmmlib.fit(f"yield ~ {curve} + ({curve} | block)", lmmlib.load("planting"))
    assert list(parameter_names(planting.design))[6:9] == [
        "corr (Intercept), density",
        "corr (Intercept), I(density ** 2)",
        "corr density, I(density ** 2)",
    ]
    nothing = lmmlib.fit("Reaction ~ Days + (0 | Subject)", lmmlib.load("sleep"))
    assert list(parameter_names(nothing.design)) == ["(Intercept)", "Days", "sigma"]


def test_names_that_are_wrong_or_twice(sleep):
    with pytest.raises(ParameterError, match="'sd days' is no parameter.*sd Days; corr"):
        profile(sleep, "sd days")
    with pytest.raises(ParameterError, match="one name"):
        profile(sleep, ["sigma"])
    frame = lmmlib.load("sleep").rename(columns={"Days": "sigma"})
    with pytest.raises(ParameterError, match="two parameters are called 'sigma'; rename"):
        profile(lmmlib.fit("Reaction ~ sigma + (1 | Subject)", frame), "sigma")
