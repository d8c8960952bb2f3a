"""Likelihood ratio tests of terms, columns and fixed effects."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import chi2

import lmmlib
from lmmlib.errors import DesignError, ParameterError
from lmmlib.inference import bootstrap as module
from lmmlib.several.nested import nested_terms
from tests.several import frame

DATA = frame(11)


def fit(formula, method="REML", **more):
    return lmmlib.fit(formula, DATA, method=method, **more)


def test_a_term_dropped_is_half_and_half():
    small, large = fit("y ~ x + (1 | g)"), fit("y ~ x + (1 | g) + (1 | h)")
    found = lmmlib.compare(small, large)
    T = small.criterion - large.criterion
    assert_allclose(found.statistic, T, rtol=1e-9)
    assert_allclose(found.p, chi2.sf(T, 1) / 2, rtol=1e-9)
    assert (found.method, found.reference) == ("chi-bar-square", "0.5 chi2(0) + 0.5 chi2(1)")
    assert "exact in the limit of many groups" in found.note and "bootstrap" in found.note
    naive = lmmlib.compare(small, large, method="chi-square")
    assert_allclose(naive.p, 2 * found.p, rtol=1e-9)
    assert "conservative" in naive.note


def test_a_column_more_is_one_and_two_degrees_of_freedom():
    small, large = fit("y ~ x + (1 | h) + (1 | g)"), fit("y ~ x + (1 | g) + (x | h)")
    found = lmmlib.compare(small, large)
    T = found.statistic
    assert_allclose(found.p, (chi2.sf(T, 1) + chi2.sf(T, 2)) / 2, rtol=1e-9)
    free = lmmlib.compare(fit("y ~ x + (x || h) + (1 | g)"), large)
    assert (free.method, free.reference) == ("chi-square", "chi2(1)")


def test_fixed_effects_by_ml():
    small, large = fit("y ~ x + (1 | g) + (1 | h)", "ML"), fit("y ~ x + f + (1 | g) + (1 | h)", "ML")
    found = lmmlib.compare(small, large)
    assert_allclose(found.p, chi2.sf(found.statistic, 2), rtol=1e-9)
    with pytest.raises(ParameterError, match="REML criteria"):
        lmmlib.compare(fit("y ~ x + (1 | g) + (1 | h)"), fit("y ~ x + f + (1 | g) + (1 | h)"))
    both = lmmlib.compare(fit("y ~ x + (1 | g)", "ML"), large)
    assert both.reference == "0.5 chi2(2) + 0.5 chi2(3)"


def test_by_reml_the_coding_of_x_does_not_matter():
    small, large = fit("y ~ f + (1 | g)"), fit("y ~ 0 + f + (1 | g) + (1 | h)")
    same = lmmlib.compare(small, fit("y ~ f + (1 | g) + (1 | h)"))
    assert_allclose(lmmlib.compare(small, large).statistic, same.statistic, rtol=1e-8)


@pytest.mark.parametrize("small", ["y ~ x + (1 | g)", "y ~ x + (1 | g) + (1 | k)"])
def test_the_bootstrap_refits_both(small, monkeypatch):
    small, large = fit(small), fit("y ~ x + (1 | g) + (1 | k) + (1 | h)")
    found = lmmlib.compare(small, large, method="bootstrap", size=12, rng=3)
    Y = small.simulate(12, rng=np.random.default_rng(3))
    draws = [small.refit(y).criterion - large.refit(y).criterion for y in Y.T]
    assert_allclose(found.draws, np.maximum(draws, 0), atol=1e-6)
    extreme = int((found.draws >= found.statistic).sum())
    assert_allclose(found.p, (1 + extreme) / 13)
    assert found.n_failed == 0 and found.note == "" and "12 draws" in found.reference
    monkeypatch.setattr(module, "simulated", lambda fit, size, rng: np.zeros((90, size)))
    with pytest.raises(DesignError, match="no simulated data set could be fitted"):
        lmmlib.compare(small, large, method="bootstrap", size=3, rng=3)


def test_failed_refits_are_not_counted(monkeypatch):
    small, large = fit("y ~ x + (1 | g) + (1 | k)"), fit("y ~ x + (1 | g) + (1 | k) + (1 | h)")
    plain = module.simulated

    def spoiled(fit, size, rng):
        Y = plain(fit, size, rng)
        Y[:, ::5] = 0.0
        return Y

    all_of_them = lmmlib.compare(small, large, method="bootstrap", size=10, rng=1)
    monkeypatch.setattr(module, "simulated", spoiled)
    found = lmmlib.compare(small, large, method="bootstrap", size=10, rng=1)
    assert found.n_failed == 2 and "2 of 10 simulated data sets could not be fitted" in found.note
    assert_allclose(found.draws, np.delete(all_of_them.draws, [0, 5]), atol=1e-9)


def test_within():
    assert nested_terms(fit("y ~ x + (1 | g)"), fit("y ~ x + (x | g) + (1 | h)")) == (2, 3)
    assert nested_terms(fit("y ~ x + (1 | g) + (0 + x | g)"), fit("y ~ x + (x | g) + (1 | h)")) == (1, 2)
    assert nested_terms(fit("y ~ x + (0 | g)"), fit("y ~ x + (1 | g) + (1 | h)")) == (2, 2)


WRONG = [
    ("y ~ x + (1 | k)", "y ~ x + (1 | g) + (1 | h)", {}, ParameterError, "not within a term of the second"),
    ("y ~ x + (1 | g) + (1 | h)", "y ~ x + (1 | g)", {}, ParameterError, "is their order right"),
    ("y ~ x + (x | g)", "y ~ x + (x || g) + (1 | h)", {}, ParameterError, "not within a term"),
    ("y ~ x + (1 | g) + (1 | h)", "y ~ x + (1 | h) + (1 | g)", {}, ParameterError, "the two models are the same"),
    ("y ~ x + (1 | g)", "y ~ x + (1 | g) + (1 | h) + (1 | k)", {}, DesignError, "2 variances at once.*bootstrap"),
    ("y ~ x + (1 | g)", "y ~ x + (1 | g) + (1 | h)", {"method": "exact"}, DesignError, "with one grouping"),
    (
        "y ~ x + (x || g) + (1 | h)",
        "y ~ x + (x | g) + (1 | h)",
        {"method": "chi-bar-square"},
        DesignError,
        "'chi-square'",
    ),
]


@pytest.mark.parametrize(("small", "large", "options", "error", "words"), WRONG)
def test_what_is_not_compared(small, large, options, error, words):
    with pytest.raises(error, match=words):
        lmmlib.compare(fit(small), fit(large), **options)


def test_other_data_and_methods_are_not_compared():
    small, large = fit("y ~ x + (1 | g)"), fit("y ~ x + (1 | g) + (1 | h)")
    for other, words in (
        (fit("y ~ x + (1 | g) + (1 | h)", "ML"), "fit both by the same method"),
        (lmmlib.fit("z ~ x + (1 | g) + (1 | h)", DATA), "not of the same responses"),
        (fit("y ~ x + (1 | g) + (1 | h)", weights="w"), "different weights"),
        ("text", "compared as fits"),
    ):
        with pytest.raises(ParameterError, match=words):
            lmmlib.compare(small, other)
    with pytest.raises(ParameterError, match="is compared with such a fit"):
        lmmlib.compare(lmmlib.fit("y ~ x + (1 | g)", DATA, residual=lmmlib.residual.by("h")), large)
    broken = fit("y ~ x + (1 | g) + (1 | h)")
    vars(broken)["converged"] = False
    with pytest.raises(DesignError, match="did not converge"):
        lmmlib.compare(small, broken)
    vars(large)["loglik"] = small.loglik - 1
    with pytest.raises(DesignError, match="fits worse by 2"):
        lmmlib.compare(small, large)


def test_tables_of_aic():
    small, large = fit("y ~ x + (1 | g)", "ML"), fit("y ~ x + (1 | g) + (1 | h)", "ML")
    table = lmmlib.aic_table({"small": small, "large": large})
    assert list(table["n_parameters"]) == [4, 5]
    assert_allclose(table["aic"], [small.aic, large.aic])
