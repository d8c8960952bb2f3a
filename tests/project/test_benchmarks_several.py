"""The benchmark of several groupings on few rows."""

import pytest

from benchmarks import data, several


def test_rows_and_targets():
    rows, targets = several.measure(labs=20, rows=3000, runs=(1, 1), with_r=False)
    assert [row[0] for row in rows] == [f"{100 * n:,} casks of {10 * n} batches of {n} labs" for n in (2, 20)]
    assert all(len(row) == len(several.HEAD) and row[2:] == ["-", "-", "-"] for row in rows)
    assert [target.met is None for target in targets] == [True, True, False, False]


def test_a_deviance_above_that_of_lmer_stops_it(monkeypatch):
    frame = data.crossed(500, 10, 5)
    ours = several.fit(several.CROSSED, frame, 1)
    for criterion, wrong in ((ours.criterion, False), (ours.criterion - 0.01, True)):
        monkeypatch.setattr(several, "r", lambda *_, c=criterion: several.Times((2.0,), c))
        if wrong:
            with pytest.raises(ArithmeticError, match="the deviance is 1.0e-02 above lmer's"):
                several.beside("crossed", several.CROSSED, frame, ["g", "h"], (1, 1))
        else:
            row, share, seconds = several.beside("crossed", several.CROSSED, frame, ["g", "h"], (1, 1))
            assert row[0] == "crossed" and row[2] == "2 s (1 run)" and share == pytest.approx(seconds / 2)


def test_data_are_a_recipe():
    nested = data.nested(3)
    assert nested[["lab", "batch", "cask"]].nunique().to_list() == [3, 30, 300] and len(nested) == 900
    assert (nested.groupby("cask")["batch"].nunique() == 1).all()
    crossed = data.crossed(2000)
    assert crossed["g"].nunique() == 200 and crossed["h"].nunique() == 100
    assert crossed.equals(data.crossed(2000))
