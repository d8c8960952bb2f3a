"""Many fits at once: each equals the single fit, whatever else is in the batch, and failures say why."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.equations import pieces
from lmmlib.errors import DataError, DesignError, ParameterError
from lmmlib.fitting import batch
from lmmlib.lmm.fit import fit_design

SIZES = [4, 1, 5, 3, 6, 2, 5, 4, 7, 3, 4, 5]


def random_design(q, diagonal=False, seed=1):
    """Twelve groups of 1 to 7 rows in a mixed order, two fixed effects."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    N = len(group)
    x = rng.normal(size=N)
    Z = np.column_stack([np.ones(N), x, rng.normal(size=N)])[:, :q]
    return lmmlib.Design.from_arrays(rng.normal(size=N), np.column_stack([np.ones(N), x]), Z, group, diagonal=diagonal)


def responses(design, B=6, seed=2):
    """From models with much, little and no variance of the random effects, so that some D are singular."""
    rng = np.random.default_rng(seed)
    b = rng.normal(size=(design.n_groups, design.Z.shape[1], B)) * np.resize([1.5, 0.5, 0.0], B)
    mean = design.X @ rng.normal(size=(2, B))
    return mean + np.einsum("na,nab->nb", design.Z, b[design.group]) + rng.normal(size=(design.n_obs, B))


def assert_same(fits, k, one, rtol=1e-7):
    """Column k is the single fit. theta is found to the square root of what the criterion is."""
    assert_allclose(fits.criterion[k], one.criterion, rtol=1e-12, atol=1e-10)
    assert_allclose(fits.beta[k], one.beta, rtol=rtol, atol=1e-9 * one.beta.abs().max())
    assert_allclose(fits.cov_beta[k], one.cov_beta, rtol=rtol, atol=1e-9 * one.se.max() ** 2)
    assert_allclose(fits.se[k], one.se, rtol=rtol)
    assert_allclose(fits.sigma2[k], one.sigma2, rtol=rtol)
    assert_allclose(fits.D[k], one.D, rtol=1e-5, atol=1e-6 * one.sigma2)
    assert fits.is_singular[k] == one.is_singular and fits.converged[k] == one.converged
    assert not fits.failed[k] and fits.reason[k] == one.reason


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize(("q", "diagonal"), [(0, False), (1, False), (2, False), (2, True), (3, False), (3, True)])
def test_every_column_is_the_single_fit(q, diagonal, method):
    design = random_design(q, diagonal)
    Y = responses(design)
    fits = lmmlib.fit_many(design, Y, method=method)
    for k, y in enumerate(Y.T):
        assert_same(fits, k, fit_design(design.with_response(y), method=method))
    assert fits.method == method and len(fits) == 6 and fits.converged.all()
    if q:
        assert 0 < fits.is_singular.sum() < 6
        # theta is a factor of D over sigma2, column by column.
        Lambda = np.zeros((6, q, q))
        cells = [(a, b) for b in range(q) for a in ([b] if diagonal else range(b, q))]
        for k, (a, b) in enumerate(cells):
            Lambda[:, a, b] = fits.theta[:, k]
        D = fits.sigma2[:, None, None] * (Lambda @ np.swapaxes(Lambda, 1, 2))
        assert_allclose(D, fits.D, atol=1e-6 * np.abs(fits.D).max())


def test_the_response_of_the_design_is_not_used():
    design = random_design(2)
    Y = responses(design)
    one, other = lmmlib.fit_many(design, Y), lmmlib.fit_many(design.with_response(1e5 + 3 * design.y), Y)
    assert_allclose(other.criterion, one.criterion, rtol=1e-12)
    assert_allclose(other.beta, one.beta, rtol=1e-7)


@pytest.mark.parametrize("room", [1, 8 * 12 * 2 * 5, 10**9])
def test_chunks_keep_the_columns_in_order(monkeypatch, room):
    design = random_design(2)
    Y = responses(design, 11)
    Y[4, [2, 3]] = np.nan  # with one column in a chunk these chunks are empty
    whole, calls, solve = lmmlib.fit_many(design, Y), [], batch.solve
    monkeypatch.setattr(batch, "ROOM", room)
    monkeypatch.setattr(batch, "solve", lambda *a: (calls.append(len(a[1])), solve(*a))[1])
    parts = lmmlib.fit_many(design, Y)
    assert calls == {1: [1] * 9, 8 * 12 * 2 * 5: [6, 3], 10**9: [9]}[room]
    for name in ("beta", "cov_beta", "D", "sigma2", "theta", "loglik"):
        assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6, atol=1e-7)
    assert parts.failed.tolist() == whole.failed.tolist() == [k in (2, 3) for k in range(11)]
    assert parts.reason == whole.reason
    for k in (0, 4, 10):
        assert_same(parts, k, fit_design(design.with_response(Y[:, k])))


