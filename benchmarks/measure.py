"""Medians of repeated runs, what they are held against, and the tables that show both."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from chapters._tools.replacing import replace_text


@dataclass(frozen=True)
class Times:
    """Seconds of repeated runs of one program, and the REML criterion that it found."""

    seconds: tuple[float, ...]
    criterion: float = float("nan")

    @property
    def median(self) -> float:
        return median(self.seconds)

    def __str__(self) -> str:
        if len(self.seconds) == 1:
            return f"{duration(self.median)} (1 run)"
        return f"{duration(self.median)} [{duration(min(self.seconds))}, {duration(max(self.seconds))}]"


@dataclass(frozen=True)
class Comparison:
    """One fit by lmmlib and by its peers; None for a peer that was not run."""

    case: str
    lmmlib: Times
    statsmodels: Times | None = None
    lme4: Times | None = None

    def row(self) -> list[str]:
        peers = [cell for peer in (self.statsmodels, self.lme4) for cell in self._against(peer)]
        return [self.case, str(self.lmmlib), *peers]

    def _against(self, peer: Times | None) -> list[str]:
        if peer is None:
            return ["-", "-", "-"]
        share = f"{ratio(self.lmmlib, peer):.3f}"
        return [str(peer), share, f"{peer.criterion - self.lmmlib.criterion:+.1e}"]


@dataclass(frozen=True)
class Target:
    """A measured value and the most that it may be; in seconds, or a ratio; None if it could not be measured."""

    what: str
    measured: float | None
    limit: float
    unit: str = "s"

    @property
    def met(self) -> bool | None:
        return None if self.measured is None else self.measured <= self.limit

    def row(self) -> list[str]:
        show = duration if self.unit == "s" else "{:.3f}".format
        measured = "-" if self.measured is None else show(self.measured)
        return [self.what, show(self.limit), measured, {True: "yes", False: "no", None: "not measured"}[self.met]]


def run(calls: list[Callable], repeats: int, clock: Callable = time.perf_counter) -> tuple[list[tuple], list]:
    """Seconds of each call and its last result: the calls in turn, after one round that is not counted."""
    seconds, results = [[] for _ in calls], [call() for call in calls]
    for _ in range(repeats):
        for k, call in enumerate(calls):
            begin = clock()
            results[k] = call()
            seconds[k].append(clock() - begin)
    return [tuple(s) for s in seconds], results


def ratio(ours: Times, theirs: Times | None) -> float | None:
    """Our median as a share of theirs."""
    return None if theirs is None else ours.median / theirs.median


def duration(seconds: float) -> str:
    """Three digits, in milliseconds below a second."""
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, its columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |" for line in lines)


def insert(readme: str, heading: str, results: str) -> str:
    """The text with new results below a heading, up to the next one."""
    head, marker, rest = readme.partition(f"## {heading}\n")
    _, following, later = rest.partition("\n## ")
    return f"{head}{marker}\n{results}\n{following}{later}"


def store(heading: str, results: str) -> None:
    """Put results into the README of this folder."""
    readme = Path(__file__).with_name("README.md")
    replace_text(readme, insert(readme.read_text(encoding="utf-8"), heading, results))


def main(about: str, heading: str, head: list[str], measure: Callable, arguments: list[str] | None = None) -> int:
    """Print the rows and targets of a benchmark; ``--save`` also puts them below their heading in README.md."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--save", action="store_true", help="put the tables into README.md")
    save = parser.parse_args(arguments).save
    try:
        rows, targets = measure()
    except ArithmeticError as error:
        print(error, file=sys.stderr)
        return 1
    aims = table(["what", "at most", "measured", "met"], [target.row() for target in targets])
    results = f"{table(head, rows)}\n\n{aims}"
    print(results)
    if save:
        store(heading, results)
    return 0
