"""Solutions of the problems of chapter 11: pairs of bits, ticks on grouse, whose variance, a lost Jacobian; seeds of a
parasite, a normal link, a covariate that confounds nothing, no cure among twelve.
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy import optimize, stats
from scipy.special import expit, logsumexp

import lmmlib

DECIMALS = {
    "pr-11-1a": 3,
    "pr-11-1b": 3,
    "pr-11-2a": 2,
    "pr-11-2b": 2,
    "pr-11-2c": 3,
    "pr-11-3a": 3,
    "pr-11-3b": 3,
    "pr-11-4": 1,
    "pr-11-5a": 2,
    "pr-11-5b": 2,
    "pr-11-5c": 3,
    "pr-11-6a": 3,
    "pr-11-6b": 3,
    "pr-11-6c": 3,
    "pr-11-7a": 3,
    "pr-11-7b": 3,
    "pr-11-8a": 3,
    "pr-11-8b": 3,
}
PAIRS = np.array([88, 34, 15, 63])  # (0, 0), (0, 1), (1, 0), (1, 1)


def normal_rule(K=80):
    """Nodes and weights for expectations under N(0, 1)."""
    x, w = np.polynomial.hermite_e.hermegauss(K)
    return x, w / w.sum()


def pr_11_1a():
    """The slope with one coefficient for each patient: twice the right one.

    (a) Given b_i the four probabilities are proportional to 1, e^{eta + beta}, e^eta and e^{2 eta + beta} with eta =
    beta_0 + b_i. Given that the total is one, the two pairs (0, 1) and (1, 0) have the odds e^{eta + beta} : e^eta =
    e^beta, free of b_i. Totals of zero and two have one pair each and say nothing. So the conditional likelihood is
    binomial, p = e^beta/(1 + e^beta) with 34 of 49, and the estimate is log(34/15) = 0.818.

    (b) With one coefficient for each patient, those of total 0 and 2 have coefficients of -inf and +inf and drop out.
    For a patient of total one the score equation for its coefficient is p_1 + p_2 = 1 with logit p_1 = eta and logit
    p_2 = eta + beta, so eta = -beta/2, whichever of the two bits is set. The score of beta is 34 - 49 p_2 = 0, p_2 =
    34/49, and beta = logit p_2 - logit p_1 = 2 logit(34/49) = 2 log(34/15) = 1.637. Always twice, however many patients
    there are: thm-neyman-scott for bits. In a Poisson model the two would agree, thm-count-conditional (b).
    """
    slope = 2 * np.log(PAIRS[1] / PAIRS[2])

    def minus(psi):
        """One coefficient for the patients with (0, 1), one for those with (1, 0)."""
        up = np.log(expit(-psi[0])) + np.log(expit(psi[0] + psi[2]))
        down = np.log(expit(psi[1])) + np.log(expit(-psi[1] - psi[2]))
        return -(PAIRS[1] * up + PAIRS[2] * down)

    found = optimize.minimize(minus, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(found[2], slope, rtol=1e-5)
    return slope


def pr_11_1b():
    """The slope with a random intercept: that of the conditional likelihood.

    (c) Whatever b is, P(0, 1 | b) = e^beta P(1, 0 | b), by (a). Integrate over any distribution of b: P(0, 1) = e^beta
    P(1, 0). The model has three parameters and the table three free frequencies. If it can reproduce them, it is
    saturated, and maximum likelihood does: then e^beta = 34/15. It can when the bits of a patient agree more often than
    independent ones would, here 88 * 63 > 34 * 15: tau sets how often they agree, beta_0 which of (0, 0) and (1, 1) is
    more frequent. The fit below has beta_0 = -0.946, tau = 2.898, beta = 0.818 and the four frequencies.

    (d) The regression without patients compares 97/200 with 78/200: log odds ratio 0.387. It is no estimate of the same
    number: it compares two populations, the other two compare a patient with itself, and with tau near 2.9 the former
    is much nearer to zero. Its standard error is wrong besides, because the pairs are not independent.
    """
    slope = np.log(PAIRS[1] / PAIRS[2])
    x, w = normal_rule()

    def table(psi):
        before, after = expit(psi[0] + np.exp(psi[2]) * x), expit(psi[0] + psi[1] + np.exp(psi[2]) * x)
        parts = ((1 - before) * (1 - after), (1 - before) * after, before * (1 - after), before * after)
        return np.array([w @ part for part in parts])

    def minus(psi):
        return -PAIRS @ np.log(table(psi))

    found = optimize.minimize(minus, [0.0, 0.5, 0.0], method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose(found[1], slope, rtol=1e-4)
    np.testing.assert_allclose(200 * table(found), PAIRS, atol=1e-3)
    return slope


@cache
def ticks():
    """The chicks, with the height in units of 100 m above 460 m, and the fit of the problem."""
    frame = lmmlib.load("ticks")
    frame["up"] = (frame["height"] - 460) / 100
    fit = lmmlib.fit_glmm("ticks ~ C(year) + up + (1 | brood)", frame, method="aghq", n_quadrature=15)
    return frame, fit


def poisson_regression():
    """Estimates and covariance without random effects, by Newton's method."""
    frame, _ = ticks()
    year = frame["year"].astype(int).to_numpy()
    X = np.column_stack([np.ones(403), year == 1996, year == 1997, frame["up"]]).astype(float)
    y = frame["ticks"].to_numpy()
    beta = np.linalg.lstsq(X, np.log(y + 0.5), rcond=None)[0]
    for _ in range(60):
        mu = np.exp(X @ beta)
        beta = beta + np.linalg.solve(X.T @ (mu[:, None] * X), X.T @ (y - mu))
    return beta, np.linalg.inv(X.T @ (mu[:, None] * X)), X


