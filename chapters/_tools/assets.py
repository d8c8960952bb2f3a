"""What a page loads besides its own text: as little as it uses, and nothing from elsewhere.

- MathJax comes in parts from its wheel, and its font with the glyphs that the book needs.
- The theme's icons are a font of a few glyphs inside a style sheet, not two megabytes of script and font.
- Style sheets lose the rules for classes that no page and no script names.
- Names, numbers, operators and punctuation in code have the colour of their surroundings, and no element of their own.
- Scripts lose the lines that are comments, and their indentation.
"""

import base64
import io
import re
import shutil
from importlib.metadata import files
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

WHEEL = "sphinx-mathjax-offline/static/mathjax"
# What `loader.load` of _config.yml names, what these load by themselves, and the folder of TeX's rarer packages.
PARTS = ("startup", "core", "input/tex", "output/svg", "a11y/assistive-mml", "input/tex/extensions/*")
FONT = "output/svg/fonts/tex"
# Of the font: code points of its variants. A test finds a formula that misses a glyph.
LETTERS = {*range(0x1D400, 0x1D41A), *range(0x1D434, 0x1D468), *range(0x1D6FC, 0x1D71C), 0x1D432, 0x1D7CF}
MONOSPACE = {0x1D670 + ord(letter) - ord("A") - 6 * (letter > "Z") for letter in "Vcf"}
OPERATORS = "∀∂∃∅∇∈∉∏∑−∗∘√∝∞∣∥∧∨∩∪∫∼≈≅≈≠≡≤≥≪≫≺≻⊂⊆⊕⊗⊤⊥⋅⋮⋯⋱⌈⌉⌊⌋□◻⪯⪰←→↑↓↔↦⇐⇒⇔⟨⟩⟵⟶⟹⟺ℎℓℙℝ𝔼"
SYMBOLS = {*range(0x20, 0x7F), 0xA0, *map(ord, " ¨¯±×÷˙ΓΔΘΛΞΠΣΦΨΩ…‖′⁡"), 0x2C6, 0x2DC, 0x2061, *map(ord, OPERATORS)}
LARGE = {*map(ord, "()/[]{}ˆ˜∏∑√∫⋂⋃⌈⌉⌊⌋⟨⟩"), 0x302, 0x303}
KEPT = {"normal": SYMBOLS | LETTERS | MONOSPACE, "texCalligraphic": {*map(ord, "BCNSV")}, "texVariant": {0x2032}}
KEPT |= {"largeop": LARGE, "smallop": LARGE, "texSize3": LARGE}
KEPT["texSize4"] = LARGE | {*range(0x239B, 0x23AF), 0x2223, 0xE000, 0xE001, *range(0xE150, 0xE155)}
GLYPHS = re.compile(r"(\.AddPaths\)\(\w+\.(\w+),\{)(.*?)(\}[,)])", re.S)

NOT_LOADED = re.compile(
    r'\s*<script[^>]*src="[^"]*(?:fontawesome|searchtools|language_data|searchindex|design-tabs)\.js[^"]*"></script>'
)
# The theme marks the section that is read by this name, and loses its place; contents.js does it under another.
CONTENTS = ('id="pst-page-toc-nav"', 'id="page-contents"')
SIDEBAR = '<div id="pst-primary-sidebar" class='
PLAIN = re.compile(r'<span class="(?:n|o|p|w|nb|nf|nn|nx|mi|mf|sa|si)">([^<]*)</span>')
FORMULA = 'class="math notranslate nohighlight"'
SHEETS = ("styles/*theme.css", "sphinx-design.min.css", "mystnb.*.css", "basic.css", "pygments.css", "proof.css")
ICON_FONT = "vendor/fontawesome/webfonts/fa-solid-900.ttf"
FACE = re.compile(r"@font-face\{[^}]*Awesome[^}]*\}")


def keep_glyphs(font):
    """MathJax's font, a script, without the outlines of glyphs that the book does not use."""

    def kept(call):
        start, variant, glyphs, end = call.groups()
        outlines = re.findall(r'(\d+):("[^"]*")', glyphs)
        return start + ",".join(f"{code}:{path}" for code, path in outlines if int(code) in KEPT.get(variant, ())) + end

    return GLYPHS.sub(kept, font)


