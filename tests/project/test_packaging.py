"""The archives hold the package and its data and nothing else, and work away from the repository."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = {"README.md", "LICENSE", "pyproject.toml", ".gitignore"}  # the last is added by hatchling


def archive(kind, source, folder):
    """A wheel or an sdist of the project in a folder, made without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return archive("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def files(*patterns):
    return {path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)}


CODE = files("lmmlib/*.py", "lmmlib/*/*.py", "lmmlib/py.typed")
STUDIES = files("studies/*.*")


def test_wheel_holds_code_and_data(wheel):
    with zipfile.ZipFile(wheel) as held:
        for path in ROOT.glob("data/*.csv"):
            assert held.read(f"lmmlib/data/{path.name}") == path.read_bytes()
        names = {name for name in held.namelist() if ".dist-info/" not in name}
    assert names == CODE | STUDIES | {f"lmmlib/{name}" for name in files("data/*.csv", "data/README.md")}


def test_sdist_holds_code_and_data_and_gives_the_same_wheel(wheel, tmp_path):
    copy = tmp_path / "copy"
    strays = ["lmmlib/.stray.swp", "lmmlib/design/stray.md", "lmmlib/design/old/stray.py", "data/stray.txt"]
    strays += ["tests/README.md", "tests/data/stray.csv"]
    for name in [*strays, *CODE, *STUDIES, *files("data/*"), *DESCRIPTION]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / ("README.md" if name in strays else name), copy / name)
    path = archive("sdist", copy, tmp_path / "sdist")
    with tarfile.open(path) as held:
        held.extractall(tmp_path, filter="data")
    source = tmp_path / path.name.removesuffix(".tar.gz")
    names = {file.relative_to(source).as_posix() for file in source.rglob("*") if file.is_file()}
    assert names == CODE | STUDIES | files("data/*.csv", "data/README.md") | DESCRIPTION | {"PKG-INFO"}
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(archive("wheel", source, tmp_path / "wheel")) as other:
        assert set(one.namelist()) == set(other.namelist())


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
