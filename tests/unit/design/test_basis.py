"""The working basis: X = X~ R with orthogonal columns, and sums that can be turned back."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.design.basis import CHUNK, PER_GROUP, Basis, Sums, dependent, divide, triangle

RNG = np.random.default_rng(5)
YEARS = np.column_stack([np.ones(20), 2000.0 + np.arange(20)])


@pytest.mark.parametrize("M", [RNG.normal(size=(20, 3)), YEARS, YEARS * [1, 1e-9]], ids=["random", "years", "small"])
def test_triangle_gives_orthogonal_columns_of_mean_square_one(M):
    R = triangle(M)
    work = divide(M, R)
    assert_allclose(work.T @ work / len(M), np.eye(M.shape[1]), atol=1e-9)
    # Row by row, R turns the working columns back into those of the formula.
    assert_allclose(work @ R, M, rtol=1e-12)
    assert_allclose(np.tril(R, -1), 0)


@pytest.mark.parametrize("column", [np.zeros(20), np.ones(20), 3 * YEARS[:, 1]], ids=["zero", "copy", "multiple"])
def test_triangle_of_dependent_columns_can_be_divided_by(column):
    M = np.column_stack([YEARS, column])
    R = triangle(M)
    assert (np.diag(R) != 0).all()
    assert_allclose(divide(M, R) @ R, M, rtol=1e-9, atol=1e-9)


def test_no_columns_and_fewer_rows_than_columns():
    assert triangle(np.zeros((5, 0))).shape == (0, 0)
    assert divide(np.zeros((5, 0)), np.zeros((0, 0))).shape == (5, 0)
    M = RNG.normal(size=(2, 3))
    assert_allclose(divide(M, triangle(M)) @ triangle(M), M, rtol=1e-12)


def sums(y, X, Z, group):
    return Sums.of(y, X, Z, group, 3)


def test_sums_of_changed_columns():
    y, X, Z, group = RNG.normal(size=12), RNG.normal(size=(12, 2)), RNG.normal(size=(12, 2)), np.repeat([2, 0, 1], 4)
    Mz, Mx, d = RNG.normal(size=(2, 2)), RNG.normal(size=(2, 2)), RNG.normal(size=2)
    ours, direct = sums(y, X, Z, group).change(Mz, Mx, d), sums(y + X @ d, X @ Mx, Z @ Mz, group)
    for name in ("ZtZ", "ZtX", "Zty", "XtX", "Xty", "yty"):
        assert_allclose(getattr(ours, name), getattr(direct, name), rtol=1e-11, atol=1e-12, err_msg=name)


def test_sums_in_one_pass_equal_the_loops():
    y, X, Z, group = RNG.normal(size=12), RNG.normal(size=(12, 2)), RNG.normal(size=(12, 3)), np.tile([2, 0, 1], 4)
    s = sums(y, X, Z, group)
    for i in range(3):
        rows = group == i
        assert_allclose(s.ZtZ[i], Z[rows].T @ Z[rows], rtol=1e-13, atol=1e-14)
        assert_allclose(s.ZtX[i], Z[rows].T @ X[rows], rtol=1e-13, atol=1e-14)
        assert_allclose(s.Zty[i], Z[rows].T @ y[rows], rtol=1e-13, atol=1e-14)


def test_basis_takes_the_least_squares_fit_out_of_y():
    y = 7 + 0.3 * YEARS[:, 1] + 1e-3 * RNG.normal(size=20)
    basis = Basis.of(y, YEARS, YEARS[:, :1])
    left = y - YEARS @ basis.beta0
    assert np.abs(left).max() < 0.01


def test_more_rows_than_one_chunk():
    """Rows are taken a chunk at a time, in whatever order the groups come; years lose no digits by it."""
    N, n = 2 * CHUNK + 77, 50
    year, group = 1900.0 + RNG.integers(0, 100, N), RNG.integers(0, n, N)
    X = np.column_stack([np.ones(N), year])
    y, Z = 3 + 0.01 * year + RNG.normal(size=N), X.copy()
    basis = Basis.of(y, X, Z)
    assert_allclose(np.abs(basis.Rx), np.abs(np.linalg.qr(X, mode="r")) / np.sqrt(N), rtol=1e-11)
    assert_allclose(basis.beta0, np.linalg.lstsq(X, y)[0], rtol=1e-9)
    v, W, U = basis.turn(y, X, Z)
    ours, at_once = Sums.of(y, X, Z, group, n, basis), Sums.of(v, W, U, group, n)
    for name in ("ZtZ", "ZtX", "Zty", "XtX", "Xty", "yty"):
        scale = np.abs(getattr(at_once, name)).max()
        assert_allclose(getattr(ours, name), getattr(at_once, name), rtol=1e-11, atol=1e-9 * scale, err_msg=name)
    for i in (0, n - 1):
        rows = group == i
        assert_allclose(ours.ZtX[i], U[rows].T @ W[rows], rtol=1e-11, atol=1e-9)


def test_one_array_as_both_sides_is_summed_as_two_would_be():
    y, X, group = RNG.normal(size=12), RNG.normal(size=(12, 2)), np.tile([2, 0, 1], 4)
    basis = Basis.of(y, X, X)
    one, two = Sums.of(y, X, X, group, 3, basis), Sums.of(y, X, X.copy(), group, 3, Basis.of(y, X, X.copy()))
    for name in ("ZtZ", "ZtX", "Zty", "XtX", "Xty", "yty"):
        assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-14, atol=1e-15, err_msg=name)


def test_a_dependent_column_is_known_by_the_length_of_all_its_rows():
    """Here the last chunk has only zeros."""
    column = np.where(np.arange(CHUNK + 10) < 100, 3.0, 0.0)
    R = triangle(np.column_stack([column, 2 * column]))
    assert R[1, 1] == pytest.approx(R[0, 1] * np.sign(R[0, 1]))


@pytest.mark.parametrize("n_rows", [6, 40])
def test_dependent_columns_are_those_that_are_left_out_one_by_one(n_rows):
    """Of random columns with copies, sums, zeros and constants, in any order, against the rank of the rows."""
    rng = np.random.default_rng(n_rows)
    for _ in range(200):
        made = [np.ones(n_rows), *rng.normal(size=(3, n_rows)) * 10.0 ** rng.integers(-6, 6, size=(3, 1))]
        made += [3 * made[1], made[1] / np.abs(made[1]).max() - 2 * made[2] / np.abs(made[2]).max(), np.zeros(n_rows)]
        made += [made[3] * 1e3, np.full(n_rows, -7.0)]
        X = np.column_stack([made[k] for k in rng.permutation(len(made))])
        unit = X / np.where(X.any(axis=0), np.linalg.norm(X, axis=0), 1.0)
        ranks = [np.linalg.matrix_rank(unit[:, :k], tol=1e-9) for k in range(X.shape[1] + 1)]
        R = triangle(X)
        work = divide(X, R)
        lost, weights = dependent(R, work.T @ work / n_rows)
        assert list(lost) == list(np.flatnonzero(np.diff(ranks) == 0))
        assert not weights[lost].any()
        kept = np.delete(work, lost, axis=1)
        assert_allclose(kept.T @ kept / n_rows, np.eye(kept.shape[1]), atol=1e-6)
        assert (np.abs(X @ weights - X[:, lost]) <= 1e-9 * (np.abs(X) @ np.abs(weights))).all()


@pytest.mark.parametrize("p, q", [(3, 2), (1, 1), (0, 0), (2, 4)])
def test_what_the_working_basis_takes_it_gives_back(p, q):
    """Back is the inverse of work, and both say of the columns what R says: X beta and Z D Z' stay as they are."""
    y, X, Z = RNG.normal(size=20), 100 + RNG.normal(size=(20, p)), RNG.normal(size=(20, q)) * 10.0 ** -np.arange(q)
    basis = Basis.of(y, X, Z)
    left, X_work, Z_work = basis.turn(y, X, Z)
    assert_allclose(basis.x_work(X), X_work)
    assert_allclose(basis.z_work(Z), Z_work)
    beta, b, A = RNG.normal(size=(5, 2, p)), RNG.normal(size=(2, 5, q)), RNG.normal(size=(5, q, q))
    D = A @ np.swapaxes(A, 1, 2)
    for one in (beta, beta[0], beta[0, 0]):
        assert_allclose(basis.beta_back(basis.beta_work(one)), one, rtol=1e-9, atol=1e-12)
    assert_allclose(left[:, None] - X_work @ basis.beta_work(beta[:, 0]).T, y[:, None] - X @ beta[:, 0].T, atol=1e-9)
    for one in (b, b[0], b[0, 0]):
        assert_allclose(basis.b_back(one) @ Z.T, one @ Z_work.T, atol=1e-12)
    assert_allclose(Z_work @ basis.D_work(D) @ Z_work.T, Z @ D @ Z.T, rtol=1e-9, atol=1e-12)
    assert_allclose(basis.D_back(basis.D_work(D)), D, rtol=1e-9, atol=1e-14)
    assert_allclose(basis.L_back(basis.Rz @ A[0]), A[0], rtol=1e-9, atol=1e-14)
    cov = np.einsum("sij,sik->sjk", RNG.normal(size=(4, 6, p)), RNG.normal(size=(4, 6, p)))
    assert_allclose(X @ basis.cov_beta_back(cov) @ X.T, X_work @ cov @ X_work.T, rtol=1e-7, atol=1e-9)
    assert_allclose(basis.x_back @ basis.Rx, np.eye(p), atol=1e-9)
    assert_allclose(basis.z_back @ basis.Rz, np.eye(q), atol=1e-12)
    assert_allclose(basis.z_size, np.sqrt((Z**2).mean(axis=0)))
    assert_allclose(2 * basis.logdet_x, np.linalg.slogdet(X.T @ X / 20)[1], atol=1e-8)


