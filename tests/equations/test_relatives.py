"""Relatives: both sides of each formula at random inputs; relationships by counting the ways of genes, not by rules."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import norm

import lmmlib
from lmmlib.several.relationship import pedigree


def parents_of(rng, n=12, founders=4, unknown=0.2):
    """(sire, dam) of each animal by its number, -1 if unknown; parents come first, and the two differ."""
    rows = [(-1, -1)] * founders
    for i in range(founders, n):
        pair = rng.choice(i, 2, replace=False)
        rows.append(tuple(int(p) if rng.random() > unknown else -1 for p in pair))
    return np.array(rows)


def frame_of(parents):
    return pd.DataFrame(parents, columns=["sire", "dam"], dtype=object).where(parents >= 0, None)


def relationship(parents):
    """A as lmmlib has it, in the order of the numbers."""
    known = pedigree(frame_of(parents))
    at = [known.names.index(i) for i in range(len(parents))]
    return known.A[np.ix_(at, at)]


def delta_of(parents, A):
    return np.array([1 - sum(A[p, p] for p in pair if p >= 0) / 4 for pair in parents])


def T_of(parents):
    T = np.eye(len(parents))
    for i, pair in enumerate(parents):
        for p in pair[pair >= 0]:
            T[i, p] = -0.5
    return T


def ways(parents):
    """Every way in which one gene can come down, (ways, animals, copies): the founder copy that each animal has.

    An unknown parent is a founder of its own. All ways have one probability.
    """
    known = int((parents >= 0).sum())
    out = []
    for coins in product((0, 1), repeat=known):
        toss, new, copies = iter(coins), 0, np.empty((len(parents), 2), int)
        for i, pair in enumerate(parents):
            for side, p in enumerate(pair):
                if p < 0:
                    copies[i, side], new = new, new + 1
                else:
                    copies[i, side] = copies[p, next(toss)]
        out.append(copies)
    return np.array(out)


def counted(copies):
    """Incidence of founder copies, (ways, animals, founder copies): breeding values are it times effects."""
    return np.eye(copies.max() + 1)[copies].sum(axis=2)


@pytest.fixture
def small(rng):
    """Seven animals, of whom parents are related, and all ways of a gene."""
    parents = np.array([(-1, -1), (-1, -1), (0, 1), (0, 1), (2, 3), (4, -1), (4, 2)])
    return parents, counted(ways(parents))


@pytest.fixture
def herd(rng):
    """Parents, A, and records of some animals: X, Z, y, sigma2, sigma_a2."""
    parents = parents_of(rng, 16)
    A, sigma2, sigma_a2 = relationship(parents), rng.uniform(0.5, 2), rng.uniform(0.5, 2)
    who = rng.choice(np.arange(2, 16), 24)
    Z = np.eye(16)[who]
    X = np.column_stack([np.ones(24), rng.normal(size=24)])
    a = np.linalg.cholesky(A) @ rng.normal(size=16) * np.sqrt(sigma_a2)
    y = X @ [1.0, 0.5] + Z @ a + np.sqrt(sigma2) * rng.normal(size=24)
    return parents, A, X, Z, y, sigma2, sigma_a2


def solved(A, X, Z, y, ratio):
    """The equations as they are printed: solution, and inverse of the matrix."""
    left = np.block([[X.T @ X, X.T @ Z], [Z.T @ X, Z.T @ Z + ratio * np.linalg.inv(A)]])
    return np.linalg.solve(left, np.concatenate([X.T @ y, Z.T @ y])), np.linalg.inv(left)


def test_breeding_value(small):
    """`def-breeding-value`, `breeding-value`, `relationship-matrix`: m is uncorrelated with all who are older."""
    parents, count = small
    A = np.einsum("wik,wjk->ij", count, count) / len(count) / 2  # effects of variance 1/2, so that sigma_a2 = 1
    T = T_of(parents)
    m = np.einsum("ij,wjk->wik", T, count)
    covariance = np.einsum("wik,wjk->ij", m, m) / len(m) / 2
    assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-12)
    assert_allclose(A[:2, :2], np.eye(2))
    assert_allclose(A, relationship(parents))


def test_mendelian_variance(small):
    """`thm-mendelian`, `mendelian-variance`, with inbred parents and one that is unknown; and the mean of m is zero."""
    parents, count = small
    A = np.einsum("wik,wjk->ij", count, count) / len(count) / 2
    m = np.einsum("ij,wjk->wik", T_of(parents), count)
    assert_allclose((m**2).sum(axis=2).mean(axis=0) / 2, delta_of(parents, A))
    assert A[4, 4] == 1.25 and delta_of(parents, A)[5] == 1 - 1.25 / 4


def test_tabular(small):
    """`thm-tabular`, `tabular-method`."""
    parents, count = small
    A = np.einsum("wik,wjk->ij", count, count) / len(count) / 2
    for i, pair in enumerate(parents):
        known = pair[pair >= 0]
        assert_allclose(A[i, :i], A[known, :i].sum(axis=0) / 2)
        assert_allclose(A[i, i], 1 + (A[tuple(known)] / 2 if len(known) == 2 else 0))


def test_pedigree_inverse(rng):
    """`thm-pedigree-inverse`, `pedigree-inverse`: products, the sum over animals, and what lmmlib has."""
    parents = parents_of(rng)
    A, T = relationship(parents), T_of(parents)
    delta = delta_of(parents, A)
    assert_allclose(T @ A @ T.T, np.diag(delta), atol=1e-12)
    inverse = T.T @ np.diag(1 / delta) @ T
    assert_allclose(inverse @ A, np.eye(len(A)), atol=1e-10)
    assert_allclose(inverse, sum(np.outer(t, t) / d for t, d in zip(T, delta, strict=True)))
    assert_allclose(np.linalg.slogdet(A)[1], np.log(delta).sum())
    known = pedigree(frame_of(parents))
    at = [known.names.index(i) for i in range(len(parents))]
    assert_allclose(known.Q.toarray()[np.ix_(at, at)], inverse, atol=1e-12)
    assert_allclose(known.logdet, np.log(delta).sum())


def restricted(V, X, y):
    """The restricted log-likelihood with its constants, as chapter 5 has it."""
    information = X.T @ np.linalg.solve(V, X)
    r = y - X @ np.linalg.solve(information, X.T @ np.linalg.solve(V, y))
    logdets = np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
    return -(logdets + r @ np.linalg.solve(V, r) + (len(y) - X.shape[1]) * np.log(2 * np.pi)) / 2


def test_animal_model(herd):
    """`def-animal-model`, `animal-model`, `heritability`: the likelihood that lmmlib maximises is that of this V."""
    parents, A, X, Z, y, _, _ = herd
    frame = pd.DataFrame({"y": y, "x": X[:, 1], "animal": Z.argmax(axis=1)})
    fit = lmmlib.fit("y ~ x + (1 | animal)", frame, relationship={"animal": frame_of(parents)})
    sigma_a2 = fit.D[0].iloc[0, 0]
    assert_allclose(restricted(sigma_a2 * Z @ A @ Z.T + fit.sigma2 * np.eye(len(y)), X, y), fit.loglik, rtol=1e-7)
    h2 = sigma_a2 / (sigma_a2 + fit.sigma2)
    assert_allclose(1 / (1 + fit.sigma2 / sigma_a2) if sigma_a2 else 0.0, h2)


def test_animal_equations(herd):
    """`thm-animal-equations`, `animal-equations`: GLS, the BLUP and its error by N x N matrices."""
    _, A, X, Z, y, sigma2, sigma_a2 = herd
    found, inverse = solved(A, X, Z, y, sigma2 / sigma_a2)
    V = sigma_a2 * Z @ A @ Z.T + sigma2 * np.eye(len(y))
    Phi = np.linalg.inv(X.T @ np.linalg.solve(V, X))
    beta = Phi @ X.T @ np.linalg.solve(V, y)
    S = sigma_a2 * A @ Z.T @ np.linalg.inv(V)
    assert_allclose(found, np.concatenate([beta, S @ (y - X @ beta)]), rtol=1e-8, atol=1e-10)
    error = sigma_a2 * A - S @ Z @ A * sigma_a2 + S @ X @ Phi @ X.T @ S.T
    assert_allclose(sigma2 * inverse[2:, 2:], error, rtol=1e-7, atol=1e-10)


def test_reliability(herd):
    """`reliability`: the squared correlation of prediction and truth, from the linear map that the prediction is."""
    _, A, X, Z, y, sigma2, sigma_a2 = herd
    V = sigma_a2 * Z @ A @ Z.T + sigma2 * np.eye(len(y))
    W = np.linalg.inv(V)
    C = sigma_a2 * A @ Z.T @ (W - W @ X @ np.linalg.solve(X.T @ W @ X, X.T @ W))
    covariance, variance = np.diag(C @ Z @ A) * sigma_a2, np.diag(C @ V @ C.T)
    _, inverse = solved(A, X, Z, y, sigma2 / sigma_a2)
    by_error = 1 - sigma2 * np.diag(inverse)[2:] / (sigma_a2 * np.diag(A))
    assert_allclose(covariance**2 / (variance * sigma_a2 * np.diag(A)), by_error, rtol=1e-7, atol=1e-10)


def test_three_sources(herd):
    """`thm-three-sources`, `three-sources`, for all animals; and without records or children the parents' mean."""
    parents, A, X, Z, y, sigma2, sigma_a2 = herd
    ratio = sigma2 / sigma_a2
    found, _ = solved(A, X, Z, y, ratio)
    a, rest, delta = np.append(found[2:], 0.0), y - X @ found[:2], delta_of(parents, A)
    who = Z.argmax(axis=1)
    for i, (s, d) in enumerate(parents):
        children = [c for c in range(len(parents)) if i in parents[c]]
        mates = [parents[c][parents[c] != i][0] for c in children]
        weight = (who == i).sum() / ratio + 1 / delta[i] + sum(1 / (4 * delta[c]) for c in children)
        right = rest[who == i].sum() / ratio + (a[s] + a[d]) / (2 * delta[i])
        right += sum((2 * a[c] - a[mate]) / (4 * delta[c]) for c, mate in zip(children, mates, strict=True))
        assert_allclose(weight * a[i], right, rtol=1e-8, atol=1e-10)
        if not children and i not in who:
            assert_allclose(a[i], (a[s] + a[d]) / 2, atol=1e-10)


