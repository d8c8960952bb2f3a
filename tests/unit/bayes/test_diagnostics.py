"""Diagnostics of draws: by ArviZ, and without it."""

import sys

import numpy as np
import pandas as pd
import pytest

from lmmlib import clone
from lmmlib.bayes.diagnostics import diagnostics, readable
from lmmlib.bayes.sample import sample
from lmmlib.errors import ParameterError


@pytest.fixture
def drawn(frame):
    return sample("lead ~ week + (week | child)", frame, draws=200, chains=3, warmup=50, rng=1)


def test_r_hat_sees_chains_apart(drawn):
    frame = drawn.frame()[["week"]]
    assert diagnostics(frame, 3).loc["week", "r_hat"] < 1.1
    frame.loc[0] += 1.0
    assert diagnostics(frame, 3).loc["week", "r_hat"] > 1.3


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 bytes"), (33_600, "33.6 kB"), (999_600, "1 MB"), (2e9, "2 GB"), (3e12, "3e+03 GB")]
)
def test_bytes(size, text):
    assert readable(size) == text


def test_diagnostics_of_a_constant():
    table = diagnostics(pd.DataFrame({"x": np.ones(40)}), 2)
    assert table.shape == (1, 4)


def test_without_arviz_nothing_raises(drawn, frame, monkeypatch):
    """Rougher diagnostics in the place of ArviZ's: texts, tables, verdicts and predictions are there all the same."""
    rng = np.random.default_rng(3)
    many = pd.DataFrame({"white": rng.normal(size=8000), "slow": 0.0})
    for t in range(1, 8000):
        many.loc[t, "slow"] = 0.9 * many.loc[t - 1, "slow"] * (t % 100 > 0) + rng.normal()
    cloned = clone("lead ~ week + (1 | child)", frame, (1, 20), draws=500, chains=20, rng=2)
    with_arviz = diagnostics(many, 80), drawn.table(), cloned.verdicts()
    monkeypatch.setitem(sys.modules, "arviz", None)
    cloned.__dict__.pop("_quality")
    quality = diagnostics(many, 80)
    np.testing.assert_allclose(quality["r_hat"], with_arviz[0]["r_hat"], atol=0.02)
    np.testing.assert_allclose(quality["ess_bulk"], with_arviz[0]["ess_bulk"], rtol=0.8)
    np.testing.assert_allclose(quality["mcse"], with_arviz[0]["mcse"], rtol=0.4)
    table = drawn.table()
    assert table["ess_tail"].isna().all()
    pd.testing.assert_frame_equal(table.iloc[:, :4], with_arviz[1].iloc[:, :4])
    assert cloned.verdicts()["verdict"].tolist() == with_arviz[2]["verdict"].tolist()
    assert "verdict" in repr(cloned) and "Draws" in repr(drawn) and "Draws" in repr(drawn.extend(5))
    assert len(cloned.table()) == 8 and len(cloned.diagnostics()) == 2
    assert len(cloned.posterior_of_b(100, rng).b) == frame["child"].nunique()
    with pytest.raises(ParameterError, match="needs ArviZ"):
        drawn.to_arviz()


def test_chains_that_disagree_are_seen_without_arviz(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    rng = np.random.default_rng(4)
    apart = pd.DataFrame({"x": np.repeat([0.0, 3.0], 500) + rng.normal(size=1000)})
    assert diagnostics(apart, 2).loc["x", "r_hat"] > 1.5 and diagnostics(apart, 2).loc["x", "ess_bulk"] < 10
    drift = pd.DataFrame({"x": np.linspace(0, 3, 1000) + 0.1 * rng.normal(size=1000)})
    assert diagnostics(drift, 1).loc["x", "r_hat"] > 1.5
