"""Speed of the Gibbs sampler beside PyMC, and what a sweep costs: ``python -m benchmarks.gibbs``.

Speed is the smallest effective sample size of the parameters (bulk) per second, from formula and data frame to the
draws, warm-up included: of processor time, beside JAGS. For PyMC it is from the model to the draws, compilation
included, and also without it.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import lmmlib
from benchmarks.measure import Target, Times, duration, main
from lmmlib.bayes.chains import Plan, advance, model_of, start
from lmmlib.bayes.priors import HalfCauchy, Priors
from lmmlib.bayes.sample import sample

REFERENCE = Path(__file__).parent.parent / "tests" / "reference"
HEADS = {"speed": ["sampler", "data", "draws", "smallest ESS", "seconds", "ESS per second"]}
PAIRS = REFERENCE / "cloning" / "y_n100_m2.csv"
AIM = 80_000


def pairs() -> pd.DataFrame:
    """The 100 groups of 2 of the reference runs of JAGS."""
    return pd.read_csv(PAIRS)


def fours() -> pd.DataFrame:
    """100 groups of 4 with a random intercept."""
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(100), 4)
    return pd.DataFrame({"i": g, "y": 2.5 + rng.normal(0, 0.5, size=100)[g] + rng.normal(0, 0.7, size=400)})


def slopes(n_groups: int, n_i: int) -> pd.DataFrame:
    """Groups with a random slope, every row with an x of its own, so that no two groups share a Z_i'Z_i."""
    rng = np.random.default_rng(12)
    g = np.repeat(np.arange(n_groups), n_i)
    b, x = rng.normal(size=(n_groups, 2)), rng.normal(size=len(g))
    return pd.DataFrame({"g": g, "x": x, "y": b[g, 0] + b[g, 1] * x + rng.normal(size=len(g))})


def speed(frame: pd.DataFrame, priors=None, repeats: int = 3, **how) -> tuple[list[str], float]:
    """Cells of the table from draws to speed, and the speed: of repeated runs, after one that is not counted."""
    seconds, least = [], []
    for seed in range(repeats + 1):
        begin = time.process_time()
        drawn = sample("y ~ 1 + (1 | i)", frame, priors, rng=seed, **how)
        seconds.append(time.process_time() - begin)
        least.append(drawn.diagnostics()["ess_bulk"].min())
    ess, times = min(least), Times(tuple(seconds[1:]))
    cells = [f"{drawn.chains} x {drawn.draws}", f"{ess:,.0f}", str(times), f"{ess / times.median:,.0f}"]
    return cells, ess / times.median


def jags(repeats: int = 3) -> tuple[list[str], float] | None:
    """The same of JAGS, hierarchically centred, on the 100 groups of 2; None where there is no rjags."""
    script = str(Path(__file__).with_name("jags.R"))
    if shutil.which("Rscript") is None:
        return None
    done = subprocess.run(["Rscript", script, str(PAIRS), str(repeats)], capture_output=True, text=True)
    if done.returncode:
        return None
    least, seconds = np.array([line.split() for line in done.stdout.splitlines()], float).T
    ess, times = float(least.min()), Times(tuple(seconds))
    return ["3 x 5000", f"{ess:,.0f}", str(times), f"{ess / times.median:,.0f}"], ess / times.median


def pymc(frame: pd.DataFrame, draws: int = 1000) -> tuple[float, float, float]:
    """The same for PyMC with nutpie, non-centred, four chains: the call, after one that is not counted, and the share
    of it that is sampling, not compilation.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz as az
        import nutpie
        import pymc as pm

        logging.getLogger("pymc").setLevel(logging.WARNING)
        with pm.Model() as model:
            mu, tau, sigma = pm.Flat("mu"), pm.HalfCauchy("tau", 2.5), pm.HalfCauchy("sigma", 2.5)
            z = pm.Normal("z", shape=frame.i.nunique())
            pm.Normal("y", mu + tau * z[frame.i.to_numpy()], sigma, observed=frame.y.to_numpy())
        for _ in range(2):
            begin = time.perf_counter()
            compiled = nutpie.compile_pymc_model(model)
            ready = time.perf_counter()
            found = nutpie.sample(compiled, draws=draws, tune=1000, chains=4, cores=1, seed=1, progress_bar=False)
            end = time.perf_counter()
        ess = az.ess(found, var_names=["mu", "tau", "sigma"])
    return min(float(v) for v in ess.values()), end - begin, end - ready


def sweep_seconds(n_groups: int, n_i: int, sweeps: int = 30, repeats: int = 5) -> float:
    """Median seconds of a sweep of four chains, the cross-products being there."""
    cross = lmmlib.cross_products(lmmlib.build_design("y ~ x + (x | g)", slopes(n_groups, n_i)))
    model, rng = model_of(cross, Priors().resolved(cross)), np.random.default_rng(1)
    plan, seconds = Plan(centred=False, blocked=True), []
    state, *_ = advance(rng, model, start(rng, cross, model, 4), plan, 0, warmup=5)
    for _ in range(repeats):
        begin = time.perf_counter()
        state, *_ = advance(rng, model, state, plan, 0, warmup=sweeps)
        seconds.append((time.perf_counter() - begin) / sweeps)
    return Times(tuple(seconds)).median


def measure(with_peers: bool = True, **how) -> tuple[list[list[str]], list[Target]]:
    """Rows of the table of speeds, and what is aimed at."""
    priors = Priors(sigma=HalfCauchy(2.5), D=HalfCauchy(2.5))
    rows, rate = [], {}
    for name, frame in (("100 x 2", pairs()), ("100 x 4", fours())):
        for label, run in (("lmmlib, as called", {}), ("- at length", {"draws": 500, "chains": 400, "warmup": 100})):
            cells, rate[label, name] = speed(frame, priors, **run | how)
            rows.append([label, name, *cells])
    peer, other = None, jags() if with_peers else None
    if with_peers:
        ess, seconds, sampling = pymc(fours())
        peer = ess / seconds
        for label, spent in (("PyMC, nutpie", seconds), ("- without compilation", sampling)):
            rows.append([label, "100 x 4", "4 x 1000", f"{ess:,.0f}", duration(spent), f"{ess / spent:,.0f}"])
    if other:
        rows.append(["JAGS, centred", "100 x 2", *other[0]])
    called, at_length = rate["lmmlib, as called", "100 x 2"], rate["- at length", "100 x 2"]
    small, large, long = sweep_seconds(1_000, 10), sweep_seconds(10_000, 10), sweep_seconds(10_000, 40)
    targets = [
        Target(f"{AIM:,} effective draws, 100 groups of 2, at length", AIM / at_length, 1.0),
        Target("time per effective draw, as called, over JAGS's", other and other[1] / called, 1 / 20, "ratio"),
        Target(
            "- over PyMC's with nutpie, 100 groups of 4",
            peer and peer / rate["lmmlib, as called", "100 x 4"],
            1 / 100,
            "ratio",
        ),
        Target("a sweep of 4 chains, 10,000 unequal groups with slope", large, 0.05),
        Target("- over that of 1,000 groups", large / small, 12.0, "ratio"),
        Target("- of 40 rows a group over 10 rows", long / large, 1.25, "ratio"),
    ]
    return rows, targets


if __name__ == "__main__":
    sys.exit(main(__doc__, "Results of the Gibbs sampler", HEADS["speed"], measure))
