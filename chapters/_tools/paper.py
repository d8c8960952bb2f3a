"""`make pdf`: the book on paper, one PDF by XeLaTeX.

A builder of Sphinx of its own takes the pages as Sphinx resolved them, as portable.py does, so that every number is the
one on the screen, and writes one file for LaTeX; the looks are in paper.sty. Tables of ``report`` become tables of
LaTeX in the form of print_forms.py, ticks small lines, and all that is folded is open. Solutions stand at the end,
references carry the page that they lead to. What the writer does not know is an error, never left out.

The companions to the sources, the ledger, the errata, the numbers and times beside other programs, the reference of the
package and two guides for work at the screen are left out, so that the book stays within 450 pages. The work is done in
``_build/paper``, where the pages that were read are kept for the next time; ``_build/pdf`` holds at every moment the
last good book or none.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import yaml
from docutils import nodes
from pygments import highlight
from pygments.formatters import LatexFormatter
from pygments.lexers import PythonLexer, TextLexer
from sphinx import addnodes
from sphinx.builders import Builder

from chapters._tools import build, front_page, portable, print_forms
from chapters._tools.explorers import figures
from chapters._tools.replacing import replace_text

ROOT = build.ROOT
WORK, DONE = build.BUILD / "paper", build.BUILD / "pdf" / "book.pdf"
COMMAND = [Path(sys.executable).with_name("jupyter-book"), "build", ROOT, "--builder", "custom"]
COMMAND += ["--custom-builder", "paper", "-W", "-n", "--keep-going", "-q", "--path-output", WORK]
LATEX = ["latexmk", "-xelatex", "-interaction=nonstopmode", "-halt-on-error", "-silent", "book.tex"]
NEEDED = """\
make pdf needs XeLaTeX, which is not on this machine ({missing}).
Debian and Ubuntu: apt install texlive-xetex texlive-latex-extra texlive-fonts-extra \\
                     latexmk fonts-dejavu
macOS: brew install --cask mactex font-dejavu
"""
LEFT_OUT = re.compile(r"chapters/(sources/|reference|(ledger|errata|peers|speed|coming-from|big-data)$)")
FIGURES = 0.55  # of the size that a figure was drawn at, so that the widest fits and all letters have one size
WIDTH = 6.69  # inches of a line
CHARACTERS = 88  # in a line of a table
MOST_PAGES = 450
MOST_OVER = 5.0  # points that a line may stand out
PAGES = "page:"
ALPHABETICAL = ("glossary:", "bibliography:")  # pages where a word is found without the number of the page
LONG = 38  # rows of a table that may be cut
SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{NON-BREAKING HYPHEN}": "-",
    "\N{FIGURE SPACE}": r"\phantom{0}",
    "\N{PUNCTUATION SPACE}": r"\phantom{.}",
    "\N{NO-BREAK SPACE}": "~",
}
QUOTES = {"`": r"\textasciigrave{}", "'": r"\textquotesingle{}", '"': r"\textquotedbl{}"}
LANGUAGES = {"ipython3", "python", "ipython", "pycon"}


# Text


def escaped(text):
    """Text in which nothing is markup, and two hyphens are no dash."""
    text = "".join(SPECIAL.get(c, c) for c in text)
    return re.sub(r"-(?=-)", "-{}", text).replace("``", "`{}`").replace("''", "'{}'")


def code(text):
    """Code within a line, which may be broken after a mark."""
    text = "".join((QUOTES | SPECIAL).get(c, c) for c in text)
    text = re.sub(r"-(?=-)", "-{}", text)
    text = re.sub(r"(\\_|[.,=/(:|+*-])(?=[^\s{])", r"\1\\allowbreak{}", text)
    return rf"\texttt{{{text}}}"


def plain(node):
    """The words of a title for the bookmarks, with Greek letters for their names."""
    text = re.sub(r"\\(hat|tilde|bar|mathrm|operatorname|text)\b\s*", "", node.astext())
    text = re.sub(r"\\(\w+)\s*", lambda found: print_forms.symbols(found[1]), text)
    return escaped(re.sub(r"[{}$\\^]", "", text).strip())


def formula(text):
    """A displayed formula in the forms that fit into a box: several lines as one ``aligned``."""
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    parts = [
        re.sub(r"\\(begin|end)\{(?:align|gather|equation|split|multline)\*?\}", r"\\\1{aligned}", part)
        for part in parts
    ]
    parts = [
        part if "{aligned}" in part or r"\\" not in outside(part) else rf"\begin{{aligned}}{part}\end{{aligned}}"
        for part in parts
    ]
    whole = parts[0] if len(parts) == 1 else r"\begin{gathered}" + r" \\ ".join(parts) + r"\end{gathered}"
    return " ".join(whole.split())


def outside(text):
    """A formula without its matrices and cases, whose lines are theirs."""
    while (shorter := re.sub(r"\\begin\{(\w+\*?)\}(?:(?!\\begin).)*?\\end\{\1\}", "", text, flags=re.S)) != text:
        text = shorter
    return text


def verbatim(text, language="text"):
    """Lines of code or output, in colours."""
    lexer = PythonLexer(stripnl=False) if language in LANGUAGES else TextLexer(stripnl=False)
    text = text.expandtabs(4).strip("\n")
    options = "samepage" if text.count("\n") < 7 else ""
    return highlight(text, lexer, LatexFormatter(style=STYLE, verboptions=options)).strip()


STYLE = "a11y-high-contrast-light"


class Stored(HTMLParser):
    """The rows of a stored table of ``report``: [(is a number, text, small print)] each, and its caption."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.caption, self.into = [], "", None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append([("class", "num") in attributes, "", ""])
            self.into = 1
        elif tag == "caption":
            self.into = 0
        elif tag == "code":
            self.into = 2

    def handle_endtag(self, tag):
        self.into = {"code": 1}.get(tag) if tag in ("td", "th", "caption", "code") else self.into

    def handle_data(self, data):
        if self.into == 0:
            self.caption += data
        elif self.into:
            self.rows[-1][-1][self.into] += data


