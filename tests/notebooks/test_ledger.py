"""Every number that a source document prints is reproduced by its companion."""

import csv

from tests.notebooks.checks import reproduced
from tests.notebooks.conftest import ROOT

DOCUMENTS = ("000", "001", "002", "003", "004")


def ledger(name="published"):
    with (ROOT / "data" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def outstanding(rows, notebooks):
    """Rows that the companion of their document does not show with a passing verdict."""
    shown = {name[:3]: reproduced(notebook) for name, notebook in notebooks.items() if name[:3] in DOCUMENTS}
    return [row["id"] for row in rows if row["id"] not in shown.get(row["document"], ())]


def test_every_row_is_reproduced(notebooks):
    assert outstanding(ledger(), notebooks) == []


def test_pages_show_only_rows_of_the_ledger(notebooks):
    ids = {row["id"] for row in ledger() + ledger("peers")}
    shown = set().union(*(reproduced(notebook) for notebook in notebooks.values()))
    assert shown - ids == set()


def test_the_page_of_programs_shows_every_row(notebooks):
    assert {row["id"] for row in ledger("peers")} == set(reproduced(notebooks["peers"]))


def test_each_row_names_a_document():
    assert [row["id"] for row in ledger() if row["document"] not in DOCUMENTS] == []
    assert [row["id"] for row in ledger() if not row["id"].startswith(f"{row['document']}-")] == []


def test_a_missing_or_failing_row_is_found(good):
    row = {"id": "003-a", "document": "003"}
    assert outstanding([row], {"003-small": good}) == ["003-a"]
    good.cells[2].outputs[0].text = "003-a: ours 1.50, printed 1.5, digits 2 of 2: agrees\n"
    assert outstanding([row], {"003-small": good}) == []
    assert outstanding([row], {"05-small": good}) == outstanding([row], {"004-small": good}) == ["003-a"]
    good.cells[2].outputs[0].text = "003-a: ours 1.60, printed 1.5, digits 1 of 2: DISAGREES\n"
    assert outstanding([row], {"003-small": good}) == ["003-a"]
