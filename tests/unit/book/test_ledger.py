"""Our numbers beside printed ones: what counts as agreement."""

import math

import pytest

from lmmlib import report
from lmmlib.book import datasets, ledger
from lmmlib.errors import ParameterError, ReproductionError

LEDGER = datasets.published()


# --- the ledger -------------------------------------------------------------------------------------

KNOWN = LEDGER[LEDGER["reference"].notna()].to_dict("records")


@pytest.mark.parametrize("row", [r for r in KNOWN if r["kind"] != "monte-carlo"], ids=lambda r: r["id"])
def test_the_reference_agrees_and_a_wrong_number_does_not(row, capsys):
    report.reproduces(row["id"], row["reference"])
    out = capsys.readouterr().out
    assert out.startswith(f"{row['id']}: ours ") and f": {ledger.PASSED}" in out and out.count("\n") == 1
    unit = 1e-15 if row["kind"] == "bound" else 10.0 ** ledger._last_place(row["printed"])
    if row["kind"] == "early-stop":
        unit = 3e-6 * row["reference"]
    for wrong in (row["reference"] + 1.1 * unit, row["reference"] - 1.1 * unit, math.nan):
        with pytest.raises(ReproductionError, match=ledger.FAILED):
            report.reproduces(row["id"], wrong)
    assert capsys.readouterr().out == ""


def compare(id, value, mcse=None):
    return ledger.compare(f"003-{id}" if not id.startswith("0") else id, value, mcse)


def test_a_tie_agrees_whatever_its_rounding_error():
    for error in (-1e-13, 0, 1e-13):
        assert compare("lm-lead-week-residual-3q", 4.4535 + error).passed  # printed 4.454
        assert compare("lead-week-treatment-1-id-estimate-of-intercept", 25.76475 + error).passed  # 25.7648
    assert not compare("lm-lead-week-residual-3q", 4.4534999).passed


def test_exponents_are_respected():
    name = "lead-week-treatment-1-id-p-value-of-treatmentsuccimer"  # 2.1e-06
    assert compare(name, 2.1035e-6).ours == "2.104e-06"
    assert compare(name, 2.149e-6).passed and not compare(name, 2.16e-6).passed


def test_digits_that_agree():
    assert compare("001-dental-reml-standard-deviation-intercept", 2.32703591589089).digits == "4 of 6"
    assert compare("lm-lead-week-t-of-week", -2.4009634).digits == "4 of 4"
    assert compare("lm-lead-week-t-of-week", 2.4009634).digits == "0 of 4"
    zero = compare("lead-week-treatment-1-id-correlation-of-fixed-effects-treatment-with-week", -1e-15)
    assert (zero.ours, zero.digits, zero.passed) == ("0.00000", "3 of 3", True)


def test_an_early_stop_is_held_against_the_optimum():
    name = "001-dental-reml-standard-deviation-intercept"
    found = compare(name, 2.327035916)
    assert found.passed and found.note.startswith("printed value off by 0.00032;")
    assert not compare(name, 2.32736).passed, "the printed value itself is not the optimum"


@pytest.mark.parametrize("row", [r for r in KNOWN if not math.isnan(r["stopped"])], ids=lambda r: r["id"])
def test_where_the_optimiser_stopped_rounds_to_what_is_printed(row):
    assert ledger.rounds_to(row["printed"], row["stopped"])
    unit = 10.0 ** ledger._last_place(row["printed"])
    assert not ledger.rounds_to(row["printed"], row["stopped"] + 1.1 * unit)
    assert not ledger.rounds_to(row["printed"], row["stopped"] - 1.1 * unit)


def with_stop(monkeypatch, id, stopped):
    rows = {row["id"]: row for row in LEDGER.to_dict("records")}
    monkeypatch.setattr(ledger, "_rows", lambda: rows | {id: rows[id] | {"stopped": stopped}})


@pytest.mark.parametrize("stopped", [2.32736501, 2.32735499, 2.327035916, math.nan])
def test_a_stop_that_does_not_round_to_the_printed_digits_explains_nothing(monkeypatch, stopped):
    """A neighbouring digit, the optimum itself, no value: the optimum alone is not enough."""
    id, optimum = "001-dental-reml-standard-deviation-intercept", 2.32703591589089
    assert compare(id, optimum).passed
    with_stop(monkeypatch, id, stopped)
    assert not compare(id, optimum).passed
    with pytest.raises(ReproductionError, match=ledger.FAILED):
        report.reproduces(id, optimum)


def test_a_stop_is_named_in_the_note():
    note = compare("lead-week-week-id-placebo-only-satterthwaite-df-of-week", 49.0).note
    assert note.startswith("printed value off by 0.00066; printed by an optimiser that stopped early (it gave 49.00066")


def test_a_source_error_says_why(capsys):
    report.reproduces("004-sigma2-hat", 0.4923811875)
    assert "but the printed number is wrong" in capsys.readouterr().out
    table = report.reproduction_table({"004-sigma2-hat": 0.4923811875})
    assert "RSS/(80 - 30)" in table.rows[0][4]
    assert not compare("004-sigma2-hat", 0.78781).passed


def test_a_bound():
    name = "lm-lead-week-p-value-of-intercept"
    assert compare(name, 0.0).passed and compare(name, 1e-133).ours == "<2e-16"
    assert not compare(name, 2e-16).passed and not compare(name, -1e-3).passed


def test_a_monte_carlo_average_needs_its_error():
    for wrong in (None, -1.0, math.nan, math.inf):
        with pytest.raises(ParameterError, match="mcse"):
            compare("004-theta-tilde-1", 2.84, wrong)
    assert compare("004-theta-tilde-1", 2.869, 0.007).passed  # printed 2.841: 0.028 <= 4 * 0.007 + 0.0005
    assert not compare("004-theta-tilde-1", 2.869, 0.0068).passed


def test_an_unknown_id_is_named_with_near_ones():
    with pytest.raises(ParameterError, match="003-lm-lead-week-f-statistic"):
        ledger.compare("003-lm-lead-week-f-statistics", 1.0)


# --- other programs -----------------------------------------------------------------------------------------------


def test_another_rule_agrees_with_the_reference_and_not_with_what_is_printed():
    name = "sleep-slope-reml-nlme-df-days"  # printed 161, and 17 by our rule
    found = ledger.compare(name, 17.000001)
    assert found.passed and found.verdict == ledger.KINDS["other-rule"] and found.note.startswith("df of nlme")
    for wrong in (17.0001, 16.9999, 161, math.nan):
        assert not ledger.compare(name, wrong).passed


def test_ours_has_two_digits_more_and_eight_decimals_at_most():
    assert ledger.compare("sleep-slope-reml-lme4-se-days", 1.5457888929).ours == "1.54579"
    assert ledger.compare("dental-sex-reml-nlme-se-age-sexfemale", 0.13473534424).ours == "0.13473534"


def test_another_rule_must_differ(monkeypatch):
    """A row whose printed number is ours is none of another rule."""
    row = {"id": "a", "place": "b", "quantity": "c", "printed": "17", "reference": 17.0, "stopped": math.nan}
    monkeypatch.setattr(ledger, "_rows", lambda: {"a": row | {"kind": "other-rule", "note": "d"}})
    assert not ledger.compare("a", 17.0).passed
