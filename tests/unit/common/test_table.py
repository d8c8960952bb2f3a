"""Tables as text and as HTML."""

import numpy as np
import pandas as pd

from lmmlib import report
from lmmlib.common.table import labels, written
from tests.unit.common.cells import Cells

# --- tables ---------------------------------------------------------------------------------------


def example():
    rows = [
        {"model": "a < b", "n": 400, "estimate": -1e-9, "p": 2e-6},
        {"model": "c", "n": 27, "estimate": 12.34567, "p": 0.25},
    ]
    return report.table(rows, digits={"estimate": 4, "p": report.p}, caption="Two fits")


def test_table_as_text():
    assert repr(example()) == "\n".join(
        [
            "Two fits",
            "model    n  estimate       p",
            "a < b  400    0.0000  <0.001",
            "c       27   12.3457  0.2500",
        ]
    )


def test_table_as_html():
    cells = Cells(example()._repr_html_())
    assert cells.texts == [
        "Two fits",
        "model",
        "n",
        "estimate",
        "p",
        "a < b",
        "400",
        "0.0000",
        "<0.001",
        "c",
        "27",
        "12.3457",
        "0.2500",
    ]
    names = [tag for tag, _ in cells.tags]
    assert names[:2] == ["table", "caption"] and "thead" in names and "tbody" in names
    assert [a["scope"] for t, a in cells.tags if t == "th"] == ["col"] * 4 + ["row"] * 2
    assert all(a == {"class": "num"} for t, a in cells.tags if t == "td")
    assert "style" not in example()._repr_html_() and "color" not in example()._repr_html_()


def test_labels_are_made_once_and_have_names_of_their_own():
    one, other = labels(("a", "b")), labels(("a", "b"))
    one.name = "mine"
    assert other.name is None and labels(("a", "b")).name is None
    assert list(other) == ["a", "b"] and other.dtype == pd.Index(["a", "b"]).dtype


def test_numbers_are_written_column_by_column():
    frame = pd.DataFrame(np.arange(6.0).reshape(2, 3), ["x", "y"], ["a", "b", "c"])
    assert written(frame, ["{:.0f}".format, "{:.1f}".format]) == (("x", "0", "1.0"), ("y", "3", "4.0"))
