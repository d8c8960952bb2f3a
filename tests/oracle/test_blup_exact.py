"""Predictions and their errors against 60-digit arithmetic, at the optimum that lmmlib finds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.lmm.fit import fit_design


@pytest.fixture
def pair(fit):
    exact = fit.exact["ranef"]
    b = fit_design(fit.design, method=fit.method).blups()
    order = [list(map(str, b.b.index)).index(str(level)) for level in exact["levels"]]
    return b, exact, order


def test_predictions(pair):
    b, exact, order = pair
    values = np.array(exact["values"])
    # theta is known to 1e-7, and b moves with it.
    assert_allclose(b.b.to_numpy()[order], values, rtol=0, atol=1e-7 * np.abs(values).max())


@pytest.mark.parametrize("ours, theirs", [("known", "condvar"), ("pev", "pev")])
def test_errors(pair, ours, theirs):
    b, exact, order = pair
    values = np.array(exact[theirs])
    assert_allclose(getattr(b, ours)[order], values, rtol=0, atol=1e-8 * np.abs(values).max())
