"""What the explorers of the book should show: settings of each, and their numbers by `lmmlib`.

An oracle takes the state of an explorer's controls and its stored data, and returns the numbers of its ``compute`` that
are compared, by name. The mathematics of an explorer is written in JavaScript; here the same numbers come from the
functions of the chapters, or from SciPy.
"""

import itertools

import numpy as np
import pandas as pd
from scipy import integrate, optimize, stats

import lmmlib
from chapters._tools import explorers
from lmmlib import equations
from lmmlib.glmm import quadrature
from lmmlib.glmm.laplace import loglik as laplace_loglik
from lmmlib.glmm.laplace import slopes as laplace_slopes
from lmmlib.glmm.rows import Rows, modes


def grid(**values):
    """Twenty-four of all combinations of some values of the controls, the first value of each among them."""
    every = list(itertools.product(*values.values()))
    chosen = np.random.default_rng(24).choice(len(every) - 1, 23, replace=False) + 1
    return [dict(zip(values, every[i], strict=True)) for i in (0, *chosen)]


def pooling(state, data):
    """Predictions of eight children with the variances of the sliders, and their errors with the mean estimated."""
    n = np.array([state["visits"], *[data["visits"]] * 7])
    means = np.array([state["own"], *data["means"][1:]])
    frame = pd.DataFrame({"child": np.repeat(range(8), n), "lead": np.repeat(means, n)})
    cross = lmmlib.cross_products(lmmlib.build_design("lead ~ 1 + (1 | child)", frame))
    solved = equations.henderson(cross, np.array([[state["tau"] ** 2]]), state["sigma"] ** 2)
    variance = solved.cov_b[:, 0, 0] + solved.cov_beta[0, 0] + 2 * solved.cov_beta_b[:, 0, 0]
    return {"mu": solved.beta[0], "predicted": solved.beta[0] + solved.b[:, 0], "se": np.sqrt(variance), "n": n}


def variance(state, data):
    """Standard deviations and correlations over time, equations `variance-function` and `covariance-function`."""
    corner = state["rho"] * state["sd0"] * state["sd1"]
    D = np.array([[state["sd0"] ** 2, corner], [corner, state["sd1"] ** 2]])
    z = np.column_stack([np.ones(81), np.linspace(-2, 8, 81)])
    own = np.array([[1, state["s"]]])
    variances = equations.moments.variance_function(z, D, state["sigma"] ** 2)
    at = equations.moments.variance_function(own, D, state["sigma"] ** 2)
    correlation = equations.moments.covariance_function(own, z, D)[0] / np.sqrt(at * variances)
    found = {"sd": np.sqrt(variances), "correlation": correlation}
    if state["sd1"] > 0:
        best = optimize.minimize_scalar(
            lambda t: equations.moments.variance_function([[1, t]], D, state["sigma"] ** 2)[0], (-1, 1), tol=1e-12
        )
        found["lowest"] = np.sqrt(best.fun)
    return found


def boundary(state, data):
    """Both fits of the batches that are left, moved together or apart, and both deviances at tau."""
    yields = lmmlib.load("dyestuff")
    yields = yields[yields["Batch"].cat.codes < state["batches"]].copy()
    means = yields.groupby("Batch", observed=True)["Yield"].transform("mean")
    grand = yields["Yield"].mean()
    yields["Yield"] = grand + state["apart"] * (means - grand) + yields["Yield"] - means
    found = {}
    for method, name in (("ML", "ml"), ("REML", "reml")):
        fit = lmmlib.fit("Yield ~ 1 + (1 | Batch)", yields, method=method)
        likelihood = equations.profile_loglik if method == "ML" else equations.restricted_loglik
        at_tau = optimize.minimize_scalar(
            lambda log_sigma2, f=likelihood, cross=fit.cross: -2 * f(cross, [[state["tau"] ** 2]], np.exp(log_sigma2)),
            bounds=(3, 12),
            method="bounded",
            options={"xatol": 1e-10},
        )
        found |= {f"loglik_{name}": fit.loglik, f"deviance_{name}": at_tau.fun + 2 * fit.loglik}
        found[f"tau_{name}"] = 0.0 if fit.is_singular else np.sqrt(fit.D.iloc[0, 0])
    return found