def pr_11_2a():
    """The factor of the mean for fifty metres more.

    (a) The slope per 100 m is -2.384, so fifty metres multiply the mean by e^{-1.192} = 0.30: a chick fifty metres
    higher has less than a third of the ticks, all else equal. The factor is that of the typical brood and of the mean
    over broods, since e^{tau^2/2} cancels from the ratio (count-moments).
    """
    _, fit = ticks()
    # A likelihood summed over a grid of our own has no slope there.
    assert abs(own_slope()) < 0.02
    return np.exp(fit.beta["up"] / 2)


def own_slope():
    """Derivative of the log-likelihood in the slope of the height at the fit, by sums over a grid of our own."""
    frame, fit = ticks()
    _, _, X = poisson_regression()
    y, codes = frame["ticks"].to_numpy(), frame["brood"].cat.codes.to_numpy()
    u, tau = np.linspace(-7, 7, 701), fit.parameters()["sd (Intercept)"]

    def loglik(slope):
        beta = np.array([*fit.beta.to_numpy()[:3], slope])
        eta = (X @ beta)[:, None] + tau * u
        sums = np.zeros((codes.max() + 1, len(u)))
        np.add.at(sums, codes, y[:, None] * eta - np.exp(eta))
        tops = sums.max(axis=1, keepdims=True)
        return np.sum(tops[:, 0] + np.log(np.exp(sums - tops) @ np.exp(-(u**2) / 2)))

    h = 1e-4
    return (loglik(fit.beta["up"] + h) - loglik(fit.beta["up"] - h)) / (2 * h)


def pr_11_2b():
    """The standard error of the height with broods, over the one without.

    (b) 0.302 against 0.0710: four and a quarter times as large. Height is a covariate of the brood: all its chicks are
    caught at one place. thm-count-conditional protects only what varies within groups, so here 118 broods decide and
    not 403 chicks, and the regression without broods claims eighteen times the information that there is.
    """
    _, fit = ticks()
    _, cov, _ = poisson_regression()
    return fit.se["up"] / np.sqrt(cov[3, 3])


