"""Successes of trials on random designs: the likelihood is that of full formulas, and does not depend on the coding."""

from dataclasses import replace

import numpy as np
import pytensor.tensor as pt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from numpy.testing import assert_allclose
from scipy import optimize
from scipy.integrate import quad
from scipy.special import expit, gammaln, logsumexp
from scipy.stats import binom, norm

import lmmlib
from lmmlib import laplace
from lmmlib.errors import DesignError
from lmmlib.glmm.binomial import Binomial
from lmmlib.glmm.fit import fit_glmm_design
from lmmlib.glmm.objective import Objective
from lmmlib.glmm.rows import Rows
from tests.unit.glmm.designs import differences


@st.composite
def designs(draw, most=2, groups=(3, 8), trials=(1, 1, 6, 30)):
    """Groups of 1 to 5 rows in a random order, 1 to ``most`` random columns, trials, and an offset now and then."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, q = draw(st.integers(*groups)), draw(st.integers(1, most))
    g = rng.permutation(np.repeat(np.arange(n), rng.integers(1, 6, n)))
    g = np.concatenate([g, np.arange(n)])
    W = np.column_stack([np.ones(len(g)), rng.normal(size=(len(g), 2)), g % 2])
    m = rng.integers(1, draw(st.sampled_from(trials)) + 1, len(g)).astype(float)
    offset = 0.5 * rng.normal(size=len(g)) if draw(st.booleans()) else np.zeros(len(g))
    eta = offset - 0.3 + 0.8 * W[:, 1] + (W[:, :q] * rng.normal(size=(n, q))[g]).sum(axis=1)
    y = rng.binomial(m.astype(int), expit(eta)).astype(float)
    assume(0 < y.sum() < m.sum())
    made = lmmlib.Design.from_arrays(y, W[:, : draw(st.integers(q, 4))], W[:, :q], g, diagonal=draw(st.booleans()))
    return replace(made, trials=m, offset=offset)


def groups(d, objective, psi):
    """For each group: its joint log-density of u, the mode by SciPy, and the Hessian there by its printed formula."""
    basis, p = objective.rows.basis, d.X.shape[1]
    L = np.tensordot(psi[p:], objective.rows.coordinates, 1)
    fixed, Z = d.offset + d.X @ basis.beta_back(psi[:p]), basis.z_work(d.Z) @ L
    for i in range(d.n_groups):
        rows = d.group == i
        y, m, Zi, eta = d.y[rows], d.trials[rows], Z[rows], fixed[rows]

        def h(u, y=y, m=m, Zi=Zi, eta=eta):
            u = np.atleast_2d(u)
            return binom.logpmf(y, m, expit(eta + u @ Zi.T)).sum(axis=1) + norm.logpdf(u).sum(axis=1)

        def slope(u, y=y, m=m, Zi=Zi, eta=eta):
            return u - Zi.T @ (y - m * expit(eta + Zi @ u))

        def S(u, m=m, Zi=Zi, eta=eta):
            p = expit(eta + Zi @ u)
            return np.eye(len(u)) + Zi.T @ np.diag(m * p * (1 - p)) @ Zi

        top = optimize.root(slope, np.zeros(Zi.shape[1]), jac=S, tol=1e-13).x
        top = top - np.linalg.solve(S(top), slope(top))
        yield h, top, S(top)


def dense(d, objective, psi, K):
    """Equation aghq with K nodes in each direction, group after group; one node is Laplace's approximation."""
    x, w = hermegauss(K)
    total = 0.0
    for h, top, S in groups(d, objective, psi):
        q = len(top)
        grid = np.array(np.meshgrid(*[x] * q)).reshape(q, -1).T
        weights = np.prod(np.meshgrid(*[w / w.sum()] * q), axis=0).ravel()
        nodes = top + grid @ np.linalg.inv(np.linalg.cholesky(S))
        terms = h(nodes) + (grid**2).sum(axis=1) / 2
        total += logsumexp(terms, b=weights) + q / 2 * np.log(2 * np.pi) - np.linalg.slogdet(S)[1] / 2
    return total


