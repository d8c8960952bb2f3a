"""Batches of fits on random unbalanced designs: the single fit, the dense likelihood, and an optimum.

Both sides find the same optimum of one function by the same method, so criteria agree to rounding; theta and what
depends on it agree to the square root of that.
"""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense
from lmmlib.errors import DesignError
from lmmlib.fitting.deviance import deviance
from lmmlib.lmm.fit import fit_design


@st.composite
def designs(draw):
    """3 to 8 groups of 0 to 7 rows in a random order, q 0 to 3, p 0 to 3, and four responses."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    q, p = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    sizes = np.array(draw(st.lists(st.integers(1, 7), min_size=3, max_size=8)))
    if draw(st.booleans()):
        sizes[:] = sizes.max()
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    N = len(group)
    X = np.column_stack([np.ones(N), rng.normal(size=(N, 2))])[:, :p]
    Z = np.column_stack([np.ones(N), X[:, 1:], rng.normal(size=(N, 3))])[:, :q]
    known = {"weights": rng.uniform(0.1, 10, N), "offset": rng.normal(size=N)} if draw(st.booleans()) else {}
    design = lmmlib.Design.from_arrays(rng.normal(size=N), X, Z, group, diagonal=draw(st.booleans()), **known)
    if draw(st.booleans()):
        design = design.take(np.flatnonzero(group != draw(st.integers(0, len(sizes) - 1))))
    b = rng.normal(size=(len(sizes), q, 4)) * [0.0, 0.3, 1.0, 3.0]
    Y = np.einsum("na,nab->nb", design.Z, b[design.group]) + rng.normal(size=(design.n_obs, 4))
    try:
        fit_design(design)
    except DesignError:
        assume(False)
    return design, Y


@given(designs(), st.sampled_from(["ML", "REML"]))
def test_many_fits_are_the_single_fits(case, method):
    design, Y = case
    fits = lmmlib.fit_many(design, Y, method=method)
    for k, y in enumerate(Y.T):
        try:
            one = fit_design(design.with_response(y), method=method)
        except DesignError as error:  # this response has no estimate
            assert np.isnan(fits.loglik[k]) and fits.reason[k] in str(error)
            continue
        assert_allclose(fits.criterion[k], one.criterion, rtol=1e-10, atol=1e-9)
        assert (fits.is_singular[k], fits.converged[k]) == (one.is_singular, one.converged)
        assert_allclose(fits.sigma2[k], one.sigma2, rtol=1e-5)
        scale = 1e-5 * (one.sigma2 + np.abs(one.D.to_numpy()).max(initial=0))
        assert_allclose(fits.D[k], one.D, atol=scale)
        assert_allclose(fits.beta[k], one.beta, atol=1e-5 * np.sqrt(one.sigma2 + scale))
        assert_allclose(fits.se[k], one.se, rtol=1e-5)


@given(designs(), st.sampled_from(["ML", "REML"]), st.integers(0, 10**6))
def test_the_optimum_is_one_by_the_dense_likelihood(case, method, seed):
    design, Y = case
    fits, rng = lmmlib.fit_many(design, Y, method=method), np.random.default_rng(seed)
    loglik = dense.profile_loglik if method == "ML" else dense.restricted_loglik
    q = design.Z.shape[1]
    for k in np.flatnonzero(fits.converged):
        here, D, sigma2 = design.with_response(Y[:, k]), fits.D[k], fits.sigma2[k]
        best = loglik(here, D, sigma2)
        assert_allclose(fits.loglik[k], best, rtol=1e-8, atol=1e-8)
        values, vectors = np.linalg.eigh(D)
        L = vectors * np.sqrt(np.maximum(values, 0))
        for size in (0.01, 0.1):
            change = size * np.sqrt(sigma2) * rng.normal(size=(q, q))
            near = (L + change) @ (L + change).T
            near = D * (1 + size) + size**2 * sigma2 * np.eye(q) if design.diagonal else near
            assert loglik(here, near, sigma2 * np.exp(size * rng.normal())) <= best + 1e-9 * (1 + abs(best))


@given(designs(), st.sampled_from(["ML", "REML"]), st.integers(0, 10**6))
def test_many_theta_are_the_single_theta(case, method, seed):
    cross = lmmlib.cross_products(case[0])
    B = cross.theta_coordinates
    theta = np.random.default_rng(seed).normal(size=(3, len(B)))
    together = deviance(cross, theta, B, method)
    for k, one in enumerate(theta):
        alone = deviance(cross, one, B, method)
        assert_allclose(together.value[k], alone.value, rtol=1e-11, atol=1e-11)
        for name in ("gradient", "hessian"):
            scale = np.abs(getattr(alone, name)).max(initial=0)
            assert_allclose(getattr(together, name)[k], getattr(alone, name), atol=1e-9 * scale)


@given(designs(), st.sampled_from(["ML", "REML"]))
def test_rounding_of_the_units_is_all_that_a_factor_changes(case, method):
    design, Y = case
    m = design.n_obs - (design.X.shape[1] if method == "REML" else 0)
    other = replace(design, offset=None if design.offset is None else 1e-6 * design.offset)
    grams, tonnes = lmmlib.fit_many(design, Y, method=method), lmmlib.fit_many(other, 1e-6 * Y, method=method)
    # Two descents, each of which stops where the deviance no longer changes.
    assert_allclose(tonnes.loglik, grams.loglik + m * np.log(1e6), rtol=1e-8)
    assert_allclose(1e12 * tonnes.sigma2, grams.sigma2, rtol=1e-5)
    assert (tonnes.is_singular == grams.is_singular).all() and (tonnes.failed == grams.failed).all()
