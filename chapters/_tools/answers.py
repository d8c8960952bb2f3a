"""The lock of the solutions: chapters/solutions.csv beside every exercise that has one.

Most solutions state more than decimals, such as "by the root of 2" or "twice". So a line holds checksums of what the
cells of a solution show and of what the exercise and the solution say, and differs until somebody has looked at both
and run ``make lock-solution SOLUTION=ex-03-1``. The lock is that of the figures, :mod:`chapters._tools.pictures`.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from chapters._tools import pictures

LOCK = pictures.CHAPTERS / "solutions.csv"
EXERCISE = re.compile(r"^(:{3,})\{exercise\}.*?:label: (\S+)\n(.*?)^\1\s*$", re.S | re.M)
FENCE = re.compile(r"^:{3,}\{(solution-start|solution-end)\} ?(\S*)$", re.M)


def answers(notebook):
    """The solutions of a notebook with their exercises; what nbval ignores is not locked."""
    asked, found = {}, []
    label, said, shown = None, [], []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if "nbval-ignore-output" not in cell.metadata.get("tags", []):
                shown += [o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
            continue
        asked |= {name: text for _, name, text in EXERCISE.findall(cell.source)}
        before, *parts = FENCE.split(cell.source)
        said.append(before)
        for kind, name, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if kind == "solution-start":
                label, said, shown = name, [text], []
            else:
                found.append(pictures.Picture(label, "\n".join(shown), asked.get(label, ""), "\n".join(said)))
                label = None
    return found


def book(chapters=pictures.CHAPTERS):
    """All solutions of the book, in its order."""
    paths = sorted(chapters.glob("**/*.ipynb"))
    return [one for path in paths for one in answers(nbformat.read(path, as_version=4))]


def main():
    parser = argparse.ArgumentParser(description="Renew the line of a solution in chapters/solutions.csv.")
    parser.add_argument("name", help="ex-..., or new: all that have no line yet")
    sys.exit(0 if pictures.lock(parser.parse_args().name, LOCK, book=book) else 1)


if __name__ == "__main__":
    main()
