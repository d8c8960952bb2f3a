"""The page around the text: contents, previews, what a page loads, and how it prints."""

import re

import pytest

from tests.book.browser import PHONE, offline_context, settle

CHAPTER = "chapters/03-gls.html"
# The last heading above the reading line, found in another way than the page does: from all headings, by their places.
WHERE = """() => {
    const links = [...document.querySelectorAll('#page-contents a')];
    const here = links.filter(a => a.getAttribute('aria-current'));
    const left = document.documentElement.scrollHeight - innerHeight - scrollY;
    const line = 90 + Math.max(0, 1 - left / innerHeight) * (innerHeight - 90);
    let due = null;
    for (const a of links) {
        const heading = document.getElementById(a.hash.slice(1)).querySelector('h1, h2, h3');
        if (heading.parentElement.getBoundingClientRect().top <= line) due = a.hash;
    }
    return {marked: here.map(a => a.hash), due: due ? [due] : []};
}"""
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 20))))"
JUMP = """async hash => {
    location.hash = hash;
    for (let k = 0; k < 5; k++) await new Promise(done => requestAnimationFrame(() => setTimeout(done, 20)));
    return [...document.querySelectorAll('#page-contents a[aria-current]')].map(a => a.hash);
}"""


@pytest.fixture
def chapter(browser, built):
    """A chapter in a window of its own; `opened(path, **options)` gives it, typeset."""
    contexts = []

    def opened(page=CHAPTER, **options):
        context, _ = offline_context(browser, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.goto((built / page).as_uri())
        settle(tab)
        return tab

    yield opened
    for context in contexts:
        context.close()


def test_contents_follow_the_reader(chapter):
    tab = chapter()
    tab.wait_for_timeout(200)
    height = tab.evaluate("document.documentElement.scrollHeight - innerHeight")
    for k in range(41):
        tab.evaluate(f"scrollTo({{top: {height * k / 40}, behavior: 'instant'}})")
        tab.evaluate(FRAMES)
        seen = tab.evaluate(WHERE)
        assert seen["marked"] == seen["due"], k


def test_contents_follow_a_jump(chapter):
    tab = chapter()
    hashes = tab.evaluate("[...document.querySelectorAll('#page-contents a')].map(a => a.hash)")
    assert len(hashes) > 15
    for link in [*hashes, *hashes[::-3]]:
        assert tab.evaluate(JUMP, link) == [link]


def test_contents_that_stay_are_seen(chapter):
    tab = chapter()
    tab.evaluate("document.querySelectorAll('#page-contents a').forEach(a => a.removeAttribute('aria-current'))")
    assert tab.evaluate(WHERE)["marked"] == []


REFERENCES = {
    "equation here": ("a.internal[href='#equation-gls-estimator']", "(3.3)"),
    "theorem elsewhere": ("a.internal[href*='01-motivation.html#prop-effective-size']", "Proposition 1.2"),
    "figure": ("a.internal[href*='#fig-']", "Figure"),
    "citation": ("a.internal[href*='bibliography.html#']", "Trial Group"),
    "term": ("a.internal[href*='glossary.html#term-']", "See"),
    "exercise": ("a.internal[href*='#ex-']", "Exercise"),
}
SHOWN = "() => { const box = document.getElementById('preview'); return box.hidden ? '' : box.textContent; }"


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_reference_shows_what_it_leads_to(kind, chapter):
    tab = chapter()
    selector, words = REFERENCES[kind]
    link = tab.locator(f".bd-article {selector}:visible").first
    link.scroll_into_view_if_needed()
    link.hover()
    tab.wait_for_function(f"() => ({SHOWN})().includes({words!r})", timeout=5000)
    tab.wait_for_function("() => !document.querySelector('#preview .math:not(:has(mjx-container))')", timeout=5000)
    assert tab.evaluate("[...document.querySelectorAll('#preview img')].every(e => e.complete && e.naturalWidth)")
    box = tab.locator("#preview").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1280 and box["y"] >= 0 and box["y"] + box["height"] <= 900
    assert link.get_attribute("aria-describedby") == "preview"
    tab.keyboard.press("Escape")
    assert tab.evaluate(SHOWN) == "" and link.get_attribute("aria-describedby") is None


def test_a_preview_by_keyboard_stays_while_it_is_wanted(chapter):
    tab = chapter()
    link = tab.locator(".bd-article a.internal[href*='#fig-']:visible").first
    tab.keyboard.press("Tab")
    link.evaluate("e => { e.scrollIntoView({block: 'center'}); e.focus({focusVisible: true}); }")
    tab.wait_for_function(f"() => ({SHOWN})() !== ''", timeout=5000)
    tab.keyboard.press("Tab")
    tab.wait_for_timeout(50)
    tab.keyboard.press("Escape")
    assert tab.evaluate(SHOWN) == ""


def test_on_a_phone_a_tap_shows_and_a_second_goes(chapter):
    tab = chapter(has_touch=True, is_mobile=True)
    tab.set_viewport_size(PHONE)
    link = tab.locator(".bd-article a.internal[href*='bibliography.html#']:visible").first
    link.scroll_into_view_if_needed()
    link.tap()
    tab.wait_for_function(f"() => ({SHOWN})() !== ''", timeout=5000)
    box = tab.locator("#preview").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    tab.locator("#preview button").tap()
    assert tab.evaluate(SHOWN) == "" and "03-gls" in tab.url
    link.tap()
    tab.wait_for_function(f"() => ({SHOWN})() !== ''", timeout=5000)
    tab.locator("#preview p.go a").tap()
    tab.wait_for_url("**/bibliography.html#*")


def test_a_plain_link_shows_nothing(chapter):
    tab = chapter()
    tab.locator(".bd-article a.internal[href='02-marginal-moments.html']:visible").first.hover()
    tab.wait_for_timeout(600)
    assert tab.evaluate(SHOWN) == ""


MOST_BYTES = 1_500_000  # of the largest chapter, without its figures


def heavy(seen):
    return sum(size for url, size in seen.weight.items() if "/_images/" not in url)


def test_a_page_loads_no_more_than_it_uses(page, observed):
    explorers = sum(size for url, size in observed(page).weight.items() if re.search(r"vega|explor", url))
    if page != "search.html":  # which has the places of the whole book
        assert heavy(observed(page)) - explorers <= MOST_BYTES
    unused = r"fontawesome|searchindex|searchtools|search-places|thebe|/previews/[^/]+--"
    allowed = "search-places" if page == "search.html" else "-"
    assert [url for url in observed(page).weight if re.search(unused, url) and allowed not in url] == []


def test_the_first_formula_does_not_wait_for_the_last(browser, built):
    context, _ = offline_context(browser)
    tab = context.new_page()
    tab.goto((built / CHAPTER).as_uri(), wait_until="commit")
    tab.wait_for_selector(".bd-article mjx-container", timeout=30_000)
    there = tab.locator(".bd-article .math:not(:has(mjx-container))").count()
    settle(tab)
    context.close()
    assert there > 100


def pages_of(pdf):
    """The pages of a PDF as images in grey, by the browser's own renderer of PDF: none; here from its text."""
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_prints_black_on_white(scheme, chapter):
    tab = chapter("chapters/06-small-samples-deeper.html", color_scheme=scheme)
    tab.emulate_media(media="print")
    seen = tab.evaluate(PRINTED)
    assert seen["ground"] > 245 and seen["ink"] < 60, seen
    assert seen["dim"] == [] and seen["dark grounds"] == []
    assert 0 < seen["first"] < 150, "the title stands at the top of the first page"
    assert pages_of(tab.pdf()) >= 2


def test_light_letters_on_paper_are_seen(chapter):
    tab = chapter("chapters/06-small-samples-deeper.html", color_scheme="dark")
    assert tab.evaluate(PRINTED)["dim"] != []


PRINTED = """() => {
    const light = c => {
        const [r, g, b, a] = c.match(/[\\d.]+/g).map(Number);
        return (a ?? 1) * (0.2126 * r + 0.7152 * g + 0.0722 * b) + (1 - (a ?? 1)) * 255;
    };
    const style = getComputedStyle(document.body), article = document.querySelector('.bd-article');
    const all = article.querySelectorAll('p, li, h1, h2, code, pre span, td, th, figcaption');
    const inked = [...all].filter(e => e.checkVisibility());
    return {
        ground: light(style.backgroundColor), ink: light(getComputedStyle(article.querySelector('p')).color),
        dim: inked.filter(e => light(getComputedStyle(e).color) > 140).map(e => e.textContent.slice(0, 40)).slice(0, 5),
        'dark grounds': [...article.querySelectorAll('*')].filter(e => light(getComputedStyle(e).backgroundColor) < 200)
            .map(e => `${e.tagName} ${e.className}`).slice(0, 5),
        first: article.querySelector('h1').getBoundingClientRect().bottom + scrollY,
    };
}"""
