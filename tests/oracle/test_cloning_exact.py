"""Data cloning against maximum likelihood found otherwise, and against a sampler that stores all clones.

Estimates differ by no more than 4.5 Monte Carlo standard errors (once in 150,000 by chance, the seeds are fixed) plus
what K clones leave of the prior; standard deviations of S effective draws have a relative error of 1/sqrt(2S).
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import lmmlib
from lmmlib.bayes.chains import model_of, sweep
from lmmlib.bayes.priors import HalfCauchy, HuangWand, InverseGamma, InverseWishart, Normal, Priors
from lmmlib.cloning.clone import PLAN, clone
from tests.statistical.joint import Case, Chains, draw_priors, groups

FORMULA = "y ~ 1 + (1 | i)"
D11 = "D[(Intercept), (Intercept)]"


# --- a sampler that stores all clones, with matrices of the rows ---


def explicit_sweep(rng, one, n_clones, beta, D, sigma2, a):
    """One sweep of C chains: beta with b integrated out, b (C, n_clones, n, q), sigma2, D, and scales a (C, q)."""
    design, priors, C, q = one.design, one.priors, len(sigma2), D.shape[1]
    P0 = np.linalg.inv(priors.beta.cov)
    precision, linear = np.tile(P0, (C, 1, 1)), np.tile(P0 @ priors.beta.mean, (C, 1))
    rows = [design.group_rows(i) for i in range(design.n_groups)]
    for y, X, Z in rows:
        V = Z @ D @ Z.T + sigma2[:, None, None] * np.eye(len(y))
        VX = np.linalg.solve(V, np.broadcast_to(X, (C, *X.shape)))
        for _ in range(n_clones):
            precision = precision + VX.mT @ X
            linear = linear + VX.mT @ y
    root = np.linalg.inv(np.linalg.cholesky(precision))
    beta = np.einsum("cyx,cy->cx", root, np.einsum("cxy,cy->cx", root, linear) + rng.standard_normal((C, 2)))
    squares, residual = np.zeros((C, q, q)), np.zeros(C)
    for y, X, Z in rows:
        S = np.linalg.inv(np.linalg.inv(D) + Z.T @ Z / sigma2[:, None, None])
        r = y - beta @ X.T
        mean = np.einsum("cab,nb,cn->ca", S, Z, r) / sigma2[:, None]
        L = np.linalg.cholesky(S)
        for _ in range(n_clones):
            b = mean + np.einsum("cab,cb->ca", L, rng.standard_normal((C, q)))
            squares += b[:, :, None] * b[:, None]
            residual += ((r - b @ Z.T) ** 2).sum(axis=1)
    sigma = priors.sigma
    sigma2 = 1 / rng.gamma(sigma.shape + n_clones * design.n_obs / 2, 1 / (sigma.rate + residual / 2))
    df, scale = n_clones * design.n_groups, squares
    if isinstance(priors.D, InverseWishart):
        df, scale = df + priors.D.df, scale + priors.D.scale
    else:
        df, scale = df + priors.D.df + q - 1, scale + 2 * priors.D.df * (1 / a)[:, :, None] * np.eye(q)
    D = np.array([stats.invwishart(df, s).rvs(random_state=rng).reshape(q, q) for s in scale])
    if isinstance(priors.D, HuangWand):
        inverse = np.diagonal(np.linalg.inv(D), axis1=1, axis2=2)
        a = 1 / rng.gamma((priors.D.df + q) / 2, 1 / (priors.D.df * inverse + priors.D.scale**-2.0))
    return beta, D, sigma2, a


def statistics(beta, D, sigma2):
    """What is compared: beta, log sigma2, and the logarithms and the correlation of D."""
    q = D.shape[1]
    out = [*beta.T, np.log(sigma2), *np.log(np.diagonal(D, axis1=1, axis2=2)).T]
    return np.array(out if q == 1 else [*out, D[:, 0, 1] / np.sqrt(D[:, 0, 0] * D[:, 1, 1])])


def smallest_p(one, n_clones, tamper=lambda model: model, chains=1000, sweeps=2, seed=1):
    """Smallest p of two-sample tests after two sweeps of each sampler, both from one distribution of states."""
    rng = np.random.default_rng(seed)
    run = Chains.of(one, one.design.y[:, None])
    model = tamper(model_of(run.cross, one.priors, n_clones=n_clones))
    beta, D, sigma2 = draw_priors(rng, one.priors, one.design, chains)
    state = run.state(rng, beta, D, sigma2)
    for _ in range(sweeps):
        state = sweep(rng, model, state, PLAN)
    b, D_, s = run.parameters(state.beta, state.F, state.sigma2)
    ours = statistics(b.T, D_, s)
    beta, D, sigma2 = draw_priors(rng, one.priors, one.design, chains)
    a = np.ones((chains, D.shape[1]))
    if isinstance(one.priors.D, HuangWand):
        inverse, prior = np.diagonal(np.linalg.inv(D), axis1=1, axis2=2), one.priors.D
        a = 1 / rng.gamma((prior.df + D.shape[1]) / 2, 1 / (prior.df * inverse + prior.scale**-2.0))
    values = beta.T, D, sigma2, a
    for _ in range(sweeps):
        values = explicit_sweep(rng, one, n_clones, *values)
    theirs = statistics(*values[:3])
    return min(stats.ks_2samp(x, y).pvalue for x, y in zip(ours, theirs, strict=True))


def case(q, equal, D):
    design = groups(q, equal=equal)
    normal = Normal([1.0, -1.0], [[1.0, 0.3], [0.3, 0.5]])
    return Case(design, Priors(normal, InverseGamma(3.0, 2.0), D).resolved(lmmlib.cross_products(design)))


CASES = {
    "slope, equal groups": case(2, True, InverseWishart(5.0, np.diag([1.5, 0.8]))),
    "slope, unequal groups": case(2, False, HuangWand(2.0, [0.8, 0.5])),
    "intercept": case(1, False, InverseGamma(2.5, 1.0)),
}
# Fewer than one in 1000 by chance for all of the some 70 values.
ALARM = 1e-5


@pytest.mark.parametrize("n_clones", [1, 2, 3, 10])
@pytest.mark.parametrize("name", CASES)
def test_collapsed_clones_are_as_stored_ones(name, n_clones):
    assert smallest_p(CASES[name], n_clones) > ALARM


def one_scatter_too_many(model):
    """Wishart matrices with K degrees of freedom instead of K - 1."""
    count = np.bincount(model.data.index, minlength=len(model.data.spare))
    return replace(model, data=replace(model.data, spare=model.data.spare + count))


def a_mean_that_is_not_shared(model):
    """The average of the clones with the variance of one of them: data of K groups as those of one."""
    return replace(model, data=replace(model.data, ZtW=model.data.ZtW / np.sqrt(3), own=model.data.own / np.sqrt(3)))


@pytest.mark.parametrize("wrong", [one_scatter_too_many, a_mean_that_is_not_shared])
@pytest.mark.parametrize("name", CASES)
def test_wrong_clones_are_noticed(name, wrong):
    assert smallest_p(CASES[name], 3, wrong) < ALARM


# --- maximum likelihood ---


@pytest.fixture(scope="module")
def pairs():
    from tests.oracle.conftest import REFERENCE

    return pd.read_csv(REFERENCE / "cloning" / "y_n100_m2.csv")


def check(found, exact, se, leftover=0.0, draws=4.5):
    """Estimates and standard errors of a result against exact ones (Series)."""
    table = found.table().xs(found.n_clones[-1], level="n_clones")
    off = (table["estimate"] - exact).abs()
    assert (off < draws * table["mcse"] + leftover * se).all(), off / table["mcse"]
    ratio = (table["se"] / se - 1).abs()
    assert (ratio < draws / np.sqrt(2 * table["ess_tail"])).all(), ratio


@pytest.mark.parametrize("n_clones", [25, 10_000, 10**6, 10**9])
def test_neyman_scott(pairs, stored, n_clones):
    """Document 000's model. What 25 clones leave of the prior is a few hundredths of a standard error."""
    answer = stored("cloning/jags.json")["exact_ml"]
    found = clone(FORMULA, pairs, n_clones, draws=700, rng=4)
    names = {"(Intercept)": "mu", D11: "tau_sq", "sigma2": "sigma_sq"}
    exact, se = (pd.Series({own: a[name] for own, name in names.items()}) for a in (answer, answer["se"]))
    # The standard errors of 25 clones are off by the same share.
    check(found, exact, se, 0.7 / n_clones, 4.5 if n_clones > 25 else 6)
    covariance = found.cov_parameters().loc["sigma2", D11]
    assert covariance == pytest.approx(answer["cov_sigma_tau"], abs=5 * se[D11] * se["sigma2"] / np.sqrt(6000))


