"""Solutions of the problems of chapter 10: a hyperbola, a dose tested by draws, two priors, a ratio upside down."""

from functools import cache

import numpy as np
from scipy import optimize, special

import lmmlib
from lmmlib import equations
from lmmlib.equations import moments

DECIMALS = {"pr-10-1": 2, "pr-10-2": 1, "pr-10-3": 0, "pr-10-4a": 2, "pr-10-4b": 3}


def pr_10_1():
    """The limit of lambda.max for y ~ N(alpha beta, 1), y = 1, with standard normal priors.

    (a) y ~ N(alpha + beta, 1): the likelihood has its maxima on the line alpha + beta = y, and the cloned posterior
    tends to the prior given alpha + beta = y. (alpha, alpha + beta) is normal, so alpha given the sum is N(A y/(A +
    B), A B/(A + B)), and beta = y - alpha. Var(alpha, beta) = v (1, -1; -1, 1) with v = A B/(A + B), largest
    eigenvalue 2 v: 1.6 for A = 4 and B = 1. The prior's is 4: the limit is below, and not the prior's.

    (b) Write psi = alpha beta. Given psi = 1 the point is (alpha, 1/alpha), alpha on either side of zero. By d alpha d
    beta = d alpha d psi/|alpha| the joint density of (alpha, psi) is p(alpha) p(psi/alpha)/|alpha|, and at psi = 1 it
    is proportional to exp{-(alpha^2 + alpha^-2)/2}/|alpha|. L depends on psi alone, so this is the limit.

    (c) By symmetry the means are zero, and E(alpha beta) = 1 on the set, so the covariance is 1. With alpha = e^t,
    d alpha/alpha = dt and alpha^2 + alpha^-2 = 2 cosh 2t, so E(alpha^2) = int e^{2t} e^{-cosh 2t} dt / int e^{-cosh 2t}
    dt = K_1(1)/K_0(1) = 1.4296, Bessel functions (the odd part of e^{2t} drops out). The covariance matrix is (1.4296,
    1; 1, 1.4296) and lambda.max tends to 2.4296.

    (d) The prior has lambda.max = 1. With one observation it *rises*, and with more and more clones it rises further: a
    posterior variance may be larger than the prior's, and lambda.max need not fall on its way to its limit. Only that
    it does not tend to zero says that something cannot be estimated.
    """
    limit = special.kv(1, 1) / special.kv(0, 1) + 1
    t = np.linspace(-6, 6, 200_001)
    weight = np.exp(-np.cosh(2 * t))
    np.testing.assert_allclose(np.exp(2 * t) @ weight / weight.sum() + 1, limit)
    # Clones themselves: the posterior of K copies on a grid comes near to it, from below.
    x = np.linspace(-5, 5, 1201)
    a, b = np.meshgrid(x, x, indexing="ij")
    found = []
    for K in (1, 20, 400):
        w = np.exp(-K * (1 - a * b) ** 2 / 2 - (a**2 + b**2) / 2)
        found.append(np.sum(w * (a + b) ** 2) / w.sum() / 2)
    assert 1 < found[0] < found[1] < found[2] and abs(found[2] - limit) < 0.02
    return limit


