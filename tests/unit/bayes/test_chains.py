"""Plans, starts and the loop over sweeps."""

import numpy as np
import pytest

from lmmlib.bayes.chains import Plan, advance, model_of, start, sweep
from lmmlib.bayes.priors import Priors
from lmmlib.errors import ParameterError


@pytest.fixture
def model(cross):
    return model_of(cross, Priors().resolved(cross))


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        (("standard", None), Plan(centred=False, blocked=True, interweave=True)),
        (("standard", False), Plan(centred=False, blocked=False, interweave=True)),
        (("centred", None), Plan(centred=True, blocked=False, interweave=True)),
        (("centred", None, False), Plan(centred=True, blocked=False, interweave=False)),
    ],
)
def test_plans(arguments, plan):
    assert Plan.of(*arguments) == plan


@pytest.mark.parametrize(
    ("arguments", "says"), [(("centered", None), "parametrisation"), (("centred", True), "jointly")]
)
def test_plans_that_are_refused(arguments, says):
    with pytest.raises(ParameterError, match=says):
        Plan.of(*arguments)


def test_chains_start_apart(cross, model):
    state = start(np.random.default_rng(1), cross, model, 200)
    assert state.sigma2.max() / state.sigma2.min() > 10
    assert len(np.unique(state.beta[0])) == 200


@pytest.mark.parametrize("thin", [1, 3])
def test_every_so_many_th_state_is_kept(cross, model, thin):
    """The loop does what sweeps one by one do, from the same random numbers."""
    plan, begin = Plan.of("standard", None), start(np.random.default_rng(1), cross, model, 4)
    last, beta, F, sigma2 = advance(np.random.default_rng(2), model, begin, plan, 7, thin)
    state, rng, seen = begin, np.random.default_rng(2), []
    for _ in range(7):
        state = sweep(rng, model, state, plan)
        seen.append(state)
    kept = seen[thin - 1 :: thin]
    assert len(beta) == len(F) == 7 // thin
    np.testing.assert_array_equal(sigma2, [s.sigma2 for s in kept])
    np.testing.assert_array_equal(beta, [s.beta for s in kept])
    np.testing.assert_array_equal(last.F, state.F)


def test_progress_counts_every_sweep(cross, model):
    steps = []
    begin = start(np.random.default_rng(1), cross, model, 2)
    advance(np.random.default_rng(2), model, begin, Plan.of("standard", None), 0, warmup=120, update=steps.append)
    assert sum(steps) == 120 and len(steps) == 3
