"""The notebooks that the pages offer: plain Markdown, with the numbers of the book; they run with the wheel alone."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from chapters._tools.portable import WHEEL
from tests.book import links
from tests.book.conftest import HTML

ROOT = HTML.parents[1]
NAMES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.glob("chapters/**/*.ipynb"))
# A role, a fence, an option, a target, a label after a formula: what only MyST understands.
MYST = re.compile(r"\{[\w:+-]+\}`|^\s*(:::|```\{)|^:\w+:|^\([\w-]+\)=|\$\$ *\([\w-]+\)$", re.M)
QUICK = ["chapters/03-gls", "chapters/06-small-samples", "chapters/index"]


@pytest.fixture(scope="module")
def portable(built):
    return {name: nbformat.read(built / f"{name}.ipynb", as_version=4) for name in NAMES}


@pytest.fixture(scope="module")
def stored():
    return {name: nbformat.read(ROOT / f"{name}.ipynb", as_version=4) for name in NAMES}


@pytest.fixture(scope="module")
def pages(built):
    return links.read(built)


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def without_code(text):
    """Markdown without what stands between backticks, where anything may."""
    return re.sub(r"(`+).*?\1", "", text, flags=re.S)


@pytest.mark.parametrize("name", NAMES)
def test_only_plain_markdown_is_left(name, portable):
    text = markdown(portable[name])
    assert [found[0] for found in MYST.finditer(text)] == []
    assert without_code(text).count("$") % 2 == 0


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_table_have_the_same_cells(name, portable):
    for table in re.findall(r"(?:^\|.*\|$\n?)+", markdown(portable[name]), re.M):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_markup_of_myst_is_found(stored):
    assert [name for name in NAMES if name != "chapters/index" and not MYST.search(markdown(stored[name]))] == []
    for text in ("{ref}`a`", ":::{note}", "```{math}", ":label: a", "(sec-a)=", "$$x$$ (eq-a)"):
        assert MYST.search(text)


@pytest.mark.parametrize("name", NAMES)
def test_code_and_outputs_are_those_that_are_stored(name, portable, stored):
    def code(notebook):
        return [(cell.source, cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]

    assert code(portable[name]) == code(stored[name])


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_the_page(name, portable, built):
    text, page = markdown(portable[name]), (built / f"{name}.html").read_text(encoding="utf-8")
    page = page[page.index("<article") : page.index("</article>")]

    assert re.findall(r"\\tag\{([\d.]+)\}", text) == re.findall(r'<span class="eqno">\(([\d.]+)\)', page)
    assert re.findall(r"(?m)^\*\*Figure ([\d.]+)\.\*\*", text) == re.findall(
        r'<figcaption>.*?<span class="caption-number">Figure ([\d.]+)', page, re.S
    )
    boxes = r"(Theorem|Lemma|Proposition|Corollary|Definition|Exercise) (\d[\d.]*)"
    assert re.findall(rf"(?m)^> \*\*{boxes}", text) == re.findall(
        rf'<p class="admonition-title"><span class="caption-number">{boxes}', page
    )
    assert re.findall(r"(?m)^#+ (\d[\d.]*)\. ", text) == re.findall(
        r'<h\d><span class="section-number">([\d.]+)\. ', page
    )


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_places_of_the_book(name, portable, pages, built):
    text = re.sub(r"\$\$.*?\$\$|\$.*?\$", "", without_code(markdown(portable[name])))
    found = re.findall(r"\]\(([^<)]+)\)", text)
    assert found
    for link in found:
        parts = urlsplit(link)
        target = (built / name).parent.joinpath(unquote(parts.path)).resolve()
        assert target.is_file(), link
        if parts.fragment:
            assert unquote(parts.fragment) in pages[target.relative_to(built).as_posix()].anchors, link


@pytest.mark.parametrize("name", NAMES)
def test_the_page_offers_it_with_the_wheel(name, pages):
    wheel = next(link for link in pages[f"{name}.html"].links if link.endswith(".whl"))
    assert name.rpartition("/")[2] + ".ipynb" in pages[f"{name}.html"].links
    assert wheel.startswith("../" * name.count("/"))


def test_nothing_else_is_offered(built):
    assert [path.name for path in built.glob("_sources/**/*.ipynb")] == []
    assert [path.name for path in built.glob("*.whl")] == [WHEEL]


@pytest.mark.parametrize("source", ["README.md", "chapters/how-to-use.md"])
def test_the_command_to_install_is_the_one_that_the_notebook_says(source, portable):
    command = f'`pip install "./{WHEEL}[chapters]"`'
    assert command.strip("`") in (ROOT / source).read_text(encoding="utf-8")
    assert command in portable[NAMES[0]].cells[0].source


@pytest.fixture(scope="module")
def elsewhere(built, tmp_path_factory):
    """A folder without this repository, where the wheel is, as pip unpacks it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder


def nbval(folder, notebook):
    environment = os.environ | {"PYTHONPATH": str(folder / "site"), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "--rootdir", folder, notebook], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", QUICK)
def test_it_runs_with_the_wheel_alone(name, built, elsewhere):
    notebook = shutil.copy(built / f"{name}.ipynb", elsewhere)
    run = nbval(elsewhere, notebook)
    assert run.returncode == 0, run.stdout


def test_the_wheel_is_what_runs(built, elsewhere):
    """With another wheel the same notebook fails: it is not this repository that is imported."""
    broken = elsewhere / "broken"
    shutil.copytree(elsewhere / "site", broken / "site")
    (broken / "site" / "lmmlib" / "__init__.py").write_text("raise ImportError('the wheel')", encoding="utf-8")
    run = nbval(broken, shutil.copy(built / f"{QUICK[-1]}.ipynb", broken))
    assert run.returncode == 1 and "the wheel" in run.stdout
