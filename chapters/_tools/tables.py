"""The lock of the tables: chapters/tables.csv beside every table that a cell shows.

nbval compares the numbers of a table when a chapter is executed. Who changes its caption, its headings or the names of
its rows and executes it again stores other words, though. So a line holds checksums of the names and of the caption,
and differs until somebody has looked at the table and run ``make lock-table TABLE=...``. The lock is that of the
figures, :mod:`chapters._tools.pictures`.
"""

import argparse
import re
import sys
from html import unescape
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from chapters._tools import pictures

LOCK = pictures.CHAPTERS / "tables.csv"
NAMES = re.compile(r'<th scope="(?:col|row)"[^>]*>(.*?)</th>', re.S)
CAPTION = re.compile(r"<caption>(.*?)</caption>", re.S)


def tables(page, notebook):
    """The tables of a notebook, named by page and cell: headings and names of rows as shown, caption as words."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or "nbval-ignore-output" in cell.metadata.get("tags", []):
            continue
        pages = [output.get("data", {}).get("text/html", "") for output in cell.outputs]
        shown = [text for text in pages if '<table class="lmm-table">' in text]
        if shown:
            text = unescape("\n".join(shown))
            names = " | ".join(re.sub(r"<[^>]*>", " ", name) for name in NAMES.findall(text))
            found.append(pictures.Picture(f"{page}/{cell.id}", names, "\n".join(CAPTION.findall(text)), ""))
    return found


def book(chapters=pictures.CHAPTERS):
    """All tables of the book, in its order."""
    paths = sorted(chapters.glob("**/*.ipynb"))
    return [one for path in paths for one in tables(path.stem, nbformat.read(path, as_version=4))]


def main():
    parser = argparse.ArgumentParser(description="Renew the line of a table in chapters/tables.csv.")
    parser.add_argument("name", help="the page and the cell, such as 03-gls/cell-012, or new: all without a line")
    sys.exit(0 if pictures.lock(parser.parse_args().name, LOCK, book=book) else 1)


if __name__ == "__main__":
    main()
