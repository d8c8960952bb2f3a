"""A formula of several terms becomes the designs of its terms, on rows that are complete in all."""

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.errors import DataError, FormulaError, ParameterError
from lmmlib.several.terms import build, with_cells
from tests.several import frame


def test_terms_and_groups():
    design = build("y ~ x + (x | g) + (0 + z || h) + (1 | h/k)", frame(1))
    assert [term.grouping for term in design.terms] == ["g", "h", "h", "h:k"]
    assert design.names == ("g", "h", "h:k")
    assert [term.design.z_names for term in design.terms] == [("(Intercept)", "x"), ("z",), ("(Intercept)",)] + [
        ("(Intercept)",)
    ]
    assert design.fixed.x_names == ("(Intercept)", "x") and design.fixed.formula.startswith("y ~ x + (x | g)")


def test_cells_are_named_by_their_columns():
    data = pd.DataFrame({"a": [1, 1, 2, 10], "b": ["x", "y", "x", "x"]})
    assert list(with_cells(data, ("a", "b"))["a:b"]) == ["1:x", "1:y", "2:x", "10:x"]
    cells = with_cells(data.assign(c=[0, 0, 1, 1]), ("a", "b", "c"))["a:b:c"]
    assert list(cells) == ["1:x:0", "1:y:0", "2:x:1", "10:x:1"]
    gap = with_cells(data.assign(b=["x", None, "x", "x"]), ("a", "b"))["a:b"]
    assert list(gap.isna()) == [False, True, False, False]
    with pytest.raises(DataError, match="two cells of a:b have one name; rename the categories of 'a'"):
        with_cells(pd.DataFrame({"a": ["p:q", "p"], "b": ["r", "q:r"]}), ("a", "b"))


def test_rows_with_gaps():
    data = frame(1)
    data.loc[3, "z"] = np.nan
    data["h"] = data["h"].astype(object)
    data.loc[5, "h"] = None
    with pytest.raises(DataError, match=r"missing values: h 1, z 1; pass missing='drop'"):
        build("y ~ x + (1 | g) + (z | h)", data)
    design = build("y ~ x + (1 | g) + (z | h)", data, missing="drop", weights="w", offset=data["o"].to_numpy())
    assert design.fixed.n_obs == 88 and design.fixed.n_dropped == 2
    assert all(term.design.n_obs == 88 for term in design.terms)
    left = np.delete(np.arange(90), [3, 5])
    assert (design.fixed.weights == data["w"].to_numpy()[left]).all() and design.fixed.weights_column == "w"
    assert (design.fixed.offset == data["o"].to_numpy()[left]).all() and design.fixed.offset_column is None
    data.loc[7, "w"] = np.nan
    with pytest.raises(DataError, match="weights"):
        build("y ~ x + (1 | g) + (1 | h)", data, weights="w")
    assert build("y ~ x + (1 | g) + (1 | h)", data, weights="w", missing="drop").fixed.n_obs == 88


@pytest.mark.parametrize(
    ("formula", "error", "words"),
    [
        ("y ~ x", FormulaError, "no random term"),
        ("y ~ x + (1 | g) + (1 | hh)", DataError, "uses 'hh', which is not a column.*perhaps you want 'h'"),
        ("y ~ x + (1 | g*h)", FormulaError, r"columns, joined by : \(cells\) or / \(nested\); got 'g\*h'"),
        ("y ~ x + (1 | g + h)", FormulaError, "got 'g . h'"),
        ("y ~ x + (1 | g) + (1 | h", FormulaError, "opening parenthesis"),
        ("y ~ x + (f || g) + (1 | h)", FormulaError, "depend on its coding"),
    ],
)
def test_what_cannot_be_read(formula, error, words):
    with pytest.raises(error, match=words):
        build(formula, frame(1))


def test_relationships_are_by_grouping():
    with pytest.raises(ParameterError, match="there is no grouping 'a'; there are g, h"):
        build("y ~ x + (1 | g) + (1 | h)", frame(1), relationship={"a": pd.DataFrame()})
    with pytest.raises(ParameterError, match="a mapping of groupings to pedigrees or matrices"):
        build("y ~ x + (1 | g) + (1 | h)", frame(1), relationship=np.eye(3))


def test_names_in_backticks():
    data = frame(1).rename(columns={"g": "my group", "h": "a/b"})
    design = build("y ~ x + (1 | `my group`) + (1 | `a/b`:k)", data)
    assert design.names == ("my group", "a/b:k")
    assert lmmlib.fit("y ~ x + (1 | `my group`) + (1 | `a/b`)", data).n_groups == {"my group": 12, "a/b": 6}
