"""Every full conditional against the dense joint normal distribution of beta, b and y, without any rotation."""

import numpy as np
import pytest
from scipy import stats

import lmmlib
from lmmlib.bayes import conditionals
from lmmlib.bayes.conditionals import Effects, Model, State, half
from lmmlib.bayes.priors import (
    Flat,
    HalfCauchy,
    HuangWand,
    InverseGamma,
    InverseWishart,
    Normal,
    Priors,
    Reciprocal,
    Zellner,
)
from lmmlib.bayes.rotation import rotate

BETAS = {"flat": Flat(), "normal": Normal([1.0, -2.0], [[2.0, 0.3], [0.3, 0.5]]), "zellner": Zellner(0.3, [1.0, -2.0])}


def make(design, beta="flat", sigma=None, D=None):
    cross = lmmlib.cross_products(design)
    chosen = BETAS.get(beta, beta)
    priors = Priors(chosen, sigma or InverseGamma(2.0, 3.0), D or InverseWishart(4.0, [[1.0, 0.2], [0.2, 0.5]]))
    return cross, Model.of(cross, priors.resolved(cross), rotate(cross)), priors.resolved(cross)


def state_at(cross, beta, D, sigma2):
    """Two chains, the second at another point."""
    basis = cross.basis
    D = np.stack([D, 2 * D])
    F = np.einsum("ab,cbd->adc", basis.Rz, np.linalg.cholesky(D))
    beta = basis.Rx @ (np.stack([beta, beta + 1]) - basis.beta0).T
    q = len(basis.Rz)
    return State(beta, F, np.array([sigma2, sigma2 / 3]), np.zeros((1, 2)), np.zeros((q, 2)))


def dense(design, D, sigma2):
    """Z and V of all rows at once."""
    Z = np.zeros((design.n_obs, design.n_groups * design.Z.shape[1]))
    for i in range(design.n_groups):
        rows = design.rows(i)
        Z[np.ix_(rows, range(i * design.Z.shape[1], (i + 1) * design.Z.shape[1]))] = design.Z[rows]
    G = np.kron(np.eye(design.n_groups), D)
    return Z, G, Z @ G @ Z.T + sigma2 * np.eye(design.n_obs)


def prior_of(priors, design, sigma2):
    """Mean and precision of beta."""
    if isinstance(priors.beta, Flat):
        return np.zeros(2), np.zeros((2, 2))
    if isinstance(priors.beta, Normal):
        return priors.beta.mean, np.linalg.inv(priors.beta.cov)
    return priors.beta.mean, priors.beta.delta * design.X.T @ design.X / sigma2


@pytest.fixture
def equal(frame):
    """Thirty equal groups, most of which are rotated away."""
    rng = np.random.default_rng(8)
    X = np.column_stack([np.ones(120), np.tile(np.arange(4.0), 30)])
    return lmmlib.Design.from_arrays(rng.normal(size=120), X, X, np.repeat(np.arange(30), 4))


@pytest.fixture(params=["unequal", "equal"])
def any_design(request, design, equal):
    return {"unequal": design, "equal": equal}[request.param]


def formula_moments(cross, conditional, chain):
    """Mean and covariance of beta in the formula's basis."""
    precision, linear = conditional[0][chain], conditional[1][chain]
    R = np.linalg.inv(cross.basis.Rx)
    return cross.basis.beta0 + R @ np.linalg.solve(precision, linear), R @ np.linalg.inv(precision) @ R.T