def stored_table(html):
    """A table of ``report`` as LaTeX."""
    found = Stored(print_forms.table(html))
    numeric = [is_number for is_number, _, _ in found.rows[0]]
    texts = [[text + (f" {small}" if small else "") for _, text, small in row] for row in found.rows]
    cells = [
        [escaped(text) + (rf" {{\scriptsize {code(small)}}}" if small else "") for _, text, small in row]
        for row in found.rows
    ]
    before = rf"\tablecaption{{{escaped(found.caption)}}}" + "\n" if found.caption else ""
    return before + table(cells, widths(texts), numeric)


def widths(texts):
    """(longest entry, longest word, letters in all) of each column."""
    found = []
    for column in zip(*texts, strict=True):
        words = [word for text in column for word in text.split()] or [""]
        found.append((max(map(len, column)), max(map(len, words)), sum(map(len, column))))
    return found


def shared(lengths, room):
    """The part of each column of the line, at least its longest word and more by its letters; None if all fits."""
    if sum(longest for longest, _, _ in lengths) <= room:
        return None
    given = [word + 1 for _, word, _ in lengths]
    rest = room - sum(given)
    while rest > 0.5:
        short = [k for k, (longest, _, _) in enumerate(lengths) if given[k] < longest]
        letters = sum(lengths[k][2] for k in short)
        more = {k: min(rest * lengths[k][2] / letters, lengths[k][0] - given[k]) for k in short}
        given = [g + more.get(k, 0) for k, g in enumerate(given)]
        rest -= sum(more.values())
    return [g / sum(given) for g in given]


def table(cells, lengths, numeric=None):
    """Rows of LaTeX as a table that stays whole, or, if it is long, repeats its head on the next page."""
    numeric = numeric or [False] * len(lengths)
    room = CHARACTERS - 2 * len(lengths)
    parts = shared(lengths, room)
    size = ""
    if parts is None:
        kinds = "".join("r" if n else "l" for n in numeric)
    else:
        size = r"\footnotesize" if sum(word for _, word, _ in lengths) > 0.6 * room or len(lengths) > 4 else r"\small"
        gaps = 2 * len(lengths)
        kinds = "".join(
            rf"{'N' if n else 'P'}{{\dimexpr {part:.4f}\linewidth - {part:.4f}\dimexpr {gaps}\tabcolsep\relax}}"
            for part, n in zip(parts, numeric, strict=True)
        )
    size = size or r"\small"
    head, *rows = [" & ".join(row) + r" \\" for row in cells]
    if len(rows) > LONG or (parts and sum(map(len, rows)) > 3500):
        lines = [
            rf"\begin{{longtable}}{{{kinds}}}",
            r"\toprule",
            head,
            r"\midrule\endhead",
            *rows,
            r"\bottomrule",
            r"\end{longtable}",
        ]
        return "{" + size + "\n" + "\n".join(lines) + "}"
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    return rf"\wholetable{{{size}" + "\n" + "\n".join(lines) + "}"


