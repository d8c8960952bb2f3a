"""The lock of the numbers in running text: chapters/numbers.csv beside every decimal that a sentence quotes.

A line holds a sentence (of the text, a caption or an alternative text), a decimal in it, and where that comes from: the
cell that prints it and the words in front of it there, or the reason why no cell does. The sentence must stand in the
book as it is in the line, and the cell must still print a number that rounds to the one quoted. So a wrong digit, two
numbers in each other's place, and an output that has moved on are noticed. A new or a changed sentence is bound by
``make lock-numbers PAGE=...``, which looks for each number in the outputs near by.
"""

import argparse
import csv
import io
import re
import sys
from dataclasses import astuple, dataclass, fields
from decimal import Decimal
from html import unescape
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from chapters._tools.replacing import replace_text

CHAPTERS = Path(__file__).resolve().parents[1]
LOCK = CHAPTERS / "numbers.csv"
COMMAND = "make lock-numbers PAGE={}"
DECIMAL = re.compile(r"(?<![\w.\-/§])[-−]?\d+\.\d+(?!\w|\.\d|-\d)")
TOKEN = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]\d)")
END = re.compile(r"(?<=[.!?:;])[)\"”]*\s+(?=[A-Z(\[*$`\"“]|\d)")
NOT_PROSE = (
    re.compile(r"\$\$.*?\$\$(?:\s*\([\w-]+\))?", re.S),  # equations have a lock of their own
    re.compile(r"^(`{3,}|~{3,})(?!\{).*?^\1\s*$", re.S | re.M),  # code of other programs
    re.compile(r"^:{3,}(?:\{[\w:-]+\})?|^:[\w-]+:.*$", re.M),  # fences and options of directives
    re.compile(r"`[^`\n]*`"),
    re.compile(r"\]\([^)]*\)"),
    re.compile(r"<[^>]*>"),
)


@dataclass(frozen=True)
class Quote:
    """A decimal in a sentence of a page; ``cell`` is the position of the cell that holds the sentence."""

    page: str
    cell: int
    sentence: str
    number: str


@dataclass(frozen=True)
class Line:
    """A line of the lock; ``source`` is "cell:ID words", or "reason: ..."."""

    page: str
    sentence: str
    number: str
    source: str

    @property
    def key(self):
        return self.page, self.sentence, self.number


@dataclass(frozen=True)
class Printed:
    """A number that a cell prints: the words in front of it in its line, and its value as text."""

    cell: int
    id: str
    words: str
    value: str


def plain(text):
    """Running text without equations, code and addresses, spaces as one."""
    for what in NOT_PROSE:
        text = what.sub(" ", text)
    return text


def sentences(text):
    """The sentences of a text, each in one line."""
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.)\s)", plain(text))
    return [" ".join(part.split()) for block in blocks for part in END.split(" ".join(block.split())) if part.strip()]


def quotes(page, notebook):
    """The decimals that the sentences of a notebook quote, its captions and alternative texts included."""
    found = []
    for k, cell in enumerate(notebook.cells):
        settings = cell.metadata.get("mystnb", {})
        words = [settings.get("figure", {}).get("caption", ""), settings.get("image", {}).get("alt", "")]
        for text in [cell.source] if cell.cell_type == "markdown" else words:
            for sentence in sentences(text):
                numbers = dict.fromkeys(DECIMAL.findall(sentence))
                found += [Quote(page, k, sentence, number.replace("−", "-")) for number in numbers]
    return found


def printed(notebook):
    """The numbers that the compared outputs of a notebook show."""
    found = []
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or "nbval-ignore-output" in cell.metadata.get("tags", []):
            continue
        for output in cell.outputs:
            text = output.get("text", "") or "\n".join(output.get("traceback", []))
            text = text or output.get("data", {}).get("text/plain", "")
            for line in unescape(re.sub(r"\x1b\[[0-9;]*m", "", text)).splitlines():
                for token in TOKEN.finditer(line):
                    words = " ".join(re.findall(r"[^\W\d][\w.()]*", line[: token.start()])[:4])
                    found.append(Printed(k, cell.id, words, token.group().replace("−", "-")))
    return found


