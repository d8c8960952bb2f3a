"""The table of validation: its formulas are those of single fits, its verdicts can fail, its rows are what it says."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.fitting.batch import fit_many
from lmmlib.lmm.fit import fit_design
from studies import validation as study
from studies.small_samples import SIGMA2, TAU2, answers, responses


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(3)
    design = study.design_of(8, "gaps", rng)
    Y = responses(design, 12, rng)
    return design, Y, fit_many(design, Y)


def test_profiles_of_variances_are_those_of_a_fit(fitted):
    design, Y, fits = fitted
    restricted, tau2 = study.Restricted(design, Y), np.where(fits.is_singular, 0.0, fits.D[:, 0, 0])
    lowest = restricted.at(tau2, fits.sigma2)
    for held, truth, parameter in (("tau2", TAU2, 3), ("sigma2", SIGMA2, 4)):
        drop = restricted.least(held, truth, fits.sigma2 + (tau2 if held == "sigma2" else 0)) - lowest
        for s in (0, 5):
            fit = fit_design(design.with_response(Y[:, s]))
            zeta = fit.profile(fit.parameters().index[parameter], [np.sqrt(truth)])["zeta"].iloc[0]
            assert_allclose(drop[s], zeta**2, rtol=1e-4, atol=1e-8)


def test_wald_limits_of_variances_are_those_of_a_fit(fitted):
    design, Y, fits = fitted
    s = int(np.flatnonzero(~fits.is_singular)[0])
    cov = answers(design, Y, fits.D[:, 0, 0], fits.sigma2).cov_variances[s]
    fit = fit_design(design.with_response(Y[:, s]))
    se = fit.confint(method="wald")["se"].to_numpy()[3:]
    value = np.array([fits.D[s, 0, 0], fits.sigma2[s]])
    assert_allclose(np.sqrt(np.diag(cov)) / (2 * np.sqrt(value)), se, rtol=1e-4)


def test_a_cell_reproduces_itself():
    one, other = (study.cell("effects", 5, "gaps", patterns=1) for _ in range(2))
    assert one.equals(other)


def test_shares_of_those_with_an_answer():
    assert study.share(np.array([1.0, 0.0, 1.0, np.nan])) == pytest.approx(
        {"share": 2 / 3, "mcse": np.sqrt(2 / 9 / 3), "unanswered": 0.25, "size": 4}
    )


def test_the_table_has_the_cells_of_its_kinds():
    table = study.stored()
    kinds = list(dict.fromkeys(table["kind"]))
    assert kinds == [kind for kind in study.KINDS if kind in kinds] and "effects" in kinds
    rows = table[["kind", "n_groups", "shape"]].drop_duplicates().itertuples(index=False, name=None)
    assert list(rows) == list(study.cells(kinds))
    assert [" ".join(map(str, study.cell_seed(*row))) for row in study.cells(kinds)] == list(
        dict.fromkeys(table["seed"])
    )
    assert (table["size"] >= 5000).all()


def test_the_verdicts_can_fail():
    """Of five children z is off; Kenward and Roger's slope is not, of any number of children."""
    missed = study.misses(study.stored())
    assert ((missed["n_groups"] == 5) & (missed["method"] == "z")).sum() == 8
    assert not ((missed["method"] == "kenward-roger") & (missed["what"] == "slope")).any()
