"""Nothing in the project names a folder of its author's machine or a place of packages, or hides a character."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {"_build", "__pycache__", "dist", "node_modules"}
TEXT = {"", ".py", ".md", ".toml", ".yml", ".cff", ".bib", ".csv", ".css", ".js", ".ipynb", ".lock", ".json"}
# Home folders, temporary ones, the folder that holds this repository, and package indexes.
HERE = [f"{re.escape(str(folder))}/" for folder in (ROOT.parent, Path.home()) if len(folder.parts) > 1]
FORBIDDEN = re.compile("|".join([*HERE, r"/home/\w", r"/Users/\w", r"/tmp/\w", r"/simple/", r"localhost:\d"]))


def files():
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts)
        if path == Path(__file__).resolve() or not path.is_file() or path.suffix not in TEXT:
            continue
        if not hidden and not SKIPPED & set(parts):
            yield path


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_machine_and_no_address(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line[:80] for line in lines if FORBIDDEN.search(line)] == []


# What an escape in a script makes of a backslash: "\beta" with a backspace in it, which no editor shows.
HIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_hidden_character(path):
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [line[:80] for line in lines if HIDDEN.search(line)] == []


def test_a_hidden_character_is_found():
    assert HIDDEN.search("\\hat\beta") and not HIDDEN.search("\\hat\\beta\tand so on")


def test_the_pattern_finds_what_it_should():
    for line in ("cd /home/ann/book", "see /tmp/x", "--index https://host/simple/"):
        assert FORBIDDEN.search(line)
    assert not FORBIDDEN.search("a/b and https://doi.org/10.2307/1914288")