def test_progeny_test(rng):
    """`thm-progeny-test`, `progeny-test`: the regression on all records, by their matrix."""
    n, h2, mu = int(rng.integers(2, 9)), rng.uniform(0.1, 0.9), rng.normal()
    y, k = rng.normal(size=n), (4 - h2) / h2
    A = relationship(np.array([(-1, -1)] + [(0, -1)] * n))
    V = A[1:, 1:] + (1 - h2) / h2 * np.eye(n)  # over sigma_a2
    weights = np.linalg.solve(V, A[1:, 0])
    assert_allclose(weights @ (y - mu), 2 * n / (n + k) * (y.mean() - mu))
    assert_allclose(weights @ A[1:, 0], n / (n + k))


def test_sire_model(rng):
    """`thm-sire-model`, `sire-model`: the covariance of records, and twice the sires' effects."""
    sire = np.sort(rng.integers(0, 4, 15))
    parents = np.array([(-1, -1)] * 4 + [(s, -1) for s in sire])
    sigma_a2, sigma2 = rng.uniform(0.5, 2, 2)
    A, S = relationship(parents), np.eye(4)[sire]
    sigma_s2, sigma_e2 = sigma_a2 / 4, 0.75 * sigma_a2 + sigma2
    V = sigma_a2 * A[4:, 4:] + sigma2 * np.eye(15)
    assert_allclose(V, sigma_s2 * S @ S.T + sigma_e2 * np.eye(15))
    assert_allclose(sigma_a2 * A[:4, 4:], 2 * sigma_s2 * S.T)
    assert_allclose(4 * sigma_s2 / (sigma_s2 + sigma_e2), sigma_a2 / (sigma_a2 + sigma2))


