"""The words of a table are locked: caption, headings, names of rows."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lmmlib import report
from tests.notebooks.conftest import load_tool

tables = load_tool("tables")
pictures = tables.pictures


def test_the_lock_agrees():
    assert pictures.differences(tables.book(), pictures.read(tables.LOCK), "table") == []


def small(caption="Blood lead (µg/dL)", arms=("placebo", "succimer"), heading="mean", tags=()):
    """A page with one table."""
    table = report.table({"arm": arms, heading: [24.7, 19.1]}, digits=1, caption=caption)
    data = {"text/html": table._repr_html_(), "text/plain": repr(table)}
    output = new_output("execute_result", data=data, execution_count=1)
    return new_notebook(cells=[new_code_cell("t", id="means", outputs=[output], metadata={"tags": list(tags)})])


FAULTS = {
    "a wrong unit in the caption": {"caption": "Blood lead (mm)"},
    "arms in each other's place": {"arms": ("succimer", "placebo")},
    "another heading": {"heading": "median"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault):
    lines = [one.line for one in tables.tables("99-x", small())]
    assert pictures.differences(tables.tables("99-x", small()), lines, "table") == []
    (problem,) = pictures.differences(tables.tables("99-x", small(**FAULTS[fault])), lines, "table")
    assert "make lock-table TABLE=99-x/means" in problem


def test_what_is_not_compared_is_not_locked():
    assert tables.tables("99-x", small(tags=["nbval-ignore-output"])) == []