@pytest.mark.parametrize("block", [1, 40, 200])
def test_blocks_of_groups_add_up(monkeypatch, block):
    design = random_design(2)
    Y = responses(design)
    whole = lmmlib.fit_many(design, Y)
    monkeypatch.setattr(pieces, "BLOCK", block)
    assert len(pieces._blocks(12, 10)) == {1: 12, 40: 3, 200: 1}[block]
    parts = lmmlib.fit_many(design, Y)
    assert_allclose(parts.criterion, whole.criterion, rtol=1e-12)
    assert_allclose(parts.beta, whole.beta, rtol=1e-7)


def test_a_response_does_not_depend_on_the_others():
    """Also beside some that have no fit, and in another order."""
    design = random_design(2)
    Y = responses(design)
    bad = np.column_stack([np.full(design.n_obs, np.nan), design.X @ [1, 2], design.Z[:, 0]])
    mixed = np.column_stack([bad[:, 0], Y[:, 3], bad[:, 1], Y[:, 0], Y[:, 5], bad[:, 2]])
    fits = lmmlib.fit_many(design, mixed)
    assert fits.failed.tolist() == [True, False, True, False, False, True]
    for here, there in ((1, 3), (3, 0), (4, 5)):
        assert_same(fits, here, fit_design(design.with_response(Y[:, there])))


def test_groups_without_rows():
    full = random_design(2)
    few = full.take(np.flatnonzero(full.group != 4))
    Y = responses(few)
    without = lmmlib.Design.from_arrays(few.y, few.X, few.Z, few.group)
    assert few.n_groups == 12 and without.n_groups == 11
    empty, fits = lmmlib.fit_many(few, Y), lmmlib.fit_many(without, Y)
    assert_allclose(empty.criterion, fits.criterion, rtol=1e-12)
    assert_allclose(empty.D, fits.D, rtol=1e-5, atol=1e-6)
    assert_same(empty, 0, fit_design(few.with_response(Y[:, 0])))


FAILURES = {
    "missing": "missing or infinite",
    "infinite": "missing or infinite",
    "beyond 1e150": "beyond 1e.150",
    "constant": "no variance to estimate",
    "zero": "no variance to estimate",
    "fixed effects alone": "no variance to estimate",
    "constant within groups": "sigma2 tends to zero.* within groups exactly",
    "lines within groups": "sigma2 tends to zero.* within groups exactly",
}


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_has_nan_and_its_reason(kind, scale, method):
    design = random_design(2)
    N, rng = design.n_obs, np.random.default_rng(5)
    y = {
        "missing": np.where(np.arange(N) == 7, np.nan, 1.0),
        "infinite": np.where(np.arange(N) == 7, -np.inf, 1.0),
        "beyond 1e150": np.where(np.arange(N) == 7, 1e200, 1.0),
        "constant": np.full(N, 3.0),
        "zero": np.zeros(N),
        "fixed effects alone": design.X @ [1.0, 2.0],
        "constant within groups": rng.normal(size=12)[design.group],
        "lines within groups": (design.Z * rng.normal(size=(12, 2))[design.group]).sum(axis=1),
    }[kind] * scale
    good = responses(design, 2) * scale
    fits = lmmlib.fit_many(design, np.column_stack([good[:, 0], y, good[:, 1]]), method=method)
    assert fits.failed.tolist() == [False, True, False] and fits.converged.tolist() == [True, False, True]
    assert pd.Series(fits.reason).str.contains(FAILURES[kind]).tolist() == [False, True, False]
    for name in ("beta", "cov_beta", "D", "sigma2", "theta", "loglik", "criterion", "se"):
        values = getattr(fits, name)
        assert np.isnan(values[1]).all() and np.isfinite(values[[0, 2]]).all()
    assert not fits.is_singular[1]
    assert f"1: {fits.reason[1]}" in repr(fits) and "1 failed" in repr(fits)
    if "missing" not in FAILURES[kind] and "beyond" not in FAILURES[kind]:
        with pytest.raises(DesignError, match=FAILURES[kind]):
            fit_design(design.with_response(y), method=method)


