"""``make bench``: times and memory beside peers, as Markdown; fails only if an answer is wrong, never for a time.

``--save`` also puts the tables into README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy

import lmmlib
from benchmarks import data, memory, peers
from benchmarks.measure import Comparison, Target, Times, ratio, run, store, table
from lmmlib.fitting.search import minimise

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "tests" / "reference"
SLOPE = "y ~ x + (x | g)"
REFITS = 1000
HEADS = {
    "times": ["fit by REML", "lmmlib", *("statsmodels", "share", "off by"), *("lme4", "share", "off by")],
    "targets": ["what", "at most", "measured", "met"],
}


@dataclass(frozen=True)
class Case:
    """A model to fit, what its optimum is, and how often each program fits it; 0 leaves a program out."""

    name: str
    frame: pd.DataFrame
    fixed: str
    random: str
    group: str
    criterion: Callable[[float], bool]
    runs: tuple[int, int, int]

    @property
    def formula(self) -> str:
        return f"{self.fixed} + ({self.random} | {self.group})"


def cases() -> dict[str, Case]:
    """The fits that are compared with other programs."""
    optimum = stored("timings/optimum_big.json")
    lme4 = stored("timings/lmer.json")
    sleep, tlc, weeks = lmmlib.load("sleep"), data.tlc_like(), "y ~ x + treat"
    known = equals(stored("exact/sleepstudy_slope_reml.json")["criterion"])
    intercept, slope = (at_most(lme4[f"tlc_like_{model}"]["reml_criterion"]) for model in ("ri", "slope"))
    large, largest = (equals(optimum[name]["reml_criterion"]) for name in ("slope100k", "slope1m"))
    return {
        "sleep": Case("sleep study, 180 rows", sleep, "Reaction ~ Days", "Days", "Subject", known, (51, 15, 21)),
        "intercept": Case("TLC-like, 400 rows, intercept", tlc, weeks, "1", "g", intercept, (51, 15, 21)),
        "singular": Case("TLC-like, 400 rows, slope (singular)", tlc, weeks, "x", "g", slope, (51, 3, 21)),
        "100k": Case("100,000 rows, slope", data.slope100k(), "y ~ x", "x", "g", large, (15, 1, 7)),
        "1m": Case("1,000,000 rows, slope", data.slope1m(), "y ~ x", "x", "g", largest, (7, 0, 5)),
    }


def stored(path: str) -> dict:
    """A file of reference answers."""
    return json.loads((REFERENCE / path).read_text(encoding="utf-8"))


def equals(expected: float) -> Callable[[float], bool]:
    """The criterion of a known optimum, to 1e-8 relative."""
    return lambda found: abs(found - expected) <= 1e-8 * abs(expected)


def at_most(other: float) -> Callable[[float], bool]:
    """No worse than what lme4 found."""
    return lambda found: found <= other + 1e-6


def compare(case: Case, with_lme4: bool) -> Comparison:
    """Times of lmmlib and its peers on one case.

    Raises
    ------
    ArithmeticError
        If lmmlib's criterion is not the optimum.
    """
    ours, theirs, r = case.runs
    (seconds,), (fitted,) = run([lambda: lmmlib.fit(case.formula, case.frame)], ours)
    right(case.name, fitted.converged and case.criterion(fitted.criterion), f"criterion {fitted.criterion!r}")
    return Comparison(
        case.name,
        Times(seconds, fitted.criterion),
        peers.statsmodels(case.frame, case.fixed, case.group, f"~{case.random}", theirs) if theirs else None,
        peers.lme4(case.frame, case.formula, case.group, r) if with_lme4 and r else None,
    )


def right(what: str, good: bool, found: str) -> None:
    """Raise if an answer is wrong."""
    if not good:
        raise ArithmeticError(f"{what}: a wrong answer, {found}")


def optimisation(frame: pd.DataFrame, repeats: int = 51) -> float:
    """Seconds of the sleep study's optimisation, its cross-products being there."""
    cross = lmmlib.cross_products(lmmlib.build_design("Reaction ~ Days + (Days | Subject)", frame))
    (seconds,), _ = run([lambda: minimise(cross, "REML")], repeats)
    return Times(seconds).median


