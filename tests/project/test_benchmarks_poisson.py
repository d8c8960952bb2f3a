"""The benchmark of Poisson fits on few repeats and few groups."""

import pytest

from benchmarks import poisson


def test_rows_and_targets():
    rows, targets = poisson.measure(many=200, repeats=1, with_r=False)
    assert len(rows) == 6 and all(len(row) == len(poisson.HEAD) for row in rows)
    assert [target.limit for target in targets] == [pytest.approx(0.2), 3.0, 2.5, 3.0]
    assert targets[0].met is None and targets[1].met and targets[3].met


def test_a_wrong_answer_stops_it(monkeypatch):
    right = poisson.fit_glmm
    monkeypatch.setattr(poisson, "fit_glmm", lambda formula, frame, **more: right(formula, frame[:-1], **more))
    with pytest.raises(ArithmeticError, match="4 x 2 by laplace: the log-likelihood is off"):
        poisson.small(1)


def test_data_are_a_recipe():
    frame = poisson.counts(100, slope=True)
    assert frame.shape == (500, 3) and frame.site.nunique() == 100
    assert frame["count"].sum() == poisson.counts(100, slope=True)["count"].sum()
