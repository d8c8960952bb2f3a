"""The environment of `make`: made once, and again when its folder was moved or its Python is gone or broken."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AGAIN = ".venv was moved, or its Python is gone or broken: the environment is made again"
MADE = "making the environment in .venv"
# Stands for a Python that makes environments: its copy in .venv/bin does nothing, successfully.
PYTHON = """#!/bin/sh
if [ "$2" = venv ]; then
  rm -rf .venv && mkdir -p .venv/bin
  for name in python pip; do printf '#!/bin/sh\\nexit 0\\n' >.venv/bin/$name; chmod +x .venv/bin/$name; done
fi
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def make(tmp_path):
    """`make .venv/.ready` in a folder that holds nothing but the Makefile and a lock file: what it says."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.lock").touch()
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def of(*targets, folder=folder):
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "PYTHON")}
        command = ["make", *(targets or [".venv/.ready"]), f"PYTHON={python}"]
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout + run.stderr

    of.folder = folder
    return of


def gone(python):
    python.unlink()
    python.symlink_to("/nowhere/python3.11")


def broken(python):
    python.write_text("#!/bin/sh\necho 'cannot open shared object file' >&2\nexit 127\n")


def of_another_version(python):
    """A link to a Python that was upgraded: it starts, and finds none of the packages."""
    python.write_text("#!/bin/sh\n[ \"$2\" != 'import pip' ]\n")


def test_the_environment_is_made_once(make):
    said = make()
    assert MADE in said and AGAIN not in said
    assert "up to date" in make()


@pytest.mark.parametrize("harm", [gone, broken, of_another_version])
def test_an_environment_without_its_python_is_made_again(make, harm):
    make()
    harm(make.folder / ".venv" / "bin" / "python")
    said = make()
    assert AGAIN in said and MADE in said
    assert "up to date" in make()


def test_a_moved_environment_is_made_again(make):
    make()
    moved = make.folder.with_name("moved")
    make.folder.rename(moved)
    said = make(folder=moved)
    assert AGAIN in said and MADE in said


def test_help_lists_every_command_of_the_makefile(make):
    listed = set(re.findall(r"^make ([a-z-]+)", make("help"), re.M))
    phony = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split())
    assert listed == phony - {"lint", "code", "notebooks", "pages"}  # the parts of `make test`


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_pages_name_commands_that_exist(make, page):
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8")))
    assert named and named <= set(re.findall(r"^make ([a-z-]+)", make("help"), re.M))