def test_variance_ratio(rng):
    """`thm-variance-ratio`, `variance-ratio`: Q by GLS is the sum over rotated contrasts, and falls."""
    N, gamma = 20, rng.uniform(0.1, 2)
    X, Z = np.column_stack([np.ones(N), rng.normal(size=N)]), np.eye(6)[rng.integers(0, 6, N)]
    y = rng.normal(size=N)
    K = np.linalg.svd(X)[0][:, 2:]
    kappa, U = np.linalg.eigh(K.T @ Z @ Z.T @ K)
    w, positive = (K @ U).T @ y, kappa > 1e-10
    both = np.column_stack([X, Z])
    assert positive.sum() == np.linalg.matrix_rank(both) - 2
    assert_allclose(((y - both @ np.linalg.lstsq(both, y, rcond=None)[0]) ** 2).sum(), (w[~positive] ** 2).sum())
    values = []
    for g in (gamma, 2 * gamma):
        V = np.eye(N) + g * Z @ Z.T
        r = y - X @ np.linalg.solve(X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, y))
        values.append(r @ np.linalg.solve(V, r))
        assert_allclose(values[-1], (w**2 / (1 + g * np.where(positive, kappa, 0))).sum())
        # The covariance of w at this ratio is diagonal: both sums are of independent squares.
        assert_allclose((K @ U).T @ V @ (K @ U), np.diag(1 + g * np.where(positive, kappa, 0)), atol=1e-10)
    assert values[1] < values[0]


