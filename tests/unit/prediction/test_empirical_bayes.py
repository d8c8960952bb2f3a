"""Empirical Bayes: every repair against its definition, differences, and closed forms of the one-way design."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtr

import lmmlib
from lmmlib import equations
from lmmlib.equations.blup import conditional_covariance, random_effects
from lmmlib.errors import DesignError, ParameterError
from lmmlib.prediction import empirical_bayes
from lmmlib.prediction.mixture import total_moments

SLOPES, INTERCEPTS = "lead ~ week + drug + (week | child)", "lead ~ week + drug + (1 | child)"


@pytest.fixture(scope="module")
def slopes(many):
    return lmmlib.fit(SLOPES, many)


@pytest.fixture(scope="module")
def intercepts(many):
    return lmmlib.fit(INTERCEPTS, many)


@pytest.mark.parametrize("error", ["known", "pev", "corrected"])
def test_plug_in_is_the_blup_with_one_of_its_errors(slopes, error):
    posterior, blups = empirical_bayes.plug_in(slopes, error), slopes.blups()
    assert posterior.b is not None and posterior.b.equals(blups.b)
    assert_allclose(posterior.frame(0.9)[["estimate", "se", "lower", "upper"]],
                    blups.frame(0.9, error=error)[["estimate", f"se_{error}", "lower", "upper"]])  # fmt: skip
    with pytest.raises(ParameterError, match="'wald'"):
        empirical_bayes.plug_in(slopes, "wald")


def predictions(fit, alpha):
    """Predictions with GLS beta at other variance parameters."""
    q = len(fit.D)
    D = np.zeros((q, q))
    D[np.tril_indices(q)] = alpha[[0, 1, 2] if q == 2 else [0]]
    D = D + np.tril(D, -1).T
    beta = equations.gls(fit.cross, D, alpha[-1]).beta
    return random_effects(fit.cross, beta, D, alpha[-1])


@pytest.mark.parametrize("model", ["slopes", "intercepts"])
def test_prediction_derivatives_by_differences(model, request):
    fit = request.getfixturevalue(model)
    D = fit.D.to_numpy()
    alpha = np.append(D[:, 0] if len(D) == 1 else [D[0, 0], D[1, 0], D[1, 1]], fit.sigma2)
    slopes = empirical_bayes.prediction_derivatives(fit)
    for r in range(len(alpha)):
        h = 1e-5 * alpha[-1] * np.eye(len(alpha))[r]
        numeric = (predictions(fit, alpha + h) - predictions(fit, alpha - h)) / (2 * h[r])
        # Central differences: h^2 from above, rounding / h from below.
        assert_allclose(slopes[r], numeric, rtol=1e-6, atol=1e-7 * np.abs(numeric).max())


@pytest.mark.parametrize(
    "formula", ["lead ~ week + (week || child)", "lead ~ 0 + (1 | child)", "lead ~ 0 + (week | child)"]
)
def test_derivatives_of_other_designs(many, formula):
    """A diagonal D has no derivative by its covariance; without fixed effects nothing follows by GLS."""
    fit = lmmlib.fit(formula, many)
    D, diagonal = fit.D.to_numpy(), fit.design.diagonal
    cells = [(a, b) for b in range(len(D)) for a in range(b, len(D)) if a == b or not diagonal]
    slopes = empirical_bayes.prediction_derivatives(fit)
    assert slopes.shape == (len(cells) + 1, 20, len(D))
    for r, (a, b) in enumerate(cells):
        E = np.zeros_like(D)
        h = 1e-4 * np.sqrt(D[a, a] * D[b, b])  # rounding of a prediction over h stays below the tolerance
        E[a, b] = E[b, a] = h
        ends = [
            random_effects(fit.cross, equations.gls(fit.cross, d, fit.sigma2).beta, d, fit.sigma2)
            for d in (D + E, D - E)
        ]
        numeric = (ends[0] - ends[1]) / (2 * h)
        assert_allclose(slopes[r], numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("model", ["slopes", "intercepts"])
def test_kass_steffey_adds_the_delta_term_in_either_basis(model, request):
    fit = request.getfixturevalue(model)
    W = np.linalg.inv(equations.information_variance(fit.cross, fit.D, fit.sigma2, kind="observed"))
    slopes = empirical_bayes.prediction_derivatives(fit)
    added = np.einsum("rs,rga,sgb->gab", W, slopes, slopes)
    posterior = empirical_bayes.kass_steffey(fit)
    assert_allclose(posterior.cov - fit.blups().pev, added, atol=1e-7 * added.max())
    assert added[:, 0, 0].min() > 0


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_balanced_one_way_closed_forms(method):
    """PEV and (d dw)^2 for Kass-Steffey, PEV and twice Var(w) Var(mean) for Prasad-Rao; w = 1 - sigma2 / c."""
    rng, n, m = np.random.default_rng(12), 9, 4
    y = 3 + rng.standard_normal((n, 1)) + rng.standard_normal((n, m))
    fit = lmmlib.fit("y ~ 1 + (1 | g)", pd.DataFrame({"y": y.ravel(), "g": np.repeat(np.arange(n), m)}), method=method)
    sigma2, c = fit.sigma2, fit.sigma2 + m * fit.D.iloc[0, 0]
    w, d = 1 - sigma2 / c, y.mean(axis=1) - y.mean()
    pev = w * sigma2 / m + w**2 * c / (m * n)
    var_w = (sigma2 / c) ** 2 * (2 / (n * (m - 1)) + 2 / (n - 1))
    assert_allclose(empirical_bayes.kass_steffey(fit).b.iloc[:, 0], w * d, rtol=1e-9)
    # Observed and expected information are the same at the REML optimum, which is found to about 1e-8.
    assert_allclose(empirical_bayes.kass_steffey(fit).cov[:, 0, 0], pev + var_w * d**2, rtol=1e-6)
    assert_allclose(empirical_bayes.plug_in(fit, "corrected").cov[:, 0, 0], pev + 2 * var_w * c / m, rtol=1e-8)


def test_kass_steffey_of_ml_takes_the_expected_information(many):
    fit = lmmlib.fit(SLOPES, many, method="ML")
    W = np.linalg.inv(equations.information_variance(fit.cross, fit.D, fit.sigma2))
    slopes = empirical_bayes.prediction_derivatives(fit)
    added = np.einsum("rs,rga,sgb->gab", W, slopes, slopes)
    assert_allclose(empirical_bayes.kass_steffey(fit).cov - fit.blups().pev, added, atol=1e-7 * added.max())


def test_groups_without_random_effects(many):
    fit = lmmlib.fit("lead ~ week + (0 | child)", many)
    for posterior in (
        empirical_bayes.plug_in(fit),
        empirical_bayes.kass_steffey(fit),
        empirical_bayes.laird_louis(fit, 3, np.random.default_rng(1)),
    ):
        assert posterior.b.shape == (20, 0) and len(posterior.frame()) == 0


def test_kass_steffey_where_D_is_singular(many):
    flat = many.assign(lead=many["lead"] - many.groupby("child")["lead"].transform("mean"))
    fit = lmmlib.fit("lead ~ week + (1 | child)", flat)
    assert fit.is_singular
    posterior = empirical_bayes.kass_steffey(fit)
    assert (posterior.b.to_numpy() == 0).all() and (posterior.cov > 0).all()
    assert (empirical_bayes.plug_in(fit).cov == 0).all()


def test_laird_louis_is_the_posterior_of_the_original_data_averaged_over_refits(intercepts):
    size, fit = 30, intercepts
    posterior = empirical_bayes.laird_louis(fit, size, np.random.default_rng(4))
    fits = lmmlib.fit_many(fit.design, fit.simulate(size, rng=np.random.default_rng(4)))
    means, variances = [], []
    for s in range(size):  # dense, group by group
        tau2, sigma2 = fits.D[s, 0, 0], fits.sigma2[s]
        V = [sigma2 * np.eye(k) + tau2 for k in fit.design.n_i]
        rows = [fit.design.rows(i) for i in range(20)]
        r = fit.design.y - fit.design.X @ fits.beta[s]
        means.append([tau2 * np.linalg.solve(v, r[i]).sum() for v, i in zip(V, rows, strict=True)])
        variances.append([tau2 - tau2**2 * np.linalg.inv(v).sum() for v in V])
    assert_allclose(posterior.b.iloc[:, 0], np.mean(means, axis=0), rtol=1e-8)
    assert_allclose(posterior.cov[:, 0, 0], np.mean(variances, axis=0) + np.var(means, axis=0), rtol=1e-8)
    lower, upper = np.array(posterior.limits(0.8))[..., 0]
    for x, p in ((lower, 0.1), (upper, 0.9)):
        assert_allclose(ndtr((x - means) / np.sqrt(variances)).mean(axis=0), p, atol=1e-8)
    assert posterior.n_failed == 0 and "30 normal" in repr(posterior)


def test_laird_louis_with_slopes(slopes):
    posterior = empirical_bayes.laird_louis(slopes, 50, np.random.default_rng(5))
    assert posterior.b.shape == (20, 2) and posterior.cov.shape == (20, 2, 2)
    fits = lmmlib.fit_many(slopes.design, slopes.simulate(50, rng=np.random.default_rng(5)))
    stars = list(zip(fits.beta, fits.D, fits.sigma2, strict=True))
    means = np.array([random_effects(slopes.cross, *star) for star in stars])
    covariances = np.array([conditional_covariance(slopes.cross, *star[1:]) for star in stars])
    mean, cov = total_moments(means, covariances)
    assert_allclose(posterior.b, mean, rtol=1e-9, atol=1e-10)
    assert_allclose(posterior.cov, cov, rtol=1e-9, atol=1e-10)
    naive = empirical_bayes.plug_in(slopes).cov
    assert (posterior.cov[:, [0, 1], [0, 1]].mean(axis=0) > naive[:, [0, 1], [0, 1]].mean(axis=0)).all()


def test_laird_louis_leaves_failed_refits_out_and_says_so(intercepts, monkeypatch):
    plain = empirical_bayes.parametric_bootstrap

    def spoiled(share):
        def bootstrap(fit, size, rng):
            fits = plain(fit, size, rng)
            return replace(fits, converged=np.arange(size) >= share * size, reason=("no luck",) * size)

        return bootstrap

    monkeypatch.setattr(empirical_bayes, "parametric_bootstrap", spoiled(0.25))
    posterior = empirical_bayes.laird_louis(intercepts, 20, np.random.default_rng(4))
    assert posterior.n_failed == 5 and "5 refits failed and are left out" in repr(posterior)
    assert len(posterior.mixture.means) == 15
    monkeypatch.setattr(empirical_bayes, "parametric_bootstrap", spoiled(1.0))
    with pytest.raises(DesignError, match="none of 20 refits found an optimum: no luck"):
        empirical_bayes.laird_louis(intercepts, 20, np.random.default_rng(4))


@pytest.mark.parametrize("arguments, words", [((0, 1), "size must be"), ((10, None), "rng must be a numpy Generator")])
def test_laird_louis_errors(intercepts, arguments, words):
    size, seed = arguments
    with pytest.raises(ParameterError, match=words):
        empirical_bayes.laird_louis(intercepts, size, seed and np.random.default_rng(seed))


@pytest.mark.parametrize("prior", ["1/tau^2", "1/tau2", "inverse-gamma"])
def test_improper_priors_are_refused_with_the_reason(intercepts, prior):
    with pytest.raises(ParameterError, match="improper posterior: the likelihood does not vanish at tau = 0"):
        empirical_bayes.quadrature(intercepts, prior=prior)


def test_posteriors_show_themselves(intercepts):
    assert (
        repr(empirical_bayes.plug_in(intercepts))
        == "Posterior of 20 groups, 1 random effect each: plug-in, error known (normal)"
    )
    assert "t(" in repr(empirical_bayes.quadrature(intercepts))
    with pytest.raises(ParameterError, match="level"):
        empirical_bayes.plug_in(intercepts).limits(1.2)
