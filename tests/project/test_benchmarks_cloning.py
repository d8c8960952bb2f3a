"""The benchmark of cloning on tiny runs."""

import pytest

from benchmarks import cloning


def test_rows_and_targets(monkeypatch):
    monkeypatch.setattr(cloning, "SHORT", {"chains": 4, "draws": 20, "warmup": 5})
    rows, targets = cloning.measure(repeats=1, sizes=(1, 50), draws=20, chains=4, warmup=5)
    assert all(len(row) == len(cloning.HEADS) for row in rows)
    assert [row[0] for row in rows] == ["lmmlib"] * 2 + ["dclone, JAGS (stored)"] * 6 + ["maximum likelihood"]
    assert rows[1][1] == "50" and rows[-1][4].startswith("2.56575 (0.05149)")
    by_name = {target.what: target for target in targets}
    assert by_name["- effective draws of dclone's over ours"].measured > 1  # 80 draws are too few
    assert by_name["K = 50 over K = 1"].measured > 0 and by_name["- of these, over K = 2"].measured > 0


def test_runs_are_in_turn(monkeypatch):
    calls = []
    monkeypatch.setattr(cloning, "clone", lambda formula, frame, K, rng, **how: calls.append((K, rng)))
    _, times = cloning.in_turn(None, (1, 10), 2)
    assert calls == [(1, 0), (10, 0), (1, 1), (10, 1), (1, 2), (10, 2)]
    assert [len(t.seconds) for t in times] == [2, 2]


def test_stored_answers():
    assert cloning.stored()["exact_ml"]["mu"] == pytest.approx(2.5657499797859)


def test_a_wrong_answer_stops_it():
    found = cloning.clone(cloning.FORMULA, cloning.pairs(), 10_000, rng=1, draws=100, chains=10, warmup=50)
    exact = cloning.stored()["exact_ml"]
    cloning.require_right(found, exact)
    with pytest.raises(ArithmeticError, match="tau_sq is off by"):
        cloning.require_right(found, exact | {"tau_sq": 1.02 * exact["tau_sq"]})