def pr_11_2c():
    """The share of chicks without ticks that the fitted model expects.

    (c) P(y = 0) = E exp{-mu e^{tau u}} for each chick, averaged over the 403: 0.289, against 126/403 = 0.313 in the
    data and 0.157 by the regression without broods. In simulated data of the model the share lies between about 0.24
    and 0.34 (it varies that much because whole broods have none): no sign of too many zeros. But Pearson's ratio is
    2.19: chicks of one brood differ more than Poisson counts. So many zeros are no inflation, and zeros that fit are no
    proof that the model does.
    """
    _, fit = ticks()
    _, _, X = poisson_regression()
    tau, eta = fit.parameters()["sd (Intercept)"], X @ fit.beta.to_numpy()
    x, w = normal_rule()
    share = np.mean(np.exp(-np.exp(eta[:, None] + tau * x)) @ w)
    made = fit.simulate(4000, rng=11) == 0
    assert abs(made.mean() - share) < 0.003
    assert 2.18 < fit.overdispersion().ratio < 2.20
    return share


@cache
def moments():
    """Mean, mean of y (y - 1), and mean product of two periods of one patient, for the placebo arm."""
    frame = lmmlib.load("seizures")
    frame = frame[(frame["treatment"] == "placebo") & (frame["period"] > 0)]
    y = frame.sort_values(["patient", "period"])["seizures"].to_numpy().reshape(28, 4)
    products = y[:, :, None] * y[:, None, :]
    C = products[:, ~np.eye(4, dtype=bool)].mean()
    by_totals = (y.sum(axis=1) ** 2 - (y**2).sum(axis=1)).sum() / (28 * 4 * 3)
    np.testing.assert_allclose(C, by_totals)
    return y.mean(), (y * (y - 1)).mean(), C


def pr_11_3a():
    """The standard deviation between patients, from three averages.

    (a) Given the effects y is Poisson, so E{y (y - 1) | b, e} = mu^2 and E(y_j y_k | b, e) = mu_j mu_k. With E(e^v) =
    e^{Var(v)/2}: E(mu) = m = e^{beta_0 + tau^2/2 + s^2/2}; E(mu^2) = m^2 e^{tau^2 + s^2}, since log mu has the variance
    tau^2 + s^2; and mu_j mu_k has the log variance 4 tau^2 + 2 s^2 in place of the 2 tau^2 + 2 s^2 of independent
    factors, so E(mu_j mu_k) = m^2 e^{tau^2}.

    (b) tau^2 = log(C/A^2), s^2 = log(B/C). With one period a patient there is no C; only tau^2 + s^2 = log(B/A^2) can
    be had, the Poisson-lognormal model.

    (c) A = 8.580, B = 171.61, C = 136.58: tau^2 = log 1.855 = 0.618, tau = 0.786; s^2 = log 1.2565 = 0.228, s = 0.478.
    Of the variance A + B - A^2 = 106.6 of a count the patients have 59 %, periods within patients 33 %, and the Poisson
    distribution 8 %: it is by far the smallest part.

    (d) All three weigh a patient by the square of its counts, so that a few patients with many seizures decide, as the
    first analysis of the chapter did with totals; a likelihood weighs patients by what they say. Estimates may also be
    negative (C < A^2). In return no integral and no normal distribution is needed for (a) but E(e^v).
    """
    A, _, C = moments()
    rng = np.random.default_rng(0)
    b, e = 0.786 * rng.standard_normal((200_000, 1)), 0.478 * rng.standard_normal((200_000, 2))
    mu = np.exp(1.7 + b + e)
    np.testing.assert_allclose(np.log((mu[:, 0] * mu[:, 1]).mean() / mu.mean() ** 2), 0.786**2, atol=0.05)
    np.testing.assert_allclose(np.log((mu**2).mean() / (mu[:, 0] * mu[:, 1]).mean()), 0.478**2, atol=0.05)
    return np.sqrt(np.log(C / A**2))


def pr_11_3b():
    """The standard deviation between the periods of one patient; solution at `pr_11_3a`."""
    A, B, C = moments()
    np.testing.assert_allclose(np.log(B / C), np.log(B / A**2) - pr_11_3a() ** 2)
    return np.sqrt(np.log(B / C))


