"""The decimals in running text are those that cells print: chapters/numbers.csv binds each to its output."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks.conftest import load_tool

quoted = load_tool("quoted")
LINES = quoted.read()


def test_the_lock_agrees(chapter, notebooks):
    assert quoted.differences(chapter.stem, notebooks[chapter.stem], LINES) == []


def test_pages_of_the_lock_are_in_the_book(notebooks):
    assert {line.page for line in LINES} - set(notebooks) == set()


def small(text="The slopes are 1.48 and 0.78.", output="girls: 1.483\nboys: 0.784\n", caption=""):
    """A page that prints two numbers and quotes them."""
    cell = new_code_cell("show()", id="slopes", outputs=[new_output("stream", name="stdout", text=output)])
    if caption:
        cell.metadata["mystnb"] = {"figure": {"caption": caption}}
    return new_notebook(cells=[new_markdown_cell(text), cell])


@pytest.fixture
def lines():
    return quoted.bound("99-x", small(), [])[0]


def test_numbers_are_bound_to_what_prints_them(lines):
    assert [(line.number, line.source) for line in lines] == [
        ("1.48", "cell:slopes girls"),
        ("0.78", "cell:slopes boys"),
    ]
    assert quoted.differences("99-x", small(), lines) == []


FAULTS = {
    "a wrong digit": {"text": "The slopes are 1.49 and 0.78."},
    "two numbers in each other's place": {"text": "The slopes are 0.78 and 1.48."},
    "a word beside a number": {"text": "The intercepts are 1.48 and 0.78."},
    "an output that moved on": {"output": "girls: 1.493\nboys: 0.784\n"},
    "an output of something else": {"output": "boys: 1.483\ngirls: 0.784\n"},
    "a sentence that is gone": {"text": "The slopes are 1.48 and more."},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault, lines):
    problems = quoted.differences("99-x", small(**FAULTS[fault]), lines)
    assert problems and all("make lock-numbers PAGE=99-x" in problem for problem in problems)


def test_captions_count_and_equations_do_not():
    page = small(r"As $x = 2.5$ and `3.5`: $$y = 4.5$$ (eq-y)", caption="It rises to 1.48.")
    assert [quote.number for quote in quoted.quotes("99-x", page)] == ["2.5", "1.48"]


@pytest.mark.parametrize(
    ("value", "number", "expected"),
    [
        ("1.483", "1.48", True),
        ("1.485", "1.48", True),
        ("0.0148", "1.48", True),
        ("-1.483", "1.48", True),
        ("1.5", "1.48", False),
        ("1.5", "1.50", True),
        ("1.494", "1.48", False),
    ],
)
def test_rounding(value, number, expected):
    assert quoted.rounds_to(value, number) is expected


def test_what_is_printed_nowhere_needs_a_reason(tmp_path, capsys):
    nbformat.write(small("The constant is 1.96."), tmp_path / "99-x.ipynb")
    path = tmp_path / "numbers.csv"
    assert not quoted.lock("99-x", path=path, chapters=tmp_path)
    assert "FOUND NOWHERE" in capsys.readouterr().out
    assert quoted.lock("99-x", "a quantile", path=path, chapters=tmp_path)
    assert [line.source for line in quoted.read(path)] == ["reason: a quantile"]


def test_reasons_are_words():
    for line in LINES:
        if line.source.startswith("reason:"):
            assert re.search(r"[a-z]{3}", line.source[7:]), line
