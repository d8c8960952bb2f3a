"""Every number of tests/reference against ours, leaf by leaf; a number that no rule here knows fails."""

import copy
import hashlib
import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, norm, poisson, t

import lmmlib
from benchmarks import data as simulated
from benchmarks.cloning import theirs as line_of_dclone
from benchmarks.measure import duration
from lmmlib import equations
from lmmlib.equations.moments import correlation
from lmmlib.glmm.fit import fit_glmm
from lmmlib.inference.intervals import confint
from lmmlib.lmm.fit import fit_design
from tests import tolerances as tol
from tests.oracle.conftest import NAMES, REFERENCE, case, read
from tests.oracle.leaves import WORDS, Near, agree, covariance, relative, scaled, table
from tests.oracle.test_exact import jacobian


def sd_and_corr(D):
    return np.sqrt(np.diag(D)), correlation(D)


def theta_names(fit, grouping):
    z = fit.design.z_names
    pairs = (
        [(a, a) for a in range(len(z))]
        if fit.design.diagonal
        else [(a, b) for b in range(len(z)) for a in range(b, len(z))]
    )
    return [f"{grouping}.{z[a]}" + (f".{z[b]}" if a != b else "") for a, b in pairs]


def by_name(names, near: Near) -> dict:
    """Numbers of a vector with their names."""
    atol = np.broadcast_to(near.atol, np.shape(near.values))
    return {name: Near(v, a) for name, v, a in zip(names, near.values, atol, strict=True)}


# --- 60-digit optima ---


def exact_answer(fit):
    one = case(fit)
    f, stored = fit_design(one.design, method=one.method), one.exact
    D, gls = f.D.to_numpy(), equations.gls(one.cross, f.D.to_numpy(), f.sigma2)
    sd, corr = sd_and_corr(D)
    beta = Near(f.beta, tol.OPTIMUM * f.se)
    theta, D_near = scaled(f.theta, tol.HESSIAN), covariance(D, tol.HESSIAN)
    b, levels = f.blups(), [str(level) for level in f.design.group_names]
    order = [levels.index(level) for level in stored["ranef"]["levels"]]
    loglik, criterion = Near(f.loglik, 1e-8), Near(f.criterion, 1e-8)
    answer = {
        **{"id": fit, "method": one.method, "arithmetic": WORDS, "hessian_eigen_positive": True},
        **{"coef_names": list(f.beta.index), "fixef": beta, "fixef_25": beta, "se": relative(f.se, tol.OPTIMUM)},
        **{"vcov_fixef": covariance(gls.cov, tol.OPTIMUM), "theta": theta, "theta_25": theta},
        **{"sigma2": relative(f.sigma2, tol.OPTIMUM), "sigma2_25": relative(f.sigma2, tol.OPTIMUM)},
        "sigma": relative(np.sqrt(f.sigma2), tol.OPTIMUM),
        "varcorr": {
            **{"cov": D_near, "cov_25": D_near, "sd": relative(sd, tol.HESSIAN), "corr": Near(corr, tol.HESSIAN)},
        },
        **{"criterion": criterion, "criterion_25": criterion, "loglik": loglik, "loglik_25": loglik},
        "vcov_theta_sigma": covariance(theta_covariance(f), 1e-5),
        "ranef": {
            **{"levels": sorted(levels, key=stored["ranef"]["levels"].index), "names": list(f.design.z_names)},
            "values": scaled(b.b.to_numpy()[order], tol.OPTIMUM),
            **{"condvar": covariance(b.known[order], tol.HESSIAN), "pev": covariance(b.pev[order], tol.HESSIAN)},
        },
    }
    answer["satterthwaite_df"] = relative(satterthwaite(f), tol.HESSIAN)
    return answer


def satterthwaite(f) -> np.ndarray:
    """df of each coefficient; by ML, for which lmmlib has none, with ML's information and differences of Var(beta)."""
    if f.method == "REML":
        return np.array([f.contrast(row, df="satterthwaite").df[0] for row in np.eye(len(f.beta))])
    cross, D, sigma2 = f.cross, f.D.to_numpy(), f.sigma2
    A = np.linalg.inv(equations.information_variance(cross, D, sigma2, method="ML", kind="observed"))
    slopes, q = [], len(D)
    for a, b in [*[(a, c) for c in range(q) for a in range(c, q)], (None, None)]:
        step, size = np.zeros((q, q)), 1e-4 * (sigma2 if a is None else np.sqrt(D[a, a] * D[b, b]))
        if a is not None:
            step[a, b] = step[b, a] = size
        ends = [equations.gls(cross, D + k * step, sigma2 + k * size * (a is None)).cov for k in (-1, 1)]
        slopes.append((np.diag(ends[1]) - np.diag(ends[0])) / (2 * size))
    g = np.array(slopes)
    return 2 * f.se.to_numpy() ** 4 / np.einsum("rj,rs,sj->j", g, A, g)


