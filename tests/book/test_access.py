"""Nothing on a page keeps a reader out: what axe-core finds, formulas for those who listen, frames for the keyboard."""

from tests.book.browser import observe


def test_axe_finds_nothing(page, observed):
    assert observed(page).violations == []


def test_every_formula_can_be_said(page, observed):
    assert observed(page).silent == []


def test_no_formula_misses_a_glyph(page, observed):
    assert observed(page).no_glyph == []


def test_what_scrolls_is_reached_by_the_keyboard(page, observed):
    assert observed(page).out_of_reach == []


BROKEN = """<!doctype html><html lang="en"><head><title>T</title></head><body><main class="bd-article"><h1>T</h1>
<p style="color: #aaa; background: #fff">A pale line.</p><p>Another.</p><p>Another.</p>
<a href="#x"></a><h3>After the first comes the third</h3>
<div style="width: 60px; overflow-x: auto"><p style="width: 900px">far</p></div>
<mjx-container><svg><path id="MJX-1-TEX-N-3F" d=""></path><use xlink:href="#MJX-1-TEX-N-3F"></use></svg></mjx-container>
</main></body></html>"""


def test_a_page_that_keeps_readers_out_is_found(browser, tmp_path):
    page = tmp_path / "broken.html"
    page.write_text(BROKEN, encoding="utf-8")
    seen = observe(browser, page)
    rules = {what.split(": ")[1].split(" ")[0] for what in seen.violations}
    assert {"color-contrast", "link-name", "heading-order"} <= rules
    assert len(seen.silent) == 1 and len(seen.out_of_reach) == 1
    assert seen.no_glyph == ["#MJX-1-TEX-N-3F"]


def test_what_is_taken_out_has_its_like(browser, tmp_path):
    """Of a hundred paragraphs of one kind axe sees one, and the pale one among them it sees too."""
    page = tmp_path / "many.html"
    lines = "<p>Dark.</p>" * 100 + '<p class="pale">Pale.</p>' + "<p>Dark.</p>" * 100
    text = '<!doctype html><html lang="en"><head><title>T</title><style>.pale { color: #bbb }</style></head>'
    page.write_text(f'{text}<body><main class="bd-article"><h1>T</h1>{lines}</main></body></html>', encoding="utf-8")
    found = observe(browser, page).violations
    assert len(found) == 4 and all("color-contrast" in what and ".pale" in what for what in found)
