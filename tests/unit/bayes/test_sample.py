"""`lmmlib.sample`: exact posteriors, every kind of design, resuming, memory, bad input.

The conditionals are tested in test_conditionals.py, their interplay in test_gibbs_geweke.py and
test_gibbs_calibration.py. Posterior means here are within 4.5 Monte Carlo standard errors of exact values (once in
150,000 by chance, and the seeds are fixed).
"""

import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import lmmlib
from lmmlib import equations
from lmmlib.bayes import chains
from lmmlib.bayes import sample as bayes_sample
from lmmlib.bayes.diagnostics import diagnostics
from lmmlib.bayes.priors import (
    Flat,
    HalfCauchy,
    HuangWand,
    InverseGamma,
    InverseWishart,
    Normal,
    Priors,
    Reciprocal,
    Zellner,
)
from lmmlib.bayes.sample import sample
from lmmlib.errors import DataError, DesignError, FormulaError, ParameterError

# Unidentified models are refused unless they are asked for.
ALLOW = {"unidentified": "allow"}


def off(drawn, name, exact):
    """Distance of a posterior mean from its exact value, in Monte Carlo standard errors."""
    values = drawn[name] if isinstance(name, str) else name
    error = diagnostics(pd.DataFrame({"x": values.ravel()}), drawn.chains).loc["x", "mcse"]
    return abs(values.mean() - exact) / error


@pytest.fixture(scope="module")
def dyestuff():
    """Model, and on a grid of log tau2 and log sigma2 the log-likelihood with beta integrated out, and its mean."""
    formula, frame = "Yield ~ 1 + (1 | Batch)", lmmlib.load("dyestuff")
    cross = lmmlib.cross_products(lmmlib.build_design(formula, frame))
    tau2, sigma2 = np.exp(np.linspace(-6, 17, 140)), np.exp(np.linspace(5.5, 11, 70))
    density = np.array([[equations.restricted_loglik(cross, t, s) for s in sigma2] for t in tau2])
    beta = np.array([[equations.gls(cross, t, s).beta[0] for s in sigma2[::5]] for t in tau2])
    return formula, frame, tau2[:, None], sigma2, density - density.max(), beta


def grid_posterior(tau2, sigma2, density, beta, log_prior):
    """Exact posterior means for a random intercept and a flat beta, by a sum over the grid."""
    w = np.exp(density + log_prior(tau2, sigma2) + np.log(tau2) + np.log(sigma2))  # of the logarithms
    w /= w.sum()
    assert max(w[0].sum(), w[-1].sum(), w[:, 0].sum(), w[:, -1].sum()) < 1e-4  # the grid holds it all
    return {
        "log tau": (w * np.log(tau2)).sum() / 2,
        "log sigma": (w * np.log(sigma2)).sum() / 2,
        "beta": (w[:, ::5] * beta).sum() / w[:, ::5].sum(),
    }


GRID = {
    "half-Cauchy": (
        Priors(sigma=HalfCauchy(40.0), D=HalfCauchy(30.0)),
        lambda t, s: -np.log1p(t / 900) - np.log(t) / 2 - np.log1p(s / 1600) - np.log(s) / 2,
    ),
    "inverse gamma": (
        Priors(sigma=Reciprocal(), D=InverseGamma(1.0, 500.0)),
        lambda t, s: stats.invgamma(1.0, scale=500.0).logpdf(t) - np.log(s),
    ),
    "flat standard deviations": (Priors(sigma=Flat(), D=Flat()), lambda t, s: -np.log(t) / 2 - np.log(s) / 2),
    "half-t": (
        Priors(sigma=InverseGamma(2.0, 2000.0), D=HuangWand(4.0, 30.0)),
        lambda t, s: stats.t(4).logpdf(np.sqrt(t) / 30) - np.log(t) / 2 + stats.invgamma(2.0, scale=2000.0).logpdf(s),
    ),
}


