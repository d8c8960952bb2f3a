"""The chapters as they are stored, and a builder of small notebooks that break one rule each."""

import base64
import importlib.util
import struct
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "chapters"
PATHS = sorted(CHAPTERS.glob("**/*.ipynb"))


def load_tool(name):
    """A module of chapters/_tools, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, CHAPTERS / "_tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_generate_tests(metafunc):
    if "chapter" in metafunc.fixturenames:
        metafunc.parametrize("chapter", PATHS, ids=lambda path: path.stem)


@pytest.fixture(scope="session")
def notebooks():
    return {path.stem: nbformat.read(path, as_version=4) for path in PATHS}


@pytest.fixture(scope="session")
def execute():
    return load_tool("execute")


@pytest.fixture
def good():
    """A small chapter that keeps every rule."""
    exercise = ":::{exercise}\n:label: ex-99-1\n\nAdd.\n:::\n\n:::{solution} ex-99-1\nAdded.\n:::"
    number = new_code_cell("print(1.5)", execution_count=1, outputs=[new_output("stream", name="stdout", text="1.5\n")])
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 200, 100)
    picture = new_output(
        "display_data",
        data={"image/png": base64.b64encode(head).decode(), "text/plain": "<Figure>"},
        metadata={"image/png": {"width": 100, "height": 50}},
    )
    figure = new_code_cell(
        "draw()",
        execution_count=2,
        outputs=[picture],
        metadata={
            "mystnb": {
                "image": {"alt": "A line that rises from left to right"},
                "figure": {"caption": "It rises.", "name": "fig-rise"},
            }
        },
    )
    title = new_markdown_cell("# A title\n\nText.")
    return new_notebook(cells=[title, new_markdown_cell(exercise), number, figure])
