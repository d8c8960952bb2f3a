"""Sphinx extension of this book.

- A page is complete without a network: MathJax comes from an installed wheel, and scripts that
  would be fetched from elsewhere are taken out.
- ``{ledger}`` lists every number that the source documents print, from data/published.csv.
- ``lmmlib.gls``, a name of the package itself, leads to the module's function in the reference.
- A wide table gets a frame that scrolls on its own, so that the page itself never does.
"""

import csv
import shutil
from importlib.metadata import files
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import lmmlib

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "data" / "published.csv"
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"
DOCUMENTS = {
    "000": "Neyman-Scott and data cloning",
    "001": "Likelihood, REML, random effects, Bayes",
    "002": "Count data",
    "003": "The lead trial",
    "004": "Planting density",
}


def copy_mathjax(app, exception):
    """Put the one file of MathJax where ``mathjax_path`` of _config.yml expects it."""
    if exception is None and app.builder.format == "html":
        source = next(file for file in files("sphinx-mathjax-offline") if str(file) == MATHJAX)
        target = Path(app.outdir, "_static", "mathjax", source.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.locate(), target)


def is_foreign(asset):
    """Whether a script or style sheet belongs to thebe, which runs code on a remote server."""
    text = str(getattr(asset, "filename", asset)) + str(getattr(asset, "attributes", {}).get("body", ""))
    return "thebe" in text.lower()


def drop_foreign_assets(app, pagename, templatename, context, doctree):
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if not is_foreign(asset)]


def frame_tables(app, doctree, docname):
    """Wrap each table that has no frame yet in a division that scrolls sideways."""
    if app.builder.format != "html":
        return
    for table in list(doctree.findall(nodes.table)):
        if "table-frame" not in table.parent.get("classes", []):
            frame = nodes.container(classes=["table-frame"])
            table.replace_self(frame)
            frame += table


class Ledger(SphinxDirective):
    """One table per source document; a chapter that exists is linked."""

    def run(self):
        self.env.note_dependency(str(PUBLISHED))
        with PUBLISHED.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        result = []
        for document in sorted({row["document"] for row in rows}):
            title = f"Document {document}: {DOCUMENTS[document]}"
            section = nodes.section(ids=[f"ledger-{document}"])
            section += nodes.title(title, title)
            section += self.table([row for row in rows if row["document"] == document])
            result.append(section)
        return result

    def table(self, rows):
        columns = {
            "what": self.what,
            "printed": lambda row: nodes.paragraph(text=row["printed"]),
            "reference": lambda row: nodes.paragraph(text=row["reference"]),
            "kind": lambda row: nodes.paragraph(text=row["kind"]),
            "chapter": lambda row: self.chapter(row["chapter"]),
        }
        table = nodes.table(classes=["ledger"])
        group = nodes.tgroup(cols=len(columns))
        table += group
        group += [nodes.colspec(colwidth=1) for _ in columns]
        head, body = nodes.thead(), nodes.tbody()
        group += [head, body]
        head += self.row(nodes.paragraph(text=name) for name in columns)
        body += [self.row(make(row) for make in columns.values()) for row in rows]
        return table

    @staticmethod
    def row(cells):
        row = nodes.row()
        for cell in cells:
            entry = nodes.entry()
            entry += cell
            row += entry
        return row

    @staticmethod
    def what(row):
        cell = nodes.paragraph()
        cell += [nodes.Text(f"{row['quantity']} ({row['place']}) "), nodes.literal(text=row["id"])]
        if row["note"]:
            cell += nodes.emphasis(text=f" {row['note']}")
        return cell

    def chapter(self, number):
        cell = nodes.paragraph()
        names = [name for name in self.env.found_docs if Path(name).name.startswith(f"{number}-")]
        if names:
            link = pending_xref(
                "",
                nodes.inline(text=number),
                refdomain="std",
                reftype="doc",
                reftarget=f"/{names[0]}",
                refexplicit=True,
                refdoc=self.env.docname,
            )
            cell += link
        else:
            cell += nodes.Text(number)
        return cell


def resolve_package_name(app, env, node, contnode):
    """A reference to ``lmmlib.x`` or ``x`` means what the package exports under this name."""
    if node.get("refdomain") != "py":
        return None
    thing = getattr(lmmlib, node["reftarget"].removeprefix("lmmlib."), None)
    target = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__name__', '')}"
    domain = env.get_domain("py")
    if target not in domain.objects:
        return None
    entry = domain.objects[target]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, target)


def setup(app):
    app.add_directive("ledger", Ledger)
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", drop_foreign_assets, priority=900)
    app.connect("doctree-resolved", frame_tables)
    app.connect("missing-reference", resolve_package_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
