r"""Do tests reject as often as they say, and do intervals hold the truth as often as they say: a table of shares.

Data like the trial of :mod:`studies.small_samples`, ``lead ~ week + treatment + (1 | id)`` without effects, of 5 to 200
children, with all four visits or with half of the later ones. ``python -m studies.validation`` runs all kinds of
questions and rewrites ``validation.csv``; ``python -m studies.validation counts`` runs one kind and leaves the others.

With a random intercept the likelihood is a sum over at most five eigenspaces of V, as
:func:`studies.small_samples.answers` has it, so that tests and intervals for effects and variances are array
computations for thousands of responses at once.
``tests/project/test_validation_study.py`` compares them with single fits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import lmmlib
from chapters._tools.replacing import replace_text
from lmmlib.common.progress import progress_bar
from lmmlib.design.cross import cross_products
from lmmlib.design.design import Design
from lmmlib.errors import LmmError
from lmmlib.fitting.batch import fit_many
from lmmlib.inference.boundary import exact_null
from lmmlib.lmm.fit import fit_design
from studies.small_samples import QUESTIONS, SIGMA2, TAU2, WEEKS, answers, eigenspaces, responses, trial

TABLE = Path(__file__).with_name("validation.csv")
CHILDREN, SHAPES = (5, 10, 30, 100, 200), ("all visits", "gaps")
PATTERNS, SIZE, DRAWS = 10, 1000, 20_000
SINGLE = 5000  # data sets of a cell whose fits are made one by one
BASE_SEED = 20720
LEVEL = 0.95
# Where the parameter that is not held is looked for, as a factor of its estimate or of sigma2; golden sections then.
GRID = np.concatenate([[0.0], np.geomspace(1e-3, 1e2, 60)])
SECTIONS = 40
INNER = (np.sqrt(5) - 1) / 2


def design_of(n_children: int, shape: str, rng: np.random.Generator) -> Design:
    """A trial of some children, in turn in the two arms."""
    if shape == "gaps":
        return trial(n_children, rng)
    week, child = np.tile(WEEKS, n_children), np.repeat(np.arange(n_children), len(WEEKS))
    X = np.column_stack([np.ones(len(week)), week, child % 2])
    return Design.from_arrays(np.zeros(len(X)), X, np.ones((len(X), 1)), child)


def without(design: Design, *, x: int | None = None, z: bool = False) -> Design:
    """The design without a column of the fixed effects, or without its random effect."""
    X = design.X if x is None else np.delete(design.X, x, axis=1)
    return Design.from_arrays(design.y, X, design.Z[:, :0] if z else design.Z, design.group)


class Restricted:
    """Minus twice the restricted log-likelihood of every response of a design, without constants."""

    def __init__(self, design: Design, Y: np.ndarray):
        self.m, self.dimension, self.A, self.Xy, self.yy = eigenspaces(design.X, design.group, Y)

    def at(self, tau2: np.ndarray, sigma2: np.ndarray) -> np.ndarray:
        """At variances of each response, (size,)."""
        value = sigma2[:, None] + tau2[:, None] * self.m
        XtVX = np.einsum("sc,cpq->spq", 1 / value, self.A)
        XtVy = np.einsum("sc,scp->sp", 1 / value, self.Xy)
        explained = np.einsum("sp,sp->s", XtVy, np.linalg.solve(XtVX, XtVy[:, :, None])[..., 0])
        logs = (np.log(value) * self.dimension).sum(axis=1) + np.linalg.slogdet(XtVX)[1]
        return logs + (self.yy / value).sum(axis=1) - explained

    def least(self, held: str, truth: float, scale: np.ndarray) -> np.ndarray:
        """The least over one variance when the other is held, (size,); ``scale`` is near the place."""
        other = np.full(len(scale), truth)
        at = (lambda free: self.at(other, free)) if held == "tau2" else (lambda free: self.at(free, other))
        grid = GRID[1:] if held == "tau2" else GRID  # sigma2 is above zero
        best = np.argmin([at(factor * scale) for factor in grid], axis=0)
        a, b = (grid[np.clip(best + step, 0, len(grid) - 1)] * scale for step in (-1, 1))
        for _ in range(SECTIONS):
            left, right = b - INNER * (b - a), a + INNER * (b - a)
            lower = at(left) < at(right)
            a, b = np.where(lower, a, left), np.where(lower, right, b)
        return np.minimum(at((a + b) / 2), at(grid[best] * scale))


def share(hits: np.ndarray) -> dict[str, float]:
    """Share of those with an answer, its Monte Carlo error, the share without answer, and how many there are."""
    answered = ~np.isnan(hits)
    mean = hits[answered].mean()
    return {
        "share": mean,
        "mcse": hits[answered].std() / np.sqrt(answered.sum()),
        "unanswered": 1 - answered.mean(),
        "size": len(hits),
    }


def within(estimate, half, truth=0.0) -> np.ndarray:
    """1 where an interval holds the truth, 0 where not, NaN where there is none."""
    return np.where(np.isnan(half), np.nan, (np.abs(estimate - truth) <= half) * 1.0)


def fixed_effects(n_children: int, shape: str, rng: np.random.Generator) -> dict[tuple[str, str, str], np.ndarray]:
    """Intervals of effects and variances and tests of effects, of one pattern: by kind, of what and method."""
    design = design_of(n_children, shape, rng)
    Y = responses(design, SIZE, rng)
    fits, ml = fit_many(design, Y), fit_many(design, Y, method="ML")
    tau2 = np.where(fits.is_singular, 0.0, fits.D[:, 0, 0])
    a = answers(design, Y, tau2, fits.sigma2)
    found = {}
    for method, half in a.half_lengths().items():
        if method == "satterthwaite-sd":
            continue
        if method == "satterthwaite":
            half = np.where(a.definite[:, None] | a.singular[:, None], half, np.nan)
        for name, k in QUESTIONS.items():
            held = within(a.beta[:, k], half[:, k])
            found["coverage", name, method] = held
            found["type I error", name, method] = 1 - held
    for name, k in QUESTIONS.items():
        statistic = 2 * (ml.loglik - fit_many(without(design, x=k), Y, method="ML").loglik)
        rejected = np.where(np.isnan(statistic), np.nan, statistic > stats.chi2.ppf(LEVEL, 1))
        found["type I error", name, "likelihood ratio"] = rejected
        found["coverage", name, "profile"] = 1 - rejected
    restricted, z = Restricted(design, Y), stats.norm.ppf((1 + LEVEL) / 2)
    lowest = restricted.at(tau2, fits.sigma2)
    for k, (name, value, truth) in enumerate([("tau2", tau2, TAU2), ("sigma2", fits.sigma2, SIGMA2)]):
        drop = restricted.least(name, truth, fits.sigma2 if name == "tau2" else fits.sigma2 + tau2) - lowest
        what = {"tau2": "sd between children", "sigma2": "sigma"}[name]
        found["coverage", what, "profile"] = (drop <= z**2) * 1.0
        with np.errstate(all="ignore"):
            half = z * np.sqrt(np.where(a.definite & ~a.singular, a.cov_variances[:, k, k], np.nan)) / value
            found["coverage", what, "wald"] = within(np.log(value), half, np.log(truth))
    return found


def zero_variance(n_children: int, shape: str, rng: np.random.Generator) -> dict[tuple[str, str, str], np.ndarray]:
    """Tests of no variance between children, by REML, of one pattern, of data that have none."""
    design = design_of(n_children, shape, rng)
    Y = np.sqrt(SIGMA2) * rng.standard_normal((design.n_obs, SIZE))
    statistic = 2 * (fit_many(design, Y).loglik - fit_many(without(design, z=True), Y).loglik)
    null = exact_null(cross_products(design), "REML", DRAWS, rng)
    bounds = {
        "chi-square": stats.chi2.ppf(LEVEL, 1),
        "chi-bar-square": stats.chi2.ppf(2 * LEVEL - 1, 1),
        "exact": np.quantile(null, LEVEL),
    }
    lost = np.isnan(statistic)
    return {
        ("type I error", "no variance", name): np.where(lost, np.nan, statistic > bound)
        for name, bound in bounds.items()
    }


def predictions(n_children: int, shape: str, rng: np.random.Generator) -> dict[tuple[str, str, str], np.ndarray]:
    """Intervals for the effects of children, and for a new visit of a child and of a new one, fit by fit."""
    count = SINGLE // PATTERNS
    design = design_of(n_children, shape, rng)
    b = np.sqrt(TAU2) * rng.standard_normal((count, n_children))
    noise, extra = np.sqrt(SIGMA2) * rng.standard_normal((design.n_obs, count)), rng.standard_normal((count, 3))
    frame = pd.DataFrame(design.X[:, 1:], columns=["week", "arm"]).assign(id=design.group)
    new = pd.DataFrame({"week": [3.0, 3.0], "arm": [0.0, 1.0], "id": [0, n_children]})
    truth = np.stack([b[:, 0], np.sqrt(TAU2) * extra[:, 0]], axis=1) + np.sqrt(SIGMA2) * extra[:, 1:]
    z, rows = stats.norm.ppf((1 + LEVEL) / 2), []
    base = lmmlib.build_design("y ~ week + arm + (1 | id)", frame.assign(y=0.0))
    for k in range(count):
        row: dict[tuple[str, str, str], float] = {}
        fit = fit_design(base.with_response(b[k, design.group] + noise[:, k]))
        blups = fit.blups()
        away = np.abs(blups.b.to_numpy()[:, 0] - b[k])
        for error in ("pev", "corrected"):
            reach = z * np.sqrt(getattr(blups, error)[:, 0, 0])
            row["coverage", "effects of children", error] = np.nan if np.isnan(reach).any() else np.mean(away <= reach)
        for method in ("plugin", "corrected"):
            try:
                table = fit.predict(new, interval="prediction", method=method)
            except LmmError:
                held = [np.nan, np.nan]
            else:
                held = (table["lower"] <= truth[k]) & (truth[k] <= table["upper"])
            for what, value in zip(("new visit of a child", "visit of a new child"), held, strict=True):
                row["coverage", what, method] = float(value)
        rows.append(row)
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def counts(n_groups: int, shape: str, rng: np.random.Generator) -> dict[tuple[str, str, str], np.ndarray]:
    """Wald intervals of a Poisson model with a random intercept, five counts in each group or two to eight."""
    sizes = np.full(n_groups, 5) if shape == "all visits" else rng.integers(2, 9, n_groups)
    group = np.repeat(np.arange(n_groups), sizes)
    frame, sd = pd.DataFrame({"g": group, "x": rng.standard_normal(len(group))}), 0.5
    truth = {"slope of counts": 0.3, "sd of counts": sd}
    b, rows, fit = sd * rng.standard_normal((SINGLE // PATTERNS, n_groups)), [], None
    for own in b:
        y = rng.poisson(np.exp(1 + 0.3 * frame["x"] + own[group]))
        try:
            fit = (
                lmmlib.fit_glmm("y ~ x + (1 | g)", frame.assign(y=y), family="poisson") if fit is None else fit.refit(y)
            )
            table = fit.confint(LEVEL, parameters=["x", "sd (Intercept)"])
        except LmmError:
            rows.append([np.nan, np.nan])
            continue
        inside = (table["lower"] <= list(truth.values())) & (list(truth.values()) <= table["upper"])
        rows.append(np.where(table["lower"].isna(), np.nan, inside))
    return {("coverage", what, "wald"): np.array(rows)[:, k] for k, what in enumerate(truth)}


def cloning(n_children: int, shape: str, rng: np.random.Generator) -> dict[tuple[str, str, str], np.ndarray]:
    """Intervals from clones of the data, few and short chains, for effects: estimate and standard errors."""
    design, rows = design_of(n_children, shape, rng), []
    for y in responses(design, SINGLE // PATTERNS, rng).T:
        cloned = lmmlib.clone(
            design.with_response(y), n_clones=25, draws=50, chains=20, warmup=50, rng=rng, progress=False
        )
        table = cloned.confint(LEVEL).iloc[list(QUESTIONS.values())]
        rows.append((table["lower"] <= 0) & (table["upper"] >= 0))
    return {("coverage", what, "cloning"): np.array(rows, float)[:, k] for k, what in enumerate(QUESTIONS)}


# How each kind is computed, for how many children or groups, and of which shapes.
KINDS = {
    "effects": (fixed_effects, CHILDREN, SHAPES),
    "zero": (zero_variance, CHILDREN, SHAPES),
    "counts": (counts, (10, 40), SHAPES),
    "predictions": (predictions, (5, 20), SHAPES[1:]),
    "cloning": (cloning, (10,), SHAPES[1:]),
}


def cell_seed(kind: str, n_groups: int, shape: str) -> list[int]:
    """Of the generator of a cell, but for the number of the pattern."""
    return [BASE_SEED, list(KINDS).index(kind), n_groups, SHAPES.index(shape)]


def cell(kind: str, n_groups: int, shape: str, patterns: int = PATTERNS, update=None) -> pd.DataFrame:
    """One cell: a row for each question and method.

    Parameters
    ----------
    kind : str
        A key of KINDS.
    n_groups : int
        Children, or groups.
    shape : {"all visits", "gaps"}
    patterns : int
        Parts of the cell, each with a generator of its own; with gaps each has its own.
    update : function, optional
        Called with 1 for each part that is done.

    Returns
    -------
    DataFrame
        Columns kind, n_groups, shape, measure, what, method, nominal, share, mcse, unanswered, size, seed.
    """
    seed, parts = cell_seed(kind, n_groups, shape), []
    for pattern in range(patterns):
        parts.append(KINDS[kind][0](n_groups, shape, np.random.default_rng([*seed, pattern])))
        if update:
            update(1)
    rows: list[dict] = []
    for key in parts[0]:
        measure, what, method = key
        start = {"kind": kind, "n_groups": n_groups, "shape": shape, "measure": measure, "what": what, "method": method}
        nominal = {"nominal": LEVEL if measure == "coverage" else 1 - LEVEL}
        hits = np.concatenate([part[key] for part in parts])
        rows.append(start | nominal | share(hits) | {"seed": " ".join(map(str, seed))})
    return pd.DataFrame(rows)


def cells(kinds) -> Iterator[tuple[str, int, str]]:
    """The cells of some kinds."""
    for kind in kinds:
        for n, shape in product(*KINDS[kind][1:]):
            yield kind, n, shape


def run(kinds=tuple(KINDS)) -> pd.DataFrame:
    """All cells of some kinds."""
    chosen = list(cells(kinds))
    with progress_bar(PATTERNS * len(chosen), "validation", None) as bar:
        return pd.concat([cell(*one, update=partial(bar)) for one in chosen], ignore_index=True)


def stored() -> pd.DataFrame:
    """The table of the last run."""
    return pd.read_csv(TABLE)


def misses(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that are off by more than four Monte Carlo errors, and by a hundredth or more."""
    off = table["share"] - table["nominal"]
    return table[(off.abs() > 4 * table["mcse"]) & (off.abs() >= 0.01)]


if __name__ == "__main__":
    for kind in sys.argv[1:] or KINDS:
        new = run([kind])
        old = stored()[lambda t, kind=kind: t["kind"] != kind] if TABLE.exists() else new[:0]
        table = pd.concat([old, new], ignore_index=True).sort_values(
            "kind", key=lambda c: c.map(list(KINDS).index), kind="stable"
        )
        replace_text(TABLE, table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
        print(f"wrote {kind} to {TABLE.name}", flush=True)
