"""Predictions for new rows: means and errors as printed, groups known and new, and what they may get wrong."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

import lmmlib
from lmmlib import dense
from lmmlib.design.formula import fixed_matrix, random_matrix
from lmmlib.design.new_rows import new_rows
from lmmlib.design.responses import Responses
from lmmlib.equations.blup import estimation_error
from lmmlib.errors import DataError, ParameterError
from lmmlib.prediction.errors import batched_effects, error_variance

FORMULA = "lead ~ week * drug + (week | child)"


COLUMNS = ["estimate", "se", "lower", "upper", "known_group"]


# Two exact ways to the same numbers: rounding only.
EXACT = {"rtol": 1e-9, "atol": 1e-10}


@pytest.fixture
def fit(frame):
    return lmmlib.fit(FORMULA, frame)


def printed(fit, X, Z, group):
    """Mean and variance of the error of x'beta + z'b_i (group -1: of x'beta) with N x N matrices; D may be singular."""
    D, sigma2, n = fit.D.to_numpy(), fit.sigma2, fit.n_groups
    big, bigZ = np.kron(np.eye(n), D), dense.big_Z(fit.design)
    W, P = np.linalg.inv(dense.V(fit.design, D, sigma2)), dense.projection(fit.design, D, sigma2)
    beta, Phi = dense.gls(fit.design, D, sigma2)
    b = big @ bigZ.T @ P @ fit.design.y
    pev, joint = big - big @ bigZ.T @ P @ bigZ @ big, -Phi @ fit.design.X.T @ W @ bigZ @ big
    means, variances = [], []
    for x, z, i in zip(X, Z, group, strict=True):
        long = np.zeros(len(b))
        if i >= 0:
            long[i * len(z) : (i + 1) * len(z)] = z
        means.append(x @ beta + long @ b)
        variances.append(x @ Phi @ x + 2 * x @ joint @ long + long @ pev @ long)
    return np.array(means), np.array(variances)


def moved_to(fit, D, sigma2):
    """The fit with D and sigma2 of the test's choice, and the beta that belongs to them."""
    beta, cov = dense.gls(fit.design, D, sigma2)
    z, x = fit.D.index, fit.beta.index
    return replace(
        fit, D=pd.DataFrame(D, z, z), sigma2=sigma2, beta=pd.Series(beta, x), cov_beta=pd.DataFrame(cov, x, x)
    )


def rows(fit, new):
    names = list(fit.design.group_names)
    group = [names.index(c) if c in names else -1 for c in new[fit.design.grouping]]
    return fixed_matrix(fit.design, new), random_matrix(fit.design, new), np.array(group)


FORMULAS = [
    FORMULA,
    "lead ~ week * drug + (week || child)",
    "lead ~ drug + (1 | child)",
    "lead ~ 1 + (1 | child)",
    "lead ~ 0 + (1 | child)",
    "lead ~ np.log(week + 1) + I(week**2) + (1 + np.sqrt(week) | child)",
    "lead ~ drug + poly(week, 2) + (0 + week | child)",
    "lead ~ week + (0 | child)",
    "lead ~ week + (C(week > 1) | child)",
]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("method", ["REML", "ML"])
def test_means_and_errors_are_the_printed_ones(frame, new, formula, method):
    fit = lmmlib.fit(formula, frame, method=method)
    X, Z, group = rows(fit, new)
    noise = np.einsum("ra,ab,rb->r", Z, fit.D.to_numpy(), Z)
    mean, variance = printed(fit, X, Z, group)
    at_population = printed(fit, X, Z, np.full(4, -1))
    # The mean of the fit has the digits of its optimum, the dense one those of D and sigma2.
    for of, (m, v), own in (
        ("group", (mean, variance), np.where(group < 0, noise, 0)),
        ("population", at_population, 0),
    ):
        shown = fit.predict(new, of=of, interval="confidence")
        assert_allclose(shown["estimate"], m, rtol=1e-8)
        assert_allclose(shown["se"] ** 2, v + own, **EXACT)
        assert_allclose(fit.predict(new, of=of)["se"], shown["se"], rtol=1e-14)
        wide = fit.predict(new, of=of, interval="prediction")
        assert_allclose(
            wide["se"] ** 2,
            v + np.where(group < 0, noise, own if of == "group" else noise) + fit.sigma2,
            **EXACT,
        )
        assert_allclose(wide["estimate"], shown["estimate"], rtol=1e-14)


def test_rows_of_the_data_are_predicted_by_their_fitted_values(fit, frame):
    for of in ("group", "population"):
        assert_allclose(fit.predict(frame, of=of)["estimate"], fit.fitted(of=of), rtol=1e-12)
    assert fit.predict(frame)["known_group"].all()


@pytest.mark.parametrize("D", [np.zeros((2, 2)), np.diag([2.0, 0.0]), np.outer([1, 0.4], [1, 0.4])], ids=str)
def test_a_singular_D(fit, new, D):
    at = moved_to(fit, D, 0.8)
    X, Z, group = rows(at, new)
    mean, variance = printed(at, X, Z, group)
    noise = np.where(group < 0, np.einsum("ra,ab,rb->r", Z, D, Z), 0)
    shown = at.predict(new)
    assert_allclose(shown["estimate"], mean, **EXACT)
    assert_allclose(shown["se"] ** 2, variance + noise, **EXACT)
    assert (at.predict(new, method="corrected")["se"] > 0).all()


def added(fit, X, Z, group):
    """Covariances of the derivatives of x'beta + z'b_i by D and sigma2, by differences of the printed predictions.

    A prediction at given D and sigma2 is a linear function of y, so that its derivative is one too.
    """
    design, D, sigma2, n = fit.design, fit.D.to_numpy(), fit.sigma2, fit.n_groups
    bigZ, q, h = dense.big_Z(design), len(D), 1e-4
    long = np.zeros((len(X), n * q))
    for row, z, i in zip(long, Z, group, strict=True):
        row[i * q : (i + 1) * q] = z if i >= 0 else 0

    def weights(D, sigma2):
        W, P = np.linalg.inv(dense.V(design, D, sigma2)), dense.projection(design, D, sigma2)
        beta = np.linalg.solve(design.X.T @ W @ design.X, design.X.T @ W)
        return X @ beta + long @ np.kron(np.eye(n), D) @ bigZ.T @ P

    slopes = []
    for a, b in zip(*np.triu_indices(q), strict=True):
        if a != b and design.diagonal:
            continue
        E = np.zeros((q, q))
        E[a, b] = E[b, a] = h
        slopes.append((weights(D + E, sigma2) - weights(D - E, sigma2)) / (2 * h))
    slopes.append((weights(D, sigma2 + h) - weights(D, sigma2 - h)) / (2 * h))
    A, V = np.linalg.inv(dense.information_variance(design, D, sigma2)), dense.V(design, D, sigma2)
    return np.einsum("rs,rni,ij,snj->n", A, np.array(slopes), V, np.array(slopes))


# Without random effects there is nothing to add; a drug that each child has or has not does not identify all of D.
@pytest.mark.parametrize("formula", [f for f in FORMULAS if "(0 |" not in f and "(drug |" not in f])
def test_corrected_adds_what_estimating_D_and_sigma2_costs(frame, new, formula):
    """Through both terms together: known groups at several weeks, and a new one."""
    fit = lmmlib.fit(formula, frame)
    X, Z, group = rows(fit, new)
    # The formula holds for any D; that of the fit may be singular, where differences have no room.
    fit = moved_to(fit, 0.2 + 0.6 * np.eye(len(fit.D)) if not fit.design.diagonal else np.diag([0.8, 0.3]), 0.7)
    gained = fit.predict(new, method="corrected")["se"] ** 2 - fit.predict(new)["se"] ** 2
    expected = 2 * added(fit, X, Z, group)
    # Differences with steps of 1e-4 leave about 7 digits.
    assert_allclose(gained, expected, rtol=1e-5, atol=1e-6 * expected.max())


def test_corrected_balanced_one_way_closed_form():
    """mu + b_i: (1 - w)^2 Var(mean) and tau2 (1 - w), plus twice Var(w) times the variance of a group's deviation."""
    rng, n, m = np.random.default_rng(12), 9, 4
    y = 3 + rng.standard_normal((n, 1)) + rng.standard_normal((n, m))
    fit = lmmlib.fit("y ~ 1 + (1 | g)", pd.DataFrame({"y": y.ravel(), "g": np.repeat(np.arange(n), m)}))
    sigma2, c = fit.sigma2, fit.sigma2 + m * fit.D.iloc[0, 0]
    w = 1 - sigma2 / c
    var_w = (sigma2 / c) ** 2 * (2 / (n * (m - 1)) + 2 / (n - 1))
    plain, corrected = (fit.predict(pd.DataFrame({"g": range(n)}), method=method) for method in ("plugin", "corrected"))
    assert_allclose(plain["estimate"], y.mean() + w * (y.mean(axis=1) - y.mean()), rtol=1e-9)
    assert_allclose(plain["se"] ** 2, w * sigma2 / m + (1 - w) ** 2 * c / (m * n), rtol=1e-9)
    assert_allclose(corrected["se"] ** 2 - plain["se"] ** 2, 2 * var_w * c / m * (1 - 1 / n), rtol=1e-9)


def test_the_correction_is_what_estimating_the_variances_costs():
    """Twenty unbalanced groups: how much worse predictions get when D and sigma2 are estimated, by simulation."""
    rng, many, n = np.random.default_rng(3), 4000, 20
    group = np.repeat(np.arange(n), rng.integers(1, 6, n))
    x, w = rng.uniform(0, 4, len(group)), rng.normal(size=n)
    data = pd.DataFrame({"y": rng.normal(size=len(x)), "x": x, "w": w[group], "g": group})
    fit = moved_to(lmmlib.fit("y ~ x + w + (1 | g)", data), np.eye(1), 1.0)
    at = new_rows(fit.design, pd.DataFrame({"x": np.linspace(0, 6, n), "w": w, "g": range(n)}), "group", "error")
    Y = 2 + rng.normal(size=(n, many))[group] + rng.normal(size=(len(x), many))
    fits = lmmlib.fit_many(fit.design, Y)
    data = Responses.of_columns(fit.cross, fit.design, Y)
    V_inverse = np.linalg.inv(dense.V(fit.design, [[1.0]], 1.0))
    beta = (fit.cov_beta.to_numpy() @ fit.design.X.T @ V_inverse @ Y).T
    true = replace(fits, beta=beta, D=np.ones_like(fits.D), sigma2=np.ones(many))
    guess, best = (
        f.beta @ at.X.T + at.at(batched_effects(fit.cross, data, f.beta, f.D, f.sigma2)[0]) for f in (fits, true)
    )
    seen = ((guess - best) ** 2).mean(axis=0)
    claimed = (error_variance(fit, at, corrected=True) - error_variance(fit, at)) / 2
    # To first order in 1 / n: a tenth or more is left out.
    ratios = seen / claimed
    assert ratios.min() > 0.95 and ratios.max() < 1.4, ratios
    # The control: the corrections of the two terms by themselves are too large by a quarter and more for some rows.
    more = dense.kenward_roger_covariance(fit.design, [[1.0]], 1.0) - fit.cov_beta.to_numpy()
    apart = np.einsum("ra,ab,rb->r", at.X, more, at.X) / 2 + estimation_error(fit.cross, [[1.0]], 1.0)[:, 0, 0]
    assert (seen / apart).min() < 0.8


def test_corrected_population_errors_are_those_of_kenward_roger_contrasts(fit, new):
    X = fixed_matrix(fit.design, new)
    expected = [fit.contrast(x, df="kenward-roger").se[0] for x in X]
    assert_allclose(fit.predict(new, of="population", method="corrected")["se"], expected, rtol=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_limits_are_normal_quantiles(fit, new, level):
    for method in ("plugin", "corrected"):
        shown = fit.predict(new, interval="prediction", method=method, level=level)
        reach = norm.ppf((1 + level) / 2) * shown["se"]
        assert_allclose(shown["upper"] - shown["estimate"], reach, rtol=1e-10)
        assert_allclose(shown["estimate"] - shown["lower"], reach, rtol=1e-10)


def test_the_frame_is_labelled_as_the_new_rows(fit, new):
    shown = fit.predict(new, interval="confidence")
    assert list(shown.columns) == COLUMNS
    assert list(shown.index) == [3, 3, "a", 0]
    assert list(shown["known_group"]) == [True, True, True, False]
    assert list(fit.predict(new).columns) == ["estimate", "se", "known_group"]
    assert "failed" not in shown.attrs


def test_mixtures_of_groups_do_not_disturb_each_other(fit, new):
    together = fit.predict(new, interval="prediction", method="corrected")
    for k in range(4):
        alone = fit.predict(new.iloc[[k]], interval="prediction", method="corrected")
        assert_allclose(alone[COLUMNS[:4]], together[COLUMNS[:4]].iloc[[k]], rtol=1e-12)


def test_new_groups(fit, new):
    with pytest.raises(DataError, match="1 of the groups in 'child' were not in the data of the fit: 'new'; pass new_"):
        fit.predict(new, new_groups="error")
    fit.predict(new.iloc[:3], new_groups="error")
    fit.predict(new, of="population", new_groups="error")
    many = new.iloc[[0] * 9].assign(child=[f"n{i}" for i in range(9)])
    with pytest.raises(DataError, match=r"9 of the groups.*'n0', 'n1', 'n2', 'n3', 'n4', \.\.\.; pass"):
        fit.predict(many, new_groups="error")
    new_mean, population = fit.predict(new.iloc[[3]]), fit.predict(new.iloc[[3]], of="population")
    assert_allclose(new_mean["estimate"], population["estimate"], rtol=1e-14)
    assert (new_mean["se"] > population["se"]).all()


def test_the_population_needs_no_groups(fit, new):
    bare = fit.predict(new.drop(columns="child"), of="population", interval="prediction")
    assert not bare["known_group"].any()
    full = fit.predict(new, of="population", interval="prediction")
    assert_allclose(bare[COLUMNS[:4]], full[COLUMNS[:4]], rtol=1e-14)
    assert fit.predict(new, of="typical", interval="prediction").equals(full)
    missing = fit.predict(new.assign(child=["c2", None, 7, "c5"]), of="population")
    assert list(missing["known_group"]) == [True, False, False, True]


OPTION_ERRORS = {
    "of is 'group' or 'typical' or 'population'; got 'conditional'": {"of": "conditional"},
    "new_groups is 'population' or 'error'; got 'zero'": {"new_groups": "zero"},
    "interval is None or 'confidence' or 'prediction'; got True": {"interval": True},
    "method is 'plugin' or 'corrected' or 'bootstrap'; got 'exact'": {"method": "exact"},
    "level must lie between 0 and 1; got 95": {"level": 95},
    "level must be real numbers; got '95%'": {"level": "95%"},
    "level must lie between 0 and 1; got nan": {"level": np.nan},
    "rng must be a numpy Generator": {"method": "bootstrap"},
    "rng must be a numpy Generator.*got '1'": {"method": "bootstrap", "rng": "1"},
    "size must be a whole number of at least 1; got 0": {
        "method": "bootstrap",
        "size": 0,
        "rng": np.random.default_rng(1),
    },
}


@pytest.mark.parametrize("words", OPTION_ERRORS)
def test_unknown_options(fit, new, words):
    with pytest.raises(ParameterError, match=words):
        fit.predict(new, **OPTION_ERRORS[words])


def test_only_the_groups_of_the_new_rows_are_looked_at(frame, new):
    """The sums of all other groups may be lost once there is a fit; for "corrected", once its information is known."""
    known = new.iloc[:3]
    fit, asked = lmmlib.fit(FORMULA, frame), lmmlib.fit(FORMULA, frame)
    expected = {way: asked.predict(known, interval="prediction", method=way) for way in ("plugin", "corrected")}
    others = ~np.isin(fit.design.group_names, new["child"])
    for one, ways in ((fit, ["plugin"]), (asked, expected)):
        for sums in (one.cross.work.ZtX, one.cross.work.Zty, one.cross.work.ZtZ):
            sums[others] = np.nan
        for way in ways:
            shown = one.predict(known, interval="prediction", method=way)
            assert shown.equals(expected[way]) and shown.notna().all(axis=None)
        assert np.array_equal(np.isnan(one.fitted()), others[one.design.group])


def test_units_and_calendar_years(frame):
    """y in tenths, weeks counted from the year 0: predictions and their errors are the same to 6 digits."""
    fit = lmmlib.fit("lead ~ week + (week | child)", frame)
    moved = frame.assign(lead=10 * frame["lead"], week=frame["week"] / 52 + 2000)
    other = lmmlib.fit("lead ~ week + (week | child)", moved)
    picked = [0, 5, 9]
    for method in ("plugin", "corrected"):
        one = fit.predict(frame.iloc[picked], interval="prediction", method=method)
        two = other.predict(moved.iloc[picked], interval="prediction", method=method)
        # Both optima are found to about 1e-7 in theta.
        assert_allclose(two[COLUMNS[:4]] / 10, one[COLUMNS[:4]], rtol=2e-5)


def coverage_of(seed=7, n_groups=10, many=300):
    """Shares of x'beta + z'b_i that 95 % intervals hold: corrected, plug-in, and by the error of b alone."""
    rng = np.random.default_rng(seed)
    group, held = np.repeat(np.arange(n_groups), 4), {"corrected": [], "plugin": [], "own": []}
    x = np.tile([0.0, 1.0, 2.0, 3.0], n_groups)
    start = lmmlib.fit("y ~ x + (1 | g)", pd.DataFrame({"y": rng.normal(size=len(x)), "x": x, "g": group}))
    ahead = new_rows(
        start.design, pd.DataFrame({"x": np.full(n_groups, 4.0), "g": np.arange(n_groups)}), "group", "error"
    )
    for _ in range(many):
        b = rng.normal(size=n_groups)
        fit = start.refit(1 + 0.5 * x + b[group] + rng.normal(size=len(x)))
        blups = fit.blups()
        variances = {
            "corrected": error_variance(fit, ahead, corrected=True),
            "plugin": error_variance(fit, ahead),
            "own": blups.known[:, 0, 0],
        }
        gap = ahead.X @ fit.beta.to_numpy() + blups.b.to_numpy()[:, 0] - (1 + 0.5 * 4 + b)
        for key, variance in variances.items():
            held[key].append((np.abs(gap) < 1.96 * np.sqrt(variance)).mean())
    return {key: (np.mean(v), np.std(v) / np.sqrt(many)) for key, v in held.items()}


def test_coverage_of_known_groups():
    """Ten groups: corrected intervals hold nearly 95 %, plug-in ones 2 % less, the error of b alone about 82 %."""
    share = coverage_of()
    # Normal quantiles with an estimated sigma2 cost about 1 %.
    for method, expected in (("corrected", 0.94), ("plugin", 0.925)):
        assert abs(share[method][0] - expected) < 3 * share[method][1], method
    assert share["own"][0] < 0.9 - 3 * share["own"][1]
    assert share["plugin"][0] < share["corrected"][0]