class Writer:
    """LaTeX of one page."""

    def __init__(self, page, book):
        self.page, self.book = page, book
        self.numbers = book.env.toc_fignumbers.get(page, {})
        self.sections = book.env.toc_secnumbers.get(page, {})
        self.level, self.boxed, self.quiet, self.told = 0, 0, False, set()
        self.is_index = page == "chapters/genindex"

    # Within a line

    def inline(self, node):
        return "".join(self.part(child) for child in node.children)

    def words(self, node):
        """A line of text where no page of a reference stands: a heading, a caption."""
        before, self.quiet = self.quiet, True
        text = self.inline(node).strip()
        self.quiet = before
        return text

    def part(self, node):
        match node:
            case nodes.Text():
                return escaped(str(node))
            case nodes.math():
                return f"${' '.join(node.astext().split())}$"
            case nodes.literal():
                return self.anchors(node) + code(node.astext())
            case nodes.emphasis():
                return rf"\emph{{{self.inline(node)}}}"
            case nodes.strong():
                return rf"\textbf{{{self.inline(node)}}}"
            case nodes.superscript():
                return rf"\textsuperscript{{{self.inline(node)}}}"
            case nodes.reference():
                return self.anchors(node) + self.reference(node)
            case nodes.target() | addnodes.index():
                return self.anchors(node)
            case nodes.raw():
                return r"\newline " if node["format"] == "latex" else ""
            case nodes.inline() | nodes.generated() | nodes.citation_reference():
                return self.anchors(node) + self.inline(node)
        raise TypeError(f"{self.page}: no LaTeX for {type(node).__name__} in a line")

    def reference(self, node):
        """What a reference says, with the page that it leads to when it is far and said for the first time."""
        uri = node.get("refuri") or f"#{node['refid']}"
        if not uri.startswith((PAGES, "#")):
            text = node.astext()
            url = uri.replace("%", r"\%").replace("#", r"\#").replace("&", r"\&")
            return rf"\nolinkurl{{{url}}}" if text == uri else rf"\href{{{url}}}{{{self.inline(node)}}}"
        target = self.target(uri)
        if target is None:
            return "" if self.is_index else self.inline(node)
        if self.is_index:
            if ": see " in node.parent.astext():
                return rf"\see{{{target}}}{{{self.inline(node)}}}"
            shown = rf"\onpage{{{target}}}"
            return rf"\emph{{{shown}}}" if node.astext() == "glossary" else shown
        text = self.inline(node)
        near = target in self.book.within.get(self.here, ()) or target.startswith(ALPHABETICAL)
        if self.quiet or near or target in self.told:
            return rf"\see{{{target}}}{{{text}}}"
        self.told.add(target)
        return rf"\seepage{{{target}}}{{{text}}}"

    def target(self, uri):
        """The label that an address within the book stands for, or None if it is left out."""
        page, _, anchor = uri.removeprefix(PAGES).partition("#")
        page = page if uri.startswith(PAGES) else self.page
        return None if LEFT_OUT.match(page) or page not in self.book.pages else label(page, anchor)

    def anchors(self, node):
        """Labels of a node to which something leads."""
        found = [label(self.page, id) for id in node.get("ids", []) if label(self.page, id) in self.book.wanted]
        return "".join(rf"\at{{{one}}}" for one in found)

    def number(self, kind, node):
        return ".".join(map(str, self.numbers[kind][node["ids"][0]]))

    # Blocks: each gives a list of texts

    def blocks(self, node):
        return [piece for child in node.children for piece in self.block(child)]

    def text(self, node):
        return "\n\n".join(self.blocks(node))

    def within(self, node, children=None):
        """The blocks of a box, where nothing floats."""
        self.boxed += 1
        pieces = [piece for child in (node.children if children is None else children) for piece in self.block(child)]
        self.boxed -= 1
        return "\n\n".join(pieces)

    def block(self, node):
        if isinstance(node, nodes.Inline | nodes.Text) and not isinstance(node, nodes.raw):
            written = self.part(node).strip()
            return [written] if written else []
        kind = type(node).__name__
        write = getattr(self, "on_" + kind.removesuffix("_node"), None)
        if write is None:
            raise TypeError(f"{self.page}: no LaTeX for {kind}")
        written = write(node)
        return written if isinstance(written, list) else [written] if written else []

    def on_raw(self, node):
        html = node.astext().strip()
        if node.get("format") != "html" or not html:
            return ""
        if html.startswith('<table class="lmm-table">'):
            return stored_table(html)
        if tick := re.fullmatch(
            r'<details class="check"><summary>(?:<span.*?</span>)? *(.*?)</summary>(.*)</details>', html, re.S
        ):
            words, detail = (unescape(part) for part in tick.groups())
            return rf"\ticks{{\tick{{{escaped(print_forms.symbols(words))}}}{{{escaped(detail)}}}}}"
        if "output" in node["classes"]:
            raise TypeError(f"{self.page}: no LaTeX for the output {html[:60]!r}")
        return ""

    def on_target(self, node):
        return self.anchors(node)

    on_index = on_target

    def nothing(self, node):
        return ""

    on_comment = on_substitution_definition = on_toctree = nothing

    def on_compound(self, node):
        return self.blocks(node)

    on_glossary = on_compound

    def on_section(self, node):
        links = node.findall(nodes.reference)
        if self.is_index and self.level and not any(self.target(link.get("refuri", "#")) for link in links):
            return []
        self.level += 1
        if self.level == 2:
            self.here, self.told = label(self.page, node["ids"][0]), set()
        pieces = self.blocks(node)
        self.level -= 1
        return pieces

    def on_title(self, node):
        section = node.parent
        number = self.sections.get(f"#{section['ids'][0]}") if self.level > 1 else self.sections.get("")
        number = ".".join(map(str, number)) if number else ""
        before = rf"\at{{{label(self.page, '')}}}" if self.level == 1 else ""
        kind = {2: "section", 3: "subsection"}.get(self.level, "subsubsection")
        if self.level == 1:
            kind = "deeper" if self.book.depth[self.page] else "chapter"
        elif self.level == 2 and (self.book.depth[self.page] or not number):
            kind = "inner"
        heading = rf"\book{kind}{{{number}}}{{{self.words(node)}}}{{{plain(node)}}}{{{before}{self.anchors(section)}}}"
        return heading + (r"\booksmall" if kind == "chapter" and not number else "")

    def on_paragraph(self, node):
        if self.is_index and node.astext().startswith("Numbers are chapters"):
            return "Numbers are pages, the first of each chapter; the one of the glossary is in italics."
        return self.anchors(node) + self.inline(node).strip()

    on_PassthroughTextElement = on_line = on_paragraph

    def on_rubric(self, node):
        return rf"\par\textbf{{{self.inline(node)}}}\par"

    def on_math_block(self, node):
        tag = rf"({self.number('displaymath', node)}){self.anchors(node)}" if node["number"] else ""
        return rf"\shown{{{tag}}}{{{formula(node.astext())}}}"

    def on_literal_block(self, node):
        return verbatim(node.astext(), node.get("language", "text"))

    def on_bullet_list(self, node):
        return self.list_of("itemize", node)

    def on_enumerated_list(self, node):
        return self.list_of("enumerate", node, f"[start={node['start']}]" if "start" in node else "")

    def list_of(self, kind, node, options=""):
        items = "\n".join(rf"\item {self.anchors(item)}{self.text(item)}" for item in node.children)
        return rf"\begin{{{kind}}}{options}" + "\n" + items + "\n" + rf"\end{{{kind}}}"

    def on_definition_list(self, node):
        items = []
        for item in node.children:
            terms = ", ".join(self.anchors(term) + self.inline(term) for term in item if isinstance(term, nodes.term))
            items.append(rf"\item[{{{terms}}}] {self.text(item[-1])}")
        return "\\begin{description}\n" + "\n".join(items) + "\n\\end{description}"

    def on_block_quote(self, node):
        return "\\begin{quote}\n" + self.text(node) + "\n\\end{quote}"

    def on_table(self, node):
        group = next(node.findall(nodes.tgroup))
        rows = list(group.findall(nodes.row))
        cells = [[self.cell(entry) for entry in row] for row in rows]
        texts = [[self.length(entry) for entry in row] for row in rows]
        return self.anchors(node) + table(cells, widths(texts))

    def cell(self, entry):
        text = r"\newline ".join(" ".join(piece.split()) for piece in self.blocks(entry))
        return text

    def length(self, entry):
        """About the letters of an entry as it looks."""
        text = entry.deepcopy()
        for one in list(text.findall(nodes.math)):
            short = re.sub(r"\\(hat|tilde|bar|dot|mathrm|operatorname|text|left|right|,|;|quad)\b", "", one.astext())
            one.replace_self(nodes.Text(re.sub(r"\s|[{}^_\\]", "", re.sub(r"\\[A-Za-z]+", "x", short))))
        return text.astext()

    def on_container(self, node):
        if node.get("nb_element") == "cell_code":
            return self.cell_of_code(node)
        if "book-index" in node["classes"]:
            return self.index(node)
        pieces = self.blocks(node)
        return [self.anchors(node), *pieces] if self.anchors(node) else pieces

    def cell_of_code(self, node):
        """A cell: its code where the page shows it, and all its outputs."""
        hidden = portable.HIDDEN & {c.removeprefix("tag_") for c in node["classes"]}
        pieces = [self.anchors(node)]
        for child in node.children:
            if "cell_input" in child["classes"]:
                if not hidden and not {"tag_hide-cell"} & set(node["classes"]):
                    pieces += ["\\begin{code}\n" + self.text(child) + "\n\\end{code}"]
            else:
                pieces += self.blocks(child)
        return ticked([piece for piece in pieces if piece])

    def index(self, node):
        """Entries that lead to a page of this book, with its number."""
        entries = [child for child in node.children if isinstance(child, nodes.paragraph)]
        lines = [re.sub(r"(, )+(?=, |$)", "", self.inline(entry)) for entry in entries]
        lines = [rf"\entry{{{line}}}" for line in lines if re.search(r"\\(onpage|see)\b", line)]
        return "\\begin{multicols}{3}\\footnotesize\\raggedright\n" + "\n".join(lines) + "\n\\end{multicols}"

    def on_figure(self, node):
        image = next(node.findall(nodes.image))
        width = min(FIGURES * print_forms.inches(Path(self.book.srcdir, image["uri"])), WIDTH)
        drawn = rf"\includegraphics[width={width:.2f}in, max width=\linewidth]{{{self.book.image(image)}}}"
        caption = next(node.findall(nodes.caption), None)
        words = self.words(caption) if caption is not None else ""
        if "figure" in self.numbers and node["ids"] and node["ids"][0] in self.numbers["figure"]:
            words = rf"\textbf{{Figure {self.number('figure', node)}.}} {words}"
        moving = set(node["ids"] + node["names"]) & self.book.moving
        if moving:
            where = self.book.env.titles[self.page].astext()
            words += rf" \emph{{On the screen this figure moves, on the page}} {escaped(where)}."
        anchors = self.anchors(node)
        if self.boxed:
            return rf"\figurehere{{{anchors}{drawn}}}{{{words}}}"
        return rf"\begin{{figure}}[!htbp]\centering {drawn}\caption[]{{{words}}}{anchors}\end{{figure}}"

    def on_image(self, node):
        width = min(FIGURES * print_forms.inches(Path(self.book.srcdir, node["uri"])), WIDTH)
        return rf"\begin{{center}}\includegraphics[width={width:.2f}in]{{{self.book.image(node)}}}\end{{center}}"

    def on_admonition(self, node):
        if not isinstance(node[0], nodes.title):
            return self.blocks(node)
        title = self.words(node[0])
        rest = self.within(node, node.children[1:])
        return "\\begin{aside}{" + title + "}" + self.anchors(node) + "\n" + rest + "\n\\end{aside}"

    def titled(self, node):
        """An admonition that has no title of its own."""
        title = type(node).__name__.capitalize()
        return "\\begin{aside}{" + title + "}" + self.anchors(node) + "\n" + self.within(node) + "\n\\end{aside}"

    on_note = on_tip = on_warning = on_caution = on_important = titled

    def on_proof(self, node):
        """With the mark of the end in the last line where that is text."""
        text = re.sub(r"^Proof\.", r"\\textit{Proof.}", self.text(node))
        last = text.rpartition("\n\n")[2]
        is_text = not re.match(r"\\(shown|begin|wholetable)\b|\{\\small|\{\\footnotesize", last)
        return self.anchors(node) + text + (r" \qedhere" if is_text else "\n\n\\qedhere")

    def numbered(self, words, kind, node):
        """A box that has a number, ``Theorem 3.1 (title)``."""
        title = f"{words} {self.number(kind, node)} {self.words(node[0])}".strip()
        rest = self.within(node, node.children[1:])
        return "\\begin{thing}{" + title + "}" + self.anchors(node) + "\n" + rest + "\n\\end{thing}"

    def on_theorem(self, node):
        return self.numbered(node["realtype"].title(), node["countertype"], node)

    on_definition = on_lemma = on_proposition = on_corollary = on_theorem

    def on_exercise_enumerable(self, node):
        title = f"Exercise {self.number('exercise', node)} {self.words(node[0])}".strip()
        rest = self.within(node, node.children[1:])
        if solution := self.book.solutions.get(node.get("label")):
            rest += (
                rf" \hfill\mbox{{\footnotesize\color{{pale}}Solution: page \onpage{{{label(self.page, solution)}}}}}"
            )
        return "\\begin{thing}{" + title + "}" + self.anchors(node) + "\n" + rest + "\n\\end{thing}"

    def on_solution(self, node):
        """Kept for the end of the book."""
        exercise = node.get("target_label")
        back = label(self.page, self.book.exercises[exercise])
        quiet, told, self.told = self.quiet, self.told, set()
        rest = self.within(node, node.children[1:])
        self.quiet, self.told = quiet, told
        words = re.sub(r"^(Solution to)(?=\S)", r"\1 ", self.words(node[0]))
        title = rf"{words} {{\normalfont\footnotesize(exercise on page \onpage{{{back}}})}}"
        mark = rf"\at{{{label(self.page, node['ids'][0])}}}"
        self.book.answers[self.page].append("\\begin{solved}{" + title + "}" + mark + "\n" + rest + "\n\\end{solved}")
        return ""

    def on_bibliography(self, node):
        return self.blocks(node)

    def on_citation(self, node):
        rest = " ".join(self.inline(child) for child in node.children if isinstance(child, nodes.paragraph))
        return rf"\entry{{{self.anchors(node)}{rest}}}"


