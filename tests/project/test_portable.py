"""Portable notebooks: what becomes of each part of a page, and the buttons that open one elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from docutils import nodes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx import addnodes

from chapters._tools import portable
from tests.book import links

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = {"displaymath": {"equation-a": (3, 4)}, "theorem": {"thm-a": (3, 1)}, "figure": {"fig-a": (2,)}}


@pytest.fixture
def writer():
    return portable.Writer("chapters/03-page", "../", NUMBERS, {"": (3,), "#part": (3, 2)})


def paragraph(*children):
    return nodes.paragraph("", "", *(nodes.Text(child) if isinstance(child, str) else child for child in children))


def math(text):
    return nodes.math(text, text)


def block(writer, node):
    """The Markdown of one block that is alone in its document."""
    return "\n\n".join(writer.block(node))


@pytest.mark.parametrize(
    "text, written",
    [
        ("2 * 3 * 4", r"2 \* 3 \* 4"),
        ("a_b and $5", r"a\_b and \$5"),
        ("p < 0.05 & more", "p &lt; 0.05 &amp; more"),
        ("[x](y)", r"[x]\(y)"),
        ("# no heading\n- no item\n1. no number", "\\# no heading\n\\- no item\n1\\. no number"),
        ("plain text, 0.5 - 1", "plain text, 0.5 - 1"),
    ],
)
def test_text_is_no_markup(writer, text, written):
    assert block(writer, paragraph(text)) == written


def test_a_line_with_all_its_kinds(writer):
    reference = nodes.reference("", "", nodes.inline("", "3.1"), refuri="04-other.html#thm-b")
    line = paragraph(
        "Let ", math("a\n - b"), nodes.target(ids=["x"]), ", ", nodes.emphasis("", "so"), " ", nodes.strong("", "it"),
        " is ", nodes.literal("", "a`b"), ": ", reference, addnodes.index(),
    )  # fmt: skip
    assert block(writer, line) == ("Let $a - b$, *so* **it** is `` a`b ``: [3.1](../chapters/04-other.html#thm-b)")


@pytest.mark.parametrize(
    "attributes, address",
    [
        ({"refid": "sec"}, "../chapters/03-page.html#sec"),
        ({"refuri": "#sec"}, "../chapters/03-page.html#sec"),
        ({"refuri": "sources/000.html"}, "../chapters/sources/000.html"),
        ({"refuri": "../genindex.html"}, "../genindex.html"),
        ({"refuri": "https://doi.org/10.1(2)3"}, "<https://doi.org/10.1(2)3>"),
    ],
)
def test_links_lead_into_the_book_or_away(writer, attributes, address):
    assert writer.address(nodes.reference("", "", **attributes)) == address


def test_formulas_stand_in_one_line_with_their_number(writer):
    assert portable.displayed("a\n= b") == "$$a = b$$"
    assert portable.displayed("a\n\nb") == r"$$\begin{aligned}a \\ b\end{aligned}$$"
    assert portable.displayed(r"\begin{align*}a\\b\end{align*}") == (
        r"$$\begin{split}\begin{aligned}a\\b\end{aligned}\end{split}$$"
    )
    formula = nodes.math_block("x", "x", ids=["equation-a"], number=7, nowrap=False)
    assert block(writer, formula) == r"$$x \tag{3.4}$$"


def test_a_theorem_is_a_quotation_under_its_bold_number(writer):
    theorem = type("theorem_node", (nodes.Admonition, nodes.Element), {})(
        ids=["thm-a"], realtype="theorem", countertype="theorem"
    )
    theorem += nodes.title("", " (Of ", math(r"\beta"), nodes.Text(")"))
    theorem += nodes.section("", paragraph("Text."), nodes.math_block("a\nb", "a\nb", number=None))
    assert block(writer, theorem) == "> **Theorem 3.1 (Of $\\beta$)**\n>\n> Text.\n>\n> $$a b$$"


def test_the_end_of_a_proof_is_marked(writer):
    def proof(*blocks):
        node = type("proof_node", (nodes.Admonition, nodes.Element), {})()
        node += nodes.admonition("", *blocks)
        return node

    assert block(writer, proof(paragraph("Proof. Look."))) == r"**Proof.** Look. $\square$"
    formula = nodes.math_block("a", "a", number=None)
    assert block(writer, proof(paragraph("Proof. Look."), formula)) == "**Proof.** Look.\n\n$$a$$\n\n$\\square$"


def test_answers_are_folded_with_empty_lines_about_their_text(writer):
    title = nodes.title("", "Is ", math("a"), nodes.Text(" like "), nodes.literal("", "b_c"), nodes.Text("?"))
    box = nodes.admonition("", title, paragraph("No."), classes=["predict", "dropdown"])
    assert block(writer, box) == (
        "<details><summary><b>Is $a$ like <code>b_c</code>?</b></summary>\n\nNo.\n\n</details>"
    )
    box["classes"] = ["note"]
    assert block(writer, box) == "> **Is $a$ like `b_c`?**\n>\n> No."


def test_a_bar_in_a_table_ends_no_cell(writer):
    call = nodes.literal("", "(x | g)")
    row = nodes.row("", nodes.entry("", paragraph(math("p(a | b)"))), nodes.entry("", paragraph("a|b ", call)))
    head = nodes.row("", nodes.entry("", paragraph("x")), nodes.entry("", paragraph("y")))
    table = nodes.table("", nodes.tgroup("", nodes.thead("", head), nodes.tbody("", row)))
    assert block(writer, table) == "| x | y |\n| --- | --- |\n| $p(a \\vert b)$ | a\\|b `(x \\| g)` |"
    assert block(writer, paragraph(math(r"\|a\|"), call.deepcopy())) == r"$\|a\|$`(x | g)`"


def test_headings_have_their_numbers(writer):
    part = nodes.section("", nodes.title("", "Part"), paragraph("Text."), ids=["part"])
    page = nodes.section("", nodes.title("", "Page"), part, ids=["page"])
    assert writer.blocks(nodes.section("", page)) == ["# 3. Page", "## 3.2. Part", "Text."]


def test_a_view_for_the_browser_is_a_link_to_it(writer):
    shown = ["[Shown on the page of the book](../chapters/03-page.html)"]
    assert writer.block(nodes.section("", nodes.raw("", "<svg>"))) == shown


def test_what_has_no_markdown_stops_the_build(writer):
    with pytest.raises(TypeError, match="chapters/03-page: no Markdown"):
        writer.block(nodes.section("", nodes.topic()))
    with pytest.raises(TypeError, match="chapters/03-page: no Markdown"):
        writer.block(paragraph(nodes.superscript("", "2")))


def code_cells(cells):
    return [(cell.source, dict(cell.metadata)) for cell in cells if cell.cell_type == "code"]


def test_code_is_all_there_and_folded_as_in_the_book(writer):
    cells = [
        new_code_cell("setup", metadata={"tags": ["remove-cell"]}),
        new_markdown_cell("text"),
        new_code_cell("draw", metadata={"tags": ["hide-input"], "mystnb": {"image": {}}}),
        new_code_cell("solve", outputs=[new_output("stream", text="1")]),
        new_code_cell("plain"),
    ]
    stored = new_notebook(cells=cells)
    found = portable.in_cells(["# A", "text", portable.Code(2), "## B", portable.Solved(3)], stored)
    assert code_cells(found) == [
        ("setup", {"tags": ["remove-cell"], "jupyter": {"source_hidden": True}}),
        ("draw", {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}),
        ("solve", {"jupyter": {"source_hidden": True, "outputs_hidden": True}}),
        ("plain", {}),
    ]
    assert [cell.source for cell in found if cell.cell_type == "markdown"] == ["# A\n\ntext", "## B"]
    assert found[-2].outputs == cells[3].outputs


# A book of one page, built as this one is, with an address and without.

PAGE = new_notebook(
    cells=[
        new_markdown_cell("(sec-page)=\n# A page\n\n:::{prf:theorem} One\n:label: thm-one\n\n$1 = 1$.\n:::"),
        new_code_cell("1 + 1", outputs=[new_output("execute_result", {"text/plain": "2"}, execution_count=1)]),
        new_markdown_cell("By {prf:ref}`thm-one` and {ref}`sec-page`."),
    ],
    metadata=portable.METADATA,
)
TOC = "format: jb-book\nroot: chapters/index\nparts:\n- numbered: true\n  chapters:\n  - file: chapters/page\n"


def build(folder, repository, *options):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = repository
    (folder / "chapters").mkdir(parents=True)
    (folder / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "_toc.yml").write_text(TOC, encoding="utf-8")
    shutil.copy(ROOT / "references.bib", folder)
    for name in ("_tools", "_static"):
        (folder / "chapters" / name).symlink_to(ROOT / "chapters" / name, target_is_directory=True)
    (folder / "chapters" / "index.md").write_text("# A book\n", encoding="utf-8")
    nbformat.write(PAGE, folder / "chapters" / "page.ipynb")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", folder, "-W", "-n", "--keep-going", "-q"]
    run = subprocess.run([*command, *options], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "_build" / "html"


def buttons(html, page="page"):
    """Where the buttons at the head of a page lead."""
    text = (html / "chapters" / f"{page}.html").read_text(encoding="utf-8")
    return set(re.findall(r'<a href="([^"]+)"', text[text.index("article-header-buttons") : text.index("<article")]))


@pytest.mark.slow
def test_one_line_with_the_address_of_the_repository_brings_the_buttons(tmp_path):
    html = build(tmp_path / "with", "https://github.com/ann/mixed")
    assert {
        "https://mybinder.org/v2/gh/ann/mixed/main?urlpath=lab/tree/chapters/page.ipynb",
        "https://colab.research.google.com/github/ann/mixed/blob/gh-pages/chapters/page.ipynb",
        "https://github.com/ann/mixed/edit/main/chapters/page.ipynb",
        "https://github.com/ann/mixed",
        "https://github.com/ann/mixed/issues/new?title=Issue%20on%20page%20%2Fchapters/page.html"
        "&body=Your%20issue%20content%20here.",
        "page.ipynb",
        f"../{portable.WHEEL}",
    } == buttons(html)
    assert "https://github.com/ann/mixed/edit/main/chapters/index.md" in buttons(html, "index")
    about, install, *cells = nbformat.read(html / "chapters" / "page.ipynb", as_version=4).cells
    wheel = f"https://ann.github.io/mixed/{portable.WHEEL}"
    assert f'pip install "lmmlib[chapters] @ {wheel}"' in about.source and f"@ {wheel}" in install.source
    compile(re.sub(r"%pip.*", "pass", install.source), "install", "exec")
    site = "https://ann.github.io/mixed/chapters/page.html"
    assert cells[-1].source == f"By [Theorem 1.1]({site}#thm-one) and [A page]({site}#sec-page)."


@pytest.mark.slow
def test_without_an_address_no_button_leads_away(tmp_path):
    html = build(tmp_path / "without", "")
    assert buttons(html) == {"page.ipynb", f"../{portable.WHEEL}"}
    about, title, code, last = nbformat.read(html / "chapters" / "page.ipynb", as_version=4).cells
    assert f'pip install "./{portable.WHEEL}[chapters]"' in about.source
    assert title.source == "# 1. A page\n\n> **Theorem 1.1 (One)**\n>\n> $1 = 1$."
    assert code.source == "1 + 1" and code.outputs == PAGE.cells[1].outputs
    assert last.source == (
        "By [Theorem 1.1](../chapters/page.html#thm-one) and [A page](../chapters/page.html#sec-page)."
    )
    assert links.broken(html) == []
