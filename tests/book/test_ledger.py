"""The ledger's page: a row for each printed number, and each leads to the cell that computes it."""

import csv
import html
import re
from pathlib import Path

import nbformat
import pytest

from tests.book import links
from tests.notebooks.checks import reproductions

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"<tr[^>]*>(?:(?!</tr>).)*?</tr>", re.S)
FIELD = re.compile(r'<td class="of-(\w+)">(.*?)</td>', re.S)
ID = re.compile(r"<code[^>]*>(.*?)</code>", re.S)


def text(fragment):
    return html.unescape(re.sub(r"<[^>]+>", "", fragment)).strip()


def read_rows(ledger):
    """{id: {column: text, ..., "link": target}} of the tables of a page."""
    found = {}
    for row in ROW.findall(ledger):
        fields = dict(FIELD.findall(row))
        if "quantity" in fields and (id := ID.search(fields["quantity"])):
            link = re.search(r'href="([^"]+)"', fields["shown"])
            found[text(id[1])] = {name: text(field) for name, field in fields.items()} | {"link": link and link[1]}
    return found


def published():
    with (ROOT / "data" / "published.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def ledger(built):
    return (built / "chapters" / "ledger.html").read_text(encoding="utf-8")


def test_every_printed_number_has_a_row(ledger):
    assert sorted(read_rows(ledger)) == sorted(row["id"] for row in published())


def test_rows_say_what_a_page_computed(ledger):
    shown = {}
    for path in sorted((ROOT / "chapters").glob("**/[0-9]*.ipynb")):
        page = path.relative_to(ROOT / "chapters").with_suffix(".html").as_posix()
        shown |= {(page, one.id): one for one in reversed(reproductions(nbformat.read(path, as_version=4)))}
    rows = read_rows(ledger)
    for row in published():
        seen = rows[row["id"]]
        one = shown[seen["link"].partition("#")[0], row["id"]]
        assert (seen["printed"], seen["ours"], seen["digits"]) == (row["printed"], one.ours, one.digits)
        assert seen["verdict"] == f"{one.verdict.partition(': ')[0]} ({row['kind']})"
        assert seen["verdict"].startswith("agrees")


def test_a_row_leads_to_the_companion_of_its_document_before_any_other_page(ledger):
    shown = {}
    for path in sorted((ROOT / "chapters" / "sources").glob("*.ipynb")):
        ids = {one.id for one in reproductions(nbformat.read(path, as_version=4))}
        shown |= {id: f"sources/{path.stem}.html" for id in ids if id.startswith(path.stem[:3])}
    rows = read_rows(ledger)
    for id, page in shown.items():
        assert rows[id]["link"].partition("#")[0] == page
        assert rows[id]["shown"] == f"companion {id[:3]}, cell {rows[id]['link'].rpartition('-')[2]}"


def test_each_row_leads_to_a_cell_that_prints_it(ledger, built):
    anchors = {name: found.anchors for name, found in links.read(built).items()}
    for id, row in read_rows(ledger).items():
        chapter, _, cell = row["link"].partition("#")
        assert cell in anchors[f"chapters/{chapter}"], id
        output = (built / "chapters" / chapter).read_text(encoding="utf-8").split(f'id="{cell}"')[1]
        # A row of a table names it as code, a line of reproduces begins with it.
        assert re.search(rf">\s*{re.escape(id)}(?:</code>|: ours)", output.split('id="cell-')[0]), id


def test_counts(ledger):
    rows = published()
    assert f"Of {len(rows)} printed numbers, {len(rows)} agree" in text(ledger)


def test_a_missing_link_is_found():
    row = '<tr><td class="of-quantity"><p>t <code>001-a</code></p></td><td class="of-shown">{}</td></tr>'
    assert read_rows(row.format('<a href="01-x.html#cell-3">3</a>'))["001-a"]["link"] == "01-x.html#cell-3"
    assert read_rows(row.format("no cell"))["001-a"]["link"] is None
