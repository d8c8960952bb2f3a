"""The posterior of the Gibbs sampler is that which PyMC finds, by another algorithm and without cross-products.

The three models are written as densities of the rows, random effects integrated out, priors by other constructions
than the sampler's: the half-Cauchy as a distribution, the inverse Wishart by Bartlett's decomposition of its inverse,
Huang and Wand's by its density. They are independent, so one run of NUTS samples all of them. Means differ by less than
4.5 standard errors of their difference (once in 150,000 by chance, for each of some 25 values).
"""

import logging
import warnings

import numpy as np
import pytest

import lmmlib
from lmmlib.bayes.priors import HalfCauchy, HuangWand, InverseGamma, Normal, Priors
from lmmlib.bayes.sample import sample
from lmmlib.bayes.unit_priors import unit_information

DENTAL = "distance ~ age + (age | Subject)"
DRAWS = 500
TLC = "lead ~ C(week) * treatment + (1 | id)"


def frames():
    dental, tlc, planting = (lmmlib.load(name) for name in ("dental", "tlc", "planting"))
    planting = planting.rename(columns={"yield": "y"})
    return dental.assign(age=dental.age - 11), tlc, planting


@pytest.fixture(scope="module")
def ours():
    dental, tlc, planting = frames()
    quadratic = "y ~ density + I(density**2) + (density + I(density**2) | block)"
    priors = {
        "dental": Priors(Normal(20.0, 100.0), InverseGamma(2.0, 3.0), HuangWand(2.0, [3.0, 0.5])),
        "tlc": Priors(sigma=HalfCauchy(5.0), D=HalfCauchy(5.0)),
        "planting": unit_information(quadratic, planting),
    }
    formulas = {"dental": DENTAL, "tlc": TLC, "planting": quadratic}
    data = {"dental": dental, "tlc": tlc, "planting": planting}
    return {k: sample(formulas[k], data[k], priors[k], draws=2000, chains=20, rng=5) for k in formulas}


def by_group(drawn):
    """Rows of groups that share X and Z: y (n, n_i), and one X (n, n_i, p), Z (n_i, q)."""
    design = drawn.design
    rows = np.array([design.rows(i) for i in range(design.n_groups)])
    assert np.ptp(design.Z[rows], axis=0).max() == 0
    return design.y[rows], design.X[rows], design.Z[rows[0]]


