"""`make lab` brings the pages of the book to a folder, and never writes over what you changed there."""

import json

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook, writes

from chapters._tools import lab


def page(text, base="../"):
    return writes(new_notebook(cells=[new_markdown_cell(text, id="a")], metadata={"lmmlib": {"book": base}}))


@pytest.fixture
def bring(tmp_path):
    """Write pages of a book and bring them; what was left alone."""
    (tmp_path / "html" / "chapters" / "sources").mkdir(parents=True)

    def of(**pages):
        for name, text in pages.items():
            (tmp_path / "html" / "chapters" / f"{name.replace('__', '/')}.ipynb").write_text(text, encoding="utf-8")
        return lab.bring(tmp_path / "html", tmp_path / "mine")

    of.folder = tmp_path / "mine"
    return of


def text(path):
    (cell,) = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cell["source"]


def change(path, words):
    path.write_text(path.read_text(encoding="utf-8").replace("Text", words), encoding="utf-8")


def test_copies_follow_the_book_until_you_change_them(bring):
    a, b = bring.folder / "a.ipynb", bring.folder / "sources" / "b.ipynb"
    assert bring(a=page("Text 1"), sources__b=page("Text 1")) == []
    change(a, "My words")
    assert bring(a=page("Text 2"), sources__b=page("Text 2")) == ["a.ipynb"]
    assert (text(a), text(b)) == ("My words 1", "Text 2")
    assert bring(a=page("Text 3")) == ["a.ipynb"] and text(a) == "My words 1"


def test_a_copy_that_is_renamed_makes_room_for_the_page(bring):
    a = bring.folder / "a.ipynb"
    bring(a=page("Text"))
    change(a, "My words")
    a.rename(bring.folder / "mine.ipynb")
    assert bring() == [] and text(a) == "Text" and text(bring.folder / "mine.ipynb") == "My words"


def test_without_the_record_everything_that_differs_is_yours(bring):
    a, b = bring.folder / "a.ipynb", bring.folder / "b.ipynb"
    bring(a=page("Text 1"), b=page("Text 1"))
    (bring.folder / lab.RECORD).unlink()
    assert bring(a=page("Text 2")) == ["a.ipynb"]
    assert (text(a), text(b)) == ("Text 1", "Text 1")


@pytest.mark.parametrize("base", ["../", "../../", "https://ann.github.io/mixed/"])
def test_links_lead_to_the_book_that_the_server_shows(bring, base):
    bring(a=page(f"[3.1]({base}chapters/b.html#x) and [away](<https://doi.org/1>)", base))
    assert text(bring.folder / "a.ipynb") == "[3.1](/static/chapters/b.html#x) and [away](<https://doi.org/1>)"