def pr_11_4():
    """The AIC of the linear model as one for the counts.

    (a) The two likelihoods are of different things: 870.4 belongs to a density of log(y + 1), 1987.9 to probabilities
    of y. A density has a unit; measure in another one, and it changes: in logarithms to base ten the same fit has
    another AIC. With z = log(y + 1) the density of y is f_z(log(y + 1)) dz/dy = f_z/(y + 1), so the log-likelihood of
    the counts is lower by the sum of log(y + 1) = 488.4, and AIC larger by twice that: 1847.2.

    (b) The linear model is still ahead, by 141 and not by 1118. That is no accident: it has a residual variance and so
    room for chicks of one brood that differ (Pearson's ratio 2.19), which the Poisson model has not. It does not make
    the linear model right: a density of a count that is zero in a third of the rows is a poor stand-in for
    probabilities, and its slope is one of means of log(y + 1). The fair comparison is with a negative binomial model,
    which also has room within broods.
    """
    frame, counts = ticks()
    frame = frame.assign(logged=np.log(frame["ticks"] + 1), ten=np.log10(frame["ticks"] + 1))
    linear = lmmlib.fit("logged ~ C(year) + up + (1 | brood)", frame, method="ML")
    tens = lmmlib.fit("ten ~ C(year) + up + (1 | brood)", frame, method="ML")
    aic = linear.aic + 2 * frame["logged"].sum()
    # In base ten: dz/dy = 1/{(y + 1) log 10}; the answer does not depend on the base.
    np.testing.assert_allclose(tens.aic + 2 * (frame["logged"].sum() + 403 * np.log(np.log(10))), aic, rtol=1e-7)
    assert linear.aic < 871 < aic < counts.aic
    return aic


# Seeds of two kinds on plates with an extract of bean or of cucumber: germinated, and how many there were.
PLATES = {
    (0, 0): "10/39 23/62 23/81 26/51 17/39",
    (0, 1): "5/6 53/74 55/72 32/51 46/79 10/13",
    (1, 0): "8/16 10/30 8/28 23/45 0/4",
    (1, 1): "3/12 22/41 15/30 32/51 3/7",
}


@cache
def seeds():
    """A row for each plate."""
    rows = [
        [kind, cucumber, *map(float, plate.split("/"))]
        for (kind, cucumber), line in PLATES.items()
        for plate in line.split()
    ]
    frame = pd.DataFrame(rows, columns=["kind", "cucumber", "up", "seeds"])
    return frame.assign(plate=np.arange(21))


def pr_11_5a():
    """Pearson's statistic over its degrees of freedom, without plates.

    (a) 31.65 on 21 - 4 = 17 degrees of freedom, 1.86. A row is a sum of up to 81 bits, and by thm-one-trial (b) a
    correlation rho of the seeds of a plate multiplies its variance by 1 + (m - 1) rho: with forty seeds a rho of 0.02
    nearly doubles it. Given seed by seed, in 831 rows, the data would still have the plates, and the same random
    intercept; but Pearson's statistic of single bits could not show it.
    """
    frame = seeds()
    fit = lmmlib.fit_glmm("up ~ kind * cucumber + (0 | plate)", frame, "binomial", trials="seeds")
    share = frame.groupby(["kind", "cucumber"])[["up", "seeds"]].transform("sum").eval("up / seeds")
    pearson = ((frame["up"] - frame["seeds"] * share) ** 2 / (frame["seeds"] * share * (1 - share))).sum()
    np.testing.assert_allclose(fit.overdispersion().pearson, pearson, rtol=1e-6)
    return pearson / 17


