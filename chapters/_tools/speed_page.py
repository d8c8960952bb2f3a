"""The directive ``{speed}``: the last table of benchmarks/packages.py, and the machine it was measured on."""

import json
from pathlib import Path

from docutils import nodes
from ledger_page import make_table
from sphinx.util.docutils import SphinxDirective

STORED = Path(__file__).resolve().parents[2] / "benchmarks" / "last.json"
HEAD = ("program", "processor time", "lmmlib's over it", "criterion above lmmlib's")


def time(seconds):
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def line(row):
    above = "" if row["above"] is None else f"{row['above']:.1e}"
    ours = row["program"].startswith("lmmlib ")
    return (row["program"], time(row["median"]), *(("", "") if ours else (f"{row['share']:.2g}", above)))


def tables(stored):
    """For each fit its name and a table, the fastest program first; then the machine."""
    found = []
    for fit in dict.fromkeys(row["fit"] for row in stored["rows"]):
        rows = sorted((row for row in stored["rows"] if row["fit"] == fit), key=lambda row: row["median"])
        cells = [[nodes.paragraph(text=text) for text in line(row)] for row in rows]
        found += [nodes.rubric(text=fit), make_table(HEAD, cells, classes=["speed"])]
    about = f"Measured on {stored['day']}: {stored['machine']}; {stored['lme4'] or 'without lme4'}."
    return [*found, nodes.paragraph(text=about)]


class Speed(SphinxDirective):
    def run(self):
        self.env.note_dependency(str(STORED))
        return tables(json.loads(STORED.read_text(encoding="utf-8")))


def setup(app):
    app.add_directive("speed", Speed)
