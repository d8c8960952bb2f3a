"""Processor time of fits with residual covariances beside gls, and how it grows: ``python -m benchmarks.residual``.

The lead trial with a free covariance of the visits in each arm, by ML. gls of nlme has one correlation matrix for all:
it fits each arm by itself, which for a mean of its own at each visit of each arm is the same model.
"""

from __future__ import annotations

import sys
import time

import lmmlib
from benchmarks import data
from benchmarks.measure import Target, Times, duration, main, ratio, run
from benchmarks.peers import lme4_version, r
from lmmlib import residual
from lmmlib.design.cross import cross_products
from lmmlib.residual.fitted import best
from lmmlib.residual.model import Model

HEAD = ["fit by ML", "lmmlib", "gls", "share", "off by"]
TRIAL, CHILDREN = "lead ~ C(week) * treatment + (0 | id)", "y ~ C(week) * C(arm) + (0 | child)"
GLS = """sum(sapply(split(data, data$treatment), function(arm) as.numeric(logLik(gls(
    lead ~ factor(week), arm, correlation = corSymm(form = ~ 1 | id), weights = varIdent(form = ~ 1 | week),
    method = "ML")))))"""


def children(n: int, repeats: int) -> tuple[float, float]:
    """Seconds of a fit to n children of 4 visits, and of its search when the sums are there."""
    frame = data.children(n)
    structure = residual.unstructured("week", by="arm")
    (whole,), (fit,) = run([lambda: lmmlib.fit(CHILDREN, frame, residual=structure)], repeats, time.process_time)
    if not fit.converged:
        raise ArithmeticError(f"{n} children: {fit.reason}")
    model = Model.of(fit.design, cross_products(fit.design), fit.model.visits)
    (search,), _ = run([lambda: best(model, "REML", model.starts())], repeats, time.process_time)
    return Times(whole).median, Times(search).median


def measure(many: int = 100_000, repeats: int = 15, with_r: bool | None = None) -> tuple[list[list[str]], list[Target]]:
    """Rows of the table, and what is aimed at; with gls if there is R, unless told otherwise."""
    with_r = lme4_version() is not None if with_r is None else with_r
    tlc, structure = lmmlib.load("tlc"), residual.unstructured("week", by="treatment")
    call = lambda: lmmlib.fit(TRIAL, tlc, residual=structure, method="ML")  # noqa: E731
    (seconds,), (fit,) = run([call], repeats, time.process_time)
    ours, theirs = Times(seconds, fit.criterion), r(tlc, GLS, ["id"], repeats) if with_r else None
    off = 0.0 if theirs is None else theirs.criterion - ours.criterion
    if not (fit.converged and -1e-6 < off < 1e-3):
        raise ArithmeticError(f"the lead trial: the deviance is off by {off:.1e}")
    share = ratio(ours, theirs)
    live = ["-", "-", "-"] if theirs is None else [str(theirs), f"{share:.3f}", f"{off:+.1e}"]
    few, whole = children(many // 100, 3), children(many, 3)
    rows = [["lead trial, 100 children", str(ours), *live]]
    rows += [[f"{n:,} children", duration(one), "-", "-", "-"] for n, (one, _) in ((many // 100, few), (many, whole))]
    targets = [
        Target("lead trial, share of the time of gls", share, 1 / 10, "ratio"),
        Target(f"{many:,} children of 4 visits", whole[0], 2.0),
        Target(f"- the search, over that of {many // 100:,} children", whole[1] / few[1], 1.5, "ratio"),
    ]
    return rows, targets


if __name__ == "__main__":
    sys.exit(main(__doc__, "Results of residual covariances", HEAD, measure))
