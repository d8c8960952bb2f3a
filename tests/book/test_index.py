"""The index names every term, every titled statement, every person cited and every function, and leads to it."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.book import links

OBJECT = re.compile(r'<dl class="py (?:function|class|exception)">\s*<dt[^>]* id="(lmmlib\.[\w.]+)"')


def targets(page):
    """{file: anchors} of the links of a page."""
    found = {}
    for link in page.links:
        parts = urlsplit(link)
        found.setdefault(Path(parts.path).name, set()).add(parts.fragment)
    return found


def titled(text):
    """Labels of the definitions, theorems and their like that have a title, in the text of a Markdown cell."""
    return re.findall(r"^:{3,}\{prf:(?!proof)\w+\} \S.*\n:label: ([\w-]+)", text, re.M)


@pytest.fixture(scope="module")
def index(built):
    return targets(links.read(built)["chapters/genindex.html"])


def test_every_term_is_listed(index, built):
    anchors = links.read(built)["chapters/glossary.html"].anchors
    assert index["glossary.html"] >= {anchor for anchor in anchors if anchor.startswith("term-")}


def test_every_titled_statement_is_listed(index, notebooks):
    labels = {
        (f"{name}.html", label)
        for name, notebook in notebooks.items()
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for label in titled(cell.source)
    }
    assert len(labels) >= 80
    assert {(page, label) for page, label in labels if label not in index[page]} == set()


def test_every_function_is_listed(index, built):
    pages = {path.name: path.read_text(encoding="utf-8") for path in (built / "chapters" / "reference").glob("*.html")}
    objects = {(page, name) for page, text in pages.items() for name in OBJECT.findall(text)}
    assert len(objects) >= 200
    assert {(page, name) for page, name in objects if name not in index[page]} == set()


def test_every_person_cited_is_listed(built):
    page = (built / "chapters" / "genindex.html").read_text(encoding="utf-8")
    people = page.partition('id="people"')[2].partition("</section>")[0]
    for name in ("Aitken, A. C.", "Henderson, C. R.", "Neyman, J.", "Bürkner, P.", "von Krosigk, C. M."):
        assert f">{name}, <a " in people, name


def test_every_chapter_is_met(index, notebooks):
    assert {f"{name}.html" for name in notebooks} <= set(index)


def test_a_statement_without_a_title_is_left_out():
    text = ":::{prf:theorem} Wilks\n:label: thm-w\nA.\n:::\n:::{prf:lemma}\n:label: lem-x\n:::\n:::{prf:proof} P\n:::\n"
    assert titled(text) == ["thm-w"]
