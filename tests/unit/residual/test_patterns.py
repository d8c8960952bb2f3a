import numpy as np
from numpy.testing import assert_allclose

from lmmlib.residual import ar1, by, patterns, unstructured

F = "lead ~ week * arm + (1 | child)"


def sums(model, A_of):
    """Sum of W_i'A W_i over all groups from what stands for them; A_of(codes) is a matrix for a pattern."""
    total = 0
    for batch in model.batches:
        A = np.array([A_of(code) for code in batch.code])[batch.of]
        total = total + np.einsum("fix,fij,fjy->xy", batch.W, A, batch.W)
    return total


def weight(code):
    return np.exp(-np.abs(np.subtract.outer(code, code))) + np.diag(1.0 + code)


def test_what_stands_for_the_groups_has_their_sums(trial, model):
    m = model(F, trial, unstructured("week"))
    y, X, _ = m.cross.basis.turn(*m.design.standard_rows(m.design.y))
    W, direct = np.column_stack([X, y / m.unit]), 0
    for i in range(m.design.n_groups):
        rows = m.design.rows(i)
        direct = direct + W[rows].T @ weight(m.visits.code[rows]) @ W[rows]
    assert_allclose(sums(m, weight), direct, rtol=1e-12, atol=1e-10)
    assert sum(batch.n.sum() for batch in m.batches) == m.design.n_groups
    assert sum(len(batch.n) for batch in m.batches) < m.design.n_groups


def test_many_groups_shrink_to_their_triangle(model, trial):
    """The same visits of ten times the groups: no more than m (p + 1) matrices stand for them."""
    whole = trial.groupby("child").filter(lambda g: len(g) == 4)
    many = np.concatenate([np.arange(len(whole))] * 20)
    copy = whole.iloc[many].reset_index(drop=True)
    copy["child"] += np.repeat(np.arange(20), len(whole)).astype(str)
    m = model("lead ~ week + arm + (0 | child)", copy, ar1("week"))
    (batch,) = m.batches
    assert len(batch.n) == 1 and batch.n[0] == copy["child"].nunique() > 100
    assert batch.W.shape == (16, 4, 4)
    rows = patterns._standing_for(np.random.default_rng(1).normal(size=(50, 2, 3)))
    assert rows.shape == (6, 2, 3)


def test_rows_in_any_order(trial, model):
    one, other = (
        model("lead ~ week * arm + (0 | child)", data, by("week"))
        for data in (trial, trial.sample(frac=1, random_state=4))
    )
    alpha = np.array([1.0, 2.0, 0.5, 1.5])
    assert_allclose(one.at(alpha, "REML").value, other.at(alpha, "REML").value, rtol=1e-12)
    assert [len(batch.n) for batch in one.batches] == [len(batch.n) for batch in other.batches]


def test_patterns_differ_in_Z_and_in_cells(trial, model):
    alike = model(F, trial, unstructured("week"))
    arms = model(F, trial, unstructured("week", by="arm"))
    ages = model("lead ~ week + (age | child)", trial, unstructured("week"))
    count = [sum(len(batch.n) for batch in m.batches) for m in (alike, arms, ages)]
    assert count[0] < count[1] < count[2] == trial["child"].nunique()
