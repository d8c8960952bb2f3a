"""The restricted likelihood of counts: the fixed effects are random effects without a density."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pytensor import tensor as pt
from scipy.special import gammaln

import lmmlib
from lmmlib.glmm.restricted import Restricted
from lmmlib.glmm.rows import Rows
from lmmlib.glmm.search import glm
from tests.unit.glmm.designs import design, differences


def by_one_group(d, binomial=False):
    """The same by automatic differentiation: one group whose effects are those of all groups and beta."""
    n, p, trials = d.n_groups, d.X.shape[1], d.trials

    def joint(b, log_sd):
        eta = pt.dot(d.X, b[0, :p]) + pt.exp(log_sd) * b[0, p:][d.group]
        if binomial:
            ways = gammaln(trials + 1) - gammaln(d.y + 1) - gammaln(trials - d.y + 1)
            given = (d.y * eta - trials * pt.softplus(eta)).sum() + ways.sum()
        else:
            given = (d.y * eta - pt.exp(eta)).sum() - gammaln(d.y + 1).sum()
        return given - (b[0, p:] ** 2 + np.log(2 * np.pi)).sum() / 2

    return lmmlib.laplace.marginal(joint, {"log_sd": -0.3}, n_groups=1, q=n + p).fit()


@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_it_is_laplace_with_the_fixed_effects_among_the_random_ones(family):
    d = design(60, q=1, n=8)
    if family == "binomial":
        trials = np.full(d.n_obs, 6.0)
        d = lmmlib.Design.from_arrays(np.minimum(d.y, 6), d.X, d.Z, d.group, trials=trials)
    fit, theirs = lmmlib.glmm.fit.fit_glmm_design(d, family, method="REML"), by_one_group(d, family == "binomial")
    sd = np.exp(theirs.estimates["log_sd"])
    assert_allclose(fit.loglik, theirs.loglik, rtol=1e-9)
    assert_allclose(np.sqrt(fit.D.iloc[0, 0]), sd, rtol=1e-6)
    modes = theirs.modes()
    p = len(fit.beta)
    assert_allclose(fit.beta, modes.b.to_numpy()[0, :p], rtol=1e-6)
    assert_allclose(fit.se, modes.se("estimated").to_numpy()[0, :p], rtol=1e-5)
    assert_allclose(np.sqrt(fit.cov_parameters().iloc[-1, -1]), sd * theirs.se["log_sd"], rtol=1e-5)


@pytest.mark.parametrize(("q", "p", "diagonal"), [(1, 2, False), (2, 3, False), (2, 2, True)])
def test_the_gradient_is_that_of_the_value(q, p, diagonal):
    rows = Rows.of(design(80, q=q, p=p, diagonal=diagonal, n=12))
    objective = Restricted(rows, glm(rows))
    theta = 0.4 + 0.3 * np.random.default_rng(2).random(len(rows.coordinates))
    value, gradient, _ = objective.derivatives(theta)
    assert np.isfinite(value)
    assert_allclose(gradient, differences(lambda at: objective.value(at)[0], theta), rtol=1e-6, atol=1e-6)


def test_beta_is_at_the_joint_mode():
    rows = Rows.of(design(80, q=1, n=12))
    objective = Restricted(rows, glm(rows) + 3.0)
    s = objective.mode(np.array([0.7]))
    assert_allclose(s.joint[: len(rows.X)], 0, atol=1e-8)


def test_units_move_the_value_by_their_logarithm_and_nothing_else():
    d = design(80, q=1, p=2, n=12)
    X = d.X * [1.0, 1000.0]
    one, other = (
        lmmlib.glmm.fit.fit_glmm_design(lmmlib.Design.from_arrays(d.y, x, d.Z, d.group), method="REML")
        for x in (d.X, X)
    )
    assert_allclose(other.loglik, one.loglik - np.log(1000), rtol=1e-9)
    assert_allclose(other.D, one.D, rtol=1e-6)


def test_few_groups_have_a_larger_variance_than_by_maximum_likelihood():
    d = design(40, q=1, n=5, level=1.5)
    ml, reml = (lmmlib.glmm.fit.fit_glmm_design(d, method=how) for how in ("laplace", "REML"))
    assert reml.D.iloc[0, 0] > ml.D.iloc[0, 0] and "REML" in repr(reml)
    with pytest.raises(lmmlib.errors.ParameterError, match="n_quadrature=9 is for method='aghq'"):
        lmmlib.glmm.fit.fit_glmm_design(d, method="REML", n_quadrature=9)


def test_models_with_different_means_are_not_compared():
    d = design(80, q=1, p=2, n=12)
    small = lmmlib.Design.from_arrays(d.y, d.X[:, :1], d.Z, d.group)
    fits = [lmmlib.glmm.fit.fit_glmm_design(one, method="REML") for one in (small, d)]
    with pytest.raises(lmmlib.errors.ParameterError, match="different fixed effects"):
        lmmlib.compare(*fits)
