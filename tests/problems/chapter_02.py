"""Solutions of the problems of chapter 2: away from the mean, effects that vary, chicks that are gone, a product."""

import numpy as np
from scipy import optimize, stats

import lmmlib
from lmmlib import equations
from lmmlib.equations import moments

DECIMALS = {
    "pr-02-1": 2,
    "pr-02-2a": 2,
    "pr-02-2b": 2,
    "pr-02-3a": 0,
    "pr-02-3b": 0,
    "pr-02-4": 2,
    "pr-02-5a": 3,
    "pr-02-5b": 3,
}


def pr_02_1():
    """The week from which on a child is expected to be farther from the mean than she was at week 2.

    (a) (y(s), y(t)) is a linear function of (b_i, eps_i) plus constants, so the two are jointly normal, and the
    conditional mean of a normal pair is E{y(t) - mu(t) | y(s) - mu(s) = d} = d k with k = Cov{y(s), y(t)}/Var{y(s)}. By
    variance-function and covariance-function, k = {D11 + D12 (s + t) + D22 s t} / {D11 + 2 D12 s + D22 s^2 + sigma^2}.

    (b) With a random intercept D12 = D22 = 0 and k = tau^2/(tau^2 + sigma^2) = rho < 1, at every t: towards the mean,
    at once, and then no further.

    (c) The denominator is positive, so k > 1 if and only if numerator less denominator is positive: D12 (t - s) + D22 s
    (t - s) - sigma^2 = (t - s)(D12 + D22 s) - sigma^2 > 0. (t - s)(D12 + D22 s) is what the fanning out of the lines
    adds, sigma^2 what was luck in the first measurement. If s <= t* = -D12/D22, then D12 + D22 s <= 0, and with t > s
    the left side is at most -sigma^2 < 0: before t* the lines still come together, and no later time will do. For s >
    t* the condition is t > s + sigma^2/(D12 + D22 s).

    (d) t* = -0.8/0.5 = -1.6 < 2, and t = 2 + 6/(0.8 + 0.5 * 2) = 2 + 6/1.8 = 5.33 weeks.
    """
    D, sigma2, s = np.array([[20, 0.8], [0.8, 0.5]]), 6.0, 2.0
    week = s + sigma2 / (D[0, 1] + D[1, 1] * s)

    def regression(t):
        Z = np.array([[1, s], [1, t]])
        V = moments.marginal_covariance(Z, D, sigma2)
        return V[0, 1] / V[0, 0]

    np.testing.assert_allclose(optimize.brentq(lambda t: regression(t) - 1, 2.1, 50), week)
    return week


def standard_deviations_of_levels():
    """Of the placebo children's and of the treated children's levels, weeks 1, 4 and 6, by method 3 in each arm."""
    tlc = lmmlib.load("tlc")
    later = tlc[tlc["week"] > 0]
    result = []
    for arm in ("placebo", "succimer"):
        part = later[later["treatment"] == arm]
        tau2 = equations.anova_estimates(lmmlib.build_design("lead ~ C(week) + (1 | id)", part)).D.item()
        # By hand: children less weeks, the classical two-way table; mean squares of children and of the rest.
        Y = part.pivot(index="id", columns="week", values="lead").to_numpy()
        child, week = Y.mean(axis=1, keepdims=True), Y.mean(axis=0)
        rest = np.sum((Y - child - week + Y.mean()) ** 2) / (49 * 2)
        np.testing.assert_allclose(tau2, (3 * np.sum((child - Y.mean()) ** 2) / 49 - rest) / 3)
        result.append(np.sqrt(tau2))
    return result


def pr_02_2a():
    """The least standard deviation of the children's own effects of succimer that the two variances allow.

    (a) A placebo child has z = (1, 0) in all her rows, so her V_i contains D only as D11; a treated child has z = (1,
    1) in all rows, so hers contains it only as D11 + 2 D12 + D22. No row has another z. So D12 and D22 enter the
    covariance of the data only through D11 and that sum: D12 + delta, D22 - 2 delta is the same model for every delta
    for which it is admissible, in the sense of lem-not-identified. No number of children can help, because no child is
    in both arms.

    (b) Let a = D11, b = D11 + 2 D12 + D22, u = sqrt(D22). D is positive semidefinite if and only if D12 = r sqrt(a) u
    with -1 <= r <= 1. Then b = a + 2 r sqrt(a) u + u^2 lies between (u - sqrt a)^2 and (u + sqrt a)^2. Solved for u:
    |sqrt b - sqrt a| <= u <= sqrt a + sqrt b, and every u in between has its r. The ends are r = 1 (the child who is
    high loses least; the ranks are kept) and r = -1.

    (c) Method 3 gives a = 26.21 and b = 37.67 in the two arms (residual variances 5.4 and 31.0: they differ, which is
    why the arms are taken apart). So the standard deviation of the effect is at least 6.14 - 5.12 = 1.02.

    (d) At week 0 every child was untreated. It tells something of the level that a treated child would have had, so the
    joint distribution of the two levels is no longer free: given week 0 the bounds hold with the smaller, conditional
    variances. It takes an assumption on what week 0 tells about untreated later weeks, which the placebo arm can check.
    """
    placebo, succimer = standard_deviations_of_levels()
    free = np.linspace(-1, 1, 20_001)  # r: u from the quadratic u^2 + 2 r sqrt(a) u + a - b = 0, whose root is positive
    u = -free * placebo + np.sqrt(free**2 * placebo**2 + succimer**2 - placebo**2)
    np.testing.assert_allclose([u.min(), u.max()], [succimer - placebo, succimer + placebo])
    return succimer - placebo


