"""The questions are the same functions for every fit of a Gaussian model."""

import pytest

import lmmlib
from lmmlib.inference import anova_table, components, contrasts, intervals, marginal_means
from lmmlib.inference.verbs import Asked

FORMULAS = {
    "one grouping": ("lead ~ week + treatment + (1 | id)", None),
    "several": ("lead ~ week + treatment + (1 | id) + (1 | visit)", None),
    "residual covariance": ("lead ~ week + treatment + (1 | id)", lmmlib.residual.by("visit")),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_methods_are_the_functions(kind):
    formula, residual = FORMULAS[kind]
    tlc = lmmlib.load("tlc").assign(visit=lambda d: "w" + d["week"].astype(int).astype(str))
    fit = lmmlib.fit(formula, tlc, residual=residual) if residual else lmmlib.fit(formula, tlc)
    assert isinstance(fit, Asked)
    L = {"week": 1.0}
    one, other = fit.contrast(L, null=0.5, level=0.9), contrasts.contrast(fit, L, null=0.5, level=0.9)
    assert (one.statistic, one.df, one.p, *one.lower) == (other.statistic, other.df, other.p, *other.lower)
    assert fit.contrasts({"a": L}, level=0.8).equals(contrasts.contrasts(fit, {"a": L}, level=0.8))
    assert fit.fixed_effects(0.8, df="z").equals(contrasts.fixed_effects(fit, 0.8, df="z"))
    assert fit.anova(1, df=20).equals(anova_table.anova(fit, 1, df=20))
    means = fit.marginal_means("treatment", at={"week": 1.0}, df="kenward-roger")
    assert means.equals(marginal_means.marginal_means(fit, "treatment", at={"week": 1.0}, df="kenward-roger"))
    wald = {"method": "wald", "parameters": ["week"]}
    assert fit.confint(0.8, **wald).equals(intervals.confint(fit, 0.8, **wald))
    table, plain = (
        f(0.8, method="wald")
        for f in (fit.variance_components, lambda *a, **k: components.variance_components(fit, *a, **k))
    )
    assert table["lower"].equals(plain["lower"])
