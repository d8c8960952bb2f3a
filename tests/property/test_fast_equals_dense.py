"""The structured computations equal the printed formulas of lmmlib.dense on random unbalanced designs.

The designs are small (N up to 40) so that the dense side inverts N x N matrices that lose few digits; both
sides then agree to about 12 digits, and 9 are asked for.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import dense, equations
from lmmlib.equations import moments
from lmmlib.equations.information import information_variance, score_variance

LIKELIHOOD = 1e-9  # absolute, of values near 100
RELATIVE = 1e-8  # of the largest entry of each array: inverses of ill-conditioned draws lose digits


@dataclass(frozen=True)
class Model:
    design: lmmlib.Design
    D: np.ndarray
    sigma2: float
    rank: int

    @property
    def cross(self):
        return lmmlib.cross_products(self.design)

    def __repr__(self):
        return f"{self.design!r}\n  n_i = {self.design.n_i}, D = {self.D.tolist()}, sigma2 = {self.sigma2}"


@st.composite
def models(draw, definite=False, diagonal=st.booleans(), least_groups=1):
    """A mixed model: groups of 1 to 7 rows in a random order, q 1-3, p 1-4, D of any rank, weights, an offset."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    q, p = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(1, 7), min_size=least_groups, max_size=6))
    while sum(sizes) < p + 3 or len(sizes) < least_groups:
        sizes.append(4)
    balanced = draw(st.booleans())
    if balanced:
        sizes = [max(sizes)] * len(sizes)
    group = np.repeat(np.arange(len(sizes)), sizes)
    N = len(group)
    X = np.column_stack([np.ones(N), rng.normal(size=(N, p - 1))])
    Z = np.column_stack([np.ones(N), rng.normal(size=(N, q - 1))])
    if balanced:
        Z = np.tile(Z[: sizes[0]], (len(sizes), 1))
    shuffled = rng.permutation(N)
    labels = np.array([f"g{i}" for i in rng.permutation(len(sizes))])[group]
    is_diagonal = draw(diagonal)
    rank = q if definite else draw(st.integers(0, q))
    A = rng.normal(size=(q, q))
    if is_diagonal:
        D = np.diag([float(k < rank) * (0.2 + a**2) for k, a in enumerate(A[0])])
    else:
        D = A[:, :rank] @ A[:, :rank].T + (0.2 * np.eye(q) if definite else 0.0)
    known = {"weights": rng.uniform(0.1, 10, N)} if draw(st.booleans()) else {}
    known |= {"offset": 10 * rng.normal(size=N)} if draw(st.booleans()) else {}
    y = X @ rng.normal(size=p) + 2 * rng.normal(size=N) + known.get("offset", 0.0)
    design = lmmlib.Design.from_arrays(y, X, Z, labels, diagonal=is_diagonal, **known).take(shuffled)
    return Model(design, D, draw(st.sampled_from([0.3, 1.0, 5.0])), rank)


def close(ours, theirs, rtol=RELATIVE):
    scale = np.abs(theirs).max()
    assert_allclose(np.asarray(ours) / scale, np.asarray(theirs) / scale, rtol=0, atol=rtol)


@given(models())
def test_likelihoods(m):
    cross, args = m.cross, (m.D, m.sigma2)
    beta = np.linspace(-1, 1, len(m.design.x_names))
    pairs = [
        (equations.loglik(cross, beta, *args), dense.loglik(m.design, beta, *args)),
        (equations.profile_loglik(cross, *args), dense.profile_loglik(m.design, *args)),
        (equations.restricted_loglik(cross, *args), dense.restricted_loglik(m.design, *args)),
    ]
    for ours, theirs in pairs:
        assert_allclose(ours, theirs, rtol=1e-10, atol=LIKELIHOOD)


@given(models())
def test_estimates_and_their_covariances(m):
    cross, design, args = m.cross, m.design, (m.D, m.sigma2)
    result = equations.gls(cross, *args)
    beta, cov = dense.gls(design, *args)
    close(result.beta, beta)
    close(result.cov, cov)
    close(equations.ols_covariance(cross, *args), dense.ols_covariance(design, *args))
    close(equations.information_beta(cross, *args), np.linalg.inv(cov))
    residual = design.centred(design.y) - design.X @ np.ones(len(beta))
    score = design.X.T @ np.linalg.solve(dense.V(design, *args), residual)
    close(equations.score_beta(cross, np.ones(len(beta)), *args), score)
    if design.n_groups > 1:
        close(equations.sandwich(design, beta, *args), dense.sandwich(design, beta, *args))
        close(equations.sandwich(design, beta + 1, *args), dense.sandwich(design, beta + 1, *args))


@given(models())
def test_ols_is_gls_without_random_effects(m):
    result, zero = equations.ols(m.cross), np.zeros_like(m.D)
    same = equations.gls(m.cross, zero, result.sigma2)
    close(result.beta, same.beta)
    close(result.cov, same.cov)
    y, X, _ = m.design.standard_rows(m.design.y)
    beta, rss, _, _ = np.linalg.lstsq(X, y, rcond=None)
    close(result.beta, beta)
    assert_allclose(result.rss, rss[0], rtol=1e-9)


@given(models())
def test_scores_and_information(m):
    for method in ("ML", "REML"):
        # A score is a difference of two positive terms, which is what rounding is relative to.
        P = dense.projection(m.design, m.D, m.sigma2)
        size = [np.abs(P @ m.design.y) @ np.abs(dV) @ np.abs(P @ m.design.y) for dV in dense.V_derivatives(m.design)]
        score = score_variance(m.cross, m.D, m.sigma2, method=method)
        theirs = dense.score_variance(m.design, m.D, m.sigma2, method=method)
        assert_allclose(score, theirs, rtol=RELATIVE, atol=RELATIVE * max(size))
        for kind in ("expected", "observed"):
            ours = information_variance(m.cross, m.D, m.sigma2, method=method, kind=kind)
            close(ours, dense.information_variance(m.design, m.D, m.sigma2, method=method, kind=kind))
            assert_allclose(ours, ours.T, rtol=1e-13)


