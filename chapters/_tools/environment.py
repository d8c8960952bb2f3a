"""Write environment.yml from requirements.lock; with ``--lock`` resolve the dependencies first.

conda, mamba and Binder read environment.yml, everything else here reads requirements.lock: the one
is made from the other, so that all readers have the same versions.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from contextlib import contextmanager
from pathlib import Path

from chapters._tools.replacing import replace_text

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
ENVIRONMENT = ROOT / "environment.yml"
PIN = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+)\s*(;[^\\]*)?", re.M)
HEAD = """\
# Written from requirements.lock by `make lock`: do not edit.
# conda env create -f environment.yml (or mamba, or Binder); then: conda activate lmmlib
name: lmmlib
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
"""
COMPILE = (
    "pip compile pyproject.toml --all-extras --universal --python-version 3.11 --fork-strategy fewest "
    "--generate-hashes --no-header --no-annotate --no-config --quiet --output-file"
)


def pins(lock):
    """The requirements of a lock file's text, without hashes: ``name==version`` and its marker if any."""
    return [" ".join([pin, *([marker.strip()] if marker else [])]) for pin, marker in PIN.findall(lock)]


def environment(lock):
    """The text of environment.yml for the text of a lock file."""
    return HEAD + "".join(f'      - "{pin}"\n' for pin in pins(lock)) + '      - "-e ."\n'


@contextmanager
def uv():
    """The path of uv, which is fetched into a throwaway environment if it is not there."""
    with tempfile.TemporaryDirectory() as folder:
        found = shutil.which("uv")
        if found is None:
            print("fetching uv into a temporary environment ...", flush=True)
            venv.create(folder, with_pip=True)
            bin_folder = Path(folder, "Scripts" if sys.platform == "win32" else "bin")
            subprocess.run([bin_folder / "python", "-m", "pip", "install", "--quiet", "uv"], check=True)
            found = bin_folder / "uv"
        yield found


def resolve():
    """Write requirements.lock with uv."""
    with tempfile.TemporaryDirectory() as folder, uv() as tool:
        # The versions that are there already are kept where they may be: uv reads them from the file that it writes.
        resolved = Path(shutil.copy(LOCK, folder))
        subprocess.run([tool, *COMPILE.split(), resolved], cwd=ROOT, check=True)
        text = resolved.read_text(encoding="utf-8")
    addresses = [line for line in text.splitlines() if "://" in line or line.lstrip().startswith("-")]
    addresses = [line for line in addresses if not line.lstrip().startswith("--hash=")]
    if addresses:
        raise SystemExit(f"requirements.lock would hold an address or an option: {addresses[0]}")
    replace_text(LOCK, text)


def main():
    parser = argparse.ArgumentParser(description="Write environment.yml from requirements.lock.")
    parser.add_argument("--lock", action="store_true", help="resolve the dependencies of pyproject.toml first")
    if parser.parse_args().lock:
        resolve()
    text = environment(LOCK.read_text(encoding="utf-8"))
    replace_text(ENVIRONMENT, text)
    print(f"requirements.lock and environment.yml: {len(pins(LOCK.read_text(encoding='utf-8')))} packages")


if __name__ == "__main__":
    main()
