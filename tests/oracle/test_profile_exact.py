"""Profile limits of the sleep study by maximum likelihood, against limits that were root-found elsewhere.

Tolerance: the stored limits and ours both stop at a root of the profile; 1e-8 is far above what either leaves (we
measure 4e-11 at most), and far below the 1e-5 to which lme4's splines come.
"""

from numpy.testing import assert_allclose

import lmmlib
from lmmlib.inference.intervals import confint

FORMULAS = {"slope": "Reaction ~ Days + (Days | Subject)", "ri": "Reaction ~ Days + (1 | Subject)"}


def test_fixed_effects_of_a_reml_fit_are_profiled_by_ml(stored):
    exact = stored("inference/profile_exact.json")["slope"]["level95"]
    ours = confint(lmmlib.fit(FORMULAS["slope"], lmmlib.load("sleep")))
    assert list(ours.attrs["likelihood"].values()) == ["ML", "ML", "REML", "REML", "REML", "REML"]
    for name in ("(Intercept)", "Days"):
        assert_allclose(ours.loc[name, ["lower", "upper"]].astype(float), exact[name], rtol=0, atol=1e-8)
    # Restricted likelihood: a larger sd, so that these must differ.
    assert ours.loc["sd Days", "upper"] > exact["sd_Days|Subject"][1] + 0.1
