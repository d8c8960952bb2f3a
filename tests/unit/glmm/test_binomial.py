"""Successes of trials: SciPy's distribution, exact derivatives, and what such data must be to have an estimate."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import binom, norm

import lmmlib
from lmmlib.errors import DataError, DesignError
from lmmlib.glmm.binomial import Binomial
from lmmlib.glmm.family import LARGE
from lmmlib.glmm.objective import Objective
from lmmlib.glmm.rows import Rows
from tests.unit.glmm.designs import design, differences

Y = np.array([0.0, 1.0, 3.0, 7.0, 1.0, 0.0])
M = np.array([4.0, 9.0, 3.0, 40.0, 1.0, 1.0])
ETA = np.array([-1.0, 0.3, 0.3, -2.5, 3.0, 0.4])


def successes(d, of):
    """The design with counts of ``of`` or so trials in place of its responses."""
    trials = of + np.arange(len(d.y)) % 3 * (of > 1)
    return replace(d, y=np.minimum(d.y, trials) if of > 1 else (d.y > np.median(d.y)) * 1.0, trials=trials * 1.0)


@pytest.mark.parametrize("scale", [1, 30])
def test_densities_are_those_of_scipy(scale):
    y, m = scale * Y, scale * M
    family = Binomial(y, m)
    for eta in (ETA, logit(np.clip(Y / M, 0.01, 0.99)) + 1e-3, np.full(6, 12.0), np.full(6, -12.0)):
        found = family.log_density(eta, family.mean(eta)).sum() + family.constant
        assert_allclose(found, binom.logpmf(y, m, expit(eta)).sum(), rtol=1e-10)


def test_large_numbers_keep_their_digits():
    """With 4e11 successes of 1e12 trials, one standard deviation off, the density is that of a normal variable."""
    family = Binomial(np.array([4e11, 0.0]), np.array([1e12, 1.0]))
    assert family.large and not Binomial(Y, M).large
    sd = np.sqrt(1e12 * 0.4 * 0.6)
    eta = np.array([logit(0.4 + sd / 1e12), 0.0])
    assert_allclose(family.log_density(eta, family.mean(eta)), [-0.5, -np.log(2)], rtol=1e-5)
    assert_allclose(family.constant, norm.logpdf(0, scale=sd), rtol=1e-9)


@pytest.mark.parametrize("y", [15.0, 16.0, 17.0])
def test_the_constant_is_continuous_where_it_changes_its_form(y):
    exact = binom.logpmf(y, 40, y / 40)
    assert_allclose(Binomial(np.array([y]), np.array([40.0])).constant, exact, rtol=1e-13)
    assert LARGE > 40


def test_cumulants_are_derivatives_of_the_log_density():
    family, h = Binomial(Y, M), 1e-3

    def density(eta):
        return family.log_density(eta, family.mean(eta))

    mu = family.mean(ETA)
    assert_allclose((density(ETA + h) - density(ETA - h)) / (2 * h), Y - mu, atol=1e-5)
    at = [family.cumulants(family.mean(ETA + step)) for step in (-h, 0, h)]
    assert_allclose((family.mean(ETA + h) - family.mean(ETA - h)) / (2 * h), at[1][0], rtol=1e-5)
    for order in (0, 1):
        assert_allclose((at[2][order] - at[0][order]) / (2 * h), at[1][order + 1], rtol=1e-4, atol=1e-6)


def test_deviance_is_twice_the_gap_to_the_saturated_model():
    family, mu = Binomial(Y, M), M * expit(ETA)
    assert_allclose(family.deviance(mu), 2 * (binom.logpmf(Y, M, Y / M) - binom.logpmf(Y, M, mu / M)), atol=1e-12)
    assert_allclose(family.deviance(Y), 0, atol=1e-14)


@pytest.mark.parametrize("sd", [0.0, 0.3, 2.0, 25.0])
def test_the_mean_over_all_groups_is_an_integral(sd):
    eta = np.array([-3.0, 0.0, 1.4])
    link, by_eta, by_variance = Binomial.population(eta, np.full(3, sd**2))

    def mean(f):
        if not sd:
            return f(eta)
        points = [[-e / sd - 1, -e / sd, -e / sd + 1] for e in eta]
        inside = [
            quad(lambda z, e=e: f(e + sd * z) * norm.pdf(z), -12, 12, points=p, epsabs=1e-13)[0]
            for e, p in zip(eta, points, strict=True)
        ]
        return np.array(inside)

    share = mean(expit)
    assert_allclose(expit(link), share, rtol=1e-9)
    slope, bend = mean(Binomial.slope), mean(lambda x: Binomial.slope(x) * (1 - 2 * expit(x)) / 2)
    assert_allclose(by_eta, slope / (share * (1 - share)), rtol=1e-8)
    assert_allclose(by_variance, bend / (share * (1 - share)), rtol=1e-7, atol=1e-11)


def test_simulated_successes_have_mean_and_variance():
    mu = np.tile(M * expit(ETA), (40_000, 1))
    drawn = Binomial(Y, M).simulate(np.random.default_rng(1), mu)
    variance = mu[0] * (1 - mu[0] / M)
    assert (np.abs(drawn.mean(axis=0) - mu[0]) < 5 * np.sqrt(variance / len(mu))).all()
    assert_allclose(drawn.var(axis=0), variance, rtol=0.05)


@pytest.mark.parametrize(("q", "p", "diagonal"), [(1, 2, False), (2, 2, False), (2, 3, True), (3, 2, False)])
@pytest.mark.parametrize("method", ["laplace", "aghq"])
@pytest.mark.parametrize("of", [1, 7])
def test_derivatives_are_exact(q, p, diagonal, method, of):
    if method == "aghq" and q > 2:
        pytest.skip("no quadrature of three effects")
    d = design(q=q, p=p, diagonal=diagonal)
    o = Objective(Rows.of(successes(d, of), Binomial), method, 5)
    psi = 0.5 * np.random.default_rng(1).normal(size=p + len(o.rows.coordinates))
    _, gradient, hessian = o.derivatives(psi)
    # As for counts; the Hessian by quadrature is one of differences itself.
    assert_allclose(gradient, differences(lambda at: o.derivatives(at)[0], psi), rtol=1e-6, atol=1e-6)
    by_differences = differences(lambda at: o.derivatives(at)[1], psi)
    assert_allclose(hessian, by_differences, rtol=1e-6, atol=1e-6 * np.abs(hessian).max())


@pytest.mark.parametrize("of", [1, 7])
def test_quadrature_is_the_integral(of):
    d = successes(design(q=1, p=2), of)
    o = Objective(Rows.of(d, Binomial), "aghq", 30)
    beta, sd, u = np.array([0.3, -0.4]), 0.9, np.linspace(-10, 10, 2001)
    eta = (d.X @ beta)[:, None] + sd * u
    given = binom.logpmf(d.y[:, None], d.trials[:, None], expit(eta))
    given = np.stack([given[d.rows(i)].sum(axis=0) for i in range(d.n_groups)])
    exact = np.log(np.trapezoid(np.exp(given) * norm.pdf(u), u)).sum()
    psi = np.append(o.rows.basis.Rx @ beta, sd * abs(o.rows.basis.Rz[0, 0]))
    assert_allclose(o.derivatives(psi)[0], exact, rtol=1e-10)


@pytest.fixture
def frame():
    rng = np.random.default_rng(8)
    g = np.repeat(np.arange(30), 5)
    size = rng.integers(2, 9, 150)
    x = rng.normal(size=150)
    p = expit(0.3 + 0.8 * x + rng.normal(size=30)[g])
    return pd.DataFrame({"g": g, "x": x, "size": size, "y": rng.binomial(size, p), "yes": rng.random(150) < p})


def test_one_trial_each_is_yes_or_no(frame):
    by_default = lmmlib.fit_glmm("yes ~ x + (1 | g)", frame, "binomial")
    told = lmmlib.fit_glmm("yes ~ x + (1 | g)", frame, "binomial", trials=np.ones(150))
    assert by_default.loglik == told.loglik and (by_default.beta == told.beta).all()


def test_trials_add_up(frame):
    """m trials of one row are m rows of one trial, but for the number of ways to order them."""
    rows = frame.loc[frame.index.repeat(frame["size"])]
    rows = rows.assign(one=(rows.groupby(level=0).cumcount() < rows.y).astype(int))
    together = lmmlib.fit_glmm("y ~ x + (1 | g)", frame, "binomial", trials="size", method="aghq")
    apart = lmmlib.fit_glmm("one ~ x + (1 | g)", rows, "binomial", method="aghq")
    assert_allclose(together.beta, apart.beta, rtol=1e-7)
    assert_allclose(together.D, apart.D, rtol=1e-6)
    ways = binom.logpmf(frame.y, frame["size"], 0.5) + frame["size"] * np.log(2)
    assert_allclose(together.loglik - apart.loglik, ways.sum(), rtol=1e-9)
    assert_allclose(together.predict(frame)["estimate"], apart.predict(frame)["estimate"], rtol=1e-7)


def test_failures_are_successes_turned_round(frame):
    one = lmmlib.fit_glmm("y ~ x + (x | g)", frame, "binomial", trials="size")
    other = lmmlib.fit_glmm("size - y ~ x + (x | g)", frame, "binomial", trials="size")
    assert_allclose(other.beta, -one.beta, rtol=1e-6)
    assert_allclose(other.D, one.D, rtol=1e-6)
    assert_allclose(other.fitted(), 1 - one.fitted(), rtol=1e-6)
    assert_allclose(other.residuals(kind="deviance"), -one.residuals(kind="deviance"), rtol=1e-6, atol=1e-9)


def test_what_is_no_number_of_successes_is_named(frame):
    cases = (
        (lambda d: d.assign(y=d.y - 3), "'y' is negative in row"),
        (lambda d: d.assign(y=d.y / d["size"]), "no whole number in row .* pass the number of successes"),
        (lambda d: d.assign(y=d.y + 20), "above the number of trials in row 0"),
        (lambda d: d.assign(size=d["size"].where(d.index != 7, 0)), "trials is 0 in row 7 .* without trials out"),
        (lambda d: d.assign(size=d["size"] + 0.5), "trials is .* in row 0 .* whole number"),
        (lambda d: d.assign(size=d["size"].where(d.index != 7)), "trials are missing in 1 rows, the first being row 7"),
        (lambda d: d.assign(y=np.where(d.y > 1, "yes", "no")), "make truth values"),
    )
    for change, message in cases:
        with pytest.raises(DataError, match=message):
            lmmlib.fit_glmm("y ~ x + (1 | g)", change(frame), "binomial", trials="size")
    with pytest.raises(DataError, match="'y' is not 0 or 1 in row .* pass trials="):
        lmmlib.fit_glmm("y ~ x + (1 | g)", frame, "binomial")
    with pytest.raises(DataError, match="not a column of the data"):
        lmmlib.fit_glmm("y ~ x + (1 | g)", frame, "binomial", trials="sizes")


def test_missing_trials_are_dropped_with_their_rows(frame):
    gaps = frame.assign(size=frame["size"].where(frame.index != 7))
    fit = lmmlib.fit_glmm("y ~ x + (1 | g)", gaps, "binomial", trials="size", missing="drop")
    assert fit.n_obs == 149 and fit.design.n_dropped == 1
    assert fit.loglik == lmmlib.fit_glmm("y ~ x + (1 | g)", frame.drop(7), "binomial", trials="size").loglik


def test_what_has_no_estimate_is_named(frame):
    for y, message in ((0, "are failures"), (frame["size"], "are successes")):
        with pytest.raises(DesignError, match=message):
            lmmlib.fit_glmm("y ~ x + (1 | g)", frame.assign(y=y), "binomial", trials="size")
    with pytest.raises(DesignError, match="every group of 'row' has one trial"):
        lmmlib.fit_glmm("yes ~ x + (1 | row)", frame.assign(row=np.arange(150)), "binomial")
    with pytest.raises(DesignError, match="counts take no trials"):
        lmmlib.fit_glmm("y ~ x + (1 | g)", frame, "poisson", trials="size")
    with pytest.raises(DesignError, match="a normal response has no trials"):
        lmmlib.fit_design(lmmlib.build_design("y ~ x + (1 | g)", frame, trials="size"))
    weighted = lmmlib.build_design("yes ~ x + (1 | g)", frame, weights="size")
    with pytest.raises(DesignError, match="take no weights"):
        lmmlib.glmm.fit.fit_glmm_design(weighted, "binomial")


@pytest.mark.parametrize("sign", [-1, 1])
def test_separation_is_named_on_both_sides(frame, sign):
    """Complete, quasi-complete (one row of each kind at the border), and the control with one row across."""
    apart = frame.assign(yes=sign * frame.x > 0.2)
    with pytest.raises(DesignError, match=r"combination of .*x separates successes of 'yes' from failures"):
        lmmlib.fit_glmm("yes ~ x + (1 | g)", apart, "binomial")
    border = apart.assign(x=np.where(frame.index < 2, 0.2 * sign, frame.x), yes=apart.yes | (frame.index == 0))
    with pytest.raises(DesignError, match="separates successes of 'yes'"):
        lmmlib.fit_glmm("yes ~ x + (1 | g)", border, "binomial")
    lmmlib.fit_glmm("yes ~ x + (1 | g)", apart.assign(yes=apart.yes ^ (frame.x.abs() < 0.6)), "binomial")
    kind = frame.assign(kind=np.where(frame.g < 3, "a", "b"), yes=frame.yes | (frame.g < 3))
    with pytest.raises(DesignError, match="kindb|(Intercept)"):
        lmmlib.fit_glmm("yes ~ kind + (1 | g)", kind, "binomial")


def test_separation_in_every_group_is_named(frame):
    with pytest.raises(DesignError, match=r"random column \(Intercept\) separates successes of 'all' from failures"):
        lmmlib.fit_glmm("all ~ x + (1 | g)", frame.assign(all=frame.g % 2), "binomial")
    # One group with both: a finite variance.
    mixed = frame.assign(all=np.where(frame.index == 0, 1, frame.g % 2))
    assert lmmlib.fit_glmm("all ~ 1 + (1 | g)", mixed, "binomial", method="aghq").converged


def test_single_trials_have_no_overdispersion(frame):
    fit = lmmlib.fit_glmm("yes ~ x + (1 | g)", frame, "binomial")
    with pytest.raises(DesignError, match="is of one trial, which cannot vary more"):
        fit.overdispersion()
    assert "Pearson" not in repr(fit) and "Binomial mixed model" in repr(fit)
    several = lmmlib.fit_glmm("y ~ x + (1 | g)", frame, "binomial", trials="size")
    assert "Pearson residuals" in repr(several)
    left = (frame.y / frame["size"] - several.fitted()) / np.sqrt(
        several.fitted() * (1 - several.fitted()) / frame["size"]
    )
    assert_allclose(several.overdispersion().pearson, (left**2).sum(), rtol=1e-10)


def test_groups_all_alike_are_noted(frame):
    fit = lmmlib.fit_glmm("y ~ x + (1 | g)", frame.assign(y=frame.y.where(frame.g > 1, 0)), "binomial", trials="size")
    assert fit.notes == (
        "2 of 30 groups have nothing but successes or nothing but failures; their modes are finite through D",
    )


def test_predicted_means_over_the_population(frame):
    """By draws of the random effects, for rows with a random slope."""
    fit = lmmlib.fit_glmm("y ~ x + (x | g)", frame, "binomial", trials="size")
    new = frame.head(4)
    b = np.random.default_rng(3).multivariate_normal([0, 0], fit.D, 400_000)
    eta = (
        (fit.beta.iloc[0] + fit.beta.iloc[1] * new.x.to_numpy())[:, None]
        + b[:, 0]
        + new.x.to_numpy()[:, None] * b[:, 1]
    )
    found = fit.predict(new, of="population")
    assert_allclose(found["estimate"], expit(eta).mean(axis=1), atol=2e-3)
    assert_allclose(fit.fitted(of="population")[:4], found["estimate"], rtol=1e-10)
    assert ((found["lower"] < found["estimate"]) & (found["estimate"] < found["upper"])).all()
    steps = [fit.psi + 1e-6 * e for e in np.eye(len(fit.psi))]
    assert len(steps) == 5


def test_simulated_data_lead_back_to_the_fit(frame):
    fit = lmmlib.fit_glmm("y ~ x + (1 | g)", frame, "binomial", trials="size", method="aghq")
    again = [fit.refit(y).parameters() for y in fit.simulate(40, rng=5).T]
    z = (np.mean(again, axis=0) - fit.parameters()) / (np.std(again, axis=0) / np.sqrt(40))
    assert (z.abs()[["(Intercept)", "x"]] < 4).all()
    assert (fit.simulate(rng=1) <= frame["size"]).all()


def test_families_are_not_compared(frame):
    one = lmmlib.fit_glmm("y ~ x + (1 | g)", frame, "binomial", trials="size")
    with pytest.raises(lmmlib.errors.ParameterError, match="different families"):
        lmmlib.compare(lmmlib.fit_glmm("y ~ 1 + (1 | g)", frame), one)
    with pytest.raises(lmmlib.errors.ParameterError, match="different trials"):
        lmmlib.compare(lmmlib.fit_glmm("y ~ 1 + (1 | g)", frame, "binomial", trials=frame["size"] + 1), one)
    null = lmmlib.fit_glmm("y ~ 1 + (1 | g)", frame, "binomial", trials="size")
    assert lmmlib.compare(null, one).p < 1e-3
    by_reml = [lmmlib.fit_glmm(f"y ~ {x} + (1 | g)", frame, "binomial", trials="size", method="REML") for x in "1x"]
    with pytest.raises(lmmlib.errors.ParameterError, match="fit both with method='laplace'"):
        lmmlib.compare(*by_reml)
