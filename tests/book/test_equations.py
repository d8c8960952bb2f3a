"""From a function's documentation to the equations that it names, and back again."""

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import modules

ROOT = Path(__file__).resolve().parents[2]
ROLE = re.compile(r":eq:`([\w-]+)`")


class Equations(HTMLParser):
    """The equations of a page in order, each with the links of the line that follows it."""

    def __init__(self, text):
        super().__init__()
        self.lines, self.equation, self.inside = {}, None, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if (values.get("id") or "").startswith("equation-"):
            self.equation = values["id"].removeprefix("equation-")
            self.lines.setdefault(self.equation, [])
        elif tag == "div":
            self.inside = "in-code" in (values.get("class") or "").split()
        elif tag == "a" and self.inside:
            self.lines[self.equation].append(values["href"])

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "div"


def named_in(source, module):
    """(function or class or module, label) for each equation that a public docstring of a source file names."""
    tree = ast.parse(source)
    found = [(module, label) for label in ROLE.findall(ast.get_docstring(tree) or "")]
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            name = f"{module}.{node.name}"
            found += [(name, label) for label in ROLE.findall(ast.get_docstring(node) or "")]
            for part in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                    found += [(f"{name}.{part.name}", label) for label in ROLE.findall(ast.get_docstring(part) or "")]
    return found


def documented():
    """What :func:`named_in` finds in the modules that the reference lists."""
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "chapters" / "reference").glob("*.md")]
    listed = [name for page in pages for name in re.findall(r"automodule:: lmmlib\.([\w.]+)", page)]
    pairs = [pair for name in listed for pair in named_in(modules.TEXT[name], f"lmmlib.{name}")]
    return [(name, label.lower()) for name, label in pairs]  # as in the anchors of the pages


def one_way(pairs, lines):
    """Pairs (name, label) whose equation is missing or does not lead back."""
    found = []
    for name, label in pairs:
        targets = {urlsplit(link).fragment for link in lines.get(label, [])}
        if not targets & {name, f"module-{name}"}:
            found.append((name, label))
    return found


@pytest.fixture(scope="module")
def lines(built):
    found = {}
    for path in sorted((built / "chapters").glob("*.html")):
        found |= Equations(path.read_text(encoding="utf-8")).lines
    return found


def test_every_equation_of_a_docstring_leads_back(lines):
    pairs = documented()
    assert len(pairs) > 80
    assert one_way(pairs, lines) == []


def test_the_docstring_leads_to_the_equation(built):
    pages = [path.read_text(encoding="utf-8") for path in (built / "chapters" / "reference").glob("*.html")]
    linked = {label for page in pages for label in re.findall(r'href="[./\w-]+\.html#equation-([\w-]+)"', page)}
    assert {label for _, label in documented()} - linked == set()


def test_every_line_belongs_to_a_docstring(lines):
    # By their last names: a function that two modules list is documented with each of them.
    named = {(name.split(".")[-1], label) for name, label in documented()}
    shown = {(urlsplit(link).fragment, label) for label, targets in lines.items() for link in targets}
    assert {(name.split(".")[-1], label) for name, label in shown} == named


def test_an_equation_without_its_line_is_found():
    source = '"""See :eq:`one`."""\ndef f():\n    """Equation :eq:`two`."""\ndef _g():\n    """:eq:`three`"""\n'
    pairs = named_in(source, "lmmlib.m")
    assert pairs == [("lmmlib.m", "one"), ("lmmlib.m.f", "two")]
    page = (
        '<div id="equation-one"></div><div class="in-code"><a href="r.html#module-lmmlib.m">m</a></div>'
        '<div id="equation-two"></div><p>No line: <a href="r.html#lmmlib.m.f">f</a></p>'
    )
    assert one_way(pairs, Equations(page).lines) == [("lmmlib.m.f", "two")]
