"""The page "How this book is checked": its numbers come from whole runs without failures, and never from a hand."""

import json
import os
import re
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from docutils import nodes

from chapters._tools import checked
from tests.notebooks.conftest import ROOT, load_tool
from tests.validate import plant

PAGE = ROOT / "chapters" / "checked.md"
NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "outputs": [], "execution_count": 1},
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def xml(cases, at, folder, part):
    """A report as pytest writes it, of tests "file name verdict"."""
    body = ""
    for case in cases:
        file, name, verdict = case.split()
        inner = "" if verdict == "passed" else f'<{verdict} message="no R here" />'
        body += f'<testcase classname="{file}" name="{name}" time="0.1">{inner}</testcase>'
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(at, UTC).isoformat()
    text = f'<testsuites><testsuite name="pytest" time="61.5" timestamp="{stamp}">{body}</testsuite></testsuites>'
    (folder / f"{part}.xml").write_text(text)


@pytest.fixture
def whole(tmp_path, monkeypatch):
    """A repository of two test files and one notebook, with the reports of a whole run."""
    for name in ("tests/unit/test_a.py", "tests/book/test_b.py", "chapters/01-one.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(NOTEBOOK) if name.endswith("ipynb") else "")
    monkeypatch.setattr(checked, "files", lambda root: [p for p in root.rglob("*") if p.suffix in (".py", ".ipynb")])
    run = tmp_path / "_build" / "run"
    now = time.time() + 1
    xml(["tests.unit.test_a test_1 passed", "tests.unit.test_a.TestX test_2 skipped"], now, run, "code")
    xml(["chapters.01-one.ipynb Cell0 passed"], now + 1, run, "notebooks")
    xml(["tests.book.test_b test_3 passed"], now + 2, run, "pages")
    return SimpleNamespace(root=tmp_path, run=run, now=now, problems=lambda: checked.problems(run, tmp_path))


def test_a_whole_run_has_no_problems(whole):
    assert whole.problems() == []
    reports = {part: checked.read(whole.run / f"{part}.xml") for part in checked.PARTS}
    assert checked.by_folder(reports) == {"book": {"tests": 1, "skipped": 0}, "unit": {"tests": 2, "skipped": 1}}
    assert reports["code"].reasons == {"no R here": 1} and reports["code"].seconds == 61.5


@pytest.mark.parametrize("part", checked.PARTS)
def test_a_missing_report_is_named(whole, part):
    (whole.run / f"{part}.xml").unlink()
    assert whole.problems() == [f"there is no report of `make {part}`"]


@pytest.mark.parametrize("verdict", ["failure", "error"])
def test_a_failure_is_named(whole, verdict):
    xml([f"tests.book.test_b test_3 {verdict}"], whole.now, whole.run, "pages")
    assert whole.problems() == ["`make pages`: 1 failed, first tests.book.test_b::test_3"]


def test_what_was_left_out_is_named(whole):
    xml(["tests.book.test_other test_3 passed"], whole.now, whole.run, "pages")
    xml([], whole.now, whole.run, "notebooks")
    left_out = ["tests/book/test_b.py: no test of it was run", "chapters/01-one.ipynb: 0 of 1 cells were executed"]
    assert whole.problems() == left_out


def test_a_later_change_is_named(whole):
    os.utime(whole.root / "tests" / "unit" / "test_a.py", (whole.now + 9, whole.now + 9))
    assert whole.problems() == ["tests/unit/test_a.py has changed since the run began"]


def test_nothing_is_written_of_a_run_with_problems(whole, monkeypatch, capsys):
    monkeypatch.setattr(checked, "problems", lambda: ["one", "two"])
    monkeypatch.setattr(checked, "STORED", whole.root / "checked.json")
    assert checked.main() == 1
    assert not (whole.root / "checked.json").exists() and "run `make test`:\n  one\n  two\n" in capsys.readouterr().out


def results():
    of = [("code", "a sign", "caught"), ("code", "a factor", "SURVIVED"), ("data", "a unit", "caught")]
    return [
        plant.Result(plant.Fault(kind, name, None), verdict, "test_x.py::test_y", "", (), 1.0)
        for kind, name, verdict in of
    ]


def test_what_is_stored_of_the_planted_faults():
    stored = plant.summary(results(), 61.2)
    assert (stored["planted"], stored["caught"], stored["seconds"]) == (3, 2, 61)
    assert stored["kinds"]["code"] == {"planted": 2, "caught": 1, "fault": "a sign", "by": "test_y"}


@pytest.fixture
def made(whole, monkeypatch):
    """What would be stored of the small run above, with planted faults."""
    (whole.run / "validate.json").write_text(json.dumps(plant.summary(results(), 61.2)))
    return checked.collected(whole.run)


def test_what_is_stored_names_no_place_of_the_machine(made):
    text = json.dumps(made)
    assert set(made) == {"run", "tests", "skipped", "book", "faults", "software", "machine"}
    assert str(ROOT) not in text and str(ROOT.parent) not in text and "hostname" not in text
    assert set(made["machine"]) == {"processor", "cores", "memory", "system"} and made["software"]["numpy"]


@pytest.fixture(scope="module")
def page_tool():
    checked_tools = pytest.MonkeyPatch()
    checked_tools.syspath_prepend(ROOT / "chapters" / "_tools")
    yield load_tool("checked_page")
    checked_tools.undo()


def said(found):
    return " ".join(text.astext() for node in found for text in node.findall(nodes.Text))


def directive(tool, argument):
    noted = []
    state = SimpleNamespace(document=SimpleNamespace(settings=SimpleNamespace(env=None)))
    made = object.__new__(tool.Checked)
    made.arguments, made.state = [argument], state
    state.document.settings.env = SimpleNamespace(note_dependency=noted.append)
    found = made.run()
    assert noted == [str(tool.STORED)]
    return found


def test_without_a_run_the_page_says_so(page_tool, tmp_path, monkeypatch):
    monkeypatch.setattr(page_tool, "STORED", tmp_path / "checked.json")
    assert said(directive(page_tool, "run")) == "No run is stored."
    for argument in ("tests", "faults", "fault code", "machine"):
        assert directive(page_tool, argument) == []


def test_with_a_run_the_page_shows_it(page_tool, tmp_path, monkeypatch, made):
    monkeypatch.setattr(page_tool, "STORED", tmp_path / "checked.json")
    page_tool.STORED.write_text(json.dumps(made))
    run = said(directive(page_tool, "run"))
    assert (
        f"The last stored run is of {made['run']['date']}" in run
        and "2 of 3" in run
        and "time of make code 1 min" in run
    )
    assert "tests/unit each module by itself 2 1" in said(directive(page_tool, "tests"))
    assert "“a sign”, by  test_y" in said(directive(page_tool, "fault code"))
    assert directive(page_tool, "fault nothing") == []
    assert "code 1 of 2 a sign" in said(directive(page_tool, "faults"))
    assert made["software"]["numpy"] in said(directive(page_tool, "machine"))
    page_tool.STORED.write_text(json.dumps(made | {"faults": None}))
    assert said(directive(page_tool, "faults")) == "No run of the planted faults is stored."


def test_each_folder_and_each_kind_of_fault_that_the_page_names_is_there(page_tool):
    assert set(page_tool.FOLDERS) == {path.parts[1] for path in checked.test_files()}
    assert set(page_tool.COUNTS) == set(checked.of_book())
    text = PAGE.read_text(encoding="utf-8")
    views = re.findall(r"^```\{checked\} (\S+) ?(.*)$", text, re.M)
    assert {view for view, _ in views} == set(page_tool.VIEWS)
    from tests.validate.faults import FAULTS

    assert {kind for view, kind in views if view == "fault"} <= {fault.kind for fault in FAULTS}


def by_hand(text):
    """Numbers in digits that stand in the text of a page; a name such as lme4 or SHA-256 is none."""
    return re.findall(r"(?<![\w-])\d[\d.,]*", text)


def test_the_page_names_no_number_by_hand():
    assert by_hand(PAGE.read_text(encoding="utf-8")) == []
    assert by_hand("there are 1,234 tests by lme4 and 7 of SHA-256.") == ["1,234", "7"]


def test_what_is_stored_is_still_so():
    """What can be counted without a run; otherwise: `make test`, then `make checked`."""
    counted, folders = checked.of_book(), {path.parts[1] for path in checked.test_files()}
    assert min(counted.values()) > 0
    if checked.STORED.exists():
        stored = json.loads(checked.STORED.read_text(encoding="utf-8"))
        assert (stored["book"], set(stored["tests"])) == (counted, folders)