def rounds_to(value, number):
    """Whether a printed value, or a hundred times it, shows the quoted digits; signs are left to words."""
    quoted = abs(Decimal(number))
    unit = Decimal(1).scaleb(quoted.as_tuple().exponent)
    for exact in (abs(Decimal(value)), 100 * abs(Decimal(value))):
        fine = exact.as_tuple().exponent <= quoted.as_tuple().exponent
        if (fine or exact == quoted) and abs(exact - quoted) <= unit / 2:
            return True
    return False


def source_of(quote, candidates):
    """The nearest cell, those before it first, that prints the number; None if there is none."""
    there = [p for p in candidates if rounds_to(p.value, quote.number)]
    best = min(there, key=lambda p: (abs(p.cell - quote.cell), p.cell > quote.cell), default=None)
    return best and f"cell:{best.id} {best.words}".strip()


def holds(line, candidates):
    """Whether the source of a line still prints its number."""
    cell, _, words = line.source.removeprefix("cell:").partition(" ")
    return any(p.id == cell and p.words == words and rounds_to(p.value, line.number) for p in candidates)


def differences(page, notebook, lines):
    """What the lock and a page do not agree on, each as a sentence with the command that helps."""
    help_ = f"look at it, then run `{COMMAND.format(page)}`"
    locked, candidates, problems = {line.key: line for line in lines if line.page == page}, printed(notebook), []
    now = dict.fromkeys((q.page, q.sentence, q.number) for q in quotes(page, notebook))
    for key in now:
        line = locked.get(key)
        if line is None:
            problems.append(f"{key[2]} in a new or changed sentence, {key[1]!r}: {help_}")
        elif line.source.startswith("reason:"):
            problems += [] if line.source[7:].strip() else [f"{line.number} in {line.sentence!r} has an empty reason"]
        elif not holds(line, candidates):
            problems.append(f"{line.number} in {line.sentence!r} is no longer what {line.source} prints: {help_}")
    return problems + [f"{key[1]!r} no longer quotes {key[2]}: {help_}" for key in locked if key not in now]


def read(path=LOCK):
    with path.open(newline="", encoding="utf-8") as file:
        return [Line(**row) for row in csv.DictReader(file)]


def write(lines, path=LOCK):
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([field.name for field in fields(Line)])
    out.writerows(astuple(line) for line in lines)
    replace_text(path, text.getvalue())


def bound(page, notebook, lines, reason=""):
    """The lines of a page as it is now, and the quotes for which no source was found."""
    old, candidates, kept, lost = {line.key: line for line in lines}, printed(notebook), {}, []
    for quote in quotes(page, notebook):
        key = (quote.page, quote.sentence, quote.number)
        line = old.get(key)
        if line is None or not (line.source.startswith("reason:") or holds(line, candidates)):
            source = source_of(quote, candidates) or (f"reason: {reason}" if reason else "")
            line = Line(*key, source)
            print(f"{quote.number:>12}  {source or 'FOUND NOWHERE'}\n              {quote.sentence}")
        if line.source:
            kept[key] = line
        else:
            lost.append(quote)
    return list(kept.values()), lost


def lock(page, reason="", path=LOCK, chapters=CHAPTERS):
    """Bind the numbers of a page; returns whether each has a source."""
    (file,) = chapters.glob(f"**/{page}.ipynb")
    lines = read(path) if path.exists() else []
    mine, lost = bound(page, nbformat.read(file, as_version=4), [line for line in lines if line.page == page], reason)
    pages = sorted({line.page for line in lines} | {page})
    others = {name: [line for line in lines if line.page == name] for name in pages} | {page: mine}
    write([line for name in pages for line in others[name]], path)
    if lost:
        print(
            f"{len(lost)} numbers are printed by no cell of {page}. Print them, or say why none does: "
            f"{COMMAND.format(page)} REASON='...'",
            file=sys.stderr,
        )
    return not lost


def main():
    parser = argparse.ArgumentParser(description="Bind the numbers in the text of a page: chapters/numbers.csv.")
    parser.add_argument("page", help="the file's name without .ipynb, such as 03-gls")
    parser.add_argument("--reason", default="", help="why no cell prints what is found nowhere")
    options = parser.parse_args()
    sys.exit(0 if lock(options.page, options.reason) else 1)


if __name__ == "__main__":
    main()
