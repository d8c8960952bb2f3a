"""The figures of the chapters for slides: one archive of the build, which ``{slides}`` offers.

Pictures are those that the notebooks store; a file beside them has the number, caption and alternative text of each, as
the page shows them. The same notebooks give the same bytes.
"""

import zipfile
from base64 import b64decode
from pathlib import Path

import nbformat
from docutils import nodes
from front_page import core
from sphinx.util.docutils import SphinxDirective

import lmmlib

ARCHIVE = "figures.zip"
CAPTIONS = "captions.md"
HEAD = """# Figures of “{title}”, version {version}

CC BY 4.0: use them, and say where they are from. Below each file its number in the book, its caption, and what it shows
in words, for those who cannot see it.
"""


def chapter(docname):
    """Whether a page is a chapter's, core or deeper."""
    return core(docname.removesuffix("-deeper"))


def words(node):
    """The text of a node, formulas between dollars."""
    if isinstance(node, nodes.math):
        return f"${node.astext()}$"
    return "".join(map(words, node.children)) if node.children else node.astext()


def facts(app):
    """{name of a figure: (page, number, caption, alternative text)}, kept while pages are resolved."""
    if not hasattr(app, "slides"):
        app.slides = {}
    return app.slides


def collect(app, doctree, docname):
    if not chapter(docname):
        return
    numbers = app.env.toc_fignumbers.get(docname, {}).get("figure", {})
    for figure in doctree.findall(nodes.figure):
        name = next((one for one in figure["ids"] if one.startswith("fig-")), None)
        caption = next(iter(figure.findall(nodes.caption)), None)
        image = next(iter(figure.findall(nodes.image)), None)
        if name in numbers and caption is not None and image is not None:
            number = ".".join(map(str, numbers[name]))
            facts(app)[name] = (Path(docname).name, number, " ".join(words(caption).split()), image.get("alt", ""))


def pictures(notebook):
    """{name of a figure: its PNG} of a notebook."""
    found = {}
    for cell in notebook.cells:
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        stored = [out["data"]["image/png"] for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
        if name and stored:
            found[name] = b64decode(stored[0])
    return found


def contents(about, stored):
    """(file, bytes) of the archive but its captions, and these as text; in the order of the book."""
    files, text = [], []
    for name, (page, number, caption, alt) in sorted(about.items(), key=lambda one: place(one[1])):
        file = f"{page}/{number}-{name.removeprefix('fig-')}.png"
        files.append((file, stored[page][name]))
        text.append(f"\n## {file}\n\nFigure {number}. {caption}\n\n*In words:* {alt}\n")
    return files, "".join(text)


def place(fact):
    return [int(part) for part in fact[1].split(".")]


def pack(path, files):
    """Write an archive whose bytes depend on the files alone."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files:
            about = zipfile.ZipInfo(name)
            about.external_attr = 0o644 << 16
            archive.writestr(about, content)


def write(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    pages = {page for page, *_ in facts(app).values()}
    stored = {
        page: pictures(nbformat.read(app.env.doc2path(f"chapters/{page}"), as_version=4)) for page in sorted(pages)
    }
    files, text = contents(facts(app), stored)
    head = HEAD.format(title=app.config.html_title, version=lmmlib.__version__)
    pack(Path(app.outdir, ARCHIVE), [*files, (CAPTIONS, head + text)])


class Slides(SphinxDirective):
    def run(self):
        link = f'<a class="download" href="{"../" * self.env.docname.count("/")}{ARCHIVE}" download>{ARCHIVE}</a>'
        paper = f"\\texttt{{{ARCHIVE}}}, beside the pages on screen.\n"
        return [nodes.raw("", f"<p>{link}</p>", format="html"), nodes.raw("", paper, format="latex")]


def setup(app):
    app.add_directive("slides", Slides)
    app.connect("doctree-resolved", collect, priority=900)
    app.connect("build-finished", write)