@pytest.mark.parametrize("name", ["orthodont_age_ml", "orthodont_agesex_ml", "sleepstudy_slope_ml", "sleepstudy_ri_ml"])
def test_optima_in_60_digits(case, name):
    """A million clones, against the optimum; theta and sigma too, whose covariance is stored."""
    one = case(name)
    found = clone(one.design, n_clones=10**6, draws=500, rng=5)
    q, names = len(one.D), list(one.design.x_names)

    def entries(f):
        z = one.design.z_names
        D = np.empty((len(f), q, q))
        for a in range(q):
            for b in range(a, q):
                D[:, a, b] = D[:, b, a] = f[f"D[{z[b]}, {z[a]}]"]
        theta = np.linalg.cholesky(D / f["sigma2"].to_numpy()[:, None, None])
        return [theta[:, a, b] for b in range(q) for a in range(b, q)]

    functions = {f"theta {k}": lambda f, k=k: entries(f)[k] for k in range(q * (q + 1) // 2)}
    chosen = found.on(*names, "sigma", **functions)
    sigma = np.sqrt(one.sigma2)
    exact = pd.Series([*one.exact["fixef"], sigma, *one.exact["theta"]], list(chosen.about))
    variance = np.diag(one.exact["vcov_theta_sigma"])
    se = pd.Series([*one.exact["se"], np.sqrt(variance[-1]), *np.sqrt(variance[:-1])], list(chosen.about))
    check(chosen, exact, se, 1e-5)


def test_stored_runs_of_dclone_agree(pairs, stored):
    """Long runs of dclone with JAGS at K = 1, 10, 25: within their Monte Carlo error, and ours is far smaller."""
    runs = stored("cloning/jags.json")["dc_m2_long"]
    # dclone's priors: normal with variance 1000 of log sigma and log tau, 10 of mu; the data make little of them.
    priors = Priors(Normal(0.0, 10.0), InverseGamma(1e-3, 1e-3), InverseGamma(1e-3, 1e-3))
    found = clone(FORMULA, pairs, [run["K"] for run in runs], priors, rng=6)
    names = {"mu": "(Intercept)", "sigma_sq": "sigma2", "tau_sq": D11}
    for run in runs:
        table = found.table().xs(run["K"], level="n_clones")
        for name, own in names.items():
            sd = run["dc_se"][name] / np.sqrt(run["K"])
            assert abs(table.loc[own, "estimate"] - run["coef"][name]) < 4.5 * sd / np.sqrt(run["ess"][name])
            assert table.loc[own, "se"] == pytest.approx(run["dc_se"][name], rel=4.5 / np.sqrt(2 * run["ess"][name]))
    ours = found.diagnostics()["lambda_max"]
    np.testing.assert_allclose(ours, [run["lambda_max"] for run in runs], rtol=0.15)


def test_the_prior_vanishes_as_one_over_K(pairs):
    """Three priors, two of them strong and wrong: their estimates differ by a number over K."""
    kinds = {
        "weak": Priors(),
        "mu near 10": Priors(Normal(10.0, 0.2), InverseGamma(2.0, 1.0), InverseGamma(2.0, 5.0)),
        "small variances": Priors(Normal(0.0, 0.1), InverseGamma(30.0, 0.3), InverseGamma(30.0, 2.0)),
    }
    K = np.array([10, 100, 1000])
    found = {name: clone(FORMULA, pairs, K.tolist(), priors, rng=7) for name, priors in kinds.items()}
    assert list(found["weak"].n_clones) == K.tolist()
    for name in list(kinds)[1:]:
        for parameter in found["weak"].about:
            a, b = (found[k].table().loc[parameter] for k in (name, "weak"))
            gap = (a["estimate"] - b["estimate"]).to_numpy()
            error = np.hypot(a["mcse"], b["mcse"]).to_numpy()
            assert abs(gap[0]) > 20 * error[0], (name, parameter)  # it is there to be seen
            # From ten clones on the product is constant up to a tenth or so of itself, and Monte Carlo error.
            assert (np.abs(gap * K - gap[1] * K[1]) < 0.15 * abs(gap[1] * K[1]) + 4.5 * error * K).all(), gap * K


def test_bias_vanishes_as_one_over_K(pairs, stored):
    exact = stored("cloning/jags.json")["exact_ml"]["sigma_sq"]
    table = clone(FORMULA, pairs, (1, 10, 100), draws=1000, rng=8).table().loc["sigma2"]
    bias, error = (table["estimate"] - exact) * table.index, table["mcse"] * table.index
    assert bias[1] > 15 * error[1] and bias[10] > 4.5 * error[10]
    assert (np.abs(bias - bias[1]) < 0.15 * bias[1] + 4.5 * np.hypot(error, error[1])).all()


def test_one_observation_in_each_group(stored):
    """Only the sum of the variances has an estimate, and it is the exact one."""
    from tests.oracle.conftest import REFERENCE

    frame, answer = pd.read_csv(REFERENCE / "cloning" / "y_n100_m1.csv"), stored("cloning/jags.json")["exact_m1"]
    found = clone(FORMULA, frame, (1, 10, 25, 10**6), rng=9, unidentified="allow")
    assert found.verdicts()["verdict"].tolist() == ["estimable", "not estimable", "not estimable"]
    np.testing.assert_allclose(found.null_directions(), [[0.0, -1.0, 1.0]], atol=1e-12)
    # The chains know it too: at a million clones each of them visits the whole line.
    assert found.diagnostics()["r_hat"].max() < 1.02
    assert found.diagnostics()["standardised"].iloc[-1] > 0.5
    total = found.on("(Intercept)", sum=lambda f: f["sigma2"] + f[D11])
    assert total.verdicts()["verdict"].tolist() == ["estimable", "estimable"]
    assert len(total.null_directions()) == 0
    exact, se = (pd.Series({"(Intercept)": a["mu"], "sum": a["sum"]}) for a in (answer, answer["se"]))
    check(total, exact, se, 1e-5)
    # The long run of dclone, whose chains had not met: R-hat of 8.
    long = stored("cloning/jags.json")["dc_m1_params_long"]
    assert long["r_hat"] > 4 and abs(long["coef"]["sigma_sq"] - found.table().loc[("sigma2", 25), "estimate"]) > 0.04


def test_uninformative_priors_do_not_matter_here(pairs):
    """Half-Cauchy and Huang-Wand priors, with scales five times apart, at a thousand clones."""
    priors = [Priors(sigma=HalfCauchy(s), D=HuangWand(2.0, s)) for s in (1, 5)]
    a, b = (clone(FORMULA, pairs, 1000, prior, rng=10).parameters() for prior in priors)
    np.testing.assert_allclose(a, b, rtol=2e-3)
