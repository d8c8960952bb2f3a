"""Diagnostics of draws, beside those of ArviZ."""

import sys

import numpy as np
import pandas as pd
import pytest

from lmmlib.bayes.diagnostics import arviz, diagnostics, r_hat, readable
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


def correlated(rng, chains, draws, phi=0.5):
    """Draws of an autoregression, each depending on the one before by phi, of variance one."""
    x = rng.normal(size=(chains, draws)) * np.sqrt(1 - phi**2)
    x[:, 0] /= np.sqrt(1 - phi**2)
    for t in range(1, draws):
        x[:, t] += phi * x[:, t - 1]
    return x


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.5, 0.95])
@pytest.mark.parametrize(("chains", "draws"), [(1, 50), (2, 4), (3, 5), (2, 23), (4, 300), (10, 12)])
def test_they_are_those_of_arviz(chains, draws, phi):
    az, rng = arviz(), np.random.default_rng(5)
    x = correlated(rng, chains, draws, phi)
    for values in (x, np.exp(3 * x), np.round(2 * x), x + rng.normal(size=(chains, 1))):
        ours = diagnostics(pd.DataFrame({"x": values.ravel()}), chains).loc["x"]
        data = az.convert_to_dataset({"x": values})
        theirs = [az.mcse(data), az.ess(data, method="bulk"), az.ess(data, method="tail"), az.rhat(data)]
        theirs = [float(found["x"]) for found in theirs]
        # Quantiles of theirs may fall beside a tie; of few draws a sum of two autocorrelations may be zero but for
        # rounding, which then decides where the sum ends.
        if draws < 50 or len(np.unique(values)) < values.size:
            ours, theirs = ours.drop("ess_tail"), theirs[:2] + theirs[3:]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def nested_by_hand(x, starts):
    """Margossian et al. (2025), in loops."""
    chains = np.split(x, starts)
    means = [np.mean(superchain) for superchain in chains]
    within = [
        np.var([np.mean(chain) for chain in superchain], ddof=1) + np.mean([np.var(c, ddof=1) for c in superchain])
        for superchain in chains
    ]
    return np.sqrt(1 + np.var(means, ddof=1) / np.mean(within))


def test_nested_r_hat_by_hand():
    x = correlated(np.random.default_rng(6), 12, 20)
    halves = np.stack([x[:, :10], x[:, 10:]])
    assert r_hat(halves, 4) == pytest.approx(nested_by_hand(halves.reshape(24, 10), 8), rel=1e-12)


def test_short_chains_are_judged_by_their_starts():
    """Chains too short to agree one by one have forgotten a start, or have not, or drift all alike."""
    rng = np.random.default_rng(7)
    x = correlated(rng, 400, 50, 0.7)

    def r(values, starts):
        return diagnostics(pd.DataFrame({"x": values.ravel()}), 400, starts).loc["x", "r_hat"]

    assert r(x, 400) > 1.05 and r(x, 20) < 1.01
    assert r(x + 0.3 * np.repeat(rng.normal(size=20), 20)[:, None], 20) > 1.03
    assert r(x + np.linspace(0, 1, 50), 20) > 1.03


def test_starts_that_are_not_forgotten_are_seen(frame):
    """The same short run from the same starts, with and without a warm-up."""
    how = {"draws": 4, "chains": 4000, "starts": 20, "rng": 1}
    early, late = (sample("lead ~ week + (1 | child)", frame, warmup=w, **how).diagnostics() for w in (0, 100))
    assert early["r_hat"].max() > 1.03 and late["r_hat"].max() < 1.01


def test_without_arviz_nothing_raises(drawn, monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    assert drawn.table()["ess_tail"].notna().all() and "Draws" in repr(drawn)
    with pytest.raises(ParameterError, match="needs ArviZ"):
        drawn.to_arviz()


def test_chains_that_disagree_are_seen():
    rng = np.random.default_rng(4)
    apart = pd.DataFrame({"x": np.repeat([0.0, 3.0], 500) + rng.normal(size=1000)})
    assert diagnostics(apart, 2).loc["x", "r_hat"] > 1.5 and diagnostics(apart, 2).loc["x", "ess_bulk"] < 10
    drift = pd.DataFrame({"x": np.tile(np.linspace(0, 3, 500), 2) + 0.1 * rng.normal(size=1000)})
    assert diagnostics(drift, 2).loc["x", "r_hat"] > 1.5