@pytest.fixture(scope="module")
def theirs(ours):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pymc as pm
        import pytensor.tensor as pt

        logging.getLogger("pymc").setLevel(logging.WARNING)

        def coefficients(name, prior=None):
            """beta, flat or normal, as a shift of least squares along axes in which it is round: NUTS likes that."""
            X, y = ours[name].design.X, ours[name].design.y
            root = np.linalg.cholesky(np.linalg.inv(X.T @ X)) * 2 * np.std(y - X @ np.linalg.lstsq(X, y)[0])
            z = pm.Flat(f"{name}_z", shape=X.shape[1], initval=np.zeros(X.shape[1]))
            beta = pm.Deterministic(f"{name}_beta", np.linalg.lstsq(X, y)[0] + pt.dot(root, z))
            if prior is not None:
                away = pt.dot(np.linalg.inv(np.linalg.cholesky(prior.cov)), beta - prior.mean)
                pm.Potential(f"{name}_prior", -0.5 * (away**2).sum())
            return beta

        def likelihood(name, beta, D, sigma2):
            y, X, Z = by_group(ours[name])
            V = Z @ D @ Z.T + sigma2 * np.eye(len(Z))
            pm.MvNormal(f"y_{name}", mu=pt.dot(X, beta), chol=pt.linalg.cholesky(V), observed=y)
            pm.Deterministic(f"{name}_D", D)
            pm.Deterministic(f"{name}_sigma2", sigma2)

        with pm.Model():
            sd = pm.HalfFlat("sd", shape=2, initval=[1.0, 0.2])
            rho = pm.Uniform("rho", -1, 1)
            D = pt.outer(sd, sd) * (np.eye(2) + rho * (1 - np.eye(2)))
            det = (sd[0] * sd[1]) ** 2 * (1 - rho**2)
            inverse_diagonal = 1 / (sd**2 * (1 - rho**2))
            density = -(2 + 4) / 2 * pt.log(det)
            density -= (2 + 2) / 2 * pt.log(2 * inverse_diagonal + 1 / np.array([3.0, 0.5]) ** 2).sum()
            pm.Potential("huang_wand", density + 2 * pt.log(sd).sum())  # the density of D, and the Jacobian
            sigma2 = pm.InverseGamma("dental_s", 2.0, 3.0)
            likelihood("dental", coefficients("dental", ours["dental"].priors.beta), D, sigma2)

            # A random intercept: deviations from group means are independent of the means.
            tau, sigma = pm.HalfCauchy("tau", 5.0), pm.HalfCauchy("sigma", 5.0)
            y, X, Z = by_group(ours["tlc"])
            left = y - pt.dot(X, coefficients("tlc"))
            means = left.mean(axis=1)
            pm.Potential("tlc_within", pm.logp(pm.Normal.dist(0, sigma), left - means[:, None]).sum())
            total = sigma**2 + len(Z) * tau**2
            # The normal density of the means in units of their root, less one deviation of each group too many.
            between = -0.5 * (pt.log(total) + len(Z) * means**2 / total) + pt.log(sigma)
            pm.Potential("tlc_between", between.sum())
            pm.Deterministic("tlc_D", (tau**2).reshape((1, 1)))
            pm.Deterministic("tlc_sigma2", sigma**2)

            prior = ours["planting"].priors
            q, lower = 3, np.tril_indices(3, -1)
            diagonal = pm.ChiSquared("c", prior.D.df - np.arange(q), shape=q)
            A = pt.set_subtensor(pt.diag(pt.sqrt(diagonal))[lower], pm.Normal("below", shape=3))
            root = pt.dot(np.linalg.cholesky(np.linalg.inv(prior.D.scale)), A)
            inverse = pt.linalg.solve_triangular(root, np.eye(q), lower=True)
            sigma2 = pm.InverseGamma("planting_s", prior.sigma.shape, prior.sigma.rate)
            likelihood("planting", coefficients("planting", prior.beta), pt.dot(inverse.T, inverse), sigma2)
            found = pm.sample(
                DRAWS, tune=250, chains=4, cores=2, nuts_sampler="nutpie", random_seed=1, progressbar=False
            )
    return found


def standard_error(values):
    import arviz as az

    return values.std() / np.sqrt(az.ess(values, method="mean"))


def differences(drawn, found, name):
    """Standardised differences of posterior means: beta, entries of D, log sigma2."""
    ours = [*np.moveaxis(drawn.beta, 2, 0), *np.moveaxis(drawn.D.reshape(*drawn.D.shape[:2], -1), 2, 0), drawn.sigma2]
    posterior = found.posterior
    theirs = [
        *np.moveaxis(posterior[f"{name}_beta"].values, 2, 0),
        *np.moveaxis(posterior[f"{name}_D"].values.reshape(4, DRAWS, -1), 2, 0),
        posterior[f"{name}_sigma2"].values,
    ]
    # A root keeps heavy tails of variances from having no variance themselves.
    ours, theirs = ([np.sign(v) * np.sqrt(np.abs(v)) for v in side] for side in (ours, theirs))
    return np.array(
        [
            (a.mean() - b.mean()) / np.hypot(standard_error(a), standard_error(b))
            for a, b in zip(ours, theirs, strict=True)
        ]
    )


@pytest.mark.parametrize("name", ["dental", "tlc", "planting"])
def test_posterior_means_agree(ours, theirs, name):
    z = differences(ours[name], theirs, name)
    assert np.abs(z).max() < 4.5, z


def test_another_prior_would_be_noticed(ours, theirs):
    """The negative control: sigma2 of the dental data under twice the prior rate."""
    dental, *_ = frames()
    other = Priors(Normal(20.0, 100.0), InverseGamma(2.0, 12.0), HuangWand(2.0, [3.0, 0.5]))
    z = differences(sample(DENTAL, dental, other, draws=2000, chains=20, rng=5), theirs, "dental")
    assert np.abs(z[-1]) > 4.5


def test_nuts_had_no_trouble(theirs):
    import arviz as az

    assert float(max(v.max() for v in az.rhat(theirs).values())) < 1.03
