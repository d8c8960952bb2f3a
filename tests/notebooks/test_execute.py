"""`make run`: the same bytes when nothing changed, and a failing chapter is left as it was."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

DRAW = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2, 3])"
STREAMS = "import sys\nfor k in range(50):\n    print(k)\n    sys.stdout.flush()"


def write(path, *sources):
    cells = [new_code_cell(source, id=f"c{k}") for k, source in enumerate(sources)]
    nbformat.write(new_notebook(cells=cells), path)


def test_second_run_writes_the_same_bytes(tmp_path, execute, capsys):
    path = tmp_path / "99-small.ipynb"
    write(path, "1 + 1", DRAW, STREAMS)
    assert execute.execute(path)
    first, modified = path.read_bytes(), path.stat().st_mtime_ns
    assert execute.execute(path)
    assert path.read_bytes() == first
    assert path.stat().st_mtime_ns == modified
    assert b"iopub" not in first and b"3.11" not in first
    assert capsys.readouterr().out.split()[-1] == "unchanged"


def test_failing_chapter_is_left_as_it_was(tmp_path, execute, capsys):
    path = tmp_path / "99-small.ipynb"
    write(path, "1 / 0", "print(1)")
    before = path.read_bytes()
    assert not execute.execute(path)
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().err