def pr_02_2b():
    """The largest standard deviation that they allow: 5.12 + 6.14 = 11.26.

    The mean effect at these weeks is some -7.5. So the same data are compatible with a drug that does nearly the same
    to every child (-7.5, give or take 1) and with one that harms one child in four: with standard deviation 11.26, a
    normal effect is positive with probability 0.25. A parallel trial measures the mean of the effects, and hardly
    anything else of them; a small difference of the variances between the arms does not show that the effect is the
    same for all.
    """
    return sum(standard_deviations_of_levels())


def chicks_under(random):
    """Day 0 and day 21 of diet 1 with one mean for each day: SD at day 0, mean at day 21, restricted log-likelihood."""
    chicks = lmmlib.load("chicks")
    diet = chicks[chicks["diet"].astype(str) == "1"]
    fit = lmmlib.fit(f"weight ~ C(day) + ({random} | chick)", diet)
    beta = fit.beta.to_numpy()
    at_hatching = np.sqrt(np.atleast_2d(fit.D)[0, 0] + fit.sigma2)  # z = (1, 0, ...) at day 0
    return at_hatching, beta[0] + beta[-1], fit.loglik


def pr_02_3a():
    """The standard deviation at day 0 in the model that is chosen, a parabola for each chick.

    The 20 chicks of diet 1 differ by 1 g (SD) at day 0, by 22.5 g at day 10 and by 59 g among the 16 that are left at
    day 21. A random intercept has one variance for all days: 33 g everywhere. Random lines have 15, 25 and 59 g, random
    parabolas 8, 23 and 75 g. All three have the same fixed effects, so their restricted likelihoods can be compared: -2
    l_R is 1993.0, 1697.4 and 1528.5, with 1, 3 and 6 parameters in D. The intercept is out of the question, and the
    parabola far better than the line. It is not right either: the variance at day 0 is D11 + sigma^2 and so at least
    sigma^2 = 36, the size of what a parabola leaves of later days. Noise of one size is what these chicks have not.
    """
    candidates = [chicks_under(random) for random in ("1", "day", "day + I(day**2)")]
    best = max(candidates, key=lambda candidate: candidate[2])
    assert best is candidates[-1]
    return best[0]


def pr_02_3b():
    """The mean at day 21 of all 20 chicks, in the model that is chosen.

    Four of the 20 have no weight at day 21, and before they went they were far below the others: 125 g at day 20, 68 g
    at day 14, 54 g at day 12, 35 g at day 2, where the means of the chicks that were there are 170, 123, 109 and 47.
    Going seems to depend on what had been seen, that is, missing at random, and so the likelihood of the weights that
    are there may be used. The average of the 16, 177.75, is the mean of chicks that stay, and a mixture of growth and
    selection: part of the rise from day 14 to 21 comes from the light ones leaving. The model's mean, 161 g, is what
    the 20 would have weighed. It depends on V, which says how much a low day 14 means for day 21: a random intercept
    says little (175), lines more (167), parabolas most (161).

    What to report: if the chicks died, then there is no weight at day 21 of a dead chick. "What will a chick on diet 1
    weigh, if it lives?" is answered by 177.75 together with the share that lives, 16 of 20. "How does diet 1 make
    chicks grow, compared with other diets?" must not reward a diet for losing its light chicks: 161.
    """
    fits = {random: chicks_under(random) for random in ("1", "day", "day + I(day**2)")}
    means = [mean for _, mean, _ in fits.values()]
    assert 177.75 > means[0] > means[1] > means[2]
    return max(fits.values(), key=lambda fit: fit[2])[1]


