"""pyproject.toml, requirements.lock, environment.yml and CONTRIBUTING.md name the same packages."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENVIRONMENT = (ROOT / "environment.yml").read_text(encoding="utf-8")


def load_tool():
    spec = importlib.util.spec_from_file_location("environment", ROOT / "chapters" / "_tools" / "environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


def direct():
    """The requirements that pyproject.toml names, all extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for text in [*project["dependencies"], *(text for extra in extras for text in extra)]]


def locked(lock=LOCK):
    return {canonicalize_name(Requirement(pin).name): Requirement(pin) for pin in TOOL.pins(lock)}


def agree(lock, environment):
    """Whether environment.yml is what the lock gives."""
    return TOOL.environment(lock) == environment


def test_environment_is_what_the_lock_gives():
    assert agree(LOCK, ENVIRONMENT)


def test_conda_reads_the_pins():
    parsed = yaml.safe_load(ENVIRONMENT)
    python, pip, packages = parsed["dependencies"]
    assert python.startswith("python=3.") and pip == "pip"
    assert packages["pip"][-1] == "-e ."
    assert [Requirement(text) for text in packages["pip"][:-1]] == list(locked().values())


@pytest.mark.parametrize("name", ["numpy", "matplotlib", "sphinx", "zipp"])
def test_a_changed_version_is_noticed(name):
    def other(text):
        changed = re.sub(rf"\b{name}==[\d.]+", f"{name}==0.0.1", text, count=1)
        assert changed != text
        return changed

    assert not agree(other(LOCK), ENVIRONMENT)
    assert not agree(LOCK, other(ENVIRONMENT))


def test_a_lost_package_is_noticed():
    assert not agree(LOCK, ENVIRONMENT.replace('      - "zipp', '      # - "zipp'))
    assert not agree(LOCK, ENVIRONMENT.replace('      - "-e ."\n', ""))


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_the_lock_holds_what_the_project_asks_for(requirement):
    pin = locked()[canonicalize_name(requirement.name)]
    version = next(iter(pin.specifier)).version
    assert requirement.specifier.contains(version)
    assert pin.marker is None


def test_every_pin_has_a_hash_and_no_address():
    blocks = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.M)[1:]
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert len(blocks) == len(TOOL.pins(LOCK))
    assert not re.search(r"://|--index|--find-links|--extra", LOCK + ENVIRONMENT)


def test_contributing_gives_a_reason_for_each_dependency():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("\n## Dependencies\n")[2]
    reasons = set(re.findall(r"^\| `([^`]+)` \| \S.{10,} \|$", table, re.M))
    assert reasons == {requirement.name for requirement in direct()}


@pytest.mark.slow
def test_jupyterlab_accepts_its_extensions():
    command = [sys.executable, "-m", "jupyter", "labextension", "list"]
    run = subprocess.run(command, capture_output=True, text=True)
    listed = re.sub(r"\x1b\[\d*m", "", run.stdout + run.stderr)
    assert re.search(r"jupyterlab-myst v\S+ +enabled +OK", listed), listed
    assert "not compatible" not in listed
