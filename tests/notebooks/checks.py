"""What must hold of every chapter: each function takes a notebook and returns a list of complaints.

An empty list is a pass. The functions know nothing of files or of pytest, so that
test_checks.py can show each of them a notebook that breaks its rule.
"""

import ast
import base64
import re
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "chapters" / "_tools"))
from reproductions import ignored, reproductions, tags, texts

MAX_LINES = 25
TABLES = ("report.table", "report.reproduction_table")
PREDICT = re.compile(
    r"^(?P<fence>:{3,})\{admonition\} Predict: (?P<title>.*)\n"
    r"(?P<options>(?::.*\n)*)(?P<answer>(?s:.*?))^(?P=fence)\s*$",
    re.M,
)
LONG_FRACTION = re.compile(r"\d\.\d{9,}")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{4,}")


def code_cells(notebook):
    """(number among all cells, cell) of the code cells."""
    return [(k, cell) for k, cell in enumerate(notebook.cells) if cell.cell_type == "code"]


def has_figure(cell):
    return any("image/png" in o.get("data", {}) or "image/svg+xml" in o.get("data", {}) for o in cell.outputs)


def executed_in_order(notebook):
    """The execution counts are 1, 2, 3, ...: one run, from the top, in a fresh kernel."""
    counts = [cell.execution_count for _, cell in code_cells(notebook)]
    if not counts:
        return []
    if None in counts:
        return [f"cell {k} was never executed" for k, cell in code_cells(notebook) if cell.execution_count is None]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"executed out of order: {counts}"]


def no_errors(notebook):
    """An error is shown only where the chapter means to show one."""
    found = []
    for k, cell in code_cells(notebook):
        failing = any(output.output_type == "error" for output in cell.outputs)
        if failing and "raises-exception" not in tags(cell):
            found.append(f"cell {k} ends in an error")
        if not failing and "raises-exception" in tags(cell):
            found.append(f"cell {k} is tagged raises-exception and raises none")
    return found


def ignored_cells(notebook):
    """Ids of the cells whose output nbval does not compare."""
    return {cell.id for _, cell in code_cells(notebook) if ignored(cell)}


def figures_are_described(notebook):
    """Every figure has an alternative text, a caption and a name, and a cell shows one figure."""
    found = []
    for k, cell in code_cells(notebook):
        if not has_figure(cell):
            continue
        shown = sum("image/png" in o.get("data", {}) or "image/svg+xml" in o.get("data", {}) for o in cell.outputs)
        settings = cell.metadata.get("mystnb", {})
        alt = settings.get("image", {}).get("alt", "").strip()
        figure = settings.get("figure", {})
        if shown > 1:
            found.append(f"cell {k} shows {shown} figures")
        elif len(cell.outputs) > 1:
            found.append(f"cell {k} prints something besides its figure")
        if len(alt) < 20:
            found.append(f"the figure of cell {k} has no alternative text (of 20 characters or more)")
        if not figure.get("caption", "").strip():
            found.append(f"the figure of cell {k} has no caption")
        if not figure.get("name", "").startswith("fig-"):
            found.append(f"the figure of cell {k} has no name fig-...")
    return found


def figures_are_sharp(notebook):
    """A figure has twice the pixels of the size at which it is shown, which a notebook page has to be told."""
    found = []
    for k, cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                width = struct.unpack(">I", base64.b64decode(output.data["image/png"])[16:20])[0]
                shown = output.get("metadata", {}).get("image/png", {}).get("width")
                if shown is None or abs(width - 2 * shown) > 1:
                    found.append(f"the figure of cell {k} has {width} pixels and is shown at {shown}: run the chapter")
    return found


def images_in_text_are_described(notebook):
    """A picture in a Markdown cell has an alternative text."""
    found = []
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            if re.search(r"!\[\s*\]\(", cell.source):
                found.append(f"cell {k} has a picture without alternative text")
            for block in re.finditer(r"^(:{3,})\{(?:figure|image)\}.*?^\1\s*$", cell.source, re.M | re.S):
                if ":alt:" not in block.group():
                    found.append(f"cell {k} has a figure without :alt:")
    return found


def directives_have_colon_fences(notebook):
    """A directive stands between colons: between backticks its mathematics is source text in plain Jupyter.

    After the options a blank line, for the same reason.
    """
    found = []
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            if fence := re.search(r"^\s*`{3,}\{(?!code-block)[\w:-]+\}", cell.source, re.M):
                found.append(f"cell {k} has a directive between backticks: {fence.group().strip()}")
            if option := re.search(r"^:{3,}\{.*\n(?::[\w-]+:.*\n)+(?!:)(?=\S)", cell.source, re.M):
                found.append(f"cell {k} has no blank line after the options of {option.group().splitlines()[0]}")
    return found


def formulas_stand_apart(notebook):
    """A displayed formula opens after a blank line: in the middle of a paragraph it may be lost."""
    found = []
    for k, cell in enumerate(notebook.cells):
        opened, before = False, ""
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.strip().startswith("$$"):
                if not opened and before.strip():
                    found.append(f"cell {k} has a formula with no blank line before it, after {before.strip()[-40:]!r}")
                opened = not opened if line.count("$$") == 1 else opened
            before = line
    return found


