"""Every number that a source document prints is reproduced by the chapter the ledger names."""

import csv

from tests.notebooks.checks import reproduced
from tests.notebooks.conftest import ROOT


def ledger():
    with (ROOT / "data" / "published.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def outstanding(rows, notebooks):
    """Rows whose chapter exists and does not show them with a passing verdict."""
    shown = {name[:2]: reproduced(notebook) for name, notebook in notebooks.items()}
    return [row["id"] for row in rows if row["chapter"] in shown and row["id"] not in shown[row["chapter"]]]


def test_every_row_of_a_written_chapter_is_reproduced(notebooks):
    assert outstanding(ledger(), notebooks) == []


def test_chapters_show_only_rows_of_the_ledger(notebooks):
    ids = {row["id"] for row in ledger()}
    shown = set().union(*(reproduced(notebook) for notebook in notebooks.values()))
    assert shown - ids == set()


def test_some_rows_are_due(notebooks):
    chapters = {name[:2] for name in notebooks}
    assert sum(row["chapter"] in chapters for row in ledger()) >= 20


def test_each_row_names_a_chapter():
    assert [row["id"] for row in ledger() if row["chapter"] not in {f"{k:02d}" for k in range(1, 11)}] == []


def test_a_missing_or_failing_row_is_found(good):
    row = {"id": "003-a", "chapter": "99"}
    assert outstanding([row], {"99-small": good}) == ["003-a"]
    good.cells[2].outputs[0].text = "003-a: ours 1.50, printed 1.5, digits 2 of 2: agrees\n"
    assert outstanding([row], {"99-small": good}) == []
    good.cells[2].outputs[0].text = "003-a: ours 1.60, printed 1.5, digits 1 of 2: DISAGREES\n"
    assert outstanding([row], {"99-small": good}) == ["003-a"]
