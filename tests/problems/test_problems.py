"""Each problem of the page has a solution here, which its digest knows, and no other number is taken for it."""

import re
from pathlib import Path

import nbformat
import pytest

from lmmlib import report
from lmmlib.book import datasets
from lmmlib.common.text import fixed
from lmmlib.errors import ParameterError
from tests.problems import solutions

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = solutions()
PAGE = ROOT / "chapters" / "problems.ipynb"
BOX = re.compile(
    r"^:{3,}\{admonition\} Problem (\d+)\.(\d+) \(★{1,3}\) .+\n:class: problem\n:name: (pr-[\d-]+)\n", re.M
)
ASKED = re.compile(r"`report\.answer\(\"(pr-\d\d-\d+[a-z]?)\", \.\.\.\)`, (\d) decimals?")


@pytest.fixture(scope="module")
def text():
    return "\n\n".join(cell.source for cell in nbformat.read(PAGE, 4).cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("problem", SOLUTIONS)
def test_the_solution_is_the_answer(problem, capsys):
    solve, decimals = SOLUTIONS[problem]
    value = float(solve())
    unit = 10.0**-decimals
    # Not so near the middle between two rounded numbers that another machine could round to the other.
    assert abs((value / unit) % 1 - 0.5) > 0.02, f"{problem}: {value} is nearly a tie at {decimals} decimals"
    for given, verdict in [(value, "right"), (value + unit, "not the answer"), (value - unit, "not the answer")]:
        report.answer(problem, given)
        assert capsys.readouterr().out == f"{problem}: {verdict}, to {decimals} decimal{'s' * (decimals != 1)}\n"


def test_each_answer_has_its_solution():
    assert {name: line["decimals"] for name, line in datasets.answers().items()} == {
        name: str(decimals) for name, (_, decimals) in SOLUTIONS.items()
    }


def test_the_file_holds_no_answer():
    plain = {fixed(float(solve()), decimals) for solve, decimals in SOLUTIONS.values()}
    for line in datasets.answers().values():
        assert re.fullmatch(r"[0-9a-f]{16}", line["salt"]) and re.fullmatch(r"[0-9a-f]{64}", line["digest"])
        assert not plain & {line["salt"], line["digest"]}
    salts = [line["salt"] for line in datasets.answers().values()]
    assert len(set(salts)) == len(salts)


def test_the_page_asks_for_what_is_solved(text):
    asked = {name: int(decimals) for name, decimals in ASKED.findall(text)}
    assert asked == {name: decimals for name, (_, decimals) in SOLUTIONS.items()}
    boxes = BOX.findall(text)
    assert len(boxes) == text.count(":class: problem")
    for chapter, number, label in boxes:
        assert label == f"pr-{int(chapter):02d}-{number}"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.25", None, True])
def test_no_number(value):
    with pytest.raises(ParameterError, match="finite number"):
        report.answer("pr-00-1", value)


def test_no_such_problem():
    with pytest.raises(ParameterError, match="pr-00-1"):
        report.answer("pr-00-0", 1.0)
