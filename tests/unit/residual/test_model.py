import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.residual import ar1, by, compound, independent, unstructured
from tests.unit.residual import dense

STRUCTURES = [
    independent(),
    by("arm", "week"),
    compound("week"),
    ar1("week"),
    ar1("week", by="arm"),
    unstructured("week", by="arm"),
]
RANDOM = ["(0 | child)", "(week | child)", "(week || child)"]


def full(model, alpha):
    """V of all rows at alpha in units of the response, and X and y, rows times the roots of their weights."""
    design, visits = model.design, model.visits
    D = model.unit**2 * model.cross.basis.D_back(model.D(alpha))
    R = model.unit**2 * model.R(alpha)
    y, X, Z = design.standard_rows(design.y)
    turned = type(design).from_arrays(y, X, Z, design.group)

    def R_of(rows):
        codes = visits.code[rows]
        own = R[visits.cell[design.group[rows[0]]]][np.ix_(codes, codes)]
        return own * np.eye(len(rows)) if visits.structure.is_diagonal else own

    return dense.V(turned, D, R_of), X, y


@pytest.mark.parametrize("method", ["ML", "REML"])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_criterion_and_its_derivatives(structure, random, method, trial, model):
    m = model(f"lead ~ week + arm + {random}", trial, structure)
    w = m.starts()[-1] * np.random.default_rng(2).uniform(0.8, 1.2, len(m.starts()[-1]))
    w = w + 0.05
    alpha = m.natural(w)[0]
    V, X, y = full(m, alpha)
    s = m.at(alpha, method)
    assert_allclose(s.value, dense.criterion(V, X, y, method), rtol=1e-11)
    beta, Phi = dense.gls(V, X, y)
    assert_allclose(m.cross.basis.beta_back(m.unit * s.directions.beta), beta, rtol=1e-9)
    R_inverse = m.unit * s.directions.R_inverse
    assert_allclose(m.cross.basis.cov_beta_back(R_inverse @ R_inverse.T), Phi, rtol=1e-8, atol=1e-12)
    of = m.objective(method)
    point = of(w[None], None)

    def part(name):
        return lambda v: getattr(of(v[None], None), name)[0]

    assert_allclose(dense.differences(part("value"), w), point.gradient[0], rtol=1e-6, atol=1e-6)
    assert_allclose(dense.differences(part("gradient"), w), point.hessian[0], rtol=1e-6, atol=1e-5)


def test_weights_and_offset(trial, model):
    m = model("lead ~ week + (1 | child)", trial, ar1("week"), weights="w", offset="o")
    alpha = m.natural(m.starts()[0])[0]
    V, X, y = full(m, alpha)
    value = dense.criterion(V, X, y, "REML") - np.log(trial["w"]).sum()
    assert_allclose(m.at(alpha, "REML").value, value, rtol=1e-11)
    assert_allclose(y, np.sqrt(trial["w"]) * (trial["lead"] - trial["o"]))


def test_expected_information(trial, model):
    """tr(P dV P dV) / 2, and of ML tr(W dV W dV) / 2, with derivatives of the full matrix."""
    from lmmlib.equations.information import information_of

    m = model("lead ~ week + arm + (1 | child)", trial, ar1("week"))
    alpha = m.natural(m.starts()[0])[0]
    V, X, _ = full(m, alpha)
    slopes = dense.differences(lambda a: full(m, a)[0], alpha, 1e-4)
    for method, P in (("ML", np.linalg.inv(V)), ("REML", dense.projection(V, X))):
        expected = 0.5 * np.einsum("rij,sji->rs", P @ slopes, P @ slopes)
        ours = information_of(m.at(alpha, method).directions, method, "expected")
        assert_allclose(ours, expected, rtol=1e-6)


def test_no_point_where_V_is_not_positive_definite(trial, model):
    m = model("lead ~ week + (0 | child)", trial, compound("week"))
    assert m.at(np.array([1.0, -0.9]), "ML") is None
    assert m.objective("ML")(np.array([[0.0, 1.0]]), None).value[0] == np.inf


def test_one_effect_held(trial, model):
    """Least squares with beta_j at a value, the others at their best."""
    m = model("lead ~ week + arm + (0 | child)", trial, ar1("week"))
    alpha = m.natural(m.starts()[0])[0]
    V, X, y = full(m, alpha)
    basis = m.cross.basis
    held = m.without(basis.x_back[1], (-0.7 - basis.beta0[1]) / m.unit)
    direct = dense.criterion(V, np.delete(X, 1, axis=1), y + 0.7 * X[:, 1], "ML")
    assert_allclose(held.at(alpha, "ML").value, direct, rtol=1e-11)
