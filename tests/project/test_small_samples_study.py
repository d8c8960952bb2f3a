"""The study of small samples: its sums are the printed formulas, its verdicts can fail, its table is what it says."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lmmlib import dense
from lmmlib.fitting.batch import fit_many
from lmmlib.lmm.fit import fit_design
from studies import small_samples as study


@pytest.fixture(scope="module")
def fitted():
    """A trial of eight children with thirty responses, of which some have no variance between children."""
    rng = np.random.default_rng(8)
    design = study.trial(8, rng)
    Y = study.responses(design, 30, rng)
    fits = fit_many(design, Y)
    return design, Y, fits, study.answers(design, Y, fits.D[:, 0, 0], fits.sigma2)


def test_the_trial_has_gaps_and_a_first_visit(fitted):
    design = fitted[0]
    assert design.n_groups == 8 and 8 < design.n_obs < 32
    assert (design.X[np.searchsorted(design.group, range(8)), 1] == 0).all()
    assert len(set(np.bincount(design.group))) > 1


def test_sums_over_eigenspaces_are_the_printed_formulas(fitted):
    design, Y, fits, a = fitted
    assert 0 < np.sum(a.singular) < 30
    for s in (np.flatnonzero(a.singular)[0], np.flatnonzero(~a.singular)[0]):
        D, sigma2 = fits.D[s], fits.sigma2[s]
        of = type(design).from_arrays(Y[:, s], design.X, design.Z, design.group)
        assert_allclose(a.beta[s], fits.beta[s], rtol=1e-8, atol=1e-10)
        assert_allclose(a.var[s], np.diag(fits.cov_beta[s]), rtol=1e-8)
        assert_allclose(a.var_kr[s], np.diag(dense.kenward_roger_covariance(of, D, sigma2)), rtol=1e-7)
        for k, L in enumerate(np.eye(3)):
            for kind, df in (("observed", a.df_observed), ("expected", a.df_expected)):
                if kind == "expected" or not a.singular[s]:
                    assert_allclose(df[s, k], dense.satterthwaite(of, L, D, sigma2, kind=kind), rtol=1e-6)
        for k in (1, 2):
            for method, name in (("satterthwaite", "satterthwaite"), ("kenward-roger", "kenward-roger")):
                w = fit_design(of).contrast(np.eye(3)[k], df=method)
                half = (w.upper[0] - w.lower[0]) / 2
                assert_allclose(a.half_lengths()[name][s, k], half, rtol=1e-4)


def test_a_program_that_differentiates_by_tau_prints_the_residual_df_at_zero(fitted):
    design, _, fits, a = fitted
    s = np.flatnonzero(a.singular)[0]
    sigma2, step = fits.sigma2[s], 1e-4

    def variance(sigma2):
        W = np.linalg.inv(dense.V(design, 0.0, sigma2))
        return np.linalg.inv(design.X.T @ W @ design.X)[2, 2]

    # d f / d tau = 2 tau d f / d tau2 = 0 at tau = 0, whatever the error of tau; the error of sigma2 is left.
    slope = (variance(sigma2 + step) - variance(sigma2 - step)) / (2 * step)
    information = dense.information_variance(design, np.zeros((1, 1)), sigma2)[1, 1]
    assert_allclose(2 * a.var[s, 2] ** 2 / (slope**2 / information), a.residual_df, rtol=1e-6)
    assert a.residual_df == design.n_obs - 3


def test_a_cell_reproduces_itself():
    one, other = (study.small_sample_cell(6, patterns=2, size=20) for _ in range(2))
    assert one.equals(other)
    done = []
    study.small_sample_cell(6, patterns=2, size=20, update=done.append)
    assert done == [20, 20]


@pytest.mark.slow
def test_the_table_is_reproduced():
    table = study.stored()
    ours = study.small_sample_cell(10).round(6)
    pd.testing.assert_frame_equal(ours, table[table["n_children"] == 10].reset_index(drop=True))


def test_the_table_has_all_cells_seeds_and_sizes():
    table = study.stored()
    rows = [(n, q, m) for n in study.CHILDREN for q in study.QUESTIONS for m in study.METHODS]
    assert list(zip(table["n_children"], table["question"], table["method"], strict=True)) == rows
    assert (table["size"] == study.SIZE).all() and (table["patterns"] == study.PATTERNS).all()
    assert (table["seed"] == study.BASE_SEED + table["n_children"]).all()
    assert table.drop(columns=["question", "method"]).notna().all(axis=None)


def test_the_verdicts_can_fail():
    """z is seen to cover too little where there are six children, and Kenward and Roger's slope is not."""
    table = study.stored().set_index(["n_children", "question", "method"])
    off = (table["coverage"] - 0.95) / table["coverage_mcse"]
    assert off[6, "slope", "z"] < -4 and off[6, "treatment", "z"] < -4
    assert abs(off[:, "slope", "kenward-roger"]).max() < 4