def neyman_scott(state, data):
    """Least squares with a constant for each group, divided by N, and the mixed model by REML."""
    n, m = state["n"], state["m"]
    y = np.array(data["y"])[:n, :m]
    frame = pd.DataFrame({"y": y.ravel(), "group": np.repeat(np.arange(n), m)})
    fit = lmmlib.fit("y ~ 1 + (1 | group)", frame)
    return {"estimate": y.var(axis=1).mean(), "other": fit.sigma2, "limit": (m - 1) / m}


def coverage(state, data):
    """Intervals of the stored trials by SciPy's quantiles, of which a few are fitted again from their recipe."""
    children, level = int(state["children"]), float(state["level"])
    rows = pd.read_csv(explorers.SOURCES / "coverage.csv").query("children == @children")[: state["trials"]]
    df = {"z": np.inf, "t": 2 * children - 2, "satterthwaite": rows["df"].to_numpy()}[state["method"]]
    reach = stats.t.ppf((1 + level) / 2, df) * rows["se"].to_numpy()
    lower, upper = rows["estimate"] - reach, rows["estimate"] + reach
    share = ((lower <= 0) & (upper >= 0)).mean()
    width = (upper - lower).mean()
    error = np.sqrt(share * (1 - share) / len(rows))
    return {"lower": lower, "upper": upper, "share": share, "width": width, "error": error}


def gibbs(state, data):
    """The same sweeps with the conditional laws of the book: `random-effects` for the effects, means for mu."""
    means, normal, m = np.array(data["means"]), np.array(data["normal"]), state["m"]
    n, D = len(means), np.array([[state["tau"] ** 2]])
    frame = pd.DataFrame({"y": np.repeat(means, m), "group": np.repeat(np.arange(n), m)})
    cross = lmmlib.cross_products(lmmlib.build_design("y ~ 1 + (1 | group)", frame))
    mu = means.mean() - 3 * np.sqrt(equations.gls(cross, D, 1.0).cov[0, 0])
    spread = np.sqrt(equations.conditional_covariance(cross, D, 1.0).sum()) / n
    effects = [equations.random_effects(cross, [at], D, 1.0).mean() for at in (0.0, 1.0)]  # linear in mu
    sweeps = [(mu, effects[0] + mu * (effects[1] - effects[0]))]
    for z in normal[: state["steps"]]:
        a = effects[0] + mu * (effects[1] - effects[0]) + spread * z[0]
        if state["way"] != "centred":
            mu = means.mean() - a + z[1] / np.sqrt(n * m)
        if state["way"] != "standard":
            centred = mu + a
            mu = centred + state["tau"] / np.sqrt(n) * z[2]
            a = centred - mu
        sweeps.append((mu, a))
    return {"sweeps": sweeps}


