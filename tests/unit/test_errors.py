"""The hierarchy of errors: one root, and ValueError beside it where an argument is at fault."""

import pytest

from lmmlib import errors

ALL = [
    "DataError",
    "DatasetError",
    "DesignError",
    "FormulaError",
    "LmmError",
    "NoRowsError",
    "ParameterError",
    "ReproductionError",
]


def test_the_classes_are_these():
    found = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert sorted(found) == ALL


@pytest.mark.parametrize("name", ALL)
def test_all_are_lmm_errors_and_documented(name):
    error = getattr(errors, name)
    assert issubclass(error, errors.LmmError)
    assert len(error.__doc__) > 20


@pytest.mark.parametrize("name", ["DataError", "DesignError", "FormulaError", "NoRowsError", "ParameterError"])
def test_bad_arguments_are_value_errors(name):
    assert issubclass(getattr(errors, name), ValueError)


def test_a_number_that_is_not_reproduced_is_an_assertion():
    assert issubclass(errors.ReproductionError, AssertionError)
    assert not issubclass(errors.DatasetError, ValueError)