def at(d, method="laplace", K=1, seed=0):
    """The objective of a design, and a point of its parameters."""
    o = Objective(Rows.of(d, Binomial), method, K)
    return o, 0.6 * np.random.default_rng(seed).normal(size=d.X.shape[1] + len(o.rows.coordinates))


@given(designs(most=3))
def test_laplace_is_the_printed_formula(d):
    o, psi = at(d)
    value, gradient, hessian = o.derivatives(psi)
    assert_allclose(value, dense(d, o, psi, 1), rtol=1e-10)
    assert_allclose(gradient, differences(lambda x: dense(d, o, x, 1), psi), rtol=1e-6, atol=1e-6)
    by_differences = differences(lambda x: o.derivatives(x)[1], psi)
    assert_allclose(hessian, by_differences, rtol=1e-6, atol=1e-6 * np.abs(hessian).max())


@given(designs(), st.sampled_from([2, 3, 7]))
def test_quadrature_is_the_printed_formula(d, K):
    o, psi = at(d, "aghq", K)
    value, gradient, hessian = o.derivatives(psi)
    assert_allclose(value, dense(d, o, psi, K), rtol=1e-10)
    assert_allclose(gradient, differences(lambda x: dense(d, o, x, K), psi), rtol=1e-6, atol=1e-6)
    assert_allclose(hessian, hessian.T, atol=1e-6 * np.abs(hessian).max())
    assert_allclose(
        hessian, differences(lambda x: o.derivatives(x)[1], psi), rtol=1e-6, atol=1e-6 * np.abs(hessian).max()
    )


