"""New rows: labels of any kind, and what newdata may get wrong."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DataError

FORMULA = "lead ~ week * drug + (week | child)"


@pytest.fixture
def fit(frame):
    return lmmlib.fit(FORMULA, frame)


LABELS = {
    "integers": lambda c: c.str[1:].astype(int) * 10,
    "numbers": lambda c: c.str[1:].astype(int) + 0.5,
    "categories": lambda c: c.astype(pd.CategoricalDtype([f"c{i}" for i in (5, 3, 0, 6, 2, 1, 4, 9)])),
    "dates": lambda c: pd.Timestamp("2020-01-01") + pd.to_timedelta(c.str[1:].astype(int), "D"),
    "booleans": lambda c: c.str[1:].astype(int) % 2 == 0,
    "tuples": lambda c: c.map(lambda label: ("site", label)),
    "nullable": lambda c: c.astype("string"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind(frame, kind):
    """Each row must find its own group: predictions of the data are fitted values, whatever the order of labels."""
    data = frame.assign(child=LABELS[kind](frame["child"]))
    fit = lmmlib.fit("lead ~ week + (1 | child)", data)
    some = data.iloc[[7, 3, 3, 20]]
    shown = fit.predict(some)
    assert_allclose(shown["estimate"], fit.fitted()[[7, 3, 3, 20]], rtol=1e-12)
    assert shown["known_group"].all()
    if kind in {"integers", "numbers"}:
        # The same number in another type is the same label.
        assert_allclose(fit.predict(some.astype({"child": float}))["estimate"], shown["estimate"], rtol=1e-14)
    if kind in {"categories", "nullable"}:
        assert_allclose(
            fit.predict(some.assign(child=some["child"].astype(str)))["estimate"], shown["estimate"], rtol=1e-14
        )


def test_labels_that_were_read_as_another_type(frame):
    data = frame.assign(child=frame["child"].str[1:].astype(int))
    fit = lmmlib.fit("lead ~ week + (1 | child)", data)
    with pytest.raises(
        DataError, match=r"'child' has the group '3' \(str\), which the fit knows as 3 \(int\); convert"
    ):
        fit.predict(data.assign(child=["3"] * len(data)))
    text = lmmlib.fit("lead ~ week + (1 | child)", data.assign(child=data["child"].astype(str)))
    with pytest.raises(DataError, match=r"the group 4 \(int\), which the fit knows as '4' \(str\)"):
        text.predict(data.assign(child=4))
    # Whole numbers that became floats, then text; days that lost their hours.
    with pytest.raises(DataError, match=r"the group '6.0' \(str\), which the fit knows as 6 \(int\)"):
        fit.predict(data.assign(child=data["child"].astype(float).astype(str)))
    days = frame.assign(child=LABELS["dates"](frame["child"]))
    with pytest.raises(DataError, match=r"the group '2020-01-0\d' \(str\), which the fit knows as Timestamp"):
        lmmlib.fit("lead ~ week + (1 | child)", days).predict(days.assign(child=days["child"].dt.strftime("%Y-%m-%d")))
    # Text is text: '03' is another group than '3'.
    assert not text.predict(data.assign(child="03"))["known_group"].any()


NEW_ERRORS = {
    "column missing": (lambda n: n.drop(columns="week"), "uses 'week', which is not a column"),
    "misspelt": (lambda n: n.rename(columns={"week": "weak"}), "perhaps you want 'weak'"),
    "group column missing": (lambda n: n.drop(columns="child"), "no column 'child'.*of='population'"),
    "unknown category": (lambda n: n.assign(drug="aspirin"), "'drug' has the category 'aspirin'.*placebo, succimer"),
    "missing value": (lambda n: n.assign(week=[1.0, np.nan, 2, 3]), "missing values: week 1"),
    "missing category": (lambda n: n.assign(drug=[None, "placebo", None, "placebo"]), "missing values: drug 2"),
    "missing group": (lambda n: n.assign(child=["c1", None, "c2", "c3"]), "group is missing in row 1 of 'child'"),
    "NaN group": (lambda n: n.assign(child=[1.0, 2.0, np.nan, 3.0]), "group is missing in row 2 of 'child'"),
    "list as group": (
        lambda n: n.assign(child=[[1]] * 4),
        "group labels in 'child' must be numbers, texts or the like",
    ),
    "infinite": (lambda n: n.assign(week=[1, 2, np.inf, 3]), "'week' is infinite in row 2"),
    "text": (lambda n: n.assign(week="soon"), "'week'.*numbers"),
    "numbers as text": (lambda n: n.assign(week="1.5"), "'week' holds numbers stored as text"),
    "empty": (lambda n: n[:0], "the data have no rows"),
    "no frame": (lambda n: n.to_dict("list"), "must be a pandas DataFrame; got dict"),
    "column twice": (lambda n: pd.concat([n, n[["week"]]], axis=1), "two columns named 'week'"),
    "group column twice": (lambda n: pd.concat([n, n[["child"]]], axis=1), "two columns named 'child'"),
}


@pytest.mark.parametrize("name", NEW_ERRORS)
def test_new_data_that_cannot_be_predicted(fit, new, name):
    change, words = NEW_ERRORS[name]
    with pytest.raises(DataError, match=words):
        fit.predict(change(new))


def test_a_design_from_arrays_has_no_columns_to_look_up(design, new):
    plain = lmmlib.Design.from_arrays(design.y, design.X, design.Z, design.group)
    with pytest.raises(DataError, match="made from arrays"):
        lmmlib.fit_design(plain).predict(new)