@pytest.mark.parametrize("kind", GRID)
@pytest.mark.parametrize("scheme", ["standard", "alternating", "centred"])
def test_posterior_of_the_dyestuff_data(dyestuff, kind, scheme):
    """Six batches, by quadrature over tau2 and sigma2; variances have heavy tails, so their logarithms."""
    formula, frame, *grid = dyestuff
    priors, log_prior = GRID[kind]
    how = {"parametrisation": "centred"} if scheme == "centred" else {"blocked": scheme == "standard"}
    drawn = sample(formula, frame, priors, draws=1000, chains=80, warmup=200, rng=3, **how)
    exact = grid_posterior(*grid, log_prior)
    log_tau = np.log(drawn.D[:, :, 0, 0]) / 2
    assert off(drawn, log_tau, exact["log tau"]) < 4.5
    assert off(drawn, np.log(drawn.sigma2) / 2, exact["log sigma"]) < 4.5
    assert off(drawn, "(Intercept)", exact["beta"]) < 4.5
    assert off(drawn, log_tau + 0.15, exact["log tau"]) > 4.5  # and a shift of tau by a seventh is seen


def test_known_variances_give_gls_and_blups(design, frame, D):
    """Priors that leave no doubt about D and sigma2: beta is normal about GLS, b about its BLUP."""
    known = Priors(sigma=InverseGamma(1e9, 1.7e9), D=InverseWishart(1e9, 1e9 * D))
    drawn = sample(design.formula, frame, known, draws=5000, chains=8, warmup=2, rng=4)
    gls = equations.gls(drawn.cross, D, 1.7)
    for j, name in enumerate(design.x_names):
        assert off(drawn, name, gls.beta[j]) < 4.5
    np.testing.assert_allclose(np.cov(drawn.beta.reshape(-1, 2).T), gls.cov, rtol=0.08)
    effects, fitted = drawn.random_effects(), equations.random_effects(drawn.cross, gls.beta, D, 1.7)
    pev = equations.conditional_covariance(drawn.cross, D, 1.7)
    T = np.array([D @ Z.T @ np.linalg.solve(Z @ D @ Z.T + 1.7 * np.eye(len(Z)), X) for _, X, Z in groups(design)])
    pev = pev + T @ gls.cov @ T.mT
    sd = np.sqrt(np.diagonal(pev, axis1=1, axis2=2))
    np.testing.assert_allclose(effects["estimate"].to_numpy().reshape(-1, 2), fitted, atol=0.05 * sd.max())
    np.testing.assert_allclose(effects["se"].to_numpy().reshape(-1, 2), sd, rtol=0.02)


def groups(design):
    return [design.group_rows(i) for i in range(design.n_groups)]


@pytest.mark.parametrize("beta", [Flat(), Zellner(0.5, 1.0)])
def test_no_random_effects(frame, beta):
    """(0 | g): the normal-gamma posterior of linear regression in closed form."""
    drawn = sample("lead ~ week + (0 | child)", frame, Priors(beta, InverseGamma(2.0, 3.0)), draws=4000, rng=5)
    X, y = drawn.design.X, drawn.design.y
    delta, m = (0.0, np.zeros(2)) if isinstance(beta, Flat) else (0.5, np.ones(2))
    P = (1 + delta) * X.T @ X
    mean = np.linalg.solve(P, X.T @ y + delta * X.T @ X @ m)
    rate = 3.0 + (y @ y + delta * m @ X.T @ X @ m - mean @ P @ mean) / 2
    shape = 2.0 + (len(y) - (2 if isinstance(beta, Flat) else 0)) / 2
    assert stats.kstest(drawn.sigma2[:, ::5].ravel(), stats.invgamma(shape, scale=rate).cdf).pvalue > 1e-4
    scale = np.sqrt(np.diag(np.linalg.inv(P)) * rate / shape)
    for j in range(2):
        t = (drawn.beta[:, ::5, j].ravel() - mean[j]) / scale[j]
        assert stats.kstest(t, stats.t(2 * shape).cdf).pvalue > 1e-4
    assert drawn.D.shape == (4, 4000, 0, 0) and drawn.b().shape == (4, 4000, 7, 0)
    assert len(drawn.random_effects()) == 0


@pytest.mark.slow
def test_schemes_agree(frame):
    priors = Priors(D=InverseWishart(5.0, np.eye(2)))
    formula = "lead ~ week + (week | child)"
    runs = [
        sample(formula, frame, priors, draws=3000, chains=20, rng=6, **how)
        for how in ({}, {"interweave": False}, {"blocked": False}, {"parametrisation": "centred"})
    ]
    tables = [run.table() for run in runs]
    for other in tables[1:]:
        z = (other["mean"] - tables[0]["mean"]) / np.hypot(other["mcse"], tables[0]["mcse"])
        assert np.abs(z).max() < 4.5, z


