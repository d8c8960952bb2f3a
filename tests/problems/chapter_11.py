"""Solutions of the problems of chapter 11: pairs of bits, ticks on grouse, whose variance, a lost Jacobian."""

from functools import cache

import numpy as np
from scipy import optimize
from scipy.special import expit

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
