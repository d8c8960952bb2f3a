"""The directives ``{ledger}`` and ``{ledger-counts}``: every printed number, ours, and the cell that computes it.

The printed numbers and the reference values come from data/published.csv, ours from the stored outputs of the
document's companion (chapters/sources/NNN-*.ipynb), or of another page while the companion does not show them. A row
that no cell shows is a warning, and warnings stop the build.
"""

import csv
from functools import cache
from pathlib import Path

import nbformat
from docutils import nodes
from reproductions import reproductions
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "data" / "published.csv"
DOCUMENTS = {
    "000": "Neyman-Scott and data cloning",
    "001": "Likelihood, REML, random effects, Bayes",
    "002": "Count data",
    "003": "The lead trial",
    "004": "Planting density",
}
COLUMNS = ("quantity", "printed", "ours", "digits", "reference", "verdict", "shown in")
log = logging.getLogger(__name__)


def published():
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def shown_by(path, _changed):
    """What one notebook shows, {id: first reproduction}; read again when the file has changed."""
    found = reproductions(nbformat.read(path, as_version=4))
    return {shown.id: shown for shown in reversed(found)}


def shown(row, pages):
    """Where a row is shown, (page, reproduction): in the companion of its document."""
    page = next((page for page in pages if is_companion(page, row["document"]) and row["id"] in pages[page]), None)
    return page, page and pages[page][row["id"]]


def is_companion(page, document):
    return Path(page).parent.name == "sources" and Path(page).name.startswith(f"{document}-")


def anchor(cell):
    """The name of the place where the output of a cell is, on its chapter's page."""
    return f"cell-{cell}"


def mark_cells(app, doctree):
    """Give the output of every code cell its anchor."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and cell.children:
            target = cell.children[-1] if cell.children[-1].get("nb_element") == "cell_code_output" else cell
            target["ids"].append(anchor(cell["cell_index"]))


class LedgerDirective(SphinxDirective):
    """What the two directives share: the rows, and for each of them what a page shows."""

    def rows(self):
        """(row of the ledger, page that shows it or None, what the page shows or None)."""
        self.env.note_dependency(str(PUBLISHED))
        pages = self.pages()
        return [(row, *shown(row, pages)) for row in published()]

    def pages(self):
        """{page: what it shows} of all notebooks, in the order of their names."""
        paths = {page: Path(self.env.doc2path(page)) for page in sorted(self.env.found_docs)}
        paths = {page: path for page, path in paths.items() if path.suffix == ".ipynb"}
        for path in paths.values():
            self.env.note_dependency(str(path))
        return {page: shown_by(path, path.stat().st_mtime_ns) for page, path in paths.items()}


class Counts(LedgerDirective):
    """How many of the numbers agree, in all and by kind."""

    def run(self):
        rows = self.rows()
        agree = sum(shown is not None and shown.passed for _, _, shown in rows)
        text = f"Of {len(rows)} printed numbers, {agree} agree with ours as their kind demands."
        kinds = list(dict.fromkeys(row["kind"] for row, _, _ in rows))
        body = [self.count(kind, [shown for row, _, shown in rows if row["kind"] == kind]) for kind in kinds]
        body.sort(key=lambda line: -int(line[1]))
        paragraph = nodes.paragraph()
        paragraph += nodes.strong(text=text)
        cells = [[nodes.paragraph(text=text) for text in line] for line in body]
        head = ("kind", "printed numbers", "of them agree", "all printed digits alike")
        return [paragraph, make_table(head, cells, classes=["ledger-counts"])]

    @staticmethod
    def count(kind, reproduced):
        passed = [shown for shown in reproduced if shown is not None and shown.passed]
        whole = sum(len(set(shown.digits.split(" of "))) == 1 for shown in passed)
        return kind, str(len(reproduced)), str(len(passed)), "one bound" if kind == "bound" else str(whole)


class Ledger(LedgerDirective):
    """A section for each source document, in it a table for each of its printouts."""

    def run(self):
        rows = self.rows()
        for row, _, shown in rows:
            if shown is None:
                where = f"the companion of document {row['document']}"
                log.warning("no cell of %s shows %s", where, row["id"], location=self.get_location())
        return [self.section(name, [r for r in rows if r[0]["document"] == name]) for name in by_name(rows, "document")]

    def section(self, document, rows):
        title = f"Document {document}: {DOCUMENTS[document]}"
        section = nodes.section(ids=[f"ledger-{document}"])
        section += nodes.title(title, title)
        for place in by_name(rows, "place"):
            lines = [self.line(*row) for row in rows if row[0]["place"] == place]
            section += [nodes.rubric(text=place), make_table(COLUMNS, lines, classes=["ledger"])]
        return section

    def line(self, row, page, shown):
        verdict, _, note = shown.verdict.partition(": ") if shown else ("not shown", "", "")
        last = nodes.paragraph()
        last += cell_link(self.env.docname, page, shown) if shown else nodes.Text("no cell")
        what = nodes.paragraph(text=row["quantity"])
        if note or row["note"]:
            what += nodes.emphasis(text=f" {note or row['note']}")
        small = nodes.paragraph("", "", nodes.literal(text=row["id"]))
        judged = nodes.paragraph(text=verdict)
        judged += nodes.inline(text=f" ({row['kind']})", classes=["kind"])
        texts = (row["printed"], shown.ours if shown else "none", shown.digits if shown else "none")
        middle = [nodes.paragraph(text=text) for text in (*texts, shortened(row["reference"]) or "none")]
        return [[what, small], *middle, judged, last]


def shortened(reference):
    """At most eight significant digits of a reference value: more than any document prints."""
    return f"{float(reference):.8g}" if reference else ""


def by_name(rows, column):
    """The values of a column of the ledger, in the order of their first row."""
    return list(dict.fromkeys(row[column] for row, _, _ in rows))


def cell_link(docname, page, shown):
    """A link to the cell, made when the pages are written: see resolve_links."""
    number = Path(page).name.partition("-")[0]
    name = f"companion {number}" if Path(page).parent.name == "sources" else f"chapter {number.lstrip('0')}"
    return CellLink("", f"{name}, cell {shown.cell}", page=page, anchor=anchor(shown.cell), docname=docname)


class CellLink(nodes.inline):
    """Stands for a link to a cell until the writer knows where pages are."""


def resolve_links(app, doctree, docname):
    for link in list(doctree.findall(CellLink)):
        uri = f"{app.builder.get_relative_uri(docname, link['page'])}#{link['anchor']}"
        reference = nodes.reference("", link.astext(), internal=True, refuri=uri)
        link.replace_self(reference)


def make_table(head, lines, classes):
    """A table whose cells carry their column's name as a class: a phone shows them below each other."""
    table = nodes.table(classes=classes)
    group = nodes.tgroup(cols=len(head))
    table += group
    group += [nodes.colspec(colwidth=1) for _ in head]
    top, body = nodes.thead(), nodes.tbody()
    group += [top, body]
    names = [f"of-{name.split()[0]}" for name in head]
    top += make_row([nodes.paragraph(text=name) for name in head], names)
    body += [make_row(line, names) for line in lines]
    return table


def make_row(cells, names):
    row = nodes.row()
    for cell, name in zip(cells, names, strict=True):
        entry = nodes.entry(classes=[name])
        entry += cell
        row += entry
    return row


def setup(app):
    app.add_directive("ledger", Ledger)
    app.add_directive("ledger-counts", Counts)
    app.connect("doctree-read", mark_cells)
    app.connect("doctree-resolved", resolve_links)
