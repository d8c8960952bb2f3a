"""Two checks of a sampler against the joint distribution of parameters and data: Geweke's, and simulation-based ranks.

Parameters are drawn from their priors and data given these, many data sets at once, each one the data of a chain of its
own. Chains are independent, so that every statistic below is a mean of independent values or a histogram of ranks.
The seeds are fixed, so that what passes once passes always.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from lmmlib.bayes.chains import Plan, advance, model_of, start, sweep
from lmmlib.bayes.conditionals import Model, State
from lmmlib.bayes.priors import HalfCauchy, HuangWand, InverseGamma, InverseWishart, Normal, Priors, Zellner
from lmmlib.design.cross import cross_products
from lmmlib.design.design import Design
from lmmlib.design.responses import Responses

STANDARD, ALTERNATING, CENTRED = Plan(False, True), Plan(False, False), Plan(True, False)
INTERWOVEN = Plan(False, True, True)
PLANS = {"standard": STANDARD, "alternating": ALTERNATING, "centred": CENTRED, "interwoven": INTERWOVEN}


def groups(q, diagonal=False, equal=True, seed=4):
    """Nine groups: equal ones, so that most of them are rotated away, or unequal ones of one to five rows."""
    rng = np.random.default_rng(seed)
    sizes = np.full(9, 4) if equal else np.array([1, 2, 5, 3, 1, 4, 2, 5, 3])
    group = np.repeat(np.arange(9), sizes)
    x = np.concatenate([np.arange(k) for k in sizes]) if equal else rng.normal(size=len(group))
    X = np.column_stack([np.ones(len(group)), 0.5 * x])
    names = ("one", "x")
    return Design.from_arrays(
        rng.normal(size=len(group)), X, X[:, :q], group, x_names=names, z_names=names[:q], diagonal=diagonal
    )


def draw_priors(rng, priors, design, size):
    """beta (p, C), D (C, q, q) and sigma2 (C,) from the priors, by SciPy where it has them."""
    sigma, q = priors.sigma, design.Z.shape[1]
    if isinstance(sigma, InverseGamma):
        sigma2 = stats.invgamma(sigma.shape, scale=sigma.rate).rvs(size, random_state=rng)
    else:
        sigma2 = stats.halfcauchy(scale=sigma.scale).rvs(size, random_state=rng) ** 2
    if isinstance(priors.beta, Normal):
        beta = rng.multivariate_normal(priors.beta.mean, priors.beta.cov, size).T
    else:
        root = np.linalg.cholesky(np.linalg.inv(design.X.T @ design.X) / priors.beta.delta)
        beta = priors.beta.mean[:, None] + root @ rng.standard_normal((2, size)) * np.sqrt(sigma2)
    D = draw_D(rng, priors.D, q, design.diagonal, size)
    if isinstance(priors.D, HuangWand) and priors.D.orthogonal:
        inverse = np.linalg.inv(cross_products(design).basis.Rz)
        D = inverse @ D @ inverse.T
    return beta, D, sigma2


def draw_D(rng, prior, q, diagonal, size):
    if isinstance(prior, InverseWishart):
        if diagonal:
            d = stats.invgamma(prior.df / 2).rvs((size, q), random_state=rng) * np.diag(prior.scale) / 2
            return d[:, :, None] * np.eye(q)
        return stats.invwishart(prior.df, prior.scale).rvs(size, random_state=rng).reshape(size, q, q)
    if diagonal or q == 1:
        sd = np.abs(stats.t(prior.df).rvs((size, q), random_state=rng)) * prior.scale
        return sd[:, :, None] ** 2 * np.eye(q)
    a = stats.invgamma(0.5).rvs((size, q), random_state=rng) / prior.scale**2
    scales = 2 * prior.df * (1 / a)[:, :, None] * np.eye(q)
    return np.array([stats.invwishart(prior.df + q - 1, scale).rvs(random_state=rng) for scale in scales])


def draw_data(rng, design, beta, D, sigma2):
    """One response for each column of beta, (N, C)."""
    b = np.einsum("cab,cgb->cga", np.linalg.cholesky(D), rng.standard_normal((len(D), design.n_groups, D.shape[1])))
    noise = rng.standard_normal((design.n_obs, len(D))) * np.sqrt(sigma2)
    return design.X @ beta + np.einsum("na,cna->nc", design.Z, b[:, design.group]) + noise


def uniforms(priors, design, beta, D, sigma2):
    """Functions of the parameters that are uniform and independent under the priors, by name (C,)."""
    q, sigma = D.shape[1], priors.sigma
    out = {}
    if isinstance(sigma, InverseGamma):
        out["sigma"] = stats.invgamma(sigma.shape, scale=sigma.rate).cdf(sigma2)
    else:
        out["sigma"] = stats.halfcauchy(scale=sigma.scale).cdf(np.sqrt(sigma2))
    away = beta - priors.beta.mean[:, None]
    if isinstance(priors.beta, Normal):
        away = np.linalg.solve(np.linalg.cholesky(priors.beta.cov), away)
    else:
        away = np.linalg.cholesky(design.X.T @ design.X * priors.beta.delta).T @ away / np.sqrt(sigma2)
    out |= {f"beta {j}": stats.norm.cdf(row) for j, row in enumerate(away)}
    if isinstance(priors.D, HuangWand) and priors.D.orthogonal:
        Rz = cross_products(design).basis.Rz
        D = Rz @ D @ Rz.T
    for k in range(q):
        if isinstance(priors.D, InverseWishart):
            shape = priors.D.df / 2 if design.diagonal else (priors.D.df - q + 1) / 2
            out[f"D {k}"] = stats.invgamma(shape, scale=priors.D.scale[k, k] / 2).cdf(D[:, k, k])
        else:
            t = stats.t(priors.D.df).cdf(np.sqrt(D[:, k, k]) / priors.D.scale[k])
            out[f"D {k}"] = 2 * t - 1
    if q == 2 and not design.diagonal:
        df = priors.D.df if isinstance(priors.D, InverseWishart) else priors.D.df + 1
        rho = D[:, 0, 1] / np.sqrt(D[:, 0, 0] * D[:, 1, 1])
        out["corr"] = stats.beta((df - 1) / 2, (df - 1) / 2).cdf((rho + 1) / 2)
    return out


def fit_uniform(design, Y, beta, D, sigma2):
    """Uniform if the parameters are those behind the data: the chi-square of whitened residuals."""
    same = design.group[:, None] == design.group
    V = np.einsum("na,cab,mb->cnm", design.Z, D, design.Z) * same + sigma2[:, None, None] * np.eye(design.n_obs)
    white = np.linalg.solve(np.linalg.cholesky(V), (Y - design.X @ beta).T[:, :, None])
    return stats.chi2(design.n_obs).cdf((white**2).sum(axis=(1, 2)))


@dataclass(frozen=True)
class Case:
    design: Design
    priors: Priors


def case(beta="normal", sigma="gamma", D="wishart", q=2, diagonal=False, equal=True):
    design = groups(q, diagonal, equal)
    cross = cross_products(design)
    scale = np.diag([1.5, 0.8][:q])
    chosen = Priors(
        {"normal": Normal([1.0, -1.0], [[1.0, 0.3], [0.3, 0.5]]), "zellner": Zellner(0.1, [1.0, -1.0])}[beta],
        {"gamma": InverseGamma(3.0, 2.0), "cauchy": HalfCauchy(0.7)}[sigma],
        {
            "wishart": InverseWishart(5.0, scale),
            "huang": HuangWand(2.0, [0.8, 0.5][:q]),
            "orthogonal": HuangWand(2.0, [0.8, 0.5], orthogonal=True),
            "cauchy": HalfCauchy(0.7),
            "gamma": InverseGamma(2.5, 1.0),
        }[D],
    )
    return Case(design, chosen.resolved(cross))


CASES = {
    "normal-gamma-wishart": case(),
    "normal-gamma-wishart-unequal": case(equal=False),
    "zellner": case("zellner"),
    "half-cauchy sigma": case(sigma="cauchy"),
    "huang-wand": case(D="huang"),
    "huang-wand, zellner, half-cauchy, unequal": case("zellner", "cauchy", "huang", equal=False),
    "huang-wand of orthogonal columns, unequal": case(D="orthogonal", equal=False),
    "diagonal wishart": case(diagonal=True),
    "diagonal huang-wand": case("zellner", D="huang", diagonal=True, equal=False),
    "intercept gamma": case(D="gamma", q=1),
    "intercept half-cauchy": case("zellner", "cauchy", "cauchy", q=1),
    "intercept huang-wand, unequal": case(D="huang", q=1, equal=False),
}
RUNS = [
    pytest.param(one, plan, id=f"{name}, {scheme}")
    for name, one in CASES.items()
    for scheme, plan in PLANS.items()
    if not (plan.centred and len(one.design.z_names) == 1)
]


@dataclass(frozen=True)
class Chains:
    """A model with a response for each chain."""

    cross: object
    model: Model

    @classmethod
    def of(cls, one, Y):
        cross = cross_products(one.design)
        return cls(cross, model_of(cross, one.priors, Responses.of_columns(cross, one.design, Y)))

    def state(self, rng, beta, D, sigma2):
        """Chains at these parameters, with the mixing scales drawn given them."""
        basis, m = self.cross.basis, self.model
        F = np.einsum("ab,cbd->adc", basis.Rz, np.linalg.cholesky(D))
        if m.diagonal:
            F = basis.Rz[..., None] * np.sqrt(np.diagonal(D, axis1=1, axis2=2).T)
        of_prior = np.linalg.solve(m.columns, basis.Rz)
        precision = np.diagonal(np.linalg.inv(of_prior @ D @ of_prior.T), axis1=1, axis2=2).T
        rates = m.D.draw_rates(rng, precision, 1 if m.diagonal else len(basis.Rz))
        beta = basis.Rx @ beta - m.data.beta0.T
        return State(beta, F, sigma2, m.sigma.draw_rates(rng, 1 / sigma2[None], 1), rates)

    def parameters(self, beta, F, sigma2):
        """beta (p, C), D (C, q, q), sigma2 (C,) of a state in the working basis."""
        root = np.linalg.solve(self.cross.basis.Rz, F.transpose(2, 0, 1))
        return np.linalg.solve(self.cross.basis.Rx, beta + self.model.data.beta0.T), root @ root.mT, sigma2


def geweke(one, plan, seed=1, chains=400, rounds=10):
    """Largest |z| over the uniforms, their squares and products: means over chains against those of the prior."""
    rng = np.random.default_rng(seed)
    beta, D, sigma2 = draw_priors(rng, one.priors, one.design, chains)
    seen = []
    for _ in range(rounds):
        Y = draw_data(rng, one.design, beta, D, sigma2)
        run = Chains.of(one, Y)
        state = sweep(rng, run.model, run.state(rng, beta, D, sigma2), plan)
        beta, D, sigma2 = run.parameters(state.beta, state.F, state.sigma2)
        u = uniforms(one.priors, one.design, beta, D, sigma2)
        u["fit"] = fit_uniform(one.design, Y, beta, D, sigma2)
        seen.append(np.array(list(u.values())) - 0.5)
    u = np.array(seen)
    first, second, products = u.mean(axis=0), (u**2 - 1 / 12).mean(axis=0), (u[:, :1] * u[:, 1:]).mean(axis=0)
    values = np.concatenate([first, second, products])
    return np.abs(values.mean(axis=1) / (values.std(axis=1, ddof=1) / np.sqrt(chains))).max()


def calibration(one, plan, seed=2, chains=384, draws=31):
    """Smallest p of the ranks of the true parameters among draws from their posterior being uniform."""
    rng = np.random.default_rng(seed)
    # With half-t priors a standard deviation may stay near zero for long: ranks need draws that have forgotten.
    thin, warmup = (30, 300) if isinstance(one.priors.D, HuangWand) else (6, 60)
    truth = draw_priors(rng, one.priors, one.design, chains)
    run = Chains.of(one, draw_data(rng, one.design, *truth))
    state = start(rng, run.cross, run.model, chains)
    state, *_ = advance(rng, run.model, state, plan, 0, warmup=warmup)
    _, *kept = advance(rng, run.model, state, plan, draws * thin, thin)
    true = np.array(list(uniforms(one.priors, one.design, *truth).values()))
    ranks = 0
    for drawn in zip(*kept, strict=True):
        ranks = ranks + (np.array(list(uniforms(one.priors, one.design, *run.parameters(*drawn)).values())) < true)
    counts = [np.bincount(row * 8 // (draws + 1), minlength=8) for row in ranks]
    return min(stats.chisquare(count).pvalue for count in counts)
