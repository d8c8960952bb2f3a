"""Priors check themselves, draw what they say, and take their default scales from the data."""

import numpy as np
import pytest
from scipy import stats

import lmmlib
from lmmlib import equations
from lmmlib.bayes.priors import (
    REACH,
    Flat,
    HalfCauchy,
    HuangWand,
    InverseGamma,
    InverseWishart,
    Normal,
    Priors,
    Reciprocal,
    Zellner,
    residual_sd,
)
from lmmlib.errors import ParameterError

SIZE = 20_000


def fits(values, cdf):
    """Whether values follow a distribution function; a false alarm once in 10,000."""
    return stats.kstest(values, cdf).pvalue > 1e-4


def test_draws_of_variances():
    rng = np.random.default_rng(1)
    gamma, cauchy = InverseGamma(2.0, 3.0).draw(rng, SIZE), HalfCauchy(0.7).draw(rng, SIZE)
    assert fits(gamma, stats.invgamma(2.0, scale=3.0).cdf) and not fits(gamma, stats.invgamma(2.0, scale=3.3).cdf)
    assert fits(np.sqrt(cauchy), stats.halfcauchy(scale=0.7).cdf)


def test_draws_of_huang_and_wand():
    """Half-t standard deviations, and uniform correlations with two degrees of freedom only."""
    D = HuangWand(2.0, [0.7, 2.0, 1.0]).draw(np.random.default_rng(2), SIZE)
    sd = np.sqrt(np.diagonal(D, axis1=1, axis2=2))
    for k, scale in enumerate([0.7, 2.0, 1.0]):
        assert fits(sd[:, k] / scale, lambda t: 2 * stats.t(2).cdf(t) - 1)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert fits(D[:, a, b] / sd[:, a] / sd[:, b], stats.uniform(-1, 2).cdf)
    other = HuangWand(5.0, 1.0).draw(np.random.default_rng(3), SIZE, q=2)
    assert not fits(other[:, 0, 1] / np.sqrt(other[:, 0, 0] * other[:, 1, 1]), stats.uniform(-1, 2).cdf)
    assert fits(np.sqrt(other[:, 0, 0]), lambda t: 2 * stats.t(5).cdf(t) - 1)


