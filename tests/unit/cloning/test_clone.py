"""`lmmlib.cloning.clone.clone`: any number of clones, the same cost, reproducible, and bad input.

Its estimates are held against maximum likelihood in tests/oracle/test_cloning_exact.py.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.bayes import chains
from lmmlib.bayes.chains import model_of, start
from lmmlib.bayes.conditionals import State
from lmmlib.bayes.draws import Draws
from lmmlib.bayes.priors import Flat, InverseWishart, Priors
from lmmlib.cloning.clone import clone, run
from lmmlib.cloning.ridge import ridges
from lmmlib.errors import DataError, DesignError, FormulaError, ParameterError

FORMULA = "lead ~ week + (1 | child)"
FAST = {"draws": 20, "chains": 4, "warmup": 5}


def test_the_same_seed_gives_the_same_draws(frame):
    one, two, other = (clone(FORMULA, frame, (1, 10), rng=s, **FAST) for s in (1, 1, 2))
    for K in (1, 10):
        np.testing.assert_array_equal(one.frames[K], two.frames[K])
        assert not np.array_equal(one.frames[K], other.frames[K])
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(clone(FORMULA, frame, (1, 10), rng=rng, **FAST).frames[10], one.frames[10])


def test_numbers_of_clones_in_any_order(frame):
    found = clone(FORMULA, frame, [25, 1, 10, 10], rng=1, **FAST)
    assert found.n_clones == (1, 10, 25)
    assert clone(FORMULA, frame, 7, rng=1, **FAST).n_clones == (7,)
    assert clone(FORMULA, frame, np.array([2, 3]), rng=1, **FAST).n_clones == (2, 3)
    assert clone(FORMULA, frame, range(1, 3), rng=1, **FAST).n_clones == (1, 2)


def test_shapes_and_names(frame):
    found = clone("lead ~ week + (week | child)", frame, (1, 3), rng=1, **FAST)
    names = ["(Intercept)", "week", "D[(Intercept), (Intercept)]", "D[week, (Intercept)]", "D[week, week]", "sigma2"]
    assert list(found.about) == names and list(found.draws()) == names
    assert found.draws().index.names == ["chain", "draw"] and len(found.draws()) == 80
    extra = found.on("sigma", "sd week", "corr (Intercept), week").draws()
    np.testing.assert_allclose(extra["sigma"] ** 2, found.draws()["sigma2"])
    np.testing.assert_allclose(extra["sd week"] ** 2, found.draws()["D[week, week]"])
    diagonal = clone("lead ~ week + (week || child)", frame, (1, 3), rng=1, **FAST)
    assert list(diagonal.about) == [n for n in names if n != "D[week, (Intercept)]"]


@pytest.mark.slow
def test_one_clone_is_the_posterior(frame):
    """K = 1 against the sampler of the posterior, by another way of drawing D and other seeds."""
    priors = Priors(D=InverseWishart(5.0, np.eye(2)))
    formula = "lead ~ week + (week | child)"
    cloned = clone(formula, frame, 1, priors, draws=2000, rng=2).on("(Intercept)", "week", "sigma", "sd week")
    drawn = lmmlib.sample(formula, frame, priors, draws=2000, chains=40, rng=3).table()
    table = cloned.table().xs(1, level="n_clones")
    other = drawn.loc[table.index]
    z = (table["estimate"] - other["mean"]) / np.hypot(table["mcse"], other["mcse"])
    assert z.abs().max() < 4.5
    np.testing.assert_allclose(table["sd"], other["sd"], rtol=0.05)


def test_any_number_of_clones(frame):
    """Standard errors do not depend on it; estimates settle; so many clones that doubles can hardly count the rows."""
    K = (10**3, 10**6, 10**9, 10**12)
    found = clone("lead ~ week + (week | child)", frame, K, draws=200, rng=4)
    table = found.table()
    for name in found.about:
        se = table.loc[name]["se"]
        assert se.max() / se.min() < 1.15
        estimates = table.loc[name]["estimate"]
        # Each is nearer to the last than its predecessor, as one over the root of the clones.
        gaps = [abs(estimates[k] - estimates[K[-1]]) / se[k] for k in K[:-1]]
        assert all(later < earlier / 5 for earlier, later in pairwise(gaps)) or max(gaps) < 1e-4
    assert found.diagnostics()["standardised"].iloc[-1] == pytest.approx(1e-9, rel=0.3)


def test_thinning_and_warmup_are_sweeps(frame, monkeypatch):
    """Marks in the place of sweeps: which are kept."""
    cross = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (0 | child)", frame))
    model, rng = model_of(cross, Priors().resolved(cross)), np.random.default_rng(1)
    first = start(rng, cross, model, 2)
    monkeypatch.setattr(chains, "sweep", lambda r, m, s, p: State(s.beta, s.F, s.sigma2 + 1, s.rates_sigma, s.rates_D))
    beta, F, sigma2 = run(rng, model, first, [], 7, 12, 3)
    np.testing.assert_allclose(sigma2 - first.sigma2, np.array([10, 13, 16, 19])[:, None] + np.zeros(2))
    assert beta.shape == (4, 2, 2) and F.shape == (4, 0, 0, 2)


def test_progress_counts_all_sweeps(frame, monkeypatch):
    seen = []
    cross = lmmlib.cross_products(lmmlib.build_design(FORMULA, frame))
    model, rng = model_of(cross, Priors().resolved(cross)), np.random.default_rng(1)
    run(rng, model, start(rng, cross, model, 2), [], 30, 90, 1, seen.append)
    assert seen == [50, 50, 20]


def test_chains_start_far_apart_for_any_number_of_clones(frame):
    """Without warm-up the first draws of a million clones are as scattered as those of one."""
    found = clone(FORMULA, frame, (1, 10**6), draws=4, chains=40, warmup=0, rng=5)
    assert (found.verdicts()["r_hat"] > 1.1).any()
    assert "not converged" in set(found.verdicts()["verdict"])


def test_chains_stuck_on_a_ridge_have_not_converged(monkeypatch):
    """Document 000's single observations by sweeps alone, and nobody told that the likelihood is flat.

    A short run, in which the spread of each chain falls with K.
    """
    frame = lmmlib.simulate.recipe("neyman-scott-m1")
    known = clone("y ~ 1 + (1 | group)", frame, (1, 10), rng=6, unidentified="allow")
    assert known.verdicts().loc["sigma2", "verdict"] == "not estimable"
    monkeypatch.setattr("lmmlib.cloning.clone.ridges", lambda cross: [])
    monkeypatch.setattr("lmmlib.cloning.clone.EVERY", 10**9)
    short = {"draws": 200, "chains": 3, "warmup": 50, "rng": 6}
    stuck = clone("y ~ 1 + (1 | group)", frame, (1, 10), **short, unidentified="allow")
    verdicts = stuck.verdicts()
    assert verdicts.loc["sigma2", "verdict"] == "not converged" and verdicts.loc["sigma2", "r_hat"] > 1.2
    assert len(ridges(known.source.cross)) == 1


class Counting(np.random.Generator):
    """A generator that counts the numbers it is asked for."""

    asked = 0

    def _count(self, values):
        self.asked += np.size(values)
        return values

    def standard_normal(self, *args, **kwargs):
        return self._count(super().standard_normal(*args, **kwargs))

    def standard_gamma(self, *args, **kwargs):
        return self._count(super().standard_gamma(*args, **kwargs))

    def random(self, *args, **kwargs):
        return self._count(super().random(*args, **kwargs))


@pytest.mark.parametrize("formula", [FORMULA, "lead ~ week + (week | child)"])
def test_the_work_does_not_depend_on_the_clones(frame, formula):
    """As many random numbers for a million clones as for three; the seconds are in benchmarks/cloning.py.

    The groups differ, so that each has a scatter of its own.
    """
    unequal = frame.drop(frame.index[[0, 5, 9]])
    asked = []
    for K in (1, 3, 10**6):
        rng = Counting(np.random.PCG64(1))
        clone(formula, unequal, K, rng=rng, **FAST)
        asked.append(rng.asked)
    assert asked[0] < asked[1] == asked[2], "one clone has no scatter to draw"


def test_draws_are_kept_for_prediction(frame):
    found = clone(FORMULA, frame, (1, 5), rng=1, **FAST)
    assert isinstance(found.source.draws[5], Draws) and found.source.rank == 1
    np.testing.assert_array_equal(found.source.draws[5].sigma2.ravel(), found.draws(5)["sigma2"])


def test_missing_values(frame):
    holes = frame.assign(lead=frame.lead.where(frame.index != 3))
    with pytest.raises(DataError, match="lead"):
        clone(FORMULA, holes, **FAST)
    assert clone(FORMULA, holes, missing="drop", rng=1, **FAST).source.cross.n_obs == len(frame) - 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_clones": 0}, "n_clones must be a whole number of at least 1; got 0"),
        ({"n_clones": (1, 2.5)}, "n_clones must be a whole number of at least 1; got 2.5"),
        ({"n_clones": ()}, "n_clones .* got none"),
        ({"n_clones": "10"}, "n_clones must be a whole number"),
        ({"n_clones": (1, -3)}, "got -3"),
        ({"n_clones": None}, "n_clones must be a whole number"),
        ({"chains": 1}, "2 chains of 4 draws at least, to see whether they agree; got 1 of 20"),
        ({"draws": 3}, "got 4 of 3"),
        ({"draws": 0}, "draws must be"),
        ({"chains": 2.5}, "chains must be"),
        ({"thin": 0}, "thin must be"),
        ({"warmup": -1}, "warmup must be"),
        ({"rng": "a"}, "rng must be a numpy Generator"),
        ({"priors": Flat()}, "priors must be lmmlib.priors.Priors"),
        ({"max_memory": 100}, "raise max_memory"),
    ],
)
def test_bad_input(frame, change, says):
    with pytest.raises(ParameterError, match=says):
        clone(FORMULA, frame, **{"n_clones": (1, 2)} | FAST | change)


@pytest.mark.parametrize(
    ("formula", "error"),
    [("lead ~ week +", FormulaError), ("lead ~ week", DesignError), ("lead ~ x + (1 | child)", DataError)],
)
def test_bad_formulas(frame, formula, error):
    with pytest.raises(error):
        clone(formula, frame, **FAST)


def test_chains_that_leave_all_range_say_so(frame):
    from lmmlib.bayes.priors import InverseGamma

    lost = Priors(sigma=InverseGamma(1e-3, 1e-300), D=InverseGamma(1e3, 1e290))
    with pytest.raises(ParameterError, match="range of floating-point numbers"), np.errstate(all="ignore"):
        clone(FORMULA, frame, 1, lost, rng=1, **FAST)


def test_calendar_years():
    """Years instead of years since a start: the same estimates of what does not depend on the start."""
    rng = np.random.default_rng(10)
    g, t = np.repeat(np.arange(40), 6), np.tile(np.arange(6.0), 40)
    b = rng.normal(size=(40, 2)) * [1.0, 0.4]
    frame = pd.DataFrame({"g": g, "t": t, "year": 2015 + t, "y": 5 + t + b[g, 0] + b[g, 1] * t + rng.normal(size=240)})
    K = 10**6
    near, far = (clone(f"y ~ {x} + ({x} | g)", frame, K, draws=200, rng=11).table() for x in ("t", "year"))
    for one, other in (("t", "year"), ("D[t, t]", "D[year, year]"), ("sigma2", "sigma2")):
        a, b = near.loc[(one, K)], far.loc[(other, K)]
        assert abs(a["estimate"] - b["estimate"]) < 4.5 * np.hypot(a["mcse"], b["mcse"])
        assert a["se"] == pytest.approx(b["se"], rel=0.1)


def test_the_length_of_a_run_that_nobody_gave(frame):
    """Many short chains from few starts; as soon as a number is given, 40 longer ones with a start each."""
    found = clone(FORMULA, frame, (1, 10), rng=1)
    assert (found.chains, found.starts, len(found.draws())) == (200, 20, 200 * 50)
    assert (found.diagnostics()["r_hat"] < 1.02).all() and (found.diagnostics()["r_hat_multivariate"] < 1.02).all()
    given = clone(FORMULA, frame, (1, 10), draws=20, rng=1)
    assert (given.chains, given.starts, len(given.draws())) == (40, 40, 40 * 20)
