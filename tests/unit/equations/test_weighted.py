"""Sums weighted by V^-1, from cross-products alone, against loops over groups."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.design.basis import divide
from lmmlib.equations.dense import V
from lmmlib.equations.weighted import weigh


@pytest.mark.parametrize("D", [[[1.5, 0.2], [0.2, 0.4]], np.zeros((2, 2)), [[4, 2], [2, 1]], [[0, 0], [0, 1]]])
def test_weighted_sums(design, cross, D):
    w = weigh(cross, D, 0.7)
    W = np.linalg.inv(V(design, D, 0.7))
    X, y = divide(design.X, cross.basis.Rx), design.y - design.X @ cross.basis.beta0
    assert_allclose(w.XtVX, X.T @ W @ X, rtol=1e-11, atol=1e-12)
    assert_allclose(w.XtVy, X.T @ W @ y, rtol=1e-10, atol=1e-12)
    assert_allclose(w.ytVy, y @ W @ y, rtol=1e-12)
    assert_allclose(w.logdet, -np.linalg.slogdet(W)[1], rtol=1e-12)


def test_one_factorisation_for_each_pattern(cross, D):
    assert cross.n_patterns < cross.n_groups
    arrays = [a for a in vars(weigh(cross, D, 1.0)).values() if np.ndim(a) == 3]
    assert [len(a) for a in arrays] == [cross.n_patterns]
