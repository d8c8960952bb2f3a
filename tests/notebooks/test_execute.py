"""`make run`: the same bytes when nothing changed, and a failing chapter is left as it was."""

import base64
import errno
import io
import os

import nbformat
import numpy as np
import pytest
from matplotlib.image import imread, imsave
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


def repainted(png, shades):
    """The picture with one corner darker by so many shades of 255."""
    pixels = np.round(255 * imread(io.BytesIO(base64.b64decode(png)), format="png")).astype(np.uint8)
    pixels[:3, :3, :3] -= np.uint8(shades)
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(("shades", "kept"), [(1, True), (40, False)])
def test_a_figure_of_other_shades_is_the_same_figure(tmp_path, execute, capsys, shades, kept):
    path = tmp_path / "99-small.ipynb"
    write(path, DRAW)
    assert execute.execute(path)
    notebook = nbformat.read(path, as_version=4)
    (output,) = notebook.cells[0].outputs
    output.data["image/png"] = repainted(output.data["image/png"], shades)
    path.write_text(execute.as_text(notebook), encoding="utf-8")
    before = path.read_bytes()
    assert execute.execute(path)
    assert (path.read_bytes() == before) == kept


def test_a_full_disk_leaves_the_chapter_as_it_was(tmp_path, execute, monkeypatch):
    path = tmp_path / "99-small.ipynb"
    write(path, "1 + 1")
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, "fsync", full)
        execute.execute(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
