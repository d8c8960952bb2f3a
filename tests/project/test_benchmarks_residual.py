"""The benchmark of residual covariances on few children."""

import pytest

from benchmarks import data, residual


def test_rows_and_targets():
    rows, targets = residual.measure(many=4000, repeats=1, with_r=False)
    assert [row[0] for row in rows] == ["lead trial, 100 children", "40 children", "4,000 children"]
    assert all(len(row) == len(residual.HEAD) for row in rows)
    assert [target.met is None for target in targets] == [True, False, False]


@pytest.mark.parametrize("criterion", [0.0, 5000.0])
def test_a_wrong_answer_stops_it(criterion, monkeypatch):
    monkeypatch.setattr(residual, "r", lambda *_: residual.Times((1.0,), criterion))
    with pytest.raises(ArithmeticError, match="the lead trial: the deviance is off by"):
        residual.measure(many=4000, repeats=1, with_r=True)


def test_data_are_a_recipe():
    frame = data.children(10)
    assert frame.shape == (40, 4) and (frame.groupby("child")["arm"].nunique() == 1).all()
    assert frame["week"].to_list()[:4] == [0, 1, 4, 6] and frame.equals(data.children(10))
