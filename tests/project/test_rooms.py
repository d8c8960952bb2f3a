"""The house: a room imports from the rooms below it alone, nothing in a circle, and no name hides a module."""

import ast
import importlib
import importlib.util
import inspect
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import lmmlib

# Each room and those right below it; what is below these may be imported as well, errors by all.
ROOMS = {
    "errors": [],
    "common": ["errors"],
    "design": ["common"],
    "equations": ["design"],
    "fitting": ["equations"],
    "inference": ["fitting"],
    "prediction": ["inference"],
    "several": ["inference"],
    "residual": ["prediction"],
    "lmm": ["residual", "several"],
    "bayes": ["equations"],
    "cloning": ["bayes", "prediction"],
    "laplace": ["fitting"],
    "glmm": ["laplace"],
    "book": ["lmm", "cloning", "glmm"],
    "": ["book"],  # lmmlib itself, the face
}
# The only packages that a function imports, when somebody needs them: they are large, or not installed.
LATE = {"arviz", "dask", "matplotlib", "nutpie", "pymc", "pytensor", "tqdm"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def read(folder):
    """{name: tree} of the modules of a package; a room is "design", a module in it "design.cross", itself ""."""
    names = {path: path.relative_to(folder).with_suffix("").parts for path in folder.rglob("*.py")}
    return {
        ".".join(part for part in parts if part != "__init__"): ast.parse(path.read_text(encoding="utf-8"))
        for path, parts in names.items()
    }


def imported(tree):
    """(full name, whether in a function) of all that a module imports, TYPE_CHECKING or not."""
    late = {id(node) for inner in ast.walk(tree) if isinstance(inner, FUNCTIONS) for node in ast.walk(inner)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((f"{module}.{alias.name}", id(node) in late) for alias in node.names)


def own(modules, package):
    """{module: modules of the package that it imports}; a room counts by the module that holds the name."""
    found = {}
    for name, tree in modules.items():
        found[name] = set()
        for full, _ in imported(tree):
            if full == package or full.startswith(f"{package}."):
                inner = full[len(package) + 1 :]
                found[name].add(inner if inner in modules else inner.rpartition(".")[0])
    return found


def room(name):
    return name.partition(".")[0]


def below(name):
    """All rooms that a room may import from, itself included."""
    return {name}.union(*map(below, ROOMS[name]))


def upward(modules, package="lmmlib"):
    """Imports from a room that is not below; a room that the table does not know is in no place."""
    return {
        f"{name} imports {other}"
        for name, others in own(modules, package).items()
        for other in others
        if room(name) not in ROOMS or room(other) not in below(room(name))
    }


def circle(modules, package="lmmlib"):
    """Modules that import each other; whoever imports a module of another room imports the room first."""
    graph = {
        name: others | {room(other) for other in others if room(other) != room(name)}
        for name, others in own(modules, package).items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def late(modules):
    """Imports inside of functions that are not of a package of the list."""
    return {
        f"{name} imports {full}"
        for name, tree in modules.items()
        for full, inside in imported(tree)
        if inside and room(full) not in LATE
    }


def relative(modules):
    return {f"{name} imports {full}" for name, tree in modules.items() for full, _ in imported(tree) if full[0] == "."}


def hidden(package):
    """Names of a package that are not the module of this name which there is."""
    return [
        name
        for name in dir(package)
        if not inspect.ismodule(getattr(package, name)) and importlib.util.find_spec(f"{package.__name__}.{name}")
    ]


@pytest.fixture(scope="module")
def modules():
    return read(Path(lmmlib.__path__[0]))


FOR_A_TYPE = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lmmlib.lmm.fit import Fit\n"


def test_each_room_has_its_place(modules):
    assert {room(name) for name in modules} == set(ROOMS)
    assert "data" not in ROOMS  # the wheel has the data in lmmlib/data
    assert all(ast.get_docstring(modules[name]) for name in ROOMS)


@pytest.mark.parametrize("faults", [upward, circle, late, relative])
def test_imports_have_one_direction(modules, faults):
    assert not faults(modules)


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        (upward, {"design/cross.py": "from lmmlib.lmm import fit"}),
        (upward, {"errors.py": "import lmmlib.common.text"}),
        (upward, {"common/text.py": "from lmmlib import fit"}),
        (upward, {"laplace/graph.py": "def f():\n    from lmmlib.glmm.fit import fit_glmm"}),
        (upward, {"attic/old.py": "import lmmlib.errors"}),
        (circle, {"lmm/fit.py": "from lmmlib.lmm import text", "lmm/text.py": "from lmmlib.lmm.fit import Fit"}),
        (circle, {"lmm/fit.py": "import lmmlib.lmm.text", "lmm/text.py": FOR_A_TYPE}),
        (circle, {"lmm/__init__.py": "import lmmlib.lmm.fit", "lmm/fit.py": "from lmmlib.lmm import Fit"}),
        (circle, {"lmm/__init__.py": "import lmmlib.book.a", "book/a.py": "import lmmlib.lmm.fit", "lmm/fit.py": ""}),
        (late, {"lmm/fit.py": "def f():\n    import scipy.stats"}),
        (late, {"lmm/fit.py": "class A:\n    def f(self):\n        from lmmlib.lmm import text"}),
        (relative, {"lmm/fit.py": "from . import text"}),
    ],
)
def test_an_import_that_should_not_be_is_found(tmp_path, faults, code):
    rooms = {path.partition("/")[0] for path in code if "/" in path}
    for path, text in {**{f"{name}/__init__.py": "" for name in rooms}, "__init__.py": "", **code}.items():
        (tmp_path / "lmmlib" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lmmlib" / path).write_text(text)
    assert faults(read(tmp_path / "lmmlib"))


def test_the_face_is_what_dir_shows():
    assert [name for name in dir(lmmlib) if not name.startswith("_")] == sorted(lmmlib.__all__)


@pytest.mark.parametrize("name", ROOMS)
def test_no_name_of_the_face_or_of_a_room_hides_a_module(name):
    """``lmmlib.fit`` is a function, so that no module has this name: its contents would be out of reach."""
    assert name == "errors" or hidden(importlib.import_module(f"lmmlib.{name}".rstrip("."))) == []


def test_a_hidden_module_is_found(monkeypatch):
    monkeypatch.setattr(lmmlib, "errors", print)
    assert hidden(lmmlib) == ["errors"]
