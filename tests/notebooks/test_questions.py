"""The page of questions: ten blocks of six; answers are short and first, lead into the book, and their calls run."""

import re

import pytest

SHORT = 60  # words of an answer, without the places where the book says more
LONGER = {"paper", "max-grad"}  # a paragraph for a paper; messages of a program, in full
ROLE = re.compile(r"\{[\w:]+\}`([^`<]*)(?:<[^`>]*>)?`")


@pytest.fixture(scope="module")
def cells(notebooks):
    return notebooks["questions"].cells


@pytest.fixture(scope="module")
def answers(cells):
    """{label: text of the cell, without the label and the marks of the index}"""
    texts = (cell.source for cell in cells if cell.cell_type == "markdown")
    found = (re.match(r"\(sec-q-([\w-]+)\)=\n(### .*)", text, re.S) for text in texts)
    return {one[1]: re.sub(r"^:::\{index\}.*?^:::\n\n", "", one[2], flags=re.S | re.M) for one in found if one}


def words(answer):
    """The number of words of an answer, without its heading, tables, and what follows *More:*."""
    text = ROLE.sub(r"\1", answer.partition("\n")[2].partition("*More:*")[0])
    return len(re.sub(r"^[|>].*$", "", text, flags=re.M).split())


def test_ten_blocks_of_six(cells):
    lines = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown").splitlines()
    headings = [line for line in lines if re.match(r"#{2,3} ", line)]
    blocks = "".join("b" if line.startswith("## ") else "q" for line in headings)
    assert blocks == 10 * "bqqqqqq"
    assert [line for line in headings if line.startswith("### ") and not line.rstrip("`)").endswith("?")] == []


def test_an_answer_is_short(answers):
    assert len(answers) == 60
    long = {label: words(text) for label, text in answers.items() if words(text) > SHORT}
    assert set(long) <= LONGER, long


def test_an_answer_leads_into_the_book(answers):
    assert [label for label, text in answers.items() if not re.search(r"\*More:\*.*\{(?:ref|doc)\}`", text)] == []


def test_a_cell_asks_both_programs_or_the_text_says_why_not(cells, answers):
    """The cells name both programs; the few questions without a cell need no number."""
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert len(re.findall(r"\blmmlib\.fit|\btrial\b|\bf\.", code)) >= 60 and code.count("smf.") >= 40
    below = {cell.id.removeprefix("q-").removesuffix("-code") for cell in cells if cell.cell_type == "code"}
    silent = set(answers) - below
    assert silent == {"items", "maximal", "package", "max-grad", "prior", "divergences"}


def test_words_are_counted():
    assert words("### A b?\n\nOne {ref}`two <sec-x>` three.\n\n| a |\n\n*More:* {ref}`sec-y`.") == 3
