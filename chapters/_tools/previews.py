"""What a reference leads to, so that the page can show it without leaving: ``_static/previews/...js`` for each page.

Such a file holds the elements of one page to which other pages lead: equations, theorems, figures, citations, terms,
exercises, and the beginnings of sections. It is a script, because a page that is opened from the disk may load those
and nothing else; previews.js loads it when a reference to its page is first pointed at.
"""

import json
import re
from pathlib import PurePosixPath
from urllib.parse import unquote

LINK = re.compile(r'<a class="reference internal" href="([^"#]*)#([^"]+)"')
ARTICLE = re.compile(r'<article class="bd-article[^>]*>(.*)</article>', re.S)


def element(html, at):
    """The element whose tag begins at a place of the text."""
    name = re.match(r"<(\w+)", html[at:])[1]
    depth = 0
    for tag in re.compile(rf"<(/?){name}\b[^>]*>").finditer(html, at):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return html[at : tag.end()]
    return ""


def shown(html, anchor):
    """What stands at an anchor of a page, if it is of a kind that is shown: its HTML, or an empty string."""
    tag = re.search(rf'<(\w+)\b[^>]*\bid="{re.escape(anchor)}"[^>]*>', html)
    if tag is None:
        return ""
    name, at = tag[1], tag.start()
    if name == "dt" and anchor.startswith("term-"):
        term = element(html, at)
        return f"<dl>{term}{element(html, html.index('<dd', at))}</dl>"
    if name == "figure" or re.search(r'class="(?:math|proof|exercise|citation)\b', tag[0]):
        return element(html, at)
    if name == "section":
        return beginning(html, tag.end())
    if name == "span" and (heading := re.match(r"(?:</span>|<span[^>]*>)*(?=<h[1-4]\b)", html[tag.end() :])):
        return beginning(html, tag.end() + heading.end())
    return ""


def beginning(html, at):
    """The heading of a section and its first paragraph, if that comes before the next heading."""
    heading = re.compile(r"<h[1-4]\b.*?</h[1-4]>", re.S).search(html, at)
    if heading is None:
        return ""
    title = re.sub(r"<(/?)h[1-4]\b[^>]*>", r"<\1p>", heading[0])
    next_one = re.compile(r"<h[1-4]\b|</section>|<div class=\"cell|<p>").search(html, heading.end())
    first = element(html, next_one.start()) if next_one and next_one[0] == "<p>" else ""
    return f'<div class="heading">{title}</div>{first}'


def without_marks(html):
    """Without what belongs to the place and not to the thing: links to itself, anchors, buttons."""
    html = re.sub(r'<a class="headerlink".*?</a>', "", html, flags=re.S)
    return re.sub(r'(<\w+[^>]*?) id="[^"]*"', r"\1", html)


def targets(pages):
    """{page: anchors on it to which other pages lead}; a page leads to its own without a file."""
    found = {}
    for page, html in pages.items():
        for path, anchor in set(LINK.findall(html)):
            if path:
                there = normal(PurePosixPath(page).parent / unquote(path))
                found.setdefault(there, set()).add(unquote(anchor))
    return found


def normal(path):
    """A path without "..": "chapters/reference/../glossary.html" is "chapters/glossary.html"."""
    parts = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def file_of(page):
    return page.removesuffix(".html").replace("/", "--") + ".js"


def write(pages, folder):
    """The files of previews of all pages, {path: html}; a page that nobody leads to has none."""
    folder.mkdir(parents=True, exist_ok=True)
    articles = {page: match[1] for page, html in pages.items() if (match := ARTICLE.search(html))}
    for page, anchors in targets(articles).items():
        html = articles.get(page, "")
        views = {anchor: without_marks(view) for anchor in sorted(anchors) if (view := shown(html, anchor))}
        if views:
            text = json.dumps(views, ensure_ascii=False, separators=(",", ":"))
            path = folder / file_of(page)
            path.write_text(f'bookPreviews("{page}",{text});\n', encoding="utf-8")