def test_same_seed_same_draws(frame):
    one, two, other = (sample("lead ~ week + (1 | child)", frame, draws=20, warmup=5, rng=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.frame(), two.frame())
    np.testing.assert_array_equal(one.b(), two.b())
    assert not np.array_equal(one.sigma2, other.sigma2)
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(
        sample("lead ~ week + (1 | child)", frame, draws=20, warmup=5, rng=rng).beta, one.beta
    )


@pytest.mark.parametrize("thin", [1, 3])
@pytest.mark.parametrize(
    "formula", ["lead ~ week + (week | child)", "lead ~ week + (week || child)", "lead ~ week + (1 | child)"]
)
def test_extending_is_a_longer_run(frame, formula, thin):
    whole = sample(formula, frame, draws=30, warmup=5, thin=thin, rng=9)
    part = sample(formula, frame, draws=20, warmup=5, thin=thin, rng=9)
    more = part.extend(4).extend(6)
    np.testing.assert_array_equal(more.frame(), whole.frame())
    assert part.draws == 20 and more.draws == 30  # the shorter one stays as it was
    np.testing.assert_array_equal(part.extend(10).frame(), whole.frame())
    np.testing.assert_array_equal(more.b(), whole.b())


def test_extending_needs_memory_too(frame):
    drawn = lmmlib.sample("lead ~ week + (1 | child)", frame, draws=20, warmup=5, chains=1, progress=False)
    with pytest.raises(ParameterError, match="; add fewer draws, or raise max_memory"):
        drawn.extend(20, progress=False, max_memory=1000)


def test_a_run_goes_on_with_a_generator_of_its_own(frame):
    rng = np.random.default_rng(9)
    part = sample("lead ~ week + (1 | child)", frame, draws=20, warmup=5, rng=rng)
    rng.standard_normal(7)
    whole = sample("lead ~ week + (1 | child)", frame, draws=30, warmup=5, rng=9)
    np.testing.assert_array_equal(part.extend(10).frame(), whole.frame())


@pytest.mark.parametrize("between", [0.0, 0.3])
def test_small_variances_mix(between):
    """A variance near zero: a quarter of the draws are effective, where sweeps alone leave one in thirty."""
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(12), 10), rng.normal(size=120)
    frame = pd.DataFrame({"g": g, "x": x, "y": 1 + x / 2 + between * rng.normal(size=12)[g] + rng.normal(size=120)})
    woven, plain = (sample("y ~ x + (1 | g)", frame, draws=2000, rng=1, interweave=i) for i in (True, False))
    assert woven.table()["ess_bulk"].min() > 2000
    assert plain.table()["ess_bulk"].min() < 400
    assert woven.table()["r_hat"].max() < 1.01


def test_one_group_and_a_slope():
    """Entries of a factor of D that the group does not tell apart do not stop the second draw of D."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": 0, "x": rng.normal(size=20), "y": rng.normal(size=20)})
    priors = Priors(D=InverseWishart(4.0, np.eye(2)))
    design = lmmlib.build_design("y ~ x + (x | g)", frame)
    woven, plain = (
        sample(design, None, priors, draws=2000, chains=20, rng=2, interweave=i, **ALLOW).table() for i in (True, False)
    )
    z = (woven["mean"] - plain["mean"]) / np.hypot(woven["mcse"], plain["mcse"])
    assert z[["x", "sigma", "corr (Intercept), x"]].abs().max() < 4.5


def test_thinning_keeps_every_third(frame):
    all_of_them = sample("lead ~ week + (1 | child)", frame, draws=30, warmup=5, rng=9)
    third = sample("lead ~ week + (1 | child)", frame, draws=10, warmup=5, thin=3, rng=9)
    np.testing.assert_array_equal(third.sigma2, all_of_them.sigma2[:, 2::3])


def test_one_observation_in_each_group():
    """Only the sum of tau2 and sigma2 is in the likelihood; its posterior does not care how the two are split."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"g": np.arange(60), "y": rng.normal(3, 1.3, size=60)})
    drawn = sample("y ~ 1 + (1 | g)", frame, draws=1500, chains=60, rng=8, **ALLOW)
    exact = {}
    A = drawn.priors.sigma.scale, drawn.priors.D.scale[0]
    s = np.exp(np.linspace(-9, 3, 300))
    tau2, sigma2 = np.meshgrid(s, s)
    v, S = tau2 + sigma2, np.sum((frame.y - frame.y.mean()) ** 2)
    t2 = 1 + (np.sqrt(tau2) / A[1]) ** 2 / 2
    density = -59 / 2 * np.log(v) - S / (2 * v) - np.log1p(sigma2 / A[0] ** 2) - 1.5 * np.log(t2)
    w = np.exp(density + np.log(tau2 * sigma2) / 2)
    exact["total"] = (w * v).sum() / w.sum()
    assert off(drawn, drawn.sigma2 + drawn.D[:, :, 0, 0], exact["total"]) < 4.5