def pr_10_2():
    """The likelihood ratio statistic of the dose, at the same size and sex.

    (a) Draws of b_i given y at theta_hat are normal with the moments of conditional-mean and conditional-variance; the
    ratio of p(y, b) at theta_0 and at theta_hat is averaged for each litter, and the logarithms are added over the 27
    litters. At once this fails: without the dose the residuals of a whole arm move by half a gram, and so must b_i,
    which is known to a tenth. A few draws carry the weight, in some litters a single one nearly all of it, and the
    statistic comes out anywhere between 15 and 30. The Monte Carlo error of about 2 that is reported beside it is read
    off the same few draws: those that would matter most were not drawn, and it knows nothing of them.

    (b) In eight steps along the line from theta_hat to theta_0 (in the coefficients and the logarithms of the
    variances), with 20 000 draws for each step: 18.8, Monte Carlo error 0.07. With sixteen 18.7, error 0.05.

    (c) lmmlib.fit(method="ML") gives 18.70 from two log-likelihoods. (REML must not be used: the fixed effects differ.)
    On two degrees of freedom p = 0.0001; by AIC the doses gain 18.7 - 2 * 2 = 14.7.
    """
    pups = lmmlib.load("ratpup")
    with_dose = lmmlib.fit("weight ~ treatment + size + sex + (1 | litter)", pups, method="ML")
    without = lmmlib.fit("weight ~ size + sex + (1 | litter)", pups, method="ML")
    statistic = 2 * (with_dose.loglik - without.loglik)
    rng, litter = np.random.default_rng(1002), pups["litter"].astype(str).to_numpy()
    ends = [
        np.array([*(f.beta.get(name, 0.0) for name in with_dose.beta.index), np.log(f.D.iloc[0, 0]), np.log(f.sigma2)])
        for f in (with_dose, without)
    ]

    def log_ratio(here, there, size=20_000):
        """Log of L(there) / L(here) from draws at here, and the square of its Monte Carlo error."""
        total = square = 0.0
        for name in np.unique(litter):
            rows, joint = litter == name, []
            t2, s2 = np.exp(here[-2:])
            r = with_dose.design.y[rows] - with_dose.design.X[rows] @ here[:-2]
            spread = 1 / (len(r) / s2 + 1 / t2)
            b = spread * r.sum() / s2 + np.sqrt(spread) * rng.standard_normal(size)
            for theta in (here, there):
                r = with_dose.design.y[rows] - with_dose.design.X[rows] @ theta[:-2]
                squares = r @ r - 2 * r.sum() * b + len(r) * b**2
                joint.append(len(r) * theta[-1] + squares / np.exp(theta[-1]) + theta[-2] + b**2 / np.exp(theta[-2]))
            ratio = np.exp((joint[0] - joint[1]) / 2)
            total += np.log(ratio.mean())
            square += ratio.var() / ratio.mean() ** 2 / size
        return total, square

    path = [ends[0] + s * (ends[1] - ends[0]) for s in np.linspace(0, 1, 9)]
    steps = np.array([log_ratio(here, there) for here, there in zip(path[:-1], path[1:], strict=True)])
    assert abs(-2 * steps[:, 0].sum() - statistic) < 4 * 2 * np.sqrt(steps[:, 1].sum()) < 0.4
    return statistic


@cache
def pupils():
    return lmmlib.fit("math ~ ses + (1 | school)", lmmlib.load("schools"), method="ML")


def pr_10_3():
    """The number of clones at which the two priors differ by a hundredth of a standard error.

    (a) In log tau the density of IG(a, c) is proportional to tau^(-2a) exp(-c/tau^2), with the slope -2a + 2c/tau^2. At
    the estimate tau^2 = 4.73 that is -1.58 for IG(1, 1) and 44.6 for IG(20, 200), which believes in 10.

    (b) By the second part of prop-cloning-rate the means of log tau differ by (1/K) H^{-1} times the difference of the
    gradients. The priors differ in log tau alone, so only the corner of H^{-1} that belongs to log tau is needed, and
    that is the square of its standard error, 0.0686. In units of the standard error the difference is 0.0686 * 46.2/K =
    3.17/K.

    (c) It is a hundredth at K = 317. At K = 1 the formula says three standard errors; it is of first order, and the
    difference is 1.9. From ten clones on the formula is good (0.30 for 0.32).

    (d) The data have 160 schools, and their standard error is 0.069; with a tenth of the schools it would be larger by
    sqrt(10), and so would the number of clones: a prior is steep or flat in comparison with what the data know.
    """
    fit = pupils()
    tau2 = fit.D.iloc[0, 0]
    information = equations.information_variance(fit.cross, fit.D.to_numpy(), fit.sigma2, method="ML", kind="observed")
    se = np.sqrt(np.linalg.inv(information)[0, 0]) / (2 * tau2)
    gap = (-2 * 20 + 2 * 200 / tau2) - (-2 * 1 + 2 * 1 / tau2)
    # A second route: the curvature of the profile of log tau, over beta and sigma2.
    cross = fit.cross

    def profile(log_tau):
        def minus(log_s2):
            return -equations.profile_loglik(cross, np.array([[np.exp(2 * log_tau)]]), np.exp(log_s2))

        return -optimize.minimize_scalar(minus, bounds=(3.5, 3.8), method="bounded", options={"xatol": 1e-9}).fun

    at, h = np.log(tau2) / 2, 0.02
    curvature = -(profile(at + h) - 2 * profile(at) + profile(at - h)) / h**2
    assert abs(se * np.sqrt(curvature) - 1) < 0.002
    return 100 * se * gap


