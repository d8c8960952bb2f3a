"""Sums of chunks: both sides of each formula at random inputs."""

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import equations
from lmmlib.design import coding as design_coding


def test_chunk_sums(m, rng):
    """`thm-chunk-sums`, `chunk-sums`: rows in a random order, chunks of random lengths; likelihoods and effects."""
    Z = m.X[:, :2]
    data = pd.DataFrame({"y": m.y, "x1": m.X[:, 1], "x2": m.X[:, 2], "g": [f"g{i}" for i in m.group]})
    shuffled = data.iloc[rng.permutation(m.N)]
    cuts = np.sort(rng.choice(np.arange(1, m.N), size=3, replace=False))
    coding = design_coding.coding("y ~ x1 + x2 + (x1 | g)", data)
    parts = [design_coding.chunk_sums(coding, shuffled.iloc[k]) for k in np.split(np.arange(m.N), cuts)]
    merged = design_coding.merge(parts)
    for name, total in (("XtX", m.X.T @ m.X), ("Xty", m.X.T @ m.y), ("yty", m.y @ m.y)):
        assert_allclose(getattr(merged, name), total)
        assert_allclose(sum(getattr(part, name) for part in parts), total)
    for i in range(m.n):
        place, rows = merged.group_names.index(f"g{i}"), m.group == i
        assert_allclose(merged.ZtZ[place], Z[rows].T @ Z[rows])
        assert_allclose(merged.ZtX[place], Z[rows].T @ m.X[rows])
        assert_allclose(merged.Zty[place], Z[rows].T @ m.y[rows])
        own = [part.ZtZ[part.group_names.index(f"g{i}")] for part in parts if f"g{i}" in part.group_names]
        assert_allclose(sum(own), Z[rows].T @ Z[rows])
    once = lmmlib.cross_products(lmmlib.build_design("y ~ x1 + x2 + (x1 | g)", data))
    for likelihood in (equations.profile_loglik, equations.restricted_loglik):
        assert_allclose(likelihood(merged, *m.args), likelihood(once, *m.args))
    one, two = (equations.gls(cross, *m.args) for cross in (merged, once))
    assert_allclose(one.beta, two.beta)
    assert_allclose(one.cov, two.cov)
