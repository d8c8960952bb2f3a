import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.common.small import vech
from lmmlib.errors import ParameterError
from lmmlib.residual import ar1, by, compound, independent, structures, unstructured
from tests.unit.residual import dense

KINDS = [independent(), by("week"), compound("week"), ar1("week"), unstructured("week")]
WEEKS, APART = np.array([0.0, 1.0, 4.0, 6.0]), np.array([0.0, 1.0, 2.3, 3.1])


def size(structure, M=4):
    return {"Diagonal": M, "Compound": 2, "Ar1": 2, "Unstructured": M * (M + 1) // 2}[type(structure).__name__]


def w_of(structure):
    return np.random.default_rng(3).uniform(0.2, 0.9, size(structure))


@pytest.mark.parametrize("times", [WEEKS, APART])
@pytest.mark.parametrize("structure", KINDS, ids=repr)
def test_derivatives(structure, times):
    w, g = w_of(structure), np.random.default_rng(4).normal(size=size(structure))
    alpha, J = structure.natural(w, times, 4)
    assert_allclose(dense.differences(lambda v: structure.natural(v, times, 4)[0], w).T, J, atol=1e-8)
    curved = dense.differences(lambda v: g @ structure.natural(v, times, 4)[1], w)
    assert_allclose(structure.curvature(w, g, times, 4), curved, atol=1e-8)
    slopes, bends = structure.slopes(alpha, times), structure.bends(alpha, times)
    assert_allclose(dense.differences(lambda a: structure.matrix(a, times), alpha), slopes, atol=1e-8)
    assert_allclose(dense.differences(lambda a: structure.slopes(a, times), alpha), bends, atol=1e-8)
    assert np.linalg.eigvalsh(structure.matrix(alpha, times)).min() > 0


def test_matrices():
    assert_allclose(ar1("t").matrix(np.array([2.0, 0.5]), WEEKS), dense.ar1(2.0, 0.5))
    assert_allclose(ar1("t").matrix(np.array([2.0, -0.5]), WEEKS), dense.ar1(2.0, -0.5))
    assert_allclose(compound("t").matrix(np.array([2.0, 0.5]), WEEKS), dense.compound(2.0, 0.5))
    entries = np.arange(1.0, 11)
    R = unstructured("t").matrix(entries, WEEKS)
    assert_allclose([R[a, b] for a, b in vech(4)], entries)
    assert_allclose(by("t").matrix(np.arange(1.0, 5), WEEKS), np.diag(np.arange(1.0, 5)))


def test_ar1_without_correlation_has_derivatives():
    alpha = np.array([2.0, 0.0])
    slopes = ar1("t").slopes(alpha, WEEKS)
    assert np.isfinite(slopes).all() and np.isfinite(ar1("t").bends(alpha, WEEKS)).all()
    assert slopes[1][0, 1] == 2.0 and slopes[1][0, 2] == 0


def test_compound_reaches_its_edges():
    """Eigenvalues are squares of the working parameters: at zero the correlation is -1/(m-1) or 1."""
    for w, rho in (([1.0, 0.0], -1 / 3), ([0.0, 1.0], 1.0)):
        alpha = compound("t").natural(np.array(w), WEEKS, 4)[0]
        assert_allclose(alpha[1] / alpha[0], rho)
        assert_allclose(np.linalg.eigvalsh(dense.compound(*alpha)).min(), 0, atol=1e-15)


def test_starts_are_interior():
    square = np.array([1.0, 2.0, 0.5, 1.5])
    for structure in KINDS:
        for times in (WEEKS, APART):
            starts = structure.starts(square[:1] if structure == independent() else square, times)
            for w in starts:
                alpha = structure.natural(w, times[: len(w)] if structure.is_diagonal else times, 4)[0]
                R = structure.matrix(alpha, times[: len(w)] if structure.is_diagonal else times)
                assert np.linalg.eigvalsh(R).min() > 0.05
    assert len(ar1("t").starts(square, WEEKS)) == 3 and len(ar1("t").starts(square, APART)) == 2


def test_what_is_reported():
    assert unstructured("t").reported(2) == [(0,), (2,), (1, 0, 2)]
    assert unstructured("t").named(["0", "1"]) == ["sigma 0", "sigma 1", "rho 0, 1"]
    assert compound("t").reported(4) == [(0,), (1, 0, 0)] and ar1("t").reported(4) == [(0,), (1,)]
    assert independent().named([""]) == ["sigma"]


def test_diagonal_squares_are_for_a_diagonal_D():
    B = np.array([np.diag([2.0, 0.0]), np.diag([0.0, 1.0])])
    w, g = np.array([0.5, 2.0]), np.array([1.0, 3.0])
    alpha, J = structures.entries_of_square(B, w, True)
    assert_allclose(alpha, w**2)
    assert_allclose(J, np.diag(2 * w))
    assert_allclose(structures.curvature_of_square(B, g, True), np.diag(2 * g))


def test_they_say_what_they_are():
    assert [repr(s) for s in KINDS] == [
        "independent()",
        "by('week')",
        "compound('week')",
        "ar1('week')",
        "unstructured('week')",
    ]
    assert repr(unstructured("week", by=["arm", "sex"])) == "unstructured('week', by=['arm', 'sex'])"
    assert repr(compound("week", by="arm")) == "compound('week', by='arm')"
    assert by("arm", "week") == by("arm", "week") != by("week")


def test_wrong_names():
    with pytest.raises(ParameterError, match="by\\(\\) needs the name of a column; .*independent"):
        by()
    with pytest.raises(ParameterError, match="visit must name columns of the data; got \\[3\\]"):
        ar1(3)
    with pytest.raises(ParameterError, match="by must name columns of the data; got 2"):
        compound("week", by=2)
