"""The lock of the figures: chapters/figures.csv beside every figure of the book.

A figure carries its contents as text (:mod:`lmmlib.book.figure_text`), which nbval compares when a chapter is executed.
Who executes a changed chapter stores a changed text, though; and a caption may come to contradict its figure. So a line
holds checksums of what the figure shows and of what its caption and alternative text say, and differs until
somebody has looked at both and run ``make lock-figure FIGURE=...``.
"""

import argparse
import csv
import hashlib
import io
import sys
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from chapters._tools.replacing import replace_text

CHAPTERS = Path(__file__).resolve().parents[1]
LOCK = CHAPTERS / "figures.csv"
COMMAND = "make lock-{} {}={}"
IMAGES = ("image/png", "image/svg+xml")


@dataclass(frozen=True)
class Picture:
    """A figure of the book: its name, what it shows ("" where nbval ignores it), caption, alternative text."""

    name: str
    shown: str
    caption: str
    alt: str

    @property
    def line(self):
        return Line(self.name, checksum(self.shown), checksum(f"{self.caption}\n{self.alt}"))


@dataclass(frozen=True)
class Line:
    """A line of the lock."""

    name: str
    shown: str
    words: str


def checksum(text):
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:12]


def pictures(notebook):
    """The figures of a notebook. What random draws of another library show is not locked, only the words."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        settings = cell.metadata.get("mystnb", {})
        for output in cell.outputs:
            data = output.get("data", {})
            if any(image in data for image in IMAGES):
                ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
                figure = settings.get("figure", {})
                found.append(
                    Picture(
                        figure.get("name", ""),
                        "" if ignored else data.get("text/plain", ""),
                        figure.get("caption", ""),
                        settings.get("image", {}).get("alt", ""),
                    )
                )
    return found


def book(chapters=CHAPTERS):
    """All figures of the book, in its order."""
    return [one for path in sorted(chapters.glob("**/*.ipynb")) for one in pictures(nbformat.read(path, as_version=4))]


def read(path=LOCK):
    with path.open(newline="", encoding="utf-8") as file:
        return [Line(**row) for row in csv.DictReader(file)]


def write(lines, path=LOCK):
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([field.name for field in fields(Line)])
    out.writerows(astuple(line) for line in sorted(lines, key=lambda line: line.name))
    replace_text(path, text.getvalue())


def differences(found, lines, what="figure"):
    """What the lock and the book do not agree on, each as a sentence with the command that helps."""
    locked, now, problems = {line.name: line for line in lines}, {one.name: one.line for one in found}, []
    for name, line in now.items():
        old, help_ = locked.get(name), f"look at it, then run `{COMMAND.format(what, what.upper(), name)}`"
        if old is None:
            problems.append(f"{name}: a new {what} without a line in {what}s.csv: {help_}")
            continue
        if old.shown != line.shown:
            problems.append(f"{name}: shows something else than when it was locked: {help_}")
        if old.words != line.words:
            problems.append(f"{name}: its words changed: {help_}")
    gone = sorted(locked.keys() - now)
    return problems + [f"{name}: no longer in the book: {COMMAND.format(what, what.upper(), name)}" for name in gone]


def lock(name, path=LOCK, chapters=CHAPTERS, book=book):
    """Show a figure's contents and words, and renew its line; a figure that is gone loses it."""
    found = {one.name: one for one in book(chapters)}
    lines = {line.name: line for line in read(path)} if path.exists() else {}
    if name == "new":
        chosen = [other for other in [*found, *lines] if other not in lines or other not in found]
    elif name in found or name in lines:
        chosen = [name]
    else:
        print(f"The book has no {name}.", file=sys.stderr)
        return False
    for one in chosen:
        lines.pop(one, None)
        if one in found:
            picture = found[one]
            print(f"{one}\n{picture.shown}\nwords: {picture.caption}\n{picture.alt}\n")
            lines[one] = picture.line
    write(lines.values(), path)
    print("Locked. Do the words say what is shown?")
    return True


def main():
    parser = argparse.ArgumentParser(description="Renew the line of a figure in chapters/figures.csv.")
    parser.add_argument("name", help="fig-..., or new: all that have no line yet")
    sys.exit(0 if lock(parser.parse_args().name) else 1)


if __name__ == "__main__":
    main()
