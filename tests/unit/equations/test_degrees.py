"""Degrees of freedom by Satterthwaite and by Kenward and Roger: exact special cases, boundary D."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import eigh
from scipy.stats import ttest_1samp

import lmmlib
from lmmlib import equations
from lmmlib.equations.degrees import _moments_match, _satterthwaite, curvature
from lmmlib.errors import DesignError, ParameterError


def balanced(n, m=4, seed=11):
    """Random intercepts and slopes, the same times in every group: X = Z."""
    rng = np.random.default_rng(seed)
    group, x = np.repeat(range(n), m), np.tile(np.array([0.0, 1, 4, 6, 7, 9])[:m], n)
    X = np.column_stack([np.ones(n * m), x])
    b = rng.normal(size=(n, 2))
    y = 2 + b[group, 0] + (1 + b[group, 1]) * x + rng.normal(size=n * m)
    names = ("(Intercept)", "x")
    return lmmlib.Design.from_arrays(y, X, X, group, x_names=names, z_names=names)


D, SIGMA2 = np.array([[1.4, 0.3], [0.3, 0.9]]), 0.8


# ---------------------------------------------------------------- balanced designs: exact answers


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 12])
def test_one_contrast_of_a_balanced_design_has_n_minus_1_df(n):
    """The t test of the groups' own slopes. At 2 and 4 df the F distribution lacks a mean or a variance."""
    design = balanced(n)
    cross = lmmlib.cross_products(design)
    estimates = equations.two_stage_estimates(design)
    slopes = [np.polyfit(design.X[:4, 1], design.y[design.rows(i)], 1)[0] for i in range(n)]
    stored = ttest_1samp(slopes, 0.3)
    for L in ([0, 1], [1, 0], [1, 3.7]):
        kr = equations.kenward_roger(cross, L, D, SIGMA2)
        assert kr.df == pytest.approx(n - 1, rel=1e-7)
        assert kr.scale == pytest.approx(1, rel=1e-7)
        assert equations.satterthwaite(cross, L, D, SIGMA2, kind="expected") == pytest.approx(n - 1, rel=1e-7)
    if estimates.is_valid:
        kr = equations.kenward_roger(cross, [0, 1], estimates.D, estimates.sigma2, null=0.3)
        assert kr.statistic == pytest.approx(stored.statistic**2, rel=1e-8)
        assert kr.p == pytest.approx(stored.pvalue, rel=1e-7)


def test_moments_match_where_f_has_no_mean_or_no_variance():
    """Exact A1 = A2 = 2 / df of one contrast at 1, 2, 3, 4 df; Hotelling's A1, A2 at n = 3 to 6 groups."""
    for df in (1, 2, 3, 4, 5):
        assert_allclose(_moments_match(2 / df, 2 / df, 1), (df, 1), rtol=1e-12)
    for n in (3, 4, 5, 6):
        assert_allclose(_moments_match(4 / (n - 1), 6 / (n - 1), 2), (n - 2, (n - 2) / (n - 1)), rtol=1e-7)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 12])
def test_kenward_roger_of_two_contrasts_is_hotellings_t2(n):
    """X = Z balanced: (n - 2) / (2 (n - 1)) T^2 is F with 2 and n - 2 df; at n = 4 the formulas read 0 / 0."""
    design = balanced(n)
    estimates = equations.two_stage_estimates(design)
    variances = (estimates.D, estimates.sigma2) if estimates.is_valid else (D, SIGMA2)
    kr = equations.kenward_roger(lmmlib.cross_products(design), np.eye(2), *variances, null=[2.0, 1.0])
    assert kr.df == pytest.approx(n - 2, rel=1e-6)
    assert kr.scale == pytest.approx((n - 2) / (n - 1), rel=1e-6)
    if estimates.is_valid:
        fits = np.array([np.polyfit(design.X[:4, 1], design.y[design.rows(i)], 1)[::-1] for i in range(n)])
        gap = fits.mean(axis=0) - [2.0, 1.0]
        t2 = n * gap @ np.linalg.solve(np.cov(fits.T), gap)
        assert kr.statistic == pytest.approx((n - 2) / (2 * (n - 1)) * t2, rel=1e-6)


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_kenward_roger_of_two_contrasts_within_groups(n):
    """Random intercept, effects within groups: the F test of analysis of variance, n m - n - 2 df, scale 1."""
    d = balanced(n)
    X = np.column_stack([d.X, d.X[:, 1] ** 2])
    cross = lmmlib.cross_products(lmmlib.Design.from_arrays(d.y, X, d.X[:, :1], d.group))
    kr = equations.kenward_roger(cross, [[0, 1, 0], [0, 0, 1]], 1.3, SIGMA2)
    assert kr.df == pytest.approx(4 * n - n - 2, rel=1e-7)
    assert kr.scale == pytest.approx(1, rel=1e-7)
    assert equations.satterthwaite(cross, [[0, 1, 0], [0, 0, 1]], 1.3, SIGMA2, kind="expected") == pytest.approx(
        3 * n - 2
    )


