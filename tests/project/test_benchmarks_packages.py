"""Times beside Python packages: a stand-in for them, what is left out, and the page's table of the stored times."""

import json
import sys

import pytest

from benchmarks import one_package, packages
from tests.notebooks.conftest import ROOT, load_tool

SMALL = packages.Case("small", "crossed", packages.CASES[2].frame, 2)


def test_parts_of_a_formula():
    assert one_package.parts("y ~ x + (x | g)") == ("y ~ x", "g", "~x")


def test_absent_packages_are_left_out(monkeypatch):
    monkeypatch.setattr(packages, "PACKAGES", ("no-such-package",))
    rows = packages.measure((SMALL,), sys.executable, lme4=False)
    assert [row["program"].split()[0] for row in rows] == ["lmmlib"] and rows[0]["fits"] == 2


def test_a_package_is_asked_in_a_process_of_its_own(monkeypatch):
    """statsmodels, the one that this environment has, on the sleep study."""
    case = packages.Case("sleep", "sleep", packages.CASES[0].frame, 2, slow=2)
    rows = packages.measure((case,), None, lme4=False)
    assert [row["program"].split()[0] for row in rows] == ["lmmlib", "statsmodels"]
    assert abs(rows[1]["above"]) < 1e-4 and rows[1]["fits"] == 2
    assert rows[1]["share"] == pytest.approx(rows[0]["median"] / rows[1]["median"])


def test_the_table_is_stored(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(packages, "LAST", tmp_path / "last.json")
    monkeypatch.setattr(packages.peers, "lme4_version", lambda: None)
    assert packages.main(None, (SMALL,)) == 0
    stored = json.loads((tmp_path / "last.json").read_text())
    assert stored["lme4"] is None and len(stored["rows"]) == 1 and "processors" in stored["machine"]
    assert "| small | lmmlib" in capsys.readouterr().out


def test_the_page_shows_the_fastest_first(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "chapters" / "_tools")
    tool = load_tool("speed_page")
    stored = json.loads(tool.STORED.read_text(encoding="utf-8"))
    first = stored["rows"][0]["fit"]
    rows = sorted((row["median"], row["program"]) for row in stored["rows"] if row["fit"] == first)
    said = tool.tables(stored)[1].astext().split("\n\n")
    assert [text for text in said if text in dict(map(reversed, rows))] == [program for _, program in rows]
    assert tool.line({"program": "a 1", "median": 2.0, "share": 0.5, "above": None}) == ("a 1", "2 s", "0.5", "")