def numbers_are_rounded(notebook):
    """No output has nine decimals or more: such digits differ from one processor to the next."""
    return [
        f"cell {k} prints {match.group()} in full"
        for k, cell in code_cells(notebook)
        for _, text in texts(cell)
        if (match := LONG_FRACTION.search(text))
    ]


def no_addresses(notebook):
    """No output names an object by its address in memory."""
    return [
        f"cell {k} prints an object{match.group()[2:]}"
        for k, cell in code_cells(notebook)
        for _, text in texts(cell)
        if (match := ADDRESS.search(text))
    ]


def nothing_on_stderr(notebook):
    """No warning is left standing in the book."""
    return [
        f"cell {k} writes to stderr: {text.strip().splitlines()[0]}"
        for k, cell in code_cells(notebook)
        for kind, text in texts(cell)
        if kind == "stderr"
    ]


def cells_are_short(notebook):
    """A reader takes in a cell of up to 25 lines."""
    return [
        f"cell {k} has {len(cell.source.splitlines())} lines"
        for k, cell in code_cells(notebook)
        if len(cell.source.splitlines()) > MAX_LINES
    ]


def starts_with_a_title(notebook):
    """One first-level heading, at the top: it is the chapter's name in the book."""
    lines = [
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in re.sub(r"^(`{3,}|~{3,}|:{3,}).*?^\1", "", cell.source, flags=re.M | re.S).splitlines()
    ]
    titles = [line for line in lines if re.match(r"# \S", line)]
    if not notebook.cells or not re.match(r"(\([\w-]+\)=\s+)?# \S", notebook.cells[0].source):
        return ["the first cell does not start with a title"]
    return [] if len(titles) == 1 else [f"{len(titles)} first-level headings: {titles}"]


def exercises_have_solutions(notebook, at_least=0):
    """Every exercise has its solution, and there are enough of them."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    exercises = re.findall(r"\{exercise(?:-start)?\}.*?\n:label:\s*(\S+)", text)
    solutions = re.findall(r"\{solution(?:-start)?\}\s+(\S+)", text)
    found = [f"{label} has no solution" for label in exercises if label not in solutions]
    found += [f"a solution to {label}, which is no exercise here" for label in solutions if label not in exercises]
    if len(exercises) < at_least:
        found.append(f"{len(exercises)} exercises, fewer than {at_least}")
    return found


def predictions_can_be_made(notebook):
    """A question to predict fits a line, its answer is folded, and an output follows that shows who was right."""
    found = []
    for k, cell in enumerate(notebook.cells):
        for box in PREDICT.finditer(cell.source if cell.cell_type == "markdown" else ""):
            title, options, answer = box["title"], box["options"].split(), box["answer"].strip()
            if len(title) > 95 or not title.endswith("?"):
                found.append(f"cell {k} asks for a prediction in no line that ends with a question mark: {title}")
            if options != [":class:", "predict", "dropdown"]:
                found.append(f"cell {k} does not fold the answer: {title}")
            if len(answer) < 15:
                found.append(f"cell {k} does not answer: {title}")
            if not any(after.get("outputs") for after in notebook.cells[k + 1 : k + 4]):
                found.append(f"cell {k} is followed by no output: {title}")
    return found


def reproduced(notebook):
    """The ledger's ids that the executed output of this notebook shows with a passing verdict."""
    return {shown.id for shown in reproductions(notebook) if shown.passed}


def source_parses(notebook):
    """Every code cell is plain Python: no magics, so that a chapter runs anywhere."""
    found = []
    for k, cell in code_cells(notebook):
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            if "raises-exception" not in tags(cell):
                found.append(f"cell {k} is not plain Python: {error.msg}")
    return found


def tables_are_shown(notebook):
    """A notebook displays the value of a cell's last line: a table that is made before it is seen by nobody."""
    found = []
    for k, cell in code_cells(notebook):
        try:
            lines = ast.parse(cell.source).body[:-1]
        except SyntaxError:  # source_parses says so
            continue
        calls = [line.value for line in lines if isinstance(line, ast.Expr) and isinstance(line.value, ast.Call)]
        lost = [ast.unparse(call.func) for call in calls]
        found += [f"cell {k} shows no {name}, which is not its last line" for name in lost if name in TABLES]
    return found


def one_name_per_thing(notebook):
    """Every cell id and every figure's name is used once."""
    ids = [cell.get("id") for cell in notebook.cells]
    names = [c.metadata.get("mystnb", {}).get("figure", {}).get("name") for _, c in code_cells(notebook)]
    found = ["a cell has no id"] if None in ids else []
    found += [f"cell id {i} is used twice" for i in sorted({i for i in ids if i and ids.count(i) > 1})]
    return found + [f"figure name {n} is used twice" for n in sorted({n for n in names if n and names.count(n) > 1})]


CHECKS = (
    executed_in_order,
    no_errors,
    figures_are_described,
    figures_are_sharp,
    images_in_text_are_described,
    directives_have_colon_fences,
    formulas_stand_apart,
    numbers_are_rounded,
    no_addresses,
    nothing_on_stderr,
    cells_are_short,
    starts_with_a_title,
    exercises_have_solutions,
    predictions_can_be_made,
    source_parses,
    tables_are_shown,
    one_name_per_thing,
)
