"""Printed numbers: rounding, tables, checks, and the comparison with the ledger."""

import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from lmmlib import report
from lmmlib.book import datasets, ledger
from lmmlib.errors import ParameterError, ReproductionError

LEDGER = datasets.published()
FINITE = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


# --- tables ---------------------------------------------------------------------------------------


class Cells(HTMLParser):
    """The tags with their attributes, and the texts, of a table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)


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
        "score: 0.000000 both ways (difference < 1e-10)",
        "V: all 4 numbers agree both ways (relative difference < 1e-10)",
    ]


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


@pytest.mark.parametrize("row", [r for r in KNOWN if r["kind"] != "monte-carlo"], ids=lambda r: r["id"])
def test_the_reference_agrees_and_a_wrong_number_does_not(row, capsys):
    report.reproduces(row["id"], row["reference"])
    out = capsys.readouterr().out
    assert out.startswith(f"{row['id']}: ours ") and f": {ledger.PASSED}" in out and out.count("\n") == 1
    unit = 1e-15 if row["kind"] == "bound" else 10.0 ** ledger._last_place(row["printed"])
    if row["kind"] == "early-stop":
        unit = 3e-6 * row["reference"]
    for wrong in (row["reference"] + 1.1 * unit, row["reference"] - 1.1 * unit, math.nan):
        with pytest.raises(ReproductionError, match=ledger.FAILED):
            report.reproduces(row["id"], wrong)
    assert capsys.readouterr().out == ""


def compare(id, value, mcse=None):
    return ledger.compare(f"003-{id}" if not id.startswith("0") else id, value, mcse)


def test_a_tie_agrees_whatever_its_rounding_error():
    for error in (-1e-13, 0, 1e-13):
        assert compare("lm-lead-week-residual-3q", 4.4535 + error).passed  # printed 4.454
        assert compare("lead-week-treatment-1-id-estimate-of-intercept", 25.76475 + error).passed  # 25.7648
    assert not compare("lm-lead-week-residual-3q", 4.4534999).passed


def test_exponents_are_respected():
    name = "lead-week-treatment-1-id-p-value-of-treatmentsuccimer"  # 2.1e-06
    assert compare(name, 2.1035e-6).ours == "2.104e-06"
    assert compare(name, 2.149e-6).passed and not compare(name, 2.16e-6).passed


def test_digits_that_agree():
    assert compare("001-dental-reml-standard-deviation-intercept", 2.32703591589089).digits == "4 of 6"
    assert compare("lm-lead-week-t-of-week", -2.4009634).digits == "4 of 4"
    assert compare("lm-lead-week-t-of-week", 2.4009634).digits == "0 of 4"
    zero = compare("lead-week-treatment-1-id-correlation-of-fixed-effects-treatment-with-week", -1e-15)
    assert (zero.ours, zero.digits, zero.passed) == ("0.00000", "3 of 3", True)


def test_an_early_stop_is_held_against_the_optimum():
    name = "001-dental-reml-standard-deviation-intercept"
    found = compare(name, 2.327035916)
    assert found.passed and found.note.startswith("printed value off by 0.00032;")
    assert not compare(name, 2.32736).passed, "the printed value itself is not the optimum"


def test_a_source_error_says_why(capsys):
    report.reproduces("004-sigma2-hat", 0.4923811875)
    assert "but the printed number is wrong" in capsys.readouterr().out
    table = report.reproduction_table({"004-sigma2-hat": 0.4923811875})
    assert "RSS/(80 - 30)" in table.rows[0][4]
    assert not compare("004-sigma2-hat", 0.78781).passed


def test_a_bound():
    name = "lm-lead-week-p-value-of-intercept"
    assert compare(name, 0.0).passed and compare(name, 1e-133).ours == "<2e-16"
    assert not compare(name, 2e-16).passed and not compare(name, -1e-3).passed


def test_a_monte_carlo_average_needs_its_error():
    for wrong in (None, -1.0, math.nan, math.inf):
        with pytest.raises(ParameterError, match="mcse"):
            compare("004-theta-tilde-1", 2.84, wrong)
    assert compare("004-theta-tilde-1", 2.869, 0.007).passed  # printed 2.841: 0.028 <= 4 * 0.007 + 0.0005
    assert not compare("004-theta-tilde-1", 2.869, 0.0068).passed


def test_an_unknown_id_is_named_with_near_ones():
    with pytest.raises(ParameterError, match="003-lm-lead-week-f-statistic"):
        ledger.compare("003-lm-lead-week-f-statistics", 1.0)


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
