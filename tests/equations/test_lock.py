"""The mathematics of the book is the one that equations.csv locks; and made-up books that break each rule."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

RESTRICTED = r"\ell_R(\alpha) = \ell_p(\alpha) - \tfrac12\log|X'V^{-1}X|"
THEOREM = r"For every $c$, $\operatorname{Var}(c'\tilde\beta) \ge \operatorname{Var}(c'\hat\beta)$."
ICC = r"\rho = \frac{\tau^2}{\tau^2 + \sigma^2}"
GLOSSARY = "# Glossary\n\n```{glossary}\nICC\n  The ratio $%s$. See {eq}`icc`.\n\nrate\n  Falls as $1/K$.\n```\n"


@pytest.fixture(scope="session")
def book(tool):
    return tool.book()


def test_the_book_is_as_locked(tool, book):
    assert tool.differences(tool.statements(book[0]), tool.read()) == []


def test_every_equation_that_is_referred_to_is_locked(tool, book):
    """No way of writing an equation escapes the parser: whatever a page or a docstring refers to has a line."""
    lmmlib = (tool.CHAPTERS.parent / "lmmlib").rglob("*.py")
    texts = [text for cells in book[0].values() for text in cells] + [file.read_text("utf-8") for file in lmmlib]
    named = {label for text in texts for label in re.findall(r"(?:\{eq\}|:eq:)`([\w.-]+)`", text)}
    assert len(named) > 100
    assert named - {line.label for line in tool.read()} == set()


def test_twins_exist(tool, book):
    lines = tool.read()
    assert tool.twin_problems(lines, book[1], tool.collect(lines)) == []


def docstrings(file):
    """{name: docstring} of the functions of a file."""
    functions = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.get_docstring(node) or "" for node in functions}


def test_each_twin_says_whose_it_is(tool):
    said = {f"tests/equations/{file.name}": docstrings(file) for file in Path(__file__).parent.glob("test_*.py")}
    for line in tool.read():
        assert "to be written" not in line.reason
        file, _, name = line.twin.partition("::")
        if file in said:
            assert f"`{line.label}`" in said[file][name], line


def test_glossary_says_what_the_equations_say(tool, book):
    (glossary,) = (cells[0] for path, cells in book[0].items() if path.stem == "glossary")
    found = tool.statements(book[0])
    # The first is the definition itself, the second a rate.
    assert tool.glossary_problems(glossary, found, exempt={"positive semidefinite", "estimable"}) == []


def chapter(restricted=RESTRICTED, theorem=THEOREM, icc=ICC, fence="```"):
    text = (
        f"$$\n{restricted}\n$$ (restricted-loglik)\n\nand so $$1 + 1 = 2$$ too.\n\n"
        f"{fence}{{prf:theorem}} Gauss-Markov\n:label: thm-gauss-markov\n{theorem}\n\n"
        f"$$\n{icc}\n$$ (icc)\n{fence}\n\n{fence}{{prf:proof}}\nEasy.\n{fence}\n"
    )
    shown = new_output("stream", text="1\n")
    return new_notebook(
        cells=[
            new_markdown_cell(text),
            new_code_cell("print(1)", id="shown", outputs=[shown], execution_count=1),
            new_code_cell("1", id="silent"),
        ]
    )


@pytest.fixture
def locked(tool):
    """A small book, and the lock that belongs to it."""

    def lines(**changes):
        found = tool.statements({"a": tool.texts(chapter(**changes))})
        return [tool.Line(one.label, one.kind, tool.checksum(one.source), twin="t.py::test_x") for one in found]

    return lines


def problems(tool, lines, **changes):
    return tool.differences(tool.statements({"a": tool.texts(chapter(**changes))}), lines)


def test_labels_and_kinds_are_found(tool, locked):
    assert {line.label: line.kind for line in locked()} == {
        "restricted-loglik": "equation",
        "icc": "equation",
        "thm-gauss-markov": "theorem",
    }


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"restricted": RESTRICTED.replace("- \\tfrac12", "+ \\tfrac12")}, "restricted-loglik"),
        ({"theorem": THEOREM.replace(r"\ge", r"\le")}, "thm-gauss-markov"),
        ({"theorem": THEOREM.replace("every", "some")}, "thm-gauss-markov"),
        ({"icc": ICC.replace(r"\frac{\tau^2}", r"\frac{\sigma^2}")}, "icc"),
    ],
)
def test_a_changed_statement_is_named(tool, locked, change, label):
    found = problems(tool, locked(), **change)
    assert f"make lock-equations LABEL={label}" in found[0]
    (old,), (new,) = (
        [line.checksum for line in lines if line.label == label] for lines in (locked(), locked(**change))
    )
    assert old != new and old in found[0] and new in found[0]
    # The ICC stands inside the theorem, whose own line is not asked for.
    assert [text.split(":")[0] for text in found] == [label]


def test_layout_fences_and_marks_of_the_glossary_do_not_matter(tool, locked):
    assert problems(tool, locked(), fence=":::") == []
    assert problems(tool, locked(), restricted=RESTRICTED.replace(" ", "\n ").replace("- ", "-")) == []
    assert problems(tool, locked(), theorem="{term}`For <far>` every {index}`$c$ <c>`" + THEOREM[13:]) == []


@pytest.mark.parametrize("fence", ["```", ":::", "::::"])
def test_a_math_directive_is_an_equation(tool, fence):
    (one,) = tool.statements({"a": [f"{fence}{{math}}\n:label: pythagoras\na^2 + b^2 = c^2\n{fence}\n"]})
    assert one == tool.Statement("pythagoras", "equation", "a^2 + b^2 = c^2")


def test_spaces_that_mean_something_stay(tool):
    assert tool.normalised(r"\tau x") == r"\tau x"
    assert tool.checksum("at most one") != tool.checksum("atmost one")


def test_missing_stale_and_repeated_labels_are_named(tool, locked):
    lines = locked()
    stale = tool.Line("gone", "equation", "0", twin="t.py::test_x")
    found = problems(tool, [line for line in lines if line.label != "icc"] + [stale])
    assert [text.split(":")[0] for text in found] == ["icc", "gone"]
    assert "TWIN=" in found[0]
    twice = tool.differences(tool.statements({"a": tool.texts(chapter()) * 2}), [*lines, lines[0]])
    assert len(twice) == 4 and all("twice" in text for text in twice)


@pytest.mark.parametrize(
    ("twin", "reason", "problem"),
    [
        ("t.py::test_x", "", None),
        ("cell:shown", "", None),
        ("cell:a#shown", "", None),
        ("cell:b#shown", "", "0 code cells"),
        ("", "a definition", None),
        ("", "", "needs a twin or a reason"),
        ("t.py::test_x", "a definition", "not both"),
        ("t.py::test_y", "", "there is no test t.py::test_y"),
        ("cell:other", "", "0 code cells"),
        ("cell:silent", "", "does not compare"),
    ],
)
def test_twins_are_looked_for(tool, twin, reason, problem):
    line = tool.Line("icc", "equation", "0", twin, reason)
    found = tool.twin_problems([line], {"a": chapter()}, {"t.py::test_x"})
    assert (found == []) if problem is None else (problem in found[0])


def test_an_ignored_cell_or_one_of_two_is_no_twin(tool):
    line = tool.Line("icc", "equation", "0", twin="cell:shown")
    assert "2 code cells" in tool.twin_problems([line], {"a": chapter(), "b": chapter()}, set())[0]
    ignoring = chapter()
    ignoring.cells[1].metadata["tags"] = ["nbval-ignore-output"]
    assert "does not compare" in tool.twin_problems([line], {"a": ignoring}, set())[0]


@pytest.mark.parametrize(
    ("formula", "fine"),
    [
        (r"\frac{\tau^2}{\tau^2 +\n  \sigma^2}", True),
        (r"\frac{\sigma^2}{\tau^2 + \sigma^2}", False),
        (r"\tau^2/(\tau^2 + \sigma^2)", False),
        (r"\rho", True),
    ],
)
def test_glossary_formulas(tool, formula, fine):
    found = tool.statements({"a": tool.texts(chapter())})
    text = GLOSSARY % formula.replace("\\n", "\n")
    assert len(tool.glossary_problems(text, found, exempt={"rate"})) == (not fine)
    assert len(tool.glossary_problems(text, found)) == 1 + (not fine)


@pytest.fixture
def on_disk(tool, tmp_path, locked):
    tool.write(locked(), tmp_path / "equations.csv")
    nbformat.write(chapter(restricted=RESTRICTED.replace("-", "+", 1)), tmp_path / "01-a.ipynb")
    return tmp_path / "equations.csv"


@pytest.mark.parametrize("passes", [True, False])
def test_lock_renews_a_line_only_if_its_twin_passes(tool, on_disk, passes, capsys, monkeypatch):
    monkeypatch.setattr(tool, "collect", lambda lines: {"t.py::test_x"})
    before, ran = on_disk.read_text(), []

    def run(twin, notebooks):
        ran.append(twin)
        return passes

    monkeypatch.setattr(tool, "shown", lambda twin, notebooks: "def test_x")
    done = tool.lock("restricted-loglik", path=on_disk, chapters=on_disk.parent, run=run)
    assert done == passes and ran == ["t.py::test_x"]
    out = capsys.readouterr().out
    assert r"\ell_p(\alpha) +" in out and ("def test_x" in out) == passes
    assert (on_disk.read_text() != before) == passes
    left = tool.differences(tool.statements(tool.book(on_disk.parent)[0]), tool.read(on_disk))
    assert (left == []) == passes


def test_lock_refuses_an_unknown_label_and_a_line_without_twin(tool, on_disk, capsys):
    assert not tool.lock("nowhere", path=on_disk, chapters=on_disk.parent)
    tool.write([], on_disk)
    assert not tool.lock("icc", path=on_disk, chapters=on_disk.parent)
    assert "REASON=" in capsys.readouterr().err
    assert tool.lock("icc", reason="for the test", path=on_disk, chapters=on_disk.parent)
    assert [line.label for line in tool.read(on_disk)] == ["icc"]


TESTS = """
import pytest
def test_good(): assert 1
def test_bad(): assert 0
def helper(): pass
@pytest.mark.skip
def test_skipped(): pass
class TestBox:
    def test_inside(self): pass
"""


def test_the_real_runner_knows_pass_from_fail(tool, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # three times as fast
    (tmp_path / "test_two.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    found = tool.collect([tool.Line("a", "", "", "test_two.py::test_bad")], tmp_path)
    assert found == {f"test_two.py::{name}" for name in ("test_good", "test_bad", "TestBox::test_inside")}
    assert tool.passes("test_two.py::test_good", {}, tmp_path)
    assert not tool.passes("test_two.py::test_bad", {}, tmp_path)
    assert tool.shown("test_two.py::TestBox::test_inside", {}, tmp_path) == "def test_inside(self): pass"
