"""What can be asked of a fit: criteria, simulation, refits, the error of Laplace, its text."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lmmlib.glmm.fit import fit_glmm_design
from lmmlib.glmm.rows import modes
from tests.unit.glmm.designs import design, with_offset


@pytest.fixture(scope="module")
def fit():
    d = design(q=2, n=30)
    return fit_glmm_design(with_offset(d))


def test_criteria(fit):
    assert fit.n_parameters == 5
    assert_allclose([fit.aic - fit.criterion, fit.bic - fit.criterion], [10, 5 * np.log(fit.n_obs)])


@pytest.mark.parametrize("q", [1, 2])
def test_modes_of_the_search_are_those_from_the_start(q):
    fit = fit_glmm_design(design(q=q))
    plain = modes(fit.rows, *fit.rows.split(fit.psi))
    assert fit.u is not None and np.abs(fit.u - plain.u).max() < 1e-3  # near: that is what they are kept for
    assert_allclose(fit.inner.u, plain.u, rtol=1e-11, atol=1e-13)


def test_frozen(fit):
    with pytest.raises(AttributeError, match="beta"):
        fit.beta = 1


def test_theta_is_the_factor_of_D(fit):
    L = np.zeros((2, 2))
    L.T[np.triu_indices(2)] = fit.theta
    assert_allclose(L @ L.T, fit.D, rtol=1e-12)


def test_error_of_laplace(fit):
    aghq = fit_glmm_design(fit.design, method="aghq", n_quadrature=15)
    assert fit.laplace_error(1) == pytest.approx(0, abs=1e-10)
    # The optima lie close together, where both likelihoods are flat.
    assert fit.laplace_error() == pytest.approx(fit.loglik - aghq.loglik, abs=0.02)
    assert abs(fit.laplace_error()) > 0.001


def test_text_is_rounded(fit):
    for text in (repr(fit), repr(fit.modes()), repr(fit.overdispersion())):
        assert not re.search(r"\d\.\d{8,}|0x[0-9a-f]+|-0\.0+\b(?!\d)", text)
        assert max(map(len, text.splitlines())) <= 110
