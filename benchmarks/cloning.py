"""Speed of data cloning, beside stored runs of dclone with JAGS: ``python -m benchmarks.cloning``.

A run is the call of ``clone``, from formula and data frame to the draws, warm-up included. Effective sample sizes are
the bulk ones of ArviZ; those of the stored runs are coda's.
"""

from __future__ import annotations

import json
import sys
import time

import pandas as pd

from benchmarks.gibbs import REFERENCE, pairs, slopes
from benchmarks.measure import Target, Times, duration, main
from lmmlib.cloning.clone import clone

FORMULA, SLOPES = "y ~ 1 + (1 | i)", "y ~ x + (x | g)"
HEADS = ["program", "K", "draws", "seconds", "mu (SE)", "sigma2 (SE)", "tau2 (SE)", "smallest ESS"]
NAMES = {"mu": "(Intercept)", "sigma_sq": "sigma2", "tau_sq": "D[(Intercept), (Intercept)]"}
# Document 000 has three chains of a thousand draws; these give no fewer effective draws of any parameter.
SHORT = {"chains": 50, "draws": 60, "warmup": 60}


def stored() -> dict:
    """The reference runs of dclone, and maximum likelihood."""
    return json.loads((REFERENCE / "cloning" / "jags.json").read_text())


def timed(frame: pd.DataFrame, n_clones, repeats: int, **how) -> tuple[object, Times]:
    """The last result, and the seconds of repeated runs, after one that is not counted."""
    seconds = []
    for seed in range(repeats + 1):
        begin = time.perf_counter()
        found = clone(FORMULA, frame, n_clones, rng=seed, **how)
        seconds.append(time.perf_counter() - begin)
    return found, Times(tuple(seconds[1:]))


def row(program: str, K, draws: str, seconds: str, estimate, se, ess: str) -> list[str]:
    """One line of the table."""
    values = [f"{estimate[name]:.5f} ({se[name]:.5f})" for name in NAMES]
    return [program, f"{K:,}" if isinstance(K, int) else K, draws, seconds, *values, ess]


def ours(found, times: Times) -> list[str]:
    """The line of a run of lmmlib."""
    K, chains = found.n_clones[-1], found.chains
    table_ = found.table().xs(K, level="n_clones")
    values, se = ({n: table_.loc[own, column] for n, own in NAMES.items()} for column in ("estimate", "se"))
    ess = f"{table_['ess_bulk'].min():,.0f}"
    return row("lmmlib", K, f"{chains} x {len(found.draws()) // chains}", str(times), values, se, ess)


def theirs(run: dict) -> list[str]:
    """The line of a stored run of dclone."""
    ess = f"{min(run['ess'].values()):,.0f}"
    draws = f"3 x {run['n_iter']}"
    return row("dclone, JAGS (stored)", run["K"], draws, duration(run["seconds"]), run["coef"], run["dc_se"], ess)


def in_turn(frame: pd.DataFrame, sizes, repeats: int, formula: str = FORMULA, **how) -> tuple[object, list[Times]]:
    """Seconds of runs of several K, one after the other, so that a busy machine is as busy for each."""
    seconds = [[] for _ in sizes]
    for seed in range(repeats + 1):
        for K, spent in zip(sizes, seconds, strict=True):
            begin = time.perf_counter()
            found = clone(formula, frame, K, rng=seed, **how)
            spent.append(time.perf_counter() - begin)
    return found, [Times(tuple(spent[1:])) for spent in seconds]


def require_right(found, exact: dict, errors: float = 5.0) -> None:
    """Raise unless the estimates are within so many Monte Carlo errors of maximum likelihood, and of the bias 1/K."""
    table_ = found.table().xs(found.n_clones[-1], level="n_clones")
    for name, column in NAMES.items():
        off, allowed = abs(table_.loc[column, "estimate"] - exact[name]), errors * table_.loc[column, "mcse"]
        if not off <= allowed + errors * exact["se"][name] / found.n_clones[-1]:
            raise ArithmeticError(f"{name} is off by {off:.1e}, {errors:g} Monte Carlo errors are {allowed:.1e}")


def measure(repeats: int = 7, sizes=(1, 10_000), **how) -> tuple[list[list[str]], list[Target]]:
    """Rows of the table, and what is aimed at."""
    frame, answers = pairs(), stored()
    (peer,) = (run for run in answers["dc_m2_seed"] if run["K"] == 25)
    found, document = timed(frame, 25, repeats, **SHORT | how)
    all_of_it = timed(frame, (1, 10, 25), repeats, **SHORT | how)[1]
    large, spent = in_turn(frame, sizes, repeats, **how)
    unequal = in_turn(slopes(100, 6), (1, 2, sizes[-1]), repeats, SLOPES, **how)[1]
    ess, exact = found.table().xs(25, level="n_clones")["ess_bulk"], answers["exact_ml"]
    require_right(large, exact)
    rows = [ours(found, document), ours(large, spent[-1])]
    rows += [theirs(run) for key in ("dc_m2_seed", "dc_m2_long") for run in answers[key]]
    rows.append(row("maximum likelihood", "-", "-", "-", exact, exact["se"], "-"))
    targets = [
        Target("document 000's K = 25", document.median, 0.2),
        Target(
            "- effective draws of dclone's over ours", max(peer["ess"][n] / ess[NAMES[n]] for n in NAMES), 1, "ratio"
        ),
        Target("- time over dclone's (stored)", document.median / peer["seconds"], 0.2 / 13, "ratio"),
        Target("document 000's K = 1, 10, 25", all_of_it.median, 0.6),
        Target(f"K = {sizes[-1]:,} over K = {sizes[0]:,}", spent[-1].median / spent[0].median, 1.2, "ratio"),
        Target("- 100 unequal groups with slope", unequal[-1].median / unequal[0].median, 1.2, "ratio"),
        Target("- of these, over K = 2", unequal[-1].median / unequal[1].median, 1.2, "ratio"),
    ]
    return rows, targets


if __name__ == "__main__":
    sys.exit(main(__doc__, "Results of data cloning", HEADS, measure))