def test_no_variance_between_groups():
    """Group means that are all equal: tau2 near zero, and no draw is lost."""
    rng = np.random.default_rng(8)
    e = rng.normal(size=(30, 4))
    frame = pd.DataFrame({"g": np.repeat(np.arange(30), 4), "y": (e - e.mean(axis=1, keepdims=True)).ravel()})
    drawn = sample("y ~ 1 + (1 | g)", frame, draws=2000, rng=9)
    assert np.isfinite(drawn.frame()).all(axis=None)
    assert drawn["sd (Intercept)"].mean() < 0.2 and drawn["sd (Intercept)"].min() > 0
    assert np.abs(drawn.b()).max() < 2


@pytest.fixture
def years():
    rng = np.random.default_rng(10)
    g, t = np.repeat(np.arange(20), 6), np.tile(np.arange(6.0), 20)
    b = rng.normal(size=(20, 2)) * [1.0, 0.4]
    y = 5 + t + b[g, 0] + b[g, 1] * t + rng.normal(size=120)
    return pd.DataFrame({"g": g, "t": t, "year": 2015 + t, "month": 12 * t, "y": y})


def test_default_priors_know_no_origin_and_no_unit(years):
    """Years, years since a start, months: the same draws; with scales for the formula's own columns they are not."""
    one, two, three = (sample(f"y ~ {x} + ({x} | g)", years, draws=200, rng=11) for x in ("t", "year", "month"))
    for other, x, unit in ((two, "year", 1), (three, "month", 12)):
        np.testing.assert_allclose(other[f"sd {x}"] * unit, one["sd t"], rtol=1e-5)
        np.testing.assert_allclose(other["sigma"], one["sigma"], rtol=1e-5)
    own = Priors(D=HuangWand(2.0, 3.0))
    near, far = (sample(f"y ~ {x} + ({x} | g)", years, own, draws=200, rng=11) for x in ("t", "year"))
    assert np.abs(far["sd year"] / near["sd t"] - 1).max() > 0.1


def test_calendar_years(years):
    """Years instead of years since a start, and the prior of D moved with them: the same draws, up to rounding."""
    M, frame = np.array([[1.0, -2015.0], [0.0, 1.0]]), years  # coefficients at year 0 from those at t = 0
    near = sample("y ~ t + (t | g)", frame, Priors(D=InverseWishart(4.0, np.eye(2))), draws=200, warmup=50, rng=11)
    far = sample("y ~ year + (year | g)", frame, Priors(D=InverseWishart(4.0, M @ M.T)), draws=200, warmup=50, rng=11)
    assert np.linalg.cond(far.cross.XtX) > 1e12
    for one, other in (("t", "year"), ("sigma", "sigma"), ("sd t", "sd year")):
        np.testing.assert_allclose(near[one], far[other], rtol=1e-5)
    np.testing.assert_allclose(far.beta @ np.linalg.inv(M).T, near.beta, rtol=1e-6)


def test_groups_without_rows_have_the_prior(design):
    """A group that lost all its rows changes nothing, and its b is N(0, D)."""
    kept = design.take(np.flatnonzero(design.group != 2))
    drawn = sample(kept, draws=2000, chains=8, rng=12)
    b = drawn.b()[:, :, 2]
    white = np.linalg.solve(np.linalg.cholesky(drawn.D), b[..., None])[..., 0]
    assert stats.kstest(white[:, ::4, 0].ravel(), stats.norm.cdf).pvalue > 1e-4
    assert rotate_count(drawn) == design.n_groups - 1


