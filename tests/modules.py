"""The modules of lmmlib, for tests that look at all of them: their names after ``lmmlib.``, and their source."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import lmmlib

FOLDER = Path(lmmlib.__path__[0])
# design/cross.py is "design.cross".
PATHS = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts): path
    for path in sorted(FOLDER.rglob("*.py"))
    if path.name != "__init__.py"
}
NAMES = list(PATHS)
TEXT = {name: path.read_text(encoding="utf-8") for name, path in PATHS.items()}
SOURCE = {name: ast.parse(text) for name, text in TEXT.items()}


def load(name: str) -> ModuleType:
    """The module of a name."""
    return importlib.import_module(f"lmmlib.{name}")


def short(module: str) -> str:
    """The name of a module as it stands in ``NAMES``."""
    return module.removeprefix("lmmlib.")