def cloning(state, data):
    """Mean and standard deviation of log tau by SciPy's quadrature, from the likelihood of the book."""
    K, one = state["K"], state["data"] == "one"
    yields = lmmlib.load("dyestuff")
    yields = yields.groupby("Batch", observed=True).head(1) if one else yields
    cross = lmmlib.cross_products(lmmlib.build_design("Yield ~ 1 + (1 | Batch)", yields))
    priors = {
        "flat": lambda t: 0.0,
        "gamma": lambda t: stats.invgamma.logpdf(t**2, 1) + np.log(t),
        "normal": lambda t: stats.lognorm.logpdf(t, 1),
    }
    total = data["one"]["total"]
    within = yields.groupby("Batch", observed=True)["Yield"].var().mean()

    def log_density(s):
        tau2 = np.exp(2 * s)
        sigma2 = total - tau2 if one else within
        if one:  # one yield of each batch: independent normal ones
            y = yields["Yield"]
            likelihood, variance = stats.norm.logpdf(y, y.mean(), np.sqrt(tau2 + sigma2)).sum(), (tau2 + sigma2) / 6
        else:
            likelihood = equations.profile_loglik(cross, [[tau2]], sigma2)
            variance = equations.gls(cross, [[tau2]], sigma2).cov[0, 0]
        return K * likelihood + np.log(variance) / 2 + priors[state["prior"]](np.exp(s)) + s

    high = np.log(total) / 2 - 1e-12 if one else 12.0
    grid = np.linspace(-8, high, 4001)
    logs = np.array([log_density(s) for s in grid])
    top, centre = logs.max(), grid[logs.argmax()]
    there = grid[logs > top - 45]
    ends = max(-8, there[0] - 0.01), min(high, there[-1] + 0.01)
    x, w = np.polynomial.legendre.leggauss(400)
    s = (ends[0] + ends[1]) / 2 + (ends[1] - ends[0]) / 2 * x
    p = w * np.exp([log_density(at) - top for at in s])
    mean = (p * (s - centre)).sum() / p.sum()
    sd = np.sqrt((p * (s - centre) ** 2).sum() / p.sum() - mean**2)
    return {"mean": centre + mean, "sd": sd}


def laplace(state, data):
    """Mode, Laplace and quadrature of `fit_glmm` at these parameters, and the integral by SciPy."""
    frame = pd.DataFrame({"y": [state["y"]], "site": ["one"]})
    rows = Rows.of(lmmlib.build_design("y ~ 1 + (1 | site)", frame))
    beta, tau = np.log(state["mean"]), state["tau"]
    s = laplace_slopes(modes(rows, *rows.split(np.array([beta, tau]))))
    found = {"mode": s.inner.u[0, 0], "laplace": laplace_loglik(s.inner)}
    found["quadrature"] = quadrature.loglik(s, quadrature.rule(state["nodes"], 1))[0]
    top = found["mode"]

    def density(u):
        return stats.poisson.pmf(state["y"], np.exp(beta + tau * u)) * stats.norm.pdf(u)

    parts = [integrate.quad(density, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in ((-14, top), (top, 14))]
    return found | {"exact": np.log(sum(parts))}


ORACLES = {
    "boundary": boundary,
    "cloning": cloning,
    "coverage": coverage,
    "gibbs": gibbs,
    "laplace": laplace,
    "neyman-scott": neyman_scott,
    "pooling": pooling,
    "variance": variance,
}
SETTINGS = {
    "boundary": grid(batches=[6, 3, 4, 5], apart=[1, 0, 0.3, 0.45, 1.5], tau=[60, 0, 1, 25, 50, 120]),
    "cloning": grid(data=["six", "one"], prior=["gamma", "flat", "normal"], K=[1, 3, 10, 100, 1000]),
    "coverage": grid(
        children=["3", "5", "10"],
        method=["z", "t", "satterthwaite"],
        level=["0.95", "0.8", "0.99"],
        trials=[25, 1, 200, 400, 60],
    ),
    "gibbs": grid(
        way=["standard", "centred", "interwoven"], tau=[2, 0.1, 4, 0.5], m=[4, 1, 10], steps=[0, 1, 5, 50, 200]
    ),
    "laplace": grid(y=[0, 1, 5, 40], mean=[2, 0.2, 20], tau=[1.5, 0.05, 0.6, 2.5, 1], nodes=[1, 2, 3, 7, 15]),
    "neyman-scott": grid(m=[2, 3, 5, 10], n=[10, 2, 4, 30, 100, 400]),
    "pooling": grid(tau=[5.4, 0, 0.1, 2, 12], sigma=[5.8, 0.5, 3.3, 12], visits=[4, 1, 12], own=[38, 10, 21.3, 45]),
    "variance": grid(
        sd0=[5, 0, 2, 10], sd1=[0.5, 0, 2], rho=[0.2, -1, -0.5, 0, 1], sigma=[2.3, 0.2, 8], s=[0, 6, 2.5, 1]
    ),
}
