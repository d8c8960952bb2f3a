"""Solutions of the problems of chapter 9: centring by halves, kilograms, the next litter, draws that were left out."""

from functools import cache

import numpy as np
from scipy import integrate, stats

import lmmlib

DECIMALS = {
    "pr-09-1a": 3,
    "pr-09-1b": 3,
    "pr-09-2": 3,
    "pr-09-3a": 2,
    "pr-09-3b": 3,
    "pr-09-4a": 3,
    "pr-09-4b": 3,
}


def two_block_rate(Q):
    """Lag-one autocorrelation of the first coordinate when it and all others are drawn in turn, precision Q."""
    return Q[0, 1:] @ np.linalg.solve(Q[1:, 1:], Q[1:, 0]) / Q[0, 0]


def precision_of(kappa, sizes, ratio):
    """Posterior precision of (mu, c_1, ..., c_n), c_i = b_i + kappa mu, with sigma^2 = 1 and tau^2 = ratio."""
    n = len(sizes)
    Q = np.zeros((n + 1, n + 1))
    for i, m in enumerate(sizes, start=1):
        one = np.zeros(n + 1)  # a row of data: (1 - kappa) mu + c_i; then the density of c_i: c_i - kappa mu
        one[0], one[i] = 1 - kappa, 1
        two = np.zeros(n + 1)
        two[0], two[i] = -kappa, 1
        Q += m * np.outer(one, one) + np.outer(two, two) / ratio
    return Q


def pr_09_1a():
    """The lag-one autocorrelation of mu at kappa = 0.75, with m = 3 and an intraclass correlation of 0.2.

    (a) With c_i = b_i + kappa mu, y_ij = (1 - kappa) mu + c_i + eps_ij and c_i ~ N(kappa mu, tau^2). Let a =
    m/sigma^2 and d = 1/tau^2. In the exponent the quadratic terms are Q_mm = n{a (1 - kappa)^2 + d kappa^2}, Q_cc = a
    + d for each c_i and Q_mc = a (1 - kappa) - d kappa. mu depends on the c_i through their mean alone, and two blocks
    drawn in turn have the rate Q_mc Q_cc^{-1} Q_cm/Q_mm (put one conditional mean into the other). Divided by a + d,
    with w = a/(a + d): (w - kappa)^2/{w (1 - kappa)^2 + (1 - w) kappa^2}. kappa = 0 gives w and kappa = 1 gives 1 - w,
    thm-centring.

    (b) It is zero at kappa = w: draws of mu are then independent. c_i - kappa mu is uncorrelated with mu a posteriori.

    (c) w = 0.6/1.4 = 3/7, so (3/7 - 3/4)^2/{3/7/16 + 4/7 * 9/16} = 0.297. Standard: 0.429, centred 0.571: a wrong
    guess of the intraclass correlation is still better than either.
    """
    m, rho, kappa = 3, 0.2, 0.75
    w = m * rho / (1 - rho + m * rho)
    rate = (w - kappa) ** 2 / (w * (1 - kappa) ** 2 + (1 - w) * kappa**2)
    np.testing.assert_allclose(rate, two_block_rate(precision_of(kappa, [3] * 7, rho / (1 - rho))))
    return rate


def pr_09_1b():
    """The smallest lag-one autocorrelation that one kappa reaches with ten groups of two and ten of twenty.

    (d) Now the rate is sum (a_i + d)(w_i - kappa)^2/sum (a_i + d){w_i - 2 w_i kappa + kappa^2}, with a_i + d = d/(1 -
    w_i). Numerator and denominator differ by sum (a_i + d) w_i (1 - w_i) = d sum w_i, which does not contain kappa, so
    the rate is smallest where the denominator is, at kappa = sum a_i/sum (a_i + d): the weight of a group of average
    size, 5.5/6.5. There it is 1 - sum w_i/sum{(w_i - 2 w_i kappa + kappa^2)/(1 - w_i)} = 0.167. It is not zero, as no
    single kappa suits both sizes; with a kappa_i = w_i for each group it would be.
    """
    sizes, ratio = np.repeat([2, 20], 10), 0.5
    kappa = sizes.mean() * ratio / (1 + sizes.mean() * ratio)
    w = sizes * ratio / (1 + sizes * ratio)
    rate = 1 - w.sum() / np.sum((w - 2 * w * kappa + kappa**2) / (1 - w))
    np.testing.assert_allclose(rate, two_block_rate(precision_of(kappa, sizes, ratio)))
    assert all(two_block_rate(precision_of(k, sizes, ratio)) > rate for k in (kappa - 0.01, kappa + 0.01))
    return rate


