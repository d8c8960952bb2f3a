"""The numbers that an executed chapter shows next to those of the source documents.

``lmmlib.report.reproduces`` prints a line, ``reproduction_table`` a table; :func:`reproductions` reads both from
the stored outputs. The ledger of the book and the test of the ledger use this one reader.
"""

import html
import re
from dataclasses import dataclass

IGNORING = {"nbval-ignore-output", "nbval-skip"}
IGNORING_COMMENTS = re.compile(r"^\s*#\s*(NBVAL_IGNORE_OUTPUT|NBVAL_SKIP|PYTEST_VALIDATE_IGNORE_OUTPUT)\s*$", re.M)
LINE = re.compile(
    r"^(?P<id>\S+): ours (?P<ours>.+?), printed (?P<printed>.+?), digits (?P<digits>.+?): (?P<verdict>.+)$", re.M
)
ROW = re.compile(r"<tr>(.*?)</tr>", re.S)
ID = re.compile(r"<code>(.*?)</code>")
CELL = re.compile(r"<t[dh][^>]*>(.*?)</t[dh]>", re.S)
TAG = re.compile(r"<[^>]+>")
PASSED = "agrees"  # the first word of every passing verdict


@dataclass(frozen=True)
class Reproduction:
    """One row of the ledger as a chapter shows it; ``cell`` is the number of the cell among all cells."""

    id: str
    ours: str
    printed: str
    digits: str
    verdict: str
    cell: int

    @property
    def passed(self):
        return bool(re.match(rf"{PASSED}\b", self.verdict))


def tags(cell):
    return set(cell.metadata.get("tags", []))


def ignored(cell):
    """Whether nbval runs this cell without comparing what it prints."""
    return bool(tags(cell) & IGNORING) or bool(IGNORING_COMMENTS.search(cell.source))


def texts(cell):
    """Everything that the outputs of a cell show as text, with its kind."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.name, output.text
        elif output.output_type == "error":
            yield "error", f"{output.ename}: {output.evalue}"
        else:
            for mime, data in output.data.items():
                if mime.startswith("text/") or mime == "image/svg+xml":
                    yield mime, data


def in_lines(text, cell):
    for match in LINE.finditer(text):
        yield Reproduction(**match.groupdict(), cell=cell)


def in_table(text, cell):
    for row in ROW.findall(text):
        id = ID.search(row)
        fields = [html.unescape(TAG.sub("", field)).strip() for field in CELL.findall(row)]
        if id and len(fields) == 5:
            yield Reproduction(html.unescape(id[1]), *fields[1:], cell=cell)


def reproductions(notebook):
    """Every comparison with a printed number in the outputs that nbval compares, in the order of the page."""
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or ignored(cell):
            continue
        for kind, text in texts(cell):
            if kind == "stdout":
                found += in_lines(text, number)
            elif kind == "text/html":
                found += in_table(text, number)
    return found
