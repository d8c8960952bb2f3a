"""What `pytest --nbval chapters` catches, shown on one notebook with a broken cell of each kind."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.notebooks.conftest import CHAPTERS

pytestmark = pytest.mark.slow  # a fixture of all runs pytest on the notebook
SETUP = "import matplotlib.pyplot as plt"
FIGURE = "fig, ax = plt.subplots(figsize=(4, 3))\n_ = ax.plot([0, 1, 2], [0, {}, 3], linewidth=2)"
CELLS = {
    "setup": SETUP,
    "good number": "print(1.5)",
    "good figure": FIGURE.format(1),
    "hardly moved": FIGURE.format(1),
    "changed number": "print(1.5)",
    "changed line": FIGURE.format(1),
    "lost figure": FIGURE.format(1),
    "resized figure": FIGURE.format(1),
    "unexecuted": "print(1.5)",
    "ignored": "print(1.5)",
    "second line": "print('one')\nprint('two')",
    "now raises": "print(1.5)",
}
CHANGED = {
    "hardly moved": FIGURE.format(1 + 1e-9),
    "changed number": "print(1.6)",
    "changed line": FIGURE.format(1.05),
    "lost figure": "pass",
    "resized figure": FIGURE.format(1).replace("(4, 3)", "(4, 4)"),
    "ignored": "print(1.6)",
    "second line": "print('one')\nprint('too')",
    "now raises": "1 / 0",
}
# How the report of a failure begins: what differs.
FAILING = {
    "changed number": "line 1 was '1.5', is '1.6'",
    "changed line": "figure 1: pixels differ by",
    "lost figure": "line 1 was '<Figure size",
    "resized figure": "line 1 was '<Figure size 400x300 with 1 Axes>', is '<Figure size 400x400",
    "unexecuted": "it was never executed",
    "second line": "line 2 was 'two', is 'too'",
    "now raises": "ZeroDivisionError: division by zero",
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, execute_module):
    """The notebook is executed, its sources are changed, and nbval compares with what was stored."""
    folder = tmp_path_factory.mktemp("chapters")
    shutil.copy(CHAPTERS / "conftest.py", folder)
    (folder / "_tools").mkdir()
    shutil.copy(CHAPTERS / "_tools" / "execute.py", folder / "_tools")
    path = folder / "99-broken.ipynb"
    cells = [new_code_cell(source, id=f"c{k}") for k, source in enumerate(CELLS.values())]
    nbformat.write(new_notebook(cells=cells), path)
    assert execute_module.execute(path)
    notebook = nbformat.read(path, as_version=4)
    for name, cell in zip(CELLS, notebook.cells, strict=True):
        cell.source = CHANGED.get(name, cell.source)
        if name == "unexecuted":
            cell.execution_count, cell.outputs = None, []
        if name == "ignored":
            cell.metadata["tags"] = ["nbval-ignore-output"]
    nbformat.write(notebook, path)
    # No --nbval-current-env: the plain command must find the figures too.
    command = [sys.executable, "-m", "pytest", "--nbval", str(folder), "-v", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    found = re.findall(r"::Cell (\d+) (PASSED|FAILED)", run.stdout)
    assert len(found) == len(CELLS), run.stdout
    return {name: verdict for name, (_, verdict) in zip(CELLS, found, strict=True)}, run


@pytest.fixture(scope="module")
def execute_module(execute):
    return execute


@pytest.mark.parametrize("name", CELLS)
def test_cell(verdicts, name):
    assert verdicts[0][name] == ("FAILED" if name in FAILING else "PASSED")


def test_exit_code(verdicts):
    assert verdicts[1].returncode == 1


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_names_notebook_cell_and_the_first_difference(verdicts, name):
    header = f"99-broken.ipynb, c{list(CELLS).index(name)}: {FAILING[name]}"
    assert header in verdicts[1].stdout


def test_reason_is_given(verdicts):
    output = verdicts[1].stdout
    for reason in ("pixels differ by", "was never executed", "Missing output fields", "1.6"):
        assert reason in output
