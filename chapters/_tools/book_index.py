"""The directive ``{book-index} <list>``: what the book treats, and the places where it is met.

``subjects`` are the terms of the glossary where chapters link them, and what ``{index}`` marks; ``statements`` are
definitions and theorems by their titles; ``people`` are the authors whom a page cites; ``data`` are the data sets
that a page loads; ``functions`` are those of lmmlib. Nothing is typed in twice: the index follows the pages. A chapter
stands in it with its number, another page with its name; other words for a term lead to the term.
"""

import re
import unicodedata
from collections import defaultdict
from pathlib import Path

from docutils import nodes
from pybtex.database import parse_file
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

LOADED = re.compile(r"\bload\(\"(\w+)\"\)")
GLOSSARY = "chapters/glossary"
DATA = {
    "cbpp": "cattle with pleuropneumonia (CBPP)",
    "chicks": "chicks on four diets",
    "counts_4x2": "counts at four sites, simulated",
    "counts_50x10": "counts at fifty sites, simulated",
    "counts_low": "low counts at fifty sites, simulated",
    "cream": "cream in eight centres",
    "dental": "dental growth",
    "dyestuff": "dyestuff",
    "lambs": "lambs of 23 sires",
    "neyman_scott": "Neyman and Scott's groups of two, simulated",
    "neyman_scott_1": "Neyman and Scott's groups of one, simulated",
    "oats": "oats in a split plot",
    "pastes": "pastes in casks",
    "penicillin": "penicillin",
    "planting": "planting density",
    "ratpup": "rat pups",
    "schools": "schools of 1982 (High School and Beyond)",
    "seizures": "seizures of epileptics",
    "sleep": "sleep deprivation",
    "ticks": "ticks on grouse chicks",
    "tlc": "lead trial (TLC)",
}


class IndexList(nodes.General, nodes.Element):
    """Stands for the lists until all pages are read."""


class BookIndex(SphinxDirective):
    required_arguments = 1

    def run(self):
        if self.arguments[0] not in LISTS:
            raise self.error(f"book-index lists {', '.join(LISTS)}, not {self.arguments[0]}.")
        self.env.book_index_page = self.env.docname
        return [IndexList(list=self.arguments[0])]


def marks(env):
    """{page: {kind of entry: [(what, anchor)]}}"""
    if not hasattr(env, "index_marks"):
        env.index_marks = {}
    return env.index_marks


def collect(app, doctree):
    """Note what this page adds to the index, and give each place an anchor."""
    env = app.env
    found = {"subjects": marked(doctree), "statements": statements(doctree), "people": [], "data": []}
    found["synonyms"] = synonyms(doctree) if env.docname == GLOSSARY else []
    for role in list(doctree.findall(addnodes.pending_xref)):
        kind, domain = role.get("reftype"), role.get("refdomain")
        if (domain, kind) == ("std", "term"):
            found["subjects"].append((role["reftarget"].lower(), mark(role)))
        elif domain == "cite":
            anchor = mark(role)
            found["people"] += [(key.strip(), anchor) for key in role["reftarget"].split(",")]
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and cell.children:
            names = LOADED.findall(cell.children[0].astext())
            found["data"] += [(name, cell_anchor(cell)) for name in names]
    marks(env)[env.docname] = found


def synonyms(doctree):
    """The rows of the table of other words, (word, term): "ICC" for the intraclass correlation."""
    rows = [row.children for row in doctree.findall(nodes.row)]
    links = [(word.astext(), next(term.findall(addnodes.pending_xref), None)) for word, term in rows]
    return [(word, link["reftarget"]) for word, link in links if link]


def statements(doctree):
    """Definitions, theorems and their like by their titles: (text, anchor)."""
    found = []
    for box in doctree.findall(nodes.Element):
        title = str(box.get("title") or "").strip().removeprefix("(").removesuffix(")")
        if box.get("realtype") and title:
            found.append((f"{greek(title)} ({box['realtype']})", box["ids"][0]))
    return found


def marked(doctree):
    """What {index} marks, (text, anchor): not what autodoc and the glossary add to the index by themselves."""
    nodes_of_text = [node for node in doctree.findall(addnodes.index) if not isinstance(node.parent, nodes.term)]
    entries = [entry for node in nodes_of_text for entry in node["entries"]]
    return [(entry[1], entry[2]) for entry in entries if entry[0] == "single" and "lmmlib" not in entry[2]]


def greek(title):
    """A title with its Greek letters as letters: the index needs no other formula."""
    return re.sub(r"\$\\(\w+)\$", lambda match: unicodedata.lookup(f"GREEK SMALL LETTER {match[1]}"), title)


def mark(node):
    """An anchor before a node of the text."""
    document = node.document or next(a for a in ancestors(node) if isinstance(a, nodes.document))
    document.index_count = getattr(document, "index_count", 0) + 1
    anchor = f"index-place-{document.index_count}"
    node.parent.insert(node.parent.index(node), nodes.target("", "", ids=[anchor]))
    return anchor


def ancestors(node):
    while node is not None:
        yield node
        node = node.parent


def cell_anchor(cell):
    anchor = f"load-{cell['cell_index']}"
    if anchor not in cell["ids"]:
        cell["ids"].append(anchor)
    return anchor


def purge(app, env, docname):
    marks(env).pop(docname, None)


def merge(app, env, docnames, other):
    marks(env).update({name: marks(other)[name] for name in docnames if name in marks(other)})
    if hasattr(other, "book_index_page"):
        env.book_index_page = other.book_index_page


def written_again(app, env):
    page = getattr(env, "book_index_page", None)
    return [page] if page in env.found_docs else []


