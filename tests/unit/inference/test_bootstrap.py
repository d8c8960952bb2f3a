"""The parametric bootstrap: its law, its failures, its progress, and bad input."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lmmlib
from lmmlib.errors import ParameterError
from lmmlib.inference import bootstrap
from lmmlib.inference.bootstrap import parametric_bootstrap, refits


@pytest.fixture(scope="module")
def model():
    return lmmlib.fit("Yield ~ 1 + (1 | Batch)", lmmlib.load("dyestuff"), method="ML")


def test_the_draws_have_the_law_of_the_fit(model):
    """Balanced one-way: the mean has the fit's standard error, and ML's sigma2 is unbiased for the fit's (inside)."""
    fits = parametric_bootstrap(model, 4000, np.random.default_rng(1))
    mean, se = fits.beta[:, 0].mean(), fits.beta[:, 0].std()
    assert abs(mean - model.beta.iloc[0]) < 4 * model.se.iloc[0] / np.sqrt(4000)
    assert_allclose(se, model.se.iloc[0], rtol=4 / np.sqrt(2 * 4000))
    inside = parametric_bootstrap(
        lmmlib.fit("Yield ~ 1 + (0 | Batch)", lmmlib.load("dyestuff")), 4000, np.random.default_rng(1)
    )
    # Negative control: without the variance between batches the mean varies less.
    assert inside.beta[:, 0].std() < 0.75 * se


def test_all_models_see_the_same_responses(model):
    one, two = refits(model, [model, model], 30, np.random.default_rng(2))
    assert_array_equal(one.loglik, two.loglik)
    other = parametric_bootstrap(model, 30, np.random.default_rng(3))
    assert np.abs(one.loglik - other.loglik).min() > 0


def test_chunks_are_joined_in_order(model, monkeypatch):
    monkeypatch.setattr(bootstrap, "CHUNK", 4)
    fits = parametric_bootstrap(model, 10, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    Y = np.concatenate([model.simulate(k, rng=rng) for k in (4, 4, 2)], axis=1)
    assert len(fits) == len(fits.reason) == 10
    assert_allclose(fits.loglik, lmmlib.fit_many(model.design, Y, method="ML").loglik, rtol=1e-10)


def test_failures_keep_their_place_and_are_counted(model, monkeypatch):
    plain = bootstrap.simulated

    def broken(fit, size, rng):
        return np.where(np.arange(size) == 2, np.nan, plain(fit, size, rng))

    monkeypatch.setattr(bootstrap, "simulated", broken)
    fits = parametric_bootstrap(model, 6, np.random.default_rng(5))
    assert_array_equal(np.flatnonzero(fits.failed), [2])
    assert np.isnan(fits.loglik[2]) and "missing" in fits.reason[2]
    null = lmmlib.fit("Yield ~ 1 + (0 | Batch)", lmmlib.load("dyestuff"), method="ML")
    test = lmmlib.compare(null, model, method="bootstrap", size=20, rng=np.random.default_rng(6))
    assert test.n_failed == 1 and len(test.draws) == 19 and "1 of 20" in test.note
    assert_allclose(test.p, (1 + np.sum(test.draws >= test.statistic)) / 20)


@pytest.mark.parametrize(("size", "rng", "words"), [(0, 1, "size"), (2.5, 1, "size"), (10, None, "default_rng")])
def test_bad_input(model, size, rng, words):
    with pytest.raises(ParameterError, match=words):
        parametric_bootstrap(model, size, np.random.default_rng(rng) if rng else None)
