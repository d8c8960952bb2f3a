"""Improper posteriors are refused with the reason; those that are proper are not."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

import lmmlib
from lmmlib import equations
from lmmlib.bayes.priors import Flat, HalfCauchy, InverseGamma, Normal, Priors, Reciprocal
from lmmlib.bayes.propriety import require_proper
from lmmlib.errors import DesignError, ParameterError


def cross_of(formula, frame):
    return lmmlib.cross_products(lmmlib.build_design(formula, frame))


def groups(n, m, seed=1):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n), m)
    return pd.DataFrame({"g": g, "x": rng.normal(size=n * m), "y": rng.normal(size=n)[g] + rng.normal(size=n * m)})


def check(formula, frame, **priors):
    cross = cross_of(formula, frame)
    require_proper(cross, Priors(**priors).resolved(cross))


def test_reciprocal_of_a_variance_of_random_effects_is_refused():
    with pytest.raises(ParameterError, match=r"1/tau\^2.*posterior is improper.*HalfCauchy"):
        check("y ~ 1 + (1 | g)", groups(10, 3), D=Reciprocal())
    with pytest.raises(ParameterError, match="improper"):
        check("y ~ x + (x | g)", groups(10, 3), D=Reciprocal())


def test_reciprocal_is_refused_for_a_reason():
    """The integral of likelihood over tau^2 from epsilon to 1 grows by a constant for each power of ten of epsilon."""
    cross = cross_of("y ~ 1 + (1 | g)", groups(10, 3))
    at = equations.restricted_loglik(cross, 1e-10, 1.0)
    by_decade = [
        quad(lambda t: np.exp(equations.restricted_loglik(cross, np.exp(t), 1.0) - at), *np.log([low, 10 * low]))[0]
        for low in (1e-9, 1e-8, 1e-7)
    ]
    np.testing.assert_allclose(by_decade, np.log(10), rtol=1e-3)


@pytest.mark.parametrize(("n", "proper"), [(2, False), (3, True)])
def test_a_flat_standard_deviation_needs_three_groups(n, proper):
    if proper:
        check("y ~ 1 + (1 | g)", groups(n, 4), D=Flat())
    else:
        with pytest.raises(ParameterError, match="2 random effects, less 1 fixed"):
            check("y ~ 1 + (1 | g)", groups(n, 4), D=Flat())


@pytest.mark.parametrize("n", [2, 3])
def test_the_tail_is_as_said(n):
    """The likelihood falls like tau^-(n - 1): its integral over tau is finite for n = 3 and not for n = 2."""
    cross = cross_of("y ~ 1 + (1 | g)", groups(n, 4))
    values = [equations.restricted_loglik(cross, t**2, 1.0) for t in (1e3, 1e4)]
    assert (values[0] - values[1]) / np.log(10) == pytest.approx(n - 1, abs=1e-3)


def test_a_normal_prior_of_beta_spares_a_group():
    check("y ~ 1 + (1 | g)", groups(2, 4), D=Flat(), beta=Normal(0.0, 10.0))
    with pytest.raises(ParameterError, match="1 random effects, less 0"):
        check("y ~ 1 + (1 | g)", groups(1, 6), D=Flat(), beta=Normal(0.0, 10.0))


def test_covariates_that_vary_within_groups_cost_no_group():
    check("y ~ x + (1 | g)", groups(3, 4), D=Flat())
    frame = groups(3, 4).assign(z=lambda f: f.g**2)
    with pytest.raises(ParameterError, match="3 random effects, less 2 fixed"):
        check("y ~ z + (1 | g)", frame, D=Flat())


def test_flat_diagonal():
    check("y ~ x + (x || g)", groups(4, 5), D=Flat())
    with pytest.raises(ParameterError, match="standard deviation of"):
        check("y ~ x + (x || g)", groups(2, 5), D=Flat())


def test_sigma():
    frame = groups(8, 1)
    for prior in (HalfCauchy(1.0), InverseGamma(1.0, 1.0), Flat()):
        check("y ~ 1 + (1 | g)", frame, sigma=prior)
    with pytest.raises(ParameterError, match="1/sigma2 the posterior is improper"):
        check("y ~ 1 + (1 | g)", frame, sigma=Reciprocal())
    check("y ~ 1 + (1 | g)", groups(8, 2), sigma=Reciprocal())
    with pytest.raises(ParameterError, match="too few"):
        check("y ~ x + (0 | g)", groups(3, 1), sigma=Flat())
    check("y ~ x + (0 | g)", groups(4, 1), sigma=Flat())


def test_reciprocal_with_one_row_each_is_refused_for_a_reason():
    """As sigma2 tends to zero the likelihood has a limit above zero."""
    cross = cross_of("y ~ 1 + (1 | g)", groups(8, 1))
    near, nearer = (equations.restricted_loglik(cross, 1.0, v) for v in (1e-5, 1e-7))
    assert near == pytest.approx(nearer, abs=1e-3)


def test_exact_response():
    frame = groups(6, 3).assign(y=lambda f: 2.0 + f.g)
    for prior in (HalfCauchy(1.0), Flat(), Reciprocal()):
        with pytest.raises(ParameterError, match="fit the response exactly"):
            check("y ~ 1 + (1 | g)", frame, sigma=prior)
    check("y ~ 1 + (1 | g)", frame, sigma=InverseGamma(1.0, 1.0))


def test_dependent_columns():
    frame = groups(6, 3).assign(twice=lambda f: 2 * f.x)
    with pytest.raises(DesignError, match="twice"):
        check("y ~ x + twice + (1 | g)", frame)
    check("y ~ x + twice + (1 | g)", frame, beta=Normal(0.0, 4.0))


def test_proper_priors_need_no_data():
    check(
        "y ~ 1 + (1 | g)", groups(1, 1), beta=Normal(0.0, 1.0), sigma=InverseGamma(1.0, 1.0), D=InverseGamma(1.0, 1.0)
    )
