"""The book on paper: what becomes of each part of a page, what is a fault, and when the last good book stays."""

import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from docutils import nodes

from chapters._tools import front_page, paper
from tests.project import test_portable

LACKS = paper.missing()
NUMBERS = {"displaymath": {"equation-a": (3, 4)}, "theorem": {"thm-a": (3, 1)}, "figure": {"fig-a": (2,)}}
TABLE = (
    '<table class="lmm-table">\n<caption>Of sigma2 &amp; more</caption>\n<thead><tr><th scope="col">fit</th>'
    '<th scope="col" class="num">sigma2</th></tr></thead>\n<tbody>\n<tr><th scope="row">a_b</th>'
    '<td class="num">-1.25</td></tr>\n<tr><th scope="row">c</th><td class="num">3</td></tr>\n</tbody>\n</table>'
)
TICK = (
    '<details class="check"><summary><span role="img" aria-label="checked:">✓</span> tau2, twice</summary>'
    "1.5 (difference &lt; 1e-08)</details>"
)


@pytest.fixture
def writer():
    env = SimpleNamespace(
        toc_fignumbers={"chapters/03-page": NUMBERS}, toc_secnumbers={"chapters/03-page": {"": (3,), "#part": (3, 2)}}
    )
    pages = dict.fromkeys(["chapters/03-page", "chapters/04-other", "chapters/glossary"])
    book = SimpleNamespace(
        env=env, pages=pages, depth=dict.fromkeys(pages, 0), wanted={"03-page:thm-a", "03-page:equation-a"}, within={},
        solutions={}, exercises={}, answers={"chapters/03-page": []}, moving=set(),
    )  # fmt: skip
    writer = paper.Writer("chapters/03-page", book)
    writer.here = "03-page:"
    return writer


def paragraph(*children):
    return nodes.paragraph("", "", *(nodes.Text(child) if isinstance(child, str) else child for child in children))


def block(writer, node):
    return "\n\n".join(writer.block(node))


@pytest.mark.parametrize(
    "text, written",
    [
        ("50 % of a_b & $5", r"50 \% of a\_b \& \$5"),
        ("make --keep, 1990–95", "make -{}-keep, 1990–95"),
        (r"{\x}^~#", r"\{\textbackslash{}x\}\textasciicircum{}\textasciitilde{}\#"),
    ],
)
def test_text_is_no_markup(writer, text, written):
    assert block(writer, paragraph(text)) == written


def test_code_in_a_line_may_be_broken_after_its_marks():
    assert paper.code("a_b.c") == r"\texttt{a\_\allowbreak{}b.\allowbreak{}c}"
    assert paper.code('"x" - 1') == r"\texttt{\textquotedbl{}x\textquotedbl{} - 1}"


def refer(address, text="3.1"):
    return nodes.reference("", "", nodes.inline("", text), refuri=address)


def test_a_reference_has_its_page_once_in_a_section(writer):
    there = "page:chapters/04-other#thm-b"
    line = paragraph(refer(there), " and ", refer(there))
    assert block(writer, line) == r"\seepage{04-other:thm-b}{3.1} and \see{04-other:thm-b}{3.1}"


def test_a_near_reference_and_a_word_of_the_glossary_have_no_page(writer):
    writer.book.within["03-page:"] = {"03-page:thm-a"}
    assert block(writer, paragraph(refer("page:chapters/03-page#thm-a"))) == r"\see{03-page:thm-a}{3.1}"
    assert block(writer, paragraph(refer("page:chapters/glossary#term-x", "x"))) == r"\see{glossary:term-x}{x}"


def test_what_is_left_out_is_no_link(writer):
    assert block(writer, paragraph(refer("page:chapters/reference/lmm#fit", "fit"))) == "fit"
    web = nodes.reference("", "DOI", refuri="https://doi.org/10.1%2#3")
    assert block(writer, paragraph(web)) == r"\href{https://doi.org/10.1\%2\#3}{DOI}"


