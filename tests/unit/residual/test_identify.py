import numpy as np
import pytest

import lmmlib
from lmmlib.errors import DesignError
from lmmlib.residual import ar1, by, compound, unstructured


@pytest.mark.parametrize(
    ("formula", "structure", "words"),
    [
        (
            "lead ~ week + (1 | child)",
            compound("week"),
            r"do not identify D\[\(Intercept\), \(Intercept\)\], sigma, rho: they .*Compound symmetry is what a random",
        ),
        ("lead ~ week + (1 | child)", unstructured("week"), r"R\[0, 0\], .*write \(0 \| child\), or choose by\(\)"),
        ("lead ~ week + (week | child)", unstructured("week"), "A free covariance holds what .*, week add"),
    ],
)
def test_twice_the_same(formula, structure, words, trial):
    with pytest.raises(DesignError, match=words):
        lmmlib.fit(formula, trial, residual=structure)


def test_a_level_seen_once(trial):
    data = trial.assign(seen=np.where(np.arange(len(trial)) == 7, "once", "often"))
    with pytest.raises(DesignError, match="do not identify sigma once: it changes .* level once has 1 row, or the eff"):
        lmmlib.fit("lead ~ week + seen + (0 | child)", data, residual=by("seen"))
    # Without a mean of its own the row has a variance, though hardly known.
    assert lmmlib.fit("lead ~ week + (0 | child)", data, residual=by("seen")).converged


def test_visits_that_are_no_categories(trial):
    data = trial.assign(time=np.random.default_rng(1).uniform(0, 6, len(trial)))
    for structure in (by("time"), unstructured("time")):
        with pytest.raises(DesignError, match="too many for .* observations; .* are the visits no categories"):
            lmmlib.fit("lead ~ week + (0 | child)", data, residual=structure)
    assert lmmlib.fit("lead ~ week + (0 | child)", data, residual=compound("time")).converged
    assert 0 < lmmlib.fit("lead ~ week + (0 | child)", data, residual=ar1("time")).parameters()["rho"] < 1


def test_a_pair_of_visits_never_seen_together(trial):
    part = trial["child"] < "c15"
    data = trial[(part & (trial["week"] != 6)) | (~part & (trial["week"] != 0))]
    with pytest.raises(DesignError, match=r"do not identify R\[6, 0\]: it changes .* Too few groups have two of these"):
        lmmlib.fit("lead ~ week + (0 | child)", data, residual=unstructured("week"))


def test_pairs_of_visits_of_a_cell(trial):
    data = trial[(trial["arm"] == "placebo") | trial["week"].isin([0, 1, 4])]
    with pytest.raises(DesignError, match=r"R\[6, 0\] of succimer, R\[6, 1\] of succimer, .*R\[6, 6\] of succimer"):
        lmmlib.fit("lead ~ week + (0 | child)", data, residual=unstructured("week", by="arm"))


def test_dependent_columns(trial):
    data = trial.assign(double=2 * trial["week"])
    with pytest.raises(DesignError, match="column 'double' of the fixed effects is a linear combination"):
        lmmlib.fit("lead ~ week + double + (0 | child)", data, residual=by("week"))
    fit = lmmlib.fit("lead ~ week + double + (0 | child)", data, residual=by("week"), drop="dependent")
    assert fit.dropped == ("double",)


def test_groups_of_one_visit(trial):
    one = trial.drop_duplicates("child")
    with pytest.raises(DesignError, match="do not identify rho: it changes"):
        lmmlib.fit("lead ~ week + (0 | child)", one, residual=ar1("week"))
