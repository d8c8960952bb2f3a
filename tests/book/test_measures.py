"""A core page is at most forty screens of 1280 pixels width and 800 height while its solutions are folded."""

import math
import re

import pytest

from tests.book.conftest import PAGES
from tests.notebooks.measures import MOST

CORE = [page for page in PAGES if re.fullmatch(r"chapters/\d\d-(?!.*-deeper).*\.html", page)]


def screens(seen):
    return math.ceil(seen.height / 800)


@pytest.mark.parametrize("core", CORE)
def test_a_core_page_is_read_in_forty_screens(core, observed):
    assert screens(observed(core)) <= MOST["screens"]


def test_a_longer_page_is_seen(observed):
    assert screens(observed("chapters/genindex.html")) > 1