def test_a_formula_fits_into_a_box_and_has_the_number_of_the_page(writer):
    assert paper.formula("a\n= b") == "a = b"
    assert paper.formula(r"a \\ b") == r"\begin{aligned}a \\ b\end{aligned}"
    assert paper.formula(r"\begin{align*}a\\b\end{align*}") == r"\begin{aligned}a\\b\end{aligned}"
    matrix = r"\begin{pmatrix}1\\2\end{pmatrix}"
    assert paper.formula(matrix) == matrix
    assert paper.formula("a\n\nb") == r"\begin{gathered}a \\ b\end{gathered}"
    node = nodes.math_block("x", "x", ids=["equation-a"], number=7)
    assert block(writer, node) == r"\shown{(3.4)\at{03-page:equation-a}}{x}"


def test_a_theorem_is_a_box_under_its_number(writer):
    theorem = type("theorem_node", (nodes.Admonition, nodes.Element), {})(
        ids=["thm-a"], realtype="theorem", countertype="theorem"
    )
    theorem += nodes.title("", " (Of ", nodes.math("", r"\beta"), nodes.Text(")"))
    theorem += nodes.container("", paragraph("Text."))
    assert block(writer, theorem) == (
        "\\begin{thing}{Theorem 3.1 (Of $\\beta$)}\\at{03-page:thm-a}\nText.\n\\end{thing}"
    )


def test_a_stored_table_is_a_table_in_its_printed_form(writer):
    written = block(writer, nodes.raw("", TABLE, format="html", classes=["output"]))
    assert r"\tablecaption{Of σ² \& more}" in written
    assert r"\begin{tabular}{lr}" in written and r"fit & σ² \\" in written
    assert r"a\_b & −1.25 \\" in written
    assert r"c & 3\phantom{.}\phantom{0}\phantom{0} \\" in written


def test_columns_share_the_line_and_none_is_less_than_its_longest_word():
    assert paper.shared([(30, 10, 90), (40, 8, 90)], 80) is None
    long, short, middle = paper.shared([(200, 10, 900), (4, 4, 12), (40, 8, 90)], 80)
    assert f"{long + short + middle:.6f}" == "1.000000"
    assert short * 80 >= 4 and middle * 80 >= 9 and long > 3 * middle


def test_ticks_in_a_row_are_one_paragraph(writer):
    tick = block(writer, nodes.raw("", TICK, format="html", classes=["output"]))
    assert tick == r"\ticks{\tick{τ², twice}{1.5 (difference < 1e-08)}}"
    assert paper.ticked([tick, tick, "x"]) == [tick[:-1] + r"\quad " + tick[len(r"\ticks{") :], "x"]


def test_the_end_of_a_proof_is_marked_in_its_last_line(writer):
    def proof(*blocks):
        node = type("proof_node", (nodes.Admonition, nodes.Element), {})()
        node += nodes.admonition("", *blocks)
        return block(writer, node)

    assert proof(paragraph("Proof. Look.")) == r"\textit{Proof.} Look. \qedhere"
    formula = nodes.math_block("a", "a", number=None)
    assert proof(paragraph("Proof. Look."), formula) == "\\textit{Proof.} Look.\n\n\\shown{}{a}\n\n\\qedhere"


def test_the_index_has_pages_and_leads_from_a_word_to_another(writer):
    writer.is_index = True
    entries = [
        paragraph(
            "variance", ", ", refer("page:chapters/glossary#v", "glossary"), ", ", refer("page:chapters/03-page#a")
        ),
        paragraph("ICC", ": see ", refer("page:chapters/glossary#icc", "intraclass correlation")),
        paragraph("fit", ", ", refer("page:chapters/reference/lmm#fit", "reference lmm")),
    ]
    assert re.findall(r"\\entry\{(.*)\}", block(writer, nodes.container("", *entries, classes=["book-index"]))) == [
        r"variance, \emph{\onpage{glossary:v}}, \onpage{03-page:a}",
        r"ICC: see \see{glossary:icc}{intraclass correlation}",
    ]


