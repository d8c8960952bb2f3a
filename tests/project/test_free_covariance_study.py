"""The study of free covariances in small trials: its trials, its table, and that its verdicts can fail."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from studies import free_covariance as study


def test_a_trial_has_gaps_and_a_first_visit():
    frame = study.trial(12, "each arm", np.random.default_rng(1))
    assert frame["id"].nunique() == 24 and len(frame) < 96
    assert (frame.groupby("id")["week"].first() == 0).all()
    assert (frame.groupby("id")["arm"].nunique() == 1).all() and set(frame["arm"].value_counts().index) == {"0", "1"}
    again = [frame[f"after{week}"][(frame["week"] == week) & (frame["arm"] == "1")] for week in (1, 4, 6)]
    assert all((part == 1).all() for part in again)
    assert frame[["after1", "after4", "after6"]].to_numpy().sum() == sum(map(len, again))


@pytest.mark.parametrize("covariance", study.COVARIANCES)
def test_the_truth_is_a_covariance_for_each_arm(covariance):
    """Sample covariances of many children come to it."""
    rng = np.random.default_rng(2)
    frame = study.trial(20_000, covariance, rng)
    for arm, truth in enumerate(study.TRUTH[covariance]):
        wide = frame[frame["arm"] == str(arm)].pivot(index="id", columns="week", values="lead")
        assert_allclose(wide.cov(), truth, atol=2.5)
        assert_allclose(wide.notna().mean(), [1, 0.85, 0.85, 0.85], atol=0.02)


def test_intervals_are_those_of_contrasts_and_too_few_children_have_none():
    rng = np.random.default_rng(3)
    found = study.intervals(study.trial(12, "common", rng), "common")
    assert list(found) == list(study.METHODS)
    width = {name: table["upper"] - table["lower"] for name, table in found.items()}
    assert (width["z"] < width["satterthwaite"]).all() and (width["satterthwaite"] < width["kenward-roger"]).all()
    assert study.intervals(study.trial(3, "each arm", rng), "each arm") == "no_maximum"


def test_the_table_has_all_blocks_and_counts():
    table = study.stored()
    rows = [(n, c, k) for n in study.SIZES for c in study.COVARIANCES for k in range(study.BLOCKS)]
    assert list(zip(table["n_arm"], table["covariance"], table["block"], strict=True)) == rows
    assert (table["trials"] == study.TRIALS).all()
    assert (table["answered"] + table["no_maximum"] + table["indefinite"] == study.TRIALS).all()
    counted = [name for name in table if ", " in name]
    assert len(counted) == len(study.QUESTIONS) * len(study.METHODS)
    assert (table[counted].to_numpy() <= table[["answered"]].to_numpy()).all()


@pytest.mark.slow
def test_a_block_is_reproduced():
    table = study.stored()
    at = table[(table["n_arm"] == 20) & (table["covariance"] == "each arm") & (table["block"] == 1)]
    pd.testing.assert_series_equal(pd.Series(study.block(20, "each arm", 1)), at.iloc[0], check_names=False)


def test_the_verdicts_can_fail():
    """z and the random intercept are seen to cover too little, and Kenward and Roger's interval is not."""
    table = study.coverage().set_index(["n_arm", "covariance", "question", "method"])
    off = (table["coverage"] - 0.95) / table["coverage_mcse"]
    assert off[12, "each arm", "week 6", "z"] < -4 and off[20, "common", "week 6", "intercept"] < -4
    assert abs(off.xs("kenward-roger", level="method")).max() < 3
