"""Solutions of the problems of chapter 8: two standard errors, five pupils a school, seven litters, averaged limits."""

from functools import cache

import numpy as np
from scipy import optimize, stats

import lmmlib
from lmmlib import dense
from lmmlib.equations.shrinkage import james_stein
from lmmlib.prediction import empirical_bayes as eb

DECIMALS = {
    "pr-08-1": 3,
    "pr-08-2a": 3,
    "pr-08-2b": 3,
    "pr-08-3a": 3,
    "pr-08-3b": 1,
    "pr-08-4": 2,
}


def pr_08_1():
    """The share of ten groups whose Kass-Steffey variance is larger than that of Prasad and Rao.

    (a) By kass-steffey the added variance of group i is d_i^2 Var(w_hat), by prasad-rao 2 Var(w_hat) gamma/m for all.
    They are equal where d_i^2 = 2 gamma/m, whatever Var(w_hat) is: at 1.41 standard deviations of a group's mean.

    (b) E(d_i^2) = (n - 1) gamma/(n m), as d_i is a mean less the mean of n of them. So the mean of the added term is
    (n - 1)/n Var(w_hat) gamma/m, which is half of Prasad and Rao's, times (n - 1)/n. The other half repairs the bias of
    C at the estimates, with which a statement given the data has nothing to do.

    (c) d_i is normal with mean zero and variance (n - 1) gamma/(n m), so P(d_i^2 > 2 gamma/m) = P(|z| > sqrt(2n/(n -
    1))), whatever the parameters. For n = 10 this is P(|z| > 1.491) = 0.136, about one group in seven; for n to
    infinity P(|z| > 1.414) = 0.157.

    (d) The group that is picked because it is far out has the larger Kass-Steffey error nearly always, though on
    average Prasad and Rao's is the larger one: exercise 8.7's two columns.
    """
    n = 10
    share = 2 * stats.norm.sf(np.sqrt(2 * n / (n - 1)))
    # The same from the covariance of the deviations of ten independent means, and the density of the normal.
    variance = (np.eye(n) - 1 / n)[0, 0]
    x = np.linspace(np.sqrt(2), 12, 200_001)
    density = np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    np.testing.assert_allclose(2 * np.trapezoid(density, x), share, rtol=1e-6)
    return share


@cache
def five_pupils():
    """For the 160 schools: mean of the first five pupils, of the others, sector; and the variance of one score."""
    schools = lmmlib.load("schools")
    by_school = schools.groupby("school", observed=True)
    place = by_school.cumcount()
    first, others = schools[place < 5], schools[place >= 5]
    means = first.groupby("school", observed=True)["math"].mean().to_numpy()
    within = first["math"] - first.groupby("school", observed=True)["math"].transform("mean")
    truth = others.groupby("school", observed=True)["math"].mean().to_numpy()
    return means, truth, by_school["sector"].first().to_numpy() == "catholic", np.sum(within**2) / (160 * 4)


def shrunken(y, variance):
    """James and Stein's estimate towards the mean, with its positive part."""
    k, away = len(y), y - y.mean()
    by_hand = y.mean() + max(0, 1 - (k - 3) * variance / (away @ away)) * away
    np.testing.assert_allclose(by_hand, james_stein(y, variance).positive)
    return by_hand


def pr_08_2a():
    """Sum of squared errors of James-Stein to the common mean, over that of the means of five.

    The pooled variance of a score within a school is 38.40, on 640 degrees of freedom, so a mean of five has the
    variance 7.68. James-Stein moves each mean 0.44 of the way to 12.6, and the sum of squared errors falls from 1624 to
    929, to 0.572 of it. (Part of these errors is that of the "truth", a mean of 9 to 62 other pupils; it is in all
    columns alike.)
    """
    means, truth, _, variance = five_pupils()
    return np.sum((shrunken(means, variance / 5) - truth) ** 2) / np.sum((means - truth) ** 2)


def pr_08_2b():
    """The same when each school is drawn to the mean of its own sector: 0.513.

    After the shrinkage to one mean the 90 public schools are on average put 0.49 points too high and the 70 catholic
    ones 0.91 too low: they are not exchangeable, a catholic school scores better by two or three points. Drawn to the
    means of their sectors both have the mean errors of the raw means back, -0.01 and -0.28, and the squared errors of
    both sectors fall further. Those who pay are the schools that differ from the schools of their *sector*: put what
    you know into the fixed effects (the mean ses of the school is the next candidate), and the payers become fewer.
    """
    means, truth, catholic, variance = five_pupils()
    one = shrunken(means, variance / 5)
    own = np.empty_like(means)
    for sector in (catholic, ~catholic):
        own[sector] = shrunken(means[sector], variance / 5)
        assert abs(np.mean((own - truth)[sector])) < abs(np.mean((one - truth)[sector]))
        assert np.sum((own - truth)[sector] ** 2) < np.sum((one - truth)[sector] ** 2)
    return np.sum((own - truth) ** 2) / np.sum((means - truth) ** 2)


