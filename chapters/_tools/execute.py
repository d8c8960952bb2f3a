"""Execute chapters in place: ``python chapters/_tools/execute.py [01 03 ...]`` (all of them without arguments).

The file that is written holds what the kernel printed and nothing that differs from one run to the
next: no timings, no versions, no widget state. On another processor the last digits differ, and with
them a few pixels by one shade; such a figure is the same, and the stored one is kept. Executing an
unchanged chapter therefore leaves it byte for byte as it was. A chapter whose cell
fails, whose run is interrupted or whose text does not fit on the disk is left untouched, and the exit code is not 0.
"""

import argparse
import asyncio
import base64
import copy
import io
import os
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
from jupyter_client.manager import AsyncKernelManager
from matplotlib.image import imread
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from chapters._tools.replacing import replace_text

CHAPTERS = Path(__file__).resolve().parents[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_METADATA = ("mystnb", "tags")
TIMEOUT = 600  # seconds for one cell
SHADES = 2  # of 255: what anti-aliasing may differ by between two processors
# One thread: sums are then taken in the same order on every run. The kernel inherits this.
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def normalise(notebook):
    """Drop from a notebook, in place, whatever an editor or a run may leave behind; return it."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: cell.metadata[k] for k in CELL_METADATA if cell.metadata.get(k)})
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            if "metadata" in output:  # at which size a figure is shown
                sizes = {kind: size for kind, size in output.metadata.items() if kind == "image/png"}
                output.metadata = nbformat.from_dict(sizes)
    return notebook


def images(outputs):
    """Every PNG image in the outputs of one cell, decoded to an array (height, width, channels) of 0 to 255."""
    found = []
    for output in outputs:
        for mime, data in output.get("data", {}).items():
            if mime.endswith("image/png"):
                found.append(255 * imread(io.BytesIO(base64.b64decode(data)), format="png").astype(float))
    return found


def keep_same_figures(stored, notebook):
    """Put the stored outputs back, in place, where a figure differs from them by no more than a few shades."""
    old = {cell.id: cell.outputs for cell in stored.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        pairs = list(zip(old[cell.id], cell.outputs, strict=False))
        if len(old[cell.id]) != len(cell.outputs) or old[cell.id] == cell.outputs:
            continue
        for before, after in pairs:
            a, b = images([before]), images([after])
            if len(a) == len(b) == 1 and a[0].shape == b[0].shape and np.abs(a[0] - b[0]).max() <= SHADES:
                after.data["image/png"] = before.data["image/png"]


def as_text(notebook):
    return nbformat.writes(notebook) + "\n"


class ThisPython(AsyncKernelManager):
    """A kernel of the running interpreter, whatever kernels the user has installed elsewhere."""

    def format_kernel_cmd(self, extra_arguments=None):
        return [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            self.connection_file,
            "--log-level=ERROR",
            *(extra_arguments or []),
        ]


class Progress:
    """One line per chapter: rewritten cell by cell on a terminal, printed once elsewhere."""

    def __init__(self, name, notebook):
        self.name = name
        self.code_cells = [k for k, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
        self.start = time.perf_counter()
        self.live = sys.stdout.isatty()

    def cell_started(self, cell, cell_index):
        if self.live and cell_index in self.code_cells:
            done = self.code_cells.index(cell_index)
            total = len(self.code_cells)
            bar = "#" * round(20 * done / total)
            print(
                f"\r{self.name:24s} [{bar:20s}] cell {done + 1}/{total}  {self.seconds:5.1f} s",
                end="",
                flush=True,
            )

    @property
    def seconds(self):
        return time.perf_counter() - self.start

    def end(self, verdict):
        start = "\r\033[K" if self.live else ""
        print(
            f"{start}{self.name:24s} {len(self.code_cells):3d} cells  {self.seconds:5.1f} s  {verdict}",
            flush=True,
        )


def execute(path):
    """Execute one notebook in place; return True when every cell ran."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ["TQDM_DISABLE"] = "1"  # progress bars are for a reader at the keyboard
    before = path.read_text(encoding="utf-8")
    notebook = normalise(nbformat.reads(before, as_version=4))
    stored = copy.deepcopy(notebook)
    progress = Progress(path.stem, notebook)
    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        kernel_name="python3",
        timeout=TIMEOUT,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=progress.cell_started,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        progress.end("FAILED, left as it was")
        print(error, file=sys.stderr)
        return False
    keep_same_figures(stored, notebook)
    after = as_text(normalise(notebook))
    if after == before:
        progress.end("unchanged")
    else:
        replace_text(path, after)
        progress.end("written")
    return True


def chosen(names):
    """The notebooks whose file name starts with one of ``names``; all of them when there is none."""
    notebooks = sorted(CHAPTERS.glob("**/*.ipynb"))
    paths = [path for path in notebooks if not names or any(path.stem.startswith(name) for name in names)]
    if not paths:
        there = ", ".join(path.stem for path in notebooks) or "none"
        raise SystemExit(f"no chapter starts with {' or '.join(names)}; there are: {there}")
    return paths


def main():
    parser = argparse.ArgumentParser(description="Execute chapters in place.")
    parser.add_argument("chapter", nargs="*", help="the first characters of a chapter's file name, such as 03")
    paths = chosen(parser.parse_args().chapter)
    if sys.platform == "win32":
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    failed = [path.stem for path in paths if not execute(path)]
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