def theta_covariance(f):
    """Inverse Hessian of minus the criterion in (theta, sigma)."""
    one = case(next(name for name in NAMES if case(name).design is f.design))
    information = equations.information_variance(one.cross, one.D, one.sigma2, method=one.method, kind="observed")
    J = jacobian(one)
    return np.linalg.inv(J.T @ information @ J)


@pytest.mark.parametrize("name", NAMES)
def test_exact(name):
    agree(read(f"exact/{name}.json"), exact_answer(name))


# --- lme4, lmerTest and pbkrtest ---


def lme4_answer(name):
    one = case(name)
    f, stored = fit_design(one.design, method=one.method), one.lme4
    x, z, grouping = list(f.beta.index), list(f.design.z_names), next(iter(stored["ngroups"]))
    D, sigma = f.D.to_numpy(), np.sqrt(f.sigma2)
    gls = equations.gls(one.cross, D, f.sigma2)
    b, levels = f.blups(), [str(level) for level in f.design.group_names]
    stored_levels = stored["ranef"][grouping]["levels"]
    order = [levels.index(level) for level in stored_levels]
    fitted, residuals = f.fitted()[:6], f.residuals()
    theta = by_name(theta_names(f, grouping), scaled(f.theta, tol.LME4))
    default = by_name(theta_names(f, grouping), default_theta(f))
    answer = {
        **{"id": name, "dataset": stored["dataset"], "formula": WORDS, "method": one.method, "note": WORDS},
        **{"nobs": f.design.n_obs, "p": len(x), "ngroups": {grouping: f.design.n_groups}, "npar": f.n_parameters},
        "fixef": by_name(x, Near(f.beta, tol.LME4 * f.se)),
        "vcov_fixef": table(covariance(gls.cov, tol.LME4), x, x),
        "se": by_name(x, relative(f.se, tol.LME4)),
        "t": by_name(x, relative(f.beta / f.se, tol.LME4)),
        "varcorr": variances(f, grouping),
        **{"sigma": relative(sigma, tol.LME4), "sigma2": relative(f.sigma2, tol.LME4), "theta": theta},
        **{"loglik": Near(f.loglik, 1e-8), "criterion": Near(f.criterion, 2e-8)},
        **{"AIC": Near(f.aic, 2e-8), "BIC": Near(f.bic, 2e-8), "is_singular": bool(f.is_singular)},
        "lme4_default_control": {
            **{"loglik": Near(f.loglik, tol.LME4_DEFAULT), "theta": default},
            "sigma": relative(sigma, tol.LME4_DEFAULT_SE),
            "fixef": by_name(x, Near(f.beta, tol.LME4_DEFAULT_SE * f.se)),
            "se": by_name(x, relative(f.se, tol.LME4_DEFAULT_SE)),
        },
        "ranef": {
            grouping: {
                **{"levels": sorted(levels, key=stored_levels.index), "names": z},
                "values": scaled(b.b.to_numpy()[order], tol.LME4),
                "condvar": covariance(b.known[order], 2 * tol.LME4),
            }
        },
        "fitted_head": relative(fitted, tol.LME4),
        "resid_head": Near(residuals[:6], tol.LME4 * sigma),
        "scaled_resid_quantiles": Near(np.quantile(residuals / sigma, [0, 0.25, 0.5, 0.75, 1]), tol.LME4),
    }
    if f.design.diagonal:
        del answer["ranef"][grouping]["condvar"]  # not stored
    df = satterthwaite(f)
    answer["satterthwaite_df"] = by_name(x, relative(df, 2 * tol.LME4))
    answer["satterthwaite_p"] = by_name(x, relative(2 * t.sf(np.abs(f.beta / f.se), df), tol.LME4_TAIL))
    if one.method == "REML":
        answer["kenward_roger"] = kenward_roger(f, x)
    return answer


def default_theta(f) -> Near:
    """As far off as lme4's default stop may be: a share of each, and a little for covariances near zero."""
    return Near(f.theta, tol.LME4_DEFAULT * (np.abs(f.theta) + 1e-2))