@cache
def seven_litters():
    """REML fit of weight on the size of the litter in the litters of the high dose."""
    pups = lmmlib.load("ratpup")
    return lmmlib.fit("weight ~ size + (1 | litter)", pups[pups["treatment"] == "high"].copy())


def pr_08_3a():
    """Posterior standard deviation of the effect of litter 21, under flat priors.

    eb.quadrature gives 0.326; the plug-in has 0.092, with the error of beta 0.210, corrected 0.213. Litter 21
    has 14 pups, the most of all: their mean is known to a tenth of a gram, which is what the plug-in sees. But its
    effect is the difference from a line, and at the end of seven sizes nobody knows where the line is: the litter that
    has most of the pups has most of the leverage. By total variance, about 0.008 of the posterior variance of 0.106
    is left when all parameters are known, and most of the rest is beta's.
    """
    fit = seven_litters()
    groups = [str(name) for name in fit.blups().b.index]
    place = groups.index("21")
    # A second route: printed formulas with full matrices on a grid of (tau, log sigma2), priors flat in both.
    design, z = fit.design, dense.big_Z(fit.design)[:, place]
    y, X = design.y, design.X
    nodes, logs = [], []
    for u in np.linspace(0, 5, 51):
        for s in np.linspace(-3.2, -0.6, 19):
            tau2, s2 = (0.3 * np.sinh(u)) ** 2, np.exp(s)
            W = np.linalg.inv(dense.V(design, np.array([[tau2]]), s2))
            Phi = np.linalg.inv(X.T @ W @ X)
            r = y - X @ Phi @ (X.T @ (W @ y))
            c = tau2 * z @ W
            loglik = 0.5 * (np.linalg.slogdet(W)[1] + np.linalg.slogdet(Phi)[1] - r @ W @ r)
            nodes.append((c @ r, tau2 - c @ z * tau2 + c @ X @ Phi @ X.T @ c))
            logs.append(loglik + np.log(np.cosh(u)) + (np.log(0.5) if u == 0 else 0))
    weight = np.exp(np.array(logs) - max(logs))
    weight /= weight.sum()
    mean, variance = np.array(nodes).T
    by_grid = np.sqrt(weight @ (variance + mean**2) - (weight @ mean) ** 2)
    sd = eb.quadrature(fit).se().iloc[place, 0]
    assert abs(by_grid / sd - 1) < 0.001
    return sd


def pr_08_3b():
    """Length of the full Bayesian interval of litter 21 over that of the plug-in.

    1.282 over 0.360. For litter 23, with three pups, the smallest, it is only 2.4, though its interval is longer: there
    the plug-in already knows that three pups say little.
    """
    fit = seven_litters()
    place = [str(name) for name in fit.blups().b.index].index("21")
    length = [a.frame().eval("upper - lower").iloc[place] for a in (eb.quadrature(fit), eb.plug_in(fit))]
    reach = 2 * stats.norm.ppf(0.975)
    np.testing.assert_allclose(length[1], reach * fit.blups().se("known").iloc[place, 0])
    return length[0] / length[1]


def pr_08_4():
    """The upper limit of the mixture: the 97.5 % quantile of the average of the three distributions.

    The average of three upper limits is m_bar + 1.96 s_bar with s_bar the mean of the standard deviations: as if every
    distribution had the same centre. The spread of the centres, the second term of total-variance, has cancelled: a
    centre that is low makes both limits low, and averaging takes that out again. (So it is the mistake of the plug-in
    once more, with E(sd) for the plug-in's one.) What must be averaged is not limits but probabilities: the limit x
    solves 0.2 F1(x) + 0.6 F2(x) + 0.2 F3(x) = 0.975.

    The root is 98.13; the averaged limit, 89.46, is exceeded with probability 0.056 and not 0.025. Plus and minus 1.96
    standard deviations of the mixture would give 97.5: the right variance, and not quite the right quantile, as the
    mixture is skewed.
    """
    weight, centre, spread = np.array([0.2, 0.6, 0.2]), np.array([30.0, 55.0, 70.0]), np.array([15.0, 19.0, 21.0])
    limit = optimize.brentq(lambda x: weight @ stats.norm.cdf(x, centre, spread) - 0.975, 0, 200, xtol=1e-10)
    x = np.linspace(-150, limit, 400_001)
    density = weight @ stats.norm.pdf(x[None], centre[:, None], spread[:, None])
    np.testing.assert_allclose(np.trapezoid(density, x), 0.975, rtol=1e-6)
    return limit
