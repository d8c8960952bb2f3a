"""The front page's view of the book, made from the chapters themselves.

``{chapter-cards}`` shows each chapter with its first figure, the question that it answers (the first one on its
page), and how long it says that a reading takes. ``{chapter-map}`` draws which chapter needs which: what the sentence
"you need ..." of each says, without the needs of its needs. ``{about-book}`` says version, date, revision, and how to
cite. Links to the page before and after carry its question.
"""

import re
import subprocess
from base64 import b64decode
from html import escape
from io import BytesIO
from pathlib import Path
from textwrap import wrap

import nbformat
import yaml
from docutils import nodes
from PIL import Image
from sphinx.util.docutils import SphinxDirective

PREDICT = re.compile(r"^(:{3,})\{admonition\} Predict: .*?^\1\s*$", re.M | re.S)
HOURS = re.compile(r"\b((?:about )?(?:one|two|three|four|\d+) hours?)\b")
THUMB = 480  # pixels, twice the width of a card's picture
COLUMN, ROW, BOX_WIDTH, BOX_HEIGHT = 164, 90, 154, 58  # of the map


class View(nodes.General, nodes.Element):
    """Stands for a view of the book until all pages are read."""


class ViewDirective(SphinxDirective):
    def run(self):
        if not hasattr(self.env, "pages_with_views"):
            self.env.pages_with_views = set()
        self.env.pages_with_views.add(self.env.docname)
        return [View(kind=self.name)]


def core(docname):
    """Whether a page is a chapter's core page or a second one beside it, but not a deeper one."""
    return re.fullmatch(r"chapters/\d\d-[\w-]+", docname) and not docname.endswith("-deeper")


def without_markup(text):
    text = re.sub(r"\{\w+(?::\w+)?\}`([^`<]*)(?:<[^>]*>)?`", r"\1", text)
    return re.sub(r"[*_`]+", "", text).strip()


def question(text):
    """The first question of a page, in its title, a heading or a sentence; without what stands before a colon."""
    text = PREDICT.sub("", text)
    found = re.search(r"(?:(?<=[.!?:] )|^)[^.?!\n]{10,}\?", text, re.M)
    if not found:
        return ""
    words = without_markup(re.sub(r"^#+ ", "", found[0])).rpartition(": ")[2]
    return words[:1].upper() + words[1:]


def needed(text):
    """What the sentence "you need ..." of a page names: numbers of chapters, and labels."""
    sentence = re.search(r"\byou need\b.*?(?:\.\s|;|$)", text.split("## Exercises")[0], re.I | re.M)
    if not sentence:
        return set(), set()
    numbers = {int(n) for n in re.findall(r"<(\d\d)-[\w-]+>|chapters? (\d+)|\((\d+)\)", sentence[0]) for n in n if n}
    return numbers, set(re.findall(r"<((?:sec|ch)-[\w-]+)>", sentence[0]))


