"""The benchmark of counts and successes on few repeats and few groups."""

import pytest

from benchmarks import data, glmm


def test_rows_and_targets():
    rows, targets = glmm.measure(many=200, repeats=1, with_r=False)
    assert len(rows) == 8 and all(len(row) == len(glmm.HEAD) for row in rows)
    assert [target.limit for target in targets] == [*[pytest.approx(0.1)] * 3, 3.0, 2.5, 3.0, 2.0, 2.5]
    assert targets[0].met is None and targets[3].met and targets[5].met and targets[6].met


def test_a_wrong_answer_stops_it(monkeypatch):
    right = glmm.fit_glmm
    monkeypatch.setattr(glmm, "fit_glmm", lambda formula, frame, **more: right(formula, frame[:-1], **more))
    with pytest.raises(ArithmeticError, match="4 x 2 by laplace: the log-likelihood is off"):
        glmm.small(1)


def test_data_are_a_recipe():
    frame = glmm.counts(100, slope=True)
    assert frame.shape == (500, 3) and frame.site.nunique() == 100
    assert frame["count"].sum() == glmm.counts(100, slope=True)["count"].sum()
    frame = data.successes(40, 8)
    assert frame.shape == (400, 4) and frame.site.nunique() == 40 and (frame.y + frame.rest == 8).all()
    assert data.successes(40, 1).y.isin([0, 1]).all()
