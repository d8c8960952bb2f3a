"""The benchmark of the Gibbs sampler on tiny cases."""

import pytest

from benchmarks import gibbs


def test_rows_and_targets(monkeypatch):
    monkeypatch.setattr(gibbs, "sweep_seconds", lambda n_groups, n_i: n_groups / 1e7)
    rows, targets = gibbs.measure(with_peers=False, chains=20, draws=20)
    assert [row[0] for row in rows] == ["lmmlib, as called", "- at length"] * 2
    assert all(len(row) == len(gibbs.HEADS["speed"]) for row in rows)
    by_name = {target.what: target for target in targets}
    assert by_name["- over PyMC's with nutpie, 100 groups of 4"].measured is None
    assert by_name["- over that of 1,000 groups"].measured == pytest.approx(10)
    assert by_name["- of 40 rows a group over 10 rows"].met
    assert by_name["time per effective draw, as called, over JAGS's"].measured is None
    speed = float(rows[1][-1].replace(",", ""))
    assert by_name["80,000 effective draws, 100 groups of 2, at length"].measured == pytest.approx(
        80_000 / speed, rel=0.01
    )


def test_sweeps_are_timed():
    assert 0 < gibbs.sweep_seconds(20, 3, sweeps=2, repeats=1) < 1


def test_data_are_the_reference_ones():
    frame = gibbs.pairs()
    assert frame.shape == (200, 4) and frame.i.nunique() == 100
    within = frame.y - frame.groupby("i").y.transform("mean")
    assert (within**2).sum() == pytest.approx(4.28961706403685, rel=1e-12)
