"""The lock of the mathematics: chapters/equations.csv beside every labelled equation and theorem of the book.

A line holds a label, a checksum of the source that it locks, and the *twin*: the test (``tests/....py::test_x``) or the
cell (``cell:ID``, or ``cell:03-gls#ID`` where other chapters have the id too) that computes both sides; or the reason
why nothing can. A changed formula differs from its checksum until somebody has looked at it and run
``make lock-equations LABEL=...``, which runs the twin first.

Lines are found by their labels alone and cells by their ids alone, so that both may move between files.
"""

import argparse
import ast
import csv
import hashlib
import io
import re
import subprocess
import sys
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import nbformat

from chapters._tools.replacing import replace_text

CHAPTERS = Path(__file__).resolve().parents[1]
LOCK = CHAPTERS / "equations.csv"
COMMAND = "make lock-equations LABEL={}"
PROVED = ("theorem", "proposition", "lemma", "corollary", "definition", "remark", "axiom", "conjecture", "property")
FENCE = re.compile(r"^\s*(`{3,}|:{3,})(.*)$")
OPENING = re.compile(r"\{(?:prf:(" + "|".join(PROVED) + r")|math)\}\s*(.*)")
DISPLAY = re.compile(r"\$\$(.*?)\$\$(?:[ \t]*\(([\w.-]+)\)[ \t]*$)?", re.DOTALL | re.MULTILINE)
WORD = re.compile(r"\{(?:term|index)\}`([^`<]*?)\s*(?:<[^`]*>)?`")


@dataclass(frozen=True)
class Statement:
    """A labelled piece of mathematics: an equation, or what stands in a ``prf`` directive."""

    label: str
    kind: str
    source: str


@dataclass(frozen=True)
class Line:
    """A line of the lock; of twin and reason one is empty."""

    label: str
    kind: str
    checksum: str
    twin: str = ""
    reason: str = ""


def normalised(source):
    """The source without the spaces that mean nothing, and without marks of the glossary and the index."""
    return re.sub(r"\s+(?!\w)|(?<!\w)\s+", "", re.sub(r"\s+", " ", WORD.sub(r"\1", source)))


def checksum(source):
    return hashlib.sha256(normalised(source).encode()).hexdigest()[:12]


def equations(text):
    """The labelled equations of a text. Each ``$$`` opens or closes, so that pairs are never mixed up."""
    return [Statement(m[2], "equation", m[1].strip("\n")) for m in DISPLAY.finditer(text) if m[2]]


def directives(text):
    """The labelled ``prf`` and ``math`` directives of a text, with backticks or with colons around them."""
    open_fences, found = [], []
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence and open_fences and not fence[2].strip() and fence[1] == open_fences[-1][0]:
            found += statement(*open_fences.pop()[1:])
            continue
        for _, _, body in open_fences:
            body.append(line)
        if fence and fence[2].strip():
            open_fences.append((fence[1], fence[2].strip(), []))
    return found


def statement(opening, body):
    """The directive as a list of one Statement, or of none: other directives, and those without a label."""
    named = OPENING.match(opening)
    label = next((line.split(":label:")[1].strip() for line in body if line.strip().startswith(":label:")), None)
    if not named or label is None:
        return []
    kept = [line for line in body if not re.match(r"\s*:\w+:", line)]
    # An equation with a label has a line of its own: one change asks for one command.
    source = DISPLAY.sub(lambda one: f"$$ ({one[2]})" if one[2] else one[0], "\n".join([named[2], *kept]))
    return [Statement(label, named[1] or "equation", source.strip("\n"))]


