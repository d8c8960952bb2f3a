"""How long a core page is: what a reader sees of a chapter with its solutions folded.

A core page is the route of a first reading, ``chapters/NN-name.ipynb``; what is deeper stands on the page
``NN-name-deeper.ipynb``, which has no measure but the width of its lines. How high the page is: tests/book.
"""

import ast
import re

SOLUTION = re.compile(r"^:{3,}\{solution-(start|end)\}", re.M)
BOX = re.compile(r"^(:{3,})\{admonition\} From the sources\b.*?^\1\s*$", re.M | re.S)
PREDICT = re.compile(r"^(:{3,})\{admonition\} Predict: .*?^\1\s*$", re.M | re.S)
SOURCES = re.compile(
    r"\bdocuments? 00\d|\bsource documents?\b|\b(?:lecture|the) notes\b|\bthe documents?(?:'s)?\b", re.I
)
SEED = re.compile(r"\bseeds? \d+", re.I)
NOT_WORDS = (
    (re.compile(r"^(`{3,}).*?^\1\s*$", re.M | re.S), " "),  # code of other programs
    (re.compile(r"\$\$.*?\$\$(?:\s*\([\w-]+\))?", re.S), " "),
    (re.compile(r"\$[^$\n]+\$"), " formula "),
    (re.compile(r"^:{3,}(?:\{[\w:-]+\})?|^:[\w-]+:.*$|^\([\w-]+\)=$", re.M), " "),
    (re.compile(r"\{[\w:]+\}`"), " "),
    (re.compile(r"\]\([^)]*\)"), " "),
)
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
MOST = {"words": 6000, "code lines": 350, "screens": 40}
WIDTH = 88


def words(text):
    """The number of words of a Markdown text: a formula in a line counts as one, a displayed one as none."""
    for what, instead in NOT_WORDS:
        text = what.sub(instead, text)
    return len(re.findall(r"\w[\w'’.-]*", text))


def parts(notebook):
    """(cell, whether it stands in a folded solution, its Markdown outside exercises, solutions and predictions)."""
    folded = exercises = False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell, folded, ""
            continue
        text, at, outside = PREDICT.sub("", cell.source), 0, []
        for mark in SOLUTION.finditer(text):
            outside += [] if folded else [text[at : mark.start()]]
            folded, at = mark[1] == "start", mark.end()
        outside += [] if folded else [text[at:]]
        kept = []
        for piece in re.split(r"(?m)^(?=## )", "\n".join(outside)):
            if piece.startswith("## "):
                exercises = bool(re.match(r"## Exercises\b", piece))
            kept += [] if exercises else [piece]
        yield cell, folded, "\n".join(kept)


def prose(notebook):
    """The words of a page without its exercises and solutions; captions count."""
    figures = (cell.metadata.get("mystnb", {}) for cell, folded, _ in parts(notebook) if not folded)
    captions = [figure.get("figure", {}).get("caption", "") for figure in figures]
    return sum(words(text) for _, _, text in parts(notebook)) + sum(map(words, captions))


def visible_code(notebook):
    """The lines of code that are seen while solutions and hidden inputs are folded; blank lines do not count."""
    cells = (cell for cell, folded, _ in parts(notebook) if cell.cell_type == "code" and not folded)
    seen = (cell for cell in cells if not HIDDEN & set(cell.metadata.get("tags", [])))
    return sum(bool(line.strip()) for cell in seen for line in cell.source.splitlines())


def only_checks(source):
    """Whether a cell does nothing but call `report.check`."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a cell that shows an error
        return False
    return bool(body) and all(ast.unparse(node).startswith("report.check(") for node in body)


def too_long(notebook):
    """What makes a core page too long, or speaks of what is no reader's business; an empty list is a pass."""
    found = []
    for name, measure in {"words": prose, "code lines": visible_code}.items():
        if (number := measure(notebook)) > MOST[name]:
            found.append(f"{number} {name}, at most {MOST[name]}")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if only_checks(cell.source) and not HIDDEN & set(cell.metadata.get("tags", [])):
                found.append(f"{cell.id} shows lines that only check: tag it hide-input")
        else:
            text = BOX.sub("", cell.source)
            found += [f"{cell.id} speaks of {m.group()!r}" for m in SOURCES.finditer(text)]
            found += [f"{cell.id} names {m.group()!r}: it stands in the code" for m in SEED.finditer(text)]
    if sum(len(BOX.findall(cell.source)) for cell in notebook.cells) > 1:
        found.append("more than one box about the sources")
    return found


def too_wide(notebook):
    """Cells whose code scrolls sideways; what is removed from the page does not."""
    return [
        f"{cell.id} has a line of {max(map(len, cell.source.splitlines()))} characters, at most {WIDTH}"
        for cell in notebook.cells
        if cell.cell_type == "code"
        and not {"remove-input", "remove-cell"} & set(cell.metadata.get("tags", []))
        and any(len(line) > WIDTH for line in cell.source.splitlines())
    ]


# Sections of a core page that teach by telling what is elsewhere: the way ahead, another program, a list to keep.
NO_QUESTIONS = re.compile(
    r"The road ahead|The (?:same model|question) in statsmodels|A checklist|Further reading|Summary"
)


def without_questions(notebook):
    """Sections before the exercises that ask for fewer than two predictions."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    sections = re.split(r"(?m)^(?=## )", text.split("\n## Exercises")[0])[1:]
    asked = {part.splitlines()[0][3:]: len(PREDICT.findall(part)) for part in sections}
    return [title for title, found in asked.items() if found < 2 and not NO_QUESTIONS.match(title)]