def facts(app, docname):
    """What the front page says of a chapter, from its notebook."""
    notebook = nbformat.read(app.env.doc2path(docname), as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    hours = HOURS.search(text)
    numbers, labels = needed(text)
    return {"question": question(text), "time": hours[1] if hours else "", "numbers": numbers, "labels": labels}


def collect(app, doctree):
    env = app.env
    if core(env.docname) and Path(env.doc2path(env.docname)).suffix == ".ipynb":
        about(env)[env.docname] = facts(app, env.docname)


def about(env):
    if not hasattr(env, "chapters_about"):
        env.chapters_about = {}
    return env.chapters_about


def purge(app, env, docname):
    about(env).pop(docname, None)


def merge(app, env, docnames, other):
    about(env).update({name: about(other)[name] for name in docnames if name in about(other)})


def written_again(app, env):
    return sorted(getattr(env, "pages_with_views", set()) & env.found_docs)


def number(docname):
    return int(docname.removeprefix("chapters/")[:2])


def in_order(env):
    """The pages in the order of the book: a second page of a chapter has a number such as 12.16."""
    return sorted(about(env), key=lambda page: env.toc_secnumbers.get(page, {}).get("") or (number(page),))


def title(env, docname):
    return env.titles[docname].astext()


def needs(env):
    """{page: pages that it needs}, without those that come with another one that it needs."""
    pages = in_order(env)
    firsts = {number(page): page for page in reversed(pages)}
    labels = {name: doc for name, (doc, _, _) in env.get_domain("std").labels.items()}
    found = {}
    for page in pages:
        facts = about(env)[page]
        of_labels = {labels[label] for label in facts["labels"] if label in labels}
        found[page] = ({firsts[n] for n in facts["numbers"] if n in firsts} | of_labels) & set(pages) - {page}
        # A second page of a chapter comes after its first.
        found[page] |= {firsts[number(page)]} - {page}
    return reduced(found)


def reduced(found):
    """The needs of each page without those that another of its needs has already."""

    def all_below(page, seen=()):
        return {b for a in found[page] if a not in seen for b in ({a} | all_below(a, (*seen, page)))}

    return {
        page: {a for a in below if not any(a in all_below(b) for b in below - {a})} for page, below in found.items()
    }


def cards(app, docname):
    env = app.env
    out = ['<ul class="chapter-cards">']
    for page in in_order(env):
        facts = about(env)[page]
        link = app.builder.get_relative_uri(docname, page)
        deeper = f"{page}-deeper"
        more = f' · <a class="deeper" href="{app.builder.get_relative_uri(docname, deeper)}">deeper</a>'
        picture = thumbnail(app, page)
        out.append(
            f'<li><a class="card-link" href="{link}">'
            + (f'<img src="{picture}" alt="" loading="lazy" />' if picture else "")
            + f'<span class="name"><span class="number">{number(page)}</span> {escape(title(env, page))}</span></a>'
            + (f'<p class="question">{escape(plain_tex(facts["question"]))}</p>' if facts["question"] else "")
            + f'<p class="time">{escape(facts["time"])}{more if deeper in env.found_docs else ""}</p></li>'
        )
    return "\n".join([*out, "</ul>"])


def plain_tex(text):
    return re.sub(r"\$([^$]*)\$", lambda m: m[1].replace("\\", ""), text)


def first_figure(notebook):
    """The bytes of the first figure of a notebook, as its output stores it; None without one."""
    for cell in notebook.cells:
        if "figure" in cell.metadata.get("mystnb", {}):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return b64decode(output.data["image/png"])
    return None


def thumbnail(app, page):
    """A small copy of the first figure among the built files; its address as the front page sees it."""
    picture = first_figure(nbformat.read(app.env.doc2path(page), as_version=4))
    if picture is None:
        return ""
    target = Path(app.outdir, "_static", "thumbnails", f"{Path(page).name}.webp")
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(BytesIO(picture)) as image:
        small = image.convert("RGB")
        small.thumbnail((THUMB, THUMB))
        small.save(target, quality=80)
    return f"../_static/thumbnails/{target.name}"


def rows_of(graph):
    """The pages in rows: each below all that it needs."""
    row = {}
    for page in graph:
        row[page] = 1 + max((row.get(a, 0) for a in graph[page]), default=-1)
    return [[page for page in row if row[page] == k] for k in range(max(row.values(), default=-1) + 1)]


def chapter_map(app, docname):
    env, graph = app.env, needs(app.env)
    rows = rows_of(graph)
    wide = max(map(len, rows), default=1)
    at = {}
    for k, row in enumerate(rows):
        # a page stands below what it needs, as far as there is room
        wish = {p: sum(at[a][0] for a in graph[p]) / len(graph[p]) if graph[p] else 0 for p in row}
        left = (wide - len(row)) * COLUMN / 2
        for j, page in enumerate(sorted(row, key=lambda p: (wish[p], p))):
            at[page] = (left + j * COLUMN + BOX_WIDTH / 2 + 4, k * ROW + BOX_HEIGHT / 2 + 4)
    width, height = wide * COLUMN - (COLUMN - BOX_WIDTH) + 8, len(rows) * ROW - (ROW - BOX_HEIGHT) + 8
    lines, boxes = [], []
    for page, below in graph.items():
        x, y = at[page]
        top = y - BOX_HEIGHT / 2
        for a in sorted(below):
            u, v = at[a]
            foot = v + BOX_HEIGHT / 2
            bend = (top - foot) / 2
            lines.append(f'<path d="M{u:g} {foot:g}C{u:g} {foot + bend:g} {x:g} {top - bend:g} {x:g} {top - 5:g}" />')
        name = f"{number(page)} {title(env, page).partition(':')[0]}"
        words = wrap(name, 17)[:3]
        text = "".join(
            f'<tspan x="{x:g}" y="{y + 5 + 17 * (j - (len(words) - 1) / 2):g}">{escape(w)}</tspan>'
            for j, w in enumerate(words)
        )
        boxes.append(
            f'<a href="{app.builder.get_relative_uri(docname, page)}"><rect x="{x - BOX_WIDTH / 2:g}" '
            f'y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" /><text>{text}</text></a>'
        )
    said = [
        f"<li>{number(p)} {escape(title(env, p))}: "
        + (", ".join(f"{number(a)} {escape(title(env, a).partition(':')[0])}" for a in sorted(graph[p])) or "nothing")
        + "</li>"
        for p in graph
    ]
    return (
        f'<div class="chapter-map"><svg viewBox="0 0 {width:g} {height:g}" role="group" '
        'aria-label="Which chapter needs which: an arrow leads from a chapter to one that needs it">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" /></marker></defs><g class="lines">{"".join(lines)}</g>{"".join(boxes)}</svg></div>'
        f"<details><summary>The map in words: what each chapter needs</summary><ul>{''.join(said)}</ul></details>"
    )


def revision(folder):
    """The commit that the book was built from, if git knows it."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=10", "HEAD"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


def about_book(app, docname):
    facts = yaml.safe_load(Path(app.srcdir, "CITATION.cff").read_text(encoding="utf-8"))
    who = ", ".join(author["name"] for author in facts["authors"])
    year = str(facts["date-released"])[:4]
    commit = revision(app.srcdir)
    built = f", revision <code>{commit}</code>" if commit else ""
    entry = (
        f"@book{{lmmlib,\n  author  = {{{{{who}}}}},\n  title   = {{{facts['title']}}},\n"
        f"  year    = {{{year}}},\n  version = {{{facts['version']}}}\n}}"
    )
    return (
        f"<p>Version {facts['version']} of {facts['date-released']}{built}. "
        "Text and figures CC BY 4.0, code BSD 3-Clause.</p>"
        f"<p>To cite it: {escape(who)} ({year}). <em>{escape(facts['title'])}</em>, version {facts['version']}.</p>"
        f'<div class="highlight"><pre>{escape(entry)}</pre></div>'
    )


VIEWS = {"chapter-cards": cards, "chapter-map": chapter_map, "about-book": about_book}


def fill(app, doctree, docname):
    for place in list(doctree.findall(View)):
        html = VIEWS[place["kind"]](app, docname) if app.builder.format == "html" else ""
        place.replace_self(nodes.raw("", html, format="html"))


def link_questions(app, pagename, templatename, context, doctree):
    """To the links to the page before and after, the question that it answers."""
    by_link = {app.builder.get_relative_uri(pagename, page): facts for page, facts in about(app.env).items()}
    for which in ("prev", "next"):
        link = context.get(which)
        asked = by_link.get(link["link"], {}).get("question") if link else ""
        if asked:
            line = f'<span class="question">{escape(plain_tex(asked))}</span>'
            context[which] = {**link, "title": f"{link['title']} {line}"}


def setup(app):
    for name in VIEWS:
        app.add_directive(name, ViewDirective)
    app.add_node(View)
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", written_again)
    app.connect("doctree-resolved", fill)
    app.connect("html-page-context", link_questions)
