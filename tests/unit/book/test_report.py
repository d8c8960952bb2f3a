"""Printed numbers: rounding, tables, checks, and the comparison with the ledger."""

import math

import numpy as np
import pandas as pd
import pytest

from lmmlib import report
from lmmlib.book import datasets, ledger
from lmmlib.errors import ParameterError, ReproductionError
from tests.unit.common.cells import Cells

LEDGER = datasets.published()


# --- tables ---------------------------------------------------------------------------------------


def test_table_shows_a_named_index_and_hides_a_plain_one():
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    assert report.table(frame).columns == ("x",)
    assert report.table(frame.rename_axis("row")).columns == ("row", "x")
    assert report.table(frame.set_axis(["a", "b"])).rows[1] == ("b", "2.000")


def test_table_keeps_categories_text_and_gaps():
    frame = pd.DataFrame({"arm": pd.Categorical(["P", "A"]), "x": [1.0, math.nan], "t": ["2.1e-06", None]})
    assert report.table(frame, digits=1).rows == (("P", "1.0", "2.1e-06"), ("A", "NaN", ""))


def test_digits_for_a_column_that_is_not_there():
    with pytest.raises(ParameterError, match="slope"):
        report.table([{"x": 1.0}], digits={"slope": 2})


# --- show and check ---------------------------------------------------------------------------------


def test_show(capsys):
    report.show("rho", 0.46585, 3)
    report.show("n", 100)
    report.show("beta", np.array([22.976, -0.401]), 2)
    report.show("D", np.array([[1.0, -0.25], [-0.25, 10.0]]), 2)
    report.show("p", 1e-5, report.p)
    assert capsys.readouterr().out.splitlines() == [
        "rho: 0.466",
        "n: 100",
        "beta: (22.98, -0.40)",
        "D:",
        "   1.00  -0.25",
        "  -0.25  10.00",
        "p: <0.001",
    ]


def test_check_prints_one_line(capsys):
    report.check("score", 1e-12, 0.0, tol=1e-10)
    report.check("V", 5 * np.eye(2), 5 * np.eye(2) + 1e-12, tol=1e-10)
    assert capsys.readouterr().out.splitlines() == [
        "✓ score: 0.000000 (difference < 1e-10)",
        "✓ V: 4 numbers (relative difference < 1e-10)",
    ]


def test_check_in_a_notebook_is_a_tick_with_the_tolerance_on_demand(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("IPython.get_ipython", object)
    monkeypatch.setattr("IPython.display.display", shown.append)
    report.check("a < b", 2.5, 2.5, tol=1e-10, digits=1)
    (tick,) = shown
    assert capsys.readouterr().out == ""
    assert repr(tick) == "✓ a < b: 2.5 (relative difference < 1e-10)"
    before, _, after = tick._repr_html_().partition("</summary>")
    assert "a &lt; b" in before and "1e-10" not in before
    assert after.startswith("2.5 (relative difference &lt; 1e-10)")
    with pytest.raises(ReproductionError, match="label"):
        report.check("label", 1.0, 2.0)
    assert len(shown) == 1


@pytest.mark.parametrize(
    "one, other",
    [
        (1.0, 1.0 + 2e-8),
        (math.nan, math.nan),
        (math.nan, 1.0),
        (1e9, 1e9 + 20),
        (np.ones(3), np.ones(2)),
        (np.zeros(2), np.array([0.0, 1e-7])),
        (math.inf, math.inf),
    ],
)
def test_check_raises_when_two_routes_differ(one, other, capsys):
    with pytest.raises(ReproductionError, match="label"):
        report.check("label", one, other, tol=1e-8)
    assert capsys.readouterr().out == ""


# --- the ledger -------------------------------------------------------------------------------------

KNOWN = LEDGER[LEDGER["reference"].notna()].to_dict("records")


def test_reproduction_table(capsys):
    values = {r["id"]: r["reference"] for r in KNOWN if r["id"].startswith("003-lm")}
    table = report.reproduction_table(values)
    text, cells = repr(table), Cells(table._repr_html_())
    for id in values:
        assert id in text and id in cells.texts
    assert table.rows[-1][0] == "lm(lead ~ week + factor(id) - 1): estimate of child 1"
    assert all(row[4].startswith(ledger.PASSED) for row in table.rows)
    assert capsys.readouterr().out == ""
    values["003-lm-lead-week-f-statistic"] += 0.01
    with pytest.raises(ReproductionError, match="f-statistic: ours 5.77463, printed 5.765"):
        report.reproduction_table(values)
