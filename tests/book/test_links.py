"""Links, anchors, citations and assets resolve on the disk; nothing is taken from elsewhere."""

import re
from urllib.parse import urlsplit

from tests.book import links


def test_every_link_resolves(built):
    assert links.broken(built) == []


def test_citations_lead_to_the_bibliography(built):
    pages = links.read(built)
    entries = {anchor for anchor in pages["chapters/bibliography.html"].anchors if re.match(r"id\d+$", anchor)}
    cited = {
        urlsplit(link).fragment
        for name, page in pages.items()
        for link in page.links
        if "bibliography.html#id" in link and name.startswith("chapters/")
    }
    assert len(cited) >= 5
    assert cited <= entries


def test_scripts_and_styles_are_local(built):
    foreign = []
    for path in built.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        foreign += re.findall(r"<script[^>]*src=\"https?:[^\"]*|<link[^>]*stylesheet[^>]*href=\"https?:[^\"]*", text)
        foreign += re.findall(r"<img[^>]*src=\"https?:[^\"]*", text)
    assert foreign == []


def test_mathjax_is_there_once(built):
    found = [*built.rglob("startup.js"), *built.rglob("tex-*.js")]
    assert [path.relative_to(built).as_posix() for path in found] == ["_static/mathjax/startup.js"]


def test_first_page_leads_on(built):
    target = re.search(r'url=([^"]+)"', (built / "index.html").read_text(encoding="utf-8"))[1].strip()
    assert (built / target).is_file()


def test_pages_do_not_name_this_machine(built):
    home = str(built.parents[1])
    assert [path.name for path in built.rglob("*.html") if home in path.read_text(encoding="utf-8")] == []


def test_a_broken_link_is_found(tmp_path):
    good = '<a href="b.html#there">b</a><img src="p.png"><a href="https://example.org">away</a>'
    (tmp_path / "a.html").write_text(good, encoding="utf-8")
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1>', encoding="utf-8")
    (tmp_path / "p.png").touch()
    assert links.broken(tmp_path) == []
    (tmp_path / "p.png").unlink()
    (tmp_path / "b.html").write_text('<h1 id="elsewhere">B</h1><a href="c.html">c</a>', encoding="utf-8")
    assert [message.split(" ")[1] for message in links.broken(tmp_path)] == ["b.html#there", "p.png", "c.html"]
