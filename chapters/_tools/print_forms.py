"""How tables and figures of stored outputs look on the page; the outputs themselves stay what nbval compares.

Tables and ticks of ``report``: names of symbols become symbols in headings, hyphens before digits minus signs, and the
numbers of a column stand with their decimal points below each other. Figures are shown at one scale, so that their
letters have one size; in captions, words for the ink change with the page, which turns black into white in the dark
(book.css).
"""

import re
import struct
from html import unescape
from pathlib import Path
from unicodedata import lookup

GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "eta",
    "theta",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "rho",
    "sigma",
    "tau",
    "phi",
    "omega",
]
# sigma2, sigma_sq, tau^2, beta0, beta_0, beta[1], theta 2, log_tau; not lambda.max, which is a name of R.
SYMBOL = re.compile(
    rf"(?<![\w.&-])(log_|log10_|sd_|se_)?({'|'.join(GREEK)})(2|_sq|\^2|²)?"
    r"(?:_?(\d)|\[(\d)\]| (\d)(?!\d| ?%))?(?![\w.\[=(-])"
)
SQUARES = {"sigma", "tau", "rho"}
MINUS = re.compile(r"(?<![\w.)\]–-])-(?=\.?\d)")
NUMBER = re.compile(r"[\u2212+]?\d*(?:\.(\d*))?$")
TABLE = re.compile(r'<table class="lmm-table">.*?</table>', re.S)
CELL = re.compile(r"<(t[hd])([^>]*)>(.*?)</\1>", re.S)
TICK = re.compile(r'(<details class="check"><summary>.*?</span>)([^<]*)')
EMPTY = re.compile(r"<th\b[^>]*>(?:<p></p>)?\s*</th>")
INK = {"black": "white", "white": "black", "dark": "light", "darker": "lighter"}
DPI = 130  # of a figure that does not say its own


def symbols(text):
    """Names of parameters as symbols: "sigma2" is σ², "beta_0" β₀, "log_tau" log τ."""

    def symbol(match):
        before, name, square, *index = match.groups()
        index = next((i for i in index if i), "")
        if square == "2" and name not in SQUARES:
            square, index = "", "2"
        letter = lookup(f"GREEK SMALL LETTER {name.replace('lambda', 'lamda').upper()}")
        lower = "".join(chr(0x2080 + int(i)) for i in index)
        return (before or "").replace("_", " ") + letter + lower + ("²" if square else "")

    return SYMBOL.sub(symbol, text)


def aligned(column):
    """The numbers of a column with spaces as wide as digits where others have more decimals."""
    numbers = [NUMBER.match(text) for text in column]
    places = [len(match[1]) if match and match[1] is not None else 0 for match in numbers]
    points = [bool(match and match[1] is not None) for match in numbers]
    most = max(places, default=0)
    if not most:
        return column
    return [
        text + ("" if point else "\u2008") + "\u2007" * (most - k) if text and match else text
        for text, match, k, point in zip(column, numbers, places, points, strict=True)
    ]


def table(html):
    """A table of ``report`` as the page shows it."""
    head, body = html.split("</thead>")
    head = re.sub(r"(<(?:th|caption)\b[^>]*>)([^<]*)", lambda m: m[1] + symbols(MINUS.sub("\u2212", m[2])), head)
    rows = [CELL.findall(row) for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)]
    columns = []
    for column in zip(*rows, strict=False):
        texts = [MINUS.sub("\u2212", text) if "num" in kind or tag == "td" else text for tag, kind, text in column]
        texts = aligned(texts) if "num" in column[0][1] else texts
        columns.append(
            [
                symbols(t) if tag == "th" and "num" not in kind else t
                for (tag, kind, _), t in zip(column, texts, strict=True)
            ]
        )
    lines = [
        "<tr>"
        + "".join(f"<{tag}{kind}>{text}</{tag}>" for (tag, kind, _), text in zip(row, texts, strict=True))
        + "</tr>"
        for row, texts in zip(rows, zip(*columns, strict=True), strict=True)
    ]
    return f"{head}</thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table>"


def tables(html):
    return TABLE.sub(lambda match: table(match[0]), html)


def inches(path):
    """How wide a PNG was drawn."""
    data = path.read_bytes()
    width, at = struct.unpack(">I", data[16:20])[0], data.find(b"pHYs")
    dots = struct.unpack(">I", data[at + 4 : at + 8])[0] * 0.0254 if at > 0 else DPI
    return width / dots


def figures(html, folder):
    """Figures with their width in inches, of which book.css makes one size of letters."""

    def one(match):
        path = folder / unescape(match[2])
        return (
            match[0].replace("<img ", f'<img style="--inches: {inches(path):.2f}" ', 1) if path.exists() else match[0]
        )

    html = re.sub(r' style="width: [\d.]+px;?(?: height: [\d.]+px;?)?"', "", html)
    return re.sub(r'<img (?!style)([^>]*)src="([^"]*_images/[^"]*\.png)"', one, html)


def inks(html):
    """Words for the ink in captions of figures, with the word for the other page."""

    def caption(match):
        return (
            match[0]
            if 'class="ink"' in match[0]
            else re.sub(
                rf"\b({'|'.join(INK)})\b(?![^<]*>)",
                lambda word: f'<span class="ink" data-dark="{INK[word[1]]}">{word[1]}</span>',
                match[0],
            )
        )

    return re.sub(r"<figcaption>.*?</figcaption>", caption, html, flags=re.S)


def formed(html, path):
    """The page at a path with its tables and figures in their printed forms; a heading without words is none."""
    html = EMPTY.sub("<td></td>", tables(html))
    html = TICK.sub(lambda tick: tick[1] + symbols(tick[2]), html)
    return inks(figures(html, Path(path).parent))