def pr_02_4():
    """The log-likelihood of the 44 distances.

    The first sentence is right: *given b_i* the density of y_i is a product. The mistake is the second. What is needed
    is the integral of the product over one b_i that the four distances share; what was computed is the product of four
    integrals, each over a b_i of its own, as if the girl were drawn anew at each visit. Conditional independence does
    not make the distances independent; it is because b_i is not known that they are correlated. (The marginal
    distribution of each distance, N(mu_j, tau^2 + sigma^2), is right.)

    (b) The wrong function has V_i = (tau^2 + sigma^2) I, so it depends on the two variances through their sum alone. It
    is exactly constant along each line tau^2 + sigma^2 = const: its maximum is a ridge, and whoever maximises it can
    report any intraclass correlation between 0 and 1.

    (c) By thm-convolution, y_i ~ N(mu, 4 J + 0.6 I). With e_ij the deviations from mu and cs-inverse, |V_i| = 0.6^3 *
    16.6 and e_i'V_i^{-1}e_i = sum_j (e_ij - mean_i)^2 / 0.6 + 4 mean_i^2 / 16.6. The sum over the eleven girls of -(4
    log 2 pi + log|V_i| + e_i'V_i^{-1}e_i)/2 is -69.02, where the colleague has -95.39.
    """
    dental = lmmlib.load("dental")
    wide = dental[dental["Sex"] == "Female"].pivot(index="Subject", columns="age", values="distance").dropna()
    e = wide.to_numpy() - (17.4 + 0.48 * wide.columns.to_numpy())
    centre = e.mean(axis=1)
    quadratic = np.sum((e - centre[:, None]) ** 2) / 0.6 + 4 * np.sum(centre**2) / 16.6
    value = -0.5 * (44 * np.log(2 * np.pi) + 11 * (3 * np.log(0.6) + np.log(16.6)) + quadratic)
    V = 4 * np.ones((4, 4)) + 0.6 * np.eye(4)
    np.testing.assert_allclose(value, stats.multivariate_normal(np.zeros(4), V).logpdf(e).sum())
    return value


def level_and_memory(v, c1, c2):
    """tau2, sigma2, rho of a level and autoregressive residuals at three visits."""
    rho = (c1 - c2) / (v - c1)
    sigma2 = (v - c1) / (1 - rho)
    tau2 = v - sigma2
    lag = abs(np.subtract.outer(np.arange(3), np.arange(3)))
    np.testing.assert_allclose((tau2 + sigma2 * rho**lag)[0], [v, c1, c2])
    return tau2, sigma2, rho


def pr_02_5a():
    """The variance of the level.

    (a) v - c1 = sigma^2 (1 - rho) and c1 - c2 = sigma^2 rho (1 - rho). So rho = (c1 - c2)/(v - c1), sigma^2 = (v -
    c1)/(1 - rho) = (v - c1)^2/(v - 2 c1 + c2), and tau^2 = v - sigma^2 = (v c2 - c1^2)/(v - 2 c1 + c2). At 12, 8.5 and
    7: rho = 1.5/3.5 = 0.43, sigma^2 = 6.125, tau^2 = 5.875.

    (b) rho < 1 if and only if c1 - c2 < v - c1, so that v - 2 c1 + c2 > 0: a covariance that is convex in the lag. Then
    tau^2 >= 0 if and only if v c2 >= c1^2: the correlation at two steps is at least the square of that at one step. If
    it is the square, there is no level, and if it is below, no model of this kind.
    """
    tau2, sigma2, rho = level_and_memory(12, 8.5, 7)
    np.testing.assert_allclose([tau2, sigma2, rho], [5.875, 6.125, 3 / 7])
    return tau2


def pr_02_5b():
    """The same with 7.7 for 7.

    (c) rho = 0.8/3.5 = 0.23, sigma^2 = 4.54, tau^2 = 7.46: the level has a quarter more. The standard error of c2 from
    50 children is sqrt((v^2 + c2^2)/49), about 2.0: 0.7 is a third of one (the three are correlated; what matters is
    how well v - 2 c1 + c2 is known, and it is a difference of nearly equal numbers). Three visits hardly tell a level
    from a memory.

    (d) The autoregression says tau^2 + sigma^2 rho^3 = 5.875 + 6.125 * 0.079 = 6.36 at three steps. A line for each
    child with the three visits at -1, 0, 1 has the variances D11 + 2 D12 t + D22 t^2 + sigma^2, which are equal at -1,
    0 and 1 only if D12 = D22 = 0, and then c1 = c2: it does not fit the three numbers, if c1 > c2. The free covariance
    fits them, and says nothing of a visit that was never seen.
    """
    return level_and_memory(12, 8.5, 7.7)[0]