def variances(f, grouping) -> dict:
    """D as lme4 lists it: terms of (x || g) are blocks of their own."""
    z, D = list(f.design.z_names), f.D.to_numpy()
    blocks = [[k] for k in range(len(z))] if f.design.diagonal else [list(range(len(z)))]
    out = {}
    for k, block in enumerate(blocks):
        part = D[np.ix_(block, block)]
        sd, corr = sd_and_corr(part)
        out[grouping + (f".{k}" if k else "")] = {
            **{"names": [z[a] for a in block], "cov": covariance(part, 4 * tol.LME4)},
            **{"sd": relative(sd, 2 * tol.LME4), "corr": Near(corr, tol.LME4)},
        }
    return out


def kenward_roger(f, x) -> dict:
    kr = [equations.kenward_roger(f.cross, row, f.D.to_numpy(), f.sigma2) for row in np.eye(len(x))]
    se, signs = np.sqrt(np.diag(kr[0].cov)), np.sign(f.beta)
    return {
        "vcov_adj": table(covariance(kr[0].cov, tol.LME4), x, x),
        "se": by_name(x, relative(se, tol.LME4)),
        "df": by_name(x, relative([k.df for k in kr], 2 * tol.LME4)),
        "t": by_name(x, relative(signs * np.sqrt([k.statistic for k in kr]), 2 * tol.LME4)),
        "p": by_name(x, relative([k.p for k in kr], tol.LME4_TAIL)),
    }


@pytest.mark.parametrize("name", NAMES)
def test_lme4(name):
    agree(read(f"{name}.json"), lme4_answer(name))


# --- nlme ---


def nlme_answer(stored):
    one = case(stored["id"])
    f = fit_design(one.design, method=one.method)
    x, z, N = list(f.beta.index), list(f.design.z_names), f.design.n_obs
    # nlme's rule: a column that varies within groups has N - n - (their number) df, one between groups n - (theirs).
    within = [
        any(np.ptp(f.design.X[f.design.group == g, j]) > 0 for g in range(f.design.n_groups)) for j in range(len(x))
    ]
    inner = [w or name == "(Intercept)" for w, name in zip(within, x, strict=True)]
    df = [N - f.design.n_groups - sum(within) if w else f.design.n_groups - len(x) + sum(within) for w in inner]
    # By ML its t has a standard error as if N - p were the divisor, and its intervals have not.
    scale = N / (N - len(x)) if one.method == "ML" else 1.0
    cov = equations.gls(one.cross, f.D.to_numpy(), f.sigma2).cov
    se, sigma = np.sqrt(np.diag(cov)), np.sqrt(f.sigma2)
    ends = np.column_stack([f.beta - t.ppf(0.975, df) * se, f.beta, f.beta + t.ppf(0.975, df) * se])
    limits = confint(f, method="wald").loc["sigma", ["lower", "estimate", "upper"]].astype(float)
    return {
        **{"id": stored["id"], "dataset": stored["dataset"], "fixed": WORDS, "method": one.method, "note": WORDS},
        "fixef": by_name(x, Near(f.beta, tol.NLME * se)),
        "vcov_fixef": table(covariance(cov, tol.NLME), x, x),
        "df_nlme": dict(zip(x, df, strict=True)),
        "t": by_name(x, relative(f.beta / se / np.sqrt(scale), tol.NLME)),
        "D": table(covariance(f.D, tol.NLME * 5), z, z),
        "sigma": relative(sigma, tol.NLME),
        "loglik": Near(f.loglik, 1e-5),
        "AIC": Near(f.aic, 1e-5),
        "BIC": Near(f.aic + (np.log(N - len(x) * (one.method == "REML")) - 2) * f.n_parameters, 1e-5),
        "intervals": {
            "fixed": table(Near(ends, tol.NLME * se[:, None]), x, ["lower", "est.", "upper"]),
            "sigma": relative(limits, tol.NLME_HESSIAN),
        },
    }


@pytest.mark.parametrize("stored", read("nlme_fits.json"), ids=lambda s: s["id"])
def test_nlme(stored):
    agree(stored, nlme_answer(stored))


# --- tests, profiles and predictions ---

INFERENCE = read("inference/inference.json")
NULLS = {"Yield ~ 1": "Batch", "distance ~ age": "Subject", "Reaction ~ Days": "Subject"}


def data_of(formula):
    return lmmlib.load({"Yield": "dyestuff", "distance": "dental", "Reaction": "sleep"}[formula.split()[0]])


def fitted(formula, method="REML"):
    random = "" if "|" in formula else f" + (0 | {NULLS[formula]})"
    return lmmlib.fit(formula + random, data_of(formula), method=method)


