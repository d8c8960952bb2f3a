"""Tables of terms against lmerTest and pbkrtest: simulated unbalanced data, types 1 to 3, both kinds of df."""

import json
from pathlib import Path

import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib

SETS = json.loads((Path(__file__).parents[1] / "reference/anova/lmertest.json").read_text())
# Where lmerTest tests another hypothesis. It does not see that a:b contains a when R codes a:b with all levels of a
# ("nested": then its test of a is about one level of b), and takes poly(t, 2) for a factor, so that sex:poly(t, 2)
# contains sex as the interaction with a factor would.
OTHERS = {("nested", 2, "a"), ("nested", 3, "a"), ("curve", 2, "sex")}


@pytest.fixture(scope="module", params=SETS)
def case(request):
    row = SETS[request.param]
    return request.param, lmmlib.fit(row["formula"], pd.DataFrame(row["data"])), row["anova"]


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("type", [1, 2, 3])
def test_tables(case, type, df):
    name, fitted, answers = case
    table, theirs = fitted.anova(type, df=df), pd.DataFrame(answers[f"{type} {df}"])
    assert len(table) == len(theirs) and list(table["num_df"]) == list(theirs["num_df"])
    theirs.index = table.index
    same = [(name, type, term) not in OTHERS for term in table.index]
    table, theirs = table[same], theirs[same]
    assert_allclose(table["F"], theirs["F"], rtol=1e-5)
    exact = table["num_df"] == 1 if df == "satterthwaite" else [True] * len(table)
    for column, rtol in (("den_df", 1e-5), ("p", 1e-4)):
        assert_allclose(table.loc[exact, column], theirs.loc[exact, column], rtol=rtol)
    # lmerTest's df of several rows depend on the rows: for one F it has 63.8 and 65.0 of types 1 and 2.
    assert_allclose(table["den_df"], theirs["den_df"], rtol=0.012)
    assert_allclose(table["p"], theirs["p"], rtol=0.002)


def test_one_hypothesis_has_one_test():
    """The interaction is of all types alike, and nesting is another coding of the model with main effects."""
    fits = {name: lmmlib.fit(SETS[name]["formula"], pd.DataFrame(SETS[name]["data"])) for name in SETS}
    for df in ("satterthwaite", "kenward-roger"):
        first = fits["two factors"].anova(1, df=df)
        for type in (2, 3):
            assert_allclose(fits["two factors"].anova(type, df=df).loc["a:b"], first.loc["a:b"], rtol=1e-8)
        for nested, crossed in ((2, 1), (3, 3)):
            assert_allclose(
                fits["nested"].anova(nested, df=df).loc["a"],
                fits["two factors"].anova(crossed, df=df).loc["a"],
                rtol=1e-8,
            )
