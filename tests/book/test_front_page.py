"""The front page shows every chapter, with the question that it answers, and the map says what they say themselves."""

import re
from types import SimpleNamespace

import pytest

from tests.book import links
from tests.notebooks.conftest import ROOT, load_tool

front_page = load_tool("front_page")


@pytest.fixture(scope="module")
def front(built):
    return (built / "chapters" / "index.html").read_text(encoding="utf-8")


def core(notebooks):
    """The pages of chapters but the deeper ones, in the order of the book."""
    toc = re.findall(r"file: chapters/(\d\d-[\w-]+)$", (ROOT / "_toc.yml").read_text(encoding="utf-8"), re.M)
    pages = [name for name in toc if not name.endswith("-deeper")]
    assert set(pages) == {name for name in notebooks if not name.endswith("-deeper")}
    return pages


def test_every_chapter_has_a_card(front, notebooks, built):
    cards = front.partition('<ul class="chapter-cards">')[2].partition("</ul>")[0].split("<li>")[1:]
    assert [re.search(r'href="([\w-]+)\.html"', card)[1] for card in cards] == core(notebooks)
    for card in cards:
        assert re.search(r'<p class="question">[^<]{10,}\?</p>', card), card
        assert "hour" in card
        thumbnail = re.search(r'<img src="\.\./([^"]*\.webp)" alt=""', card)[1]
        assert 1000 < (built / thumbnail).stat().st_size < 60_000


def test_the_map_is_what_the_chapters_say(front, notebooks):
    words = front.partition("The map in words")[2].partition("</ul>")[0]
    said = re.findall(r"<li>(\d+) [^:<]+(?::[^:<]*)?: (.*?)</li>", words)
    assert [int(n) for n, _ in said] == [int(name[:2]) for name in core(notebooks)]
    assert said[0][1] == "nothing"
    for chapter, needs in said[1:]:
        below = [int(n) for n in re.findall(r"(\d+) ", needs)]
        assert below and all(n <= int(chapter) for n in below), (chapter, needs)
    boxes = front.partition("<svg")[2].partition("</svg>")[0]
    assert len(re.findall("<a href", boxes)) == len(core(notebooks))


def test_the_book_says_its_version_and_how_to_cite_it(front):
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for key in ("version", "date-released"):
        assert re.search(rf'^{key}: "?([\w.-]+)', citation, re.M)[1] in front
    assert "@book{" in front
    assert '<link rel="icon" href="../_static/icon.svg"' in front


def test_links_before_and_after_carry_their_questions(built):
    text = (built / "chapters" / "03-gls-deeper.html").read_text(encoding="utf-8")
    area = text.partition('class="prev-next-area"')[2]
    assert "How sure may the clinician be?" in area and "How much do groups differ?" in area


def test_every_page_leads_back(built):
    assert all("index.html" in " ".join(page.links) for name, page in links.read(built).items() if "/" in name)


def test_questions_and_needs_are_read_from_a_page():
    needs = "You need {doc}`chapter 3 <03-gls>` and REML (5), or {ref}`that <sec-reml>`."
    text = f"# A title: how much?\n\n## More\n\n{needs}\n"
    assert front_page.question(text) == "How much?"
    assert front_page.needed(text) == ({3, 5}, {"sec-reml"})
    asks = ":::{admonition} Predict: more?\n:class: predict dropdown\n\nYes.\n:::\n\nNothing is asked.\n"
    assert front_page.question(asks) == "" and front_page.needed(asks) == (set(), set())


def test_a_second_page_comes_after_its_first():
    env = SimpleNamespace(
        chapters_about=dict.fromkeys(["chapters/12-b", "chapters/12-a", "chapters/02-c"]),
        toc_secnumbers={"chapters/12-b": {"": (12,)}, "chapters/12-a": {"": (12, 16)}, "chapters/02-c": {"": (2,)}},
    )
    assert front_page.in_order(env) == ["chapters/02-c", "chapters/12-b", "chapters/12-a"]


def test_a_need_of_a_need_is_not_drawn():
    found = {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": {"a"}}
    assert front_page.reduced(found) == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"a"}}