@pytest.mark.parametrize("diagonal", [False, True])
def test_coordinates_of_theta(diagonal):
    Z = RNG.normal(size=(20, 3)) * [1, 1e-3, 1e3]
    basis = Basis.of(RNG.normal(size=20), np.ones((20, 1)), Z)
    B = basis.theta_coordinates(diagonal)
    if diagonal:
        D = basis.D_back(np.einsum("kab,kcb->kac", B, B))
        assert_allclose(D, np.einsum("k,ka,kb->kab", basis.z_size**-2, np.eye(3), np.eye(3)), atol=1e-12)
    else:
        pairs = np.array([np.unravel_index(np.argmax(one), (3, 3)) for one in B]).tolist()
        assert pairs == [[0, 0], [1, 0], [2, 0], [1, 1], [2, 1], [2, 2]]
        assert (B.sum(axis=(1, 2)) == 1).all()


def test_an_entry_of_all_groups_lies_side_by_side_in_memory():
    """In whatever way the sums come about: what is computed of them runs along the groups."""
    y, X, Z, group = RNG.normal(size=24), RNG.normal(size=(24, 2)), RNG.normal(size=(24, 3)), np.tile([2, 0, 1], 8)
    one, basis = sums(y, X, Z, group), Basis.of(y, X, Z)
    ways = {
        "of": one,
        "of, X and Z the same": sums(y, X, X, group),
        "of, in a basis": Sums.of(y, X, Z, group, 3, basis),
        "change": one.change(np.eye(3), np.eye(2), np.zeros(2)),
        "moved": one.moved(Basis(np.eye(2), np.eye(3), np.zeros(2)), basis),
        "joined": Sums.joined([one, one.change(np.eye(3), np.eye(2), np.zeros(2))], [[3, 0, 2], [0, 1, 2]], 4),
        "by hand": Sums(*(np.ones((3, *shape)) for shape in ((3, 3), (3, 2), (3,))), np.eye(2), np.ones(2), 1.0),
        "repeated": Sums(*(np.concatenate([M, M]) for M in (one.ZtZ, one.ZtX, one.Zty)), one.XtX, one.Xty, one.yty),
    }
    for way, made in ways.items():
        for key in PER_GROUP:
            assert getattr(made, key).strides[0] == 8, (way, key)
