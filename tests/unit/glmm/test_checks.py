"""Rows and designs without an estimate are named, and others are let through."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import equations
from lmmlib.errors import DataError, DesignError, FormulaError
from lmmlib.glmm.checks import endless
from lmmlib.glmm.fit import fit_glmm, fit_glmm_design
from tests.unit.glmm.designs import design


@pytest.fixture
def frame():
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(12), 4)
    kind = np.array(["a", "b", "c"])[g % 3]
    return pd.DataFrame({"g": g, "x": rng.normal(size=48), "kind": kind, "y": 1 + rng.poisson(2.0, 48)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: np.where(np.arange(48) == 5, -2, y), r"'y' is negative in row 5: -2 "),
        (lambda y: np.where(np.isin(np.arange(48), [9, 30]), y + 0.5, y), r"not a whole number in row 9: .* 1 others"),
        (lambda y: np.where(np.arange(48) == 1, 2.0**60, y), "is above"),
        (lambda y: np.where(np.arange(48) == 1, np.nan, y), "missing"),
    ],
)
def test_what_is_no_count_is_named(frame, change, message):
    with pytest.raises(DataError, match=message):
        fit_glmm("y ~ x + (1 | g)", frame.assign(y=change(frame.y.to_numpy())))


def test_all_zero(frame):
    with pytest.raises(DesignError, match="all 48 counts in 'y' are zero"):
        fit_glmm("y ~ x + (1 | g)", frame.assign(y=0))


def test_groups_of_zeros_are_fitted_and_said(frame):
    fit = fit_glmm("y ~ x + (1 | g)", frame.assign(y=np.where(frame.g < 3, 0, frame.y)))
    assert fit.converged and fit.notes == ("3 of 12 groups have no count above zero; their modes are finite through D",)
    assert np.isfinite(fit.modes().b).all(axis=None) and (fit.modes().b.iloc[:3] < -0.5).all(axis=None)
    assert fit_glmm("y ~ x + (1 | g)", frame).notes == ()


def test_one_observation_a_group_is_fitted_and_said(frame):
    rng = np.random.default_rng(1)
    y = rng.poisson(np.exp(1 + 0.9 * rng.normal(size=48)))
    fit = fit_glmm("y ~ x + (1 | row)", frame.assign(row=np.arange(48), y=y))
    assert fit.converged and fit.theta[0] > 0.3 and "every group has one row" in fit.notes[0]


@pytest.mark.parametrize("formula", ["y ~ kind + (1 | g)", "y ~ 0 + kind + (1 | g)", "y ~ x + kind + (1 | g)"])
def test_separation_names_the_column_and_a_row(frame, formula):
    zero = frame.assign(y=np.where(frame.kind == "b", 0, frame.y))
    with pytest.raises(DesignError, match=r"16 rows .* kindb singles out \(separation\), the first being row 4"):
        fit_glmm(formula, zero)


def test_separation_by_a_number(frame):
    h = np.where(np.arange(48) < 3, [1.0, 2.0, 0.5] * 16, 0.0)
    zero = frame.assign(h=h, y=np.where(h > 0, 0, frame.y))
    with pytest.raises(DesignError, match=r"3 rows that a combination of h singles out"):
        fit_glmm("y ~ x + h + (1 | g)", zero)
    # With both signs there is a finite estimate.
    fit = fit_glmm("y ~ x + h + (1 | g)", zero.assign(h=h * np.where(np.arange(48) == 1, -1, 1)))
    assert fit.converged and abs(fit.beta["h"]) < 10


def test_separation_is_what_the_fit_would_run_away_from(frame):
    """Negative control: the likelihood does rise along the direction that is named."""
    from lmmlib.glmm.objective import Objective
    from lmmlib.glmm.rows import Rows

    zero = frame.assign(y=np.where(frame.kind == "b", 0, frame.y))
    d = lmmlib.build_design("y ~ kind + (1 | g)", zero)
    c = Rows.of(d)
    o, move = Objective(c, "laplace", 1), c.basis.Rx @ [0, -1, 0]
    values = [o.derivatives(np.array([*(c.basis.Rx @ [1, 0, 0] + k * move), 0.3]))[0] for k in (0, 2, 5, 10)]
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("y ~ x", "no random term"),
        ("y ~ x + I(2 * x) + (1 | g)", r"'I\(2 \* x\)' of the fixed effects is a linear combination"),
        ("y ~ x + (x + I(2 * x) | g)", "random columns .* linearly dependent"),
        ("y ~ x + (1 | one)", r"single group of 'one' \(1\)"),
    ],
)
def test_designs_that_are_not_identified(frame, formula, message):
    with pytest.raises(DesignError, match=message):
        fit_glmm(formula, frame.assign(one=1))


def test_too_few_rows(frame):
    with pytest.raises(DesignError, match="3 rows are too few for 3 fixed effects"):
        fit_glmm("y ~ x + I(x**2) + (1 | g)", frame.iloc[[0, 4, 8]])


def test_an_empty_group():
    d = design()
    with pytest.raises(DesignError, match="the group 2 has no rows"):
        fit_glmm_design(d.take(np.flatnonzero(d.group != 2)))


def test_offset_in_the_formula_is_refused(frame):
    with pytest.raises(FormulaError, match="offset"):
        fit_glmm("y ~ x + offset(x) + (1 | g)", frame)


def test_missing_column(frame):
    with pytest.raises(DataError, match="'z', which is not a column"):
        fit_glmm("y ~ z + (1 | g)", frame)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0] * 4, "one value for each of the 5 rows"),
        ([0, 1, -np.inf, 0, 0], "-inf in row 2"),
        ([0, 0, 0, 0, 800], "800"),
    ],
)
def test_offsets(values, message):
    ones = np.ones((5, 1))
    with pytest.raises(DataError, match=message):
        fit_glmm_design(lmmlib.Design.from_arrays(np.arange(5), ones, ones, [0, 0, 1, 1, 2], offset=values))


def test_offset_of_a_frame(frame):
    assert not fit_glmm("y ~ x + (1 | g)", frame).offsets.any()
    for given in ("x", list(frame.x)):
        assert (fit_glmm("y ~ x + (1 | g)", frame, offset=given).offsets == frame.x).all()
    for wrong, message in (("lx", "'lx' is not a column"), ("kind", "real numbers"), (frame[["x"]], "one value")):
        with pytest.raises(DataError, match=message):
            fit_glmm("y ~ x + (1 | g)", frame, offset=wrong)


def counts_frame(n=12, each=10):
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(n), each)
    return pd.DataFrame({"g": g, "x": rng.normal(size=n * each), "y": rng.poisson(np.exp(1 + rng.normal(size=n)[g]))})


def test_an_offset_that_is_the_exposure_itself_is_refused():
    d = counts_frame()
    with pytest.raises(DataError, match="is this the exposure itself"):
        lmmlib.fit_glmm("y ~ x + (1 | g)", d, offset=np.linspace(5, 600, len(d)))
    spread = np.linspace(0, 49.9, len(d))
    assert_allclose(lmmlib.fit_glmm("y ~ x + (1 | g)", d, offset=spread).offsets, spread)


def test_an_offset_series_is_aligned_by_its_index():
    d = counts_frame()
    offset = pd.Series(np.linspace(0, 1, len(d)), d.index)
    right = lmmlib.fit_glmm("y ~ x + (1 | g)", d, offset=offset.to_numpy())
    shuffled = lmmlib.fit_glmm("y ~ x + (1 | g)", d, offset=offset.sample(frac=1, random_state=1))
    assert_allclose(shuffled.beta, right.beta, rtol=1e-12)
    for wrong in (offset.set_axis(offset.index + 5), offset.iloc[:-1]):
        with pytest.raises(DataError, match=r"its \.to_numpy\(\)"):
            lmmlib.fit_glmm("y ~ x + (1 | g)", d, offset=wrong)


@pytest.mark.parametrize("term", ["(1 + w | g)", "(0 + w | g)", "(1 | g) + (0 + w | g)"])
def test_separation_in_a_random_column_only_is_named(term):
    d = counts_frame().assign(w=lambda d: (np.arange(len(d)) % 10 == 0) * 1.0)
    d.loc[d.w == 1, "y"] = 0
    with pytest.raises(DesignError, match="random column w is not"):
        lmmlib.fit_glmm(f"y ~ x + {term}", d)
    d.loc[d.index[d.w == 1][::2], "y"] = 2  # some groups have counts there: a finite variance
    assert lmmlib.fit_glmm(f"y ~ x + {term}", d).D.loc["w", "w"] < 100


def test_a_group_with_both_signs_bounds_the_variance():
    """No count where w is not zero: with one sign in each group any b of the other sign will do, with both only 0."""
    d, D = design(q=1, n=6), np.diag([99.0])
    w = np.ones(d.n_obs)
    for signs in (w, -w, np.where(d.group == 1, -w, w)):
        found = endless(replace(d, Z=signs[:, None], z_names=("z",)), D, -w)
        assert found is not None and found[0] == "z" and found[1].all()
    first = int(np.flatnonzero(d.group == int(np.argmax(d.n_i > 1)))[0])
    both = replace(d, Z=np.where(np.arange(d.n_obs) == first, -w, w)[:, None], z_names=("z",))
    assert endless(both, D, -w) is None


def test_what_is_no_word_and_no_number_is_named():
    d = counts_frame()
    fit = lmmlib.fit_glmm("y ~ x + (1 | g)", d)
    steep = d.assign(y=np.round(np.exp(2 + d.x * np.sin(d.g))))
    words = np.array(["a", "b"])
    for call in (
        lambda: lmmlib.fit_glmm("y ~ x + (1 | g)", d, method=words),
        lambda: lmmlib.fit_glmm("y ~ x + (1 | g)", d, n_quadrature=words),
        lambda: lmmlib.fit_glmm("y ~ x + (1 | g)", d, method="aghq", n_quadrature=10**5000),
        lambda: lmmlib.fit_glmm("y ~ x + (1 | g)", d, offset=10**400),
        lambda: lmmlib.fit_glmm("y ~ x + (1 + x | g)", steep.assign(x=1e-155 * d.x)),
        lambda: fit.fixed_effects(10**400),
        lambda: fit.predict(d, of=words),
        lambda: fit.residuals(kind=words),
        lambda: fit.modes().se(words),
        lambda: fit.simulate(rng=words),
        lambda: fit.simulate(10**400, rng=1),
        lambda: fit.refit([10**400] * len(d)),
        lambda: equations.wald(fit, np.eye(2)),
    ):
        with pytest.raises(lmmlib.errors.LmmError) as caught:
            call()
        assert len(str(caught.value)) < 400
    with pytest.raises(lmmlib.errors.ParameterError, match="scale must be positive semidefinite"):
        lmmlib.priors.InverseWishart(3, [[1.0, 2.0], [2.0, 1.0]])
