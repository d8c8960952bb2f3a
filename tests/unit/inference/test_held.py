"""The search with a parameter held: where it starts, what it remembers, what it refuses."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DesignError
from lmmlib.inference import held
from lmmlib.inference.held import regular, valleys
from lmmlib.inference.held_parameters import HeldSd, HeldSigma

FORMULAS = {"full": "lead ~ week + (week | child)", "diagonal": "lead ~ week + (week || child)"}


@pytest.fixture
def peak(frame):
    return lambda formula, method: lmmlib.fit(FORMULAS[formula], frame, method=method)


def test_a_start_is_never_singular(peak):
    for formula in ("full", "diagonal"):
        cross = peak(formula, "ML").cross
        L = regular(cross, np.zeros((2, 2)))
        # Eigenvalues are relative variances; those of two columns of a diagonal D that are not orthogonal are smaller.
        assert np.linalg.eigvalsh(L @ L.T).min() > 1e-3


def test_a_fit_at_a_lower_maximum_is_refused(peak):
    peak = peak("full", "ML")
    model = HeldSigma(peak)
    object.__setattr__(peak, "loglik", peak.loglik - 0.5)
    with pytest.raises(DesignError, match="several maxima.*fewer random columns"):
        model.at(1.01 * model.estimate)


def test_starts_of_all_kinds(peak):
    """Every pair of signs of the columns, or every set of columns that vary, in two sizes."""
    full = valleys(peak("full", "ML").cross, np.eye(2))
    assert len(full) == 4 and {np.sign(L[0, 0] * L[1, 0]) for L in full} == {-1, 1}
    cross = peak("diagonal", "ML").cross
    kinds = {tuple(np.linalg.norm(L, axis=0) > 0) for L in valleys(cross, np.eye(2))}
    assert kinds == {(False, False), (False, True), (True, False), (True, True)}


def test_a_known_value_is_not_searched_again(peak, monkeypatch):
    model = HeldSd(peak("full", "REML"), 1)
    first = model.at(0.7)
    monkeypatch.setattr(held, "newton", None)
    assert model.at(0.7) is first and model.at(model.estimate).criterion == model.fit.criterion


def test_with_many_groups_one_start_is_enough(peak, monkeypatch):
    model = HeldSd(peak("full", "REML"), 1)
    assert len(model._starts(2.0)) == 1 + 4  # new ground: the estimate, and starts of all kinds
    model.at(2.0)
    assert len(model._starts(1.5)) == 2  # between two known points: these
    model.at(1.5)
    monkeypatch.setattr(held, "MANY_GROUPS", 5)
    (point,) = model._starts(1.9)
    here, there = model.points[-1], model.points[-2]
    assert (here.value, there.value) == (1.5, 2.0)
    # On the line through the two next to it.
    assert_allclose(point.sigma2, here.sigma2 + 0.8 * (there.sigma2 - here.sigma2), rtol=1e-12)
    assert_allclose(point.L, 0.2 * regular(model.cross, here.L) + 0.8 * regular(model.cross, there.L), rtol=1e-12)


def test_a_minimum_that_is_not_found_is_an_error(peak, monkeypatch):
    model = HeldSd(peak("full", "REML"), 1)
    monkeypatch.setattr("lmmlib.fitting.newton.MAX_STEPS", 1)
    with pytest.raises(DesignError, match="held at 0.7 was not found: 1 steps were not enough"):
        model.at(0.7)
