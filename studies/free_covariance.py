r"""Coverage of intervals in small trials that estimate a free covariance of the visits: how often 95% hold the truth.

Trials like the lead trial, with 12 or 20 children in each arm, four visits and arms that are equal at week 0; each
later visit is missed with probability 0.15. The covariances are those of the trial, rounded; there are no effects. The
effects at week 6 and on average over weeks 1, 4 and 6 have intervals from a free covariance, common to both arms or of
each arm, and from a random intercept. ``python -m studies.free_covariance`` rewrites ``free_covariance.csv``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import lmmlib
from chapters._tools.replacing import replace_text
from lmmlib.common.progress import progress_bar
from lmmlib.errors import DesignError

TABLE = Path(__file__).with_name("free_covariance.csv")
SIZES, COVARIANCES = (12, 20), ("common", "each arm")
BLOCKS, TRIALS, GAP, BASE_SEED = 10, 100, 0.15, 50620
WEEKS = np.array([0.0, 1.0, 4.0, 6.0])
# Free covariances of the lead trial: of both arms, of placebo, of succimer.
BOTH = np.array([[25, 19, 19, 22], [19, 44, 35, 29], [19, 35, 47, 30], [22, 29, 30, 58]])
PLACEBO = np.array([[25, 22, 24, 21], [22, 30, 27, 23], [24, 27, 33, 28], [21, 23, 28, 32]])
SUCCIMER = np.array([[25, 15, 15, 23], [15, 59, 44, 36], [15, 44, 62, 33], [23, 36, 33, 85]])
TRUTH = {"common": (BOTH, BOTH), "each arm": (PLACEBO, SUCCIMER)}
QUESTIONS = {"week 6": {"after6": 1.0}, "average": {"after1": 1 / 3, "after4": 1 / 3, "after6": 1 / 3}}
METHODS = ("z", "satterthwaite", "kenward-roger", "intercept")
MEAN = "lead ~ C(week) + after1 + after4 + after6"


def trial(n_arm: int, covariance: str, rng: np.random.Generator) -> pd.DataFrame:
    """A trial with gaps and without effects: its visits, with the columns of an effect at each later week."""
    arm = np.arange(2 * n_arm) % 2
    roots = np.linalg.cholesky(np.array(TRUTH[covariance], float))
    y = (roots[arm] @ rng.standard_normal((2 * n_arm, 4, 1)))[..., 0]
    came = rng.random(y.shape) >= GAP
    came[:, 0] = True
    frame = pd.DataFrame({"id": np.repeat(np.arange(2 * n_arm), 4), "week": np.tile(WEEKS, 2 * n_arm)})
    frame["arm"], frame["lead"] = np.repeat(arm, 4).astype(str), y.ravel()
    for week in (1, 4, 6):
        frame[f"after{week}"] = ((frame["week"] == week) & (frame["arm"] == "1")) * 1.0
    return frame[came.ravel()]


def intervals(frame: pd.DataFrame, covariance: str) -> dict[str, pd.DataFrame] | str:
    """The intervals by each method, or why there are none: no maximum, or no definite information."""
    by = None if covariance == "common" else "arm"
    try:
        free = lmmlib.fit(f"{MEAN} + (0 | id)", frame, residual=lmmlib.residual.unstructured("week", by=by))
    except DesignError:
        return "no_maximum"
    if not free.converged:
        return "no_maximum"
    try:
        answers = {method: free.contrasts(QUESTIONS, df=method) for method in METHODS[:3]}
    except DesignError:
        return "indefinite"
    level = lmmlib.fit(f"{MEAN} + (1 | id)", frame)
    return answers | {"intercept": level.contrasts(QUESTIONS, df="kenward-roger")}


def block(n_arm: int, covariance: str, number: int) -> dict:
    """Of the trials of one block, with a generator of its own: how many intervals hold the truth, zero."""
    rng = np.random.default_rng([BASE_SEED + n_arm, COVARIANCES.index(covariance), number])
    counts = dict.fromkeys([f"{method}, {question}" for question in QUESTIONS for method in METHODS], 0)
    row = {"n_arm": n_arm, "covariance": covariance, "block": number, "trials": TRIALS, "answered": 0}
    row |= {"no_maximum": 0, "indefinite": 0} | counts
    for _ in range(TRIALS):
        found = intervals(trial(n_arm, covariance, rng), covariance)
        if isinstance(found, str):
            row[found] += 1
            continue
        row["answered"] += 1
        for method, table in found.items():
            for question, (lower, upper) in table[["lower", "upper"]].iterrows():
                row[f"{method}, {question}"] += int(lower < 0 < upper)
    return row


def run() -> pd.DataFrame:
    """All blocks of all cells."""
    cells = [(n, c, k) for n in SIZES for c in COVARIANCES for k in range(BLOCKS)]
    with progress_bar(len(cells), "free covariances", None) as bar:
        rows = []
        for cell in cells:
            rows.append(block(*cell))
            bar(1)
    return pd.DataFrame(rows)


def stored() -> pd.DataFrame:
    """The table of the last run."""
    return pd.read_csv(TABLE)


def coverage() -> pd.DataFrame:
    """Coverage among the trials with an answer, its Monte Carlo error, and the shares of those without."""
    sums, rows = stored().groupby(["n_arm", "covariance"], sort=False).sum(), []
    for (n_arm, covariance), s in sums.iterrows():
        lost = {name: s[name] / s["trials"] for name in ("no_maximum", "indefinite")}
        for question in QUESTIONS:
            for method in METHODS:
                share = s[f"{method}, {question}"] / s["answered"]
                mcse = np.sqrt(share * (1 - share) / s["answered"])
                at = {"n_arm": n_arm, "covariance": covariance, "question": question, "method": method}
                rows.append(at | {"coverage": share, "coverage_mcse": mcse} | lost)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    replace_text(TABLE, run().to_csv(index=False, lineterminator="\n"))
    print(f"wrote {TABLE.name}")
