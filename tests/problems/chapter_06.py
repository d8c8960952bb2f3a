"""Solutions of the problems of chapter 6: a squared correlation, six litters, litters to plan, a level forgotten."""

from functools import cache

import numpy as np
from scipy import integrate, optimize, stats

import lmmlib
from lmmlib import dense, equations

DECIMALS = {
    "pr-06-1a": 1,
    "pr-06-1b": 3,
    "pr-06-2a": 1,
    "pr-06-2b": 2,
    "pr-06-3a": 0,
    "pr-06-3b": 3,
    "pr-06-4a": 3,
    "pr-06-4b": 3,
}


def pr_06_1a():
    """Degrees of freedom of the difference of the arms at one visit: 12 children, 5 visits, correlation 0.4.

    (a) Two means of n/2 children at one visit: the variance is 4/n (tau^2 + sigma^2), and tau^2 + sigma^2 = {gamma +
    (m - 1) sigma^2}/m with gamma = sigma^2 + m tau^2: a combination with c_B : c_W = 1 : (m - 1). gamma is estimated
    on nu_B = n - 2 degrees of freedom and sigma^2 on nu_W = (n - 2)(m - 1), as each arm has a mean for each visit. So
    nu = (n - 2) {gamma + (m - 1) sigma^2}^2 / {gamma^2 + (m - 1) sigma^4}. Divide by (tau^2 + sigma^2)^2: sigma^2
    becomes 1 - rho, gamma becomes 1 + (m - 1) rho, the numerator m^2 and the denominator {1 + (m - 1) rho}^2 + (m -
    1)(1 - rho)^2 = m + m (m - 1) rho^2. Hence nu = (n - 2) m / {1 + (m - 1) rho^2}.

    (b) rho = 0: m (n - 2), every visit is an observation of its own; rho = 1: n - 2, all visits of a child are one.
    It is the formula of the effective sample size, nm/{1 + (m - 1) rho}, with rho^2 for rho: means are averaged, but
    variances are averages of squares, and the squares of two normal variables have the correlation rho^2.

    (c) n = 100, m = 4 and rho = 0.595: 98 * 4/(1 + 3 * 0.354) = 190.

    (d) 10 * 5/(1 + 4 * 0.16) = 30.5.
    """
    n, m, rho = 12, 5, 0.4
    nu = (n - 2) * m / (1 + (m - 1) * rho**2)
    # The other route: Satterthwaite's formula with the expected information, in a design with a mean for each cell.
    group, visit = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    X = np.column_stack([(visit == j) & (group % 2 == a) for a in (0, 1) for j in range(m)]).astype(float)
    design = lmmlib.Design.from_arrays(np.zeros(n * m), X, np.ones((n * m, 1)), group)
    L = np.zeros(2 * m)
    L[[0, m]] = -1, 1
    np.testing.assert_allclose(dense.satterthwaite(design, L, rho, 1 - rho, kind="expected"), nu)
    return nu


def pr_06_1b():
    """The correlation at which five visits make the degrees of freedom twice the n - 2 of one visit.

    m/{1 + (m - 1) rho^2} = 2 gives rho^2 = (m/2 - 1)/(m - 1) = 1.5/4 and rho = 0.612. The gain is bought with the
    assumption that the variance is the same at all visits; if it is not, n - 2 is what the visit itself has.
    """
    rho = optimize.brentq(lambda r: 5 / (1 + 4 * r**2) - 2, 0, 1)
    np.testing.assert_allclose(rho, np.sqrt(1.5 / 4))
    return np.sqrt(1.5 / 4)


@cache
def six_litters():
    """Kenward and Roger's interval for high less control in the first three litters of each, by two routes."""
    pups = lmmlib.load("ratpup")
    litters = pups.drop_duplicates("litter")
    first = [litters.loc[litters["treatment"] == t, "litter"].iloc[:3] for t in ("control", "high")]
    some = pups[pups["litter"].isin(np.concatenate(first))].copy()
    some["high"] = (some["treatment"] == "high") * 1.0
    fit = lmmlib.fit("weight ~ high + sex + size + (1 | litter)", some)
    assert (fit.n_obs, fit.n_groups) == (57, 6)
    w = fit.contrast({"high": 1}, df="kenward-roger")
    cov = dense.kenward_roger_covariance(fit.design, fit.D, fit.sigma2)[1, 1]
    df = dense.satterthwaite(fit.design, np.eye(4)[1], fit.D, fit.sigma2, kind="expected")
    np.testing.assert_allclose([w.se[0], w.df[-1]], [np.sqrt(cov), df], rtol=1e-6)
    np.testing.assert_allclose(w.upper[0], fit.beta["high"] + stats.t.ppf(0.975, df) * np.sqrt(cov), rtol=1e-6)
    return w.df[-1], w.upper[0]


def pr_06_2a():
    """Kenward and Roger's degrees of freedom of high less control in six litters.

    (a) z: p = 0.003. Satterthwaite: 0.062 with 2.8 degrees of freedom. Kenward and Roger: 0.056 with 3.0. The
    standard error is 0.340, and 0.341 with the adjustment: not the standard error was wrong, but the quantile.

    (b) Six litters, and three columns that are (nearly) constant within litters: intercept, dose, size; 6 - 3 = 3.
    Sex is compared within litters. It takes its degrees of freedom from the 57 pups: some fifty. The dose is not
    exactly at three, as litters have different sizes.
    """
    return six_litters()[0]


