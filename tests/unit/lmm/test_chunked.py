"""Fits of sums of chunks: those of all rows, and what they say of what needs rows."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DesignError, ParameterError
from tests.unit.design.pieces import FORMULA, LEVELS, agree, by_chunks


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize(
    "formula",
    [
        FORMULA,
        "lead ~ week + (1 | id)",
        "lead ~ C(week) * treatment + (1 + week || id)",
        "np.log(lead) ~ week + (1 | id)",
        "lead ~ treatment + (0 | id)",
        "lead ~ 0 + (week | id)",
        "lead ~ week * treatment + (week * treatment - treatment - week:treatment | id)",
    ],
)
def test_fit_is_that_of_all_rows(tlc, formula, method):
    full = lmmlib.fit(formula, tlc, method=method)
    agree(by_chunks(formula, tlc, tlc[:80], LEVELS, method), full)


def test_calendar_years_keep_their_digits():
    """Sorted by year, the first chunk has one year only, of which no basis can be made."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"year": np.repeat(np.arange(2001, 2021), 30), "g": np.tile(np.arange(30), 20)})
    frame["y"] = 3 + 0.1 * (frame["year"] - 2010) + rng.standard_normal(30)[frame["g"]] + rng.standard_normal(600)
    formula = "y ~ year + (1 | g)"
    ours = by_chunks(formula, frame, frame[:30])
    agree(ours, lmmlib.fit(formula, frame), tol=1e-7)


def test_results_that_need_no_rows(tlc, coding):
    ours = by_chunks(FORMULA, tlc, tlc[:50], LEVELS)
    full = lmmlib.fit(FORMULA, tlc)
    assert_allclose(ours.fixed_effects(), full.fixed_effects(), rtol=1e-5)
    assert_allclose(ours.blups().b, full.blups().b, atol=1e-6)
    assert ours.blups().b.index.equals(full.blups().b.index)
    new = tlc[:5].assign(week=[2, 3, 5, 7, 0.5], id=["1", 2, 3, 4, -7][1:] + [3])
    for of in ("group", "population"):
        assert_allclose(ours.predict(new, of=of)["estimate"], full.predict(new, of=of)["estimate"], rtol=1e-7)
    limits = ours.confint(parameters=["week", "sigma"])[["lower", "upper"]]
    assert_allclose(limits, full.confint(parameters=["week", "sigma"])[["lower", "upper"]], rtol=1e-5)
    assert "scaled residuals" not in repr(ours) and "D is singular" in repr(ours)
    assert repr(ours).splitlines()[2:] == repr(full).splitlines()[3:]


@pytest.mark.parametrize(
    "ask",
    [
        lambda f: f.residuals(),
        lambda f: f.fitted(of="population"),
        lambda f: f.simulate(rng=np.random.default_rng(1)),
        lambda f: f.refit(np.zeros(400)),
        lambda f: f.confint(method="bootstrap", rng=np.random.default_rng(1)),
        lambda f: lmmlib.compare(f, f),
    ],
)
def test_what_needs_rows_says_so(tlc, ask):
    ours = by_chunks("lead ~ week + (1 | id)", tlc, tlc[:50])
    with pytest.raises(DesignError, match="has no rows.*second time"):
        ask(ours)


def test_unidentified_models_are_named(tlc):
    twice = tlc.assign(again=tlc["week"] * 2)
    with pytest.raises(DesignError, match="'again' of the fixed effects is a linear combination"):
        by_chunks("lead ~ week + again + (1 | id)", twice, twice[:50])
    # Both are constant in the example, whose basis does not tell that one follows from the other.
    for seed in range(5):
        late = np.where(tlc.index > 60, np.random.default_rng(seed).normal(size=len(tlc)), 0.0)
        both = tlc.assign(one=late + 5, two=2 * late)
        with pytest.raises(DesignError, match="'two' of the fixed effects is a linear combination"):
            by_chunks("lead ~ one + two + week + (1 | id)", both, both[:50])
    exact = tlc.assign(lead=tlc["week"] * 2.0)
    with pytest.raises(DesignError, match="fit the response exactly.*is 'lead' the response"):
        by_chunks("lead ~ week + (1 | id)", exact, exact[:50])
    with pytest.raises(ParameterError):
        by_chunks("lead ~ week + (1 | id)", tlc, tlc[:50], method="reml ")