def test_of_the_front_page_the_chapters_are_left(writer):
    page = "chapters/03-page"
    about = {page: {"question": "How $\\beta$?", "time": "", "numbers": set(), "labels": set()}}
    env = SimpleNamespace(chapters_about=about, toc_secnumbers={}, titles={page: nodes.title("", "GLS")})
    app = SimpleNamespace(builder=SimpleNamespace(name="paper"), env=env)
    cards = nodes.section("", nodes.title("", "The chapters"), front_page.View(kind="chapter-cards"))
    chart = nodes.section("", nodes.title("", "The map"), front_page.View(kind="chapter-map"))
    tree = nodes.section("", cards, chart)
    paper.show_views(app, tree, "chapters/index")
    assert tree.children == [cards]
    assert "\\item 3 \\seepage{03-page:}{GLS}: How beta?" in block(writer, cards[1])


def test_what_is_unknown_stops_the_build(writer):
    for unknown in (nodes.topic(), nodes.raw("", "<video>", format="html", classes=["output"])):
        with pytest.raises(TypeError, match="chapters/03-page: no LaTeX for"):
            writer.block(unknown)


GOOD = "Output written on book.pdf (44\n0 pages).\nOverfull \\hbox (4.9pt too wide) in paragraph"


@pytest.mark.parametrize(
    "line, fault",
    [
        ("Overfull \\hbox (5.1pt too wide) in paragraph at lines 3--4", "a line stands out by 5.1 pt"),
        ("Missing character: There is no ✓ in font LibertinusSerif", "Missing character"),
        ("LaTeX Warning: Reference `03-gls:x' on page 7 undefined on input line 9.", "undefined"),
        ("LaTeX Warning: Label `03-gls:x' multiply defined.", "multiply defined"),
        ("Output written on book.pdf (451 pages).", "451 pages, more than 450"),
    ],
)
def test_faults_of_a_book_are_found(line, fault):
    assert paper.faults(GOOD) == ([], 440)
    (found,), _ = paper.faults(f"{GOOD}\n{line}\n")
    assert fault in found


def test_without_latex_the_command_names_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert paper.main() == 2
    said = capsys.readouterr().out
    assert "xelatex, latexmk" in said and "apt install texlive-xetex" in said and "brew install" in said


def shell(script):
    return ["sh", "-c", script]


@pytest.mark.parametrize(
    "command, latex",
    [
        ("exit 1", "exit 0"),
        ("exit 0", "exit 1"),
        ("exit 0", "echo 'Missing character: ✓' >book.log; echo new >book.pdf"),
    ],
)
def test_the_last_good_book_stays(tmp_path, command, latex):
    (tmp_path / "work" / "_build" / "paper").mkdir(parents=True)
    done = tmp_path / "pdf" / "book.pdf"
    done.parent.mkdir()
    done.write_text("old")
    _, is_good = paper.make(tmp_path / "work", done, shell(command), shell(latex))
    assert not is_good and done.read_text() == "old"
    good = shell("printf 'Output written on book.pdf (3 pages)' >book.log; printf new >book.pdf")
    said, is_good = paper.make(tmp_path / "work", done, shell("exit 0"), good)
    assert is_good and said.startswith("3 pages") and done.read_text() == "new"


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    """The book of one page of test_portable, for LaTeX."""
    folder = tmp_path_factory.mktemp("book")
    return test_portable.build(folder / "one", "", "--builder", "custom", "--custom-builder", "paper").with_name(
        "paper"
    )


@pytest.mark.slow
def test_a_page_for_latex_has_the_numbers_of_the_screen(small_book):
    text = (small_book / "book.tex").read_text(encoding="utf-8")
    assert r"\begin{thing}{Theorem 1.1 (One)}\at{page:thm-one}" in text
    assert r"By \see" in text and r"{Theorem 1.1}" in text.split("By ")[1]
    assert re.search(r"\\begin\{Verbatim\}.*\n2\n\\end\{Verbatim\}", text)


@pytest.mark.slow
@pytest.mark.skipif(bool(LACKS), reason=f"there is no {' and no '.join(LACKS)} here")
def test_latex_makes_a_book_of_it(small_book):
    run = subprocess.run(paper.LATEX, cwd=small_book, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:]
    faults, pages = paper.faults((small_book / "book.log").read_text(encoding="utf-8", errors="replace"))
    assert faults == [] and 3 <= pages <= 8
