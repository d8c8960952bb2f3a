"""The index names every term, every titled statement, every person cited and every function, and leads to it."""

import re
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.book import links
from tests.notebooks.conftest import ROOT, load_tool

book_index = load_tool("book_index")
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


def test_other_pages_are_met(index):
    others = {"questions.html", "coming-from.html", "limitations.html", "errata.html", "004-planting-density.html"}
    assert others <= set(index)


def test_words_of_the_questions_are_listed(built):
    page = unescape((built / "chapters" / "genindex.html").read_text(encoding="utf-8"))
    for word in ("endogeneity", "Holm's method", "odds ratio", "p-value", "R squared", "sample size", "Likert scale"):
        assert re.search(rf">{word}, <a ", page), word


def test_other_words_lead_to_their_terms(built, index):
    page = (built / "chapters" / "genindex.html").read_text(encoding="utf-8")
    text = (ROOT / "chapters" / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| \{term\}`([^`]+)` \|$", text, re.M)
    assert len(rows) >= 25
    for word, term in rows:
        anchor = "term-" + re.sub(r"[^\w]+", "-", term).strip("-")
        assert re.search(rf'>{re.escape(word)}: see <a [^>]*glossary\.html#{re.escape(anchor)}"', page), word


def test_a_page_has_its_label_and_its_place():
    pages = [
        "chapters/sources/004-planting-density",
        "chapters/coming-from",
        "chapters/11-counts-deeper",
        "chapters/reference/laplace",
        "chapters/03-gls",
    ]
    labels = [book_index.label(page) for page in sorted(pages, key=book_index.order)]
    assert labels == ["3", "11", "coming from", "reference laplace", "sources 004"]


def test_a_statement_without_a_title_is_left_out():
    text = ":::{prf:theorem} Wilks\n:label: thm-w\nA.\n:::\n:::{prf:lemma}\n:label: lem-x\n:::\n:::{prf:proof} P\n:::\n"
    assert titled(text) == ["thm-w"]
