"""Loaded by ``pytest --nbval chapters``: figures are compared by their pixels, unexecuted cells fail.

nbval alone compares text; it skips images, and a cell without an execution count it runs and never
compares. Both gaps are closed here. nbval also counts cells; here a failure begins with the notebook, the id of the
cell, and the first line that differs.
"""

import os
import re
import sys
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "_tools"))
from execute import images

# One thread: sums are taken in the same order on every run. Kernels inherit this.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"
os.environ["TQDM_DISABLE"] = "1"  # progress bars are for a reader at the keyboard

# Root mean square over all pixels and channels, on the scale 0 to 255. Data that differ by 1e-9
# (another processor) or text drawn by another build of the font engine stay below 1; data scaled
# by 1.01 give 5.7 and another random seed gives 21 in a figure of this book.
TOLERANCE = 2.0


def difference(stored, new):
    """Say how two lists of images differ, or return None when they show the same."""
    if len(stored) != len(new):
        return f"{len(stored)} stored figures, {len(new)} new"
    for number, (old, fresh) in enumerate(zip(stored, new, strict=True), start=1):
        if old.shape != fresh.shape:
            return f"figure {number}: size {old.shape} became {fresh.shape}"
        rms = float(np.sqrt(np.mean((old - fresh) ** 2)))
        if rms > TOLERANCE:
            return f"figure {number}: pixels differ by {rms:.2f} (root mean square), more than {TOLERANCE}"
    return None


def with_figures(cell, compare_text):
    """nbval's comparison of one cell, followed by the comparison of its figures."""

    def compare(test, reference, skip_compare=None):
        if not compare_text(test, reference, skip_compare):
            cell.first = first_line(reference, test)
            return False
        problem = difference(images(reference), images(test))
        if problem:
            cell.first = problem
            cell.comparison_traceback.append(problem)
        return problem is None

    return compare


def lines(outputs):
    """The lines that the outputs of a cell show as text; a figure is its placeholder."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(text.rstrip("\n") for text in texts).splitlines()


def first_line(stored, new):
    """The first line in which two lists of outputs differ."""
    for number, (old, fresh) in enumerate(zip_longest(lines(stored), lines(new)), start=1):
        if old != fresh:
            old, fresh = ("nothing" if line is None else repr(line.strip()) for line in (old, fresh))
            return f"line {number} was {old}, is {fresh}"
    return "outputs of other kinds than those that are stored"


def with_header(cell, report):
    """nbval's report of a failure, below a line that says where and what."""

    def repr_failure(excinfo):
        first = getattr(cell, "first", None)
        raised = re.sub(r"\x1b\[[0-9;]*m", "", getattr(excinfo.value, "inner_traceback", None) or "").split("\n")
        if first is None:
            first = next((line for line in reversed(raised) if line.strip()), str(excinfo.value))
        text = report(excinfo)
        return f"{cell.path.name}, {cell.cell.id}: {first}\n\n{text}"

    return repr_failure


def refuse_unexecuted(cell, run):
    """A cell that was never executed has no output to compare: that is a failure, not a pass."""

    def runtest():
        if cell.cell.execution_count is None:
            cell.first = "it was never executed"
            pytest.fail(f"{cell.name} was never executed: run `make run` and store its output", pytrace=False)
        run()

    return runtest


def pytest_collection_modifyitems(items):
    for item in items:
        if type(item).__name__ == "IPyNbCell":
            item.compare_outputs = with_figures(item, item.compare_outputs)
            item.runtest = refuse_unexecuted(item, item.runtest)
            item.repr_failure = with_header(item, item.repr_failure)