def copy_mathjax(static):
    """The parts of MathJax that a page may load, into the folder that ``mathjax_path`` names."""
    wheel = Path(next(file for file in files("sphinx-mathjax-offline") if file.match(f"{WHEEL}/startup.js")).locate())
    for part in PARTS:
        for source in wheel.parent.glob(f"{part}.js"):
            target = static / "mathjax" / source.relative_to(wheel.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    target = static / "mathjax" / f"{FONT}.js"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(keep_glyphs((wheel.parent / f"{FONT}.js").read_text(encoding="utf-8")), encoding="utf-8")


def rules(sheet):
    """The rules of a style sheet in order, (what stands before the brace, what between the braces or None)."""
    sheet = re.sub(r"/\*.*?\*/", "", sheet, flags=re.S)
    at = 0
    while match := re.compile(r"[^{};]*([{;])").match(sheet, at):
        head, at = match[0][:-1].strip(), match.end()
        if match[1] == ";":
            yield head + ";", None
            continue
        depth, start = 1, at
        while depth:
            brace = re.compile(r"[{}]").search(sheet, at)
            depth, at = depth + (1 if brace[0] == "{" else -1), brace.end()
        yield head, sheet[start : at - 1]


def selectors(head):
    """The selectors that commas separate, but not those inside brackets."""
    return re.findall(r"(?:[^,()]|\((?:[^()]|\([^()]*\))*\))+", head)


def used(selector, words):
    """Whether every class that a selector demands is a word of the pages; what stands in brackets does not count."""
    outside = re.sub(r"\((?:[^()]|\([^()]*\))*\)", "", selector)
    return all(name in words for name in re.findall(r"\.(-?[A-Za-z_][\w-]*)", outside))


def purged(sheet, words):
    """A style sheet without the rules for classes that are not among the words."""
    out = []
    for head, body in rules(sheet):
        if body is None:
            out.append(head)
        elif head.startswith(("@media", "@supports")):
            inner = purged(body, words)
            out += [f"{head}{{{inner}}}"] if inner else []
        elif head.startswith("@"):
            out.append(f"{head}{{{body}}}")
        elif kept := [selector.strip() for selector in selectors(head) if used(selector, words)]:
            out.append(f"{','.join(kept)}{{{body}}}")
    return "".join(out)


def icon_font(path, sheets):
    """A font with the glyphs that the sheets name, as the source of a ``@font-face``."""
    font = TTFont(path)
    subsetter = Subsetter(Options(flavor="woff", layout_features=[], notdef_outline=True))
    # A sheet names a glyph by its code, or has the letter itself.
    codes = {int(code, 16) for code in re.findall(r'"\\(f[0-9a-f]{3})"', sheets)} | set(map(ord, sheets))
    subsetter.populate(unicodes=sorted(code for code in codes if 0xE000 <= code <= 0xF8FF))
    subsetter.subset(font)
    font.flavor = "woff"
    font.save(data := io.BytesIO())
    return f'url(data:font/woff;base64,{base64.b64encode(data.getvalue()).decode()}) format("woff")'


def lighten_sheets(static, words):
    """Purge the large style sheets and put the icons that are left into the theme's."""
    paths = [path for name in SHEETS for path in static.glob(name)]
    texts = {path: purged(path.read_text(encoding="utf-8"), words) for path in paths}
    others = [path for path in static.rglob("*.css") if path not in texts]
    everything = "".join([*texts.values(), *(path.read_text(encoding="utf-8") for path in others)])
    source = icon_font(static / ICON_FONT, everything)
    for path, text in texts.items():
        text = FACE.sub("", text)
        if path.name.startswith("pydata"):
            face = "@font-face{font-family:'Font Awesome 6 Free';font-style:normal;font-weight:900;src:" + source + "}"
            text = face + text
        path.write_text(text, encoding="utf-8")


def lighten_scripts(paths):
    """Scripts without lines that are comments, and without indentation."""
    for path in paths:
        path.write_text(
            re.sub(r"(?m)^[ \t]*(?://.*)?\n|^[ \t]+", "", path.read_text(encoding="utf-8")), encoding="utf-8"
        )


def words_of(texts, scripts):
    """Every word that may be a class: of the attributes of the pages, and all of the scripts."""
    words = set()
    for text in texts:
        for names in set(re.findall(r'class="([^"]*)"', text)):
            words.update(names.split())
    for text in scripts:
        words.update(re.findall(r"[A-Za-z_][\w-]*", text))
    return words


def lighten(html):
    """A page without what it does not use; its sidebar is a landmark, and its contents are ours."""
    html = PLAIN.sub(r"\1", NOT_LOADED.sub("", html)).replace(*CONTENTS).replace(FORMULA, 'class="math"')
    html = html.replace('role="doc-biblioentry"', 'role="listitem"')  # which is deprecated
    return html.replace(SIDEBAR, f'{SIDEBAR.removesuffix(" class=")} role="complementary" aria-label="Book" class=')