def ticked(pieces):
    """Pieces in which ticks that follow each other stand in one paragraph."""
    found = []
    for piece in pieces:
        if piece.startswith(r"\ticks{") and found and found[-1].startswith(r"\ticks{"):
            found[-1] = found[-1][:-1] + r"\quad " + piece[len(r"\ticks{") :]
        else:
            found.append(piece)
    return found


def name(page):
    return page.removeprefix("chapters/")


def label(page, anchor):
    return f"{name(page)}:{anchor}"


class PaperBuilder(Builder):
    """All pages as one file for LaTeX, ``book.tex``, with its figures beside it."""

    name = format = "paper"
    supported_image_types = ["image/png"]
    allow_parallel = True

    def get_outdated_docs(self):
        return self.env.found_docs

    def get_target_uri(self, docname, typ=None):
        return PAGES + docname

    def get_relative_uri(self, from_, to, typ=None):
        return PAGES + to

    def image(self, node):
        """The name of the copy of a figure."""
        source = Path(self.srcdir, node["uri"])
        target = Path(self.outdir, "figures", source.name)
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
        return f"figures/{source.name}"

    def write(self, *_):
        self.depth, self.parts, self.moving = {}, [], set(figures().values())
        self.walk(self.config.root_doc)
        self.pages = {}
        for page in [self.config.root_doc, *(page for _, pages in self.parts for page in pages)]:
            self.pages[page] = self.env.get_and_resolve_doctree(page, self)
        self.look()
        self.answers = defaultdict(list)
        texts = {}
        for page, tree in self.pages.items():
            writer = Writer(page, self)
            writer.here = label(page, "")
            texts[page] = "\n\n".join(writer.blocks(tree))
        replace_text(Path(self.outdir, "book.tex"), self.whole(texts))
        shutil.copyfile(Path(__file__).with_suffix(".sty"), Path(self.outdir, "paper.sty"))

    def walk(self, page, depth=-1):
        """The parts of the book and their pages: [(name of the part, pages)]."""
        for toctree in self.env.get_doctree(page).findall(addnodes.toctree):
            if depth < 0:
                self.parts.append((toctree.get("caption") or "", []))
            for below in toctree["includefiles"]:
                if not LEFT_OUT.match(below):
                    self.depth[below] = depth + 1
                    self.parts[-1][1].append(below)
                    self.walk(below, depth + 1)
        self.depth.setdefault(page, 0)

    def look(self):
        """What leads where: the labels that are wanted, the exercises and solutions, what is in a section."""
        self.wanted, self.exercises, self.solutions, self.within = set(), {}, {}, {}
        for page, tree in self.pages.items():
            for one in tree.findall(nodes.reference):
                uri = one.get("refuri") or f"#{one['refid']}"
                if uri.startswith((PAGES, "#")):
                    to, _, anchor = uri.removeprefix(PAGES).partition("#")
                    to = to if uri.startswith(PAGES) else page
                    self.wanted.add(label(to, anchor))
            for one in tree.findall(nodes.Element):
                if type(one).__name__ == "exercise_enumerable_node":
                    self.exercises[one["label"]] = one["ids"][0]
                    self.wanted.add(label(page, one["ids"][0]))
                elif type(one).__name__ == "solution_node":
                    self.solutions[one["target_label"]] = one["ids"][0]
            for top in (one for one in tree.children if isinstance(one, nodes.section)):
                for part in (one for one in top.children if isinstance(one, nodes.section)):
                    inside = {label(page, id) for one in part.findall(nodes.Element) for id in one["ids"]}
                    self.within[label(page, part["ids"][0])] = inside

    def whole(self, texts):
        facts = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
        commit = front_page.revision(self.srcdir)
        cover = {
            "title": facts["title"],
            "authors": ", ".join(author["name"] for author in facts["authors"]),
            "version": f"Version {facts['version']} of {facts['date-released']}"
            + (f", revision {commit}" if commit else ""),
        }
        last = ["chapters/glossary", "chapters/bibliography", "chapters/genindex"]
        lines = [HEAD, LatexFormatter(style=STYLE).get_style_defs(), r"\begin{document}"]
        lines += [rf"\newcommand{{\the{key}ofbook}}{{{escaped(value)}}}" for key, value in cover.items()]
        lines += [COVER, texts[self.config.root_doc]]
        for part, pages in self.parts:
            lines += [rf"\bookpart{{{escaped(part)}}}"] if pages and part else []
            for page in pages:
                if page == last[0]:
                    lines += self.all_answers()
                lines.append(texts[page])
        return "\n\n".join([*lines, r"\end{document}"]) + "\n"

    def all_answers(self):
        lines = [r"\bookchapter{}{Solutions}{Solutions}{}\footnotesize\smallcode"]
        for page, answers in self.answers.items():
            number = ".".join(map(str, self.env.toc_secnumbers.get(page, {}).get("", ())))
            title = self.env.titles[page]
            words = Writer(page, self)
            words.quiet = True
            lines += [rf"\bookinner{{{number}}}{{{words.words(title)}}}{{{plain(title)}}}{{}}", *answers]
        return lines