def test_draws_of_normal_and_inverse_wishart():
    rng = np.random.default_rng(4)
    beta = Normal([1.0, -1.0], [[1.0, 0.3], [0.3, 0.5]]).draw(rng, SIZE)
    assert fits((beta[:, 0] - 1 + beta[:, 1] + 1) / np.sqrt(2.1), stats.norm.cdf)
    assert fits(Normal(2.0, 9.0).draw(rng, SIZE)[:, 0], stats.norm(2, 3).cdf)
    D = InverseWishart(5.0, [[2.0, 0.5], [0.5, 1.0]]).draw(rng, SIZE)
    assert fits(D[:, 1, 1], stats.invgamma(2.0, scale=0.5).cdf)
    assert InverseWishart(3.0, 2.0).draw(rng, 5).shape == (5, 1, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: InverseGamma(0, 1), "shape must be one finite number above 0; got 0"),
        (lambda: InverseGamma(1, -1), "rate"),
        (lambda: InverseGamma(1, np.nan), "rate"),
        (lambda: HalfCauchy(0.0), "scale"),
        (lambda: HalfCauchy("wide"), "scale"),
        (lambda: HuangWand(2.0, [1.0, 0.0]), "scale must be above 0"),
        (lambda: HuangWand(0.0), "df"),
        (lambda: InverseWishart(1.0, np.eye(2)), "df = 1 of the inverse Wishart prior must be above q - 1 = 1"),
        (lambda: InverseWishart(4.0, [[1.0, 1.0], [1.0, 1.0]]), "positive definite"),
        (lambda: InverseWishart(4.0, [[1.0, 0.2], [0.3, 1.0]]), "symmetric"),
        (lambda: InverseWishart(4.0, np.zeros((2, 2))), "positive definite"),
        (lambda: Normal([0.0, np.inf], np.eye(2)), "mean"),
        (lambda: Normal(0.0, [[1.0, 2.0], [2.0, 1.0]]), "positive semidefinite"),
        (lambda: Normal(0.0, 0.0), "positive definite"),
        (lambda: Normal(0.0, [1.0, 2.0]), "cov must be a variance"),
        (lambda: Zellner(0.0), "delta"),
        (lambda: Zellner(1.0, "x"), "mean"),
        (lambda: Priors(beta=InverseGamma(1, 1)), "prior of beta must be one of Flat, Normal, Zellner"),
        (lambda: Priors(sigma=HuangWand()), "prior of sigma"),
        (lambda: Priors(D=3.0), "prior of D"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(ParameterError, match=says):
        make()


@pytest.mark.parametrize(
    ("priors", "says"),
    [
        (Priors(beta=Normal([1.0, 2.0, 3.0], 1.0)), "there are 2 fixed effects"),
        (Priors(D=InverseWishart(4.0, np.eye(3))), "there are 2 random columns"),
        (Priors(D=HuangWand(2.0, [1.0, 1.0, 1.0])), "there are 2 random columns"),
        (Priors(D=HalfCauchy(1.0)), "HalfCauchy is a prior of one variance, and D has 2 rows"),
        (Priors(D=InverseGamma(1.0, 1.0)), "InverseGamma is a prior of one variance"),
        (Priors(D=Flat()), "Flat is a prior of one variance"),
    ],
)
def test_priors_must_fit_the_columns(cross, priors, says):
    with pytest.raises(ParameterError, match=says):
        priors.resolved(cross)


def test_priors_of_one_variance_are_cases_of_those_of_a_matrix(frame):
    cross = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (week || child)", frame))
    cauchy = Priors(D=HalfCauchy(0.7)).resolved(cross).D
    assert cauchy.df == 1 and list(cauchy.scale) == [0.7, 0.7]
    gamma = Priors(D=InverseGamma(2.0, 3.0)).resolved(cross).D
    assert gamma.df == 4 and np.array_equal(gamma.scale, 6 * np.eye(2))


def test_default_scales_follow_the_units(frame):
    """Response times 10 and week in days: every default standard deviation is the same one in other units."""
    formula = "lead ~ week + (week | child)"
    one = Priors().resolved(lmmlib.cross_products(lmmlib.build_design(formula, frame)))
    other = frame.assign(lead=10 * frame.lead, week=7 * frame.week)
    two = Priors().resolved(lmmlib.cross_products(lmmlib.build_design(formula, other)))
    assert two.sigma.scale == pytest.approx(10 * one.sigma.scale)
    assert one.D.orthogonal and two.D.orthogonal
    np.testing.assert_allclose(two.D.scale, 10 * one.D.scale)
    diagonal = "lead ~ week + (week || child)"
    three, four = (
        Priors().resolved(lmmlib.cross_products(lmmlib.build_design(diagonal, data))).D for data in (frame, other)
    )
    assert not three.orthogonal and not four.orthogonal
    np.testing.assert_allclose(four.scale, three.scale * [10, 10 / 7])
    ols = equations.ols(lmmlib.cross_products(lmmlib.build_design(formula, frame)))
    assert one.sigma.scale == pytest.approx(REACH * np.sqrt(ols.sigma2))


def test_exact_response_has_no_default_scale(frame):
    frame = frame.assign(lead=3.0 * frame.week)
    cross = lmmlib.cross_products(lmmlib.build_design("lead ~ week + (1 | child)", frame))
    assert residual_sd(cross) < 1e-12


def test_scale_of_the_data_cannot_be_drawn():
    with pytest.raises(ParameterError, match="comes from the data"):
        HalfCauchy().draw(np.random.default_rng(1), 3)


def test_objects_show_themselves():
    assert repr(InverseGamma(2.0, 3.0)) == "InverseGamma(shape=2.0, rate=3.0)"
    assert repr(Priors(sigma=Reciprocal())) == (
        "Priors(beta=Flat(), sigma=Reciprocal(), D=HuangWand(df=2.0, scale=None, orthogonal=False))"
    )
