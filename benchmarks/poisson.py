"""Speed of Poisson fits, from formula and data frame to the fit: ``python -m benchmarks.poisson``.

The answers are checked against optima found in 60-digit arithmetic. The time is held against that of glmer in the same
run, where R has lme4; times of glmer and of TMB on another day are stored with their answers, and shown beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measure import Target, Times, duration, main, ratio, run
from benchmarks.peers import lme4, lme4_version
from lmmlib.glmm.fit import fit_glmm

REFERENCE = Path(__file__).parent.parent / "tests" / "reference" / "poisson"
FORMULA = "count ~ 1 + (1 | site)"
SETS = {"4 x 2": "pois_4x2", "50 x 10": "pois_50x10", "50 x 10, low counts": "pois_50x10_low"}
HEAD = ["data", "method", "lmmlib", "off by", "glmer", "share", "glmer (stored)", "TMB (stored)"]
NODES = {"laplace": 1, "aghq": 25}
# Seconds for 100,000 groups of 5, and the share of glmer's time for 50 x 10.
LARGE, SHARE = 3.0, 1 / 5


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
    """Rows of the table for the stored sets, and our share of glmer's time by Laplace for each."""
    rows, shares = [], {}
    for label, name in SETS.items():
        frame, peers = pd.read_csv(REFERENCE / f"{name}.csv"), stored("poisson_fits.json", name)
        for method, exact in (("laplace", "laplace"), ("aghq", "exact")):
            (seconds,), (fit,) = run([lambda f=frame, m=method: fit_glmm(FORMULA, f, method=m)], repeats)
            off = fit.loglik - float(stored("exact.json", name)[exact]["logLik"])
            if not abs(off) < 1e-8:
                raise ArithmeticError(f"{label} by {method}: the log-likelihood is off by {off:.1e}")
            ours, nodes = Times(seconds), NODES[method]
            theirs = lme4(frame, FORMULA, "site", repeats, nodes) if with_r else None
            share = ratio(ours, theirs)
            before = duration(peers[f"glmer_nAGQ{nodes}"]["time"]["median"])
            tmb = duration(peers["TMB"]["time_makeADFun_plus_fit"]["median"]) if method == "laplace" else "-"
            live = ["-", "-"] if theirs is None else [str(theirs), f"{share:.3f}"]
            rows.append([label, method, str(ours), f"{off:+.1e}", *live, before, tmb])
            if method == "laplace":
                shares[label] = share
    return rows, shares


def large(n_groups: int, slope: bool = False, repeats: int = 3) -> float:
    """Median seconds of a fit to many groups of 5, after one that is not counted."""
    formula = "count ~ x + (x | site)" if slope else "count ~ x + (1 | site)"
    frame = counts(n_groups, slope=slope)
    (seconds,), (fit,) = run([lambda: fit_glmm(formula, frame)], repeats)
    gap = np.abs(fit.beta - [1.0, 0.3]) / fit.se
    if not fit.converged or gap.max() > 5:
        raise ArithmeticError(f"{n_groups} groups: {fit.reason}; {gap.max():.1f} standard errors from the truth")
    return Times(seconds).median


def measure(many: int = 100_000, repeats: int = 30, with_r: bool | None = None) -> tuple[list[list[str]], list[Target]]:
    """Rows of the table, and what is aimed at; with glmer if R has it, unless told otherwise."""
    rows, shares = small(repeats, lme4_version() is not None if with_r is None else with_r)
    half, whole, slopes = large(many // 2), large(many), large(many, slope=True)
    targets = [
        Target("50 x 10 by Laplace, share of glmer's time", shares["50 x 10"], SHARE, "ratio"),
        Target(f"{many:,} groups of 5, random intercept", whole, LARGE),
        Target("- over that of half the groups", whole / half, 2.5, "ratio"),
        Target(f"{many:,} groups of 5, random slope", slopes, LARGE),
    ]
    return rows, targets


if __name__ == "__main__":
    sys.exit(main(__doc__, "Results of counts", HEAD, measure))