def test_satterthwaite_of_several_rows_pools_as_fai_and_cornelius():
    """df of the eigen-contrasts nu_1, nu_2: E = sum nu / (nu - 2), pooled df = 2 E / (E - 2)."""
    d = balanced(9).take(np.r_[0:5, 7:36])
    cross = lmmlib.cross_products(d)
    vectors = eigh(equations.gls(cross, D, SIGMA2).cov, np.linalg.inv(d.X.T @ d.X))[1]
    each = [lmmlib.dense.satterthwaite(d, row, D, SIGMA2, kind="expected") for row in vectors.T]
    E = sum(nu / (nu - 2) for nu in each)
    assert np.ptp(each) > 1e-3
    ours = equations.satterthwaite(cross, np.eye(2), D, SIGMA2, kind="expected")
    assert ours == pytest.approx(2 * E / (E - 2), rel=1e-7)


DEPENDENT = {
    "twice": ([[0, 1], [0, 2]], [0.3, 0.6], [[0, 1]], [0.3]),
    "three of two": ([[1, 0], [0, 1], [1, 1]], [3, 0.3, 3.3], np.eye(2), [3, 0.3]),
    "opposite": ([[1, -1], [-1, 1]], 0, [[1, -1]], 0),
    "three of one": ([[1e-6, 2e-6], [1, 2], [3, 6]], 0, [[1, 2]], 0),
}


@pytest.mark.parametrize("kind", DEPENDENT)
def test_dependent_rows_are_reduced_to_their_rank(cross, kind):
    L, null, few, few_null = DEPENDENT[kind]
    gls = equations.gls(cross, D, SIGMA2)
    df = [equations.satterthwaite(cross, rows, D, SIGMA2, kind="expected") for rows in (L, few)]
    assert df[0] == pytest.approx(df[1], rel=1e-9)
    w, one = equations.wald(gls, L, df=df[0], null=null), equations.wald(gls, few, df=df[0], null=few_null)
    F = one.statistic ** (2 if len(few) == 1 else 1)
    assert w.df == (len(few), df[0]) and len(w.estimate) == len(L) and w.is_f
    assert_allclose([w.statistic, w.p], [F, one.p], rtol=1e-9)
    kr = [equations.kenward_roger(cross, M, D, SIGMA2, null=c) for M, c in ((L, null), (few, few_null))]
    assert kr[0].rows == len(few)
    assert_allclose([kr[0].df, kr[0].statistic, kr[0].p], [kr[1].df, kr[1].statistic, kr[1].p], rtol=1e-9)


def test_a_direction_of_at_most_two_df_leaves_two_in_all():
    """The pooled F has no mean then, of however many: directions of 1.5 and 40 df, and of 3 and 40 as the control."""

    def pooled(*df):
        """2 var^2 / g'Ag is nu when g is var sqrt(2 / nu)."""
        k = len(df)
        variances, P = np.arange(1.0, k + 1), np.zeros((k, k, k))
        for j, nu in enumerate(df):
            P[j, j, j] = np.sqrt(2 / nu)
        at = SimpleNamespace(R_inverse=np.diag(np.sqrt(variances)), slopes=P, A=np.eye(k))
        return _satterthwaite(at, np.eye(k))

    assert pooled(1.5, 40.0) == pooled(2.0, 40.0) == pooled(1.5, 40.0, 40.0) == 2.0
    E = 3 / 1 + 40 / 38
    assert pooled(3.0, 40.0) == pytest.approx(2 * E / (E - 2), rel=1e-12)


