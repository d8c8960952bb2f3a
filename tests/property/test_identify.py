"""What is called identified against the rank of full matrices, on small designs of which many are deficient."""

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from scipy.linalg import null_space

import lmmlib
from lmmlib.design.identify import require_identified, unseen
from lmmlib.errors import DesignError


@st.composite
def designs(draw):
    """1 to 6 groups of 1 to 4 rows, replicated or not; q 0 to 3, p 0 to 4; constant, between, nested, copied."""
    rng = np.random.default_rng(draw(st.integers(0, 10**9)))
    n = draw(st.integers(1, 6))
    sizes = rng.integers(1, 5, n)
    if draw(st.booleans()):
        sizes[:] = draw(st.integers(1, 4))
    g = np.repeat(np.arange(n), sizes)
    position = np.concatenate([np.arange(size) for size in sizes])

    def column(kind):
        within = rng.integers(-2, 3, len(g))
        return {
            "one": np.ones(len(g)),
            "time": position,
            "square": position**2,
            "between": rng.integers(0, 3, n)[g],
            "within": within,
            "first": g == 0,
            "arm": g % 2,
            "nested": (g % 2) * position,
            "real": rng.normal(size=len(g)),
        }[kind].astype(float)

    kinds = st.sampled_from(["one", "time", "square", "between", "within", "first", "arm", "nested", "real"])
    X = [column(kind) for kind in draw(st.lists(kinds, max_size=4, unique=True))]
    Z = [column(kind) for kind in draw(st.lists(kinds, max_size=3))]
    if draw(st.integers(0, 7)) == 0:
        X = [*(g == i for i in range(n)), *X]
    Z = [X[int(rng.integers(len(X)))] if X and draw(st.integers(0, 3)) == 0 else z for z in Z]
    X, Z = (np.array(M, float).reshape(-1, len(g)).T for M in (X, Z))
    units = 10.0 ** rng.integers(-3, 4, X.shape[1]), 10.0 ** rng.integers(-3, 4, Z.shape[1])
    order = rng.permutation(len(g))
    return lmmlib.Design.from_arrays(
        rng.normal(size=len(g)), (X * units[0])[order], (Z * units[1])[order], g[order], diagonal=draw(st.booleans())
    )


def derivatives(design):
    """dV of every parameter, (k, N, N), with the columns of Z at length one."""
    same = design.group[:, None] == design.group
    Z = design.Z / np.maximum(np.linalg.norm(design.Z, axis=0), 1e-300)
    q, out = Z.shape[1], []
    for b in range(q):
        for a in [b] if design.diagonal else range(b, q):
            pair = np.outer(Z[:, a], Z[:, b])
            out.append(same * (pair if a == b else pair + pair.T))
    return np.array([*out, np.eye(design.n_obs)])


def null_of(matrices):
    """Dimension of the combinations of matrices that vanish, and the matrices as columns of length one.

    Draws in which something is left that is small, but no rounding, are no question of rank: those are discarded.
    """
    flat = matrices.reshape(len(matrices), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    rows = flat / np.where(length > 1e-7, length, 1.0) * (length > 1e-7)
    left = np.linalg.svd(rows, compute_uv=False)
    for sizes in (length, left):
        assume(not ((sizes > 1e-11) & (sizes < 1e-5)).any())
    return len(rows) - int((left > 1e-7).sum())


@settings(max_examples=10 * settings.default.max_examples)
@given(designs(), st.booleans())
def test_the_decision_is_the_rank_of_the_dense_information(design, sigma2):
    X = design.X / np.maximum(np.linalg.norm(design.X, axis=0), 1e-300)
    free = np.linalg.matrix_rank(X, tol=1e-9) == X.shape[1] if X.size else True
    cross, V = lmmlib.cross_products(design), derivatives(design)[: None if sigma2 else -1]
    K = null_space(X.T, rcond=1e-9) if X.size else np.eye(design.n_obs)
    left = null_of(K.T @ V @ K) if len(V) else 0
    assert len(unseen(cross, sigma2=sigma2)) == left
    assert len(unseen(cross, fixed=False, sigma2=sigma2)) == (null_of(V) if len(V) else 0)
    event("identified" if free and not left else "deficient")
    if free and not left:
        require_identified(cross, sigma2=sigma2)
        return
    with pytest.raises(DesignError) as error:
        require_identified(cross, sigma2=sigma2)
    if not free:
        return
    # Alone, each parameter that is named can be changed unseen with the others, and no other can.
    text = str(error.value)
    names = text[: text.index(":")]
    for r, name in enumerate(cross.variance_names[: len(V)]):
        others = np.delete(K.T @ V @ K, r, axis=0)
        changes = null_of(others) < left if len(others) else True
        assert changes == (name in names), text
