"""The benchmarks on tiny cases: what they report, and that a wrong answer stops them."""

import re
import stat
from pathlib import Path

import numpy as np
import pytest

import lmmlib
from benchmarks import data, measure, memory, peers, run
from benchmarks.measure import Comparison, Target, Times, duration, ratio, table
from benchmarks.measure import run as timed

README = Path(run.__file__).with_name("README.md")


def tiny(criterion):
    frame = data.slope(20, 1)
    return run.Case("tiny", frame, "y ~ x", "x", "g", criterion, (3, 2, 2))


def test_calls_are_timed_in_turn_after_a_first_round():
    order = []
    seconds, results = timed([lambda: order.append("a"), lambda: order.append("b") or 5], 3)
    assert order == ["a", "b"] * 4
    assert [len(s) for s in seconds] == [3, 3] and min(map(min, seconds)) > 0
    assert results == [None, 5]


def test_times_and_shares():
    ours, theirs = Times((0.2, 0.1, 0.9), 10.0), Times((0.8,), 10.5)
    assert ours.median == 0.2
    assert ratio(ours, theirs) == 0.25 and ratio(ours, None) is None
    assert str(ours) == "200 ms [100 ms, 900 ms]" and str(theirs) == "800 ms (1 run)"
    assert Comparison("case", ours, theirs).row() == [
        *("case", "200 ms [100 ms, 900 ms]"),
        *("800 ms (1 run)", "0.250", "+5.0e-01"),
        *("-", "-", "-"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.00234, "2.34 ms"), (0.9991, "999 ms"), (0.9999, "1 s"), (12.34, "12.3 s")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_targets_are_met_up_to_their_limit():
    rows = [Target("a", measured, 0.5, unit).row() for measured, unit in [(0.5, "s"), (0.51, "ratio"), (None, "s")]]
    assert rows == [
        ["a", "500 ms", "500 ms", "yes"],
        ["a", "0.500", "0.510", "no"],
        ["a", "500 ms", "-", "not measured"],
    ]


def test_table_is_markdown_of_even_columns():
    assert table(["a", "b"], [["1", "long"]]) == "| a | b    |\n| - | ---- |\n| 1 | long |"


def test_comparison_of_a_tiny_case():
    case = tiny(lambda found: np.isfinite(found))
    compared = run.compare(case, with_lme4=False)
    assert compared.lmmlib.criterion == pytest.approx(lmmlib.fit(case.formula, case.frame).criterion, rel=1e-13)
    assert abs(compared.statsmodels.criterion - compared.lmmlib.criterion) < 1e-4
    assert (len(compared.lmmlib.seconds), len(compared.statsmodels.seconds), compared.lme4) == (3, 2, None)


@pytest.mark.parametrize("criterion", [run.equals(300.0), run.at_most(0.0)], ids=["another optimum", "above lme4's"])
def test_a_wrong_answer_stops_the_run(criterion, monkeypatch, capsys):
    monkeypatch.setattr(run, "cases", lambda: {"tiny": tiny(criterion)})
    monkeypatch.setattr(run.peers, "lme4_version", lambda: None)
    assert run.main([]) == 1
    assert re.search("tiny: a wrong answer, criterion [0-9.]+$", capsys.readouterr().err.strip())


def test_what_counts_as_the_right_answer():
    assert run.equals(1000.0)(1000.000009) and not run.equals(1000.0)(1000.00002)
    assert run.at_most(1000.0)(900.0) and not run.at_most(1000.0)(1000.1)


def test_a_slow_answer_is_no_failure(monkeypatch, capsys):
    """Targets that are not met are said, and the exit code is 0."""
    case, sleep = tiny(lambda found: True), lmmlib.load("sleep")
    monkeypatch.setattr(run.peers, "lme4_version", lambda: None)
    monkeypatch.setattr(run, "targets", lambda compared, *_: [Target("x", run.optimisation(sleep, 2), 0.0)])
    monkeypatch.setattr(run, "cases", lambda: {"sleep": case, "1m": case})
    assert run.main([]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\| x +\| 0 ms +\| [0-9.]+ ms +\| no +\|", out)
    assert "Rscript with lme4 is not installed" in out and f"numpy {np.__version__}" in out
    assert re.search(r"load ([0-9.]+|unknown) on \d+ processors at the start\.$", out.strip())


def test_refits_compare_with_single_fits(monkeypatch):
    sleep = lmmlib.load("sleep")
    assert run.refits(sleep, size=3, repeats=1) > 0
    original = lmmlib.fit_many
    monkeypatch.setattr(lmmlib, "fit_many", lambda design, Y: original(design, Y[:, ::-1]))
    with pytest.raises(ArithmeticError, match="refit 0"):
        run.refits(sleep, size=3, repeats=1)


def test_unbalanced_groups_are_as_many_rows_of_all_sizes():
    many, few = data.unbalanced(300), data.balanced(300)
    assert len(many) == len(few) == 3000
    sizes = many.groupby("g").size()
    assert (len(sizes), sizes.min(), sizes.max()) == (300, 1, 19)
    assert set(few.groupby("g").size()) == {10}
    assert run.unbalance(300, repeats=1) > 0


def test_unbalance_needs_what_it_compares(monkeypatch):
    monkeypatch.setattr(data, "unbalanced", data.balanced)
    with pytest.raises(ArithmeticError, match="patterns"):
        run.unbalance(50, repeats=1)


def test_peak_memory_is_that_of_the_fit():
    """At least y, X and the codes of the groups are kept: more than the frame has; and the frame is not counted."""
    frame = data.slope(2000, 1)
    peak = memory.of_fit(frame)
    assert 1 < peak["kept"] < peak["traced"] < 20
    # In another process sums may be rounded in another order.
    assert peak["criterion"] == pytest.approx(lmmlib.fit(memory.FORMULA, frame).criterion, rel=1e-13)


def test_peak_memory_sees_a_wasteful_fit(monkeypatch):
    frame, original = data.slope(2000, 1), lmmlib.fit
    size = int(10 * frame.memory_usage(deep=True).sum())
    plain = memory.peaks(frame)["traced"]

    def wasteful(formula, data):
        fitted = original(formula, data)
        np.empty(size, np.uint8)
        return fitted

    monkeypatch.setattr(lmmlib, "fit", wasteful)
    assert memory.peaks(frame)["traced"] > plain + 5


def test_lme4_is_asked_of_rscript(monkeypatch, tmp_path):
    """A stand-in for Rscript that prints what lme4.R prints."""
    script = tmp_path / "Rscript"
    script.write_text('#!/bin/sh\ncase "$1" in -e) printf "lme4 9";; *) head -1 "$2"; exit 3;; esac\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert peers.lme4_version() == "lme4 9"
    script.write_text('#!/bin/sh\n[ "$(head -1 "$2")" = g,x,y ] && printf "0.5\\n0.25\\n-12.5\\n"\n')
    times = peers.lme4(data.slope(3, 1), "y ~ x + (x | g)", "g", 2)
    assert times == Times((0.5, 0.25), -12.5)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert peers.lme4_version() is None


def test_results_replace_those_of_the_readme():
    old = "# Title\n\nText\n\n## Results\n\nold\n"
    new = "# Title\n\nText\n\n## Results\n\nnew\n"
    assert measure.insert(old, "Results", "new") == new
    assert measure.insert(new, "Results", "newer") == measure.insert(old, "Results", "newer")
    more = "\n## Results of others\n\nkept\n"
    assert measure.insert(old + more, "Results", "new") == new + more
    assert measure.insert(old + more, "Results of others", "new") == old + more.replace("kept", "new")


def test_the_readme_holds_the_tables_of_a_run():
    results = README.read_text(encoding="utf-8").partition("## Results\n")[2]
    for head in run.HEADS.values():
        assert re.search(r"^\| *" + r" *\| *".join(map(re.escape, head)) + r" *\|$", results, re.M)
    assert "numpy" in results


def test_a_benchmark_prints_rows_and_targets(capsys):
    def measured():
        return [["1"]], [Target("x", 2.0, 1.0)]

    def wrong():
        raise ArithmeticError("off by one")

    assert measure.main("About.", "Results", ["a"], measured, []) == 0
    assert "| x    | 1 s     | 2 s      | no  |" in capsys.readouterr().out
    assert measure.main("About.", "Results", ["a"], wrong, []) == 1
    assert capsys.readouterr().err == "off by one\n"