def test_permanent_environment(rng):
    """`permanent-environment`: the likelihood of two terms of one animal; the correlation of its records."""
    parents = parents_of(rng, 14)
    A, who = relationship(parents), np.repeat(np.arange(4, 14), 3)
    Z, X = np.eye(14)[who], np.ones((30, 1))
    a = np.linalg.cholesky(A) @ rng.normal(size=14)
    y = Z @ (a + rng.normal(size=14)) + rng.normal(size=30)
    frame = pd.DataFrame({"y": y, "animal": who, "again": who})
    fit = lmmlib.fit("y ~ 1 + (1 | animal) + (1 | again)", frame, relationship={"animal": frame_of(parents)})
    sigma_a2, sigma_c2 = (fit.D[k].iloc[0, 0] for k in (0, 1))
    V = sigma_a2 * Z @ A @ Z.T + sigma_c2 * Z @ Z.T + fit.sigma2 * np.eye(30)
    assert_allclose(restricted(V, X, y), fit.loglik, rtol=1e-7)
    founder = np.flatnonzero(np.diag(A)[who] == 1)[0]
    repeatability = (sigma_a2 + sigma_c2) / (sigma_a2 + sigma_c2 + fit.sigma2)
    assert_allclose(V[founder, founder + 1] / V[founder, founder], repeatability)


def test_selection(rng):
    """`thm-selection`, `selection-response`: the mean above a quantile; what rules promise and hold."""
    share, r, sigma_a = rng.uniform(0.02, 0.5), rng.uniform(0.3, 0.9), rng.uniform(0.5, 2)
    z = norm.isf(share)
    above = quad(lambda u: u * norm.pdf(u), z, np.inf)[0] / share
    assert_allclose(above * r * sigma_a, norm.pdf(z) / share * r * sigma_a, rtol=1e-7)
    reliability = np.repeat(rng.uniform(0.05, 0.95, 10), 20)
    hat = np.sqrt(reliability) * rng.normal(size=(3000, 200))
    truth = hat + np.sqrt(1 - reliability) * rng.normal(size=hat.shape)
    gains = []
    for score in (hat, hat / reliability):
        top = np.argsort(-score, axis=1)[:, :10]
        gain, said = (np.take_along_axis(v, top, 1).mean(axis=1) for v in (truth, hat))
        assert abs((gain - said).mean()) < 4 * (gain - said).std() / np.sqrt(3000)
        gains.append(said.mean())
    assert gains[0] > gains[1]


def test_genomic_relationship(small, rng):
    """`genomic-relationship`: its mean over founder copies and coins is A, place by place."""
    parents, count = small
    share = rng.uniform(0.1, 0.9)
    # Copies of the variant are counts of founder copies that are it; these are independent, of variance pi (1 - pi).
    covariance = np.einsum("wik,wjk->ij", count, count) / len(count) * share * (1 - share)
    assert_allclose(covariance / (2 * share * (1 - share)), relationship(parents))
