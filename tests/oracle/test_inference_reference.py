"""Likelihood ratio tests against lme4, RLRsim and pbkrtest: the stored values of ``reference/inference``."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib

REFERENCE = json.loads((Path(__file__).parents[1] / "reference/inference/inference.json").read_text())
DATA = {"dyestuff": "dyestuff", "orthodont": "dental", "sleepstudy": "sleep"}
NO_EFFECTS = {"Yield ~ 1": "Batch", "distance ~ age": "Subject", "Reaction ~ Days": "Subject"}


def fits(row):
    data = lmmlib.load(DATA[row["id"].split("_")[0]])
    null = row["null"]
    null += f" + (0 | {NO_EFFECTS[null]})" if null in NO_EFFECTS else ""
    return [lmmlib.fit(formula, data, method=row["method"]) for formula in (null, row["alt"])]


@pytest.mark.parametrize("row", REFERENCE["variance_vs_zero"] + REFERENCE["slope_vs_intercept"], ids=lambda r: r["id"])
def test_variances(row):
    small, large = fits(row)
    assert_allclose([small.loglik, large.loglik], [row["loglik_null"], row["loglik_alt"]], rtol=0, atol=1e-8)
    test = lmmlib.compare(small, large)
    assert_allclose(test.statistic, row["LRT"], rtol=0, atol=2e-8)
    assert_allclose(test.p, row.get("p_mixture_half01", row.get("p_mixture_half12")), rtol=1e-7)
    naive = lmmlib.compare(small, large, method="chi-square")
    assert_allclose(naive.p, row.get("p_chi2_1_naive", row.get("p_chi2_2_naive")), rtol=1e-7)
    assert "conservative" in naive.note


def test_exact_law_of_the_dyestuff():
    theirs = REFERENCE["exactRLRT_dyestuff"]
    small, large = fits(REFERENCE["variance_vs_zero"][0])
    ours = lmmlib.compare(small, large, method="exact", size=40_000, rng=np.random.default_rng(1))
    assert_allclose(ours.statistic, theirs["stat"], atol=2e-8)
    se = np.hypot(ours.mcse, np.sqrt(theirs["p"] / theirs["nsim"]))
    assert abs(ours.p - theirs["p"]) < 4 * se


RLRSIM = json.loads((Path(__file__).parents[1] / "reference/inference/rlrsim.json").read_text())


@pytest.mark.parametrize("row", RLRSIM["tests"], ids=lambda r: r["set"])
def test_exact_laws_of_rlrsim(row):
    """A variance together with fixed effects, and one of two variances (there, as here, an approximation)."""
    data = pd.DataFrame(RLRSIM["data"][row["set"]])
    small, large = (lmmlib.fit(row[k], data, method=row["method"]) for k in ("small", "large"))
    ours = lmmlib.compare(small, large, method="exact", size=40_000, rng=np.random.default_rng(4))
    assert_allclose(ours.statistic, row["statistic"], atol=1e-6)
    # Theirs is the maximum over a grid, and p the share of draws beyond the statistic.
    se = np.sqrt(row["p"] * (1 - row["p"]) * (1 / 40_000 + 1 / row["nsim"]))
    assert abs(ours.p - row["p"]) < 4 * se
    for level in (0.9, 0.99):
        tail = np.mean(ours.draws > row[f"q{100 * level:.0f}"])
        assert abs(tail - (1 - level)) < 4 * np.sqrt(level * (1 - level) * (1 / 40_000 + 1 / row["nsim"]))
    approximate = len(small.D) > 0
    assert ours.reference.startswith("approximate law of the RLRT of" if approximate else "exact law of the LRT")
    assert ("the other random effects are known" in ours.note) == approximate


def test_bootstrap_of_the_dental_slope():
    theirs = REFERENCE["bootstrap_orthodont_slope_ml"]
    row = next(r for r in REFERENCE["slope_vs_intercept"] if r["id"] == "orthodont_ml")
    ours = lmmlib.compare(*fits(row), method="bootstrap", size=2000, rng=np.random.default_rng(2))
    assert abs(ours.p - theirs["p_boot"]) < 4 * np.hypot(ours.mcse, theirs["mc_se"])


def test_interaction_of_age_and_sex():
    dental = lmmlib.load("dental")
    small, large = (lmmlib.fit(f"distance ~ age {op} Sex + (age | Subject)", dental, method="ML") for op in "+*")
    theirs = REFERENCE["pbmodcomp_orthodont_interaction"]
    test = lmmlib.compare(small, large)
    assert_allclose(
        [test.statistic, test.p],
        [theirs["test"]["stat"]["LRT"] if "stat" in theirs["test"] else theirs["test"]["stat_LRT"], theirs["p"]["LRT"]],
        rtol=1e-6,
    )
    boot = lmmlib.compare(small, large, method="bootstrap", size=1000, rng=np.random.default_rng(3))
    other = np.sqrt(theirs["p"]["PBtest"] / theirs["nsim"])
    assert abs(boot.p - theirs["p"]["PBtest"]) < 4 * np.hypot(boot.mcse, other)
