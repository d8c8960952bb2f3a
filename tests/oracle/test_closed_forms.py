"""Moment estimates against REML in balanced designs, and document 004's planting trial."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import equations
from tests.tolerances import CLOSED_FORM

ONE_WAY = ["dyestuff_reml", "tlc_week_reml", "tlc_week_treat_reml", "orthodont_ri_reml", "sleepstudy_ri_reml"]
CURVES = ["orthodont_age_reml", "sleepstudy_slope_reml", "tlc_placebo_slope_reml"]


@pytest.mark.parametrize("name", ONE_WAY)
def test_anova_estimates_are_reml_when_balanced(case, name):
    fit = case(name)
    ours = equations.anova_estimates(fit.design)
    assert_allclose(ours.D, fit.D, rtol=CLOSED_FORM)
    assert_allclose(ours.sigma2, fit.sigma2, rtol=CLOSED_FORM)
    assert ours.is_valid


def test_anova_estimates_are_the_mean_squares_of_a_one_way_table(case):
    """Dyestuff, by the oldest formula of all: (MSB - MSW) / 5."""
    frame = lmmlib.load("dyestuff")
    by_batch = frame.groupby("Batch", observed=True)["Yield"]
    msw = by_batch.var().mean()
    msb = 5 * by_batch.mean().var()
    ours = equations.anova_estimates(case("dyestuff_reml").design)
    assert_allclose(ours.sigma2, msw, rtol=CLOSED_FORM)
    assert_allclose(ours.D[0, 0], (msb - msw) / 5, rtol=CLOSED_FORM)


@pytest.mark.parametrize("name", CURVES)
def test_two_stage_estimates_are_reml_when_balanced(case, name):
    fit = case(name)
    ours = equations.two_stage_estimates(fit.design)
    assert_allclose(ours.D, fit.D, rtol=CLOSED_FORM, atol=CLOSED_FORM * np.abs(fit.D).max())
    assert_allclose(ours.sigma2, fit.sigma2, rtol=CLOSED_FORM)
    assert ours.is_valid


def test_two_stage_and_anova_agree_on_a_random_intercept(case):
    design = case("dyestuff_reml").design
    one, other = equations.two_stage_estimates(design), equations.anova_estimates(design)
    assert_allclose(one.D, other.D, rtol=CLOSED_FORM)
    assert_allclose(one.sigma2, other.sigma2, rtol=CLOSED_FORM)


def per_block(design):
    """Least squares in each block by numpy.linalg.lstsq, and the pooled residual mean square."""
    b, rss = [], 0.0
    for i in range(design.n_groups):
        y, X, _ = design.group_rows(i)
        coefficients, left, _, _ = np.linalg.lstsq(X, y, rcond=None)
        b.append(coefficients)
        rss += left[0]
    return np.array(b), rss / (design.n_obs - 3 * design.n_groups)


def test_planting_moment_estimate_is_no_covariance(planting):
    """The sources print the eigenvalues -1.435, -0.00013 and 0.0200."""
    ours = equations.two_stage_estimates(planting)
    b, mean_square = per_block(planting)
    X = planting.group_rows(0)[1]
    D = np.cov(b, rowvar=False) - mean_square * np.linalg.inv(X.T @ X)
    # The per-block fits solve 3 x 3 systems with a condition number near 1e4.
    assert_allclose(ours.D, D, rtol=1e-8)
    assert_allclose(ours.sigma2, mean_square, rtol=CLOSED_FORM)
    assert not ours.is_valid
    eigenvalues = np.linalg.eigvalsh(ours.D)
    assert [f"{v:.{k}f}" for v, k in zip(eigenvalues, (3, 5, 4), strict=True)] == ["-1.435", "-0.00013", "0.0200"]
    assert f"{ours.sigma2:.5f}" == "0.78781"


def test_planting_mean_curve_and_its_wrong_variance(planting, reference):
    """theta-hat is the mean of the block fits; 0.4924 is RSS / 80 where 50 degrees of freedom are left."""
    import pandas as pd

    blocks = pd.read_csv(reference / "planting_blocks.csv")
    b = blocks[["ls_intercept", "ls_density", "ls_density_squared"]].to_numpy()
    D, sigma2 = 0.01 * np.eye(3), 0.7
    result = equations.gls(lmmlib.cross_products(planting), D, sigma2)
    # X_i = Z_i is the same in all blocks, so GLS is the mean of the block fits whatever D and sigma2.
    assert_allclose(result.beta, b.mean(axis=0), rtol=1e-10)
    X = planting.group_rows(0)[1]
    cov = (D + sigma2 * np.linalg.inv(X.T @ X)) / 10
    assert_allclose(result.cov, cov, rtol=1e-10)
    rss = 5 * blocks["residual_mean_square"].sum()
    assert f"{rss / 80:.4f}" == "0.4924"
    assert_allclose(equations.two_stage_estimates(planting).sigma2, rss / 50, rtol=CLOSED_FORM)


def test_planting_curves_are_hardly_different(planting):
    """F test of ten equal curves: 1.640 on 27 and 50 df, p = 0.064; from ols and wald, and from two sums of squares."""
    frame = lmmlib.load("planting").rename(columns={"yield": "crop"})
    curve = "density + I(density**2)"
    full = equations.ols(lmmlib.cross_products(lmmlib.build_design(f"crop ~ block * ({curve})", frame)))
    null = equations.ols(lmmlib.cross_products(lmmlib.build_design(f"crop ~ {curve}", frame)))
    rows = [j for j, name in enumerate(full.names) if "block" in name]
    test = equations.wald(full, np.eye(len(full.names))[rows])
    assert test.df == (27, 50)
    # 27 dependent-looking contrasts of 30 coefficients: the solve loses 3 to 4 digits.
    assert_allclose(test.statistic, (null.rss - full.rss) / 27 / full.sigma2, rtol=1e-9)
    assert f"{test.statistic:.3f}" == "1.640"
    assert f"{test.p:.3f}" == "0.064"
