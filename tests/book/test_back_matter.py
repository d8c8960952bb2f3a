"""The errata lead to where the book shows them; the glossary and the chapters lead to each other."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest

from tests.book import links
from tests.notebooks.measures import prose

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "chapters"
ITEM = re.compile(r"^\d+\. .*?(?=^\d+\. |^#{2,3} |\Z)", re.M | re.S)
LINK = re.compile(r"\{(?:numref|eq|ref|prf:ref|doc)\}`[^`]+`")
TERM = re.compile(r"\{term\}`([^`<]*?)(?:\s*<([^`>]*)>)?`")


def written():
    """The numbers of the chapters that exist."""
    return {int(path.name[:2]) for path in CHAPTERS.glob("[0-9][0-9]-*.ipynb")}


def without_place(text, chapters):
    """The errata that lead nowhere, except those that name a chapter which is not written yet."""
    found = []
    for item in ITEM.findall(text):
        _, _, shown = item.partition("*Shown:*")
        waits = {int(number) for number in re.findall(r"chapter (\d+)", shown)} - chapters
        if not LINK.search(shown) and not waits:
            found.append(item.split("\n")[0])
    return found


def unlinked_chapters(text, chapters):
    """Errata that name a written chapter in words where a link could stand."""
    shown = [item.partition("*Shown:*")[2] for item in ITEM.findall(text)]
    return [words for words in shown if {int(k) for k in re.findall(r"chapter (\d+)", words)} & chapters]


def defined(text):
    """The terms of a glossary, in the order of the page."""
    body = text.partition("```{glossary}")[2].partition("```")[0]
    return [line for line in body.splitlines() if re.match(r"[^\s:]", line)]


def used(notebooks):
    """{term in lower case: chapters that link it}."""
    found = {}
    for name, notebook in notebooks.items():
        for cell in notebook.cells:
            for text, target in TERM.findall(cell.source if cell.cell_type == "markdown" else ""):
                found.setdefault((target or text).strip().lower(), []).append(name)
    return found


@pytest.fixture(scope="module")
def errata():
    return (CHAPTERS / "errata.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def glossary():
    return (CHAPTERS / "glossary.md").read_text(encoding="utf-8")


def test_every_erratum_has_a_place(errata):
    assert len(ITEM.findall(errata)) >= 36
    assert without_place(errata, written()) == []
    assert unlinked_chapters(errata, written()) == []


def test_errata_have_three_parts_and_each_its_documents_in_order(errata):
    parts = re.split(r"^## (.*)$", errata, flags=re.M)[1:]
    documents = {
        title: re.findall(r"^### Document (\d{3})", text, re.M)
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    assert list(documents) == ["Wrong", "True only under conditions", "Our reading of an extracted text"]
    assert set(map(tuple, documents.values())) == {("000", "001", "002", "003", "004")}


def test_an_erratum_without_a_place_is_found():
    items = ["1. **A.**\n   *Shown:* {eq}`a`.", "2. **B.**\n   *Shown:* chapter 10.", "3. **C.**\n   *Shown:* there."]
    text = "\n".join(["## One", *items, ""])
    assert without_place(text, {1}) == ["3. **C.**"]
    assert without_place(text, {1, 10}) == ["2. **B.**", "3. **C.**"]
    assert unlinked_chapters(text, {1}) == [] and len(unlinked_chapters(text, {10})) == 1


def test_the_glossary_is_a_list_of_terms(glossary):
    terms = defined(glossary)
    assert 60 <= len(terms) <= 150
    assert terms == sorted(set(terms), key=str.lower)


def test_every_term_is_linked_from_a_chapter(glossary, notebooks):
    assert {term.lower() for term in defined(glossary)} == set(used(notebooks))


def test_a_chapter_links_a_term_once(notebooks):
    twice = [(term, name) for term, names in used(notebooks).items() for name in names if names.count(name) > 1]
    assert twice == []


def test_every_core_page_links_terms(notebooks):
    for name in notebooks:
        linked = sum(name in names for names in used(notebooks).values())
        assert name.endswith("-deeper") or linked >= 10 or linked >= prose(notebooks[name]) / 400, name


def test_terms_lead_to_the_glossary_and_back(built):
    pages = links.read(built)
    here = pages["chapters/glossary.html"]
    terms = {anchor for anchor in here.anchors if anchor.startswith("term-")}
    chapters = [page for name, page in pages.items() if re.match(r"chapters/\d\d-", name)]
    linked = {urlsplit(link).fragment for page in chapters for link in page.links if "glossary.html#term-" in link}
    assert len(terms) >= 60 and linked == terms
    leaving = {urlsplit(link).path for link in here.links if re.match(r"\d\d-", link)}
    assert leaving >= {path.name for path in (built / "chapters").glob("0[1-8]-*.html")}


def test_a_term_that_no_chapter_links_is_found():
    assert defined("# G\n```{glossary}\n:sorted:\n\nscore\n  S.\n\nREML\n  R.\n```\n") == ["score", "REML"]
    cell = nbformat.v4.new_markdown_cell("The {term}`scores <score>` of {term}`ML`, and {term}`ML`.")
    notebooks = {"01-x": nbformat.v4.new_notebook(cells=[cell])}
    assert used(notebooks) == {"score": ["01-x"], "ml": ["01-x", "01-x"]}
