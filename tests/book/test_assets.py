"""What a page loads is as little as it uses."""

import base64
import io
import re

import pytest
from fontTools.ttLib import TTFont

from tests.notebooks.conftest import load_tool

assets = load_tool("assets")
SHEET = """/* a { } */ @charset "x"; a{color:red} .used, .unused{b:c} .used .unused{d:e} .used:not(.unused){f:g}
@media (min-width: 9px){.unused{h:i} .used>p{j:k}} @media print{.unused{l:m}} @font-face{src:url(x)}"""


def test_a_sheet_keeps_what_is_used():
    kept = '@charset "x";a{color:red}.used{b:c}.used:not(.unused){f:g}@media (min-width: 9px){.used>p{j:k}}'
    assert assets.purged(SHEET, {"used"}) == f"{kept}@font-face{{src:url(x)}}"


def test_words_are_those_of_pages_and_scripts():
    words = assets.words_of(['<p class="one two-b">three</p>'], ["e.classList.add('four')"])
    assert {"one", "two-b", "four"} <= words and "three" not in words


def test_code_keeps_its_text_and_colours():
    html = '<pre><span class="n">x</span> <span class="o">=</span> <span class="s2">"1"</span></pre>'
    assert assets.lighten(html) == '<pre>x = <span class="s2">"1"</span></pre>'


def test_a_script_keeps_its_statements(tmp_path):
    (path := tmp_path / "a.js").write_text("// what\n\nif (a) {\n  b('http://c'); // why\n  // not\n}\n")
    assets.lighten_scripts([path])
    assert path.read_text() == "if (a) {\nb('http://c'); // why\n}\n"


@pytest.mark.parametrize("code, kept", [(0x1D6FD, True), (0x41, True), (0x1D504, False), (0x22C9, False)])
def test_the_font_has_the_letters_of_the_book(code, kept, built):
    """beta and A, but no Fraktur and no bow tie; a formula that misses a glyph is found on its page."""
    font = (built / "_static" / "mathjax" / f"{assets.FONT}.js").read_text(encoding="utf-8")
    assert (f'{code}:"' in font) == kept


def test_icons_are_in_the_sheet(built):
    """The font has every glyph that the sheet names, by its code or as a letter: those of the boxes are letters."""
    sheet = (built / "_static" / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    assert sheet.count("@font-face") == 1 and ".fa-magnifying-glass" in sheet
    data = re.search(r"data:font/woff;base64,([^)]*)", sheet)[1]
    glyphs = set(TTFont(io.BytesIO(base64.b64decode(data))).getBestCmap())
    named = {ord(letter) for letter in sheet if "\ue000" <= letter <= "\uf8ff"}
    named |= {int(code, 16) for code in re.findall(r'"\\(f[0-9a-f]{3})"', sheet)}
    assert len(named) > 20
    assert named & set(TTFont(built / "_static" / assets.ICON_FONT).getBestCmap()) <= glyphs