@pytest.mark.parametrize("beta", BETAS)
def test_beta_given_data(any_design, D, beta):
    cross, model, priors = make(any_design, beta)
    state = state_at(cross, np.zeros(2), D, 1.7)
    conditional = conditionals.beta_given_data(model, state, half(model.data.ZtZ, state.F, state.sigma2))
    for chain, (D_c, sigma2) in enumerate([(D, 1.7), (2 * D, 1.7 / 3)]):
        _, _, V = dense(any_design, D_c, sigma2)
        m, P = prior_of(priors, any_design, sigma2)
        X, y = any_design.X, any_design.y
        cov = np.linalg.inv(X.T @ np.linalg.solve(V, X) + P)
        mean, found = formula_moments(cross, conditional, chain)
        np.testing.assert_allclose(found, cov, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(mean, cov @ (X.T @ np.linalg.solve(V, y) + P @ m), rtol=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_beta_given_b(design, D, beta):
    cross, model, priors = make(design, beta)
    state = state_at(cross, np.zeros(2), D, 1.7)
    b = np.random.default_rng(2).normal(size=(2, 2, design.n_groups))  # (q, C, groups), nothing is rotated
    work = np.einsum("ab,bcg->acg", cross.basis.Rz, b)
    conditional = conditionals.beta_given_b(model, state, work)
    for chain, sigma2 in enumerate([1.7, 1.7 / 3]):
        m, P = prior_of(priors, design, sigma2)
        rest = design.y - np.einsum("na,an->n", design.Z, b[:, chain][:, design.group])
        cov = np.linalg.inv(design.X.T @ design.X / sigma2 + P)
        mean, found = formula_moments(cross, conditional, chain)
        np.testing.assert_allclose(found, cov, rtol=1e-9)
        np.testing.assert_allclose(mean, cov @ (design.X.T @ rest / sigma2 + P @ m), rtol=1e-9)


@pytest.mark.parametrize("beta", BETAS)
def test_beta_given_gamma(frame, D, beta):
    design = lmmlib.build_design(
        "lead ~ week + (week | child)", frame[frame.groupby("child").child.transform("size") > 1]
    )
    cross, model, priors = make(design, beta)
    state = state_at(cross, np.zeros(2), D, 1.7)
    gamma = np.random.default_rng(2).normal(size=(2, 2, design.n_groups)) + 3
    # X = Z: in the working basis the coefficients of y are beta0 and those of y - X beta0.
    work = np.einsum("ab,bcg->acg", cross.basis.Rz, gamma - cross.basis.beta0[:, None, None])
    conditional = conditionals.beta_given_gamma(model, state, work)
    for chain, (D_c, sigma2) in enumerate([(D, 1.7), (2 * D, 1.7 / 3)]):
        m, P = prior_of(priors, design, sigma2)
        cov = np.linalg.inv(design.n_groups * np.linalg.inv(D_c) + P)
        mean, found = formula_moments(cross, conditional, chain)
        np.testing.assert_allclose(found, cov, rtol=1e-9)
        np.testing.assert_allclose(mean, cov @ (np.linalg.solve(D_c, gamma[:, chain].sum(axis=1)) + P @ m), rtol=1e-9)


def test_effects_given_beta(design, D):
    cross, model, _ = make(design)
    beta = np.array([24.0, -0.5])
    state = state_at(cross, beta, D, 1.7)
    mean, H = conditionals.effects_given_beta(model, state, half(model.data.ZtZ, state.F, state.sigma2))
    R = np.linalg.inv(cross.basis.Rz)
    for chain, (beta_c, D_c, sigma2) in enumerate([(beta, D, 1.7), (beta + 1, 2 * D, 1.7 / 3)]):
        Z, G, V = dense(design, D_c, sigma2)
        expected = (G @ Z.T @ np.linalg.solve(V, design.y - design.X @ beta_c)).reshape(-1, 2)
        np.testing.assert_allclose((R @ mean[:, chain]).T, expected, rtol=1e-8, atol=1e-10)
        cov = G - G @ Z.T @ np.linalg.solve(V, Z @ G)
        for i in range(design.n_groups):
            found = sigma2 * R @ H[:, :, chain, i].T @ H[:, :, chain, i] @ R.T
            np.testing.assert_allclose(found, cov[2 * i : 2 * i + 2, 2 * i : 2 * i + 2], rtol=1e-8, atol=1e-11)


def test_residual_squares_of_given_effects(design, D):
    cross, model, _ = make(design)
    beta, b = np.array([24.0, -0.5]), np.random.default_rng(2).normal(size=(2, 2, design.n_groups))
    state = state_at(cross, beta, D, 1.0)
    effects = Effects(np.einsum("ab,bcg->acg", cross.basis.Rz, b), np.zeros((2, 2, 2)), np.zeros(2))
    found = conditionals.residual_squares(model, state.beta, effects)
    for chain, beta_c in enumerate([beta, beta + 1]):
        rest = design.y - design.X @ beta_c - np.einsum("na,an->n", design.Z, b[:, chain][:, design.group])
        np.testing.assert_allclose(found[chain], rest @ rest, rtol=1e-10)
    squares = np.einsum(
        "ab,bcd,ed->aec", cross.basis.Rz, np.einsum("acg,bcg->abc", b, b).transpose(0, 2, 1), cross.basis.Rz
    )
    np.testing.assert_allclose(effects.sum_of_squares(), squares, rtol=1e-10)


def test_sums_over_rotated_groups_have_the_moments_of_the_dense_ones(equal, D):
    """Sums over 30 groups, of which 24 are rotated away: means within 4.5 standard errors of the exact ones."""
    cross, model, _ = make(equal)
    chains, beta = 20_000, np.array([0.3, 0.1])
    one = state_at(cross, beta, D, 1.7)
    many = State(*(np.repeat(M[..., :1], chains, axis=-1) for M in vars(one).values()))
    H = half(model.data.ZtZ, many.F, many.sigma2)
    effects = conditionals.draw_effects(np.random.default_rng(5), model, many, H)
    Z, G, V = dense(equal, D, 1.7)
    r = equal.y - equal.X @ beta
    mean, cov = G @ Z.T @ np.linalg.solve(V, r), G - G @ Z.T @ np.linalg.solve(V, Z @ G)
    second = sum((cov + np.outer(mean, mean))[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] for i in range(30))
    R = np.linalg.inv(cross.basis.Rz)
    found = np.einsum("ab,bdc,ed->aec", R, effects.sum_of_squares(), R)
    error = found.std(axis=2) / np.sqrt(chains)
    assert (np.abs(found.mean(axis=2) - second) < 4.5 * error).all()
    # Of the second moments too: the variance of the sum of squares of the first effect, 2 tr(C^2) + 4 m'Cm.
    C, m = cov[::2, ::2], mean[::2]
    variance = 2 * np.trace(C @ C) + 4 * m @ C @ m
    np.testing.assert_allclose(found[0, 0].var(), variance, rtol=4.5 * np.sqrt(3 / chains))
    expected = np.sum((r - Z @ mean) ** 2) + np.trace(Z @ cov @ Z.T)
    residual = conditionals.residual_squares(model, many.beta, effects)
    assert abs(residual.mean() - expected) < 4.5 * residual.std() / np.sqrt(chains)
    # Sums of squares and residual depend on one another as they should.
    first = np.zeros((60, 60))
    first[::2, ::2] = np.eye(30)
    S, e = Z.T @ Z, Z.T @ r
    covariance = 2 * np.trace(first @ cov @ S @ cov) + 4 * (first @ mean) @ cov @ (S @ mean - e)
    product = (found[0, 0] - found[0, 0].mean()) * (residual - residual.mean())
    assert abs(product.mean() - covariance) < 4.5 * product.std() / np.sqrt(chains)


@pytest.mark.parametrize(
    ("prior", "log_density"),
    [
        (InverseGamma(2.0, 3.0), lambda v: stats.invgamma(2.0, scale=3.0).logpdf(v)),
        (Flat(), lambda v: -0.5 * np.log(v)),  # of the variance, when that of its root is constant
        (Reciprocal(), lambda v: -np.log(v)),
    ],
)
@pytest.mark.parametrize("beta", ["flat", "zellner"])
def test_sigma2_given_rest(design, D, prior, log_density, beta):
    """The logarithm of the joint density as a function of sigma2 is that of the conditional, up to a constant."""
    cross, model, priors = make(design, beta, prior)
    at = np.array([24.0, -0.5])
    state = state_at(cross, at, D, 1.7)
    residual = 31.0
    shape, rate = conditionals.sigma2_given_rest(model, state, np.array([residual, residual]))
    v = np.array([0.3, 1.0, 4.0])
    joint = -design.n_obs / 2 * np.log(v) - residual / (2 * v) + log_density(v)
    if beta == "zellner":
        cov = np.linalg.inv(design.X.T @ design.X) / 0.3
        joint += [stats.multivariate_normal(priors.beta.mean, s * cov).logpdf(at) for s in v]
    found = stats.invgamma(shape, scale=rate[0]).logpdf(v)
    np.testing.assert_allclose(np.diff(found), np.diff(joint), rtol=1e-8)


def test_half_cauchy_is_a_mixture(design, D):
    """sigma2 given the rate of its scale, and the rate given sigma2, are the two conditionals of one joint density."""
    _, model, priors = make(design, sigma=HalfCauchy(0.7))
    draws = 200_000
    rng = np.random.default_rng(3)
    rates = rng.standard_gamma(0.5, draws) * 0.7**2  # 1/a, a inverse gamma (1/2, 1/A^2)
    v = rates / rng.standard_gamma(0.5, draws)
    again = model.sigma.draw_rates(rng, 1 / v[None], 1)[0]
    assert stats.kstest(np.sqrt(v), stats.halfcauchy(scale=0.7).cdf).pvalue > 1e-4
    assert stats.ks_2samp(again, rates).pvalue > 1e-4
    assert stats.ks_2samp(again * v, rates * v).pvalue > 1e-4
    assert stats.ks_2samp(again * 1.03, rates).pvalue < 1e-4


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("kind", ["wishart", "huang"])
def test_D_given_b(frame, D, diagonal, kind):
    """The logarithm of prior times density of b, as a function of D, is that of the conditional up to a constant."""
    design = lmmlib.build_design(f"lead ~ week + (week {'||' if diagonal else '|'} child)", frame)
    prior = InverseWishart(4.0, [[1.0, 0.2], [0.2, 0.5]]) if kind == "wishart" else HuangWand(3.0, [0.7, 1.2])
    cross, model, _ = make(design, D=prior)
    state = state_at(cross, np.zeros(2), D, 1.0)
    rates = np.array([[0.6, 0.9], [1.5, 0.2]]) * (kind == "huang")
    state = State(state.beta, state.F, state.sigma2, state.rates_sigma, rates)
    b = np.random.default_rng(2).normal(size=(2, design.n_groups))
    S, Rz = b @ b.T, cross.basis.Rz
    squares = np.repeat((Rz @ S @ Rz.T)[:, :, None], 2, axis=2)
    df, scale = conditionals.D_given_b(model, state, squares)
    points = [np.diag([0.4, 1.1]), np.diag([2.0, 0.3]), np.diag([1.0, 1.0])]
    if not diagonal:
        points += [D, 0.2 * D]
    joint, found = [], []
    for point in points:
        density = stats.multivariate_normal(np.zeros(2), point).logpdf(b.T).sum()
        if diagonal:
            S0 = np.array([1.0, 0.5]) if kind == "wishart" else 6 * rates[:, 0]
            nu = 4.0 if kind == "wishart" else 3.0
            density += stats.invgamma(nu / 2, scale=S0 / 2).logpdf(np.diag(point)).sum()
            found.append(stats.invgamma(df / 2, scale=scale[:, 0] / 2).logpdf(np.diag(point)).sum())
        else:
            S0 = np.array([[1.0, 0.2], [0.2, 0.5]]) if kind == "wishart" else np.diag(6 * rates[:, 0])
            density += stats.invwishart(4.0, S0).logpdf(point)
            found.append(stats.invwishart(df, scale[:, :, 0]).logpdf(Rz @ point @ Rz.T))
        joint.append(density)
    np.testing.assert_allclose(np.diff(found), np.diff(joint), rtol=1e-8)


def test_huang_wand_is_a_mixture():
    """D given the rates, and the rates given D, are the conditionals of one joint density."""
    prior = HuangWand(3.0, [0.7, 1.2])
    scale = conditionals.Scale.of_D(prior, 2, False)
    rng, draws = np.random.default_rng(4), 8_000
    rates = rng.standard_gamma(0.5, (2, draws)) * np.array([[0.7], [1.2]]) ** 2
    D = np.array([stats.invwishart(4, np.diag(6 * r)).rvs(random_state=rng) for r in rates.T])
    again = scale.draw_rates(rng, np.diagonal(np.linalg.inv(D), axis1=1, axis2=2).T, 2)
    for k in range(2):
        assert stats.ks_2samp(again[k], rates[k]).pvalue > 1e-4
        assert stats.ks_2samp(again[k] * D[:, k, k], rates[k] * D[:, k, k]).pvalue > 1e-4
        assert stats.ks_2samp(again[k] * 1.2, rates[k]).pvalue < 1e-4


def test_draws_follow_their_conditionals(design, D):
    cross, model, _ = make(design)
    one = state_at(cross, np.zeros(2), D, 1.7)
    many = State(*(np.repeat(M[..., :1], 20_000, axis=-1) for M in vars(one).values()))
    rng = np.random.default_rng(6)
    drawn = conditionals.draw_sigma2(rng, model, many, np.full(20_000, 31.0))
    shape, rate = conditionals.sigma2_given_rest(model, many, np.full(20_000, 31.0))
    assert stats.kstest(drawn.sigma2, stats.invgamma(shape, scale=rate[0]).cdf).pvalue > 1e-4
    squares = np.repeat(np.array([[3.0, 0.4], [0.4, 1.0]])[:, :, None], 20_000, axis=2)
    F = conditionals.draw_D(rng, model, many, squares).F
    found = np.einsum("abc,dbc->cad", F, F)
    df, scale = conditionals.D_given_b(model, many, squares)
    exact = stats.invwishart(df, scale[:, :, 0])
    assert (np.abs(found.mean(axis=0) - exact.mean()) < 4.5 * found.std(axis=0) / np.sqrt(20_000)).all()
    shapes = stats.invgamma((df - 1) / 2, scale=scale[1, 1, 0] / 2)
    assert stats.kstest(found[:, 1, 1], shapes.cdf).pvalue > 1e-4
    conditional = conditionals.beta_given_data(model, many, half(model.data.ZtZ, many.F, many.sigma2))
    beta = conditionals.draw_beta(rng, conditional, many).beta
    white = np.linalg.cholesky(conditional[0][0]).T @ (
        beta - np.linalg.solve(conditional[0][0], conditional[1][0])[:, None]
    )
    for row in [*white, white.sum(axis=0) / np.sqrt(2)]:
        assert stats.kstest(row, stats.norm.cdf).pvalue > 1e-4
