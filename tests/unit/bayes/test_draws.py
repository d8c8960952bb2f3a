"""Draws: shapes, labels, summaries against ArviZ called by hand, conversion."""

import numpy as np
import pandas as pd
import pytest

from lmmlib import clone
from lmmlib.bayes.diagnostics import arviz
from lmmlib.bayes.sample import sample
from lmmlib.errors import ParameterError


@pytest.fixture
def drawn(frame):
    return sample("lead ~ week + (week | child)", frame, draws=200, chains=3, warmup=50, rng=1)


def test_shapes_and_labels(drawn):
    assert (drawn.beta.shape, drawn.D.shape, drawn.sigma2.shape) == ((3, 200, 2), (3, 200, 2, 2), (3, 200))
    assert (drawn.chains, drawn.draws) == (3, 200)
    assert list(drawn.frame()) == [
        *("(Intercept)", "week", "sd (Intercept)", "sd week", "corr (Intercept), week", "sigma"),
        *("D[(Intercept), (Intercept)]", "D[week, (Intercept)]", "D[week, week]", "sigma2"),
    ]
    np.testing.assert_array_equal(drawn["week"], drawn.beta[:, :, 1])
    np.testing.assert_array_equal(drawn["D[week, (Intercept)]"], drawn.D[:, :, 1, 0])
    np.testing.assert_allclose(drawn["sigma"] ** 2, drawn.sigma2)
    correlation = drawn.D[:, :, 0, 1] / np.sqrt(drawn.D[:, :, 0, 0] * drawn.D[:, :, 1, 1])
    np.testing.assert_allclose(drawn["corr (Intercept), week"], correlation)
    with pytest.raises(ParameterError, match="no parameter 'slope'; there are .*week"):
        drawn["slope"]


def test_every_D_is_a_covariance(drawn):
    assert np.linalg.eigvalsh(drawn.D).min() > 0
    np.testing.assert_array_equal(drawn.D, drawn.D.mT)


def test_a_diagonal_D_has_no_correlations(frame):
    drawn = sample("lead ~ week + (week || child)", frame, draws=30, rng=1)
    assert np.abs(drawn.D[..., 0, 1]).max() < 1e-12 * drawn.D.max()
    assert not [name for name in drawn.frame() if "corr" in name or "D[week, (Int" in name]


def test_summary(drawn):
    az = arviz()
    table, week = drawn.table(level=0.9), drawn["week"]
    assert list(table) == ["mean", "sd", "5 %", "95 %", "mcse", "ess_bulk", "ess_tail", "r_hat"]
    row = table.loc["week"]
    np.testing.assert_allclose(row[["mean", "sd"]], [week.mean(), week.std(ddof=1)])
    np.testing.assert_allclose(row[["5 %", "95 %"]], np.quantile(week, [0.05, 0.95]))
    by_hand = [az.mcse(week), az.ess(week), az.ess(week, method="tail"), az.rhat(week)]
    np.testing.assert_allclose(row[["mcse", "ess_bulk", "ess_tail", "r_hat"]], [np.ravel(v)[0] for v in by_hand])
    with pytest.raises(ParameterError, match="level"):
        drawn.table(1.2)


def test_the_verbs_of_every_result(drawn):
    frame = drawn.frame()
    names = ["(Intercept)", "week", "sd (Intercept)", "sd week", "corr (Intercept), week", "sigma"]
    np.testing.assert_array_equal(drawn.parameters(), frame[names].mean())
    assert list(drawn.parameters().index) == list(drawn.cov_parameters()) == names
    np.testing.assert_allclose(drawn.cov_parameters(), np.cov(frame[names].T))
    limits = drawn.confint(0.9)
    assert list(limits) == ["estimate", "se", "lower", "upper"] and list(limits.index) == names
    np.testing.assert_allclose(limits[["lower", "upper"]].T, frame[names].quantile([0.05, 0.95]))
    np.testing.assert_allclose(limits["se"], frame[names].std())
    pd.testing.assert_frame_equal(drawn.fixed_effects(0.9), limits.iloc[:2])
    assert list(drawn.confint(parameters=["sigma2", "week"]).index) == ["sigma2", "week"]
    pd.testing.assert_frame_equal(drawn.confint(0.9, parameters="sigma"), limits.loc[["sigma"]])
    with pytest.raises(ParameterError, match="no parameter 'slope'; there are .*week"):
        drawn.confint(parameters="slope")
    with pytest.raises(ParameterError, match="level"):
        drawn.confint(1.2)
    pd.testing.assert_frame_equal(drawn.diagnostics(), drawn.table()[["mcse", "ess_bulk", "ess_tail", "r_hat"]])
    assert (drawn.grouping, drawn.n_obs, drawn.n_groups) == ("child", 24, 7)


