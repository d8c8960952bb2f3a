"""What the data do not tell is said before anything is estimated, and the search starts where it should."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DesignError
from lmmlib.several.fit import fit_several
from lmmlib.several.identify import inner, names, start
from lmmlib.several.sums import several_sums
from tests.several import FORMULAS, Dense, design_of, frame, state_at


@pytest.mark.parametrize("formula", FORMULAS)
def test_inner_products_are_traces(formula):
    """In the basis of the formula: the same quadratic forms of D."""
    design = design_of(formula, 1)
    state, D, _ = state_at(design, "REML", 3)
    found, alpha = inner(state.sums), []
    for g, full in zip(state.sums.groupings, state.D, strict=True):
        alpha += list(g.entries(full))
    alpha = np.array([*alpha, 0.7])
    dense = Dense(design, D, 0.7)
    V, X = dense.V, dense.X
    X = np.linalg.qr(X)[0]
    P0 = np.eye(len(V)) - X @ X.T
    assert_allclose(alpha @ found.plain @ alpha, (V * V).sum(), rtol=1e-8)
    assert_allclose(alpha @ found.taken @ alpha, np.trace(P0 @ V @ P0 @ V), rtol=1e-7)
    e = P0 @ dense.y
    assert_allclose(alpha @ found.square, e @ V @ e, rtol=1e-7)


def test_the_start_is_the_optimum_of_a_balanced_design():
    sums = several_sums(design_of_penicillin())
    theta = start(sums, inner(sums))
    fit = lmmlib.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", lmmlib.load("penicillin"))
    assert_allclose(theta, fit.theta, rtol=1e-8)


def design_of_penicillin():
    return fit_several("diameter ~ 1 + (1 | plate) + (1 | sample)", lmmlib.load("penicillin")).terms


def test_names_say_term_and_grouping():
    sums = several_sums(design_of("y ~ x + (1 | g) + (x || h) + (0 + z | h)", 1))
    assert names(sums) == [
        *("D[(Intercept), (Intercept)] | h", "D[x, x] | h", "D[z, z] | h", "D[(Intercept), (Intercept)] | g"),
        "sigma2",
    ]


CASES = {
    "a single group": ("y ~ x + (1 | g) + (1 | one)", "there is a single group of 'one' \\('only'\\)"),
    "one row each": ("y ~ x + (1 | row) + (1 | h)", "each group of 'row' has no more than 1 row.*residuals"),
    "two groupings alike": (
        "y ~ x + (1 | g) + (1 | twin)",
        "'[gt].*' and '[gt].*' divide the rows into the same groups",
    ),
    "a fixed effect too": ("y ~ C(h) + (1 | g) + (1 | h)", r"do not identify D\[\(Intercept\), \(Intercept\)\] \| h: "),
    "a term twice": ("y ~ x + (1 | g) + (x | g) + (1 | h)", "D.*g.*two terms have the same column"),
    "two columns": ("y ~ x + (1 | g) + (x + x2 | h)", "do not identify"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_identified_is_named(case):
    formula, words = CASES[case]
    data = frame(1).assign(one="only", row=lambda d: np.arange(len(d)), twin=lambda d: "t" + d["g"].astype(str))
    data["x2"] = 2 * data["x"] + 1
    with pytest.raises(DesignError, match=words):
        lmmlib.fit(formula, data)


def test_identified_by_a_relationship():
    """One record of each animal: without relatives that is the residual, with them it is not."""
    rng, names = np.random.default_rng(3), [f"a{i}" for i in range(60)]
    sires = [None if i < 6 else names[i % 6] for i in range(60)]
    parents = pd.DataFrame({"sire": sires, "dam": [None] * 60}, index=names, dtype=object)
    y = rng.normal(size=60) + 2 * np.array([rng.normal()] * 60)
    data = pd.DataFrame({"animal": names, "y": y + np.tile(rng.normal(size=6), 10)})
    with pytest.raises(DesignError, match="each group of 'animal' has no more than 1 row"):
        fit_several("y ~ 1 + (1 | animal)", data)
    fit = fit_several("y ~ 1 + (1 | animal)", data, relationship={"animal": parents})
    assert fit.converged and not fit.is_singular


def test_no_residual_is_said():
    """Relatives that explain all: sigma2 tends to zero."""
    parents = pd.DataFrame({"sire": ["s", "s", "t", "t"], "dam": [None] * 4}, index=list("abcd"), dtype=object)
    data = pd.DataFrame({"animal": list("abcd") + ["s", "t"], "y": [1.0, 1.2, 3.0, 3.3, 1.1, 2.9]})
    fit = fit_several("y ~ 1 + (1 | animal)", data, relationship={"animal": parents})
    assert not fit.converged and "sigma2 tends to zero" in fit.reason and "sigma2 tends to zero" in str(fit)