HEAD = r"""% Written by make pdf.
\documentclass[10pt, oneside]{book}
\usepackage{paper}"""

COVER = r"""\hypersetup{pdftitle={\thetitleofbook}, pdfauthor={\theauthorsofbook}}
\begin{titlepage}\raggedright\sffamily
\vspace*{45mm}
{\color{ink}\bfseries\fontsize{34}{40}\selectfont \thetitleofbook\par}
\vspace{12mm}
{\Large \theauthorsofbook\par}
\vfill
{\theversionofbook\par
Text and figures CC BY 4.0, code BSD 3-Clause\par}
\end{titlepage}
\setcounter{page}{2}
\thispagestyle{empty}
\textbf{This is the book on paper.} Its numbers are those of the pages on the screen. After a reference stands the page
that it leads to, {\footnotesize\color{pale}[12]}, the first time in a section when the target is outside it; solutions
stand at the end, before the glossary.

Left out are the companions to the sources, line by line, with the ledger of their numbers and their errata, the
reference of the package, the numbers and times beside other programs, and two guides for work at the screen, coming
from other programs and data that outgrow memory: they are on the pages of the book. Code that draws, prepares or
checks, which is folded there, is left out as well: it is in the notebooks. A tick says that a number was found in two
ways, and how close the two must be.
\bookcontents"""


