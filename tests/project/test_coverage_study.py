"""The coverage study: its closed forms are lmmlib's answers, its verdicts can fail, its table is what it says."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lmmlib.design.design import Design
from lmmlib.fitting.batch import fit_many
from lmmlib.lmm.fit import fit_design
from lmmlib.prediction import empirical_bayes
from studies import coverage
from studies.coverage import METHODS, Sample, coverage_cell


@pytest.fixture(scope="module")
def sample():
    """Six data sets, of which some have no variance between groups."""
    return Sample.draw(6, 0.15, 6, seed=5, refits=40)


def design_of(y):
    n, m = y.shape
    return Design.from_arrays(y.ravel(), np.ones((n * m, 1)), np.ones((n * m, 1)), np.repeat(np.arange(n), m))


def test_the_sample_has_interior_and_singular_fits(sample):
    assert 0 < np.sum(sample.estimates.w == 0) < 6


def test_closed_form_estimates_are_reml(sample):
    fits = fit_many(design_of(sample.y[0]), sample.y.reshape(6, -1).T)
    e = sample.estimates
    assert_allclose(fits.sigma2, e.sigma2[:, 0], rtol=1e-7)
    assert_allclose(fits.D[:, 0, 0], ((e.c - e.sigma2) / 4)[:, 0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "name, posterior",
    [
        ("known", empirical_bayes.plug_in),
        ("pev", lambda fit: empirical_bayes.plug_in(fit, "pev")),
        ("corrected", lambda fit: empirical_bayes.plug_in(fit, "corrected")),
        ("kass-steffey", empirical_bayes.kass_steffey),
        ("bayes", empirical_bayes.quadrature),
    ],
)
def test_limits_are_those_of_lmmlib(sample, name, posterior):
    lower, upper = METHODS[name](sample)
    for d, y in enumerate(sample.y):
        ours = posterior(fit_design(design_of(y))).frame()[["lower", "upper"]].to_numpy()
        # theta is found to about 1e-8; where it is zero, limits move with its square root.
        assert_allclose(np.column_stack([lower[d], upper[d]]), ours, atol=2e-5)


def test_bootstrap_limits_are_those_of_lmmlib():
    """Two bootstraps of one data set, with random numbers of their own: equal within the error of 20,000 refits."""
    sample = Sample.draw(6, 0.5, 1, seed=8, refits=20_000)
    lower, upper = METHODS["laird-louis"](sample)
    posterior = empirical_bayes.laird_louis(fit_design(design_of(sample.y[0])), 20_000, np.random.default_rng(3))
    theirs = posterior.frame()[["lower", "upper"]]
    assert_allclose(np.column_stack([lower[0], upper[0]]), theirs, atol=0.04)
    # The control: a wrong law of the refits is seen at this tolerance.
    wrong = Sample(sample.tau2, sample.b, sample.y, sample.chi_between * 1.2, sample.chi_within, sample.z)
    assert np.abs(METHODS["laird-louis"](wrong)[1] - theirs["upper"].to_numpy()).max() > 0.04


def test_a_cell_reproduces_itself():
    one, other = (coverage_cell(5, 0.5, size=40, seed=3) for _ in range(2))
    assert one.equals(other)
    assert list(one["method"]) == list(METHODS)
    assert not one.equals(coverage_cell(5, 0.5, size=40, seed=4))


def test_a_cell_does_not_depend_on_how_it_is_cut(monkeypatch):
    whole = coverage_cell(5, 0.5, size=30, seed=3)
    monkeypatch.setattr(coverage, "ROOM", 7 * coverage.REFITS * 5)
    done = []
    parts = coverage_cell(5, 0.5, size=30, seed=3, update=done.append)
    assert done == [7, 7, 7, 7, 2]
    assert_allclose(parts.iloc[:, 3:].to_numpy(float), whole.iloc[:, 3:].to_numpy(float), rtol=1e-8, atol=1e-12)


def deviation(lower, upper, b):
    """Distance of the coverage from 95% in Monte Carlo errors."""
    found = coverage.summary(b, lower, upper)
    return (found["coverage"] - 0.95) / found["coverage_mcse"]


@pytest.mark.parametrize("n_groups, icc", [(5, 0.05), (30, 0.8)])
def test_the_oracle_covers_and_a_short_interval_does_not(n_groups, icc):
    sample = Sample.draw(n_groups, icc, 2000, seed=11, refits=1)
    lower, upper = METHODS["oracle"](sample)
    assert abs(deviation(lower, upper, sample.b)) < 4
    short = 0.05 * (upper - lower)
    assert deviation(lower + short, upper - short, sample.b) < -6


def test_monte_carlo_error_is_clustered():
    """Groups of one data set that are covered together are worth one."""
    b, inside = np.zeros((400, 10)), np.random.default_rng(1).random((400, 1)) < 0.9
    lower = np.where(inside, -1.0, 1.0) * np.ones((1, 10))
    found = coverage.summary(b, lower, np.full_like(b, 2.0))
    share = inside.mean()
    assert_allclose(found["coverage_mcse"], np.sqrt(share * (1 - share) / 399), rtol=1e-12)


def test_the_table_has_all_cells_seeds_and_sizes():
    table = coverage.stored()
    cells = list(product(coverage.GROUPS, coverage.ICCS))
    assert list(zip(table["n_groups"], table["icc"], table["method"], strict=True)) == [
        (*cell, method) for cell in cells for method in METHODS
    ]
    assert (table["size"] == coverage.SIZE).all() and coverage.SIZE >= 2000
    assert (table["refits"] == coverage.REFITS).all()
    assert list(table["seed"][:: len(METHODS)]) == [coverage.cell_seed(*cell) for cell in cells]
    assert table["seed"].nunique() == len(cells)
    assert table.drop(columns="method").notna().all(axis=None)


@pytest.mark.slow
def test_the_table_is_of_this_code():
    """One cell of it again, the bootstrap included: the same six decimals, whatever the processor."""
    table = coverage.stored()
    rows = table[(table["n_groups"] == 5) & (table["icc"] == 0.2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(coverage_cell(5, 0.2).round(6), rows, check_exact=True)


def test_the_table_says_that_the_control_covers():
    oracle = coverage.stored().query("method == 'oracle'")
    assert (np.abs(oracle["coverage"] - 0.95) < 4 * oracle["coverage_mcse"]).all()
