"""The bibliography: years, addresses, and that every entry is cited and every citation has its entry."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Entries that have neither a DOI nor an address, and why.
NO_ADDRESS = {
    "davies-goldsmith-1972": "a book of before DOIs",
    "raudenbush-bryk-2002": "a book without a DOI",
    "crowder-hand-1990": "its DOI could not be verified",
    "lush-1937": "a book of before DOIs",
    "mrode-2014": "a book whose DOI could not be verified",
    "henderson-1950": "an abstract among others of a meeting, without an identifier of its own",
    "laird-louis-1987": "its DOI could not be verified",
    "wald-1940": "its DOI could not be verified",
    "robertson-1959": "its DOI could not be verified",
    "robert-1993": "no DOI of it could be found",
    "liang-zeger-2000": "it has no DOI, and an address could not be verified",
    "lmem001notes": "lecture notes whose author and place could not be established",
    "thorson2016lab": "lecture notes without a public address of their author",
    "planting004notes": "lecture notes whose author and place could not be established",
}
# Entries without a year, and why.
NO_YEAR = {
    "lmem001notes": "undated lecture notes",
    "peterson526book": "undated lecture notes",
    "planting004notes": "undated lecture notes",
}
DOI = re.compile(r"10\.\d{4,9}/[^\s{}\"<>]*[^\s{}\"<>.,;]")


def entries(text: str) -> dict[str, dict[str, str]]:
    """Fields of each entry; an entry ends with a brace at the start of a line."""
    found = re.findall(r"^@(\w+)\{([^,\s]+),(.*?)^\}", text, re.S | re.M)
    assert len(found) == len(re.findall(r"^@", text, re.M)), "an entry that cannot be read"
    out = {}
    for kind, key, body in found:
        assert key not in out, f"{key} is there twice"
        fields = re.findall(r"(\w+)\s*=\s*\{((?:[^{}]|\{[^{}]*\})*)\}", body)
        assert len(fields) == len({name for name, _ in fields}), f"{key}: a field is there twice"
        out[key] = dict(fields) | {"kind": kind}
    return out


@pytest.fixture(scope="module")
def bibliography():
    return entries((ROOT / "references.bib").read_text())


def problems(bibliography: dict) -> list[str]:
    found, seen = [], {}
    for key, entry in bibliography.items():
        year, doi = entry.get("year", ""), entry.get("doi")
        named = re.search(r"(1[89]|20)\d\d", key)
        if (named[0] if named else "") != year or (not year) != (key in NO_YEAR):
            found.append(f"{key}: year {year!r} is not that of its key")
        if doi is not None and not DOI.fullmatch(doi):
            found.append(f"{key}: {doi!r} is no DOI")
        if doi and doi.lower() in seen:
            found.append(f"{key}: has the DOI of {seen[doi.lower()]}")
        seen[(doi or key).lower()] = key
        if "url" in entry and not re.fullmatch(r"https?://[\w.-]+/\S*", entry["url"]):
            found.append(f"{key}: {entry['url']!r} is no address")
        if (doi is None and "url" not in entry) != (key in NO_ADDRESS):
            found.append(f"{key}: has a DOI or an address, or is listed here with the reason why not")
        if not entry.get("title") or not (entry.get("author") or entry.get("editor")):
            found.append(f"{key}: no title or nobody who wrote it")
        pages = entry.get("pages", "1")
        ends = [int(end) for end in re.findall(r"\d+", pages)]
        if not re.fullmatch(r"[A-Z]?\d+(--[A-Z]?\d+)?(, \d+(--\d+)?)*", pages) or ends != sorted(ends):
            found.append(f"{key}: pages {pages!r}")
    return found


def test_every_entry_is_in_order(bibliography):
    assert not problems(bibliography)
    assert set(NO_ADDRESS) | set(NO_YEAR) <= set(bibliography)


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("year    = {1948}", "year    = {1949}", "neyman-scott-1948: year '1949' is not that of its key"),
        ("10.2307/1914288", "10.2307.1914288", "neyman-scott-1948: '10.2307.1914288' is no DOI"),
        ("10.1093/biomet/58.3.545", "10.2307/1914288", "patterson-thompson-1971: has the DOI of neyman-scott-1948"),
        ("pages = {545--554}", "pages = {554--545}", "patterson-thompson-1971: pages '554--545'"),
        ("  doi     = {10.2307/1914288}\n", "", "neyman-scott-1948: has a DOI or an address, or is listed"),
    ],
)
def test_disorder_is_noticed(old, new, says):
    text = (ROOT / "references.bib").read_text()
    assert old in text
    assert any(problem.startswith(says) for problem in problems(entries(text.replace(old, new, 1))))


def test_every_entry_is_cited_and_every_citation_has_one(bibliography):
    pages = [*ROOT.glob("chapters/**/*.ipynb"), *ROOT.glob("chapters/**/*.md"), ROOT / "data/README.md"]
    text = "\n".join(page.read_text() for page in pages)
    cited = {key.strip() for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")}
    named = set(re.findall(r"\(`([a-z-]+-\d{4}[a-z]?)`\)", text))
    assert cited | named >= set(bibliography), f"not cited: {sorted(set(bibliography) - cited - named)}"
    assert cited | named <= set(bibliography), f"no entry: {sorted((cited | named) - set(bibliography))}"
