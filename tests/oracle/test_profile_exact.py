"""Profile limits of the sleep study by maximum likelihood, against limits that were root-found elsewhere.

Tolerance: the stored limits and ours both stop at a root of the profile; 1e-8 is far above what either leaves (we
measure 4e-11 at most), and far below the 1e-5 to which lme4's splines come.
"""

import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.intervals import confint

FORMULAS = {"slope": "Reaction ~ Days + (Days | Subject)", "ri": "Reaction ~ Days + (1 | Subject)"}
NAMES = {
    "sd_(Intercept)|Subject": "sd (Intercept)",
    "sd_Days|Subject": "sd Days",
    "cor_Days.(Intercept)|Subject": "corr (Intercept), Days",
}


@pytest.mark.parametrize("level", [95, 99])
@pytest.mark.parametrize("model", FORMULAS)
def test_limits(stored, model, level):
    exact = stored("inference/profile_exact.json")[model]
    fitted = lmmlib.fit(FORMULAS[model], lmmlib.load("sleep"), "ML")
    assert_allclose(fitted.criterion, exact["deviance_min"], rtol=0, atol=1e-9)
    ours = confint(fitted, "profile", level / 100)
    limits = exact[f"level{level}"]
    assert sorted(NAMES.get(name, name) for name in limits) == sorted(ours.index)
    for name, ends in limits.items():
        assert_allclose(ours.loc[NAMES.get(name, name), ["lower", "upper"]].astype(float), ends, rtol=0, atol=1e-8)


def test_fixed_effects_of_a_reml_fit_are_profiled_by_ml(stored):
    exact = stored("inference/profile_exact.json")["slope"]["level95"]
    ours = confint(lmmlib.fit(FORMULAS["slope"], lmmlib.load("sleep")))
    assert list(ours["likelihood"]) == ["ML", "ML", "REML", "REML", "REML", "REML"]
    for name in ("(Intercept)", "Days"):
        assert_allclose(ours.loc[name, ["lower", "upper"]].astype(float), exact[name], rtol=0, atol=1e-8)
    # Restricted likelihood: a larger sd, so that these must differ.
    assert ours.loc["sd Days", "upper"] > exact["sd_Days|Subject"][1] + 0.1