@cache
def dyestuff_sums():
    """SSB and SSW of the six batches, in g^2."""
    y = lmmlib.load("dyestuff")["Yield"].to_numpy(float).reshape(6, 5)
    means = y.mean(axis=1)
    return 5 * np.sum((means - means.mean()) ** 2), np.sum((y - means[:, None]) ** 2)


def pr_09_2():
    """The posterior median of tau, in kilograms, under IG(1, 1) for tau^2 in kilograms squared.

    (a) v = tau^2 in g^2 is 10^6 times that in kg^2, and c v with v ~ IG(a, b) has the density proportional to
    (v/c)^{-a-1} e^{-bc/v}: IG(a, bc). So the prior is IG(1, 10^6) in g^2, with its mass near a standard deviation of a
    kilogram.

    (b) p(tau^2, sigma^2 | y) ~ (tau^2)^{-2} e^{-10^6/tau^2} (sigma^2)^{-1} g^{-5/2} e^{-SSB/2g} (sigma^2)^{-12}
    e^{-SSW/2 sigma^2} with g = sigma^2 + 5 tau^2. Its median in tau is 0.563 kg, where yields are 1440 to 1635 g; in
    grams the same words gave 1.3 g. Both are the prior's: it weighs as much as two batches of its own size.

    (c) The half-Cauchy prior has a scale, and 50 g is 0.05 kg; who writes HalfCauchy(50) in kilograms says something
    else as well. The uniform prior of tau and 1/tau^2 have no units: a constant factor is lost in the
    proportionality. But the second has no posterior. IG(eps, eps) is not free of units for any eps > 0.
    """
    SSB, SSW = dyestuff_sums()

    def log_density(log_tau, log_sigma):
        tau2, s2 = np.exp(2 * log_tau), np.exp(2 * log_sigma)
        g = s2 + 5 * tau2
        return -(5 * np.log(g) + 24 * np.log(s2) + SSB / g + SSW / s2) / 2 - np.log(tau2) - 1e6 / tau2

    x, z = np.linspace(np.log(50), np.log(2e5), 8001), np.linspace(np.log(25), np.log(120), 301)
    f = log_density(x[:, None], z)
    p = np.exp(f - f.max()).sum(axis=1)
    below = np.cumsum(p) - p / 2
    median = np.exp(np.interp(0.5, below / p.sum(), x))
    # By the trapezoidal rule in 1/tau^2, sigma integrated by Gauss and Laguerre: SSW/2 sigma^2 is the variable.
    t, weight = np.polynomial.laguerre.laggauss(60)
    s2 = SSW / 2 / t[:, None]

    def density(precision):
        g = s2 + 5 / precision
        return weight @ (t[:, None] ** 11 * np.exp(-1e6 * precision) * g**-2.5 * np.exp(-SSB / 2 / g))

    at = np.linspace(1e-11, 4e-5, 100_001)
    d = density(at)
    below = np.concatenate([[0], np.cumsum(d[1:] + d[:-1])])
    np.testing.assert_allclose(np.interp(0.5, below / below[-1], at) ** -0.5, median, rtol=1e-4)
    return median / 1000


@cache
def high_dose():
    """Sizes and mean weights of the seven litters of the high dose, and the sum of squares within them."""
    pups = lmmlib.load("ratpup").query("treatment == 'high'")
    weights = [g.to_numpy() for _, g in pups.groupby("litter", observed=True)["weight"]]
    n = np.array([len(w) for w in weights])
    return n, np.array([w.mean() for w in weights]), sum(np.sum((w - w.mean()) ** 2) for w in weights)


