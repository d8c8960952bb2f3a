"""lmmlib.fit on the large simulated sets of the benchmarks, against optima found by a program of its own.

Tolerance 1e-8 relative: Newton's method squares its error, so the last step before it stops leaves far less, and sums
over a million rows keep 1e-12. lme4's default stop, 1e-6 to 1e-5 away in D, would fail.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from benchmarks import data
from tests.oracle.leaves import Near, agree, covariance, relative
from tests.tolerances import BIG

NAMES = ["slope100k", "slope1m"]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_the_data_are_those_of_the_recipe(stored):
    for name in ("tlc_like", *NAMES):
        frame, check = getattr(data, name)(), stored("timings/sim_check.json")[name]
        head = Near(frame["y"].head().tolist(), 0.0)
        total = relative(frame["y"].sum(), 1e-12)
        agree(check, {"rows": len(frame), "sha256_y": data.checksum(frame), "y_head": head, "y_sum": total})
    assert set(stored("timings/sim_check.json")) == {"tlc_like", *NAMES}


def test_optimum(name, stored):
    exact = stored("timings/optimum_big.json")[name]
    fitted = lmmlib.fit("y ~ x + (x | g)", getattr(data, name)())
    assert fitted.converged and not fitted.is_singular
    answer = {
        **{"fixef": relative(fitted.beta, BIG), "se": relative(fitted.se, BIG)},
        **{"D": covariance(fitted.D, BIG), "sigma2": relative(fitted.sigma2, BIG)},
        **{"theta": relative(fitted.theta, BIG), "reml_criterion": relative(fitted.criterion, 1e-12)},
    }
    agree(exact, answer)


def test_lme4_stops_short_of_it(name, stored):
    """The tolerance tells the optimum from a point near it."""
    exact, lme4 = stored("timings/optimum_big.json")[name], stored("timings/lmer.json")[name]
    assert lme4["reml_criterion"] > exact["reml_criterion"]
    assert not np.allclose(lme4["D"], exact["D"], rtol=BIG, atol=0)


def test_singular_optimum_is_no_worse_than_lme4s(stored):
    frame, lme4 = data.tlc_like(), stored("timings/lmer.json")["tlc_like_slope"]
    fitted = lmmlib.fit("y ~ x + treat + (x | g)", frame)
    assert fitted.is_singular and fitted.converged
    assert fitted.criterion <= lme4["reml_criterion"] + 1e-9
    assert_allclose(fitted.beta, list(lme4["fixef"].values()), rtol=1e-4)  # as far as lme4 went


@pytest.mark.parametrize("n_groups", [100, 200, 300])
def test_no_step_is_taken_that_changes_nothing(n_groups):
    """Near the optimum the deviance falls by less than its rounding error, and the optimiser stops."""
    fitted = lmmlib.fit("y ~ x + (x | g)", data.unbalanced(n_groups))
    assert fitted.converged, fitted.reason
    assert len(fitted.log) < 15
