"""Fitted values, residuals and predictions."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from lmmlib.errors import DataError, ParameterError
from lmmlib.glmm.fit import fit_glmm


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(2)
    g = rng.permutation(np.repeat(np.arange(30), 5))
    x, b = rng.normal(size=150), rng.normal(size=(30, 2)) * [0.7, 0.3]
    lo = rng.normal(size=150)
    y = rng.poisson(np.exp(0.5 + lo + 0.3 * x + b[g, 0] + b[g, 1] * x))
    return pd.DataFrame({"g": g, "x": x, "y": y, "lo": lo})


@pytest.fixture(scope="module")
def fit(frame):
    return fit_glmm("y ~ x + (x | g)", frame, offset="lo")


def test_levels_are_their_formulas(fit, frame):
    Z = np.column_stack([np.ones(150), frame.x])
    link = frame.lo + Z @ fit.beta
    b = fit.modes().b.to_numpy()[frame.g]
    means = {
        "typical": np.exp(link),
        "group": np.exp(link + (Z * b).sum(axis=1)),
        "population": np.exp(link + np.einsum("ra,ab,rb->r", Z, fit.D, Z) / 2),
    }
    for of, mean in means.items():
        assert_allclose(fit.fitted(of=of), mean, rtol=1e-10)
        assert_allclose(fit.predict(frame, of=of).estimate, mean, rtol=1e-10)
        assert_allclose(fit.predict(frame, of=of, scale="link").estimate, np.log(mean), rtol=1e-8, atol=1e-10)


def test_residuals(fit, frame):
    mu = fit.fitted()
    assert_allclose(fit.residuals(kind="response"), frame.y - mu)
    assert_allclose(fit.residuals(), (frame.y - mu) / np.sqrt(mu))
    deviance = fit.residuals(kind="deviance")
    zero = frame.y.to_numpy() == 0
    assert_allclose(deviance[zero], -np.sqrt(2 * mu[zero]))
    assert (np.sign(deviance) == np.sign(frame.y - mu)).all()


def test_the_variance_is_the_sum_of_its_parts(fit, frame):
    """For the typical group it is x' cov x; for a known group that of eta by the joint law of beta and b."""
    X = np.column_stack([np.ones(150), frame.x])
    typical = fit.predict(frame, of="typical", scale="link")
    assert_allclose(typical.se**2, np.einsum("ra,ab,rb->r", X, fit.cov_beta, X), rtol=1e-9)
    new = fit.predict(frame.assign(g=99), scale="link")
    assert_allclose(new.se**2 - typical.se**2, np.einsum("ra,ab,rb->r", X, fit.D, X), rtol=1e-9)
    assert_allclose(new.estimate, typical.estimate) and not new.known_group.any()


def test_the_error_in_the_parameters_is_that_of_moving_them(fit, frame):
    from lmmlib.glmm.rows import modes

    def link(psi):
        inner = modes(fit.rows, *fit.rows.split(psi))
        out = np.empty(150)
        out[fit.rows.order] = fit.rows.offset + psi[:2] @ fit.rows.X + fit.rows.along(inner.b)
        return out

    h = 1e-5
    J = np.array([(link(fit.psi + e) - link(fit.psi - e)) / (2 * h) for e in h * np.eye(5)]).T
    Z, known = np.column_stack([np.ones(150), frame.x]), fit.modes().known[frame.g]
    variance = np.einsum("ra,rab,rb->r", Z, known, Z) + np.einsum("rp,ps,rs->r", J, fit.cov_psi, J)
    assert_allclose(fit.predict(frame, scale="link").se ** 2, variance, rtol=1e-6)


def test_limits_and_scales(fit, frame):
    link, mean = fit.predict(frame, scale="link", level=0.5), fit.predict(frame, level=0.5)
    assert_allclose(np.log(mean.lower), link.lower, atol=1e-10)
    assert_allclose(mean.se, mean.estimate * link.se)
    assert_allclose((link.upper - link.estimate) / link.se, 0.6744897501960817)


def test_offsets_of_new_rows(fit, frame):
    array = fit_glmm("y ~ x + (x | g)", frame, offset=frame.lo.to_numpy())
    with pytest.raises(DataError, match="pass offset="):
        array.predict(frame)
    with pytest.raises(DataError, match="'lo' is not a column"):
        fit.predict(frame.drop(columns="lo"))
    assert_allclose(array.predict(frame, offset=frame.lo).estimate, fit.predict(frame).estimate)
    assert_allclose(fit.predict(frame, offset=frame.lo + 1).estimate, np.e * fit.predict(frame).estimate)


def test_unknown_groups_and_options(fit, frame):
    with pytest.raises(DataError, match="1 of the groups"):
        fit.predict(frame.assign(g=99), new_groups="error")
    assert len(fit.predict(frame.drop(columns="g"), of="population")) == 150
    with pytest.raises(DataError, match="no column 'g'"):
        fit.predict(frame.drop(columns="g"))
    for wrong in ({"of": "conditional"}, {"scale": "log"}, {"new_groups": "typical"}):
        with pytest.raises(ParameterError, match=f"{next(iter(wrong))} is "):
            fit.predict(frame, **wrong)
    for wrong in ({"of": "conditional"}, {"kind": "raw"}):
        with pytest.raises(ParameterError, match=f"{next(iter(wrong))} is "):
            fit.residuals(**wrong)


def test_limits_for_the_population_cover():
    """95 % limits for the mean over all groups hold it in most of 200 samples; those of half the width do not."""
    rng, inside, half = np.random.default_rng(9), 0, 0
    g = np.repeat(np.arange(60), 4)
    new = pd.DataFrame({"g": [0]})
    for _ in range(200):
        y = rng.poisson(np.exp(1 + 0.6 * rng.normal(size=60)[g]))
        row = (
            fit_glmm("y ~ 1 + (1 | g)", pd.DataFrame({"g": g, "y": y}))
            .predict(new, of="population", scale="link")
            .iloc[0]
        )
        gap = abs(row.estimate - (1 + 0.18))
        inside, half = inside + (gap < 1.96 * row.se), half + (gap < 0.98 * row.se)
    # Binomial with sd 3; ML is a little too sure with 60 groups.
    assert 175 < inside and half < 160
