"""The download of a page: its notebook as any Jupyter shows it, GitHub and editors too.

The chapters are written in MyST: references, numbers, boxes and folded answers are there only after Sphinx has
resolved them. So the text is written again from the page as Sphinx resolved it, in plain Markdown with formulas; code
and outputs are those that are stored. What this writer does not know is an error of the build, never left out.

Beside the pages stands the wheel of `lmmlib` with its data, which is all that such a notebook needs of this book. With
the address of the repository in `_config.yml`, pages get buttons that open them on Binder and Colab.
"""

import copy
import html
import itertools
import platform
import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from docutils import nodes
from hatchling.builders.wheel import WheelBuilder
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx import addnodes

import lmmlib

ROOT = Path(__file__).resolve().parents[2]
WHEEL = f"lmmlib-{lmmlib.__version__}-py3-none-any.whl"
# What the kernel of the Python that builds the book says of itself: a notebook that says the same stays unchanged when
# it is opened.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": platform.python_version(),
    },
}
HIDDEN = {"hide-input", "remove-input", "remove-cell"}
BRANCH = "gh-pages"  # the branch of the built book


def escaped(text):
    """Text in which nothing is markup."""
    text = re.sub(r"([\\`*_$~|])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("](", r"]\(")


def one_line(formula):
    """A formula in one line: in a quotation Jupyter would take the marks of the next for a part of it."""
    return " ".join(formula.split())


def without_bars(formula):
    """A formula for a table, where a bar would end the cell."""
    return formula.replace(r"\|", r"\Vert ").replace("|", r"\vert ")


def code(text):
    """Text between as many backticks as it needs."""
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"


def indented(text, first, rest):
    """``text`` with ``first`` before its first line and ``rest`` before each other."""
    return "\n".join((rest if k else first) + line for k, line in enumerate(text.split("\n"))).rstrip()


def quoted(text):
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def folded(title, text):
    """A folded part; between empty lines its text is Markdown."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def displayed(formula, number=None):
    """A displayed formula as Sphinx lays it out, in one line, with its number."""
    parts = [part for part in formula.split("\n\n") if part.strip()]
    parts = [rf"\begin{{split}}{part}\end{{split}}" if r"\\" in part else part for part in parts]
    text = one_line(r" \\ ".join(parts))
    if len(parts) > 1:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    text = re.sub(r"\\(begin|end)\{align\*?\}", r"\\\1{aligned}", text)
    return f"$${text} \\tag{{{number}}}$$" if number else f"$${text}$$"


class Code(int):
    """The place of a code cell in the stored notebook."""


class Writer:
    """Markdown of one page; ``numbers`` are those of figures, equations and boxes, ``sections`` those of headings."""

    def __init__(self, page, base, numbers, sections):
        self.page, self.base, self.numbers, self.sections = page, base, numbers, sections
        self.level, self.in_table = 0, False

    # Within a line

    def inline(self, node):
        return "".join(self.part(child) for child in node.children)

    def part(self, node):
        match node:
            case nodes.Text():
                return escaped(str(node))
            case nodes.math():
                text = one_line(node.astext())
                return f"${without_bars(text) if self.in_table else text}$"
            case nodes.literal():
                text = code(node.astext())
                return text.replace("|", r"\|") if self.in_table else text
            case nodes.emphasis():
                return f"*{self.inline(node)}*"
            case nodes.strong():
                return f"**{self.inline(node)}**"
            case nodes.reference():
                return f"[{self.inline(node)}]({self.address(node)})"
            case nodes.target() | addnodes.index():
                return ""
            case nodes.inline():
                return self.inline(node)
        raise TypeError(f"{self.page}: no Markdown for {type(node).__name__} in a line")

    def address(self, reference):
        """Where a reference leads: into the book, or away from it."""
        uri = reference.get("refuri") or "#" + reference["refid"]
        if urlsplit(uri).scheme:
            return f"<{uri}>"
        here = self.page + ".html"
        path, _, anchor = uri.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), path)) if path else here
        return self.base + path + ("#" + anchor if anchor else "")

    def summary(self, title):
        """A title within HTML, without its links."""
        text = re.sub(r"\[(.*?)\]\([^)]*\)", r"\1", self.inline(title).strip())
        text = re.sub(r"(`+) ?(.*?) ?\1", lambda found: f"<code>{html.escape(found[2])}</code>", text)
        text = re.sub(r"(?<!\\)\*\*(.+?)\*\*", r"<b>\1</b>", text)
        text = re.sub(r"(?<![\\\w])\*(.+?)\*", r"<em>\1</em>", text)
        text = re.sub(r"\\([*_~|`])", r"\1", text)
        return f"<b>{text}</b>"

    def number(self, kind, node):
        return ".".join(map(str, self.numbers[kind][node["ids"][0]]))

    # Blocks: each gives a list of texts and places of code cells

    def blocks(self, node):
        return [piece for child in node.children for piece in self.block(child)]

    def text(self, node):
        """The blocks of a node where no code cell may stand."""
        pieces = self.blocks(node)
        if any(isinstance(piece, Code) for piece in pieces):
            raise TypeError(f"{self.page}: a code cell within a {type(node).__name__}")
        return "\n\n".join(pieces)

    def block(self, node):
        name = type(node).__name__
        write = getattr(self, "on_" + name.removesuffix("_node"), None)
        if write is None:
            raise TypeError(f"{self.page}: no Markdown for {name}")
        written = write(node)
        return written if isinstance(written, list) else [written] if written else []

    def nothing(self, node):
        return ""

    def on_raw(self, node):
        """A view that is made for the browser; at the end of a page other extensions add what only that needs."""
        is_view = not isinstance(node.parent, nodes.document)
        return f"[Shown on the page of the book]({self.base}{self.page}.html)" if is_view else ""

    on_target = on_index = on_compound = on_comment = nothing

    def on_section(self, node):
        self.level += 1
        pieces = self.blocks(node)
        self.level -= 1
        return pieces

    def on_title(self, node):
        number = self.sections.get(f"#{node.parent['ids'][0]}") if self.level > 1 else self.sections.get("")
        number = ".".join(map(str, number)) + ". " if number else ""
        return f"{'#' * self.level} {number}{self.inline(node)}"

    def on_paragraph(self, node):
        text = self.inline(node).strip()
        return re.sub(r"(?m)^(\s*)([#>+=-]|\d+(?=[.)]\s))", lambda found: escape_start(*found.groups()), text)

    on_PassthroughTextElement = on_paragraph

    def on_math_block(self, node):
        return displayed(node.astext(), self.number("displaymath", node) if node["number"] else None)

    def on_literal_block(self, node):
        fence = "```" if "```" not in node.astext() else "````"
        return f"{fence}{node.get('language', '').replace('default', '')}\n{node.astext()}\n{fence}"

    def on_bullet_list(self, node):
        return "\n".join(indented(self.text(item), "- ", "  ") for item in node.children)

    def on_enumerated_list(self, node):
        marks = (f"{k}. " for k in itertools.count(node.get("start", 1)))
        return "\n".join(
            indented(self.text(item), mark, " " * len(mark)) for item, mark in zip(node.children, marks, strict=False)
        )

    def on_definition_list(self, node):
        return [f"**{self.inline(item[0])}**\n\n{self.text(item[-1])}" for item in node.children]

    def on_block_quote(self, node):
        return quoted(self.text(node))

    def on_line(self, node):
        """Functions below an equation; those that are folded on the page are left out."""
        shown = itertools.takewhile(lambda child: not isinstance(child, nodes.raw), node.children)
        return "".join(map(self.part, shown)).rstrip(" ,")

    def on_table(self, node):
        (group,) = node.children
        rows = [[self.cell(entry) for entry in row] for row in group.findall(nodes.row)]
        rows.insert(1, ["---"] * len(rows[0]))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def cell(self, entry):
        """An entry of a table, where a bar would end it."""
        self.in_table = True
        text = "<br>".join(" ".join(piece.split()) for piece in self.blocks(entry))
        self.in_table = False
        return text

    def on_container(self, node):
        if node.get("nb_element") == "cell_code":
            return [Code(node["cell_index"]), *(self.caption(figure) for figure in node.findall(nodes.figure))]
        if "sd-card-title" in node["classes"]:
            return f"**{self.text(node)}**"
        return self.blocks(node)

    def caption(self, figure):
        caption = next(figure.findall(nodes.caption))
        return f"**Figure {self.number('figure', figure)}.** {self.inline(caption)}"

    def on_admonition(self, node):
        if not isinstance(node[0], nodes.title):
            return self.blocks(node)
        rest = "\n\n".join(piece for child in node.children[1:] for piece in self.block(child))
        if "dropdown" in node["classes"]:
            return folded(self.summary(node[0]), rest)
        return quoted(f"**{self.inline(node[0]).strip()}**\n\n{rest}")

    def on_proof(self, node):
        *pieces, last = self.blocks(node)
        is_text = not re.search(r"(\$\$|```)$|^(- |1\. |\|)", last)
        pieces += [last + r" $\square$"] if is_text else [last, r"$\square$"]
        return [re.sub(r"^Proof\.", "**Proof.**", pieces[0]), *pieces[1:]]

    def numbered(self, name, kind, node):
        """A box that has a number, ``Theorem 3.1 (title)``, in bold above its text."""
        title = f"{name} {self.number(kind, node)} {self.inline(node[0]).strip()}".strip()
        rest = "\n\n".join(self.text(child) for child in node.children[1:])
        return quoted(f"**{title}**\n\n{rest}")

    def on_theorem(self, node):
        return self.numbered(node["realtype"].title(), node["countertype"], node)

    on_definition = on_lemma = on_proposition = on_corollary = on_theorem

    def on_exercise_enumerable(self, node):
        return self.numbered("Exercise", "exercise", node)

    def on_solution(self, node):
        """Text is folded between code cells, which are folded by their metadata."""
        title, pieces = self.summary(node[0]), []
        content = [piece for child in node.children[1:] for piece in self.blocks(child)]
        if isinstance(content[0], Code):
            content.insert(0, "It begins with the code below.")
        for is_code, run in itertools.groupby(content, lambda piece: isinstance(piece, Code)):
            if is_code:
                pieces += [Solved(piece) for piece in run]
            else:
                pieces.append(folded(title, "\n\n".join(run)))
                title = "<b>Solution, continued</b>"
        return pieces


class Solved(Code):
    """A code cell of a solution."""


def escape_start(space, mark):
    """The first characters of a line that Markdown would take for a heading, a list or a quotation."""
    return f"{space}{mark}\\" if mark.isdigit() else f"{space}\\{mark}"


def in_cells(pieces, stored):
    """Cells: the texts between two code cells in one, which begins anew with each heading.

    All code is there: what the page leaves out, later cells may need.
    """
    cells, text = [], []
    places = (k for k, cell in enumerate(stored.cells) if cell.cell_type == "code")

    def close():
        if text:
            cells.append(new_markdown_cell("\n\n".join(text), id=f"text-{len(cells):03d}"))
            text.clear()

    for piece in pieces:
        if isinstance(piece, Code):
            close()
            before = itertools.takewhile(lambda place, piece=piece: place != piece, places)
            cells += [code_cell(stored.cells[place], False) for place in before]
            cells.append(code_cell(stored.cells[piece], isinstance(piece, Solved)))
        else:
            if re.match("#+ ", piece):
                close()
            text.append(piece)
    close()
    return cells + [code_cell(stored.cells[place], False) for place in places]


def code_cell(stored, solved):
    """A stored code cell with what Jupyter needs to fold it."""
    cell = copy.deepcopy(stored)
    tags = cell.metadata.get("tags", [])
    cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    hidden = {"source_hidden": solved or bool(HIDDEN & set(tags)), "outputs_hidden": solved}
    hidden = {name: True for name, is_so in hidden.items() if is_so}
    if hidden:
        cell.metadata["jupyter"] = nbformat.from_dict(hidden)
    return cell


def about(title, book, page, base, is_site):
    """The first cells: from which book this is, and what it needs to run."""
    package = f"lmmlib[chapters] @ {base}{WHEEL}" if is_site else f"./{WHEEL}[chapters]"
    text = (
        f"> A page of the book [{escaped(book)}]({base}chapters/index.html), version {lmmlib.__version__}: "
        f"[{escaped(title)}]({base}{page}.html).\n>\n"
        "> To run it you need Python 3.11 or newer and the package of the book, which holds the data too: "
        f'`pip install "{package}"`'
    )
    if not is_site:
        text += f", in the folder of [this file]({base}{WHEEL}), which is offered beside the notebook"
    cells = [new_markdown_cell(text + ".", id="about")]
    if is_site:
        source = (
            "import importlib.util\n\n"
            'if importlib.util.find_spec("lmmlib") is None:  # as on Colab\n'
            f'    %pip install -q "{package}"'
        )
        cells.append(new_code_cell(source, id="install", execution_count=0))
    return cells


def repository(config):
    """(host, owner, name) of the repository that _config.yml names, or None."""
    url = config.html_theme_options.get("repository_url", "")
    if not url:
        return None
    parts = urlsplit(url)
    owner, _, name = parts.path.strip("/").removesuffix(".git").rpartition("/")
    return parts.netloc, owner, name


def site(config):
    """The address of the built book with a slash at the end: as it is set, else GitHub's own for the repository."""
    if config.html_baseurl:
        return config.html_baseurl.rstrip("/") + "/"
    if (of := repository(config)) and of[0] == "github.com":
        return f"https://{of[1]}.github.io/{of[2]}/"
    return ""


def write(app, pagename, templatename, context, doctree):
    """Write the portable notebook of a page beside it, and let its download button lead there."""
    source = Path(app.env.doc2path(pagename)) if pagename in app.env.all_docs else Path()
    if doctree is None or source.suffix != ".ipynb":
        return
    stored = nbformat.read(source, as_version=4)
    address = site(app.config)
    base = address or "../" * pagename.count("/")
    writer = Writer(pagename, base, app.env.toc_fignumbers.get(pagename, {}), app.env.toc_secnumbers.get(pagename, {}))
    cells = in_cells(writer.blocks(doctree), stored)
    first = about(app.env.titles[pagename].astext(), app.config.html_title, pagename, base, bool(address))
    notebook = new_notebook(cells=first + cells, metadata={**METADATA, "lmmlib": {"book": base}})
    nbformat.validate(notebook)
    target = Path(app.outdir, pagename + ".ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    offer(context, target.name, app)


def offer(context, name, app):
    """Buttons of a page: the portable notebook and the wheel to download, the same notebook on Colab."""
    for group in context["header_buttons"]:
        buttons = group.get("buttons", [])
        for k, button in enumerate(buttons):
            if button.get("label") == "download-source-button":
                button |= {"url": name, "tooltip": "Download this page as a notebook that runs anywhere"}
                wheel = {"url": context["pathto"](WHEEL, 1), "text": "lmmlib", "label": "download-wheel-button"}
                wheel |= {"tooltip": "Download the package that the notebook needs"}
                buttons.insert(k + 1, button | wheel)
                break
            if button.get("text") == "Colab":
                _, owner, repo = repository(app.config)
                page = f"{context['pagename']}.ipynb"
                button["url"] = f"https://colab.research.google.com/github/{owner}/{repo}/blob/{BRANCH}/{page}"


def add_launch_buttons(app, config):
    """With the address of the repository come the buttons that need it."""
    if of := repository(config):
        launch = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
        if of[0] == "github.com":
            launch["colab_url"] = "https://colab.research.google.com"
        config.html_theme_options |= {
            "launch_buttons": launch,
            "use_edit_page_button": True,
            "use_repository_button": True,
            "use_issues_button": True,
        }


def finish(app, exception):
    """The wheel beside the pages; of a notebook there is one download, not two."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir, "_sources").rglob("*.ipynb"):
            path.unlink()
        for _ in WheelBuilder(str(ROOT)).build(directory=str(app.outdir), versions=["standard"]):
            pass


def setup(app):
    app.connect("config-inited", add_launch_buttons)
    app.connect("html-page-context", write, priority=900)
    app.connect("build-finished", finish)