def add_outputs(app, config):
    """Outputs as the page shows them."""
    order = ["text/html", "image/png", "text/latex", "text/markdown", "text/plain"]
    ours = [("paper", kind, k) for k, kind in enumerate(order)]
    config.nb_mime_priority_overrides = [*config.nb_mime_priority_overrides, *ours]


def show_views(app, doctree, docname):
    """Of the views of the front page: the cards as a list of chapters; the map and what the cover says are left out."""
    if app.builder.name != PaperBuilder.name:
        return
    for view in [one for one in doctree.findall(nodes.General) if type(one).__name__ == "View"]:
        if view["kind"] != "chapter-cards":
            section = view.parent
            section.parent.remove(section)
            continue
        cards = nodes.bullet_list()
        for page in front_page.in_order(app.env):
            link = nodes.reference("", front_page.title(app.env, page), refuri=PAGES + page)
            asked = front_page.plain_tex(front_page.about(app.env)[page]["question"])
            line = nodes.paragraph("", f"{front_page.number(page)} ", link, nodes.Text(f": {asked}" if asked else ""))
            cards += nodes.list_item("", line)
        view.replace_self(cards)


def setup(app):
    app.add_builder(PaperBuilder)
    app.connect("doctree-resolved", show_views, priority=100)
    app.connect("config-inited", add_outputs, priority=100)


