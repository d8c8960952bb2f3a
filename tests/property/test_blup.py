"""Predictions and their errors equal the printed formulas of lmmlib.dense on random designs, also at a singular D.

Designs are small, so that dense N x N inverses lose few digits; 8 are asked for, relative to the largest entry.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense
from lmmlib.equations.blup import conditional_covariance, random_effects
from lmmlib.equations.mixed_model_equations import henderson
from lmmlib.errors import DesignError


@dataclass(frozen=True)
class Model:
    design: lmmlib.Design
    D: np.ndarray
    sigma2: float
    rank: int

    def __repr__(self):
        return f"{self.design!r}\n  n_i = {self.design.n_i}, D = {self.D.tolist()}, sigma2 = {self.sigma2}"


@st.composite
def models(draw):
    """Groups of 1 to 6 rows in a random order, q 1-3, p 0-4, D of any rank from 0 to q."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    q, p = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    sizes += [4] * (sum(sizes) < p + 3)
    sizes += [6] * (sum(sizes) < p + 3)
    group = np.repeat(np.arange(len(sizes)), sizes)
    N = len(group)
    X = np.column_stack([np.ones(N), rng.normal(size=(N, 3))])[:, :p]
    Z = np.column_stack([np.ones(N), rng.normal(size=(N, 2))])[:, :q]
    rank = draw(st.integers(0, q))
    A = rng.normal(size=(q, rank))
    design = lmmlib.Design.from_arrays(2 * rng.normal(size=N) + 5, X, Z, rng.permutation(len(sizes))[group])
    return Model(design.take(rng.permutation(N)), A @ A.T, draw(st.sampled_from([0.3, 1.0, 5.0])), rank)


def close(ours, theirs, what, rtol=1e-8):
    atol = rtol * np.abs(theirs).max(initial=1e-3)
    assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=what)


@given(models())
def test_structured_is_dense(m):
    design, D, sigma2 = m.design, m.D, m.sigma2
    cross, q, p, n = lmmlib.cross_products(design), len(D), design.X.shape[1], design.n_groups
    solution = henderson(cross, D, sigma2)
    Z, big = dense.big_Z(design), np.kron(np.eye(n), D)
    W, P = np.linalg.inv(dense.V(design, D, sigma2)), dense.projection(design, D, sigma2)
    beta, Phi = dense.gls(design, D, sigma2)
    b = big @ Z.T @ W @ (design.y - design.X @ beta)
    pev, known = big - big @ Z.T @ P @ Z @ big, big - big @ Z.T @ W @ Z @ big
    joint = -Phi @ design.X.T @ W @ Z @ big
    close(solution.beta, beta, "beta")
    close(solution.cov_beta, Phi, "cov_beta")
    close(solution.b.ravel(), b, "b")
    close(random_effects(cross, beta, D, sigma2).ravel(), b, "blup")
    for i in range(n):
        at = slice(i * q, (i + 1) * q)
        close(solution.cov_b[i], pev[at, at], "pev")
        close(solution.cov_beta_b[i], joint[:, at], "cov_beta_b")
        close(conditional_covariance(cross, D, sigma2)[i], known[at, at], "known")
    assert solution.beta.shape == (p,)


@given(models())
def test_the_printed_equations_where_D_has_an_inverse(m):
    """Their matrix holds D^-1, so its condition decides the digits of the dense side."""
    if m.rank < len(m.D) or np.linalg.cond(m.D) > 1e4:
        if m.rank < len(m.D):
            with pytest.raises(DesignError, match="D is singular"):
                dense.henderson(m.design, m.D, m.sigma2)
        return
    ours = henderson(lmmlib.cross_products(m.design), m.D, m.sigma2)
    beta, b, inverse = dense.henderson(m.design, m.D, m.sigma2)
    close(ours.beta, beta, "beta")
    close(ours.b, b, "b")
    p, q = len(beta), len(m.D)
    close(ours.cov_beta, inverse[:p, :p], "cov_beta")
    close(ours.cov_b[-1], inverse[-q:, -q:], "cov_b")


@given(models())
def test_orders_of_the_errors(m):
    """Knowing beta helps; a prediction varies less than what it predicts: 0 <= known <= pev, known <= D."""
    cross = lmmlib.cross_products(m.design)
    known, pev = conditional_covariance(cross, m.D, m.sigma2), henderson(cross, m.D, m.sigma2).cov_b
    size = 1e-10 * (1 + np.abs(m.D).max())
    for small, large in ((0 * known, known), (known, pev), (known, m.D)):
        assert np.linalg.eigvalsh(large - small).min() > -size
