"""The search finds places: a section with a link to it, its prose, and first what a reader wants."""

import re

import pytest

from tests.book.browser import offline_context

# query: links of which one must be the first hit
FIRST = {
    "REML": ("05-reml.html", "glossary.html#term-restricted-maximum-likelihood"),
    "ICC": ("glossary.html#term-intraclass-correlation", "questions.html#what-is-the-icc"),
    "BLUP": ("07-blups.html", "glossary.html#term-best-linear-unbiased-prediction"),
    "LRT": ("glossary.html#term-likelihood-ratio-test",),
    "GLMM": ("glossary.html#term-generalised-linear-mixed-model",),
    "EBLUP": ("07-blups.html", "glossary.html#term-best-linear-unbiased-prediction"),
    "PEV": ("glossary.html#term-prediction-error-variance",),
    "AIC": ("glossary.html#term-Akaike", "questions.html#aic"),
    "MMRM": ("questions.html#repeated-measures", "05-reml.html#equal-at-the-start", "reference/residual.html"),
    "how to install": ("how-to-use.html#running-a-chapter",),
    "convergence warning": ("questions.html#a-convergencewarning",),
    "hausman test": ("questions.html#econometric-fixed-effects",),
    "nested groups": ("questions.html#",),
    "p-value": ("questions.html#why-are-there-no-p-values",),
    "R squared": ("questions.html#what-is-the-r-squared",),
    "singular matrix": ("questions.html#why-does-the-fit-stop",),
    "sample size": ("questions.html#how-many-groups", "06-small-samples.html#power-and-sample-size"),
    "Neyman": ("01-motivation.html#the-neyman-scott-problem", "glossary.html#term-Neyman"),
    "Kenward-Roger": ("questions.html#satterthwaite-or", "glossary.html#term-Kenward", "06-small-samples"),
    "redraw_D": ("reference/", "09-gibbs"),
}
HITS = """() => [...document.querySelectorAll('ol.search li')].map(e => ({
    link: e.querySelector('a').getAttribute('href'), title: e.querySelector('a').textContent,
    excerpt: e.querySelector('p').textContent}))"""


@pytest.fixture(scope="module")
def search(browser, built):
    """The hits of a query; the page is opened once, and asked again and again."""
    context, tried = offline_context(browser)
    tab, errors = context.new_page(), []
    tab.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: errors.append(str(e)))

    def hits(query):
        tab.goto((built / "search.html").as_uri() + "?q=" + query.replace(" ", "+"))
        tab.wait_for_function("() => document.querySelector('#search-results [role=status]')?.textContent")
        assert errors == [] and tried == []
        return tab.evaluate(HITS)

    yield hits
    context.close()


@pytest.mark.parametrize("query", FIRST)
def test_the_first_hit_is_what_a_reader_wants(query, search):
    first = search(query)[0]["link"]
    assert any(first.startswith(f"chapters/{link}") for link in FIRST[query]), first


def test_hits_are_places_and_excerpts_are_prose(search, built):
    hits = [hit for query in ("REML", "variance", "likelihood", "children") for hit in search(query)]
    assert len(hits) > 80
    assert sum("#" in hit["link"] for hit in hits) > len(hits) / 2
    for hit in hits:
        page, _, anchor = hit["link"].partition("#")
        text = (built / page).read_text(encoding="utf-8")
        assert not anchor or f'id="{anchor}"' in text, hit["link"]
        assert not re.search(r"\\[a-z]{2,}|\$|^import |\bnp\.|\{\w+\}`", hit["excerpt"]), hit["excerpt"]
        assert hit["excerpt"].strip(), hit["link"]


def test_what_is_nowhere_is_not_found(search):
    assert search("xylophone quark") == []


def test_an_empty_search_says_what_to_do(search):
    assert search("") == []