def rotate_count(drawn):
    from lmmlib.bayes.rotation import rotate

    return rotate(drawn.cross).n_groups


def test_missing_values(frame):
    holes = frame.assign(lead=frame.lead.where(frame.index != 3))
    with pytest.raises(DataError, match="lead"):
        sample("lead ~ week + (1 | child)", holes, draws=5)
    drawn = sample("lead ~ week + (1 | child)", holes, draws=5, warmup=0, missing="drop")
    assert drawn.cross.n_obs == len(frame) - 1


def test_centring_needs_columns_in_the_span(frame):
    with pytest.raises(DesignError, match=r"X_i = Z_i A_i, and week is no combination of \(Intercept\)"):
        sample("lead ~ week + (1 | child)", frame, parametrisation="centred", draws=5)
    with pytest.raises(DesignError, match="needs fixed effects and random effects"):
        sample("lead ~ 0 + (1 | child)", frame, parametrisation="centred", draws=5)
    # Between-group covariates are in the span of the intercepts.
    sample("lead ~ age + (1 | child)", frame, parametrisation="centred", draws=5, warmup=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"draws": 0}, "draws must be a whole number"),
        ({"chains": 1.5}, "chains"),
        ({"thin": -1}, "thin"),
        ({"warmup": -1}, "warmup"),
        ({"rng": "a"}, "rng must be a numpy Generator.*or a whole number"),
        ({"rng": -1}, "rng"),
        ({"parametrisation": "centered"}, "parametrisation is 'standard' or 'centred'; got 'centered'"),
        ({"parametrisation": "centred", "blocked": True}, "centring changes nothing"),
        ({"priors": Priors(D=Reciprocal())}, "improper"),
        ({"priors": Flat()}, "priors must be lmmlib.priors.Priors"),
        (
            {"draws": 10**9},
            r"4 chains of 1,000,000,000 draws would take .* GB of memory, more than .* = 2 GB; use fewer",
        ),
        ({"max_memory": 1000}, "raise max_memory"),
    ],
)
def test_bad_input(frame, change, says):
    with pytest.raises(ParameterError, match=says):
        sample("lead ~ week + (week | child)", frame, **{"draws": 5, "warmup": 0} | change)


@pytest.mark.parametrize(
    ("formula", "error"),
    [("lead ~ week +", FormulaError), ("lead ~ week", DesignError), ("lead ~ x + (1 | child)", DataError)],
)
def test_bad_formulas(frame, formula, error):
    with pytest.raises(error):
        sample(formula, frame, draws=5)


def test_chains_that_leave_all_range_say_so(frame):
    lost = Priors(sigma=InverseGamma(1e-3, 1e-300), D=InverseGamma(1e3, 1e290))
    with pytest.raises(ParameterError, match="range of floating-point numbers"), np.errstate(all="ignore"):
        sample("lead ~ week + (1 | child)", frame, lost, draws=20, rng=1)


