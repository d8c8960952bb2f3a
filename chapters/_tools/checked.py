"""`make checked`: what the last run of all checks has found, in chapters/checked.json, of which a page is made.

pytest writes a report of each part of `make test` into _build/run, and `make validate` one of the planted faults. They
are stored only if all parts are there, nothing failed, no test file and no notebook was left out, and no file of the
repository has changed since the run began.
"""

import csv
import json
import os
import platform
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from chapters._tools.replacing import replace_text

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "chapters" / "checked.json"
RUN = ROOT / "_build" / "run"
PARTS = ("code", "notebooks", "pages")
SOFTWARE = (
    *("numpy", "scipy", "pandas", "formulaic", "matplotlib", "statsmodels", "arviz", "pymc", "nutpie", "dask"),
    *("jupyter-book", "sphinx", "pytest", "nbval", "hypothesis", "playwright"),
)


@dataclass(frozen=True)
class Report:
    """One report of pytest: when it began, how long it took, and (file, name, what became of it) of each test."""

    begun: datetime
    seconds: float
    tests: list
    reasons: Counter


def read(path):
    """The report in a file that pytest has written; "passed", "skipped", "failure" or "error" of each test."""
    (suite,) = ElementTree.parse(path).getroot()
    tests, reasons = [], Counter()
    for case in suite:
        bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
        tests.append((case.get("classname"), case.get("name"), bad[0].tag if bad else "passed"))
        if bad and bad[0].tag == "skipped":
            reasons[bad[0].get("message", "").splitlines()[0]] += 1
    return Report(datetime.fromisoformat(suite.get("timestamp")), float(suite.get("time")), tests, reasons)


def files(root=ROOT):
    """The files of the repository, as git lists them."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [root / name for name in listed.split("\0") if name and (root / name).is_file()]


def test_files(root=ROOT):
    return sorted(path.relative_to(root) for path in (root / "tests").rglob("test_*.py"))


def code_cells(root=ROOT):
    """{notebook, by its path: its cells of code}."""
    paths = sorted((root / "chapters").rglob("*.ipynb"))
    books = {path.relative_to(root): nbformat.read(path, as_version=4) for path in paths}
    return {path: [cell for cell in book.cells if cell.cell_type == "code"] for path, book in books.items()}


def problems(run=RUN, root=ROOT):
    """Why the reports in a folder are not those of a whole run without failures; empty if they are."""
    missing = [part for part in PARTS if not (run / f"{part}.xml").exists()]
    if missing:
        return [f"there is no report of `make {part}`" for part in missing]
    reports = {part: read(run / f"{part}.xml") for part in PARTS}
    found = []
    for part, report in reports.items():
        failed = [f"{file}::{name}" for file, name, verdict in report.tests if verdict in ("failure", "error")]
        found += [f"`make {part}`: {len(failed)} failed, first {failed[0]}"] if failed else []
    names = {file for part in ("code", "pages") for file, _, _ in reports[part].tests}
    for path in test_files(root):
        name = ".".join(path.with_suffix("").parts)
        if not any(file == name or file.startswith(f"{name}.") for file in names):
            found.append(f"{path.as_posix()}: no test of it was run")
    executed = Counter(file for file, _, _ in reports["notebooks"].tests)
    for path, cells in code_cells(root).items():
        if executed[".".join(path.parts)] != len(cells):
            found.append(f"{path.as_posix()}: {executed['.'.join(path.parts)]} of {len(cells)} cells were executed")
    begun = min(report.begun for report in reports.values()).timestamp()
    later = [path for path in files(root) if path.stat().st_mtime > begun and path.name != STORED.name]
    found += [f"{path.relative_to(root).as_posix()} has changed since the run began" for path in later]
    return found


def lines(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def of_book(root=ROOT):
    """What is counted in the repository itself, without a run."""
    cells = code_cells(root)
    ignored = {"nbval-ignore-output"}
    compared = [cell for each in cells.values() for cell in each if not ignored & set(cell.metadata.get("tags", []))]
    pictures = [output for cell in compared for output in cell.outputs if "image/png" in output.get("data", {})]
    equations = lines(root / "chapters" / "equations.csv")
    return {
        "notebooks": len(cells),
        "cells": sum(map(len, cells.values())),
        "cells not compared": sum(map(len, cells.values())) - len(compared),
        "figures": len(lines(root / "chapters" / "figures.csv")),
        "pictures": len(pictures),
        "tables": len(lines(root / "chapters" / "tables.csv")),
        "formulas": len(equations),
        "formulas with a twin": sum(bool(line["twin"]) for line in equations),
        "decimals": len(lines(root / "chapters" / "numbers.csv")),
        "printed": len(lines(root / "data" / "published.csv")),
        "answers": len(lines(root / "data" / "answers.csv")),
    }


def by_folder(reports):
    """{folder of tests/: {"tests": number, "skipped": number}}."""
    found = {}
    for file, _, verdict in reports["code"].tests + reports["pages"].tests:
        count = found.setdefault(file.split(".")[1], {"tests": 0, "skipped": 0})
        count["tests"] += 1
        count["skipped"] += verdict == "skipped"
    return dict(sorted(found.items()))


def machine():
    """Processor, cores, memory and system; no name and no folder of the machine."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(": ")[2] for line in about if line.startswith("model name")), model)
    elif sys.platform == "darwin":
        model = output("sysctl", "-n", "machdep.cpu.brand_string") or model
    try:
        memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (ValueError, AttributeError, OSError):
        memory = "not known"
    system = " ".join((platform.system(), platform.machine()))
    return {"processor": model.strip(), "cores": os.cpu_count(), "memory": memory, "system": system}


def output(*command):
    """The first line of what a program says, nothing if it is not there."""
    try:
        said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""
    return said.splitlines()[0] if said else ""


def software():
    """Versions of Python, of the main packages, and of the browser that opened the pages."""
    from tests.book.browser import executable

    browser = output(executable(), "--version") if executable() else ""
    found = {"Python": platform.python_version()} | {name: version(name) for name in SOFTWARE}
    return found | ({"browser": " ".join(browser.split()[:2])} if browser else {})


def collected(run=RUN):
    """All that is stored, of reports without problems."""
    reports = {part: read(run / f"{part}.xml") for part in PARTS}
    faults = run / "validate.json"
    return {
        "run": {
            "date": min(report.begun for report in reports.values()).date().isoformat(),
            "revision": ""
            if output("git", "status", "--porcelain")
            else output("git", "rev-parse", "--short=10", "HEAD"),
            "seconds": {part: round(report.seconds) for part, report in reports.items()},
        },
        "tests": by_folder(reports),
        "skipped": dict(sorted((reports["code"].reasons + reports["pages"].reasons).items())),
        "book": of_book(),
        "faults": json.loads(faults.read_text(encoding="utf-8")) if faults.exists() else None,
        "software": software(),
        "machine": machine(),
    }


def main():
    if found := problems():
        print("chapters/checked.json is left as it is; run `make test`:", *found[:20], sep="\n  ")
        print(*[f"  and {len(found) - 20} more"] * (len(found) > 20), sep="\n", end="")
        return 1
    stored = collected()
    replace_text(STORED, json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    tests = sum(count["tests"] for count in stored["tests"].values())
    faults = "the planted faults too" if stored["faults"] else "no planted faults: `make validate` was not run"
    print(f"chapters/checked.json: {tests} tests, {stored['book']['cells']} cells, {faults}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
