"""Priors of variances as inverse Wishart ones with a random scale."""

import numpy as np
import pytest
from scipy import stats

from lmmlib.bayes.priors import Flat, HalfCauchy, HuangWand, InverseGamma, InverseWishart, Reciprocal
from lmmlib.bayes.scales import Scale

SIZE = 20_000


def test_the_forms_of_the_priors():
    """(df, diagonal of the scale, nu) of each prior of sigma2, and of D with two columns."""
    sigma = {InverseGamma(2.0, 3.0): (4.0, 6.0, 0.0), HalfCauchy(2.0): (1.0, 0.0, 1.0)}
    sigma |= {Flat(): (-1.0, 0.0, 0.0), Reciprocal(): (0.0, 0.0, 0.0)}
    for prior, (df, scale, nu) in sigma.items():
        form = Scale.of_sigma(prior)
        assert (form.df, form.scale[0, 0], form.nu) == (df, scale, nu)
    wishart = Scale.of_D(InverseWishart(5.0, np.eye(2)), 2, diagonal=False)
    assert (wishart.df, wishart.nu) == (5.0, 0.0) and (wishart.scale == np.eye(2)).all()
    full, diagonal = (Scale.of_D(HuangWand(2.0, [1.0, 3.0]), 2, d) for d in (False, True))
    assert (full.df, diagonal.df, full.nu) == (3.0, 2.0, 2.0) and full.A.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(("df", "passes"), [(1, True), (3, False)])
def test_scale_and_variance_in_turn_give_a_half_cauchy(df, passes):
    """1/a given the variance, then the variance given a: half-Cauchy is stationary; with a wrong shape it is not."""
    rng, form = np.random.default_rng(1), Scale.of_sigma(HalfCauchy(2.0))
    variance = stats.halfcauchy(scale=2.0).rvs(SIZE, random_state=rng) ** 2
    for _ in range(3):
        rates = form.draw_rates(rng, 1 / variance[None], df)[0]
        variance = form.nu * rates / rng.standard_gamma(form.df / 2, SIZE)
    fits = stats.kstest(np.sqrt(variance), stats.halfcauchy(scale=2.0).cdf).pvalue > 1e-4
    assert fits == passes


def test_a_fixed_scale_has_no_rates():
    form = Scale.of_sigma(InverseGamma(2.0, 3.0))
    assert not form.draw_rates(np.random.default_rng(1), np.ones((1, 4)), 1).any()
