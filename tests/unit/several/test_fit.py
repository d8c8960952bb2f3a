"""The face: formulas with several terms lead here, with one grouping where they led; the verbs delegate."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import FormulaError, ParameterError
from lmmlib.several.fit import SeveralFit, fit_several
from tests.several import frame

SEVERAL = [
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + (1 | h/k)",
    "y ~ x + (1 | h:k)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ x + (x | g) + (0 + z | g)",
]
ONE = ["y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ x + (x || g)", "y ~ x + (1 | g) + (0 + x | g)", "y ~ x + (0 | g)"]


@pytest.mark.parametrize("formula", SEVERAL)
def test_several(formula):
    fit = lmmlib.fit(formula, frame(11))
    assert type(fit) is SeveralFit and fit.converged and fit.formula == formula


@pytest.mark.parametrize("formula", ONE)
def test_one(formula):
    assert type(lmmlib.fit(formula, frame(11))) is lmmlib.Fit


def test_nested_is_the_sum_of_its_terms():
    data = frame(11)
    one, other = (lmmlib.fit(f"y ~ x + {random}", data) for random in ("(1 | h/k)", "(1 | h) + (1 | h:k)"))
    assert one.criterion == other.criterion and one.n_groups == other.n_groups == {"h": 6, "h:k": 23}
    made = data.assign(cell=data["h"].astype(str) + "-" + data["k"].astype(str))
    by_hand = lmmlib.fit("y ~ x + (1 | cell) + (1 | h)", made)
    assert_allclose(by_hand.criterion, one.criterion, rtol=1e-12)


def test_verbs():
    data = frame(11)
    fit = lmmlib.fit("y ~ x * f + (1 | g) + (1 | h)", data)
    assert list(fit.contrasts({"x": {"x": 1.0}}).index) == ["x"]
    assert fit.contrast([{"x": 1.0}, {"x:fb": 1.0}]).p <= 1
    assert list(fit.anova().index) == ["x", "f", "x:f"] and fit.anova(1)["p"].between(0, 1).all()
    assert list(fit.marginal_means("f")["estimate"].notna()) == [True] * 3
    again = fit.refit(fit.design.y)
    assert type(again) is SeveralFit and again.criterion == fit.criterion
    assert list(fit.variance_components(method="wald")["grouping"]) == ["g", "g", "h", "h", "", ""]
    assert_allclose(fit.se, np.sqrt(np.diag(fit.cov_beta)))
    assert_allclose(fit.root.T @ fit.root, fit.design.X.T @ fit.design.X, rtol=1e-9, atol=1e-9)


def test_wrong_arguments():
    with pytest.raises(ParameterError, match="method"):
        fit_several("y ~ x + (1 | g) + (1 | h)", frame(1), method="reml")
    with pytest.raises(FormulaError, match="no random term"):
        fit_several("y ~ x", frame(1))
    with pytest.raises(FormulaError, match="several grouping factors .g, h.; lmmlib.fit takes several"):
        lmmlib.build_design("y ~ x + (1 | g) + (1 | h)", frame(1))
