"""Processor time of fits beside Python packages and lme4, at default settings: ``python -m benchmarks.packages``.

The packages are no part of the book's environment: ``PEERS_PYTHON`` is the path of a Python that has them, as
README.md says. Those that are absent are left out. The table goes to last.json, which a page of the book shows.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

import lmmlib
from benchmarks import data, peers
from benchmarks.measure import Times, duration, run, table
from benchmarks.one_package import FITS
from benchmarks.run import load, processor
from chapters._tools.replacing import replace_text

LAST = Path(__file__).with_name("last.json")
SCRIPT = str(Path(__file__).with_name("one_package.py"))
PACKAGES = ("glmm", "lme-python", "mixedlm", "mixedlm-rs")
HEAD = ["fit", "program", "processor time", "lmmlib's share of it", "criterion above lmmlib's"]
ONE_GROUPING = ("sleep", "slope")  # What mixedlm-rs and statsmodels can fit.


@dataclass(frozen=True)
class Case:
    """A model, its name among the fits of one_package.py, and how often each program fits it."""

    name: str
    fit: str
    frame: Callable[[], pd.DataFrame]
    repeats: int
    slow: int = 0  # How often statsmodels does; 0 leaves it out.


CASES = (
    Case("sleep study, 180 rows, slope", "sleep", lambda: lmmlib.load("sleep"), 31, 15),
    Case("100,000 rows in 10,000 groups, slope", "slope", data.slope100k, 5),
    Case("penicillin, 144 rows, crossed", "crossed", lambda: lmmlib.load("penicillin"), 31),
    Case("counts, 50 sites of 10, Laplace", "counts", lambda: lmmlib.load("counts_50x10"), 31),
)


def other(python: str, package: str, case: Case, path: Path, repeats: int) -> tuple[str, Times] | None:
    """Version and times of one package under the Python at a path; None if it is not there."""
    found = subprocess.run([python, "-c", f"import {package.replace('-', '_')}"], cwd=path.parent, capture_output=True)
    if found.returncode:
        return None
    command = [python, SCRIPT, package, case.fit, str(path), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    version, *printed = done.stdout.split()
    return version, peers.lme4_times(" ".join(printed))


def ours(case: Case, path: Path) -> Times:
    """Processor time of lmmlib, with the frame that the others read."""
    formula, family, _ = FITS[case.fit]
    fit = lmmlib.fit if family == "gaussian" else lmmlib.fit_glmm
    frame = pd.read_csv(path)
    (seconds,), (fitted,) = run([lambda: fit(formula, frame)], case.repeats, clock=time.process_time)
    return Times(seconds, fitted.criterion if family == "gaussian" else -2 * fitted.loglik)


def theirs(case: Case, path: Path, python: str | None, lme4: bool) -> dict[str, Times]:
    """{program and version: times} of those that are there and can fit the model."""
    formula, family, groups = FITS[case.fit]
    found = {}
    asked = [(python, package, case.repeats) for package in PACKAGES if python]
    asked += [(sys.executable, "statsmodels", case.slow)] * bool(case.slow)
    for executable, package, repeats in asked:
        if package == "mixedlm-rs" and case.fit not in ONE_GROUPING:
            continue
        answer = other(executable, package, case, path, repeats)
        found |= {f"{package} {answer[0]}": answer[1]} if answer else {}
    if lme4:
        call = f"lmer({formula}, data)" if family == "gaussian" else f"glmer({formula}, data, {family})"
        found[peers.lme4_version().partition(" in ")[0]] = peers.r(case.frame(), call, groups, case.repeats)
    return found


def measure(cases: tuple[Case, ...], python: str | None, lme4: bool) -> list[dict]:
    """A row for each fit and program, lmmlib first, the others by their time."""
    rows = []
    for case in cases:
        print(f"{case.name} ...", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.csv"
            case.frame().to_csv(path, index=False)
            mine = ours(case, path)
            others = sorted(theirs(case, path, python, lme4).items(), key=lambda pair: pair[1].median)
        for program, times in [(f"lmmlib {lmmlib.__version__}", mine), *others]:
            row = {"fit": case.name, "program": program, "median": times.median, "shortest": min(times.seconds)}
            above = times.criterion - mine.criterion
            row |= {"longest": max(times.seconds), "fits": len(times.seconds), "share": mine.median / times.median}
            rows.append(row | {"above": None if math.isnan(above) else above})
    return rows


def cells(row: dict) -> list[str]:
    """A row as it is shown; lmmlib has no share of itself."""
    if row["program"].startswith("lmmlib "):
        return [row["fit"], row["program"], duration(row["median"]), "", ""]
    above = "-" if row["above"] is None else f"{row['above']:+.1e}"
    return [row["fit"], row["program"], duration(row["median"]), f"{row['share']:.2g}", above]


def main(python: str | None = os.environ.get("PEERS_PYTHON"), cases: tuple[Case, ...] = CASES) -> int:
    """Measure, print and store."""
    busy, lme4 = load(), peers.lme4_version()
    rows = measure(cases, python, lme4 is not None)
    where = f"{processor()}, {platform.system()}, Python {platform.python_version()}, one thread, {busy}"
    stored = {"day": date.today().isoformat(), "machine": where, "lme4": lme4, "rows": rows}
    print(table(HEAD, [cells(row) for row in rows]))
    replace_text(LAST, json.dumps(stored, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