def pr_11_5b():
    """The interaction with a random plate, by quadrature.

    (b) -0.81, se 0.385, with tau = 0.236. The plates have hardly moved the estimate (-0.78 without), but its standard
    error is a quarter larger than the 0.306 of the regression without plates. In words: cucumber multiplies the odds of
    seeds of the first kind by e^1.34 = 3.8, of the second by e^0.53 = 1.7 only.
    """
    frame = seeds()
    fit = lmmlib.fit_glmm("up ~ kind * cucumber + (1 | plate)", frame, "binomial", trials="seeds", method="aghq")
    X = np.column_stack([np.ones(21), frame["kind"], frame["cucumber"], frame["kind"] * frame["cucumber"]])
    u = np.linspace(-9, 9, 361)

    def minus(psi):
        eta = (X @ psi[:4])[:, None] + np.exp(psi[4]) * u
        rows = stats.binom.logpmf(frame["up"].to_numpy()[:, None], frame["seeds"].to_numpy()[:, None], expit(eta))
        return -logsumexp(rows + stats.norm.logpdf(u), axis=1, b=u[1] - u[0]).sum()

    found = optimize.minimize(minus, [-0.5, 0.1, 1.3, -0.8, -1.5], method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose([*found[:4], np.exp(found[4])], fit.parameters(), rtol=1e-3)
    return fit.beta["kind:cucumber"]


def pr_11_5c():
    """The standard deviation of the plates by REML.

    (c) 0.318, where maximum likelihood has 0.236 (0.235 by Laplace): a third more. Four coefficients were spent on
    twenty-one plates, so the plates' deviations have seventeen degrees of freedom; with tau^2 small beside the binomial
    variance of a plate that matters more than the 21/17 of a linear model would. Laplace's approximation, on which REML
    is built, is good here, because a plate has many seeds: it costs a hundredth of a unit of log-likelihood.
    """
    fits = [
        lmmlib.fit_glmm("up ~ kind * cucumber + (1 | plate)", seeds(), "binomial", trials="seeds", method=how)
        for how in ("laplace", "aghq", "REML")
    ]
    assert abs(fits[0].loglik - fits[1].loglik) < 0.02
    taus = [fit.parameters()["sd (Intercept)"] for fit in fits]
    np.testing.assert_allclose(taus[:2], [0.235, 0.236], atol=6e-4)
    return taus[2]


@cache
def probit():
    """Correlation, tau and slope of the probit model of the pairs of pr-11-1."""
    before, after, both = (PAIRS[2] + PAIRS[3]) / 200, (PAIRS[1] + PAIRS[3]) / 200, PAIRS[3] / 200
    limits = stats.norm.ppf([before, after])

    def gap(r):
        return stats.multivariate_normal.cdf(limits, [0, 0], [[1, r], [r, 1]]) - both

    r = optimize.brentq(gap, 0, 0.999)
    tau = np.sqrt(r / (1 - r))
    # The same by an integral over b alone.
    x, w = normal_rule()
    given = [stats.norm.cdf(limit * np.sqrt(1 + tau**2) + tau * x) for limit in limits]
    np.testing.assert_allclose(
        [w @ given[0], w @ given[1], w @ (given[0] * given[1])], [before, after, both], atol=1e-6
    )
    return r, tau, (limits[1] - limits[0]) * np.sqrt(1 + tau**2)


def pr_11_6a():
    """The correlation of two latent normal variables.

    (a) y = 1 if e <= eta + b with e standard normal, that is if e - b <= eta, and e - b has variance 1 + tau^2. (b) For
    two bits of a patient (e_1 - b, e_2 - b)/sqrt(1 + tau^2) is bivariate normal with correlation rho = tau^2/(1 +
    tau^2), so the four shares are those of a bivariate normal distribution cut at z_1 and z_2: three numbers, z_1 =
    Phi^-1(78/200) = -0.279, z_2 = Phi^-1(97/200) = -0.038, and rho, for three free shares. The rho with P(both <= z) =
    63/200 is 0.737, Pearson's tetrachoric correlation.
    """
    return probit()[0]


def pr_11_6b():
    """The standard deviation of the patients.

    (b) tau = sqrt{rho/(1 - rho)} = 1.672. The logistic model has 2.898, and 2.898/1.7 = 1.70: the logistic distribution
    is nearly a normal one with a standard deviation of 1/c = 1.7.
    """
    return probit()[1]


def pr_11_6c():
    """The slope for one patient.

    (c) (z_2 - z_1) sqrt(1 + tau^2) = 0.242 * 1.949 = 0.471; times 1.7 it is 0.80, where the logistic model has 0.818.
    In the population the slope is z_2 - z_1 = 0.242, exactly the fraction 1/sqrt(1 + tau^2) of it, for all eta: that is
    what is approximate for the logistic link. (d) The ratio of P(0, 1 | b) to P(1, 0 | b) is not free of b: only the
    logistic link has a sufficient statistic for b_i, the total, and so a conditional likelihood.
    """
    r, tau, slope = probit()
    np.testing.assert_allclose(slope / np.sqrt(1 + tau**2), np.diff(stats.norm.ppf([78 / 200, 97 / 200]))[0])
    return slope


def pr_11_7a():
    """The coefficient without severity, by the approximation.

    (a) By covariate-left-out the fit without severity has 1.2/sqrt{1 + c^2 1.5^2 1.3^2} = 1.2/1.522 = 0.789, and tau
    becomes 0.8/1.522 = 0.526. No confounding is needed: severity is independent of the arm.
    """
    c2 = (16 * np.sqrt(3) / (15 * np.pi)) ** 2
    return 1.2 / np.sqrt(1 + c2 * 1.5**2 * 1.3**2)


def pr_11_7b():
    """The exact coefficient near log odds of zero.

    (b) The slope of log{pbar/(1 - pbar)} at eta = 0 is E{p(1 - p)}/{pbar (1 - pbar)} by attenuation, with pbar = 1/2:
    it is 4 E{p(1 - p)} over v ~ N(0, 1.95^2), 0.615, and the coefficient 1.2 * 0.615 = 0.738.

    (c) "The effect changes when z is added" finds confounders in linear models (and for risks and their differences);
    an odds ratio is not collapsible, and changes when anything is added that predicts the response. What both models
    agree on are the probabilities averaged over severity: compare those, by predict(of="population") averaged over the
    severities of the data. Add severity all the same: its coefficient answers the question for patients of one
    severity, and the power is higher.
    """
    x, w = normal_rule(120)
    p = expit(1.95 * x)
    slope = 4 * (w @ (p * (1 - p)))
    v = np.linspace(-20, 20, 8001)
    np.testing.assert_allclose(
        slope, 4 * np.trapezoid(expit(v) * expit(-v) * stats.norm.pdf(v, scale=1.95), v), rtol=1e-6
    )
    return 1.2 * slope


def pr_11_8a():
    """The log odds ratio of centre 5, one half added to each cell.

    (a) log{6.5 * 12.5/(11.5 * 0.5)} = 2.648, se sqrt(1/6.5 + 1/11.5 + 1/0.5 + 1/12.5) = 1.52: between an odds ratio of
    0.7 and one of 280. Without the half the likelihood of this centre rises with the effect to a limit: separation.
    """
    return np.log(6.5 * 12.5 / (11.5 * 0.5))


def pr_11_8b():
    """The effect of the drug in centre 5, predicted by the model in which it varies.

    (b) 0.892 + 0.302 = 1.194. The mode is finite because the other centres say how much effects vary: the standard
    deviation is 0.491. (c) It is drawn from 2.65 more than half of the way to 0.89, because this centre has a standard
    error of 1.5 for an effect that varies by half a unit only; and the effect is learnt from the centre's level too, as
    the two effects have a correlation of -0.81: poor centres have the larger effect. With the effect held equal in all
    centres all have 0.738; the likelihood ratio has p = 0.61, so the data do not say that centre 5 has another effect.
    Reported for the trial: 0.738 (se 0.300); 1.194 only as what this model would bet on centre 5, with its error.
    """
    frame = lmmlib.load("cream")
    formula = "cured ~ treatment + (treatment | centre)"
    fit = lmmlib.fit_glmm(formula, frame, "binomial", trials="patients", method="aghq")
    precision = np.linalg.inv(fit.D.to_numpy())

    def minus(b):
        p = expit(np.array([fit.beta.iloc[0] + b[0], fit.beta.sum() + b.sum()]))
        return -stats.binom.logpmf([0, 6], [12, 17], p).sum() + b @ precision @ b / 2

    b = optimize.minimize(minus, [0.0, 0.0], method="BFGS", options={"gtol": 1e-7}).x
    np.testing.assert_allclose(b, fit.modes().b.loc[5], atol=1e-4)
    return fit.beta.iloc[1] + fit.modes().b.loc[5].iloc[1]
