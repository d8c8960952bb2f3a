"""Open a page of the built book in a browser without a network, and note what a reader would meet."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.book import access

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

# Formulas that are not typeset, or that MathJax could not read.
UNTYPESET = """() => [...document.querySelectorAll('.math')]
    .filter(e => !e.querySelector('mjx-container') || e.querySelector('[data-mml-node="merror"], mjx-merror'))
    .map(e => e.textContent.slice(0, 80))"""
# The text of the page without code and without what MathJax has drawn.
PROSE = """() => {
    const page = (document.querySelector('.bd-article') || document.body).cloneNode(true);
    page.querySelectorAll('pre, code, script, style, mjx-container').forEach(e => e.remove());
    return page.textContent;
}"""
IMAGES = """() => [...document.images].map(e => ({
    src: e.getAttribute('src').slice(-60), alt: (e.getAttribute('alt') || '').trim(), loaded: e.naturalWidth > 0}))"""
# What sticks out of the window and cannot be reached by scrolling inside a frame of its own.
STICKING_OUT = """() => {
    const reachable = e => {
        for (let p = e; p && p !== document.body; p = p.parentElement)
            if (['auto', 'scroll'].includes(getComputedStyle(p).overflowX)) return true;
        return false;
    };
    const wide = document.documentElement.scrollWidth > window.innerWidth + 1 ? ['the page itself'] : [];
    const main = document.querySelector('.bd-article') || document.body;
    const seen = [...main.querySelectorAll('p, table, img, pre, code, mjx-container')].filter(e =>
        e.checkVisibility() && e.getBoundingClientRect().right > window.innerWidth + 1 && !reachable(e));
    return wide.concat(seen.map(e => e.tagName.toLowerCase() + ': ' + e.textContent.trim().slice(0, 60)));
}"""
# Formulas in a line that are wider than it, and marks that stand at the start of a line, parted from their formula.
UNFOLD = "() => document.querySelectorAll('.bd-article details').forEach(e => { e.open = true; })"
TOO_WIDE = """() => [...document.querySelectorAll('.bd-article mjx-container:not([display])')].filter(e => {
    const line = e.parentElement.closest('p, li, dd, td, th, figcaption, caption, div');
    const drawn = e.querySelector('svg');
    return drawn && line && drawn.getBoundingClientRect().right > line.getBoundingClientRect().right + 1;
}).map(e => e.closest('p, li, dd, td, th, div').textContent.slice(0, 80))"""
PARTED = """() => [...document.querySelectorAll('.bd-article mjx-container:not([display])')].filter(e => {
    let next = e.nextSibling || e.parentElement.nextSibling;
    if (!next || next.nodeType !== Node.TEXT_NODE || !/^[.,;:!?)]/.test(next.textContent)) return false;
    const mark = document.createRange();
    mark.setStart(next, 0);
    mark.setEnd(next, 1);
    const at = mark.getBoundingClientRect(), formula = e.getBoundingClientRect();
    return at.width > 0 && formula.width > 0 && at.left < formula.right - 2;
}).map(e => e.closest('p, li, dd, td, th, div').textContent.slice(0, 80))"""
# Glyphs that a formula lacks: outlines that were taken out of MathJax's font, and letters of another font.
NO_GLYPH = """() => [...document.querySelectorAll('mjx-container svg')].flatMap(e =>
    [...e.querySelectorAll('path:not([d]), path[d=""], text, use')].filter(part => {
        if (part.tagName === 'use') {
            const glyph = document.getElementById((part.getAttribute('xlink:href') || '').slice(1));
            return !glyph || (!glyph.getAttribute('d') && !/-(?:20|A0|206[0-4]|200[0-9A-F])$/.test(glyph.id));
        }
        return part.tagName === 'text' && part.textContent.trim();
    }).map(part => part.id || part.getAttribute('xlink:href') || part.textContent))"""
HEIGHT = "() => (document.querySelector('article') || document.body).scrollHeight"
COLOURS = """() => {
    const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number); return 0.2126*r + 0.7152*g + 0.0722*b; };
    const style = getComputedStyle(document.body);
    const theme = document.documentElement.dataset.theme;
    return {theme, ground: light(style.backgroundColor), ink: light(style.color)};
}"""


@dataclass
class Observation:
    """What one page did: see :func:`observe`."""

    requests: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    untypeset: list = field(default_factory=list)
    formulas: int = 0
    prose: str = ""
    images: list = field(default_factory=list)
    too_wide: list = field(default_factory=list)
    parted: list = field(default_factory=list)
    sticking_out: list = field(default_factory=list)
    no_glyph: list = field(default_factory=list)
    silent: list = field(default_factory=list)
    out_of_reach: list = field(default_factory=list)
    violations: list = field(default_factory=list)
    height: int = 0
    weight: dict = field(default_factory=dict)


def executable():
    """The path of an installed browser of Chromium's family, or None."""
    named = os.environ.get("BROWSER_PATH")
    found = [named] if named else [shutil.which(name) for name in NAMES] + [p for p in PLACES if Path(p).exists()]
    return next((path for path in found if path), None)


def how_to_get_one():
    command = {"darwin": "brew install --cask google-chrome", "win32": "install Google Chrome"}
    return command.get(sys.platform, "apt install chromium")


def offline_context(browser, **options):
    """A browser window that cannot reach a network, and the list of what it tried to fetch."""
    context = browser.new_context(viewport=DESK, **options)
    tried = []

    def route(request_route):
        url = request_route.request.url
        if url.startswith(("file:", "data:", "blob:")):
            request_route.continue_()
        else:
            tried.append(url)
            request_route.abort()

    context.route("**/*", route)
    return context, tried


def settle(page):
    """Wait until MathJax, if the page has it, has typeset everything."""
    page.wait_for_load_state("load")
    page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")


def size(url):
    """The size of a file that a page has loaded."""
    path = Path(unquote(urlsplit(url).path))
    return path.stat().st_size if url.startswith("file:") and path.is_file() else 0


def observe(browser, path):
    """Open the page at `path` on a desk and on a phone; return what was seen."""
    context, tried = offline_context(browser)
    page = context.new_page()
    seen = Observation(requests=tried)
    page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: seen.errors.append(str(e)))
    page.on("requestfailed", lambda r: seen.errors.append(f"could not load {r.url}"))
    page.on("request", lambda r: seen.weight.setdefault(r.url, size(r.url)))
    page.goto(Path(path).as_uri())
    settle(page)
    seen.height = page.evaluate(HEIGHT)
    seen.no_glyph = page.evaluate(NO_GLYPH)
    seen.silent = page.evaluate(access.SILENT)
    seen.untypeset = page.evaluate(UNTYPESET)
    seen.formulas = page.locator("mjx-container").count()
    seen.prose = page.evaluate(PROSE)
    seen.images = page.evaluate(IMAGES)
    page.evaluate(UNFOLD)
    page.wait_for_timeout(50)
    seen.too_wide = page.evaluate(TOO_WIDE)
    seen.parted = page.evaluate(PARTED)
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(150)
    seen.sticking_out = page.evaluate(STICKING_OUT)
    seen.out_of_reach = page.evaluate(access.OUT_OF_REACH)
    seen.violations = access.violations(page, {"desk": DESK, "phone": PHONE})
    context.close()
    return seen
