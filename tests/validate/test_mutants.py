"""The table of mutants: each has a verdict with a test or a reason; a mutant without a place is said."""

import pytest

from tests.validate import mutants
from tests.validate.plant import ROOT, PlaceNotFound


class Copy:
    """A folder with one file of the package."""

    def __init__(self, folder, text):
        self.folder = folder
        (folder / "module.py").write_text(text)


def mutant(old, new, place):
    return {"path": "module.py", "old": old, "new": new, "place": place}


def test_every_mutant_has_a_verdict_and_a_test_or_a_reason():
    rows = mutants.read(mutants.TABLE)
    assert rows and {row["verdict"] for row in rows} <= {"killed", "equivalent", "open"}
    assert all(row["by"] for row in rows)
    assert len({mutants.key(row) for row in rows}) == len(rows)
    for row in rows:
        if row["verdict"] == "killed":
            path, _, test = row["by"].partition("::")
            assert f"def {test.partition('[')[0].rpartition('::')[2]}(" in (ROOT / path).read_text(encoding="utf-8")


def test_the_right_one_of_equal_lines_is_changed(tmp_path):
    tree = Copy(tmp_path, "a = 1\nb = 2\na = 1\n")
    mutants.changed(tree, mutant("a = 1", "a = 2", "1"))
    assert (tmp_path / "module.py").read_text() == "a = 1\nb = 2\na = 2\n"


def test_a_line_that_is_gone_is_said(tmp_path):
    with pytest.raises(PlaceNotFound, match="c = 1"):
        mutants.changed(Copy(tmp_path, "a = 1\n"), mutant("c = 1", "c = 2", "0"))


def test_a_module_has_its_own_test_first_and_then_those_that_name_what_it_defines():
    own, others = mutants.checks("lmmlib/equations/blup.py")
    assert own == ["tests/unit/equations/test_blup.py"]
    assert "tests/equations/test_blups.py" in others