def lrt_answer(row):
    small, large = (fitted(row[k], row["method"]) for k in ("null", "alt"))
    statistic, df = 2 * (large.loglik - small.loglik), len(large.D)
    weights = {"p_chi2_1_naive": [0, 1], "p_mixture_half01": [0.5, 0.5]} if df == 1 else {}
    weights = weights or {"p_chi2_2_naive": [0, 0, 1], "p_mixture_half12": [0, 0.5, 0.5]}
    return {
        **dict.fromkeys(("id", "method", "alt", "null"), WORDS),
        **{"loglik_alt": Near(large.loglik, 1e-8), "loglik_null": Near(small.loglik, 1e-8)},
        "LRT": Near(statistic, 2e-8),
        **{
            k: relative(sum(w * chi2.sf(statistic, j) for j, w in enumerate(ws) if j), 1e-6)
            for k, ws in weights.items()
        },
    }


@pytest.mark.parametrize("kind", ["variance_vs_zero", "slope_vs_intercept"])
def test_likelihood_ratios(kind):
    agree(INFERENCE[kind], [lrt_answer(row) for row in INFERENCE[kind]])


def whole(p, draws, more=0) -> Near:
    """A share of draws is a fraction with their number as denominator: the nearest one."""
    return Near(round(p * (draws + more)) / (draws + more), 1e-9)


def test_simulated_p_values():
    """Their agreement with ours is in test_inference_reference: here they are shares of what was drawn."""
    exact = INFERENCE["exactRLRT_dyestuff"]
    statistic = lrt_answer(INFERENCE["variance_vs_zero"][0])["LRT"]
    agree(exact, {"nsim": 200_000, "stat": statistic, "p": whole(exact["p"], 200_000)})
    boot = INFERENCE["bootstrap_orthodont_slope_ml"]
    row = next(r for r in INFERENCE["slope_vs_intercept"] if r["id"] == "orthodont_ml")
    answer = {"nsim": 2000, "LRT": lrt_answer(row)["LRT"], "p_boot": whole(boot["p_boot"], 2000, 1)}
    share = (round(boot["p_boot"] * 2001) - 1) / 2000
    answer["mc_se"] = relative(np.sqrt(share * (1 - share) / 2000), 1e-9)
    agree(boot, answer | {"fraction_below_1e_4": whole(boot["fraction_below_1e_4"], 2000)})


