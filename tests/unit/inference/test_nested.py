"""Which model is within which, and what is refused as no pair to compare."""

import numpy as np
import pytest

import lmmlib
from lmmlib.errors import ParameterError


@pytest.fixture(scope="module")
def dental():
    return lmmlib.load("dental")


def fit(random, dental, fixed="age", method="ML"):
    return lmmlib.fit(f"distance ~ {fixed} + {random}", dental, method=method)


@pytest.mark.parametrize(
    "small, large, method, words",
    [
        (("age * Sex", "(1 | Subject)"), ("age", "(1 | Subject)"), "ML", "exchange them"),
        (("age", "(1 | Subject)"), ("age + Sex", "(1 | Subject)"), "REML", "different contrasts"),
        (("age", "(age | Subject)"), ("age", "(1 | Subject)"), "ML", "random effects of the first"),
        (("age", "(age | Subject)"), ("age", "(age || Subject)"), "ML", "random effects of the first"),
        (("age", "(1 | Subject)"), ("Sex", "(1 | Subject)"), "ML", "not nested"),
        (("age", "(1 | Subject)"), ("age", "(1 | Subject)"), "ML", "nothing to test"),
    ],
)
def test_refusals(dental, small, large, method, words):
    fits = [fit(random, dental, fixed, method) for fixed, random in (small, large)]
    with pytest.raises(ParameterError, match=words):
        lmmlib.compare(*fits)


def test_other_data_or_method(dental):
    one = fit("(1 | Subject)", dental)
    with pytest.raises(ParameterError, match="by ML, the other by REML"):
        lmmlib.compare(one, fit("(age | Subject)", dental, method="REML"))
    with pytest.raises(ParameterError, match="same responses"):
        lmmlib.compare(one, fit("(age | Subject)", dental[4:]))
    with pytest.raises(ParameterError, match="same responses"):
        lmmlib.compare(one, fit("(age | Subject)", dental.sample(frac=1, random_state=1)))
    with pytest.raises(ParameterError, match="different groups"):
        lmmlib.compare(one, fit("(age | g)", dental.assign(g=np.arange(108) % 27)))


def test_uncorrelated_columns_must_be_the_same_up_to_units(dental):
    small = fit("(age || Subject)", dental)
    moved = dental.assign(age=dental["age"] - 11)
    with pytest.raises(ParameterError, match="random effects of the first"):
        lmmlib.compare(small, fit("(age || Subject)", moved, "age + Sex"))
    months = dental.assign(months=12 * dental["age"])
    assert lmmlib.compare(small, fit("(months || Subject)", months, "age + Sex")).reference == "chi2(1)"


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_correlations_of_the_old_columns_may_come_with_a_new_one(dental, method):
    data = dental.assign(bend=(dental["age"] - 11) ** 2)
    small, large = fit("(age || Subject)", data, method=method), fit("(age + bend | Subject)", data, method=method)
    test = lmmlib.compare(small, large)
    assert test.reference == "0.5 chi2(3) + 0.5 chi2(4)"
    assert large.n_parameters - small.n_parameters == 4


def test_the_same_groups_under_other_labels(dental, monkeypatch):
    """Each group of one is a group of the other; of many labels none are sorted."""
    codes = dental["Subject"].cat.codes
    small = fit("(1 | Subject)", dental)
    others = {"reversed": 100 - codes, "two in one": codes // 2, "one in two": 2 * codes + np.arange(108) % 2}
    large = {name: fit("(age | g)", dental.assign(g=g)) for name, g in others.items()}
    monkeypatch.setattr(np, "unique", None)
    assert lmmlib.compare(small, large["reversed"]).reference == "0.5 chi2(1) + 0.5 chi2(2)"
    for name in ("two in one", "one in two"):
        with pytest.raises(ParameterError, match="different groups"):
            lmmlib.compare(small, large[name])
