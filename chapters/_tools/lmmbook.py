"""Sphinx extension of this book.

- A page is complete without a network, and loads no more than it uses (assets.py); scripts that would be fetched
  from elsewhere are taken out.
- The front page shows the chapters as they are (front_page.py), tables and figures look like those of a book
  (print_forms.py).
- What a reference leads to is shown where it stands (previews.py), and the search finds sections (search_places.py).
- ``{ledger}`` lists every number that the source documents print (ledger_page.py).
- ``{checked}`` says what the last run of all checks found (checked_page.py).
- ``{speed}`` shows the last times of other programs (speed_page.py).
- ``{slides}`` offers the figures of the chapters as an archive (slides.py).
- Equations lead to the functions that compute them (equation_links.py).
- ``{book-index}`` is the index (book_index.py).
- ``lmmlib.equations.gls``, a name of the package itself, leads to the module's function in the reference.
- Some figures move when a reader asks (explorers.py).
- A wide table gets a frame that scrolls on its own, so that the page itself never does.
- A formula and the full stop, comma or bracket that touches it stand on one line.
- The download of a page is a notebook that any Jupyter shows (portable.py).
- A page is read from the disk once for all references to its numbers: half of the time of a build. Half of the rest
  went into looking for garbage among the nodes of pages, of which there is none before the page is done.
"""

import gc
import re
from pathlib import Path

import assets
import book_index
import checked_page
import equation_links
import explorers
import front_page
import ledger_page
import portable
import previews
import print_forms
import search_places
import slides
import speed_page
from docutils import nodes
from sphinx.domains.std import StandardDomain
from sphinx.util.nodes import make_refnode

import lmmlib
from chapters._tools import paper

SCRIPTS = ("_static", "scripts", "explorers")  # folders whose scripts may name a class
TOUCHES = re.compile(r"[.,;:!?)\]’”'\"%]+|[-–]\w+")
OPENS = re.compile(r"[(\[“\"]+$")


def finish(app, exception):
    """Give the pages their last form: what they load, and what their references show."""
    if exception is not None or app.builder.format != "html":
        return
    root = Path(app.outdir)
    static = root / "_static"
    pages = {path: path.read_text(encoding="utf-8") for path in root.rglob("*.html") if static not in path.parents}
    pages = {path: print_forms.formed(assets.lighten(html), path) for path, html in pages.items()}
    for path, html in pages.items():
        path.write_text(html, encoding="utf-8")
    assets.copy_mathjax(static)
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js") if path.parent.name in SCRIPTS]
    assets.lighten_sheets(static, assets.words_of(pages.values(), scripts))
    assets.lighten_scripts([*static.glob("*.js"), *static.glob("explorers/*.js")])
    previews.write({path.relative_to(root).as_posix(): html for path, html in pages.items()}, static / "previews")


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


def keep_together(app, doctree, docname):
    """Wrap a formula in a line with the marks that touch it, from which the browser would part it."""
    if app.builder.format != "html":
        return
    for formula in list(doctree.findall(nodes.math)):
        parent, at = formula.parent, formula.parent.index(formula)
        before, after = parent[at - 1] if at else None, parent[at + 1] if at + 1 < len(parent) else None
        opening = OPENS.search(before) if isinstance(before, nodes.Text) else None
        closing = TOUCHES.match(after) if isinstance(after, nodes.Text) else None
        if opening is None and closing is None:
            continue
        together = nodes.inline(classes=["together"])
        parent[at] = together
        if opening:
            together += nodes.Text(opening[0])
            parent[at - 1] = nodes.Text(before[: opening.start()])
        together += formula
        if closing:
            together += nodes.Text(closing[0])
            parent[at + 1] = nodes.Text(after[closing.end() :])


def resolve_package_name(app, env, node, contnode):
    """A reference to ``lmmlib.x`` or ``x`` means what the package exports under this name."""
    if node.get("refdomain") != "py":
        return None
    thing = lmmlib
    for name in node["reftarget"].removeprefix("lmmlib.").split("."):
        thing = getattr(thing, name, None)
    target = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
    domain = env.get_domain("py")
    if target not in domain.objects:
        return None
    entry = domain.objects[target]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, target)


class Reading:
    """The environment with the pages that it has unpickled; they are looked at and not changed."""

    def __init__(self, env):
        self.env, self.pages = env, {}

    def __getattr__(self, name):
        return getattr(self.env, name)

    def get_doctree(self, docname):
        if docname not in self.pages:
            self.pages[docname] = self.env.get_doctree(docname)
        return self.pages[docname]


class NumberedDomain(StandardDomain):
    """Sphinx's own domain, which otherwise unpickles a whole page for each ``numref`` to it."""

    reading = None

    def _resolve_numref_xref(self, env, *args):
        if self.reading is None or self.reading.env is not env:
            self.reading = Reading(env)
        return super()._resolve_numref_xref(self.reading, *args)


def setup(app):
    gc.set_threshold(200_000, 50, 100)  # a peak of 1.6 GB
    app.add_domain(NumberedDomain, override=True)
    ledger_page.setup(app)
    checked_page.setup(app)
    speed_page.setup(app)
    equation_links.setup(app)
    book_index.setup(app)
    explorers.setup(app)
    front_page.setup(app)
    search_places.setup(app)
    slides.setup(app)
    app.connect("build-finished", finish, priority=900)
    portable.setup(app)
    paper.setup(app)
    app.connect("html-page-context", drop_foreign_assets, priority=900)
    app.connect("doctree-resolved", frame_tables)
    app.connect("doctree-resolved", keep_together)
    app.connect("missing-reference", resolve_package_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 5}
