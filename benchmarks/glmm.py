"""Processor time of fits to counts and successes, from formula and data frame: ``python -m benchmarks.glmm``.

Answers for counts are checked against optima found in 60-digit arithmetic, and the others against glmer. The time is
held against that of glmer in the same run, where R has lme4; times of glmer and of TMB on another day are stored with
their answers, and shown beside it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.data import successes
from benchmarks.measure import Target, Times, duration, main, ratio, run
from benchmarks.peers import lme4_version, r
from lmmlib.glmm.fit import fit_glmm

REFERENCE = Path(__file__).parent.parent / "tests" / "reference" / "poisson"
FORMULA, BINARY = "count ~ 1 + (1 | site)", "y ~ x + (1 | site)"
SETS = {"4 x 2": "pois_4x2", "50 x 10": "pois_50x10", "50 x 10, low counts": "pois_50x10_low"}
HEAD = ["data", "method", "lmmlib", "off by", "glmer", "share", "glmer (stored)", "TMB (stored)"]
NODES = {"laplace": 1, "aghq": 25}
TRIALS = {"50 x 10, of 8 trials": 8, "50 x 10, yes or no": 1}
# Seconds for 100,000 groups of 5, counts and yes or no, and the share of glmer's time for 50 x 10.
LARGE, LARGE_BINARY, SHARE = 3.0, 2.0, 1 / 10


def stored(file: str, name: str) -> dict:
    """What other programs said of a set, or the exact optimum."""
    return json.loads((REFERENCE / file).read_text())[name]


def counts(n_groups: int, n_i: int = 5, slope: bool = False) -> pd.DataFrame:
    """Groups with an intercept, or also a slope, of their own; every row has its own x."""
    rng = np.random.default_rng(20)
    g = np.repeat(np.arange(n_groups), n_i)
    x, b = rng.normal(size=len(g)), 0.5 * rng.normal(size=(n_groups, 2))
    eta = 1 + 0.3 * x + b[g, 0] + (b[g, 1] * x if slope else 0.0)
    return pd.DataFrame({"site": g, "x": x, "count": rng.poisson(np.exp(eta))})


def small(repeats: int = 30, with_r: bool = False) -> tuple[list[list[str]], dict[str, float | None]]:
    """Rows of the table for the sets, and our share of glmer's time by Laplace for each."""
    rows, shares = [], {}
    for label, name in SETS.items():
        frame, peers = pd.read_csv(REFERENCE / f"{name}.csv"), stored("poisson_fits.json", name)
        for method, exact in (("laplace", "laplace"), ("aghq", "exact")):
            (seconds,), (fit,) = timed(lambda f=frame, m=method: fit_glmm(FORMULA, f, method=m), repeats)
            off = fit.loglik - float(stored("exact.json", name)[exact]["logLik"])
            require(abs(off) < 1e-8, f"{label} by {method}: the log-likelihood is off by {off:.1e}")
            nodes = NODES[method]
            theirs = glmer(frame, FORMULA, "poisson", nodes, repeats) if with_r else None
            before = duration(peers[f"glmer_nAGQ{nodes}"]["time"]["median"])
            tmb = duration(peers["TMB"]["time_makeADFun_plus_fit"]["median"]) if method == "laplace" else "-"
            rows.append([label, method, *_beside(Times(seconds), f"{off:+.1e}", theirs), before, tmb])
            if method == "laplace":
                shares[label] = ratio(Times(seconds), theirs)
    for label, trials in TRIALS.items():
        frame = successes(50, trials)
        of = {} if trials == 1 else {"trials": frame["y"] + frame["rest"]}
        (seconds,), (fit,) = timed(lambda f=frame, o=of: fit_glmm(BINARY, f, "binomial", **o), repeats)
        theirs = glmer(frame, BINARY.replace("y ~", "cbind(y, rest) ~"), "binomial", 1, repeats) if with_r else None
        off = 0.0 if theirs is None else fit.loglik + theirs.criterion / 2
        require(fit.converged and -1e-6 < off < 1e-3, f"{label}: the log-likelihood is off by {off:.1e}")
        shares[label] = ratio(Times(seconds), theirs)
        rows.append([label, "laplace", *_beside(Times(seconds), f"{off:+.1e}" if with_r else "-", theirs), "-", "-"])
    return rows, shares


def timed(call, repeats: int):
    """Processor time of a call, and its result."""
    return run([call], repeats, time.process_time)


def glmer(frame: pd.DataFrame, formula: str, family: str, nodes: int, repeats: int) -> Times:
    """The same fit by glmer at its default settings."""
    return r(frame, f"glmer({formula}, data, family = {family}, nAGQ = {nodes})", ["site"], repeats)


def require(good: bool, wrong: str) -> None:
    """Raise if an answer is wrong."""
    if not good:
        raise ArithmeticError(wrong)


def _beside(ours: Times, off: str, theirs: Times | None) -> list[str]:
    return [str(ours), off, *(["-", "-"] if theirs is None else [str(theirs), f"{ratio(ours, theirs):.3f}"])]


def large(n_groups: int, slope: bool = False, binary: bool = False, repeats: int = 3) -> float:
    """Median seconds of a fit to many groups of 5, after one that is not counted."""
    formula, family, true = f"count ~ x + ({'x' if slope else '1'} | site)", "poisson", [1.0, 0.3]
    frame = successes(n_groups, 1, 5) if binary else counts(n_groups, slope=slope)
    if binary:
        formula, family, true = BINARY, "binomial", [0.3, 0.5]
    (seconds,), (fit,) = timed(lambda: fit_glmm(formula, frame, family), repeats)
    # Laplace's approximation of a few answers of yes or no is itself some hundredths off.
    gap = (np.abs(fit.beta - true) - 0.05 * binary) / fit.se
    require(fit.converged and gap.max() < 5, f"{n_groups} groups: {fit.reason}; {gap.max():.1f} errors from the truth")
    return Times(seconds).median


def measure(many: int = 100_000, repeats: int = 30, with_r: bool | None = None) -> tuple[list[list[str]], list[Target]]:
    """Rows of the table, and what is aimed at; with glmer if R has it, unless told otherwise."""
    rows, shares = small(repeats, lme4_version() is not None if with_r is None else with_r)
    half, whole, slopes = large(many // 2), large(many), large(many, slope=True)
    half_binary, binary = large(many // 2, binary=True), large(many, binary=True)
    targets = [
        *(Target(f"{label}, share of glmer's time", shares[label], SHARE, "ratio") for label in ("50 x 10", *TRIALS)),
        Target(f"{many:,} groups of 5, random intercept", whole, LARGE),
        Target("- over that of half the groups", whole / half, 2.5, "ratio"),
        Target(f"{many:,} groups of 5, random slope", slopes, LARGE),
        Target(f"{many:,} groups of 5, yes or no", binary, LARGE_BINARY),
        Target("- over that of half the groups", binary / half_binary, 2.5, "ratio"),
    ]
    return rows, targets


if __name__ == "__main__":
    sys.exit(main(__doc__, "Results of counts and successes", HEAD, measure))
