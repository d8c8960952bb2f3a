"""Mutants of some modules, drawn by cosmic-ray: prints them as JSON. Runs in an environment of its own, see `mutants`.

``python draw_mutants.py SAMPLE SEED FILE ...``: every change of one line that the chosen operators can make, or so many
of them (0: all). Operators that only make errors of types, such as ``*`` into ``<<``, or that touch annotations, such
as ``int | None``, are left out.
"""

import json
import random
import sys
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

BINARY = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Pow_Mul", "FloorDiv_Mul", "Mod_Sub")
COMPARED = ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt")
COMPARED += ("Is_IsNot", "IsNot_Is")
OPERATORS = [f"core/ReplaceBinaryOperator_{name}" for name in BINARY]
OPERATORS += [f"core/ReplaceComparisonOperator_{name}" for name in COMPARED]
OPERATORS += [f"core/ReplaceUnaryOperator_{name}" for name in ("Delete_USub", "Delete_Not", "Delete_Invert")]
OPERATORS += [
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
]
OPERATORS += ["core/AddNot", "core/NumberReplacer", "core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak"]


def places(path):
    """(file, operator, occurrence) of all mutants of a file."""
    nodes = list(ast_nodes(get_ast(Path(path).read_text(encoding="utf-8"))))
    for name in OPERATORS:
        operator = get_operator(name)()
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes)):
            yield path, name, occurrence


def mutant(path, name, occurrence):
    """The line as it is and as it becomes, and which of the lines that read so it is; None if more lines change."""
    source = Path(path).read_text(encoding="utf-8")
    lines, changed = source.split("\n"), (mutate_code(source, get_operator(name)(), occurrence) or source).split("\n")
    differ = [k for k, pair in enumerate(zip(lines, changed, strict=False)) if pair[0] != pair[1]]
    if len(changed) != len(lines) or len(differ) != 1:
        return None
    (k,) = differ
    about = {"path": path, "operator": name.removeprefix("core/"), "line": k + 1}
    return about | {"old": lines[k], "new": changed[k], "place": lines[:k].count(lines[k])}


if __name__ == "__main__":
    sample, seed, *paths = sys.argv[1:]
    every = [place for path in paths for place in places(path)]
    if int(sample):
        every = random.Random(int(seed)).sample(every, min(int(sample), len(every)))
    json.dump([one for place in every if (one := mutant(*place))], sys.stdout)
