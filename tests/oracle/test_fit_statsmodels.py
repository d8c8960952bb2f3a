"""statsmodels as a second implementation of the fit, where it converges; its least squares for (0 | g)."""

import warnings

import numpy as np
import pytest
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose

import lmmlib


@pytest.fixture(scope="module")
def sleep():
    frame = lmmlib.load("sleep")
    return frame[frame.index % 7 != 3].reset_index(drop=True)


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(("random", "re_formula"), [("1", None), ("Days", "~Days")])
def test_estimates(sleep, random, re_formula, reml):
    ours = lmmlib.fit(f"Reaction ~ Days + ({random} | Subject)", sleep, method="REML" if reml else "ML")
    model = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula=re_formula)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = model.fit(reml=reml, method="bfgs", gtol=1e-9, maxiter=500)
    assert theirs.converged
    # It stops on the gradient of a log-likelihood near -800, so its estimates have five digits or so.
    assert_allclose(ours.beta, theirs.fe_params, rtol=1e-5)
    assert_allclose(ours.D, theirs.cov_re, rtol=1e-3, atol=1e-2)
    assert_allclose(ours.sigma2, theirs.scale, rtol=1e-4)
    assert_allclose(ours.se, theirs.bse_fe, rtol=1e-3)
    # The same value; it cannot be above our maximum but by rounding.
    assert_allclose(ours.loglik, theirs.llf, atol=1e-6)
    assert ours.loglik > theirs.llf - 1e-9
    # Its fitted values are those of the groups.
    assert_allclose(ours.fitted(), theirs.fittedvalues, rtol=1e-4)
    assert_allclose(ours.residuals(), theirs.resid, atol=0.05)


def test_least_squares(sleep):
    theirs = smf.ols("Reaction ~ Days", sleep).fit()
    ml, reml = (lmmlib.fit("Reaction ~ Days + (0 | Subject)", sleep, method=method) for method in ("ML", "REML"))
    assert_allclose(ml.loglik, theirs.llf, rtol=1e-12)
    # statsmodels counts sigma2 in neither criterion.
    assert_allclose([ml.aic - 2, ml.bic - np.log(ml.n_obs)], [theirs.aic, theirs.bic], rtol=1e-12)
    assert_allclose(reml.sigma2, theirs.scale, rtol=1e-12)
    table = reml.fixed_effects()
    assert_allclose(
        table[["estimate", "se", "t", "p"]].T, [theirs.params, theirs.bse, theirs.tvalues, theirs.pvalues], rtol=1e-7
    )
    assert_allclose(table[["lower", "upper"]], theirs.conf_int(), rtol=1e-9)
    assert_allclose(ml.fitted(), theirs.fittedvalues, rtol=1e-12)
