"""Files of the repository are replaced whole: a full disk or an interrupt leaves the old text."""

import errno
import io
import os
import re
import stat
from pathlib import Path

import pytest

from chapters._tools.replacing import replace_text

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "old\n", "new " * 10000 + "\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "01-page.ipynb"
    path.write_text(OLD)
    path.chmod(0o640)
    return path


def test_the_text_is_replaced_and_the_permissions_stay(path):
    replace_text(path, NEW)
    assert path.read_bytes() == NEW.encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_a_new_file_and_a_link(path):
    replace_text(path.with_name("other"), "a\r\nü")
    assert path.with_name("other").read_bytes() == "a\r\nü".encode()
    link = path.with_name("link")
    link.symlink_to(path)
    replace_text(link, NEW)
    assert link.is_symlink() and path.read_text() == NEW


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(*_):
    raise KeyboardInterrupt


class Full(io.TextIOWrapper):
    """A file on a disk that is full after the first bytes."""

    def __init__(self, path, error):
        super().__init__(io.FileIO(path, "w"))
        self.error = error

    def write(self, text):
        super().write(text[:100])
        self.flush()
        self.error()


@pytest.mark.parametrize("error", [full, interrupted])
@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_whatever_stops_it_leaves_the_old_text(path, monkeypatch, where, error):
    with monkeypatch.context() as patched, pytest.raises((OSError, KeyboardInterrupt)):
        if where == "write":
            patched.setattr(Path, "open", lambda self, *_, **__: Full(self, error))
        else:
            patched.setattr(os, where, error)
        replace_text(path, NEW)
    assert path.read_text() == OLD
    assert list(path.parent.iterdir()) == [path]


def test_nothing_else_in_the_repository_writes_over_a_file():
    """A script writes its own files through replace_text; what it writes into a temporary folder may be direct."""
    writes = re.compile(
        r"\.write_(text|bytes)\(|open\([^)]*[\"'][wax]b?\+?[\"']|\.to_csv\([^)i]|np\.savez?|json\.dump\("
    )
    direct = {
        "chapters/_tools/replacing.py": 1,  # the new file beside the old one
        "chapters/_tools/build.py": 2,  # locks, and the log in the build's own folder
        "chapters/_tools/assets.py": 3,  # from here files of a book that is being built
        "chapters/_tools/explorers.py": 3,
        "chapters/_tools/lmmbook.py": 1,
        "chapters/_tools/previews.py": 1,
        "chapters/_tools/search_places.py": 1,
        "chapters/_tools/release.py": 2,  # in a folder of its own, which replaces dist when all is good
        "benchmarks/memory.py": 1,  # numbers for processes of their own, in a temporary folder
        "benchmarks/packages.py": 1,  # the input of other Pythons, in a temporary folder
        "benchmarks/peers.py": 1,  # R's input, in a temporary folder
    }
    found = {}
    for folder in ("chapters/_tools", "benchmarks", "studies", "lmmlib"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if count := len(writes.findall(file.read_text(encoding="utf-8"))):
                found[file.relative_to(ROOT).as_posix()] = count
    assert found == direct
