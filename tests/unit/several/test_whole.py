"""The criterion by full matrices of the rows: that of the sums where sigma is positive, and its limit at zero."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import LinAlgError

from lmmlib.several.whole import Whole, WholeState
from tests.several import FORMULAS, Dense, animals, design_of, state_at


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("formula", [*FORMULAS, "y ~ 0 + (1 | g) + (1 | h)"])
def test_it_is_the_criterion_of_the_sums(formula, method):
    state, _, _ = state_at(design_of(formula, 3, weights="w", offset="o"), method, 4)
    rows = Whole(state.sums, method == "REML")
    value, slope, bend = WholeState(rows, state.L, 1.0).criterion()
    other, by_D, bend_D = state.at_sigma2(rows.unit)
    assert_allclose(value, other, rtol=1e-11)
    assert_allclose(slope[:-1], by_D[:-1], rtol=1e-7, atol=1e-9)
    assert_allclose(bend[:-1, :-1], bend_D[:-1, :-1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_derivatives_by_rho(method, rho):
    fit = animals(1, method)
    rows, step = Whole(fit.state.sums, method == "REML"), 1e-5
    L = [one + 0.5 for one in fit.state.L]
    _, slope, bend = WholeState(rows, L, rho).criterion()
    (above, by_above, _), (below, by_below, _) = (WholeState(rows, L, rho + h).criterion() for h in (step, -step))
    assert_allclose(slope[-1], (above - below) / (2 * step), rtol=1e-6, atol=1e-7)
    assert_allclose(bend[-1], (by_above - by_below) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_at_a_sigma_of_zero_it_is_that_of_the_full_matrices(method):
    fit = animals(2, method)
    rows = Whole(fit.state.sums, method == "REML")
    L = [np.full_like(one, 0.7) for one in fit.state.L]
    value = WholeState(rows, L, 0.0).criterion()[0]
    D = {}
    for g, one in zip(fit.state.sums.groupings, L, strict=True):
        for number, basis in zip(g.numbers, g.bases, strict=True):
            D[number] = rows.unit * basis.D_back(one @ one.T)
    assert_allclose(value, Dense(fit.terms, D, 0.0).criterion(method), rtol=1e-10)


def test_whether_it_is_regular_without_sigma():
    fit = animals(3)
    assert fit.state.sums.saturated and Whole(fit.state.sums, True).regular
    few, _, _ = state_at(design_of(FORMULAS[0], 3), "REML", 4)
    rows = Whole(few.sums, True)
    assert not few.sums.saturated and not rows.regular
    with pytest.raises(LinAlgError):
        WholeState(rows, [0 * L for L in few.L], 0.0).criterion()
