"""A core page is short enough for a first reading, and no line of code on any page scrolls sideways."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.notebooks import measures
from tests.notebooks.test_chapters import PATHS


def pages(pattern):
    return [pytest.param(path, id=path.stem) for path in PATHS if re.fullmatch(pattern, path.stem)]


@pytest.mark.parametrize("path", pages(r"\d\d-(?!.*-deeper).*"))
def test_a_core_page_is_short(path):
    notebook = nbformat.read(path, as_version=4)
    assert measures.too_long(notebook) + measures.too_wide(notebook) == []


@pytest.mark.parametrize("path", pages(r"(?!\d\d-)(.*)|\d\d-.*-deeper"))
def test_no_line_of_another_page_is_too_wide(path):
    assert measures.too_wide(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", pages(r"\d\d-(?!.*-deeper).*"))
def test_every_section_of_a_core_page_asks_for_two_predictions(path):
    assert measures.without_questions(nbformat.read(path, as_version=4)) == []


def test_a_section_without_questions_is_found():
    asks = ":::{admonition} Predict: more?\n:class: predict dropdown\n\nYes, by three.\n:::\n"
    text = f"# T\n\n## One\n\n{asks}\n{asks}\n## Two\n\n{asks}\n## The road ahead: three\n\n## Exercises\n\nAll."
    assert measures.without_questions(page(text)) == ["Two"]


def page(*cells):
    return new_notebook(cells=[new_markdown_cell(c) if isinstance(c, str) else c for c in cells])


def test_words_of_exercises_and_solutions_do_not_count():
    exercise = ":::{exercise}\n:label: ex-99-1\n\nAdd two.\n:::\n\n:::{solution-start} ex-99-1\n:::\nDone."
    text = ("# A title\n\nOne $x + y$ three.", "## Exercises\n\n" + exercise, new_code_cell("x = 1\ny = 2"))
    closed = (*text, ":::{solution-end}\n:::\n\n## Summary\n\nFour more words here.", new_code_cell("z = 3"))
    assert measures.prose(page(*closed)) == 2 + 3 + 1 + 4
    assert measures.visible_code(page(*closed)) == 1


def test_words_of_predictions_do_not_count():
    assert (
        measures.prose(page("One two.\n\n:::{admonition} Predict: more?\n:class: predict dropdown\n\nYes.\n:::")) == 2
    )


@pytest.mark.parametrize(
    "cell, complaint",
    [
        ("word " * 6001, "6001 words"),
        (new_code_cell("x = 1\n" * 351), "351 code lines"),
        (new_code_cell("report.check('a', 1, 1)"), "only check"),
        ("As source document 003 says, it is so.", "speaks of"),
        ("The lecture notes print it.", "speaks of"),
        ("We draw a sample (seed 36).", "names 'seed 36'"),
        (":::{admonition} From the sources\nA.\n:::\n\n:::{admonition} From the sources\nB.\n:::", "more than one box"),
    ],
)
def test_what_is_too_long_is_found(cell, complaint):
    assert measures.too_long(page("# A title")) == []
    (found,) = measures.too_long(page(cell))
    assert complaint in found


def test_a_box_may_speak_of_the_sources():
    assert measures.too_long(page(":::{admonition} From the sources\nDocument 003 and the lecture notes.\n:::")) == []


def test_a_wide_line_is_found():
    assert measures.too_wide(page(new_code_cell("x = 1  # " + "a" * 79))) == []
    assert len(measures.too_wide(page(new_code_cell("x = 1  # " + "a" * 80)))) == 1


def test_a_wide_line_that_is_not_on_the_page_does_not_count():
    unseen = new_code_cell("x = 1  # " + "a" * 80, metadata={"tags": ["remove-input"]})
    folded = new_code_cell("x = 1  # " + "a" * 80, metadata={"tags": ["hide-input"]})
    assert len(measures.too_wide(page(unseen, folded))) == 1
