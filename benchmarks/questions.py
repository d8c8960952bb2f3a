"""What a question to a large fit costs, in fits: nothing that is known is computed twice.

``--save`` also puts the tables into README.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

import lmmlib
from benchmarks import data
from benchmarks.measure import Target, Times, duration, main
from lmmlib import Fit

SLOPE, NULL = "y ~ x + (x | g)", "y ~ x + (1 | g)"
HEAD = ["question", "processor time", "in fits"]
# What is asked of a fit, and of that of a smaller model, and the most that it may cost.
QUESTIONS: dict[str, tuple[Callable[[Fit, Fit], object], float]] = {
    "print(fit)": (lambda fit, null: repr(fit), 0.25),
    "fit.fixed_effects()": (lambda fit, null: fit.fixed_effects(), 0.25),
    "fit.confint(method='wald')": (lambda fit, null: fit.confint(method="wald"), 0.25),
    "lmmlib.compare(smaller, fit)": (lambda fit, null: lmmlib.compare(null, fit), 0.1),
    "fit.blups()": (lambda fit, null: fit.blups(), 1.0),
    "fit.confint()": (lambda fit, null: fit.confint(), 10.0),
}


def seconds(call: Callable) -> tuple[float, object]:
    """Processor time of a call, and its result."""
    begin = time.process_time()
    result = call()
    return time.process_time() - begin, result


def right(answers: dict[str, object]) -> None:
    """Profile and Wald intervals of so many groups agree to a hundredth of their width."""
    profile, wald = answers["fit.confint()"], answers["fit.confint(method='wald')"]
    off = (profile[["lower", "upper"]] - wald[["lower", "upper"]]).abs().max(axis=1) / wald["se"]
    if not off.max() < 0.05:
        raise ArithmeticError(f"profile and Wald limits differ by {off.max():.3f} standard errors")


def measure(frame: pd.DataFrame | None = None, repeats: int = 3) -> tuple[list[list[str]], list[Target]]:
    """Rows of the table, and what is aimed at: each question is the first that a new fit is asked."""
    frame = data.slope1m() if frame is None else frame
    null, fits = lmmlib.fit(NULL, frame), []
    asked: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    answers: dict[str, object] = {}
    for _ in range(repeats):
        for name, (ask, _most) in QUESTIONS.items():
            spent, fit = seconds(lambda: lmmlib.fit(SLOPE, frame))
            fits.append(spent)
            spent, answers[name] = seconds(lambda ask=ask, fit=fit: ask(fit, null))
            asked[name].append(spent)
    right(answers)
    one = float(np.median(fits))
    cost = {name: Times(tuple(spent)).median / one for name, spent in asked.items()}
    rows = [["lmmlib.fit(...)", duration(one), "1"]]
    rows += [[name, duration(cost[name] * one), f"{cost[name]:.3f}"] for name in QUESTIONS]
    return rows, [Target(name, cost[name], most, "fits") for name, (_ask, most) in QUESTIONS.items()]


if __name__ == "__main__":
    sys.exit(main(__doc__, "Results of questions", HEAD, measure))
