import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lmmlib
from lmmlib.design.formula import build_design
from lmmlib.errors import DataError, DesignError
from lmmlib.residual import ar1, by, compound, independent, unstructured
from lmmlib.residual.visits import Visits

F = "lead ~ week + (0 | child)"


def visits(structure, data, formula=F, missing="error", **known):
    return Visits.of(structure, build_design(formula, data, missing=missing, **known), data, missing, known)


def test_levels_and_cells(trial):
    v = visits(unstructured("week", by="arm"), trial)
    assert v.levels == ((0.0,), (1.0,), (4.0,), (6.0,)) and v.cells == (("placebo",), ("succimer",))
    assert_array_equal(np.array([0.0, 1, 4, 6])[v.code], trial["week"])
    assert v.most == 4 and v.label(2) == "4"
    assert v.names()[:2] == ["sigma placebo: 0", "sigma placebo: 1"] and "rho succimer: 0, 6" in v.names()
    assert visits(compound("week", by="arm"), trial).names() == [
        "sigma placebo",
        "rho placebo",
        "sigma succimer",
        "rho succimer",
    ]


def test_products_and_categories_in_their_order(trial):
    v = visits(by("arm", "week"), trial)
    assert len(v.levels) == 8 and v.levels[0] == ("placebo", 0.0)
    assert v.names()[0] == "sigma placebo, 0"
    data = trial.assign(stage=pd.Categorical(trial["week"].map({0: "b", 1: "a", 4: "d", 6: "c"}), list("badc")))
    assert visits(ar1("stage"), data).levels == (("b",), ("a",), ("d",), ("c",))
    assert_array_equal(visits(ar1("stage"), data).positions, np.arange(4))


@pytest.mark.parametrize(
    ("times", "step", "positions"),
    [
        ([0, 1, 4, 6], 1, [0, 1, 4, 6]),
        ([7, 14, 35, 49], 7, [0, 1, 4, 6]),
        ([0.5, 1.0, 2.5, 3.5], 0.5, [0, 1, 4, 6]),
        ([0.0, 1.0, 2.3, 4.0], 1.0, [0, 1, 2.3, 4.0]),
    ],
)
def test_times_in_steps(trial, times, step, positions):
    data = trial.assign(t=trial["week"].map(dict(zip([0, 1, 4, 6], times, strict=True))).astype(float))
    v = visits(ar1("t"), data)
    assert_allclose(v.step, step, rtol=1e-12)
    assert_allclose(v.positions, positions, rtol=1e-12)


def test_missing_rows_are_left_out_with_their_visits(trial):
    data = trial.copy()
    data.loc[[3, 5], "lead"] = np.nan
    data.loc[9, "w"] = np.nan
    v = visits(ar1("week"), data, missing="drop", weights="w")
    assert_array_equal(np.array([0.0, 1, 4, 6])[v.code], trial["week"].drop([3, 5, 9]))
    data.loc[3, "visit"] = np.nan
    assert len(visits(by("arm"), data, missing="drop").code) == len(trial) - 2
    data["visit"] = data["week"].where(data["week"] != 4)
    with pytest.raises(DataError, match=r"by\('visit'\) needs 'visit' in every row, and it is missing in .*dropna"):
        visits(by("visit"), data, missing="drop")


def test_what_is_no_structure_of_these_data(trial):
    with pytest.raises(DataError, match="'wek', which is not a column of the data .*perhaps you want 'week'"):
        visits(by("wek"), trial)
    twice = pd.concat([trial, trial.iloc[[4]]])
    with pytest.raises(DesignError, match=r"the visit week = \d is twice in the group 'c\d\d' of 'child': ar1"):
        visits(ar1("week"), twice)
    assert len(visits(by("week"), twice).code) == len(twice)
    with pytest.raises(DesignError, match="week changes within the group 'c\\d\\d' of 'child'.* is by\\('week'\\)"):
        visits(compound("age", by="week"), trial.assign(age=np.arange(len(trial))))
    with pytest.raises(DesignError, match="'arm' has the single level placebo, so there are no visits to correlate"):
        visits(ar1("arm"), trial[trial["arm"] == "placebo"])


def test_new_rows(trial):
    v = visits(unstructured("week", by="arm"), trial)
    new = pd.DataFrame({"week": [6.0, 0.0], "arm": ["succimer", "placebo"]})
    code, cell, positions = v.of_new(new, np.array([-1, 0]))
    assert_array_equal(code, [3, 0])
    assert_array_equal(cell, [1, 0])
    assert len(positions) == 4
    of_group = v.of_new(new[["week"]], np.array([1, 0]))[1]
    assert_array_equal(of_group, v.cell[[1, 0]])
    with pytest.raises(DataError, match="'arm', which is not a column"):
        v.of_new(new[["week"]], np.array([-1, 0]))
    with pytest.raises(DataError, match="week = 9 is not in the data of the fit, .*0; 1; 4; 6: the residual variance"):
        v.of_new(new.assign(week=[9.0, 0.0]), np.array([-1, 0]))


def test_new_visits_of_structures_that_know_them(trial):
    new = pd.DataFrame({"week": [6.0, 9.0, 0.0, 2.0]})
    code, _, positions = visits(ar1("week"), trial).of_new(new, np.full(4, -1))
    assert_array_equal(positions[code], [6, 9, 0, 2])
    code, _, positions = visits(compound("week"), trial).of_new(new, np.full(4, -1))
    assert_array_equal(code, [3, 4, 0, 5])
    assert len(positions) == 6
    assert_array_equal(visits(independent(), trial).of_new(new, np.full(4, -1))[0], 0)
    with pytest.raises(DataError, match="'week' is missing or infinite in a new row"):
        visits(ar1("week"), trial).of_new(new.assign(week=[np.nan, 1, 1, 1]), np.full(4, -1))


def test_groups_keep_their_names(trial):
    fit = lmmlib.fit(F, trial, residual=compound("week"))
    assert fit.n_groups == trial["child"].nunique()