def pr_06_2b():
    """The upper limit of Kenward and Roger's 95% interval, in grams.

    -1.031 + 3.17 * 0.341 = 0.05: the interval reaches from -2.11 to 0.05. The z interval ends at -0.36. (c) A dose
    that takes away a gram of six would be large, and the six litters do not exclude that it does nothing: not "no
    effect", and not "p = 0.003". With all 27 litters the estimate is -0.86 with 24 degrees of freedom and no doubt is
    left. (d) The size was chosen into the mean by someone who had seen all the data; with six litters every covariate
    between litters costs one of very few degrees of freedom. Without it four are left, and the standard error is more
    than twice as large.
    """
    return six_litters()[1]


def power(delta, f, nu, reach=None):
    """Probability that a normal with mean delta and variance f, over its estimated error, lies beyond the quantile."""
    reach = stats.t.ppf(0.975, nu) if reach is None else reach
    law = stats.nct(nu, delta / np.sqrt(f))
    return law.sf(reach) + law.cdf(-reach)


def by_integral(delta, f, nu, reach):
    """The same as an integral over the chi-square in the denominator."""

    def given(c):
        half = reach * np.sqrt(c / nu)
        return stats.norm.sf(half - delta / np.sqrt(f)) + stats.norm.cdf(-half - delta / np.sqrt(f))

    return integrate.quad(lambda c: given(c) * stats.chi2.pdf(c, nu), 0, stats.chi2.isf(1e-12, nu), limit=200)[0]


def litters_variance(k):
    return 2 / k * (0.3 + 0.2 / 12)


def pr_06_3a():
    """The smallest number of litters in each arm for a power of 80 per cent.

    (a) A litter's mean has the variance tau^2 + sigma^2/m, so f = 2/k (tau^2 + sigma^2/m); MSB has 2k - 2 degrees of
    freedom, and f_hat = 2 MSB/(km).

    (b) The normal formula, k = 2 (tau^2 + sigma^2/m)(1.960 + 0.842)^2/delta^2, gives 19.9. The quantile of t asks for
    more: k = 20 has the power 0.782 and k = 21 has 0.802.
    """
    k = next(k for k in range(2, 100) if power(0.5, litters_variance(k), 2 * k - 2) >= 0.8)
    before, at = (by_integral(0.5, litters_variance(j), 2 * j - 2, stats.t.ppf(0.975, 2 * j - 2)) for j in (k - 1, k))
    assert before < 0.79 < 0.8 < at
    return k


def pr_06_3b():
    """The power of ten litters in each arm.

    (c) 0.468: such an experiment finds the half gram less often than it misses it. Who takes the 240 pups for
    independent computes f = 2 * 0.5/120, a noncentrality of 5.5, and a power of more than 0.999.

    (d) More pups of a litter, weighed or not, leave 0.3 of 0.317. What helps: more litters, or a covariate between
    litters that takes a part of tau^2, as the size does (problem 5.2): with 0.1 for 0.3 ten litters would have a
    power of 0.87 (17 degrees of freedom, if the covariate is balanced over the arms).
    """
    value = power(0.5, litters_variance(10), 18)
    np.testing.assert_allclose(value, by_integral(0.5, litters_variance(10), 18, stats.t.ppf(0.975, 18)), rtol=1e-6)
    assert power(0.5, 2 * 0.5 / 120, 238) > 0.999
    return value


def pr_06_4a():
    """The level of the test with 1.96 in a trial of eight children.

    (a) The simulation counts |t| > 1.96. With eight children t has six degrees of freedom, and P(|t_6| > 1.96) =
    0.098: twice the promised level. A test that rejects too often when there is nothing also rejects more often when
    there is something: what looks like power is level. (Run the simulation with delta = 0 beside it.)
    """
    level = 2 * stats.t.sf(1.96, 6)
    np.testing.assert_allclose(level, by_integral(0, 1, 6, 1.96), rtol=1e-6)
    return level


def pr_06_4b():
    """The power of the test that keeps its level.

    f = 4/8 (22 + 34/4) = 15.25, the noncentrality is 8/3.905 = 2.049 and the quantile t_6 = 2.447: 0.407, where the
    colleague's simulation has 0.57. (c) No: both change by n - 2 alone, and the level is wrong for every
    effect.
    """
    f = 4 / 8 * (22 + 34 / 4)
    value = power(8, f, 6)
    np.testing.assert_allclose(value, by_integral(8, f, 6, stats.t.ppf(0.975, 6)), rtol=1e-6)
    design = lmmlib.Design.from_arrays(
        np.zeros(32),
        np.column_stack([np.ones(32), np.repeat(np.arange(8) % 2, 4)]),
        np.ones((32, 1)),
        np.repeat(np.arange(8), 4),
    )
    np.testing.assert_allclose(equations.gls(lmmlib.cross_products(design), 22.0, 34.0).se[1] ** 2, f)
    return value