def test_scale_and_rows_of_l_do_not_matter(cross):
    df = [equations.satterthwaite(cross, [0, c], D, SIGMA2, kind="expected") for c in (1, 1e-8)]
    assert df[1] == pytest.approx(df[0], rel=1e-9)
    df = [equations.kenward_roger(cross, [0, c], D, SIGMA2).df for c in (1, 1e-8)]
    assert df[1] == pytest.approx(df[0], rel=1e-9)


def test_kenward_roger_inflates_the_covariance(cross):
    """The adjusted covariance is that of an estimate whose weights are estimated too."""
    kr = equations.kenward_roger(cross, [0, 1], D, SIGMA2)
    assert (np.diag(kr.cov) >= np.diag(equations.gls(cross, D, SIGMA2).cov) * (1 - 1e-12)).all()
    assert_allclose(kr.cov, kr.cov.T, rtol=1e-12)


# ---------------------------------------------------------------- boundary


def test_df_at_a_D_of_zero_and_of_rank_one(cross, design):
    for singular in (np.zeros((2, 2)), np.outer([1, 0.5], [1, 0.5])):
        df = equations.satterthwaite(cross, [0, 1], singular, SIGMA2, kind="expected")
        assert df == pytest.approx(
            lmmlib.dense.satterthwaite(design, [0, 1], singular, SIGMA2, kind="expected"), rel=1e-8
        )
        assert 1 < df < design.n_obs
        assert np.isfinite(equations.kenward_roger(cross, [0, 1], singular, SIGMA2).p)


def test_variances_that_the_data_do_not_identify():
    """One row per group, or one group: D and sigma2 cannot be told apart."""
    d = balanced(6)
    for group in (range(24), np.zeros(24)):
        cross = lmmlib.cross_products(lmmlib.Design.from_arrays(d.y, d.X, d.X[:, :1], group))
        for call in (equations.satterthwaite, equations.kenward_roger):
            with pytest.raises(DesignError, match="do not identify"):
                call(cross, [0, 1], 1.0, 1.0)


def test_observed_information_far_from_the_optimum_says_so(cross):
    with pytest.raises(DesignError, match="no interior REML optimum.*kind='expected'"):
        equations.satterthwaite(cross, [0, 1], 1e-3 * D, 1e4)


# ---------------------------------------------------------------- what the df of one fit share


ROWS = [np.array([[0.0, 1.0]]), np.array([[1.0, -2.0]]), np.eye(2)]


@pytest.mark.parametrize("L", ROWS, ids=repr)
def test_one_curvature_serves_all_contrasts(cross, design, L):
    shared = curvature(cross, D, SIGMA2, "expected")
    assert shared.satterthwaite(L) == equations.satterthwaite(cross, L, D, SIGMA2, kind="expected")
    ours, stored = shared.kenward_roger(L, null=0.5), equations.kenward_roger(cross, L, D, SIGMA2, null=0.5)
    assert (ours.df, ours.scale, ours.statistic, ours.p) == (stored.df, stored.scale, stored.statistic, stored.p)
    if len(L) == 1:
        dense = lmmlib.dense.satterthwaite(design, L[0], D, SIGMA2, kind="expected")
        assert shared.satterthwaite(L) == pytest.approx(dense, rel=1e-8)


def test_the_curvature_holds_the_covariance_of_the_variance_parameters(cross):
    """In the working basis; in that of the formula it is the inverse information on vech D and sigma2."""
    shared, Rz = curvature(cross, D, SIGMA2, "expected"), cross.basis.Rz
    inverse = np.linalg.inv(equations.information_variance(cross, D, SIGMA2, method="REML", kind="expected"))
    cells = [(0, 0), (1, 0), (1, 1)]
    to_work = np.zeros((4, 4))
    to_work[3, 3] = 1.0
    for k, (a, b) in enumerate(cells):
        E = np.zeros((2, 2))
        E[a, b] = E[b, a] = 1.0
        to_work[:3, k] = [(Rz @ E @ Rz.T)[cell] for cell in cells]
    assert_allclose(shared.A, to_work @ inverse @ to_work.T, rtol=1e-7)


def test_kind_of_information_is_checked(cross):
    for call in (curvature, lambda c, D, s, kind: equations.satterthwaite(c, [0, 1], D, s, kind=kind)):
        with pytest.raises(ParameterError, match="kind is 'observed' or 'expected'; got 'average'"):
            call(cross, D, SIGMA2, "average")
