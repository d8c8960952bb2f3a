"""What a solution states is what its code shows: each decimal in its text, to its digits."""

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks.conftest import CHAPTERS, load_tool

answers = load_tool("answers")

NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?"
DECIMAL = re.compile(r"(?<![\w.\\])\d+\.\d+(?!\d|\.\d)")
# Arithmetic that the text itself writes out before the sign of equality.
SUM = re.compile(r"((?:[\d.+\-*/() ]|\\cdot)*\d)\s*=\s*-?$")
# What is neither computed nor arithmetic, and why.
ELSEWHERE = {
    "ex-01-4": {"0.4924": "the published value, an output of the chapter"},
    "ex-03-4": {"0.401": "the slope of the whole trial, an output of the chapter"},
    "ex-04-1": {
        "7.5": "SSB/n by hand from SSB = 30, which the check of this exercise confirms",
        "1.33": "n/(n-1) for four groups",
    },
    "ex-04-7": {"3.84": "the 95 % point of chi-square with one df"},
    "ex-05-1": {"1.2": "n/(n-1) for six batches"},
    "ex-06-2": {"2.75": "the mean week, of 0, 1, 4 and 6"},
    "ex-07-7": {"17.1": "0.95 of 18 intervals"},
    "ex-08-1": {"0.9": "0.3 times 3", "2.56": "1.6 squared"},
    "ex-09-7": {"0.6": "5.82 less 5.20, rounded", "1.6": "5.82 less 4.25, rounded"},
    "ex-11-1": {"2.2": "exp of the intercept of the exercise", "1.28": "exp of half its variance"},
    "ex-11-7": {"0.04": "the root of 0.25/150, the largest Monte Carlo error"},
}


def solutions(notebook):
    """(label, text, code and its outputs) of each solution that has cells of code."""
    label, text, shown = None, [], []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown.append(cell.source)
            for output in cell.outputs:
                shown.append(output.get("text", "") or str(output.get("data", {}).get("text/plain", "")))
            continue
        for part in re.split(r"(:{3,}\{solution-(?:start|end)\}(?: \S+)?)", cell.source):
            if "{solution-start}" in part:
                label, text, shown = part.split()[-1], [], []
            elif "{solution-end}" in part and label:
                yield label, "\n".join(text), "\n".join(shown)
                label = None
            elif label:
                text.append(part)


def near(value: str, numbers) -> bool:
    """To the digits of the text; a percentage may be a share in the output."""
    size = 0.5000001 * 10.0 ** -len(value.partition(".")[2])
    return any(abs(abs(n * k) - float(value)) <= size for n in numbers for k in (1, 100))


def arithmetic(before: str) -> list[float]:
    """The value of the arithmetic that ends just before a number, with a sign of equality between."""
    found = SUM.search(before)
    if not found:
        return []
    code = found[1].replace("\\cdot", "*").strip()
    for start in range(len(code)):
        try:
            return [float(eval(code[start:].strip() or "x", {"__builtins__": {}}))]
        except (SyntaxError, NameError, TypeError, ZeroDivisionError):
            continue
    return []


def unsupported(notebook) -> dict[str, set[str]]:
    """Decimals in the texts of solutions that no output, no code and no arithmetic has."""
    found = {}
    for label, text, shown in solutions(notebook):
        numbers = [float(n.replace(",", "")) for n in re.findall(NUMBER, shown)]
        for match in DECIMAL.finditer(text):
            if not near(match[0], numbers) and not near(match[0], arithmetic(text[: match.start()])):
                found.setdefault(label, set()).add(match[0])
    return found


def test_solutions_state_what_they_show(chapter, notebooks):
    found = unsupported(notebooks[chapter.stem])
    here = {label for label, *_ in solutions(notebooks[chapter.stem])}
    listed = {label: set(reasons) for label, reasons in ELSEWHERE.items() if label in here}
    assert found == listed, "a number of a solution is in no output of it; show it there, or list it with its reason"


def test_all_solutions_are_read(notebooks):
    """Every exercise has one, but those without code, which have no output to compare with."""
    assert ELSEWHERE.keys() <= {label for notebook in notebooks.values() for label, *_ in solutions(notebook)}
    read = {label for notebook in notebooks.values() for label, _, shown in solutions(notebook) if shown}
    written = {
        label
        for path in CHAPTERS.glob("**/*.ipynb")
        for label in re.findall(r"\{solution-start\} ([\w-]+)", path.read_text())
    }
    assert len(read) >= 70 and read == written


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("It is 0.71.", set()),
        ("It is 71.2 %.", set()),
        ("It is 0.72.", {"0.72"}),
        (r"It is $3 \cdot 0.5 = 1.5$, not 1.6.", {"0.5", "1.6"}),
        ("The answer 1.41 is by $\\sqrt 2$ for 2.", {"1.41"}),
    ],
)
def test_a_wrong_number_is_noticed(text, wrong):
    start, end = ":::{solution-start} ex-99-1\n:::\n", "\n:::{solution-end}\n:::"
    output = new_output("stream", name="stdout", text="half of it: 0.712\n")
    cells = [new_markdown_cell(start + text), new_code_cell("print(x)", outputs=[output]), new_markdown_cell(end)]
    assert unsupported(new_notebook(cells=cells)) == ({"ex-99-1": wrong} if wrong else {})


def test_the_lock_agrees():
    lines = answers.pictures.read(answers.LOCK)
    assert answers.pictures.differences(answers.book(), lines, "solution") == []
    assert len(lines) >= 70


@pytest.mark.parametrize("old, new", [("by 2", "by the root of 2"), ("Divide", "Multiply"), ("0.712", "0.713")])
def test_a_changed_solution_is_noticed(old, new):
    def book(change):
        exercise = ":::{exercise}\n:label: ex-99-1\n\nDivide.\n:::\n\n:::{solution-start} ex-99-1\n:::\nIt falls by 2."
        output = new_output("stream", name="stdout", text=change("half of it: 0.712\n"))
        shown = new_code_cell("print(x)", outputs=[output])
        end = new_markdown_cell("So it is.\n\n:::{solution-end}\n:::")
        return answers.answers(new_notebook(cells=[new_markdown_cell(change(exercise)), shown, end]))

    (one,) = book(lambda text: text)
    assert "So it is." in one.alt
    (problem,) = answers.pictures.differences(book(lambda text: text.replace(old, new)), [one.line], "solution")
    assert problem.startswith("ex-99-1") and "make lock-solution SOLUTION=ex-99-1" in problem