@given(models(definite=True, least_groups=5))
def test_small_sample_inference(m):
    """Kenward-Roger and Satterthwaite wherever the dense information can be inverted."""
    information = dense.information_variance(m.design, m.D, m.sigma2)
    unit = np.sqrt(np.diag(information))
    if np.linalg.eigvalsh(information / np.outer(unit, unit)).min() < 1e-6:
        return
    adjusted = dense.kenward_roger_covariance(m.design, m.D, m.sigma2)
    for row in np.eye(len(m.design.x_names)):
        df = equations.satterthwaite(m.cross, row, m.D, m.sigma2, kind="expected")
        # The inverse of the information multiplies rounding by up to the 1e6 let through above.
        assert_allclose(df, dense.satterthwaite(m.design, row, m.D, m.sigma2, kind="expected"), rtol=1e-6)
        result = equations.kenward_roger(m.cross, row, m.D, m.sigma2)
        close(result.cov, adjusted, 1e-7)
        # For one contrast Kenward and Roger's df are Satterthwaite's with the expected information, scale 1.
        assert_allclose(result.df, df, rtol=1e-6)
        assert_allclose(result.scale, 1.0, rtol=1e-6)


@given(models(), st.integers(0, 5))
def test_precision_and_determinant(m, i):
    _, _, Z = m.design.group_rows(i % m.design.n_groups)
    V = moments.marginal_covariance(Z, m.D, m.sigma2)
    close(V, Z @ m.D @ Z.T + m.sigma2 * np.eye(len(Z)), 1e-14)
    close(moments.precision(Z, m.D, m.sigma2) @ V, np.eye(len(Z)), 1e-10)
    assert_allclose(moments.log_determinant(Z, m.D, m.sigma2), np.linalg.slogdet(V)[1], rtol=1e-11, atol=1e-11)
    close(np.diag(V), moments.variance_function(Z, m.D, m.sigma2), 1e-13)
    close(V - m.sigma2 * np.eye(len(Z)) + 1, moments.covariance_function(Z, Z, m.D) + 1, 1e-13)


@given(models())
def test_cross_products_are_those_of_the_columns(m):
    cross, d = m.cross, m.design
    y_all, X_all, Z_all = d.standard_rows(d.y)
    root = np.ones(d.n_obs) if d.weights is None else np.sqrt(d.weights)
    assert_allclose(y_all, root * (d.y - (0 if d.offset is None else d.offset)), rtol=1e-12)
    assert_allclose(np.c_[X_all, Z_all], root[:, None] * np.c_[d.X, d.Z], rtol=1e-14)
    assert_allclose(cross.log_weights, 2 * np.log(root).sum(), atol=1e-12)
    close(cross.XtX, X_all.T @ X_all, 1e-13)
    close(cross.Xty, X_all.T @ y_all, 1e-12)
    assert_allclose(cross.yty, y_all @ y_all, rtol=1e-12)
    for i in range(d.n_groups):
        y, X, Z = (part[d.rows(i)] for part in (y_all, X_all, Z_all))
        close(cross.ZtZ[i], Z.T @ Z, 1e-12)
        close(cross.ZtX[i], Z.T @ X, 1e-12)
        close(cross.Zty[i], Z.T @ y, 1e-11)
        assert cross.n_i[i] == len(y) == d.n_i[i]


@settings(max_examples=6)
@given(models(definite=True, diagonal=st.just(False), least_groups=2))
def test_derivatives_are_derivatives(m):
    """Scores and observed information against scipy's adaptive numerical differentiation."""
    from scipy.differentiate import jacobian

    cross, q = m.cross, len(m.D)
    cells = [(a, b) for b in range(q) for a in range(b, q)]

    def split(alpha):
        D = np.zeros((q, q))
        for value, (a, b) in zip(alpha[:-1], cells, strict=True):
            D[a, b] = D[b, a] = value
        return D, alpha[-1]

    def over_points(function):
        return lambda x: np.apply_along_axis(function, 0, x)

    alpha = np.array([m.D[c] for c in cells] + [m.sigma2])
    # Steps stay inside the positive definite matrices: D = A A' + 0.2 I.
    options = {"initial_step": 0.02, "order": 8, "tolerances": {"rtol": 1e-10, "atol": 1e-10}}
    for method, likelihood in (("ML", equations.profile_loglik), ("REML", equations.restricted_loglik)):
        slope = jacobian(over_points(lambda a, f=likelihood: np.array([f(cross, *split(a))])), alpha, **options)
        # Numerical differentiation of a value near 100 leaves about 10 digits.
        assert_allclose(score_variance(cross, m.D, m.sigma2, method=method), slope.df[0], rtol=1e-6, atol=1e-7)
        curve = jacobian(over_points(lambda a, f=method: score_variance(cross, *split(a), method=f)), alpha, **options)
        close(information_variance(cross, m.D, m.sigma2, method=method, kind="observed"), -curve.df, 1e-7)
    beta = np.linspace(-1, 1, len(m.design.x_names))
    args = (m.D, m.sigma2)
    slope = jacobian(over_points(lambda b: np.array([equations.loglik(cross, b, *args)])), beta)
    close(equations.score_beta(cross, beta, *args), slope.df[0], 1e-7)
    curve = jacobian(over_points(lambda b: equations.score_beta(cross, b, *args)), beta)
    close(equations.information_beta(cross, *args), -curve.df, 1e-7)
