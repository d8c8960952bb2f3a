"""Tolerances that tests pass: the loose ones, by test, as ``tests/tolerances.csv`` lists them with a reason each.

``python -m tests.tolerances_scan`` writes the lines of new ones to the file, with an empty reason to be filled in.
"""

import ast
import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
LIST = FOLDER / "tolerances.csv"
BOUND = 1e-6
KEYWORDS = {"rtol", "atol", "rel", "abs", "rel_tol", "abs_tol"}


def constants(tree: ast.Module) -> dict[str, float]:
    """Numbers that a module gives a name."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, float)
    }


def looseness(value: ast.expr, known: dict[str, float]) -> Iterator[float]:
    """Numbers above the bound in a tolerance: a literal or named one, and factors below one of an expression."""
    if isinstance(value, ast.Constant):
        yield from (v for v in [value.value] if isinstance(v, int | float) and v > BOUND)
        return
    for node in ast.walk(value):
        number = known.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
        if isinstance(number, float) and BOUND < number < 1:
            yield number


def of_source(text: str) -> dict[str, list[float]]:
    """Loose tolerances of each function or class at the top of a file."""
    tree, found = ast.parse(text), defaultdict(list)
    for top in tree.body:
        for node in ast.walk(top):
            # A table of keywords counts as the keywords of a call.
            pairs = [(k.arg, k.value) for k in node.keywords] if isinstance(node, ast.Call) else []
            if isinstance(node, ast.Dict):
                pairs = [
                    (k.value, v) for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)
                ]
            for name, value in pairs:
                if name in KEYWORDS:
                    found[getattr(top, "name", "(top)")] += looseness(value, constants(tree))
    return {name: sorted(values) for name, values in found.items() if values}


def of_tests() -> dict[str, list[float]]:
    """The same of all tests, by file and function."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        name = path.relative_to(FOLDER).as_posix()
        found |= {f"{name}::{test}": values for test, values in of_source(path.read_text()).items()}
    return found


def listed() -> dict[str, tuple[list[float], str]]:
    """What ``tolerances.csv`` says: values and their reason."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return {row["test"]: ([float(v) for v in row["values"].split()], row["reason"]) for row in csv.DictReader(file)}


def write() -> None:
    """Renew the file: lines of tests that are gone are left out, new or changed ones have no reason."""
    old = listed() if LIST.exists() else {}
    with LIST.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["test", "values", "reason"])
        for test, values in of_tests().items():
            before, reason = old.get(test, ([], ""))
            lines.writerow([test, " ".join(f"{v:g}" for v in values), reason if before == values else ""])


if __name__ == "__main__":
    write()
