"""The directive ``{checked}``: tables of the last run of all checks, from chapters/checked.json (checked.py).

``{checked} run`` says when and what, or that no run is stored; then the other parts say nothing. ``{checked} fault
KIND`` names a planted fault of that kind, and the test that noticed it.
"""

import json

from checked import STORED
from docutils import nodes
from ledger_page import make_table
from sphinx.util.docutils import SphinxDirective

NO_RUN = "No run is stored."
FOLDERS = {
    "book": "the built pages, in a browser without a network",
    "equations": "the twins: both sides of a formula, at random inputs",
    "notebooks": "the rules of the notebooks, and the locks of what they say",
    "oracle": "answers of other programs, and optima in many digits",
    "problems": "the solutions of the problems",
    "project": "the repository: its rooms, names, data, commands and archives",
    "property": "what must hold for any data, at random inputs",
    "statistical": "simulations: whether samplers draw from what they should",
    "unit": "each module by itself",
    "validate": "the checks themselves, by planted faults",
}
COUNTS = {
    "notebooks": "notebooks",
    "cells": "cells of code executed again",
    "cells not compared": "of them executed and not compared",
    "pictures": "figures compared by their pixels",
    "figures": "figures locked with their caption",
    "tables": "tables locked with their caption",
    "formulas": "formulas, theorems and definitions locked",
    "formulas with a twin": "of them with a twin that computes them",
    "decimals": "decimals in the text bound to an output",
    "printed": "numbers of the sources reproduced",
    "answers": "answers of problems recomputed",
}


def table(head, rows):
    return make_table(head, [[nodes.paragraph(text=f"{cell}") for cell in row] for row in rows], ["checked"])


def minutes(seconds):
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds} s"


def run(stored):
    about = stored["run"]
    tests = [sum(count[name] for count in stored["tests"].values()) for name in ("tests", "skipped")]
    revision = f", revision {about['revision']}" if about["revision"] else ""
    line = f"The last stored run is of {about['date']}{revision}. Nothing failed."
    rows = [("tests", f"{tests[0]:,}"), ("of them skipped", f"{tests[1]:,}")]
    rows += [(words, f"{stored['book'][name]:,}") for name, words in COUNTS.items()]
    if stored["faults"]:
        rows.append(("planted faults noticed", f"{stored['faults']['caught']} of {stored['faults']['planted']}"))
    rows += [(f"time of make {part}", minutes(seconds)) for part, seconds in about["seconds"].items()]
    return [nodes.paragraph("", "", nodes.strong(text=line)), table(("what", "number"), rows)]


def tests(stored):
    rows = [
        (f"tests/{name}", FOLDERS.get(name, ""), f"{count['tests']:,}", f"{count['skipped']:,}")
        for name, count in stored["tests"].items()
    ]
    found = [table(("folder", "what it looks at", "tests", "skipped"), rows)]
    if stored["skipped"]:
        found.append(table(("why tests were skipped", "tests"), stored["skipped"].items()))
    return found


def faults(stored):
    about = stored["faults"]
    if not about:
        return [nodes.paragraph(text="No run of the planted faults is stored.")]
    rows = [(kind, f"{of['caught']} of {of['planted']}", of["fault"]) for kind, of in about["kinds"].items()]
    line = f"Planted on {about['date']}, in {minutes(about['seconds'])}."
    return [nodes.paragraph(text=line), table(("kind of fault", "noticed", "for example"), rows)]


def fault(stored, kind):
    of = ((stored["faults"] or {}).get("kinds") or {}).get(kind)
    if not of or not of["by"]:
        return []
    said = nodes.paragraph(text=f"Planted and noticed: “{of['fault']}”, by ")
    said += [nodes.literal(text=of["by"]), nodes.Text(".")]
    return [said]


def machine(stored):
    names = (("program", "version"), stored["software"]), (("machine", "is"), stored["machine"])
    return [table(head, about.items()) for head, about in names]


VIEWS = {"run": run, "tests": tests, "faults": faults, "fault": fault, "machine": machine}


class Checked(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        self.env.note_dependency(str(STORED))
        name, _, kind = self.arguments[0].partition(" ")
        if name not in VIEWS:
            raise self.error(f"{{checked}} has {', '.join(VIEWS)}, not {name}")
        if not STORED.exists():
            return [nodes.paragraph(text=NO_RUN)] if name == "run" else []
        stored = json.loads(STORED.read_text(encoding="utf-8"))
        return VIEWS[name](stored, *[kind] * bool(kind))


def setup(app):
    app.add_directive("checked", Checked)
