"""`make check` finds the tests of what was changed, stops when its time is over, and says what it left out."""

import ast
import subprocess

import pytest

from tests import check

IMPORTING = {
    "tests/oracle/test_exact.py": {"lmmlib.design.cross.CrossProducts", "lmmlib"},
    "tests/unit/design/test_basis.py": {"lmmlib.design.cross"},
    "tests/unit/design/test_cross.py": {"lmmlib.design.cross.cross_products"},
    "tests/project/test_check.py": {"tests.check", "ast"},
    "tests/unit/lmm/test_fit.py": {"lmmlib", "lmmlib.design.crossing"},
}


def test_names_that_are_imported():
    code = "import numpy as np\nfrom lmmlib.design import cross\ndef f():\n    from lmmlib.lmm.fit import (Fit,\n fit)"
    found = set(check.imported(ast.parse(code)))
    assert found == {"numpy", "lmmlib.design.cross", "lmmlib.lmm.fit.Fit", "lmmlib.lmm.fit.fit"}


def test_a_module_has_its_own_tests_first_and_those_that_import_it():
    found = check.tests_of("lmmlib/design/cross.py", IMPORTING)
    assert found[0] == "tests/unit/design/test_cross.py"
    assert found[-2:] == ["tests/unit/design/test_basis.py", "tests/oracle/test_exact.py"]
    assert "tests/unit/lmm/test_fit.py" not in found


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("lmmlib/errors.py", "tests/unit/test_errors.py"),
        ("lmmlib/design/__init__.py", "tests/project/test_api.py"),
        ("tests/oracle/test_exact.py", "tests/oracle/test_exact.py"),
        ("chapters/03-gls.ipynb", None),
        ("tests/check.py", "tests/project/test_check.py"),
        ("tests/unit/conftest.py", None),
        ("lmmlib/py.typed", None),
    ],
)
def test_other_files(path, first):
    assert [*check.tests_of(path, IMPORTING), None][0] == first


def test_the_own_tests_of_all_changed_files_come_first(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "ROOT", tmp_path)
    for file in (*IMPORTING, "tests/unit/test_errors.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    tests, without = check.chosen(["lmmlib/design/cross.py", "README.md", "lmmlib/errors.py"], IMPORTING)
    assert tests[:2] == ["tests/unit/design/test_cross.py", "tests/unit/test_errors.py"]
    assert without == ["README.md"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one commit, as the one that is checked; a function that calls git in it."""
    monkeypatch.setattr(check, "ROOT", tmp_path)

    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("config", "user.email", "a@b.c")
    git("config", "user.name", "A")
    (tmp_path / "old.py").write_text("1\n")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    return git


def test_changes_are_those_since_the_last_commit_or_else_since_main(repository):
    folder = check.ROOT
    assert check.changed() == ([], "since main")
    repository("checkout", "-q", "-b", "other")
    (folder / "old.py").write_text("2\n")
    (folder / "new.py").write_text("2\n")
    assert check.changed() == (["new.py", "old.py"], "since the last commit")
    repository("add", ".")
    repository("commit", "-q", "-m", "two")
    assert check.changed() == (["new.py", "old.py"], "since main")


def test_without_git_nothing_is_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert check.changed()[0] == []


@pytest.fixture
def quick(repository, monkeypatch, capsys):
    """`make check` in a small repository, without style and types: whether it fails, and what it prints."""
    options = ["[pytest]", "addopts = --import-mode=importlib", "markers =", "  slow:", "  statistical:", ""]
    (check.ROOT / "pytest.ini").write_text("\n".join(options))

    def run(text, seconds=60):
        name = f"test_{check.ROOT.name}.py"  # one that no other test has imported
        (check.ROOT / "tests").mkdir()
        (check.ROOT / "tests" / name).write_text(text)
        monkeypatch.setattr(check, "SECONDS", seconds)
        monkeypatch.setattr(check, "step", lambda name, *command: True)
        monkeypatch.setattr(check, "ALWAYS", ())
        failed = check.main()
        return failed, capsys.readouterr().out

    return run


SLOW = "import pytest\n@pytest.mark.slow\ndef test_slow():\n    assert False\ndef test_fast():\n    assert {}\n"


def test_a_slow_test_is_not_run_and_said(quick):
    failed, out = quick(SLOW.format("True"))
    assert not failed and "1 passed" in out and "1 tests that are slow" in out
    assert "nothing here looks at pytest.ini" in out


def test_a_test_that_fails_is_said(quick):
    failed, out = quick(SLOW.format("False"))
    assert failed and "1 failed" in out and out.endswith("FAILED\n")


def test_what_is_left_when_the_time_is_over_is_said(quick):
    failed, out = quick(SLOW.format("False"), seconds=-1)
    assert not failed and "1 tests of tests/test_test_what_is_left" in out


def test_a_step_that_fails_is_printed(capsys):
    assert check.step("style", "true") and not check.step("types", "sh", "-c", "echo wrong; exit 1")
    out = capsys.readouterr().out
    assert "style: passed" in out and "types: FAILED" in out and "wrong" in out