def refits(frame: pd.DataFrame, size: int = REFITS, repeats: int = 5) -> float:
    """Seconds of refitting the sleep study to simulated responses, some of the fits checked one by one."""
    fitted = lmmlib.fit("Reaction ~ Days + (Days | Subject)", frame)
    Y = fitted.simulate(size, rng=np.random.default_rng(1))
    (seconds,), (fits,) = run([lambda: lmmlib.fit_many(fitted.design, Y)], repeats)
    right("refits", not fits.failed.any(), f"{fits.failed.sum()} of {size} failed")
    for k in range(0, size, max(1, size // 10)):
        alone = fitted.refit(Y[:, k]).criterion
        right(f"refit {k}", abs(fits.criterion[k] - alone) < 1e-8, f"{fits.criterion[k]!r} is {alone!r} alone")
    return Times(seconds).median


def unbalance(n_groups: int = 10_000, repeats: int = 11) -> float:
    """Time of a fit to unbalanced groups over that to as many balanced ones."""
    frames = data.unbalanced(n_groups), data.balanced(n_groups)
    right("balance", len(frames[0]) == len(frames[1]), f"{len(frames[0])} and {len(frames[1])} rows")
    seconds, fits = run([lambda frame=frame: lmmlib.fit(SLOPE, frame) for frame in frames], repeats)
    patterns = [fitted.cross.n_patterns for fitted in fits]
    right("balance", patterns[1] == 1 and patterns[0] > 0.9 * n_groups, f"patterns {patterns}")
    right("balance", all(fitted.converged for fitted in fits), "a fit that did not converge")
    return Times(seconds[0]).median / Times(seconds[1]).median


def targets(compared: dict[str, Comparison], sleep: pd.DataFrame, large: pd.DataFrame) -> list[Target]:
    """What is aimed at, in the order of the table."""
    peak = memory.of_fit(large)
    right("memory", equals(compared["1m"].lmmlib.criterion)(peak["criterion"]), f"criterion {peak['criterion']!r}")
    time = {name: comparison.lmmlib.median for name, comparison in compared.items()}
    share = {name: ratio(comparison.lmmlib, comparison.lme4) for name, comparison in compared.items()}
    return [
        Target("sleep study, from formula and frame", time["sleep"], 0.005),
        Target("- share of lme4's time", share["sleep"], 1 / 3, "ratio"),
        Target("sleep study, the optimisation alone", optimisation(sleep), 0.002),
        Target("100,000 rows", time["100k"], 0.094),
        Target("- share of lme4's time", share["100k"], 1 / 10, "ratio"),
        Target("1,000,000 rows", time["1m"], 0.7),
        Target("- share of lme4's time", share["1m"], 1 / 12, "ratio"),
        Target("- peak memory of the fit over the frame's", peak["traced"], 3.0, "ratio"),
        Target("- the same, by the growth of the process", peak["resident"], 3.0, "ratio"),
        Target(f"{REFITS:,} refits of the sleep study", refits(sleep), 1.0),
        Target("unbalanced groups over balanced ones", unbalance(), 3.0, "ratio"),
    ]


def stamp(r: str | None, busy: str) -> str:
    """Versions, machine, and how busy it was at the start."""
    import statsmodels

    versions = [f"{m.__name__} {m.__version__}" for m in (np, scipy, pd, statsmodels)]
    return (
        f"Python {platform.python_version()}, {', '.join(versions)}; {r or 'Rscript with lme4 is not installed'}; "
        f"{processor()}, {platform.system()}, one thread, {busy}."
    )


def load() -> str:
    """How many processes want the processors: above their number, times are too long."""
    average = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return f"load {average} on {os.cpu_count()} processors at the start"


def processor() -> str:
    """What the system calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(arguments: list[str] | None = None) -> int:
    """Run everything; 1 if an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="put the tables into README.md")
    save = parser.parse_args(arguments).save
    busy, r, compared, chosen = load(), peers.lme4_version(), {}, cases()
    try:
        for name, case in chosen.items():
            print(f"{case.name} ...", file=sys.stderr)
            compared[name] = compare(case, r is not None)
        print("memory, refits, unbalanced groups ...", file=sys.stderr)
        held = targets(compared, chosen["sleep"].frame, chosen["1m"].frame)
    except ArithmeticError as error:
        print(error, file=sys.stderr)
        return 1
    parts = [
        table(HEADS["times"], [comparison.row() for comparison in compared.values()]),
        table(HEADS["targets"], [target.row() for target in held]),
        stamp(r, busy),
    ]
    print("\n\n".join(parts))
    if save:
        store("Results", "\n\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