def test_a_small_residual_is_no_failure():
    """Noise of a ten-thousandth of what the fixed and random effects make is still estimated."""
    design = random_design(1)
    rng = np.random.default_rng(5)
    noise = rng.normal(size=design.n_obs)
    Y = rng.normal(size=12)[design.group][:, None] + 1e-4 * np.column_stack([noise, -noise])
    fits = lmmlib.fit_many(design, Y)
    assert fits.converged.all()
    assert_allclose(fits.sigma2, 1e-8, rtol=0.5)
    far = lmmlib.fit_many(design, 1e4 * design.X @ [[1.0], [2.0]] + noise[:, None])
    assert far.converged[0] and 0.5 < far.sigma2[0] < 2


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("q", [1, 2])
def test_units_do_not_matter(q, method):
    """y in grams or tonnes, x since birth or in years AD."""
    plain = random_design(q)
    Y = responses(plain)
    fits = lmmlib.fit_many(plain, Y, method=method)
    m = plain.n_obs - (2 if method == "REML" else 0)
    for scale in (1e-6, 1e6):
        other = lmmlib.fit_many(plain, scale * Y, method=method)
        assert_allclose(other.loglik, fits.loglik - m * np.log(scale), rtol=1e-11)
        assert_allclose(other.beta, scale * fits.beta, rtol=1e-6, atol=1e-7 * scale)
        assert_allclose(other.sigma2, scale**2 * fits.sigma2, rtol=1e-6)
        assert other.is_singular.tolist() == fits.is_singular.tolist()
    T = np.array([[1, 1900.0], [0, 1]])
    moved = dataclasses.replace(plain, X=plain.X @ T, Z=plain.Z @ T[:q, :q])
    other = lmmlib.fit_many(moved, Y, method=method)
    assert_allclose(other.loglik, fits.loglik, rtol=1e-10)
    assert_allclose(other.beta[:, 1], fits.beta[:, 1], rtol=1e-6, atol=1e-7)
    assert_allclose(other.beta @ T.T, fits.beta, rtol=1e-5, atol=1e-6)
    assert other.is_singular.tolist() == fits.is_singular.tolist()
    assert_allclose(T[:q, :q] @ other.D @ T[:q, :q].T, fits.D, rtol=1e-3, atol=1e-4)


def test_frame_has_a_row_for_each_response():
    design = random_design(2)
    Y = responses(design, 4)
    Y[0, 2] = np.nan
    fits = lmmlib.fit_many(design, Y)
    table = fits.frame()
    names = ["x0", "x1", "D[z0, z0]", "D[z1, z0]", "D[z1, z1]", "sigma2", "loglik", "is_singular", "converged"]
    assert list(table.columns) == names and len(table) == 4
    assert_allclose(table[names[:5]].to_numpy()[:2], np.c_[fits.beta, fits.D[:, [0, 1, 1], [0, 0, 1]]][:2], rtol=1e-14)
    assert table["converged"].tolist() == [True, True, False, True] and table.loc[2, names[:7]].isna().all()
    assert list(lmmlib.fit_many(random_design(0), Y).frame().columns) == ["x0", "x1", *names[5:]]


def test_parameters_are_named_as_those_of_a_fit():
    design = random_design(2)
    Y = responses(design, 3)
    fits = lmmlib.fit_many(design, Y)
    assert (fits.n_obs, fits.n_groups, fits.grouping) == (design.n_obs, design.n_groups, "group")
    table = fits.parameters()
    for k, y in enumerate(Y.T):
        one = lmmlib.fit_design(design.with_response(y)).parameters()
        assert list(one.index) == list(table.columns)
        assert_allclose(table.loc[k], one, rtol=1e-5, atol=1e-6)


def test_no_responses():
    fits = lmmlib.fit_many(random_design(2), np.zeros((49, 0)))
    assert len(fits) == 0 and fits.beta.shape == (0, 2) and fits.D.shape == (0, 2, 2) and fits.reason == ()
    assert len(fits.frame()) == 0 and "Fits of 0 responses" in repr(fits)


def test_fits_are_frozen():
    fits = lmmlib.fit_many(random_design(1), responses(random_design(1), 2))
    with pytest.raises(AttributeError):
        fits.sigma2 = 1.0
    singular = int(fits.is_singular.sum())
    assert repr(fits) == f"Fits of 2 responses by REML: {singular} singular"


@pytest.mark.parametrize(
    "Y",
    [np.zeros(49), np.zeros((48, 2)), np.zeros((49, 2, 1)), None, "text", [["a"]] * 49, 1j * np.ones((49, 2)), 3.0],
    ids=lambda Y: str(np.shape(Y)),
)
def test_y_has_a_row_for_each_row_of_the_design(Y):
    with pytest.raises(DataError, match="Y must"):
        lmmlib.fit_many(random_design(1), Y)


def test_frames_and_whole_numbers_will_do():
    design = random_design(1)
    Y = np.random.default_rng(1).integers(0, 9, size=(49, 2))
    one, other = lmmlib.fit_many(design, Y), lmmlib.fit_many(design, pd.DataFrame(Y))
    assert_allclose(other.loglik, one.loglik, rtol=1e-14)
    assert_same(one, 1, fit_design(design.with_response(Y[:, 1])))


def test_method_and_design_are_checked():
    design = random_design(1)
    Y = responses(design, 2)
    with pytest.raises(ParameterError, match="'REML' or 'ML'"):
        lmmlib.fit_many(design, Y, method="MLE")
    twice = dataclasses.replace(design, X=np.column_stack([design.X[:, 1], 2 * design.X[:, 1]]))
    with pytest.raises(DesignError, match="linear combination"):
        lmmlib.fit_many(twice, Y)
    each = dataclasses.replace(design, group=np.arange(49), group_names=tuple(range(49)))
    with pytest.raises(DesignError, match="do not identify .* and sigma2"):
        lmmlib.fit_many(each, Y)
