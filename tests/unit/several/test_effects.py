"""Random effects and their errors are those of the full matrices."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import ParameterError
from lmmlib.several import criterion
from lmmlib.several.relationship import pedigree
from tests.several import FORMULAS, Dense, frame


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_predictions_and_errors(formula, method):
    fit = lmmlib.fit(formula, frame(11), method=method, weights="w")
    b, known, pev = Dense(fit.terms, fit.D, fit.sigma2).effects()
    table = fit.random_effects()
    size = np.abs(b).max()
    assert_allclose(table["estimate"], b, atol=1e-8 * size)
    assert_allclose(table["se_known"] ** 2, np.diag(known), atol=1e-8)
    assert_allclose(table["se_pev"] ** 2, np.diag(pev), atol=1e-8)
    assert_allclose(table["upper"] - table["estimate"], 1.959963984540054 * table["se_pev"], rtol=1e-9)
    other = fit.random_effects(0.5, error="known")
    assert_allclose(other["estimate"] - other["lower"], 0.6744897501960817 * table["se_known"], rtol=1e-9)


def test_columns_and_order():
    fit = lmmlib.fit("y ~ x + (1 | h) + (x | g)", frame(1))
    table = fit.random_effects()
    columns = ["grouping", "group", "term", "estimate", "se_known", "se_pev", "lower", "upper"]
    assert list(table) == columns
    assert list(table["grouping"]) == ["h"] * 6 + ["g"] * 24
    assert list(table["group"][:8]) == [0, 1, 2, 3, 4, 5, 0, 0] and list(table["term"][6:8]) == ["(Intercept)", "x"]
    with pytest.raises(ParameterError, match="error is 'known' or 'pev' or 'corrected'; got 'exact'"):
        fit.random_effects(error="exact")


def test_relatives():
    rng, names = np.random.default_rng(3), [f"a{i}" for i in range(40)]
    parents = pd.DataFrame(
        {
            "sire": [None if i < 8 else names[i % 4] for i in range(40)],
            "dam": [None if i < 8 else names[4 + i % 3] for i in range(40)],
        },
        index=names,
        dtype=object,
    )
    half = np.linalg.cholesky(pedigree(parents).A)
    animals = np.repeat(np.arange(5, 40), 3)
    data = pd.DataFrame({"animal": [names[i] for i in animals], "pen": rng.integers(0, 5, len(animals))})
    order = [pedigree(parents).names.index(name) for name in names]
    data["x"] = rng.normal(size=len(data))
    data["y"] = (
        (half @ rng.normal(size=40))[order][animals] + rng.normal(size=5)[data["pen"]] + rng.normal(size=len(data))
    )
    fit = lmmlib.fit("y ~ x + (x | animal) + (1 | pen)", data, relationship={"animal": parents})
    dense = Dense(fit.terms, fit.D, fit.sigma2)
    assert_allclose(fit.criterion, dense.criterion("REML"), rtol=1e-10)
    b, known, pev = dense.effects()
    table = fit.random_effects()
    assert len(table) == 85 and set(table["group"][:80]) == set(names)
    assert_allclose(table["estimate"], b, atol=1e-8)
    assert_allclose(table["se_pev"] ** 2, np.diag(pev), atol=1e-8)
    assert_allclose(table["se_known"] ** 2, np.diag(known), atol=1e-8)
    if not fit.is_singular:
        found = [fit.expected.satterthwaite(row[None]) for row in np.eye(2)]
        assert_allclose(found, [dense.satterthwaite(row, "expected") for row in np.eye(2)], rtol=1e-6)
    covariance = fit.expected.kenward_roger(np.eye(2)).cov
    assert_allclose(covariance, dense.kenward_roger(), rtol=1e-6)
    # A matrix of relationships says the same as the pedigree.
    A = pd.DataFrame(pedigree(parents).A, pedigree(parents).names, pedigree(parents).names)
    same = lmmlib.fit("y ~ x + (x | animal) + (1 | pen)", data, relationship={"animal": A})
    assert_allclose(same.criterion, fit.criterion, rtol=1e-11)


def test_the_size_of_a_piece_does_not_matter(monkeypatch):
    fit = lmmlib.fit(FORMULAS[0], frame(1))
    whole = fit.random_effects()
    monkeypatch.setattr(criterion, "ROOM", 40)
    assert_allclose(fit.random_effects()["se_pev"], whole["se_pev"], rtol=1e-12)
