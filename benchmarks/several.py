"""Processor time of fits with several groupings beside lmer, and how it grows: ``python -m benchmarks.several``.

InstEval comes with lme4: 73,421 marks of 1,128 lecturers by 2,972 students, and is not here without it. The criterion
must be no worse than lmer's, which stops a little above the optimum.
"""

from __future__ import annotations

import sys
import time

import pandas as pd

import lmmlib
from benchmarks import data
from benchmarks.measure import Target, Times, main, ratio, run
from benchmarks.peers import data_of_lme4, lme4_version, r

HEAD = ["fit by ML", "lmmlib", "lmer", "share", "off by"]
CROSSED, NESTED = "y ~ x + (1 | g) + (1 | h)", "y ~ x + (1 | lab) + (1 | batch) + (1 | cask)"
INSTEVAL = "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"
# The most that a fit may be of lmer's time, and of the time of one tenth of the rows.
SHARE, TENFOLD = 1 / 10, 11.0


def fit(formula: str, frame: pd.DataFrame, repeats: int) -> Times:
    """Seconds of a fit by ML, and its deviance."""
    (seconds,), (found,) = run([lambda: lmmlib.fit(formula, frame, method="ML")], repeats, time.process_time)
    if not found.converged:
        raise ArithmeticError(f"{formula}: {found.reason}")
    return Times(seconds, found.criterion)


def beside(name: str, formula: str, frame: pd.DataFrame, groups: list[str], runs: tuple[int, int]):
    """A row of the table, and our share of lmer's time; it is not run 0 times."""
    ours, theirs = fit(formula, frame, runs[0]), None
    if runs[1]:
        theirs = r(frame, f"lmer({formula}, data, REML = FALSE)", groups, runs[1])
        if not ours.criterion <= theirs.criterion + 1e-6:
            raise ArithmeticError(f"{name}: the deviance is {ours.criterion - theirs.criterion:.1e} above lmer's")
    share, off = ratio(ours, theirs), "-" if theirs is None else f"{theirs.criterion - ours.criterion:+.1e}"
    return [name, str(ours), str(theirs or "-"), "-" if share is None else f"{share:.3f}", off], share, ours.median


def measure(labs: int = 1_000, rows: int = 300_000, runs=(5, 1), with_r: bool | None = None):
    """Rows of the table, and what is aimed at; with lmer if R has it, unless told otherwise."""
    with_r = lme4_version() is not None if with_r is None else with_r
    runs, table, marks = (runs[0], runs[1] * with_r), [], None
    if with_r:
        frame = data_of_lme4("InstEval").astype(dict.fromkeys(("s", "d", "dept", "service"), "category"))
        row, marks, _ = beside("InstEval", INSTEVAL, frame, ["s", "d", "dept", "service"], runs)
        table.append(row)
    levels = ["lab", "batch", "cask"]
    few, many = (
        beside(f"{100 * n:,} casks of {10 * n:,} batches of {n:,} labs", NESTED, data.nested(n), levels, how)
        for n, how in ((labs // 10, (runs[0], 0)), (labs, runs))
    )
    one, ten = (fit(CROSSED, data.crossed(n), runs[0]).median for n in (rows // 10, rows))
    targets = [
        Target("InstEval, share of lmer's time", marks, SHARE, "ratio"),
        Target("nested casks, share of lmer's time", many[1], SHARE, "ratio"),
        Target("- ten times as many casks, batches and labs", many[2] / few[2], TENFOLD, "ratio"),
        Target(f"200 by 100 groups, {rows:,} rows over {rows // 10:,}", ten / one, TENFOLD, "ratio"),
    ]
    return [*table, few[0], many[0]], targets


if __name__ == "__main__":
    sys.exit(main(__doc__, "Results of several groupings", HEAD, measure))
