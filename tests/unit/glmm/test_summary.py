"""The summary shows the attributes."""

import numpy as np

from lmmlib.common.text import fixed, significant
from lmmlib.glmm.fit import fit_glmm_design
from tests.unit.glmm.designs import design


def test_summary_shows_the_attributes():
    fit = fit_glmm_design(design(q=2, n=30))
    text = str(fit.summary())
    assert text == repr(fit)
    for value in (*fit.beta, *fit.se, *np.diag(fit.D)):
        assert significant(value, 5) in text
    r = fit.D.iloc[0, 1] / np.sqrt(np.diag(fit.D)).prod()
    for value in (fixed(fit.loglik, 4), fixed(fit.aic, 4), fixed(r, 3), "(Laplace)", "z0", "x1"):
        assert value in text
    assert f"{fit.n_obs} observations in 30 groups" in text
    assert "singular" not in text and "not converged" not in text


def test_quadrature_and_what_went_wrong_are_said():
    from dataclasses import replace

    fit = fit_glmm_design(design(n=20), method="aghq", n_quadrature=7)
    assert "adaptive quadrature, 7 nodes" in repr(fit)
    lost = repr(replace(fit, converged=False, reason="lost", is_singular=True, notes=("a note",)))
    assert lost.endswith(
        "D is singular: some combination of the random effects has variance zero\na note\n"
        "not converged, so no standard errors: lost"
    )


def test_no_correlation_of_uncorrelated_effects():
    assert "corr" not in fit_glmm_design(design(q=2, n=20, diagonal=True)).summary().tables["random"].columns
