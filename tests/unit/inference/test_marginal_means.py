"""Marginal means: against contrasts written by hand, means of cells and of rows, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.design.design import Design
from lmmlib.errors import DataError, DesignError, ParameterError
from lmmlib.inference.marginal_means import marginal_means, mean_rows

COLUMNS = ["estimate", "se", "df", "lower", "upper"]


@pytest.fixture(scope="module")
def dental():
    """Eleven girls, sixteen boys, some rows left out, so that the mean age is not 11."""
    frame = lmmlib.load("dental")
    return frame[frame.index % 5 != 1]


@pytest.fixture(scope="module")
def growth(dental):
    return lmmlib.fit("distance ~ age * Sex + (1 | Subject)", dental)


@pytest.fixture(scope="module")
def pups():
    """Two factors, unbalanced, and a covariate of the litter."""
    return lmmlib.load("ratpup")


@pytest.fixture(scope="module")
def litters(pups):
    return lmmlib.fit("weight ~ treatment * sex + size + (1 | litter)", pups)


def test_against_contrasts_by_hand(growth, dental):
    age = dental["age"].mean()
    by_hand = growth.contrasts({"Male": [1, age, 0, 0], "Female": [1, age, 1, age]}, level=0.9)
    table = growth.marginal_means("Sex", level=0.9)
    assert list(table.columns) == COLUMNS and list(table.index) == ["Male", "Female"] and table.index.name == "Sex"
    assert_allclose(table, by_hand[COLUMNS], rtol=1e-10)
    at_14 = growth.contrasts({"Male": [1, 14, 0, 0], "Female": [1, 14, 1, 14]}, df="kenward-roger")
    assert_allclose(growth.marginal_means("Sex", at={"age": 14}, df="kenward-roger"), at_14[COLUMNS], rtol=1e-10)
    assert list(growth.marginal_means("Sex", df="z").columns) == ["estimate", "se", "lower", "upper"]
    assert marginal_means(growth, "Sex").equals(growth.marginal_means("Sex"))


def test_levels_of_the_other_factor_weigh_the_same(litters, pups):
    """The mean over the sexes of the means of the cells; over the rows of the data, by the sexes as they were born."""
    cells = mean_rows(litters, ["treatment", "sex"])
    assert cells.index.names == ["treatment", "sex"] and list(cells.columns) == list(litters.beta.index)
    assert_allclose(cells.to_numpy()[:, litters.design.x_names.index("size")], pups["size"].mean())
    equal = cells.groupby("treatment", sort=False, observed=True).mean()
    assert_allclose(mean_rows(litters, "treatment"), equal, rtol=1e-12)
    at_mean = pups.assign(size=pups["size"].mean())
    share = (pups["sex"] == "male").mean()
    assert abs(share - 0.5) > 0.01
    male, female = (cells.xs(sex, level="sex") for sex in ("male", "female"))
    observed = mean_rows(litters, "treatment", over=at_mean)
    assert_allclose(observed, (share * male + (1 - share) * female).loc[observed.index], rtol=1e-12)
    # Linear in the covariate: the mean over its values is the value at its mean.
    assert_allclose(mean_rows(litters, "treatment", over=pups), observed, rtol=1e-12)


def test_means_of_the_cells_of_a_balanced_trial():
    """One mean for each week and arm: the estimates are the means of the data."""
    tlc = lmmlib.load("tlc")
    fit = lmmlib.fit("lead ~ C(week) * treatment + (1 | id)", tlc)
    cells = fit.marginal_means(["week", "treatment"])["estimate"]
    assert_allclose(cells, tlc.groupby(["week", "treatment"], observed=True)["lead"].mean()[cells.index], rtol=1e-9)
    arms = fit.marginal_means("treatment")["estimate"]
    assert_allclose(arms, tlc.groupby("treatment", observed=True)["lead"].mean()[arms.index], rtol=1e-9)
    last = fit.marginal_means("treatment", at={"week": 6.0})["estimate"]
    assert_allclose(last, cells.xs(6.0, level="week")[last.index], rtol=1e-12)


@pytest.mark.parametrize("coding", ["Sex", "C(Sex)", "C(Sex, Sum)", "C(Sex, Helmert)"])
def test_the_coding_does_not_matter(coding, dental, growth):
    other = lmmlib.fit(f"distance ~ age * {coding} + (1 | Subject)", dental)
    theirs = other.marginal_means("Sex")
    assert_allclose(theirs.loc[["Male", "Female"]], growth.marginal_means("Sex"), rtol=1e-5)


def test_rows_are_contrasts_of_the_fit(litters):
    rows = mean_rows(litters, "treatment")
    change = litters.contrast(rows.iloc[1] - rows.iloc[0])
    means = litters.marginal_means("treatment")["estimate"]
    assert change.estimate[0] == pytest.approx(means.iloc[1] - means.iloc[0], rel=1e-12)


def test_a_curved_covariate(dental):
    """At a value: the curve there. Over the rows: the mean of the curve, which is not the curve at the mean."""
    fit = lmmlib.fit("distance ~ np.log(age) + Sex + (1 | Subject)", dental)
    at = mean_rows(fit, "Sex", at={"age": 11})["np.log(age)"]
    over = mean_rows(fit, "Sex", over=dental)["np.log(age)"]
    assert_allclose(at, np.log(11), rtol=1e-12)
    assert_allclose(over, np.log(dental["age"]).mean(), rtol=1e-12)
    with pytest.raises(ParameterError, match="'age' is no column of X by itself.*at={'age': ...}"):
        fit.marginal_means("Sex")


@pytest.mark.parametrize(
    ("factors", "options", "words"),
    [
        ("sex", {}, "'sex' is no factor of the fixed effects; they are Sex; perhaps you want 'Sex'"),
        ("age", {}, "'age' is no factor of the fixed effects; they are Sex"),
        (["Sex", "Subject"], {}, "'Subject' is no factor"),
        ([], {}, "factors must name one at least"),
        ("Sex", {"at": {"Sex": "Male"}}, "at names 'Sex', which is no other variable"),
        ("Sex", {"at": {"years": 3}}, "at names 'years'"),
        ("Sex", {"at": 3}, "at is a mapping of column to value; got 3"),
        ("Sex", {"level": 95}, "level must"),
        ("Sex", {"df": "satt"}, "df is 'satterthwaite'"),
    ],
)
def test_what_is_refused(growth, factors, options, words):
    with pytest.raises(ParameterError, match=words):
        growth.marginal_means(factors, **options)


def test_rows_that_are_no_rows(growth, dental):
    with pytest.raises(DataError, match="pandas DataFrame"):
        growth.marginal_means("Sex", over=[1, 2])
    with pytest.raises(DataError, match="age"):
        growth.marginal_means("Sex", over=dental.drop(columns="age"))
    with pytest.raises(DataError, match="age"):
        growth.marginal_means("Sex", at={"age": "old"})


def test_without_factors_and_without_names(dental):
    fit = lmmlib.fit("distance ~ age + (1 | Subject)", dental)
    with pytest.raises(ParameterError, match="'Sex' is no factor of the fixed effects; there are none"):
        fit.marginal_means("Sex")
    arrays = Design.from_arrays(fit.design.y, fit.design.X, fit.design.Z, fit.design.group)
    with pytest.raises(DesignError, match="made from arrays"):
        lmmlib.fit_design(arrays).marginal_means("Sex")


def test_an_empty_cell_has_no_mean():
    frame = pd.DataFrame({"y": np.random.default_rng(3).normal(size=60), "g": np.repeat(range(12), 5)})
    frame["a"], frame["b"] = np.tile(["p", "q"], 30), np.repeat(["u", "v", "v"], 20)
    frame = frame[(frame["a"] == "p") | (frame["b"] == "u")]
    fit = lmmlib.fit("y ~ a * b + (1 | g)", frame, drop="dependent")
    assert fit.marginal_means("a", at={"b": "u"}).shape == (2, 5)
    with pytest.raises(DataError):
        fit.marginal_means("a")
