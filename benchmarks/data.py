"""Simulated data sets of fixed recipes: the same draws on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

D = np.array([[1.0, 0.3], [0.3, 0.5]])


def tlc_like() -> pd.DataFrame:
    """100 children at weeks 0, 1, 4, 6 in two arms: a random intercept, no random slope."""
    rng = np.random.default_rng(20260101)
    n, week = 100, np.array([0.0, 1.0, 4.0, 6.0])
    treat = np.arange(n) % 2
    a, e = 4.7 * rng.standard_normal(n), 5.8 * rng.standard_normal((n, 4))
    y = 26 - 0.4 * week - 5.5 * treat[:, None] + a[:, None] + e
    child = np.repeat(np.arange(n), 4)
    return pd.DataFrame({"g": child, "x": np.tile(week, n), "treat": treat[child], "y": y.ravel()})


def slope(n_groups: int, seed: int) -> pd.DataFrame:
    """Random intercept and slope, 10 rows in each group, every row with an x of its own."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_groups, 10))
    b = rng.standard_normal((n_groups, 2)) @ np.linalg.cholesky(D).T
    e = rng.standard_normal((n_groups, 10))
    y = 1 + 0.5 * x + b[:, :1] + b[:, 1:] * x + e
    return pd.DataFrame({"g": np.repeat(np.arange(n_groups), 10), "x": x.ravel(), "y": y.ravel()})


def slope100k() -> pd.DataFrame:
    """100,000 rows in 10,000 groups."""
    return slope(10_000, 20260102)


def slope1m() -> pd.DataFrame:
    """1,000,000 rows in 100,000 groups."""
    return slope(100_000, 20260103)


def balanced(n_groups: int = 10_000) -> pd.DataFrame:
    """10 rows in each group, all groups with the same x: one Z_i'Z_i."""
    return _groups(np.full(n_groups, 10), np.tile(np.arange(10) - 4.5, n_groups), 20260104)


def unbalanced(n_groups: int = 10_000) -> pd.DataFrame:
    """As many groups and rows, but groups of 1 to 19 rows and every x another: as many Z_i'Z_i as groups."""
    rng = np.random.default_rng(20260105)
    half = rng.integers(1, 20, n_groups // 2)
    sizes = rng.permutation(np.concatenate([half, 20 - half]))
    return _groups(sizes, 3 * rng.standard_normal(sizes.sum()), 20260106)


def _groups(sizes, x, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(sizes)), sizes)
    b = rng.standard_normal((len(sizes), 2)) @ np.linalg.cholesky(D).T
    return pd.DataFrame({"g": g, "x": x, "y": 1 + 0.5 * x + b[g, 0] + b[g, 1] * x + rng.standard_normal(len(g))})


def successes(n_groups: int, trials: int, n_i: int = 10) -> pd.DataFrame:
    """Successes of trials in groups with an intercept of their own; every row has its own x."""
    rng = np.random.default_rng(30)
    site = np.repeat(np.arange(n_groups), n_i)
    x, b = rng.normal(size=len(site)), 0.8 * rng.normal(size=n_groups)
    y = rng.binomial(trials, 1 / (1 + np.exp(-0.3 - 0.5 * x - b[site])))
    return pd.DataFrame({"site": site, "x": x, "y": y, "rest": trials - y})


def crossed(rows: int, n_g: int = 200, n_h: int = 100) -> pd.DataFrame:
    """Rows of random pairs of two groupings."""
    rng = np.random.default_rng(31)
    g, h, x = rng.integers(0, n_g, rows), rng.integers(0, n_h, rows), rng.normal(size=rows)
    y = 0.5 * x + rng.normal(size=n_g)[g] + 0.7 * rng.normal(size=n_h)[h] + rng.normal(size=rows)
    return pd.DataFrame({"g": g, "h": h, "x": x, "y": y})


def nested(labs: int) -> pd.DataFrame:
    """Labs of 10 batches of 10 casks of 3 rows."""
    rng, rows = np.random.default_rng(32), np.arange(300 * labs)
    lab, batch, cask = rows // 300, rows // 30, rows // 3
    x = rng.normal(size=len(rows))
    y = 0.3 * x + rng.normal(size=labs)[lab] + 0.7 * rng.normal(size=10 * labs)[batch]
    y += 0.5 * rng.normal(size=100 * labs)[cask] + rng.normal(size=len(rows))
    return pd.DataFrame({"lab": lab, "batch": batch, "cask": cask, "x": x, "y": y})


def children(n: int) -> pd.DataFrame:
    """Children in two arms at weeks 0, 1, 4, 6, with another covariance of the visits in each arm."""
    rng, arm, week = np.random.default_rng(33), np.arange(n) % 2, np.array([0, 1, 4, 6])
    apart = np.abs(np.arange(4)[:, None] - np.arange(4))
    halves = np.array([np.linalg.cholesky(sd**2 * rho**apart) for sd, rho in ((5.0, 0.8), (7.0, 0.6))])
    y = 26 - 5 * arm[:, None] * (week > 0) + (halves[arm] @ rng.normal(size=(n, 4, 1)))[..., 0]
    child = np.repeat(np.arange(n), 4)
    return pd.DataFrame({"child": child, "arm": arm[child], "week": np.tile(week, n), "y": y.ravel()})


def checksum(frame: pd.DataFrame) -> str:
    """SHA-256 of the response."""
    return hashlib.sha256(np.ascontiguousarray(frame["y"]).tobytes()).hexdigest()
