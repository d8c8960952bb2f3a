"""A wheel holds the package and its data, and works away from the repository."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_code_and_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        for path in ROOT.glob("data/*.csv"):
            assert archive.read(f"lmmlib/data/{path.name}") == path.read_bytes()
    assert {f"lmmlib/{path.name}" for path in ROOT.glob("lmmlib/*.py")} <= held
    assert not [name for name in held if name.startswith(("data/", "tests/", "chapters/"))]


def test_wheel_works_on_its_own(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import lmmlib; "
        f"assert lmmlib.__file__.startswith({str(tmp_path)!r}); "
        "print([len(lmmlib.load(name)) for name in ('tlc', 'dental', 'sleep', 'dyestuff', 'planting')])"
    )
    run = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.strip() == "[400, 108, 180, 30, 80]", run.stderr
