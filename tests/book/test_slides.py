"""The page for teachers: figures for slides, and two syllabi that ask for nothing that has not been read."""

import re
import zipfile
from io import BytesIO

import pytest
from docutils import nodes
from PIL import Image

from tests.book.test_front_page import core
from tests.notebooks.conftest import ROOT, load_tool

PAGE = ROOT / "chapters" / "teachers.md"
WEEK = re.compile(r"^\| (\d+) \| \{doc\}`([\w-]+)` \| (.*?) \| (.*?) \|$", re.M)
LINK = re.compile(r"\{(?:num)?ref\}`([\d.]+) <((?:ex|pr)-\d\d-\d+)>`")


@pytest.fixture(scope="module")
def slides():
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(ROOT / "chapters" / "_tools")
    yield load_tool("slides")
    patch.undo()


def test_the_words_of_a_caption_keep_their_formulas(slides):
    caption = nodes.caption("", "", nodes.Text("The line of "), nodes.math(text=r"\tau^2"), nodes.Text(" in "))
    caption += nodes.reference("", "", nodes.inline(text="Section 3.1"))
    assert slides.words(caption) == r"The line of $\tau^2$ in Section 3.1"


def test_the_same_pictures_give_the_same_bytes_in_the_order_of_the_book(slides, tmp_path):
    about = {
        "fig-late": ("10-z", "10.1", "Late.", "b"),
        "fig-two": ("02-a", "2.10", "Two.", "a"),
        "fig-one": ("02-a", "2.9", "One.", "a"),
    }
    stored = {"02-a": {"fig-one": b"1", "fig-two": b"2"}, "10-z": {"fig-late": b"3"}}
    files, text = slides.contents(about, stored)
    assert files == [("02-a/2.9-one.png", b"1"), ("02-a/2.10-two.png", b"2"), ("10-z/10.1-late.png", b"3")]
    assert "## 02-a/2.9-one.png\n\nFigure 2.9. One.\n\n*In words:* a\n" in text
    for name in ("a.zip", "b.zip"):
        slides.pack(tmp_path / name, files)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_archive_has_each_figure_of_the_chapters_with_its_words(slides, built, notebooks):
    of_chapters = {name: book for name, book in notebooks.items() if re.match(r"\d\d-", name)}
    stored = {
        (page, figure): png for page, book in of_chapters.items() for figure, png in slides.pictures(book).items()
    }
    with zipfile.ZipFile(built / slides.ARCHIVE) as archive:
        assert archive.testzip() is None
        held = {name: archive.read(name) for name in archive.namelist()}
    text = held.pop(slides.CAPTIONS).decode()
    found = {(name.partition("/")[0], f"fig-{name.partition('-')[2].partition('-')[2]}") for name in held}
    assert len(held) == len(stored) >= 100
    assert sorted(held.values()) == sorted(stored.values()), found
    for name, png in held.items():
        with Image.open(BytesIO(png)) as image:
            assert image.width > 700, name
        said = re.search(rf"## {re.escape(name)}\n\nFigure ([\d.]+)\. (.+)\n\n\*In words:\* (.+)\n", text)
        assert said and name.partition("/")[2].startswith(f"{said[1]}-") and min(map(len, said.groups()[1:])) > 20
    assert 'href="../figures.zip"' in (built / "chapters" / "teachers.html").read_text(encoding="utf-8")


def syllabi():
    """Those of the page, each a list of (week, page, [(shown, label)], [(shown, label)])."""
    parts = re.split(r"^## .* weeks$", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    return [[(int(w), p, LINK.findall(e), LINK.findall(q)) for w, p, e, q in WEEK.findall(part)] for part in parts]


def test_there_are_two_syllabi_of_eight_and_fourteen_weeks():
    assert [[week for week, *_ in one] for one in syllabi()] == [list(range(1, 9)), list(range(1, 15))]


@pytest.mark.parametrize("which", [0, 1])
def test_a_week_asks_for_what_was_read(which, notebooks, built):
    read, seen = set(), []
    order = {name: k for k, name in enumerate(core(notebooks))}
    pages = [page for _, page, _, _ in syllabi()[which] if page in order]
    assert pages == sorted(pages, key=order.get)
    for week, page, exercises, problems in syllabi()[which]:
        read.add(page)
        assert exercises and problems, week
        for _, label in exercises:
            assert any(f":label: {label}\n" in "".join(c.source for c in notebooks[one].cells) for one in read), label
        chapters = {int(one[:2]) for one in read}
        assert all(int(label[3:5]) in chapters for _, label in problems), week
        seen += [label for _, label in exercises + problems]
    assert len(seen) == len(set(seen))


def test_numbers_that_are_shown_are_those_of_the_exercises(built):
    """A label such as ex-11-5 need not be the number that the page gives to the exercise."""
    text = (built / "chapters" / "teachers.html").read_text(encoding="utf-8")
    shown = re.findall(r'href="([\w-]+\.html)#((?:ex|pr)-[\w-]+)"[^>]*>(?:<span[^>]*>)?([\d.]+)<', text)
    assert len(shown) > 80
    for page, label, number in shown:
        target = (built / "chapters" / page).read_text(encoding="utf-8").partition(f'id="{label}"')[2][:600]
        assert re.search(rf"\b(?:Exercise|Problem) {re.escape(number)}\b", re.sub(r"<[^>]*>", "", target)), label