def texts(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def book(chapters=CHAPTERS):
    """({path: text of each Markdown cell or page}, {path: notebook}) of all chapters."""
    notebooks = {path: nbformat.read(path, as_version=4) for path in sorted(chapters.glob("**/*.ipynb"))}
    pages = {path: [path.read_text(encoding="utf-8")] for path in sorted(chapters.glob("*.md"))}
    return {path: texts(notebook) for path, notebook in notebooks.items()} | pages, notebooks


def statements(book_texts):
    """All labelled statements of the book, in its order."""
    parts = [text for cells in book_texts.values() for text in cells]
    return [found for text in parts for found in equations(text) + directives(text)]


def read(path=LOCK):
    with path.open(newline="", encoding="utf-8") as file:
        return [Line(**row) for row in csv.DictReader(file)]


def write(lines, path=LOCK):
    file = io.StringIO(newline="")
    out = csv.writer(file, lineterminator="\n")
    out.writerow([field.name for field in fields(Line)])
    out.writerows(astuple(line) for line in sorted(lines, key=lambda line: (line.kind, line.label)))
    replace_text(path, file.getvalue())


def differences(found, lines):
    """What the lock and the book do not agree on, each as a sentence with the command that helps."""
    locked, now = {line.label: line for line in lines}, {one.label: one for one in found}
    problems = [f"{label}: stands twice in the book" for label in repeated(found)]
    problems += [f"{label}: stands twice in equations.csv" for label in repeated(lines)]
    for label, one in now.items():
        command = COMMAND.format(label)
        line = locked.get(label)
        if line is None:
            problems.append(
                f"{label}: a new {one.kind} without a line in equations.csv: run `{command} TWIN=tests/...::test_...`"
            )
        elif (line.kind, line.checksum) != (one.kind, checksum(one.source)):
            was, is_ = f"{line.kind} {line.checksum}", f"{one.kind} {checksum(one.source)}"
            problems.append(f"{label}: changed, locked {was}, now {is_}: look at it, then run `{command}`")
    problems += [
        f"{label}: no longer in the book, delete its line of equations.csv" for label in locked if label not in now
    ]
    return problems


def repeated(things):
    labels = [thing.label for thing in things]
    return sorted({label for label in labels if labels.count(label) > 1})


def cells(notebooks):
    """{id: [(path, cell)]} of the code cells of the book."""
    found = {}
    for path, notebook in notebooks.items():
        for cell in notebook.cells:
            if cell.cell_type == "code":
                found.setdefault(cell.id, []).append((path, cell))
    return found


def cells_named(name, notebooks):
    """[(path, cell)] of the code cells with this id, in one chapter if it is named too."""
    chapter, _, id_ = name.removeprefix("cell:").rpartition("#")
    return [(path, cell) for path, cell in cells(notebooks).get(id_, []) if chapter in ("", Path(path).stem)]


def cell_problem(name, found):
    """What is wrong with a cell as a twin, or None."""
    if len(found) != 1:
        return f"{name}: {len(found)} code cells have this id; name the chapter as in cell:03-gls#cell-012"
    cell = found[0][1]
    ignored = {"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", []))
    return f"{name}: nbval does not compare the output of this cell" if ignored or not cell.outputs else None


def twin_problems(lines, notebooks, tests):
    """Lines without exactly one of twin and reason, and twins that do not exist; `tests`: ids as of pytest."""
    problems = []
    for line in lines:
        if bool(line.twin) == bool(line.reason.strip()):
            problems.append(f"{line.label}: needs a twin or a reason why it has none, and not both")
        elif line.twin.startswith("cell:"):
            problem = cell_problem(line.twin, cells_named(line.twin, notebooks))
            problems += [f"{line.label}: {problem}"] if problem else []
        elif line.twin and line.twin not in tests:
            problems.append(f"{line.label}: there is no test {line.twin}")
    return problems


ROLE = re.compile(r"\{(?:eq|prf:ref)\}`([\w.-]+)`")
OPERATION = re.compile(r"[=<>/+]|\\(?:frac|[lg]e|ne|sum|int)\b|\^\{-1\}")


def glossary_entries(text):
    """{term: its text} of a page with a ``glossary`` directive, whose entries stand apart by empty lines."""
    _, _, body = text.partition("{glossary}")
    blocks = [block.strip() for block in re.split(r"\n\s*\n", body) if block.strip()]
    return {block.splitlines()[0]: block for block in blocks if "\n" in block}


