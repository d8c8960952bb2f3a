"""Tests have their places: a file for each module under its name, in the folder of its room; a folder has its mark."""

from pathlib import Path
from types import SimpleNamespace

from tests import modules
from tests.statistical import conftest

UNIT = Path(__file__).parents[1] / "unit"


def differences(names, files):
    """Modules without a test file, and test files without a module: both as paths in the folder of the unit tests."""
    wanted = {Path(*name.split(".")).with_name(f"test_{name.rpartition('.')[2]}.py").as_posix() for name in names}
    return sorted(wanted - files), sorted(files - wanted)


def test_each_module_has_a_test_file_of_its_name():
    files = {path.relative_to(UNIT).as_posix() for path in UNIT.rglob("test_*.py")}
    assert differences(modules.NAMES, files) == ([], [])


def test_what_stands_elsewhere_is_found():
    found = differences(["errors", "design.cross"], {"test_errors.py", "lmm/test_cross.py"})
    assert found == (["design/test_cross.py"], ["lmm/test_cross.py"])


def test_the_folder_marks_its_tests():
    found = []
    folders = (conftest.FOLDER, UNIT)
    items = [SimpleNamespace(path=folder / "test_a.py", add_marker=found.append) for folder in folders]
    conftest.pytest_collection_modifyitems(items)
    assert found == ["statistical"]
