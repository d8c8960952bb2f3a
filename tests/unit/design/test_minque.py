"""Inner products of the directions of V are the traces of the printed matrices."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib

N = 20


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(N), 4)
    d = pd.DataFrame({"g": g, "t": np.tile(np.arange(4.0), N), "arm": g % 2, "age": rng.integers(40, 80, N)[g]})
    d = d.assign(year=2010 + d.t, one=1, row=range(len(d)), x=rng.normal(size=len(d)))
    between = pd.DataFrame(rng.normal(size=(N, N)), columns=[f"u{k}" for k in range(N)])
    y = d.t + rng.normal(size=N)[g] + rng.normal(size=len(d))
    return pd.concat([d, between.loc[g].reset_index(drop=True)], axis=1).assign(y=y, count=rng.poisson(2, len(d)))


@pytest.mark.parametrize("ratio", [0.0, 0.7])
def test_inner_products_are_the_traces(frame, ratio):
    design = lmmlib.build_design("y ~ x + arm + (t | g)", frame.drop(index=[3, 9, 10]))
    cross = lmmlib.cross_products(design)
    back = np.linalg.inv(cross.basis.Rz)
    Z, same = design.Z @ back, design.group[:, None] == design.group
    dV = [same * (Z @ e @ Z.T) for e in cross.grams.E]
    V = np.eye(design.n_obs) + ratio * same * (Z @ Z.T)
    inverse, X = np.linalg.inv(V), design.X
    P = inverse - inverse @ X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    dV.append(V)
    found = cross.grams.at(ratio)
    for M, ours in ((inverse, found.plain), (P, found.taken)):
        assert_allclose(ours, [[np.trace(M @ a @ M @ b) for b in dV] for a in dV], rtol=1e-9, atol=1e-9)
