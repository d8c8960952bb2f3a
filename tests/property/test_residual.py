"""Criterion, estimates and their covariance with a residual covariance equal full matrices, on random designs."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lmmlib.design.cross import cross_products
from lmmlib.design.formula import build_design
from lmmlib.residual import ar1, by, compound, independent, unstructured
from lmmlib.residual.model import Model
from lmmlib.residual.visits import Visits
from tests.unit.residual import dense

STRUCTURES = [
    independent(),
    by("v"),
    by("arm", "v"),
    compound("v"),
    ar1("v"),
    ar1("v", by="arm"),
    unstructured("v"),
    unstructured("v", by="arm"),
]


@st.composite
def models(draw):
    """4 to 12 groups with some of up to 5 visits each, rows in a random order, weights; a structure, alpha inside."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, times = draw(st.integers(4, 12)), np.sort(rng.choice(np.arange(12), draw(st.integers(2, 5)), replace=False))
    frame = pd.DataFrame({"g": np.repeat(np.arange(n), len(times)), "v": np.tile(times, n).astype(float)})
    kept = rng.uniform(size=len(frame)) < draw(st.sampled_from([0.6, 0.8, 1.0]))
    kept[: 2 * len(times)] = True
    frame = frame[kept].sample(frac=1, random_state=1)
    frame = frame.assign(
        arm=np.where(frame["g"] % 2, "a", "b"), x=rng.normal(size=len(frame)), y=rng.normal(size=len(frame))
    )
    frame["w"] = rng.uniform(0.3, 3, len(frame))
    structure, random = draw(st.sampled_from(STRUCTURES)), draw(st.sampled_from(["0", "1", "x"]))
    weights = draw(st.sampled_from([{}, {"weights": "w"}]))
    design = build_design(f"y ~ x + arm + ({random} | g)", frame, **weights)
    model = Model.of(design, cross_products(design), Visits.of(structure, design, frame, "error", weights))
    w = model.starts()[0]
    return model, model.natural(w * rng.uniform(0.7, 1.3, len(w)) + 0.1 * rng.uniform(size=len(w)))[0]


@given(models(), st.sampled_from(["ML", "REML"]))
def test_criterion_beta_and_phi(made, method):
    model, alpha = made
    design, visits, unit2 = model.design, model.visits, model.unit**2
    y, X, Z = design.standard_rows(design.y)
    D, R = unit2 * model.cross.basis.D_back(model.D(alpha)), unit2 * model.R(alpha)

    def R_of(rows):
        own = R[visits.cell[design.group[rows[0]]]][np.ix_(visits.code[rows], visits.code[rows])]
        return own * np.eye(len(rows)) if visits.structure.is_diagonal else own

    V = dense.V(type(design).from_arrays(y, X, Z, design.group), D, R_of)
    s = model.at(alpha, method)
    shift = 0.0 if design.weights is None else np.log(design.weights).sum()
    assert_allclose(s.value, dense.criterion(V, X, y, method) - shift, rtol=1e-9)
    beta, Phi = dense.gls(V, X, y)
    assert_allclose(model.cross.basis.beta_back(model.unit * s.directions.beta), beta, rtol=1e-8, atol=1e-8)
    R_inverse = model.unit * s.directions.R_inverse
    assert_allclose(model.cross.basis.cov_beta_back(R_inverse @ R_inverse.T), Phi, rtol=1e-7, atol=1e-9)
