"""Types are checked, and nothing is silenced: users of lmmlib see them too."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import modules

ROOT = Path(__file__).resolve().parents[2]
SILENCED = {"ignore_errors", "disable_error_code", "exclude"}


def test_nothing_is_silenced():
    assert [name for name, text in modules.TEXT.items() if "type: ignore" in text or "# mypy:" in text] == []
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    for part in (settings, *settings["overrides"]):
        assert not SILENCED & set(part)
        assert not any("lmmlib" in name for name in part.get("module", []))


@pytest.mark.slow
def test_a_call_of_the_wrong_kind_is_found(tmp_path):
    """By whoever uses the package, as it says that it has types; the right call passes."""
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    start = "import lmmlib\n\nsleep = lmmlib.load('sleep')\n"
    right.write_text(f"{start}lmmlib.fit('Reaction ~ Days + (1 | Subject)', sleep).confint(0.9)\n")
    wrong.write_text(f"{start}lmmlib.fit('Reaction ~ Days + (1 | Subject)', sleep).confint(0.9, 'wald')\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), str(right), str(wrong)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert "wrong.py:4: error: Too many positional arguments" in said and "right.py" not in said
    assert "Found 1 error" in said
