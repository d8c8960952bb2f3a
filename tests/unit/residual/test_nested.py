"""Likelihood ratio tests with residual covariances: which models are nested, by which law, the bootstrap."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import residual
from lmmlib.errors import DesignError, ParameterError
from lmmlib.residual.nested import nested_covariances

RESIDUALS = {
    "none": ("(0 | id)", None),
    "intercept": ("(1 | id)", None),
    "by": ("(1 | id)", residual.by("week")),
    "compound": ("(0 | id)", residual.compound("week")),
    "ar1": ("(0 | id)", residual.ar1("week")),
    "ar1 and intercept": ("(1 | id)", residual.ar1("week")),
    "free": ("(0 | id)", residual.unstructured("week")),
    "free in each arm": ("(0 | id)", residual.unstructured("week", by="treatment")),
}


@pytest.fixture(scope="module")
def of_visits():
    tlc = lmmlib.load("tlc")
    formula = "lead ~ C(week) * treatment + "
    fits = {
        name: lmmlib.fit(formula + random, tlc, **({"residual": one} if one else {}))
        for name, (random, one) in RESIDUALS.items()
    }
    return fits | {"other": lmmlib.fit("lead ~ week + (0 | id)", tlc, residual=residual.ar1("week"))}


@pytest.mark.parametrize(
    "small, large, reference",
    [
        ("none", "compound", "chi2(1)"),  # the covariance may be below zero
        ("none", "ar1", "chi2(1)"),
        ("none", "by", "0.5 chi2(3) + 0.5 chi2(4)"),
        ("none", "ar1 and intercept", "0.5 chi2(1) + 0.5 chi2(2)"),
        ("intercept", "by", "chi2(3)"),
        ("intercept", "ar1 and intercept", "chi2(1)"),
        ("compound", "ar1 and intercept", "chi2(1)"),
        ("intercept", "free", "chi2(8)"),
        ("by", "free", "chi2(5)"),
        ("ar1", "ar1 and intercept", "0.5 chi2(0) + 0.5 chi2(1)"),
        ("ar1", "free", "chi2(8)"),
        ("free", "free in each arm", "chi2(10)"),
    ],
)
def test_residual_covariances(of_visits, small, large, reference):
    test = lmmlib.compare(of_visits[small], of_visits[large])
    assert test.reference == reference
    assert_allclose(test.statistic, of_visits[small].criterion - of_visits[large].criterion, rtol=1e-9)


@pytest.mark.parametrize(
    "small, large, words",
    [
        ("by", "compound", "not within those of the second .no random effects; residual compound"),
        ("compound", "ar1", "are not within"),
        ("ar1", "by", "are not within"),
        ("free", "ar1", "are not within"),
        ("intercept", "compound", "the two models are the same"),
        ("other", "free", "fit both with method='ML'"),
    ],
)
def test_residual_covariances_that_are_not_nested(of_visits, small, large, words):
    with pytest.raises(ParameterError, match=words):
        lmmlib.compare(of_visits[small], of_visits[large])


def test_a_table_of_all(of_visits):
    table = lmmlib.aic_table({name: one for name, one in of_visits.items() if name != "other"})
    assert table["aic"].idxmin() == "free in each arm" and table.loc["free", "n_parameters"] == 18


def test_other_references(of_visits):
    none, both = of_visits["none"], of_visits["ar1 and intercept"]
    plain = lmmlib.compare(none, both, method="chi-square")
    assert plain.reference == "chi2(2)" and "conservative" in plain.note
    assert nested_covariances(none, both) == (1, 2) and nested_covariances(none, of_visits["compound"]) == (0, 1)
    with pytest.raises(DesignError, match="no variance is on the boundary.*method='chi-square'"):
        lmmlib.compare(none, of_visits["compound"], method="chi-bar-square")
    with pytest.raises(DesignError, match="'exact' is for .* independent residuals; .*method='bootstrap'"):
        lmmlib.compare(none, of_visits["compound"], method="exact")


def test_bootstrap():
    dental = lmmlib.load("dental")
    small = lmmlib.fit("distance ~ age + (1 | Subject)", dental)
    large = lmmlib.fit("distance ~ age + (1 | Subject)", dental, residual=residual.by("Sex"))
    test = lmmlib.compare(small, large, method="bootstrap", size=40, rng=2)
    assert len(test.draws) + test.n_failed == 40 and (test.draws >= 0).all()
    assert_allclose(test.p, (1 + (test.draws >= test.statistic).sum()) / (1 + len(test.draws)))
    assert 0.3 < np.median(test.draws) + 0.5 < 1.6  # about the median of chi2(1), 0.45
    back = lmmlib.compare(large, lmmlib.fit("distance ~ age + (age | Subject)", dental, residual=residual.by("Sex")))
    assert back.reference == "0.5 chi2(1) + 0.5 chi2(2)"


def test_not_of_one_kind(of_visits):
    tlc = lmmlib.load("tlc")
    one = of_visits["ar1"]
    with pytest.raises(
        ParameterError, match="models are compared as fits, from lmmlib.fit or lmmlib.fit_glmm; got str"
    ):
        lmmlib.compare("ar1", one)
    other = lmmlib.fit("lead ~ C(week) * treatment + (0 | id)", tlc, residual=residual.ar1("week"), method="ML")
    with pytest.raises(ParameterError, match="fit both by the same method"):
        lmmlib.compare(one, other)
    apart = tlc.assign(pair=tlc["id"].astype(int) // 2 * 10 + (tlc["week"] > 1))
    groups = lmmlib.fit("lead ~ C(week) * treatment + (0 | pair)", apart, residual=residual.by("week"))
    with pytest.raises(ParameterError, match="different groups, 'pair' and 'id'"):
        lmmlib.compare(groups, of_visits["free"])


def test_fixed_effects_by_ml():
    tlc = lmmlib.load("tlc")
    fits = [
        lmmlib.fit(
            f"lead ~ C(week) {sign} treatment + (0 | id)", tlc, residual=residual.unstructured("week"), method="ML"
        )
        for sign in "+*"
    ]
    assert lmmlib.compare(*fits).reference == "chi2(3)"