@cache
def dyestuff():
    """sigma2 and tau2 by maximum likelihood, in closed form, and the sum of squares between batches."""
    Y = lmmlib.load("dyestuff")["Yield"].to_numpy().reshape(6, 5)
    ssb, sigma2 = 5 * np.sum((Y.mean(axis=1) - Y.mean()) ** 2), np.sum((Y - Y.mean(axis=1, keepdims=True)) ** 2) / 24
    return Y, sigma2, (ssb / 6 - sigma2) / 5, ssb


def pr_10_4a():
    """The tau_0 below which the mean over which the colleague averages is infinite.

    (a) Given y and theta_hat, b has the density p(y, b | theta_hat)/L(theta_hat). The mean of p(y, b | theta_hat)/p(y,
    b | theta_0) under it is int p(y, b | theta_hat)^2/p(y, b | theta_0) db / L(theta_hat), which is not L(theta_hat)/
    L(theta_0); that would be the mean of this ratio over draws at *theta_0*. By Jensen's inequality a mean of 1/X is at
    least one over the mean of X, of the same draws of the ratio X of prop-likelihood-ratio: the colleague's log
    ratio is never above the right one.

    (b) As a function of b, p(y, b | theta) is a constant times exp{-P b^2/2 + ...} with P = m/sigma^2 + 1/tau^2, the
    dots linear in b. The integrand of (a) has -(2 P_hat - P_0) b^2/2 in the exponent: its integral is finite if and
    only if P_0 < 2 P_hat, that is, with sigma held, 1/tau_0^2 < m/sigma^2 + 2/tau_hat^2. The end is tau_0 = 16.95 g.
    Below it the average of any number of draws is finite, and grows without limit with their number.
    """
    _, sigma2, tau2, _ = dyestuff()
    end = 1 / np.sqrt(5 / sigma2 + 2 / tau2)

    def excess(tau):
        return (5 / sigma2 + 1 / tau**2) / (5 / sigma2 + 1 / tau2) - 2

    np.testing.assert_allclose(optimize.brentq(excess, 5, 37, xtol=1e-12), end)
    return end


def pr_10_4b():
    """log L(tau_0 = 14) - log L(tau_hat), mu and sigma held at their estimates: -2.191.

    The right mean, of p(y, b | theta_0)/p(y, b | theta_hat), is finite for every tau_0 (the exponent is -P_0 b^2/2),
    and so is its variance, if 2 P_0 > P_hat, which holds here for all tau_0, as m/sigma^2 > 1/tau_hat^2.
    """
    Y, sigma2, tau2, ssb = dyestuff()

    def loglik(t2):
        V = moments.marginal_covariance(np.ones((5, 1)), np.array([[t2]]), sigma2)
        away = Y - Y.mean()
        return -0.5 * (6 * np.linalg.slogdet(V)[1] + np.sum(away * np.linalg.solve(V, away.T).T))

    value = loglik(14.0**2) - loglik(tau2)
    gamma, gamma_0 = sigma2 + 5 * tau2, sigma2 + 5 * 14.0**2
    np.testing.assert_allclose(-3 * np.log(gamma_0 / gamma) - ssb / 2 * (1 / gamma_0 - 1 / gamma), value)
    return value
