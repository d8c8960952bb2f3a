"""The built pages, and one browser for all tests."""

import os
from pathlib import Path

import nbformat
import pytest

from tests.book.browser import FLAGS, executable, how_to_get_one, observe

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html") if "_static" not in path.parts)


def pytest_generate_tests(metafunc):
    if "page" in metafunc.fixturenames:
        # The page at the root only leads to the first page of the book.
        metafunc.parametrize("page", [page for page in PAGES if page != "index.html"])


@pytest.fixture(scope="session")
def built():
    if not (HTML / "index.html").exists():
        pytest.fail("there is no book to test: run `make book` first", pytrace=False)
    return HTML


@pytest.fixture(scope="session")
def notebooks():
    """The chapters with a number, as they are stored."""
    folder = HTML.parents[1] / "chapters"
    return {path.stem: nbformat.read(path, as_version=4) for path in sorted(folder.glob("[0-9]*.ipynb"))}


def not_checked():
    """Why the pages cannot be opened here, or None."""
    if executable() is None:
        return f"NOT CHECKED: the pages in a browser; there is no Chromium or Chrome here ({how_to_get_one()})"
    return None


def pytest_collection_modifyitems(config, items):
    """Without a browser leave its tests out, and say so in one line; with REQUIRE_BROWSER=1 fail."""
    without = [item for item in items if "browser" in item.fixturenames]
    if not without or not_checked() is None:
        return
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.exit(not_checked(), returncode=1)
    config.hook.pytest_deselected(items=without)
    items[:] = [item for item in items if item not in without]


def pytest_terminal_summary(terminalreporter):
    if terminalreporter.stats.get("deselected") and not_checked():
        terminalreporter.write_line(not_checked(), yellow=True, bold=True)


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def observed(browser, built):
    """What each page did, opened once."""
    seen = {}

    def of(page):
        if page not in seen:
            seen[page] = observe(browser, built / page)
        return seen[page]

    return of
