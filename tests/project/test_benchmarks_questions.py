"""The benchmark of questions on few groups."""

import pytest

from benchmarks import data, questions


def test_rows_and_targets():
    rows, targets = questions.measure(data.slope(300, 1), repeats=1)
    assert [row[0] for row in rows] == ["lmmlib.fit(...)", *questions.QUESTIONS]
    assert all(len(row) == len(questions.HEAD) for row in rows)
    assert [target.limit for target in targets] == [most for _ask, most in questions.QUESTIONS.values()]


def test_a_wrong_answer_stops_it(monkeypatch):
    ask, most = questions.QUESTIONS["fit.confint(method='wald')"]
    wrong = {"fit.confint(method='wald')": (lambda fit, null: ask(fit, null) * 1.01, most)}
    monkeypatch.setattr(questions, "QUESTIONS", questions.QUESTIONS | wrong)
    with pytest.raises(ArithmeticError, match="profile and Wald limits differ"):
        questions.measure(data.slope(2000, 1), repeats=1)