def test_draws_of_rlrsim_are_as_they_were():
    """test_inference_reference compares them to their Monte Carlo error."""
    text = json.dumps(read("inference/rlrsim.json"), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "cf536b40f3c064d4"


def test_interaction():
    small, large = (
        lmmlib.fit(f"distance ~ age {op} Sex + (age | Subject)", lmmlib.load("dental"), method="ML") for op in "+*"
    )
    statistic, pb = 2 * (large.loglik - small.loglik), INFERENCE["pbmodcomp_orthodont_interaction"]
    # Two of the thousand refits had a negative statistic and are not counted.
    share = Fraction(pb["p"]["PBtest"]).limit_denominator(1001)
    assert share.denominator in (333, 999)
    near = relative(statistic, tol.LME4)
    answer = {"nsim": 1000, "test": {"stat_LRT": near, "stat_PBtest": near}}
    agree(pb, answer | {"p": {"LRT": relative(chi2.sf(statistic, 1), 1e-5), "PBtest": Near(24 / 999, 1e-12)}})
    f = lmmlib.fit("distance ~ age * Sex + (age | Subject)", lmmlib.load("dental"))
    kr = equations.kenward_roger(f.cross, [0, 0, 0, 1], f.D.to_numpy(), f.sigma2)
    # KRmodcomp fitted the model again, with the default stop.
    answer = {"stat": relative(kr.statistic, tol.LME4_DEFAULT), "ndf": 1, "ddf": relative(kr.df, tol.LME4)}
    answer |= {"F.scaling": relative(kr.scale, tol.LME4), "p.value": relative(kr.p, tol.LME4_DEFAULT)}
    agree(INFERENCE["krmodcomp_orthodont_interaction"], answer)


@pytest.mark.parametrize("kind", ["satterthwaite", "kr"])
def test_anova(kind):
    f = lmmlib.fit("distance ~ age * Sex + (age | Subject)", lmmlib.load("dental"))
    contrasts = {"age": [0, 1, 0, 0.5], "Sex": [0, 0, 1, 0], "age:Sex": [0, 0, 0, 1]}
    answer = {k: {} for k in ("Sum Sq", "Mean Sq", "NumDF", "DenDF", "F value", "Pr(>F)")}
    for term, L in contrasts.items():
        if kind == "kr":
            w = equations.kenward_roger(f.cross, L, f.D.to_numpy(), f.sigma2)
            F, df, p = w.statistic, w.df, w.p
        else:
            w = f.contrast(L, df="satterthwaite")
            F, df, p = w.statistic**2, w.df[0], w.p
        values = [F * f.sigma2, F * f.sigma2, 1, df, F, p]
        for column, value in zip(answer, values, strict=True):
            answer[column][term] = 1 if column == "NumDF" else relative(value, 10 * tol.LME4)
    agree(INFERENCE[f"anova_{kind}_orthodont_agesex"], answer)


def limits_of(f, stored, level, method):
    """Our limits in lme4's order; Wald's has none for variances."""
    names = {"sigma": "sigma", "(Intercept)": "(Intercept)"} | {x: x for x in f.beta.index}
    for z in f.design.z_names:
        names[f"sd_{z}|{f.design.grouping}"] = f"sd {z}"
    if len(f.design.z_names) > 1:
        a, b = f.design.z_names
        names[f"cor_{b}.{a}|{f.design.grouping}"] = f"corr {a}, {b}"
    if method == "wald":
        gap = norm.ppf((1 + level) / 2) * f.se
        inside = np.column_stack([f.beta - gap, f.beta + gap])
        return Near(np.r_[np.full((len(stored["rows"]) - len(inside), 2), np.nan), inside], tol.LME4)
    ours = confint(f, method="profile", level=level, parameters=list(names.values()))
    ours = ours.loc[[names[row] for row in stored["rows"]], ["lower", "upper"]].to_numpy(float)
    return Near(ours, tol.SPLINE * (0.35 + np.abs(ours)))


@pytest.mark.parametrize("name", ["sleepstudy_slope", "sleepstudy_ri", "orthodont_age"])
def test_profiles_of_lme4(name):
    stored = INFERENCE[f"profile_{name}"]
    f, answer = fitted(stored["formula"], "ML"), {"formula": WORDS}
    for key, method, level in (("level95", "profile", 0.95), ("level99", "profile", 0.99), ("wald95", "wald", 0.95)):
        one = stored[key]
        answer[key] = {"rows": one["rows"], "cols": one["cols"], "values": limits_of(f, one, level, method)}
    agree(stored, answer)


@pytest.mark.parametrize("name, formula", [("slope", "(Days | Subject)"), ("ri", "(1 | Subject)")])
def test_exact_profiles(name, formula):
    f, stored = fitted(f"Reaction ~ Days + {formula}", "ML"), read("inference/profile_exact.json")[name]
    answer = {"deviance_min": Near(f.criterion, 1e-8)}
    for key, level in (("level95", 0.95), ("level99", 0.99)):
        rows = list(stored[key])
        near = limits_of(f, {"rows": rows}, level, "profile")
        answer[key] = {row: Near(ends, 1e-8) for row, ends in zip(rows, near.values, strict=True)}
    agree(stored, answer)


def test_predictions():
    f, stored = fitted("Reaction ~ Days + (Days | Subject)"), INFERENCE["predict_sleepstudy"]
    assert [tuple(row.values()) for row in stored["newdata"]] == [(0, "308"), (5, "308"), (12, "309"), (5, "new")]
    new = pd.DataFrame({"Days": [0, 5, 12, 5], "Subject": [308, 308, 309, 1]})
    names = {"conditional": "group", "population": "population"}
    answer = {name: relative(f.predict(new, of=of)["estimate"], tol.LME4) for name, of in names.items()}
    agree(stored, answer | {"newdata": stored["newdata"]})


def test_no_other_part():
    tested = {"variance_vs_zero", "slope_vs_intercept", "exactRLRT_dyestuff", "bootstrap_orthodont_slope_ml"}
    tested |= {"pbmodcomp_orthodont_interaction", "krmodcomp_orthodont_interaction", "predict_sleepstudy"}
    tested |= {f"anova_{k}_orthodont_agesex" for k in ("satterthwaite", "kr")}
    tested |= {f"profile_{k}" for k in ("sleepstudy_slope", "sleepstudy_ri", "orthodont_age")}
    assert set(INFERENCE) == tested and set(read("inference/profile_exact.json")) == {"slope", "ri"}


# --- simulated sets ---


def test_lme4_by_default_on_simulated_sets():
    """Large sets are compared with their stored optima, which test_fit_big compares with ours."""
    stored, optimum = read("timings/lmer.json"), read("timings/optimum_big.json")
    frames = {
        "sleepstudy": lmmlib.load("sleep"),
        "tlc_like_ri": simulated.tlc_like(),
        "tlc_like_slope": simulated.tlc_like(),
    }
    names = {"slope100k": 100_000, "slope1m": 1_000_000}
    answer = {"lme4": WORDS, "R": WORDS, "optimizer": WORDS}
    for name in [*frames, *names]:
        one, singular = stored[name], name == "tlc_like_slope"
        if name in frames:
            f = lmmlib.fit(one["formula"], frames[name])
            beta, se, D, sigma2, criterion, rows = f.beta, f.se, f.D, f.sigma2, f.criterion, len(frames[name])
        else:
            best = optimum[name]
            beta, se, D, sigma2, criterion = (best[k] for k in ("fixef", "se", "D", "sigma2", "reml_criterion"))
            rows = names[name]
        se, D = np.array(se), np.array(D)
        answer[name] = {
            **{"formula": WORDS, "nrow": rows, "conv": WORDS if singular else None},
            "fixef": by_name(one["fixef"], Near(np.array(beta), tol.LME4_DEFAULT * se)),
            "se": by_name(one["se"], relative(se, tol.LME4_DEFAULT)),
            "D": covariance(D, tol.LME4_DEFAULT if singular else tol.LME4_DEFAULT_SE),
            **{"sigma2": relative(sigma2, tol.LME4_DEFAULT), "reml_criterion": relative(criterion, 1e-6)},
        }
    agree(stored, answer)


# --- data cloning ---

DRAWN_BY_DCLONE = "c089dd247e4aacfe"


@pytest.fixture(scope="module")
def jags():
    return read("cloning/jags.json")


def one_way(method, name="y_n100_m2"):
    return lmmlib.fit("y ~ 1 + (1 | i)", pd.read_csv(REFERENCE / f"cloning/{name}.csv"), method=method)


def one_way_answer(f, rtol):
    values = {"mu": f.beta.iloc[0], "sigma_sq": f.sigma2, "tau_sq": f.D.iloc[0, 0]}
    return {name: relative(value, rtol) for name, value in values.items()}


def test_maximum_likelihood_of_pairs(jags):
    ml, reml = one_way("ML"), one_way("REML")
    mu, sigma2, tau2 = ml.beta.iloc[0], ml.sigma2, ml.D.iloc[0, 0]
    y, group = ml.design.y, ml.design.group
    means = np.bincount(group, y) / 2
    within = ((y - means[group]) ** 2).sum()
    A = np.linalg.inv(equations.information_variance(ml.cross, ml.D.to_numpy(), sigma2, method="ML", kind="expected"))
    se = dict(zip(("mu", "tau_sq", "sigma_sq"), [ml.se.iloc[0], *np.sqrt(np.diag(A))], strict=True))
    answer = one_way_answer(ml, tol.OPTIMUM) | {
        **{"se": {k: relative(v, tol.HESSIAN) for k, v in se.items()}, "cov_sigma_tau": relative(A[0, 1], tol.HESSIAN)},
        **{"loglik": Near(ml.loglik, 1e-8), "SSW": relative(within, 1e-12)},
        "SSB": relative(2 * ((means - mu) ** 2).sum(), 1e-12),
        "reml": {k: v for k, v in one_way_answer(reml, tol.OPTIMUM).items() if k != "mu"},
    }
    agree(jags["exact_ml"], answer)
    assert tau2 > 0
    near = {"loglik": Near(ml.loglik, 1e-8), "se_mu": relative(ml.se.iloc[0], tol.LME4)}
    agree(jags["lmer_ml"], one_way_answer(ml, tol.LME4) | near)
    near = {"criterion": Near(reml.criterion, 1e-8), "se_mu": relative(reml.se.iloc[0], tol.LME4)}
    agree(jags["lmer_reml"], one_way_answer(reml, tol.LME4) | near)


def test_maximum_likelihood_of_single_observations(jags):
    y = pd.read_csv(REFERENCE / "cloning/y_n100_m1.csv")["y"].to_numpy()
    total = y.var()
    answer = {"mu": relative(y.mean(), 1e-12), "sum": relative(total, 1e-12), "lmer_error": WORDS}
    answer["se"] = {"mu": relative(np.sqrt(total / 100), 1e-12), "sum": relative(total * np.sqrt(2 / 100), 1e-12)}
    answer["loglik"] = Near(norm(y.mean(), np.sqrt(total)).logpdf(y).sum(), 1e-10)
    agree(jags["exact_m1"], answer)


def test_runs_of_dclone_are_those_of_the_benchmarks_page(jags):
    """Draws of another program: test_cloning_exact compares them with ours to their Monte Carlo error, and the page of
    the benchmarks prints each of these numbers to its digits.
    """
    page = (REFERENCE.parents[1] / "benchmarks/README.md").read_text()
    lines = {tuple(c.strip() for c in line.strip("|").split("|")) for line in page.splitlines() if "(stored)" in line}
    for run in [*jags["dc_m2_seed"], *jags["dc_m2_long"]]:
        assert set(run) == {"K", "n_iter", "seconds", "coef", "dc_se", "lambda_max", "ess"}
        line = tuple(map(str, line_of_dclone(run)))
        assert line in lines, line
        # The largest eigenvalue is the variance of mu, which the others do not move: K copies have a K-th of it.
        assert run["lambda_max"] == pytest.approx(run["dc_se"]["mu"] ** 2 / run["K"], rel=tol.LARGEST_VARIANCE)
    assert len({(r["K"], r["n_iter"]) for k in ("dc_m2_seed", "dc_m2_long") for r in jags[k]}) == 6
    # What the page does not print, such as the larger effective sizes, no other number fixes.
    drawn = json.dumps([jags[k] for k in ("dc_m2_seed", "dc_m2_long", "dc_m1_params_long")], sort_keys=True)
    assert hashlib.sha256(drawn.encode()).hexdigest()[:16] == DRAWN_BY_DCLONE
    apart = jags["dc_m1_params_long"]
    assert set(apart) == {"K", "coef", "r_hat"} and apart["r_hat"] > 4
    tested = {"exact_ml", "exact_m1", "lmer_ml", "lmer_reml", "dc_m2_seed", "dc_m2_long", "dc_m1_params_long"}
    assert set(jags) == tested | {"versions"}


# --- counts ---


def poisson_fit(name, method):
    how = {"n_quadrature": {"laplace": None, "exact": 40, "aghq": 25}[method]}
    how["method"] = "laplace" if method == "laplace" else "aghq"
    return fit_glmm("count ~ 1 + (1 | site)", pd.read_csv(REFERENCE / f"poisson/{name}.csv"), **how)


COUNTS = ["pois_4x2", "pois_50x10", "pois_50x10_low"]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("method", ["laplace", "exact"])
def test_exact_fits_of_counts(name, method):
    f = poisson_fit(name, method)
    sigma, cov, modes = f.theta[0], f.cov_parameters().to_numpy(), f.modes()
    answer = {
        **{"mu": Near(f.beta.iloc[0], 1e-10), "log_sigma": Near(np.log(sigma), 1e-9), "sigma": Near(sigma, 1e-9)},
        **{"logLik": Near(f.loglik, 1e-9), "se_mu": relative(f.se.iloc[0], tol.OPTIMUM)},
        "se_log_sigma": relative(np.sqrt(cov[1, 1]) / sigma, tol.OPTIMUM),
        **{"cov": relative(cov[0, 1] / sigma, 2 * tol.HESSIAN), "modes": Near(modes.b.iloc[:, 0], 1e-9)},
        "mode_se_conditional": relative(modes.se("known").iloc[:, 0], 1e-8),
    }
    agree(read("poisson/exact.json")[name][method], answer)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_in_other_programs(name):
    laplace, aghq = poisson_fit(name, "laplace"), poisson_fit(name, "aghq")
    y = laplace.rows.family.y
    stored, saturated = read("poisson/poisson_fits.json")[name], poisson.logpmf(y, y).sum()
    page = (REFERENCE.parents[1] / "benchmarks/README.md").read_text()
    for program in ("glmer_nAGQ1", "glmer_nAGQ25"):
        assert f"| {duration(stored[program].pop('time')['median'])} " in page
    assert f"| {duration(stored['TMB'].pop('time_makeADFun_plus_fit')['median'])} " in page
    tmb = counts_answer(laplace, 1e-6, tol.SDREPORT, "estimated") | {"note": WORDS}
    names = ["mu", "log_sigma"]
    answer = {
        "data": f"poisson/{name}.csv",
        "glmer_nAGQ1": glmer_answer(laplace, 0.0),
        "glmer_nAGQ25": glmer_answer(aghq, saturated),
        "TMB": tmb | {"vcov_mu_logsigma": table(tmb["vcov_mu_logsigma"], names, names)},
    }
    glmmtmb = counts_answer(laplace, 2 * tol.GLMMTMB, tol.GLMMTMB, "estimated")
    names = stored["glmmTMB"]["vcov_mu_logsigma"]["rows"]
    assert names == ["(Intercept)", "theta_1|site.1"]
    glmmtmb["vcov_mu_logsigma"] = table(glmmtmb["vcov_mu_logsigma"], names, names)
    glmmtmb |= {"AIC": Near(laplace.aic, 1e-6), "BIC": Near(laplace.bic, 1e-6)}
    agree(stored, answer | {"glmmTMB": glmmtmb})


def counts_answer(f, rtol, rtol_se, error) -> dict:
    sigma, cov, modes = f.theta[0], f.cov_parameters().to_numpy(), f.modes()
    cov = cov / np.outer([1, sigma], [1, sigma])
    size = f.se.iloc[0]
    return {
        **{"mu": Near(f.beta.iloc[0], rtol * size), "log_sigma": Near(np.log(sigma), rtol)},
        **{
            "sigma": relative(sigma, rtol),
            "vcov_mu_logsigma": Near(cov, rtol_se * (np.abs(cov) + cov.max())),
        },
        **{"se_mu": relative(size, rtol_se), "se_log_sigma": relative(np.sqrt(cov[1, 1]), rtol_se)},
        **{"logLik": Near(f.loglik, 1e-6), "modes": Near(modes.b.iloc[:, 0], rtol * sigma)},
        "mode_se": relative(modes.se(error).iloc[:, 0], rtol_se),
    }


def glmer_answer(f, saturated) -> dict:
    """glmer's likelihood by quadrature lacks the saturated one; RX is the error with sigma known."""
    L, modes, c = f.theta[0], f.modes(), f.rows
    mu, site = f.inner.mu, c.group
    n = np.bincount(site, mu)
    known = 1 / np.sqrt((n / (1 + n * L**2)).sum())
    loglik = f.loglik - saturated
    return {
        **{"mu": Near(f.beta.iloc[0], tol.GLMMTMB * f.se.iloc[0]), "se_mu": relative(f.se.iloc[0], tol.GLMER_HESSIAN)},
        **{"se_mu_RX": relative(known, tol.GLMMTMB), "sigma": relative(L, tol.GLMMTMB), "logLik": Near(loglik, 1e-6)},
        **{"AIC": Near(4 - 2 * loglik, 2e-6), "BIC": Near(2 * np.log(f.n_obs) - 2 * loglik, 2e-6)},
        "modes": Near(modes.b.iloc[:, 0], tol.GLMMTMB * L),
        "mode_se": relative(modes.se("known").iloc[:, 0], tol.GLMMTMB),
    }


def test_every_file_is_compared():
    """By the tests above; what test_fit_big compares needs large simulated sets."""
    files = {path.relative_to(REFERENCE).as_posix() for path in REFERENCE.rglob("*.json")}
    here = {f"{folder}{name}.json" for folder in ("", "exact/") for name in NAMES}
    here |= {
        "nlme_fits.json",
        "inference/inference.json",
        "inference/profile_exact.json",
        "cloning/jags.json",
        "inference/rlrsim.json",
    }
    here |= {"inference/rlrsim.json", "timings/lmer.json", "poisson/exact.json", "poisson/poisson_fits.json"}
    here |= {"timings/optimum_big.json", "timings/sim_check.json"}
    # test_several_exact, and the unit tests of several, compare these.
    here |= {f"crossed/{name}.json" for name in ("penicillin_ml", "penicillin_reml", "pastes_reml", "mrode")}
    # test_anova_lmertest, test_known, test_binomial_reference and test_residual_nlme compare these.
    others = {"anova/lmertest.json", "anova/weights.json", "binomial/cbpp.json", "binomial/cream.json"}
    others |= {"residual/nlme.json", "residual/constrained.json"}
    assert files - here == others
    assert here <= files
    assert set(read("poisson/exact.json")) == set(COUNTS)
    assert set(read("poisson/poisson_fits.json")) == {*COUNTS, "versions"}


@pytest.mark.parametrize("wrong", ["a number", "a digit", "a name", "a key", "another part"])
def test_a_changed_answer_is_noticed(wrong):
    """And a tolerance that would let 1 % pass is an error too."""
    stored, answer = copy.deepcopy(read("exact/dyestuff_ml.json")), exact_answer("dyestuff_ml")
    agree(stored, answer)
    if wrong == "a number":
        stored["ranef"]["condvar"][3][0][0] *= 1.01
    elif wrong == "a digit":
        stored["fixef_25"][0] = stored["fixef_25"][0].replace("7", "8")
    elif wrong == "a name":
        stored["coef_names"] = ["Intercept"]
    elif wrong == "a key":
        stored["ranef"]["mean"] = 0.0
    else:
        answer["se"] = relative(answer["se"].values, 0.02)
    with pytest.raises(AssertionError, match="differ|instead of|no answer of ours|1 % more would pass"):
        agree(stored, answer)