# The command


def missing():
    return [tool for tool in ("xelatex", "latexmk") if shutil.which(tool) is None]


def faults(log):
    """What is wrong with a book according to the messages of LaTeX: letters, lines, references; and its pages."""
    log = log.replace("\n ", " ")
    over = [float(points) for points in re.findall(r"Overfull \\hbox \((\d+\.?\d*)pt too wide", log)]
    found = [f"a line stands out by {points:g} pt" for points in over if points > MOST_OVER]
    found += sorted(set(re.findall(r"Missing character: .*", log)))
    found += sorted(set(re.findall(r"(?:Reference|Hyper reference) `[^']*' .*?undefined", log)))
    found += sorted(set(re.findall(r"Label `[^']*' multiply defined", log)))
    pages = int((re.findall(r"Output written on .*?\((\d+) pages?", log.replace("\n", "")) or ["0"])[-1])
    if pages > MOST_PAGES:
        found.append(f"{pages} pages, more than {MOST_PAGES}")
    return found, pages


def make(work=WORK, done=DONE, command=COMMAND, latex=LATEX):
    """Build the book into ``done``; return what to say and whether it is good."""
    work.mkdir(parents=True, exist_ok=True)
    with build.locked(work / "lock"):
        run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if run.returncode:
            return run.stdout + run.stderr, False
        folder = work / "_build" / "paper"
        run = subprocess.run(latex, cwd=folder, capture_output=True, text=True, errors="replace")
        log = (
            (folder / "book.log").read_text(encoding="utf-8", errors="replace")
            if (folder / "book.log").exists()
            else ""
        )
        if run.returncode:
            return run.stdout[-3000:] + "\n".join(re.findall(r"^! .*(?:\n.*){8}", log, re.M)[:3]), False
        wrong, pages = faults(log)
        if wrong:
            return "\n".join([f"the PDF is not good ({folder / 'book.pdf'}):", *wrong]), False
        done.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "book.pdf", done.with_suffix(".new"))
        os.replace(done.with_suffix(".new"), done)
    return f"{pages} pages: open file://{done}", True


def main():
    if lacks := missing():
        print(NEEDED.format(missing=", ".join(lacks)))
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print("building the book on paper (some minutes; less the next time) ...", flush=True)
    said, is_good = make()
    print(said)
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
