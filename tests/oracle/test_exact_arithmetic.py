"""GLS in exact rational arithmetic, where D is large beside sigma2 and doubles lose digits."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import equations


def solve(A, B):
    """A^-1 B by Gauss-Jordan elimination, exact for fractions."""
    n = len(A)
    M = [list(a) + list(b) for a, b in zip(A, B, strict=True)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if M[r][i])
        M[i], M[pivot] = M[pivot], M[i]
        M[i] = [v / M[i][i] for v in M[i]]
        for r in range(n):
            if r != i and M[r][i]:
                M[r] = [a - M[r][i] * b for a, b in zip(M[r], M[i], strict=True)]
    return [row[n:] for row in M]


def rational(array):
    """Doubles as the fractions that they are."""
    return [[Fraction(v) for v in row] for row in np.atleast_2d(array).tolist()]


def exact_gls(design, D, sigma2):
    """Sums of X'V^-1X and X'V^-1y over groups, for X = Z, and their solution."""
    D, q = rational(D), range(len(D))
    A, b = [[Fraction(0)] * len(D) for _ in q], [[Fraction(0)] for _ in q]
    for i in range(design.n_groups):
        y, X, _ = design.group_rows(i)
        X, y = rational(X), rational(y)[0]
        rows = range(len(X))
        V = [
            [sum(X[j][a] * D[a][c] * X[k][c] for a in q for c in q) + (Fraction(sigma2) if j == k else 0) for k in rows]
            for j in rows
        ]
        W = solve(V, [x + [value] for x, value in zip(X, y, strict=True)])
        for a in q:
            for c in q:
                A[a][c] += sum(X[k][a] * W[k][c] for k in rows)
            b[a][0] += sum(X[k][a] * W[k][-1] for k in rows)
    identity = [[Fraction(int(a == c)) for c in q] for a in q]
    return np.array(solve(A, b), float)[:, 0], np.array(solve(A, identity), float)


@pytest.fixture(scope="module")
def design():
    """Groups of one to five rows: with one row, Z_i'Z_i is singular."""
    rng = np.random.default_rng(8)
    sizes = [4, 1, 5, 3, 4, 2, 5]
    week = np.concatenate([np.arange(k) + 0.5 * (k % 2) for k in sizes])
    X = np.column_stack([np.ones(len(week)), week])
    return lmmlib.Design.from_arrays(25 - week + rng.normal(size=len(week)), X, X, np.repeat(range(7), sizes))


# X'V^-1X is what is left of X'X / sigma2 when 1 - sigma2 / D of it is taken away: digits go as D / sigma2 grows.
@pytest.mark.parametrize(("ratio", "rtol"), [(0.01, 1e-13), (1.0, 1e-13), (1e2, 1e-11), (1e4, 1e-9), (1e6, 1e-7)])
def test_gls(design, ratio, rtol):
    D, sigma2 = ratio * np.array([[1.5, 0.25], [0.25, 0.5]]), 1.0
    result = equations.gls(lmmlib.cross_products(design), D, sigma2)
    beta, cov = exact_gls(design, D, sigma2)
    assert_allclose(result.beta, beta, rtol=rtol)
    assert_allclose(result.cov, cov, rtol=rtol)


def test_gls_with_a_singular_D(design):
    D = np.array([[4.0, 2.0], [2.0, 1.0]])
    result = equations.gls(lmmlib.cross_products(design), D, 0.5)
    beta, cov = exact_gls(design, D, 0.5)
    assert_allclose(result.beta, beta, rtol=1e-13)
    assert_allclose(result.cov, cov, rtol=1e-13)
