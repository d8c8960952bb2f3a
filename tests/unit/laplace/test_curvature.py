"""Standard errors of counts and of Laplace marginals: whatever the units are, or none where a fit has not converged."""

from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import fit_glmm
from lmmlib.fitting import newton
from lmmlib.laplace import likelihood

COUNTS = (1.0, 1e3, 1e6, 1e9)
UNITS = ((0.0, 1.0), (2000.0, 1.0), (0.0, 1e6), (0.0, 1e-6))
SD = (0.3, 1.0, 3.0)


def rows(level, shift=0.0, unit=1.0, sd=0.8, n=8, each=6):
    """Rows about ``level`` in groups whose effects have that standard deviation; x in other units, from elsewhere."""
    i = np.arange(n * each)
    b = np.linspace(-1.5, 1.5, n)[np.random.default_rng(3).permutation(n)]
    x = np.round(np.sin(1.7 * i) + i % 3, 3)
    y = np.round(level * np.exp(sd * b[i // each] + 0.2 * x) * (1.2 + np.cos(2.3 * i) * min(1, level**-0.5)) + 1)
    return pd.DataFrame({"g": i // each, "x": (x + shift) * unit, "y": y})


def loglik(groups, beta, log_sd):
    """Laplace's approximation up to a constant, written plainly, a group at a time, in numbers of 50 digits."""
    total, variance = Decimal(0), (2 * log_sd).exp()
    for x, y in groups:
        fixed = [beta[0] + beta[1] * v for v in x]
        mass, count = sum(f.exp() for f in fixed), sum(y)
        b = ((count + Decimal("0.5")) / mass).ln()
        for _ in range(60):
            step = (count - mass * b.exp() - b / variance) / (mass * b.exp() + 1 / variance)
            b += step
            if abs(step) < Decimal("1e-45"):
                break
        total += sum(v * (f + b) for v, f in zip(y, fixed, strict=True)) - mass * b.exp()
        total -= b * b / variance / 2 + (1 + variance * mass * b.exp()).ln() / 2
    return total


def by_differences(d, beta, log_sd):
    """Standard errors of beta and of the logarithm of the sd, and the Newton decrement, from second differences."""
    with localcontext(prec=50):
        groups = [([Decimal(v) for v in one.x], [Decimal(v) for v in one.y]) for _, one in d.groupby("g")]
        at = [Decimal(float(v)) for v in (*beta, log_sd)]
        h = [Decimal("1e-12"), Decimal("1e-12") / Decimal(float(d.x.abs().max())), Decimal("1e-12")]

        def value(moves):
            psi = [a + int(m) * s for a, m, s in zip(at, moves, h, strict=True)]
            return loglik(groups, psi[:2], psi[2])

        H, slope, e, units = np.empty((3, 3)), np.empty(3), np.eye(3, dtype=int), [float(s) * 1e12 for s in h]
        for a in range(3):
            slope[a] = (value(e[a]) - value(-e[a])) / 2 * 10**12
            for b in range(3):
                mixed = value(e[a] + e[b]) - value(e[a] - e[b]) - value(e[b] - e[a]) + value(-e[a] - e[b])
                H[a, b] = -mixed / 4 * 10**24
    unit = 1 / np.sqrt(np.diag(H))
    cov = np.linalg.inv(H * np.outer(unit, unit)) * np.outer(unit, unit)
    return np.sqrt(np.diag(cov)) * units, slope @ cov @ slope


@pytest.mark.parametrize("level", COUNTS)
@pytest.mark.parametrize(("shift", "unit"), UNITS)
def test_counts_against_differences(level, shift, unit):
    d = rows(level, shift, unit)
    fit = fit_glmm("y ~ x + (1 | g)", d)
    se, decrement = by_differences(d, fit.beta, np.log(fit.theta[0]))
    assert fit.converged and decrement < 1e-10
    assert_allclose(fit.se, se[:2], rtol=1e-6)


@pytest.mark.parametrize("level", (1.0, 1e3, 1e6, 1e8))
@pytest.mark.parametrize("sd", SD)
def test_counts_of_any_spread_against_differences(level, sd):
    d = rows(level, sd=sd)
    fit = fit_glmm("y ~ x + (1 | g)", d)
    if fit.is_singular:
        pytest.skip("no logarithm of a standard deviation")
    se, decrement = by_differences(d, fit.beta, np.log(fit.theta[0]))
    assert fit.converged and decrement < 1e-10
    assert_allclose(fit.se, se[:2], rtol=1e-6)
    sd_se = np.sqrt(np.diag(fit.cov_parameters()))[2]
    assert_allclose(sd_se / fit.theta[0], se[2], rtol=1e-5)


def test_a_direction_between_groups_is_kept_beside_those_within():
    """x and z differ by what is constant in a group: their difference has next to none of the curvature."""
    d = rows(1e9)
    d["z"] = d.x + np.cos(d.g)
    fit, other = fit_glmm("y ~ x + z + (1 | g)", d), fit_glmm("y ~ x + w + (1 | g)", d.assign(w=np.cos(d.g)))
    assert fit.converged and other.converged
    assert_allclose(fit.se["z"], other.se["w"], rtol=1e-5)


def test_large_counts_as_glmmTMB_has_them():
    """glmmTMB 1.1 of R: glmmTMB(y ~ x + (1 | g), family = poisson); its optimiser stops at six digits."""
    i = np.arange(240)
    x, b = np.round(np.sin(1.7 * i), 3), np.array([-1.9, 0.4, 2.6, -0.8, 1.7, -3.1, 0.9, 0.2])
    y = np.round(np.exp(14.5 + b[i // 30] + 0.1 * x) * (1 + 0.002 * np.cos(2.3 * i)))
    d = pd.DataFrame({"g": i // 30, "x": x, "y": y})
    for method in ("laplace", "aghq"):
        fit = fit_glmm("y ~ x + (1 | g)", d, method=method)
        assert_allclose(fit.se, [0.6189698535, 0.0000368284768], rtol=1e-5)
        assert_allclose(fit.loglik, -3576.746862, atol=1e-5)
        assert_allclose(fit.se.iloc[0], np.sqrt(fit.D.iloc[0, 0] / 8), rtol=1e-5)


@pytest.mark.parametrize("top", [1e10, 5e10])
def test_counts_up_to_the_largest_are_fitted_and_then_refused(top):
    d = rows(1e9)
    d["y"] = np.round(d.y * (top / d.y.max()))
    fit = fit_glmm("y ~ x + (1 | g)", d)
    assert fit.converged and len(fit.log) < 20
    assert_allclose(fit.se, by_differences(d, fit.beta, np.log(fit.theta[0]))[0][:2], rtol=1e-6)
    with pytest.raises(lmmlib.errors.DataError, match="use lmmlib.fit for their logarithms"):
        fit_glmm("y ~ x + (1 | g)", d.assign(y=np.round(d.y * 100)))


def marginal(d, square=True):
    pt = pytest.importorskip("pytensor.tensor")
    x, y, g = d.x.to_numpy(), d.y.to_numpy(), d.g.to_numpy()

    def log_joint(b, beta, log_sd):
        eta = beta[0] + beta[1] * x + b[g, 0]
        squares = (b**2).sum() if square else (b * b).sum()
        return (y * eta - pt.exp(eta)).sum() - 0.5 * squares / pt.exp(2 * log_sd) - (g[-1] + 1) * log_sd

    return lmmlib.laplace.marginal(log_joint, {"beta": [0.0, 0.0], "log_sd": 0.0}, int(g[-1]) + 1)


@pytest.mark.parametrize(
    ("level", "shift", "unit"), [(3.0, 2000.0, 1.0), (3.0, 30000.0, 1.0), (30.0, 0.0, 1e6), (1e4, 0.0, 1e-6)]
)
def test_laplace_marginal_against_differences(level, shift, unit):
    d = rows(level, shift, unit)
    found = marginal(d).fit()
    se, decrement = by_differences(d, found.estimates["beta"], found.estimates["log_sd"])
    assert found.converged and not found.flat and decrement < 1e-8
    assert_allclose(found.se, se, rtol=1e-4)


def test_a_square_at_modes_of_zero_is_that_of_a_product():
    """Groups without information have modes of exactly zero, where the third derivative of a power is none."""
    d, zero = rows(3.0), {"beta": [1.0, 0.1], "log_sd": -0.2}
    d["y"] = 4.0
    d["x"] = np.tile([-1.0, 0.0, 1.0], len(d) // 3)
    at = {"beta": [np.log(4.0), 0.0], "log_sd": -0.2}
    power, product = marginal(d).gradient(**at), marginal(d, square=False).gradient(**at)
    for name in zero:
        assert np.isfinite(power[name]).all()
        assert_allclose(power[name], product[name], rtol=1e-10, atol=1e-10)


def test_a_gradient_that_is_no_number_is_named():
    pt = pytest.importorskip("pytensor.tensor")

    def log_joint(b, mu):
        return -(b * b).sum() - pt.exp(mu) * (abs(b) ** 2.5).sum()

    model = lmmlib.laplace.marginal(log_joint, {"mu": 0.0}, 3)
    assert np.isfinite(model.loglik())
    with pytest.raises(lmmlib.errors.DesignError, match="its gradient is not a number"):
        model.fit()


def test_nothing_prints_a_standard_error_without_convergence(monkeypatch):
    d, model = rows(30.0, 100.0), marginal(rows(30.0, 100.0))
    monkeypatch.setattr(newton, "MAX_STEPS", 2)
    linear = lmmlib.fit("y ~ x + (x | g)", d)
    for fit in (linear, fit_glmm("y ~ x + (1 | g)", d), fit_glmm("y ~ x + (1 | g)", d, method="aghq")):
        assert not fit.converged and "not converged, so no standard errors" in repr(fit)
        assert fit.se.isna().all() and fit.cov_beta.isna().all(axis=None)
        table = fit.fixed_effects(df="z") if fit is linear else fit.fixed_effects()
        assert table[["se", "p", "lower", "upper"]].isna().all(axis=None)
        for name in fit.beta.index:
            (line,) = [
                text
                for text in repr(fit).split("Fixed effects")[1].splitlines()
                if text.split()[:1] == [name] and "NaN" in text
            ]
            assert line.split()[2] == line.split()[-1] == "NaN"
    monkeypatch.setattr(likelihood, "ROUNDS", 1)
    found = model.fit()
    assert not found.converged and "not converged, so no standard errors" in repr(found)
    assert found.se.isna().all() and found.cov.isna().all(axis=None)
    assert [line.split()[-1] for line in repr(found).splitlines() if line.startswith("  beta")] == ["-", "-"]
