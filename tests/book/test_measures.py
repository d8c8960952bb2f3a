"""A core page is at most forty screens of 1280 pixels width and 800 height while its solutions are folded."""

import math
import re

import pytest

from tests.book.browser import offline_context, settle
from tests.book.conftest import PAGES
from tests.notebooks.measures import MOST

CORE = [page for page in PAGES if re.fullmatch(r"chapters/\d\d-(?!.*-deeper).*\.html", page)]
HEIGHT = "() => document.querySelector('article').scrollHeight"


def screens(browser, built, name):
    context, _ = offline_context(browser)
    tab = context.new_page()
    tab.goto((built / name).as_uri())
    settle(tab)
    height = tab.evaluate(HEIGHT)
    context.close()
    return math.ceil(height / 800)


@pytest.mark.parametrize("core", CORE)
def test_a_core_page_is_read_in_forty_screens(core, browser, built):
    assert screens(browser, built, core) <= MOST["screens"]


def test_a_longer_page_is_seen(browser, built):
    index = "chapters/genindex.html"
    assert screens(browser, built, index) > 1
