"""What the search looks through: the places of the book, as ``_static/search-places.js``.

A place is a section, a term of the glossary, or a function: its title, where it is, what ``{index}`` marks in it, and
its prose. Code and displayed formulas are left out; a formula in a line becomes letters if it is short. The page
search.html reads the file and does the search (search.js).
"""

import json
import re
import unicodedata
from pathlib import Path

import book_index
from docutils import nodes
from sphinx import addnodes

# A hit counts as much as its page: the core page of a chapter is 1.
WEIGHTS = (
    (r"chapters/(?:questions|how-to-use)$", 1.25),
    (r"chapters/\d\d-.*-deeper$", 0.8),
    (r"chapters/\d\d-", 1.0),
    (r"chapters/(?:reference|sources|errata)", 0.45),
    (r"chapters/", 0.8),
)
LEFT_OUT = ("chapters/genindex", "chapters/bibliography", "chapters/ledger", "chapters/glossary")
SILENT = (nodes.literal_block, nodes.math_block, nodes.raw, nodes.comment, nodes.system_message, nodes.title)
GREEK = re.compile(
    r"\\(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi|omega)\b"
)
ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
LOWER = str.maketrans("0123456789ijk", "₀₁₂₃₄₅₆₇₈₉ᵢⱼₖ")
LETTERS = {"varepsilon": "ε", "ell": "l", "Sigma": "Σ", "Lambda": "Λ", "Delta": "Δ", "le": "≤", "ge": "≥", "times": "×"}


def letters(tex):
    """A formula as letters, "σ²" or "yᵢⱼ", or three points if it is more than that."""
    text = GREEK.sub(lambda m: unicodedata.lookup(f"GREEK SMALL LETTER {m[1].replace('lambda', 'lamda')}"), tex)
    text = re.sub(r"\\(\w+)", lambda m: LETTERS.get(m[1], m[0]), text)
    text = re.sub(r"\\(hat|bar|tilde)\s*\{?(\w)\}?", lambda m: m[2] + ACCENTS[m[1]], text)
    text = re.sub(r"\\(?:text|mathbf|mathrm|operatorname|,|;|!)\s*", "", text)
    text = re.sub(r"_\{?([0-9ijk]+)\}?", lambda m: m[1].translate(LOWER), text)
    text = re.sub(r"[{}]", "", re.sub(r"\^\{?2\}?", "²", text)).strip()
    return "…" if re.search(r"[\\_^]", text) or len(text) > 24 else text


def prose(node):
    """The running text below a node, without code, displayed formulas, and the sections inside."""
    if isinstance(node, nodes.Text):
        return str(node)
    if isinstance(node, nodes.math):
        return letters(node.astext())
    if isinstance(node, (*SILENT, addnodes.index)) or titled(node) or node.get("nb_element") == "cell_code_source":
        return ""
    text = "".join(prose(child) for child in node.children)
    return text if isinstance(node, nodes.Inline) else f" {text} "


def plain(text):
    return re.sub(r"\s+([.,;:!?)])", r"\1", re.sub(r"\s+", " ", text)).strip()


def titled(node):
    """Whether a node is a section of the page; the contents of a theorem are one without a title."""
    return isinstance(node, nodes.section) and any(isinstance(child, nodes.title) for child in node.children)


def title_of(section):
    title = next(child for child in section.children if isinstance(child, nodes.title))
    return plain("".join(letters(n.astext()) if isinstance(n, nodes.math) else prose(n) for n in title.children))


def number(env, docname, section, first):
    numbers = env.toc_secnumbers.get(docname, {})
    found = numbers.get("" if first else f"#{section['ids'][0]}")
    return ".".join(map(str, found)) + " " if found else ""


def keywords(section):
    """What ``{index}`` marks in the section, but not in those inside it."""
    found = []
    for node in section.findall(addnodes.index):
        parent = node.parent
        while not titled(parent):
            parent = parent.parent
        if parent is section and not isinstance(node.parent, nodes.term):
            found += [entry[1] for entry in node["entries"] if entry[0] == "single" and "lmmlib" not in entry[2]]
    return found


def weight(docname):
    return next((value for pattern, value in WEIGHTS if re.match(pattern, docname)), 1.0)


def places(app, doctree, docname):
    """The sections of a page as places."""
    for k, section in enumerate(filter(titled, doctree.findall(nodes.section))):
        first = k == 0
        inner = [child for child in section.children if titled(child)]
        texts = [plain("".join(map(prose, part.children))) for part in (section, *inner)]
        text = next((text for text in texts if text), "Code, and what it prints.")
        yield {
            "title": number(app.env, docname, section, first) + title_of(section),
            "page": docname,
            "anchor": "" if first else section["ids"][0],
            "words": keywords(section),
            "text": text,
            "weight": weight(docname) * (1.15 if first else 1.0),
        }


def glossary(app, doctree):
    """The terms as places, with the other words for them."""
    others = {}
    for word, term in book_index.marks(app.env).get(book_index.GLOSSARY, {}).get("synonyms", []):
        others.setdefault(term.lower(), []).append(word)
    for item in doctree.findall(nodes.definition_list_item):
        term, text = item[0], plain(prose(item[-1]))
        name = plain(prose(term))
        abbreviation = re.findall(r"^([A-Z]{2,6}|[a-z][A-Z]{2,4})[,:]", text)
        words = others.get(name.lower(), []) + abbreviation
        yield {
            "title": name,
            "page": "chapters/glossary",
            "anchor": term["ids"][0],
            "words": words,
            "text": re.sub(r"\s*See [^.]*\.$", "", text),
            "weight": 1.0,
            "kind": "term",
        }


def functions(env):
    for name, entry in env.get_domain("py").objects.items():
        if entry.objtype in ("function", "class", "exception", "method") and not entry.aliased:
            module, _, last = name.rpartition(".")
            yield {
                "title": last,
                "page": entry.docname,
                "anchor": entry.node_id,
                "words": [last],
                "text": f"{entry.objtype} of {module}",
                "weight": 0.5,
                "kind": "function",
            }


def collect(app, doctree, docname):
    if app.builder.format == "html" and docname not in LEFT_OUT:
        found(app.env)[docname] = list(places(app, doctree, docname))
    elif docname == book_index.GLOSSARY:
        found(app.env)[docname] = list(glossary(app, doctree))


def found(env):
    if not hasattr(env, "search_places"):
        env.search_places = {}
    return env.search_places


def write(app, exception):
    if exception is None and app.builder.format == "html":
        titles = {name: plain(app.env.titles[name].astext()) for name in app.env.titles}
        everything = [place for places in found(app.env).values() for place in places] + list(functions(app.env))
        for place in everything:
            place["of"] = "Glossary" if place.get("kind") == "term" else titles[place["page"]]
        text = json.dumps(everything, ensure_ascii=False, separators=(",", ":"))
        Path(app.outdir, "_static", "search-places.js").write_text(f"bookPlaces({text});\n", encoding="utf-8")


def setup(app):
    app.connect("doctree-resolved", collect, priority=400)
    app.connect("build-finished", write)
