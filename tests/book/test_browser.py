"""Every page, in a browser, from the disk, with the network blocked."""

import re

import pytest

from tests.book.browser import COLOURS, observe, offline_context, settle

RAW = {
    "display formula": r"\$\$|\\\[|\\begin\{",
    "inline formula": r"\\\(|\$[^$\n]{1,60}\$",
    "command of a formula": r"\\[A-Za-z]{2,}",
    "role": r"\{(?:eq|ref|numref|cite(?::\w+)?|prf:ref|doc|func|math|term)\}`",
    "directive": r"^\s*(?:`{3,}|:{3,})\{",
    "unresolved reference": r"\?\?|\[\?\]",
}


def test_no_request_leaves(page, observed):
    assert observed(page).requests == []


def test_no_console_error(page, observed):
    assert observed(page).errors == []


def test_every_formula_is_typeset(page, observed):
    assert observed(page).untypeset == []


@pytest.mark.parametrize("kind", RAW)
def test_no_markup_is_left_in_the_text(page, kind, observed):
    assert re.findall(RAW[kind], observed(page).prose, re.M) == []


def test_every_image_is_described_and_loads(page, observed):
    images = observed(page).images
    assert [image["src"] for image in images if not image["loaded"]] == []
    # The pictures of the cards repeat what their titles say.
    assert [image["src"] for image in images if not image["alt"] and "/thumbnails/" not in image["src"]] == []


def test_a_formula_in_a_line_is_no_wider_than_that(page, observed):
    assert observed(page).too_wide == []


def test_a_full_stop_stays_with_its_formula(page, observed):
    assert observed(page).parted == []


def test_fits_a_phone(page, observed):
    assert observed(page).sticking_out == []


def test_chapters_have_formulas_and_figures(observed, built):
    pages = sorted(path.relative_to(built).as_posix() for path in built.glob("chapters/[01][0-9]-*.html"))
    chapters = [page for page in pages if not page.endswith("-deeper.html")]
    assert len(chapters) >= 3
    for chapter in chapters:
        assert observed(chapter).formulas > 50, chapter
        # two, not more: the shortest core page (small samples, 22 screens) needs no third; figures.csv locks each
        assert len(observed(chapter).images) >= 2, chapter


def test_dark_mode_follows_the_system(browser, built):
    for scheme in ("light", "dark"):
        context, _ = offline_context(browser, color_scheme=scheme)
        page = context.new_page()
        page.goto((built / "chapters/01-motivation.html").as_uri())
        seen = page.evaluate(COLOURS)
        context.close()
        assert seen["theme"] == scheme
        assert (seen["ground"] < seen["ink"]) == (scheme == "dark")
        assert abs(seen["ground"] - seen["ink"]) > 120


def test_dark_mode_has_a_button(browser, built):
    context, _ = offline_context(browser, color_scheme="light")
    page = context.new_page()
    page.goto((built / "chapters/01-motivation.html").as_uri())
    themes = []
    for _ in range(3):
        page.locator("button.theme-switch-button:visible").first.click()
        themes.append(page.evaluate(COLOURS)["theme"])
    context.close()
    assert set(themes) == {"light", "dark"}


def test_solutions_open(browser, built):
    context, _ = offline_context(browser)
    page = context.new_page()
    page.goto((built / "chapters/01-motivation.html").as_uri())
    settle(page)
    solution = page.locator("div.solution").first
    content = solution.locator("xpath=./*[2]")
    assert not content.is_visible() or solution.bounding_box()["height"] < 80
    solution.locator("button, summary, .toggle-button").first.click()
    page.wait_for_timeout(400)
    assert content.is_visible() and solution.bounding_box()["height"] > 80
    context.close()


BROKEN = """<!doctype html><html><body><main class="bd-article">
<p>A formula that nobody typeset: $$x^2$$ and \\(y\\), and a role {eq}`gls` and a \\tau.</p>
<span class="math">\\(x\\)</span>
<img src="missing.png"><script src="https://example.org/x.js"></script>
<script>console.error("broken")</script>
<p style="width: 50px"><mjx-container><svg width="90" height="9"></svg></mjx-container>, and so on</p>
<table style="width: 900px"><tr><td>wide</td></tr></table>
</main></body></html>"""


def test_a_broken_page_is_found(browser, tmp_path):
    page = tmp_path / "broken.html"
    page.write_text(BROKEN, encoding="utf-8")
    seen = observe(browser, page)
    assert seen.requests == ["https://example.org/x.js"]
    assert "broken" in seen.errors
    assert any("missing.png" in error for error in seen.errors)
    assert len(seen.untypeset) == 1
    assert seen.images == [{"src": "missing.png", "alt": "", "loaded": False}]
    assert seen.too_wide == seen.parted == [", and so on"]
    assert seen.sticking_out[0] == "the page itself" and any(s.startswith("table") for s in seen.sticking_out)
    assert [kind for kind, pattern in RAW.items() if re.search(pattern, seen.prose, re.M)] == [
        "display formula",
        "inline formula",
        "command of a formula",
        "role",
    ]
