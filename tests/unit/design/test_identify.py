"""Designs whose D and sigma2 the data cannot tell apart are refused by name, and no others."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

import lmmlib
from lmmlib import dense
from lmmlib.design.identify import require_identified, unseen
from lmmlib.errors import DesignError, ParameterError

N = 20


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(N), 4)
    d = pd.DataFrame({"g": g, "t": np.tile(np.arange(4.0), N), "arm": g % 2, "age": rng.integers(40, 80, N)[g]})
    d = d.assign(year=2010 + d.t, one=1, row=range(len(d)), x=rng.normal(size=len(d)))
    between = pd.DataFrame(rng.normal(size=(N, N)), columns=[f"u{k}" for k in range(N)])
    y = d.t + rng.normal(size=N)[g] + rng.normal(size=len(d))
    return pd.concat([d, between.loc[g].reset_index(drop=True)], axis=1).assign(y=y, count=rng.poisson(2, len(d)))


COVARIATES = " + ".join(f"u{k}" for k in range(N - 1))


I, II = "D[(Intercept), (Intercept)]", r"D\[\(Intercept\), \(Intercept\)\]"


REFUSED = {
    "y ~ arm + (1 | arm)": rf"{II}: .* does not depend on it\. The fixed effects fit \(Intercept\) of each of the 2",
    "y ~ C(g) + (1 | g)": rf"{II}: .* of each of the 20 groups of 'g' exactly",
    "y ~ t + (1 | one)": r"a single group of 'one' \(1\).*\(0 \| one\)",
    f"y ~ {COVARIATES} + (1 | g)": rf"{II}: .* as many columns as there are groups",
    "y ~ C(g) * t + (t | g)": r"D\[t, t\]: .* fit \(Intercept\) and t of each",
    "y ~ C(g) + t + (t | g)": rf"{II} and D\[t, \(Intercept\)\]: ",
    "y ~ t * arm + (1 + arm | g)": r"D\[arm, \(Intercept\)\] changes by 1 and D\[arm, arm\] by -2\..* leave arm out",
    "y ~ year + (year + arm | g)": r"D\[arm, arm\] by -2\. In each group of 'g' arm is a combination",
    "y ~ x + (1 | row)": rf"{II} and sigma2: .* changes by 1 and sigma2 by -1\. Each group of 'row' has one row",
    "y ~ t + (t + I(3 * t) | g)": "linearly dependent over all rows",
    "y ~ t + (t + I(3 * t) || g)": r"D\[t, t\] changes by 1 and D\[I\(3 \* t\), I\(3 \* t\)\] by -0.1111",
}


FITTED = ["y ~ age + (1 + age | g)", "y ~ arm + (1 + arm || g)", "y ~ year + (year | g)", "y ~ u1 + u2 + (1 | g)"]


@pytest.mark.parametrize("formula", REFUSED)
def test_what_is_not_identified_is_named_by_all(frame, formula):
    design = lmmlib.build_design(formula, frame)
    calls = (
        lambda: lmmlib.fit(formula, frame),
        lambda: lmmlib.fit(formula, frame, method="ML"),
        lambda: lmmlib.fit_many(design, np.column_stack([frame.y, frame.x])),
    )
    for call in calls:
        with pytest.raises(DesignError, match=REFUSED[formula]):
            call()
    for call in (lmmlib.sample, lmmlib.clone):
        with pytest.raises(DesignError, match=REFUSED[formula] + ".*pass unidentified='allow'"):
            call(formula, frame, draws=4)


@pytest.mark.parametrize("formula", FITTED)
def test_what_is_identified_is_fitted(frame, formula):
    assert lmmlib.fit(formula, frame).converged


def test_two_rows_of_a_group_alike(frame):
    """Two visits at the same times have three variances and covariances, and the model four parameters."""
    two = frame[frame.t < 2]
    with pytest.raises(DesignError, match=r"n_i = 2 are too small, or too much alike.* or make D diagonal with \|\|"):
        lmmlib.fit("y ~ t + (t | g)", two)
    assert lmmlib.fit("y ~ t + (t || g)", two).converged


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_no_more_rows_than_random_effects(method):
    """Two visits at irregular times with a random slope: sigma2 and D are identified, and right."""
    rng, n = np.random.default_rng(8), 25
    g, t = np.repeat(np.arange(n), 2), rng.uniform(0, 5, 2 * n)
    b = rng.normal(size=(n, 2)) * [1.0, 0.7]
    y = 1 + t + b[g, 0] + t * b[g, 1] + rng.normal(size=2 * n)
    design = lmmlib.build_design("y ~ t + (t | g)", pd.DataFrame({"g": g, "t": t, "y": y}))
    fitted = lmmlib.fit_design(design, method=method)
    assert fitted.converged and not fitted.is_singular
    loglik = dense.restricted_loglik if method == "REML" else dense.profile_loglik

    def minus(v):
        L = np.array([[np.exp(v[0]), 0], [v[1], np.exp(v[2])]])
        return -loglik(design, L @ L.T, np.exp(v[3]))

    best = minimize(minus, [0, 0, 0, 0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 1500})
    assert fitted.loglik == pytest.approx(loglik(design, fitted.D.to_numpy(), fitted.sigma2), rel=1e-12)
    assert fitted.loglik == pytest.approx(-best.fun, abs=1e-7)
    L = np.array([[np.exp(best.x[0]), 0], [best.x[1], np.exp(best.x[2])]])
    assert_allclose(fitted.D, L @ L.T, atol=1e-3)
    assert fitted.sigma2 == pytest.approx(np.exp(best.x[3]), rel=1e-3)


def test_counts_have_no_sigma2(frame):
    """A random effect for each count is overdispersion, which counts show; the rest is as for normal responses."""
    assert lmmlib.fit_glmm("count ~ x + (1 | row)", frame).converged
    with pytest.raises(DesignError, match=REFUSED["y ~ t * arm + (1 + arm | g)"]):
        lmmlib.fit_glmm("count ~ t * arm + (1 + arm | g)", frame)
    with pytest.raises(DesignError, match=rf"{II}: .* fit \(Intercept\) of each of the 2 groups"):
        lmmlib.fit_glmm("count ~ arm + (1 | arm)", frame)


def test_samplers_may_go_on(frame):
    drawn = lmmlib.sample("y ~ x + (1 | row)", frame, draws=20, warmup=20, rng=1, unidentified="allow")
    assert np.isfinite(drawn.sigma2).all()
    for call in (lmmlib.sample, lmmlib.clone):
        with pytest.raises(ParameterError, match="unidentified is 'error' or 'allow'; got 'yes'"):
            call("y ~ x + (1 | g)", frame, unidentified="yes")


@pytest.mark.parametrize("outlier", [1e3, 1e4, 1e5])
def test_a_row_that_outweighs_all_others(frame, outlier):
    """Beside its square what the others say is lost in the sums; the second look sees it."""
    wild = frame.assign(x=frame.x.where(frame.row != 5, outlier))
    for formula in ("y ~ x + (x | g)", "y ~ x + (x || g)"):
        assert not len(unseen(lmmlib.cross_products(lmmlib.build_design(formula, wild))))


def test_large_numbers_far_from_zero(frame):
    """Seconds since 1970 within one day, and the same day in groups without an intercept in common."""
    far = frame.assign(s=1.7e9 + 3600 * frame.t)
    require_identified(lmmlib.cross_products(lmmlib.build_design("y ~ s + (s | g)", far)))
    require_identified(lmmlib.cross_products(lmmlib.build_design("y ~ s + (s || g)", far)))