@given(designs())
def test_one_node_is_laplace(d):
    one, psi = at(d, "aghq", 1)
    by_laplace, _ = at(d)
    for a, b in zip(one.derivatives(psi)[:2], by_laplace.derivatives(psi)[:2], strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@given(designs(most=1))
@settings(max_examples=15)
def test_many_nodes_are_the_integral(d):
    o, psi = at(d, "aghq", 60)
    exact = 0.0
    for h, top, S in groups(d, o, psi):
        sd, height = 1 / np.sqrt(S[0, 0]), h(top)[0]
        area, _ = quad(lambda u, h=h, c=height: np.exp(h([[u]])[0] - c), top[0] - 15 * sd, top[0] + 15 * sd, epsabs=0)
        exact += height + np.log(area)
    assert_allclose(o.derivatives(psi)[0], exact, rtol=1e-8)


def fitted(d, method="laplace"):
    """The fit, if the data have one."""
    try:
        return fit_glmm_design(d, "binomial", method=method, n_quadrature=9 if method == "aghq" else None)
    except DesignError:
        assume(False)


def same(a, b, change=None):
    """Likelihoods agree, and so do D and beta, as far as a flat top lets them; ``change`` takes beta to the other."""
    assert a.converged and b.converged
    assert_allclose(a.loglik, b.loglik, rtol=1e-9)
    assert_allclose(a.D, b.D, rtol=1e-4, atol=1e-4)
    beta = a.beta.to_numpy()
    assert_allclose(beta if change is None else change @ beta, b.beta, rtol=1e-4, atol=1e-4)


LARGER = designs(groups=(8, 14), trials=(4, 9))
METHODS = st.sampled_from(["laplace", "aghq", "REML"])


@given(LARGER, METHODS)
@settings(max_examples=12)
def test_failures_are_successes_upside_down(d, method):
    upside_down = replace(d, y=d.trials - d.y, offset=-d.offset)
    same(fitted(d, method), fitted(upside_down, method), -np.eye(d.X.shape[1]))


@given(LARGER, METHODS)
@settings(max_examples=12)
def test_trials_are_so_many_bits(d, method):
    """The log-likelihood of the bits lacks the binomial constants, and nothing else changes.

    Two effects have their few nodes in directions that depend on the rows.
    """
    assume(method != "aghq" or d.Z.shape[1] == 1)
    m = d.trials.astype(int)
    rows = np.repeat(np.arange(d.n_obs), m)
    bits = (np.arange(m.sum()) - np.repeat(np.cumsum(m) - m, m) < d.y[rows]).astype(float)
    split = lmmlib.Design.from_arrays(bits, d.X[rows], d.Z[rows], d.group[rows], diagonal=d.diagonal)
    split = replace(split, offset=d.offset[rows])
    one, many = fitted(d, method), fitted(split, method)
    ways = (gammaln(m + 1) - gammaln(d.y + 1) - gammaln(m - d.y + 1)).sum()
    assert_allclose(one.loglik - many.loglik, ways, atol=1e-7)
    same(one, replace(many, loglik=many.loglik + ways))


@given(LARGER, METHODS)
@settings(max_examples=12)
def test_units_of_the_covariates_do_not_matter(d, method):
    """beta of X A is A^-1 beta; the restricted likelihood is a density of X'y, and has the determinant of A."""
    rng = np.random.default_rng(1)
    A = np.diag(10.0 ** rng.uniform(-3, 3, d.X.shape[1])) @ (
        np.eye(d.X.shape[1]) + 0.3 * np.triu(rng.normal(size=(4, 4)), 1)[: d.X.shape[1], : d.X.shape[1]]
    )
    one = fitted(d, method)
    other = fitted(replace(d, X=d.X @ A), method)
    shift = np.linalg.slogdet(A)[1] if method == "REML" else 0.0
    assert_allclose(A @ other.beta, one.beta, rtol=1e-4, atol=1e-4)
    assert_allclose(other.loglik + shift, one.loglik, rtol=1e-8)
    assert_allclose(other.D, one.D, rtol=1e-4, atol=1e-4)


@given(LARGER, METHODS)
@settings(max_examples=12)
def test_order_of_rows_and_labels_of_groups_do_not_matter(d, method):
    rng = np.random.default_rng(2)
    rows, label = rng.permutation(d.n_obs), rng.permutation(d.n_groups)
    moved = lmmlib.Design.from_arrays(d.y[rows], d.X[rows], d.Z[rows], label[d.group[rows]], diagonal=d.diagonal)
    moved = replace(moved, trials=d.trials[rows], offset=d.offset[rows])
    one, other = fitted(d, method), fitted(moved, method)
    same(one, other)
    assert_allclose(other.fitted(), one.fitted()[rows], atol=1e-4)


@given(LARGER, METHODS)
@settings(max_examples=12)
def test_an_offset_moves_the_coefficients(d, method):
    delta = np.linspace(-1, 1, d.X.shape[1])
    one, other = fitted(d, method), fitted(replace(d, offset=d.offset + d.X @ delta), method)
    assert_allclose(other.loglik, one.loglik, rtol=1e-9)
    assert_allclose(other.beta + delta, one.beta, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@given(designs(most=1, trials=(1, 6)))
@settings(max_examples=3)
def test_automatic_differentiation_agrees(d):
    o, psi = at(d)
    p, W = d.X.shape[1], o.rows.basis.x_work(d.X)
    z = o.rows.basis.z_work(d.Z)[:, 0]
    ways = (gammaln(d.trials + 1) - gammaln(d.y + 1) - gammaln(d.trials - d.y + 1)).sum()

    def joint(b, beta, tau):
        eta = d.offset + pt.dot(W, beta) + tau * z * b[d.group, 0]
        bits = d.y * eta - d.trials * pt.softplus(eta)
        return bits.sum() + ways - (b**2).sum() / 2 - d.n_groups / 2 * np.log(2 * np.pi)

    tau = float(np.tensordot(psi[p:], o.rows.coordinates, 1)[0, 0])
    marginal = laplace.marginal(joint, {"beta": psi[:p], "tau": tau}, d.n_groups, q=1)
    value, gradient = o.derivatives(psi)[:2]
    point = {"beta": psi[:p], "tau": tau}
    assert_allclose(marginal.loglik(**point), value, rtol=1e-10)
    found = marginal.gradient(**point)
    found = np.append(found["beta"], found["tau"] * o.rows.coordinates[0, 0, 0])
    assert_allclose(found, gradient, rtol=1e-7, atol=1e-8)
