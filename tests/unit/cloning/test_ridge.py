"""Directions in which V does not change, and moves along them that leave the posterior as it is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lmmlib.bayes.chains import model_of, start
from lmmlib.bayes.conditionals import half
from lmmlib.bayes.priors import HalfCauchy, HuangWand, InverseGamma, InverseWishart, Normal, Priors, Zellner
from lmmlib.bayes.scales import Scale
from lmmlib.cloning import ridge
from lmmlib.cloning.ridge import ridges, slide
from lmmlib.design.cross import cross_products
from lmmlib.design.design import Design
from tests.statistical.joint import Case, Chains, draw_data, draw_priors, groups
from tests.unit.bayes.test_noncentred import invariance


def single(q=1, n=12, diagonal=False, seed=4):
    """One observation in each group, an intercept and a covariate that is 0, 1 or 2."""
    x = np.arange(n) % 3
    X = np.column_stack([np.ones(n), x])
    y = np.random.default_rng(seed).normal(size=n)
    names = ("one", "x")
    return Design.from_arrays(y, X, X[:, :q], np.arange(n), x_names=names, z_names=names[:q], diagonal=diagonal)


def dense(design, D, sigma2):
    same = design.group[:, None] == design.group
    return design.Z @ D @ design.Z.T * same + sigma2 * np.eye(design.n_obs)


def changes(design, found):
    """Largest change of V along each direction, from full matrices."""
    inverse = np.linalg.inv(cross_products(design).basis.Rz)
    return [np.abs(dense(design, inverse @ r.D @ inverse.T, r.sigma2)).max() for r in found]


def test_one_observation_in_each_group():
    (found,) = ridges(cross_products(single()))
    assert found.sigma2 == 1
    np.testing.assert_allclose(found.D, [[-1.0]], atol=1e-12)  # Rz is 1 for a column of ones


def two_each(x_of_second):
    n = 10
    x = np.column_stack([np.zeros(n), np.full(n, x_of_second)]).ravel()
    X = np.column_stack([np.ones(2 * n), x])
    y = np.random.default_rng(1).normal(size=2 * n)
    return Design.from_arrays(y, X, X, np.repeat(np.arange(n), 2), x_names=("one", "x"), z_names=("one", "x"))


@pytest.mark.parametrize(
    ("design", "number"),
    [
        (single(), 1),
        (single(2), 1),  # variances at three x: a quadratic in x has three coefficients, and sigma2 is one of them
        (single(2, diagonal=True), 1),
        (two_each(1.0), 1),  # three variances and covariances of two observations, four parameters
        (groups(1), 0),
        (groups(2), 0),
        (groups(2, equal=False), 0),
        (groups(2, diagonal=True), 0),
    ],
)
def test_V_does_not_change_along_them(design, number):
    found = ridges(cross_products(design))
    assert len(found) == number
    assert max(changes(design, found), default=0) < 1e-9
    for r in found:
        assert r.sigma2 >= 0 and max(np.abs(r.D).max(), r.sigma2) > 0.01


def test_no_random_effects_have_no_ridge():
    assert ridges(cross_products(single(0))) == []


def test_far_from_zero_columns():
    """Calendar years: the ridge is found, and none that is not there."""
    n, rng = 30, np.random.default_rng(2)
    year = 2015.0 + np.arange(n) % 5
    X = np.column_stack([np.ones(n), year])
    alone = Design.from_arrays(rng.normal(size=n), X, X, np.arange(n))
    assert len(ridges(cross_products(alone))) == 1
    together = Design.from_arrays(rng.normal(size=n), X, X, np.arange(n) // 5)
    assert ridges(cross_products(together)) == []


def case(beta, sigma, D, q=1, diagonal=False, design=None):
    design = design or single(q, diagonal=diagonal)
    return Case(design, Priors(beta, sigma, D).resolved(cross_products(design)))


NORMAL = Normal([1.0, -1.0], [[1.0, 0.3], [0.3, 0.5]])
CASES = {
    "inverse gamma": case(NORMAL, InverseGamma(3.0, 2.0), InverseGamma(2.5, 1.0)),
    "half-Cauchy": case(NORMAL, HalfCauchy(0.7), HalfCauchy(0.5)),
    "zellner": case(Zellner(1.0, [1.0, -1.0]), InverseGamma(3.0, 2.0), HuangWand(2.0, 0.8)),
    "slope": case(NORMAL, InverseGamma(3.0, 2.0), InverseWishart(5.0, np.diag([1.5, 0.8])), 2),
    "slope, half-t": case(NORMAL, HalfCauchy(0.7), HuangWand(2.0, [0.8, 0.5]), 2),
    "diagonal": case(NORMAL, InverseGamma(3.0, 2.0), HuangWand(2.0, [0.8, 0.5]), 2, True),
    "two in each group": case(
        NORMAL, InverseGamma(3.0, 2.0), InverseWishart(5.0, np.diag([1.5, 0.8])), 2, design=two_each(1.0)
    ),
}


# The ridges of the case that is tested.
current = []


def along_all(rng, model, state):
    for r in current:
        state = slide(rng, model, state, r)
    return state


@pytest.mark.parametrize("name", CASES)
def test_moves_leave_the_joint_distribution(name):
    current[:] = ridges(cross_products(CASES[name].design))
    z, moved = invariance(CASES[name], along_all)
    assert z < 4.2
    assert moved > 0.1


class NoDensity(Scale):
    """A prior that the ratio of densities does not see."""

    def log_density(self, v):
        return np.zeros_like(v)


def no_prior_of_sigma(rng, model, state):
    return along_all(rng, replace(model, sigma=NoDensity(**vars(model.sigma))), state)


def no_jacobian(rng, model, state):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ridge, "_log_jacobian", lambda model, F: np.zeros(F.shape[-1]))
        return along_all(rng, model, state)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("inverse gamma", no_prior_of_sigma),
        ("half-Cauchy", no_prior_of_sigma),
        ("inverse gamma", no_jacobian),
        ("slope", no_jacobian),
    ],
)
def test_wrong_moves_are_noticed(name, wrong):
    current[:] = ridges(cross_products(CASES[name].design))
    assert invariance(CASES[name], wrong)[0] > 4.5


def test_zellners_prior_counts():
    """Squares of standardised beta are chi-square with 2 degrees of freedom; not if the ratio forgets them."""
    one, rng = CASES["zellner"], np.random.default_rng(3)
    beta, D, sigma2 = draw_priors(rng, one.priors, one.design, 4000)
    run = Chains.of(one, draw_data(rng, one.design, beta, D, sigma2))
    (r,) = ridges(run.cross)
    p_values = []
    for model in (run.model, replace(run.model, relative=np.zeros_like(run.model.relative))):
        state = run.state(rng, beta, D, sigma2)
        for _ in range(20):
            state = slide(rng, model, state, r)
        away = state.beta - run.model.prior_mean
        squares = np.einsum("xc,xy,yc->c", away, run.model.relative, away) / state.sigma2
        p_values.append(stats.kstest(squares, stats.chi2(2).cdf).pvalue)
    assert p_values[0] > 1e-3
    assert p_values[1] < 1e-5


def test_the_likelihood_stays_for_any_number_of_clones():
    """V is the same after a move, and half of the moves at least are taken at a million clones."""
    one = CASES["slope"]
    cross = cross_products(one.design)
    model, rng = model_of(cross, one.priors, n_clones=10**6), np.random.default_rng(6)
    state = start(rng, cross, model, 200)
    (r,) = ridges(cross)
    moved = slide(rng, model, state, r)
    assert half(model.data.ZtZ, moved.F, moved.sigma2).shape == half(model.data.ZtZ, state.F, state.sigma2).shape
    inverse = np.linalg.inv(cross.basis.Rz)
    for c in range(200):
        D = [inverse @ s.F[..., c] @ s.F[..., c].T @ inverse.T for s in (state, moved)]
        V = [dense(one.design, d, s.sigma2[c]) for d, s in zip(D, (state, moved), strict=True)]
        np.testing.assert_allclose(V[1], V[0], atol=1e-9 * np.abs(V[0]).max())
    assert np.mean(moved.sigma2 != state.sigma2) > 0.3


def test_the_whole_line_is_visited():
    """Between the ends, where one of the two variances is zero, by the prior: two independent inverse gammas."""
    design = single(n=60)
    one = case(NORMAL, InverseGamma(3.0, 2.0), InverseGamma(2.5, 1.0), design=design)
    cross = cross_products(design)
    model, rng = model_of(cross, one.priors), np.random.default_rng(7)
    start_ = start(rng, cross, model, 3000)
    total = np.full(3000, 1.3)
    state = replace(start_, F=np.full((1, 1, 3000), np.sqrt(0.3)), sigma2=total - 0.3)
    (r,) = ridges(cross)
    for _ in range(40):
        state = slide(rng, model, state, r)
    np.testing.assert_allclose(state.sigma2 + state.F[0, 0] ** 2, total)
    grid = np.linspace(0, 1.3, 20001)[1:-1]
    density = stats.invgamma(3.0, scale=2.0).pdf(grid) * stats.invgamma(2.5, scale=1.0).pdf(1.3 - grid)
    cdf = np.cumsum(density) / density.sum()
    assert stats.kstest(state.sigma2, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-3