def glossary_problems(text, found, exempt=()):
    """Formulas of the glossary that do not stand, as they are, in a statement that their entry names.

    A formula holds an operation; a lone symbol does not count. `exempt`: terms whose formula is the definition.
    """
    sources = {one.label: normalised(one.source) for one in found}
    problems = []
    for term, entry in glossary_entries(text).items():
        named = [sources.get(label, "") for label in ROLE.findall(entry)]
        for formula in re.findall(r"\$([^$]+)\$", entry):
            there = any(normalised(formula) in source for source in named)
            if OPERATION.search(formula) and not there and term not in exempt:
                problems.append(f"{term}: ${formula}$ does not stand in an equation that this entry names")
    return problems


def tests_in(file):
    """The ids of the tests that a file defines and does not skip, after the name of the file."""
    found = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        owner = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for one in inside:
            if isinstance(one, ast.FunctionDef) and one.name.startswith("test"):
                skipped = any(
                    "skip" in ast.unparse(mark) or "xfail" in ast.unparse(mark) for mark in one.decorator_list
                )
                found += [] if skipped else [owner + one.name]
    return found


def collect(lines, root=CHAPTERS.parent):
    """The ids of the tests in the files that the twins name."""
    files = sorted({line.twin.split("::")[0] for line in lines if "::" in line.twin})
    there = [file for file in files if Path(file).name.startswith("test_") and (root / file).exists()]
    return {f"{file}::{name}" for file in there for name in tests_in(root / file)}


def shown(twin, notebooks, root=CHAPTERS.parent):
    """The source of a twin, for a person to compare."""
    if twin.startswith("cell:"):
        return cells_named(twin, notebooks)[0][1].source
    file, *path = twin.split("::")
    text = (root / file).read_text(encoding="utf-8")
    inside = ast.parse(text)
    for name in path:
        inside = next(node for node in inside.body if getattr(node, "name", None) == name)
    return ast.get_source_segment(text, inside)


def passes(twin, notebooks, root=CHAPTERS.parent):
    """Run the twin; a cell with nbval, together with its whole notebook."""
    if not twin.startswith("cell:"):
        return subprocess.run([sys.executable, "-m", "pytest", "-q", twin], cwd=root).returncode == 0
    ((path, _),) = cells_named(twin, notebooks)
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", str(path)]
    return subprocess.run(command, cwd=root).returncode == 0


def lock(label, twin="", reason="", path=LOCK, chapters=CHAPTERS, run=passes):
    """Show the statement, run its twin, and renew its line; returns whether that was possible."""
    book_texts, notebooks = book(chapters)
    one = next((one for one in statements(book_texts) if one.label == label), None)
    lines = {line.label: line for line in read(path)}
    if one is None:
        print(f"No equation or theorem of the book has the label {label}.", file=sys.stderr)
        return False
    line = lines.get(label, Line(label, one.kind, ""))
    if twin or reason:
        line = replace(line, twin=twin, reason=reason)
    print(f"{one.kind} {label} now reads\n\n{one.source}\n")
    problems = twin_problems([line], notebooks, collect([line]))
    if problems:
        print("\n".join(problems) + "\nGive TWIN=tests/...py::test_..., TWIN=cell:ID or REASON='...'", file=sys.stderr)
        return False
    if line.twin and not run(line.twin, notebooks):
        print(f"The twin {line.twin} fails: nothing is locked.", file=sys.stderr)
        return False
    if line.twin:
        print(f"\n{shown(line.twin, notebooks)}\n")
    lines[label] = replace(line, kind=one.kind, checksum=checksum(one.source))
    write(lines.values(), path)
    print(f"Locked with {line.twin or 'the reason: ' + line.reason}. Does the twin compute what now stands above?")
    return True


def main():
    parser = argparse.ArgumentParser(description="Renew the line of a label in chapters/equations.csv.")
    parser.add_argument("label")
    parser.add_argument("--twin", default="", help="tests/...py::test_... or cell:ID")
    parser.add_argument("--reason", default="", help="why there is no twin")
    options = parser.parse_args()
    sys.exit(0 if lock(options.label, options.twin, options.reason) else 1)


if __name__ == "__main__":
    main()
