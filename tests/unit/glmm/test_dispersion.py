"""Overdispersion is seen, Poisson counts are not accused, and effective parameters are those of the hat matrix."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lmmlib.errors import ParameterError
from lmmlib.glmm import dispersion
from lmmlib.glmm.dispersion import Dispersion, effective_parameters
from lmmlib.glmm.fit import fit_glmm, fit_glmm_design
from tests.unit.glmm.designs import design


def sample(rng, extra, n=40, n_i=6, mean=1.5):
    g = np.repeat(np.arange(n), n_i)
    eta = mean + 0.6 * rng.normal(size=n)[g] + extra * rng.normal(size=n * n_i)
    return pd.DataFrame({"g": g, "y": rng.poisson(np.exp(eta))})


@pytest.mark.parametrize(("q", "p"), [(1, 2), (2, 2), (2, 3)])
def test_effective_parameters_are_the_trace_of_the_full_hat_matrix(q, p):
    fit = fit_glmm_design(design(q=q, p=p, n=20))
    c, n = fit.rows, fit.n_groups
    A = np.zeros((n * q, fit.n_obs))
    for r, i in enumerate(c.group):
        A[i * q : (i + 1) * q, r] = fit.L.T @ c.Z[:, r]
    full = np.concatenate([c.X, A])
    J = (fit.inner.mu * full) @ full.T
    penalty = np.diag([0.0] * p + [1.0] * (n * q))
    assert_allclose(effective_parameters(fit), np.trace(np.linalg.solve(J + penalty, J)), rtol=1e-9)


def test_without_variance_between_groups_only_the_fixed_effects_count():
    d = design(n=20)
    assert effective_parameters(fit_glmm_design(d.with_response(np.full(d.n_obs, 3.0)))) == pytest.approx(2, abs=1e-6)


def test_z_and_ratio_of_poisson_and_of_overdispersed_counts():
    rng = np.random.default_rng(3)
    z, ratio = {}, {}
    for extra in (0.0, 0.5):
        found = [fit_glmm("y ~ 1 + (1 | g)", sample(rng, extra)).overdispersion() for _ in range(100)]
        z[extra], ratio[extra] = np.array([d.z for d in found]), np.mean([d.ratio for d in found])
    # Poisson: z is near standard normal (100 draws, and a little low as modes are drawn to zero).
    assert abs(z[0.0].mean()) < 0.5 and 0.7 < z[0.0].std() < 1.3 and (z[0.0] > 1.645).mean() < 0.12
    assert 0.93 < ratio[0.0] < 1.03
    # The negative control: overdispersed counts are found in nearly every sample.
    assert (z[0.5] > 1.645).mean() > 0.95 and ratio[0.5] > 1.5


def test_by_simulation():
    rng = np.random.default_rng(4)
    fit, worse = (fit_glmm("y ~ 1 + (1 | g)", sample(rng, extra, mean=0.0)) for extra in (0.0, 1.2))
    plain, simulated = fit.overdispersion(), fit.overdispersion(99, rng=1)
    assert simulated.ratio == plain.ratio and 0.05 < simulated.p <= 1
    assert worse.overdispersion(99, rng=1).p == pytest.approx(0.01)
    with pytest.raises(ParameterError, match="rng must be"):
        fit.overdispersion(99)


def test_simulated_z_and_p_by_hand(monkeypatch):
    """The sample standard deviation of the simulated ratios, and the data's own ratio counted in p."""
    own, simulated = 1.05, [1.0, 0.8, 1.1]
    fit = SimpleNamespace(rows=SimpleNamespace(family=SimpleNamespace(dispersed=True)))
    ratios = iter([own, *simulated])
    monkeypatch.setattr(dispersion, "pearson_statistic", lambda fit: Dispersion(1.0, 1.0, next(ratios), 0.0, 0.0))
    monkeypatch.setattr(dispersion, "simulate", lambda fit, size, rng: np.zeros((2, size)))
    monkeypatch.setattr(dispersion, "refit", lambda fit, y: None)
    d = dispersion.overdispersion(fit, 3, np.random.default_rng(1))
    assert_allclose([d.ratio, d.p], [own, (1 + 1) / (1 + 3)], rtol=1e-14)
    assert_allclose(d.z, (own - np.mean(simulated)) / np.std(simulated, ddof=1), rtol=1e-12)


def test_repr():
    fit = fit_glmm("y ~ 1 + (1 | g)", sample(np.random.default_rng(1), 0.0))
    assert repr(fit.overdispersion()).startswith("Dispersion: Pearson ")
