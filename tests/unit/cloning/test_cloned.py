"""The result of cloning on made-up draws: tables, other parameters, verdicts."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from lmmlib.bayes.diagnostics import diagnostics
from lmmlib.cloning.cloned import Cloned
from lmmlib.errors import ParameterError

CHAINS, DRAWS = 4, 1000


def frame(columns):
    index = pd.MultiIndex.from_product([range(CHAINS), range(DRAWS)], names=["chain", "draw"])
    return pd.DataFrame(columns, index)


def made(K_all=(1, 10, 40), stuck=False, **how):
    """mu is estimable; a and b only in their sum; chains may be stuck, each at its own place."""
    rng, frames = np.random.default_rng(1), {}
    for K in K_all:
        size, n = 1 / np.sqrt(K), CHAINS * DRAWS
        a = rng.uniform(0.1, 0.9, n) if not stuck else np.repeat([0.2, 0.3, 0.35, 0.4], DRAWS) / K**0.6
        a = a + stuck * 1e-3 * rng.normal(size=n)
        columns = {"mu": 3 + 2 * size * rng.normal(size=n), "a": a, "b": 1 + size * 0.1 * rng.normal(size=n) - a}
        frames[K] = frame(columns)
    return Cloned("made up", frames, {n: n for n in columns}, CHAINS, **how)


def test_table_holds_what_it_says():
    c = made()
    table = c.table(0.9)
    assert table.index.names == ["parameter", "n_clones"]
    assert list(table.index.get_level_values(0).unique()) == ["mu", "a", "b"]
    for K in (1, 10, 40):
        row, draws = table.loc[("mu", K)], c.frames[K]["mu"]
        assert row["estimate"] == draws.mean() and row["sd"] == draws.std()
        assert row["se"] == draws.std() * np.sqrt(K)
        np.testing.assert_allclose(row[["5 %", "95 %"]], draws.quantile([0.05, 0.95]), rtol=1e-12)
        again = diagnostics(c.frames[K][["mu"]], CHAINS).loc["mu"]
        np.testing.assert_array_equal(row[["mcse", "ess_bulk", "ess_tail", "r_hat"]], again)
    assert table.loc[("mu", 40), "se"] == pytest.approx(2, rel=0.05)


def test_estimates_are_those_of_the_most_clones():
    c = made()
    assert c.parameters()["mu"] == c.frames[40]["mu"].mean()
    np.testing.assert_allclose(c.cov_parameters(), 40 * np.cov(c.frames[40].T))
    np.testing.assert_allclose(c.cov_parameters(10), 10 * np.cov(c.frames[10].T))
    np.testing.assert_allclose(c.se, np.sqrt(np.diag(c.cov_parameters())))
    limits = c.confint(0.9)
    np.testing.assert_allclose(limits["upper"] - c.parameters(), norm.ppf(0.95) * c.se)
    np.testing.assert_allclose(c.parameters() - limits["lower"], norm.ppf(0.95) * c.se)


def test_other_parameters():
    c = made().on("mu", total=lambda f: f["a"] + f["b"], log=lambda f: np.log(f["a"]).to_numpy())
    assert list(c.about) == ["mu", "total", "log"]
    np.testing.assert_array_equal(c.draws()["total"], c.frames[40]["a"] + c.frames[40]["b"])
    assert c.verdicts()["verdict"].tolist() == ["estimable", "estimable", "not estimable"]
    assert list(made().on("b").parameters().index) == ["b"]


def test_diagnostics():
    table = made().diagnostics()
    assert table.index.tolist() == [1, 10, 40] and table.index.name == "n_clones"
    np.testing.assert_allclose(table["expected"], [1, 0.1, 0.025])
    assert table["standardised"].iloc[0] == 1
    only = made().on("mu").diagnostics()
    np.testing.assert_allclose(only["standardised"], [1, 0.1, 0.025], rtol=0.15)
    variance = made().frames[10]["mu"].var()
    assert only.loc[10, "lambda_max"] == pytest.approx(variance)
    assert (table["r_hat"] < 1.01).all() and (table["ess"] > 1000).all() and (table["r_hat_multivariate"] < 1.01).all()


def test_a_ridge_is_not_estimable():
    c = made()
    assert c.verdicts()["verdict"].tolist() == ["estimable", "not estimable", "not estimable"]
    np.testing.assert_allclose(c.null_directions(), [[0, -1, 1]], atol=0.1)
    # Draws tell that these do not shrink, not in which direction the likelihood is flat, nor whether it is.
    assert "more clones do not narrow a, b: the likelihood is flat there, or the prior still rules" in repr(c)
    assert "does not change" not in repr(c)
    # A standard error is shown where there is one: the columns are name, estimate, se, r_hat, verdict.
    shown = {line.split()[0]: line.split()[2] for line in repr(c).splitlines() if "estimable" in line}
    assert shown["a"] == shown["b"] == "-" and float(shown["mu"]) == pytest.approx(c.se["mu"], rel=1e-3)


def test_stuck_chains_have_not_converged():
    """Their spread falls as it should, which is what deceives; R-hat does not."""
    c = made(stuck=True)
    table = c.verdicts()
    assert table.loc["a", "rate"] > 0.9
    assert table["verdict"].tolist() == ["estimable", "not converged", "not converged"]
    # The same draws in other chains look estimable: it is R-hat that tells.
    rng = np.random.default_rng(2)
    mixed = {K: f.sample(frac=1, random_state=rng).set_axis(f.index) for K, f in c.frames.items()}
    shuffled = Cloned("made up", mixed, c.about, CHAINS).verdicts()
    assert shuffled.loc["a", "verdict"] != "not converged"


def test_the_model_knows_better():
    """Two points on a line of equal likelihood: what changes along it is not estimable, even with stuck chains."""
    line = pd.DataFrame({"mu": [3.0, 3.0], "a": [0.4, 0.6], "b": [0.6, 0.4]})
    c = made(stuck=True, lines=(line,))
    assert c.verdicts()["verdict"].tolist() == ["estimable", "not estimable", "not estimable"]
    np.testing.assert_allclose(c.null_directions(), [[0, -1, 1]])
    total = c.on(total=lambda f: f["a"] + f["b"])
    assert len(total.null_directions()) == 0
    # With lines known and none of them here, what does not shrink is held by its prior.
    assert made(lines=()).verdicts()["verdict"].tolist() == ["estimable", "too few clones", "too few clones"]


def test_one_number_of_clones_cannot_be_judged():
    c = made((5,))
    assert set(c.verdicts()["verdict"]) == {"too few clones"}
    assert c.verdicts()["rate"].isna().all() and len(c.null_directions()) == 0


def test_worse_of_the_two_that_are_compared():
    c = made()
    few = c.frames[10].copy()
    few["mu"] += np.repeat([0, 0, 0, 5.0], DRAWS)
    c.frames[10] = few
    assert c.verdicts().loc["mu", "verdict"] == "not converged"
    assert c.verdicts().loc["mu", "r_hat"] > 1.05 and c.verdicts().loc["mu", "ess"] < 100


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: c.on("nu"), "no parameter 'nu'; there are mu, a, b"),
        (lambda c: c.on(), "at least one parameter"),
        (lambda c: c.on(x=lambda f: f["a"].mean()), "x must be one finite number for each of 4000 draws"),
        (lambda c: c.on(x=lambda f: f["a"] / 0), "4000 that are not finite"),
        (lambda c: c.draws(7), "n_clones is one of 1, 10, 40; got 7"),
        (lambda c: c.cov_parameters(2), "no draws for n_clones = 2: flat"),
        (lambda c: c.table(1.5), "level"),
        (lambda c: c.confint(0), "level"),
        (lambda c: c.posterior_of_b(10, np.random.default_rng(1)), "predictions are for what lmmlib.clone returns"),
    ],
)
def test_bad_input(call, says):
    with pytest.raises(ParameterError, match=says):
        call(made(improper={2: "flat"}))


def test_text():
    text = repr(made(improper={2: "flat priors"}))
    assert text.startswith("Cloned: made up\n  K = 1, 10, 40; 4 chains of 1000\n  no draws for K = 2: flat priors")
    assert "verdict" in text and "estimable" in text


@pytest.mark.parametrize(("edge", "verdict"), [(0, "too few clones"), (1, "at a boundary"), (None, "at a boundary")])
def test_draws_far_from_normal_are_at_a_boundary_only_if_there_is_one(edge, verdict):
    rng, frames = np.random.default_rng(4), {}
    for K in (1, 10, 40):
        frames[K] = frame({"tau2": rng.exponential(1 / np.sqrt(K), CHAINS * DRAWS)})
    found = Cloned("made up", frames, {"tau2": "tau2"}, CHAINS, edge=edge).verdicts()
    assert found["verdict"].tolist() == [verdict]
