"""Shapes in docstrings: each letter is in the table of lmmlib.common.letters, and means nothing else beside it."""

import ast
import re
from pathlib import Path

import pytest

import lmmlib
from lmmlib.common.letters import LETTERS

TOKEN = r"(?:\.\.\.|\d+|[A-Za-z_]\w*)(?:[-+*](?:\d+|[A-Za-z_]\w*))*"


def shapes(docstring):
    """The shapes of a docstring, its text and the names in it; without a letter of the table it is none."""
    text = re.sub(r"\.\. math::.*?(?=\n\n|\Z)", "", docstring, flags=re.DOTALL)
    text = re.sub(r"(:\w+)?:\w+:`[^`]*`", "", text)
    for found in re.finditer(rf"\({TOKEN},(?: {TOKEN}(?:, {TOKEN})*)?\)", text):
        names = re.findall(r"[A-Za-z_]\w*", found.group())
        if any(name in LETTERS for name in names):
            yield found.group(), names


def declared(node):
    """Parameters of a function or fields of a class that are no whole number, which would be the letter itself."""
    if isinstance(node, ast.ClassDef):
        named = {f.target.id: f.annotation for f in node.body if isinstance(f, ast.AnnAssign)}
    else:
        named = {a.arg: a.annotation for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    return {name for name, kind in named.items() if kind is None or not ast.unparse(kind).startswith("int")}


def faults(source):
    """What is wrong with the letters of a module: (name of the class or function, what)."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or not (docstring := ast.get_docstring(node)):
            continue
        for shape, names in shapes(docstring):
            for name in names:
                if name not in LETTERS and len(name) < 4:
                    yield node.name, f"{name} of the shape {shape} is not in lmmlib.common.letters"
                if name in LETTERS and name in declared(node):
                    yield node.name, f"{name} is a parameter, and a length in {shape}"


FILES = sorted(Path(lmmlib.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_letter_means_one_thing(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


def test_every_letter_of_the_table_is_used():
    nodes = [node for path in FILES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    texts = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    used = {name for text in texts for _, names in shapes(text) for name in names}
    assert set(LETTERS) <= used


def test_the_faults_are_seen():
    two = 'def f(B, p: int):\n    """Of (B, p) and (w, q) arrays."""'
    assert [what for _, what in faults(two)] == [
        "B is a parameter, and a length in (B, p)",
        "w of the shape (w, q) is not in lmmlib.common.letters",
    ]
    assert not list(faults('def f(beta):\n    """Of (beta, theta), :math:`(w, q)`; poly(x, 2); (rows, p)."""'))
