"""Links of the built pages, followed on the disk."""

from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

REFERENCES = {"a": "href", "link": "href", "img": "src", "script": "src"}


class Page(HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.problems = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        target = values.get(REFERENCES.get(tag, ""))
        if target:
            self.links.append(target)
        if "system-message" in (values.get("class") or "") or "problematic" in (values.get("class") or ""):
            self.problems.append(values.get("class"))


def read(folder):
    """Every page of the folder: path within it -> Page."""
    paths = [path for path in folder.rglob("*.html") if "_static" not in path.relative_to(folder).parts]
    return {path.relative_to(folder).as_posix(): Page(path.read_text(encoding="utf-8")) for path in paths}


def broken(folder):
    """Links that lead to no file, or to no anchor of a page; and what Sphinx marked as a problem."""
    pages, found = read(folder), []
    for name, page in sorted(pages.items()):
        found += [f"{name}: {problem}" for problem in page.problems]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            here = (folder / name).parent
            target = (here / unquote(parts.path)).resolve() if parts.path else (folder / name).resolve()
            if not target.is_file():
                found.append(f"{name}: {link} leads to no file")
                continue
            other = pages.get(target.relative_to(folder.resolve()).as_posix())
            anchor = unquote(parts.fragment)
            if other and anchor and anchor not in other.anchors:
                found.append(f"{name}: {link} leads to no place of that page")
    return found