@pytest.mark.parametrize(("n", "chains_", "draws"), [(3000, 40, 10), (10, 4, 1_000)])
def test_memory_is_what_a_run_takes(n, chains_, draws):
    """Within a factor of two of the peak that is measured: many unequal groups, and many draws."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(n), 3)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=3 * n), "y": rng.normal(size=n)[g] + rng.normal(size=3 * n)})
    design = lmmlib.build_design("y ~ x + (x | g)", frame)
    cross = lmmlib.cross_products(design)
    length = chains.Length(draws, chains_, 0, 1, chains_)
    said = chains.memory(chains.model_of(cross, Priors().resolved(cross)), length)
    tracemalloc.start()
    sample(design, draws=draws, chains=chains_, warmup=0, rng=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 < peak / said < 2


def test_the_bar_counts_sweeps_and_says_how_much_memory(frame, monkeypatch):
    seen = []

    @contextmanager
    def bar(total, what, show):
        seen.extend([total, what, show])
        yield seen.append

    monkeypatch.setattr(bayes_sample, "progress_bar", bar)
    sample("lead ~ week + (1 | child)", frame, draws=60, warmup=30, thin=2, rng=1, progress=True)
    assert seen[:3] == [150, "sampling, 16.4 kB", True] and sum(seen[3:]) == 150


def test_starting_values_are_spread(cross):
    priors = Priors().resolved(cross)
    model = chains.model_of(cross, priors)
    state = chains.start(np.random.default_rng(1), cross, model, 500)
    assert np.log(state.sigma2).std() > 0.5 and np.log((state.F**2).sum(axis=(0, 1))).std() > 0.5


def test_dependent_columns_with_a_normal_prior(frame):
    frame = frame.assign(twice=2 * frame.week)
    with pytest.raises(DesignError, match="twice"):
        sample("lead ~ week + twice + (1 | child)", frame, draws=5)
    drawn = sample("lead ~ week + twice + (1 | child)", frame, Priors(beta=Normal(0.0, 100.0)), draws=2000, rng=2)
    one = sample(
        "lead ~ week + (1 | child)", frame, Priors(beta=Normal(0.0, [[100.0, 0], [0, 500.0]])), draws=2000, rng=2
    )
    total = drawn["week"] + 2 * drawn["twice"]
    assert abs(total.mean() - one["week"].mean()) < 0.1 * one["week"].std()


def test_clones_of_the_data_lead_to_maximum_likelihood():
    """A million clones: posterior means are the exact estimates, and deviations times the root of K their errors.

    The estimates and errors are those of tests/reference; four Monte Carlo errors of 50,000 draws.
    """
    frame = pd.read_csv(Path(__file__).parents[2] / "reference" / "cloning" / "y_n100_m2.csv")
    cross, K = lmmlib.cross_products(lmmlib.build_design("y ~ 1 + (1 | i)", frame)), 10**6
    model, rng = chains.model_of(cross, Priors().resolved(cross), n_clones=K), np.random.default_rng(1)
    plan = chains.Plan(centred=False, blocked=True)
    state, *_ = chains.advance(rng, model, chains.start(rng, cross, model, 100), plan, 0, warmup=200)
    _, beta, F, sigma2 = chains.advance(rng, model, state, plan, 500)
    mu = beta[:, 0] / cross.basis.Rx[0, 0] + cross.basis.beta0[0]
    tau2 = F[:, 0, 0] ** 2 / cross.basis.Rz[0, 0] ** 2
    exact = [
        (mu, 2.5657499797859, 0.0514878910982927),
        (sigma2, 0.0428961706403685, 0.00606643462934797),
        (tau2, 0.243652207654781, 0.037613344892289),
    ]
    for values, estimate, error in exact:
        assert abs(values.mean() - estimate) < 0.03 * error / np.sqrt(K)
        assert values.std() * np.sqrt(K) == pytest.approx(error, rel=0.03)


def test_the_length_of_a_run_that_nobody_gave(frame):
    """Many short chains where they are cheap; four long ones where groups are many, or a number is given."""
    drawn = sample("lead ~ week + (week | child)", frame, rng=1)
    assert (drawn.chains, drawn.draws, drawn.warmup, drawn.thin, drawn.starts) == (400, 50, 100, 4, 20)
    assert "400 chains of 50 draws from 20 starts" in repr(drawn)
    more = drawn.extend(2)
    assert (more.draws, more.starts) == (52, 20)
    rng = np.random.default_rng(3)
    uneven = pd.DataFrame({"g": np.repeat(np.arange(30), 4), "x": rng.normal(size=120), "y": rng.normal(size=120)})
    long = sample("y ~ x + (x | g)", uneven, rng=1)
    assert (long.chains, long.draws, long.warmup, long.thin, long.starts) == (4, 1000, 500, 1, 4)
    given = sample("lead ~ week + (week | child)", frame, draws=10, rng=1)
    assert (given.chains, given.draws, given.warmup) == (4, 10, 500) and "starts" not in repr(given)


def test_chains_of_one_start_begin_together(frame):
    cross = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (week | child)", frame))
    model = chains.model_of(cross, Priors().resolved(cross))
    one, six = (chains.start(np.random.default_rng(1), cross, model, 2, each) for each in (1, 3))
    for name in ("beta", "F", "sigma2", "rates_sigma", "rates_D"):
        np.testing.assert_array_equal(getattr(six, name), np.repeat(getattr(one, name), 3, axis=-1))
    with pytest.raises(ParameterError, match="multiple of starts; got 10 chains and 4 starts"):
        sample("lead ~ week + (week | child)", frame, chains=10, starts=4)