def test_the_summary_is_text_and_html(drawn):
    summary = drawn.summary(0.9)
    table = summary.tables["parameters"]
    assert table.columns == ("parameter", "mean", "sd", "5 %", "95 %", "mcse", "ess_bulk", "ess_tail", "r_hat")
    assert [row[0] for row in table.rows] == list(drawn.parameters().index)
    assert all(row[1] in drawn._repr_html_() for row in table.rows)
    assert str(drawn.summary()) == repr(drawn) == str(drawn)


def test_one_chain_has_a_summary(frame):
    table = sample("lead ~ week + (1 | child)", frame, draws=50, chains=1, rng=1).table()
    assert table["mean"].notna().all() and table["ess_bulk"].gt(0).all()


def test_arviz(drawn):
    data = drawn.to_arviz(b=True, thin=2).posterior
    assert dict(data.sizes) == {"chain": 3, "draw": 100, "effect": 2, "term": 2, "term_of_column": 2, "group": 7}
    np.testing.assert_array_equal(data.beta.sel(effect="week"), drawn["week"][:, ::2])
    np.testing.assert_array_equal(data.D.sel(term="week", term_of_column="(Intercept)"), drawn.D[:, ::2, 1, 0])
    b = drawn.b(groups=["c3"], thin=2)
    assert data.b.sel(group="c3").shape == b.shape[:2] + b.shape[3:]
    assert "b" not in drawn.to_arviz().posterior


@pytest.mark.parametrize("thin", [3, 7, 66])
def test_thinned_draws_are_the_same_ones_in_every_variable(drawn, thin):
    """Also where it does not divide the 200 draws."""
    data = drawn.to_arviz(b=True, thin=thin).posterior
    whole = {"beta": drawn.beta, "D": drawn.D, "sigma2": drawn.sigma2}
    assert set(data.data_vars) == {*whole, "b"}
    for name, values in whole.items():
        np.testing.assert_array_equal(data[name], values[:, ::thin], err_msg=name)
    np.testing.assert_array_equal(data["b"], drawn.b(thin=thin))
    assert data["b"].shape[1] == len(range(0, 200, thin))


@pytest.mark.parametrize("run", [sample, clone])
def test_a_thinned_run_keeps_every_so_many_sweeps_of_the_longer_one(frame, run):
    """The same for every field that is kept."""

    def drawn(draws, thin):
        made = run("lead ~ week + (week | child)", frame, draws=draws, thin=thin, chains=2, warmup=20, rng=1, **more)
        return made.source.draws[3] if run is clone else made

    more = {"n_clones": (3,)} if run is clone else {}
    whole, thinned = drawn(28, 1), drawn(4, 7)
    for name in ("beta", "D", "sigma2"):
        kept = getattr(whole, name)[:, 6::7]
        np.testing.assert_allclose(getattr(thinned, name), kept, rtol=1e-9, atol=1e-12, err_msg=name)


def test_arviz_without_random_effects(frame):
    data = sample("lead ~ week + (0 | child)", frame, draws=20, rng=1).to_arviz(b=True).posterior
    assert sorted(data.data_vars) == ["beta", "sigma2"]


def test_text(drawn):
    lines = repr(drawn).splitlines()
    assert lines[0] == "Draws: lead ~ week + (week | child)"
    assert lines[1] == "  3 chains of 200 draws, standard, 33.6 kB; 24 observations in 7 groups"
    assert len(lines) == 11 and max(map(len, lines)) < 100
    worst = drawn.table().loc[:"sigma", "r_hat"]
    assert lines[-2] == f"  the chains disagree: R-hat of {worst.idxmax()} is {worst.max():.3g}, above 1.01"
    assert drawn.nbytes == 3 * 200 * 7 * 8


def test_text_of_chains_that_agree(frame):
    drawn = sample("lead ~ week + (0 | child)", frame, draws=4_000, chains=4, rng=1)
    assert drawn.table().r_hat.max() < 1.01
    assert "disagree" not in repr(drawn)
    assert "disagree" not in repr(sample("lead ~ week + (1 | child)", frame, draws=5, chains=1, warmup=0, rng=1))


def test_many_short_chains_are_summarised_without_a_warning(frame, recwarn):
    repr(sample("lead ~ week + (1 | child)", frame, draws=5, chains=8, warmup=0, rng=1))
    assert not recwarn.list


def test_draws_are_frozen(drawn):
    with pytest.raises(AttributeError):
        drawn.beta = 1


def test_columns_with_confusing_names(frame):
    frame = frame.rename(columns={"week": "sigma"})
    with pytest.raises(ParameterError, match="two parameters are called 'sigma'"):
        sample("lead ~ sigma + (1 | child)", frame, draws=5, rng=1).frame()
