"""Likelihood ratio tests: nesting, the reference, refusals; tables of AIC."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2, kstest

import lmmlib
from lmmlib.errors import DesignError, ParameterError
from lmmlib.inference.bootstrap import parametric_bootstrap


@pytest.fixture(scope="module")
def dental():
    return lmmlib.load("dental")


def fit(random, dental, fixed="age", method="ML"):
    return lmmlib.fit(f"distance ~ {fixed} + {random}", dental, method=method)


def test_fixed_effects_by_chi_square(dental):
    small, large = fit("(age | Subject)", dental, "age + Sex"), fit("(age | Subject)", dental, "age * Sex")
    test = lmmlib.compare(small, large)
    assert test.method == "chi-square" and test.reference == "chi2(1)" and not test.note
    assert_allclose(test.p, chi2.sf(small.criterion - large.criterion, 1))
    assert (test.n_parameters0, test.n_parameters1) == (7, 8)
    assert "LRT = 5.0292, p = 0.0249" in repr(test)


@pytest.mark.parametrize(
    "small, large, reference",
    [
        ("(0 | Subject)", "(1 | Subject)", "0.5 chi2(0) + 0.5 chi2(1)"),
        ("(1 | Subject)", "(age | Subject)", "0.5 chi2(1) + 0.5 chi2(2)"),
        ("(1 | Subject)", "(age || Subject)", "0.5 chi2(0) + 0.5 chi2(1)"),
        ("(age || Subject)", "(age | Subject)", "chi2(1)"),
    ],
)
@pytest.mark.parametrize("method", ["ML", "REML"])
def test_the_reference(dental, small, large, reference, method):
    assert lmmlib.compare(fit(small, dental, method=method), fit(large, dental, method=method)).reference == reference


def test_fixed_and_random_together_by_ml(dental):
    test = lmmlib.compare(fit("(1 | Subject)", dental), fit("(age | Subject)", dental, "age + Sex"))
    assert test.reference == "0.5 chi2(2) + 0.5 chi2(3)"


def test_reml_in_another_basis_of_the_same_space(dental):
    centred = dental.assign(age=dental["age"] - 11, distance=dental["distance"])
    one = lmmlib.fit("distance ~ age + (1 | Subject)", dental)
    two = lmmlib.fit("distance ~ I(age - 11) + (age | Subject)", dental)
    same = lmmlib.compare(one, fit("(age | Subject)", dental, method="REML"))
    assert_allclose(lmmlib.compare(one, two).statistic, same.statistic, atol=1e-8)
    months = dental.assign(age=12 * centred["age"])
    other = lmmlib.fit("distance ~ age + (age | Subject)", months)
    assert_allclose(lmmlib.compare(one, other).statistic, same.statistic, atol=1e-8)


def test_methods_that_do_not_fit(dental):
    small, large = fit("(1 | Subject)", dental), fit("(age | Subject)", dental)
    with pytest.raises(ParameterError, match="method is 'auto' or "):
        lmmlib.compare(small, large, method="F")
    with pytest.raises(DesignError, match="one random column against none"):
        lmmlib.compare(small, large, method="exact", rng=np.random.default_rng(1))
    apart = fit("(age || Subject)", dental), fit("(age || Subject)", dental, "age + Sex")
    for pair in ((small, apart[0]), (small, apart[1]), (fit("(0 | Subject)", dental), apart[0])):
        with pytest.raises(DesignError, match="its approximation for one more of several .* by REML"):
            lmmlib.compare(*pair, method="exact", rng=np.random.default_rng(1))
    with pytest.raises(ParameterError, match="rng"):
        lmmlib.compare(small, large, method="bootstrap")
    with pytest.raises(DesignError, match="on the boundary"):
        lmmlib.compare(small, fit("(1 | Subject)", dental, "age + Sex"), method="chi-bar-square")
    with pytest.raises(DesignError, match="depend on the design"):
        lmmlib.compare(fit("(0 | Subject)", dental), large)


def test_a_singular_smaller_model_is_noted(dental):
    flat = dental.assign(distance=np.random.default_rng(3).standard_normal(108))
    small, large = fit("(1 | Subject)", flat), fit("(age | Subject)", flat)
    assert small.is_singular
    assert "singular" in lmmlib.compare(small, large).note


def test_p_is_uniform_under_the_hypothesis_and_the_naive_one_is_not():
    dyestuff = lmmlib.load("dyestuff")
    small, large = (lmmlib.fit(f"Yield ~ 1 + ({k} | Batch)", dyestuff) for k in "01")
    null = lmmlib.compare(small, large, method="exact", size=5000, rng=np.random.default_rng(1)).draws
    Y = small.simulate(1000, rng=np.random.default_rng(2))
    fits = [lmmlib.fit_many(m.design, Y, method="REML") for m in (small, large)]
    T = np.maximum(fits[0].criterion - fits[1].criterion, 0)
    T = T[T > 1e-8]  # given that it is positive, its p is uniform below the probability of that
    top = np.mean(null > 0)
    p = np.array([np.mean(null >= t) for t in T]) / top
    assert kstest(p, "uniform").pvalue > 1e-3
    assert kstest(chi2.sf(T, 1) / top, "uniform").pvalue < 1e-3


def test_bootstrap_counts_and_is_reproducible(dental):
    small, large = fit("(1 | Subject)", dental), fit("(age | Subject)", dental)
    one, two = (
        lmmlib.compare(small, large, method="bootstrap", size=300, rng=np.random.default_rng(4)) for _ in range(2)
    )
    assert_allclose(one.draws, two.draws, rtol=0)
    assert len(one.draws) + one.n_failed == 300
    assert_allclose(one.p, (1 + np.sum(one.draws >= one.statistic)) / (1 + len(one.draws)))
    assert_allclose(one.mcse, np.sqrt(one.p * (1 - one.p) / len(one.draws)))


def test_parametric_bootstrap_is_refitting(dental):
    model = fit("(1 | Subject)", dental)
    fits = parametric_bootstrap(model, 3, np.random.default_rng(5))
    Y = model.simulate(3, rng=np.random.default_rng(5))
    assert_allclose(fits.loglik[1], model.refit(Y[:, 1]).loglik, rtol=1e-12)


def test_aic_table(dental):
    fits = {"intercept": fit("(1 | Subject)", dental), "slope": fit("(age | Subject)", dental)}
    table = lmmlib.aic_table(fits)
    assert list(table.index) == list(fits)
    assert_allclose(table["aic"], [f.criterion + 2 * f.n_parameters for f in fits.values()])
    assert_allclose(table["bic"], [f.criterion + np.log(108) * f.n_parameters for f in fits.values()])
    assert table["delta_aic"].min() == 0
    with pytest.raises(ParameterError, match="other fixed effects"):
        lmmlib.aic_table({k: fit("(1 | Subject)", dental, k, "REML") for k in ("age", "age + Sex")})
    with pytest.raises(ParameterError, match="by ML, the other by REML"):
        lmmlib.aic_table({m: fit("(1 | Subject)", dental, method=m) for m in ("ML", "REML")})
    with pytest.raises(ParameterError, match="must map"):
        lmmlib.aic_table([])
    with pytest.raises(ParameterError, match="as fits"):
        lmmlib.aic_table({"age": "distance ~ age"})


def test_reml_draws_do_not_depend_on_the_basis_of_x(dental):
    """Each model's criterion holds log|X'V^-1X| of its own columns; so do those of the simulated responses."""
    small = fit("(1 | Subject)", dental, method="REML")
    months = lmmlib.fit("distance ~ months + (months | Subject)", dental.assign(months=12 * dental["age"]))
    tests = [
        lmmlib.compare(small, large, method="bootstrap", size=200, rng=np.random.default_rng(6))
        for large in (fit("(age | Subject)", dental, method="REML"), months)
    ]
    assert_allclose(tests[0].draws, tests[1].draws, atol=1e-6)
    assert tests[0].p == tests[1].p


def test_two_variances_of_a_diagonal_d(dental):
    test = lmmlib.compare(fit("(0 | Subject)", dental), fit("(age || Subject)", dental))
    assert test.method == "chi-bar-square" and test.reference.endswith("chi2(2)") and "0.500 chi2(1)" in test.reference
    # The weights do not depend on the units of a column.
    months = dental.assign(months=12 * dental["age"])
    other = lmmlib.compare(fit("(0 | Subject)", months), fit("(months || Subject)", months))
    assert other.reference == test.reference


def test_an_optimum_that_was_not_found_is_an_error(dental):
    small, large = fit("(1 | Subject)", dental), fit("(age | Subject)", dental)
    with pytest.raises(DesignError, match="fits worse by 0.0002"):
        lmmlib.compare(small, replace(large, loglik=small.loglik - 1e-4))
    with pytest.raises(DesignError, match="first fit did not converge"):
        lmmlib.compare(replace(small, converged=False), large)
    # Rounding is none: the statistic is then exactly 0, and p is 1.
    test = lmmlib.compare(small, replace(large, loglik=small.loglik - 1e-9))
    assert (test.statistic, test.p) == (0.0, 1.0)
    with pytest.raises(ParameterError, match="as fits"):
        lmmlib.compare("distance ~ age", large)


def test_correlations_alone_need_variances_inside(dental):
    flat = dental.assign(distance=np.random.default_rng(3).standard_normal(108))
    small, large = fit("(age || Subject)", flat), fit("(age | Subject)", flat)
    assert small.is_singular and "singular" in lmmlib.compare(small, large).note
    assert not lmmlib.compare(fit("(age || Subject)", dental), fit("(age | Subject)", dental)).note


# --- counts -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counts():
    return lmmlib.load("counts_low").assign(x=np.tile([0.0, 1.0], 250), log_effort=np.tile([0.0, 0.3], 250))


def poisson(formula, counts, **how):
    return lmmlib.fit_glmm(f"count ~ {formula}", counts, **how)


def test_counts_are_compared(counts):
    none, one, two = (poisson(f, counts) for f in ("1 + (0 | site)", "1 + (1 | site)", "x + (1 | site)"))
    fixed = lmmlib.compare(one, two)
    assert fixed.statistic == pytest.approx(2 * (two.loglik - one.loglik), rel=1e-9)
    assert fixed.p == pytest.approx(chi2.sf(fixed.statistic, 1)) and fixed.reference == "chi2(1)"
    variance = lmmlib.compare(none, one)
    assert variance.reference == "0.5 chi2(0) + 0.5 chi2(1)"
    assert variance.p == pytest.approx(chi2.sf(variance.statistic, 1) / 2)
    assert lmmlib.aic_table({"one": one, "two": two})["aic"].tolist() == [one.aic, two.aic]
    slopes = poisson("x + (x | site)", counts, method="aghq"), poisson("x + (1 | site)", counts, method="aghq")
    assert lmmlib.compare(*slopes[::-1]).reference == "0.5 chi2(1) + 0.5 chi2(2)"


def test_counts_that_do_not_compare(counts):
    one, two = poisson("1 + (1 | site)", counts), poisson("x + (1 | site)", counts)
    with pytest.raises(ParameterError, match="different offsets"):
        lmmlib.compare(one, poisson("x + (1 | site)", counts, offset="log_effort"))
    nodes = [poisson("1 + (1 | site)", counts, method="aghq", n_quadrature=k) for k in (3, 9)]
    with pytest.raises(ParameterError, match="3 nodes of quadrature, the other 9"):
        lmmlib.compare(*nodes)
    with pytest.raises(ParameterError, match="by the same method"):
        lmmlib.compare(lmmlib.fit("count ~ 1 + (1 | site)", counts, method="ML"), two)
    for method in ("exact", "bootstrap"):
        with pytest.raises(DesignError, match="normal responses.*fit0.simulate"):
            lmmlib.compare(one, two, method=method, rng=np.random.default_rng(1))
    apart = poisson("x + (x || site)", counts)
    with pytest.raises(DesignError, match="method='chi-bar-square' is for normal responses"):
        lmmlib.compare(poisson("x + (0 | site)", counts), apart)
    assert lmmlib.compare(two, apart).reference == "0.5 chi2(0) + 0.5 chi2(1)"
    assert lmmlib.compare(two, apart, method="chi-square").note