def chapter(page):
    """The number of a chapter as text; the empty string for another page."""
    number = re.fullmatch(r"chapters/0?(\d+)-[^/]+", page)
    return number[1] if number else ""


def label(page):
    """What stands for a page in the index: "3", "coming from", "sources 004", "reference laplace"."""
    words = re.sub(r"(sources/\d+)-.*", r"\1", page.removeprefix("chapters/"))
    return chapter(page) or re.sub(r"[-/]", " ", words)


def order(page):
    """A key to sort pages by: chapters in their order, then the other pages."""
    return not chapter(page), page


def places(env, kind):
    """{what: {page: first anchor}}, chapters in order; the glossary is no place where its own words are met."""
    found = defaultdict(dict)
    for page in sorted(set(marks(env)) - {GLOSSARY}, key=order):
        for what, anchor in marks(env)[page][kind]:
            found[what].setdefault(page, anchor)
    return found


def fill(app, doctree, docname):
    for place in list(doctree.findall(IndexList)):
        lines = LISTS[place["list"]](app, Linker(app, docname))
        place.replace_self(column(lines, letters=len(lines) > 15))


class Linker:
    """Links from the page of the index to a place of another page."""

    def __init__(self, app, docname):
        self.app, self.docname = app, docname

    def __call__(self, text, page, anchor):
        uri = f"{self.app.builder.get_relative_uri(self.docname, page)}#{anchor}"
        return nodes.reference("", text, internal=True, refuri=uri)

    def pages(self, where):
        """What stands for each page, leading to the place on it."""
        return [self(label(page), page, anchor) for page, anchor in where.items()]


def line(text, links, between=", "):
    """(key to sort by, paragraph): an entry and its links, separated by commas."""
    paragraph = nodes.paragraph("", text, classes=["entry"])
    for link in links:
        paragraph += [nodes.Text(between), link]
    return sort_key(text), paragraph


def sort_key(text):
    """Capitals, accents, points and a leading article do not count."""
    text = unicodedata.normalize("NFKD", text)
    return re.sub(r"^(the|an?) ", "", re.sub(r"[^\w\s]", "", text).lower())


def subject_lines(app, link):
    glossary = {term.lower(): (term, *place) for term, place in terms(app.env)}
    lines = []
    for what, where in places(app.env, "subjects").items():
        links = link.pages(where)
        if what.lower() in glossary:
            what, page, anchor = glossary[what.lower()]
            links.insert(0, link("glossary", page, anchor))
        lines.append(line(what, links))
    for word, term in marks(app.env).get(GLOSSARY, {}).get("synonyms", []):
        lines.append(line(word, [link(*glossary[term.lower()])], between=": see "))
    return lines


def statement_lines(app, link):
    return [line(what, link.pages(where)) for what, where in places(app.env, "statements").items()]


def terms(env):
    """(term, (page, anchor)) of the glossary."""
    return [(key[1], place) for key, place in env.get_domain("std").objects.items() if key[0] == "term"]


def people_lines(app, link):
    bibliography = {}
    for name in app.config.bibtex_bibfiles:
        bibliography |= parse_file(str(Path(app.srcdir, name))).entries
    found = defaultdict(dict)
    for key, where in places(app.env, "people").items():
        for person in bibliography[key].persons.get("author", []) if key in bibliography else []:
            for page, anchor in where.items():
                found[person_name(person)].setdefault(page, anchor)
    everybody = merged(found)
    for person, where in everybody.items():
        everybody[person] = {page: where[page] for page in sorted(where, key=order)}
    return [line(person, link.pages(where)) for person, where in everybody.items()]


def merged(found):
    """One entry for a person whose middle names are given here and not there."""
    for name in sorted(found):
        longer = [other for other in found if other != name and other.startswith(f"{name} ")]
        if len(longer) == 1:
            found[longer[0]] = found.pop(name) | found[longer[0]]
    return {name: where for name, where in found.items() if name}


def person_name(person):
    """Henderson, C. R.; the empty string for a group of authors with one name."""
    given = [str(name) for name in person.rich_first_names + person.rich_middle_names]
    family = " ".join(str(name) for name in person.rich_prelast_names + person.rich_last_names)
    return f"{family}, {' '.join(name[0] + '.' for name in given)}" if given else ""


def data_lines(app, link):
    return [line(DATA.get(name, name), link.pages(where)) for name, where in places(app.env, "data").items()]


def function_lines(app, link):
    lines = []
    for name, entry in app.env.get_domain("py").objects.items():
        if entry.objtype in ("function", "class", "exception") and not entry.aliased:
            module, _, last = name.rpartition(".")
            shown = link("", entry.docname, entry.node_id)
            shown += nodes.literal(text=last)
            paragraph = nodes.paragraph("", "", classes=["entry"])
            paragraph += [shown, nodes.inline(text=f" {module.removeprefix('lmmlib.')}", classes=["kind"])]
            lines.append((sort_key(last), paragraph))
    return lines


def column(lines, letters):
    """The entries in order, with the letter before the first entry that begins with it."""
    box, last = nodes.container(classes=["book-index"]), ""
    for key, paragraph in sorted(lines, key=lambda pair: pair[0]):
        if letters and key[:1] != last:
            last = key[:1]
            box += nodes.rubric(text=last.upper())
        box += paragraph
    return box


LISTS = {
    "subjects": subject_lines,
    "statements": statement_lines,
    "people": people_lines,
    "data": data_lines,
    "functions": function_lines,
}


def setup(app):
    app.add_directive("book-index", BookIndex)
    app.add_node(IndexList)
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", written_again)
    app.connect("doctree-resolved", fill)