@cache
def litters_posterior(points=501, scale=0.5):
    """Grid of log tau and log sigma with weights, and mean and variance of mu, given y."""
    n, means, SSW = high_dose()
    x, z = np.linspace(np.log(1e-3), np.log(60), points), np.linspace(np.log(0.2), np.log(0.9), points // 3)
    tau2, s2 = np.exp(2 * x)[:, None, None], np.exp(2 * z)[:, None]
    W = 1 / (tau2 + s2 / n)
    mu = (W @ means) / W.sum(axis=-1)
    log_p = np.log(W).sum(axis=-1) / 2 - np.log(W.sum(axis=-1)) / 2
    log_p -= (W * (means - mu[..., None]) ** 2).sum(axis=-1) / 2
    log_p -= (n.sum() - len(n)) * z + SSW / 2 / s2[:, 0]
    log_p = log_p - np.log1p(tau2[..., 0] / scale**2) + x[:, None]
    p = np.exp(log_p - log_p.max())
    return x, z, p / p.sum(), mu, 1 / W.sum(axis=-1)


def pr_09_3a():
    """The posterior median of tau, in grams.

    (a) y_i is its mean and the deviations from it. Given tau and sigma the seven means are independent N(mu, tau^2 +
    sigma^2/n_i); integrate the flat mu: prod v_i^{-1/2} (sum 1/v_i)^{-1/2} e^{-sum (ybar_i - muhat)^2/2 v_i} with v_i =
    tau^2 + sigma^2/n_i. The deviations add (sigma^2)^{-(N - 7)/2} e^{-SSW/2 sigma^2}. On a grid of (log tau, log
    sigma) the prior is tau/(1 + tau^2/0.25), times one for 1/sigma^2.

    (b) 0.67 g, little above REML's 0.66; but the interval goes from 0.40 to 1.33 g.
    """
    x, _, p, _, _ = litters_posterior()
    marginal = p.sum(axis=1)
    median = np.exp(np.interp(0.5, np.cumsum(marginal) - marginal / 2, x))
    draws = lmmlib.sample(
        "weight ~ 1 + (1 | litter)",
        lmmlib.load("ratpup").query("treatment == 'high'"),
        lmmlib.priors.Priors(sigma=lmmlib.priors.Reciprocal(), D=lmmlib.priors.HalfCauchy(0.5)),
        draws=1000,
        chains=8,
        rng=93,
    )
    assert abs(np.mean(draws["sd (Intercept)"] < median) - 0.5) < 0.025
    return median


def pr_09_3b():
    """The probability that the mean weight of all pups that a new mother could have is below 5.6 g.

    (c) Given tau and sigma, mu | y ~ N(muhat, 1/sum 1/v_i), and the new litter's mean mu + b is N(muhat, tau^2 + 1/sum
    1/v_i): average the normal probability over the grid. The estimates put into N(muhat, tau^2) give 0.237, less: they
    leave out the error of muhat and the spread of tau, whose large values matter more for a tail than its small ones.
    A litter of 12 that one weighs has the mean of 12 residuals in addition.
    """
    x, z, p, mu, var = litters_posterior()
    tau2 = np.exp(2 * x)[:, None]
    answer = np.sum(p * stats.norm.cdf((5.6 - mu) / np.sqrt(tau2 + var)))
    n, means, SSW = high_dose()

    def integrand(log_sigma, log_tau, of):
        t2, s2 = np.exp(2 * log_tau), np.exp(2 * log_sigma)
        v = t2 + s2 / n
        centre = np.sum(means / v) / np.sum(1 / v)
        log_p = -np.log(v).sum() / 2 - np.log(np.sum(1 / v)) / 2 - np.sum((means - centre) ** 2 / v) / 2
        log_p += -(n.sum() - 7) * log_sigma - SSW / 2 / s2 + log_tau - np.log(1 + 4 * t2) - 30
        return np.exp(log_p) * (stats.norm.cdf((5.6 - centre) / np.sqrt(t2 + 1 / np.sum(1 / v))) if of else 1)

    box = (np.log(0.02), np.log(20), np.log(0.25), np.log(0.7))
    top, bottom = (_simpson(integrand, box, of) for of in (True, False))
    np.testing.assert_allclose(top / bottom, answer, atol=1e-4)
    return answer


def _simpson(integrand, box, of, points=41):
    """The integral over a box (log tau, log sigma) by Simpson's rule."""
    x, z = np.linspace(*box[:2], 2 * points - 1), np.linspace(*box[2:], points)
    values = np.array([[integrand(b, a, of) for b in z] for a in x])
    return integrate.simpson(integrate.simpson(values, x=z), x=x)


def pr_09_4a():
    """The limit of the second moment of the draws that were kept, for a standard normal posterior and s = 5.

    (a) A rejected proposal means that the chain stays: the old value is the next draw, and counts again. The code
    appends only when it moves.

    (b) The chain itself is right: at stationarity its states have the density p. A state is followed by a move with
    the probability a(x), so the states *from* which it moves have the density p(x) a(x)/A with A = E a(X); and as the
    chain is reversible, the states *to* which it moves have the same. (p(x) q(x, y) min{1, p(y)/p(x)} is symmetric in x
    and y; integrate one of them.) So what is kept converges to p a/A.

    (c) With p standard normal and steps N(0, s^2), a(x) = P(|x + s Z| <= |x|) + E[e^{-(Y^2 - x^2)/2}; |Y| > |x|], Y =
    x + s Z. Near zero most proposals are refused, in the tails fewer, so the kept draws are too spread out: E x^2 is
    1.266 for s = 5.

    (d) The shares of draws beyond 1.96 is 0.077, so an interval of 95 % is too wide. The trace is prettier than that
    of the right chain: it has no flat stretches, and R-hat is near one, for the chains agree on the wrong thing.
    The rank test of the kept draws notices. So does Geweke's test if a sweep ends with an accepted proposal; with one
    proposal a sweep it passes, because the chain is right and only the list is wrong.
    """
    return second_moment_and_tail()[0]


def pr_09_4b():
    """The limiting share of kept draws beyond 1.96 in size: see pr_09_4a."""
    return second_moment_and_tail()[1]


@cache
def second_moment_and_tail(s=5.0):
    """Of the density p(x) a(x)/A; a by closed form, checked by simulation of the code of the problem."""
    x = np.linspace(-12, 12, 48_001)

    def acceptance(x):
        x = np.abs(x)
        inside = stats.norm.cdf(0) - stats.norm.cdf(-2 * x / s)  # -x <= Y <= x
        # E[e^{-(Y^2 - x^2)/2}; |Y| > x]: complete the square, Y ~ N(x / (1 + s^2), s^2 / (1 + s^2)) up to a constant.
        v, centre = s**2 / (1 + s**2), x / (1 + s**2)
        factor = np.exp(x**2 / 2 - x**2 / (2 * s**2) + centre**2 / (2 * v)) * np.sqrt(v) / s
        outside = stats.norm.sf((x - centre) / np.sqrt(v)) + stats.norm.cdf((-x - centre) / np.sqrt(v))
        return inside + factor * outside

    weight = stats.norm.pdf(x) * acceptance(x)
    weight /= weight.sum()
    found = weight @ x**2, weight[np.abs(x) > 1.96].sum()
    rng = np.random.default_rng(94)
    state, kept = rng.standard_normal(2000), []
    for _ in range(600):
        new = state + s * rng.standard_normal(2000)
        moved = np.log(rng.random(2000)) < (state**2 - new**2) / 2
        state = np.where(moved, new, state)
        kept.append(state[moved])
    kept = np.concatenate(kept)
    assert abs(np.mean(kept**2) - found[0]) < 0.02 and abs(np.mean(np.abs(kept) > 1.96) - found[1]) < 0.004
    return found
