"""Solutions of the problems of chapter 7: the right spread, a litter left out, the next chick, waves of noise."""

from functools import cache

import numpy as np
from scipy import integrate, stats

import lmmlib
from lmmlib import dense

DECIMALS = {
    "pr-07-1a": 3,
    "pr-07-1b": 3,
    "pr-07-2a": 3,
    "pr-07-2b": 3,
    "pr-07-2c": 1,
    "pr-07-3a": 3,
    "pr-07-3b": 2,
    "pr-07-4": 3,
    "pr-07-5a": 3,
    "pr-07-5b": 3,
}


def pr_07_1a():
    """The mean squared error of predictions with the right spread, over that of the BLUP, at w = 0.72.

    (a) Var(e_bar) = tau^2 + sigma^2/n = tau^2/w, so k e_bar has the variance k^2 tau^2/w, which is tau^2 for k =
    sqrt(w). The BLUP has k = w and the variance w tau^2 (blup-spread).

    (b) By shrink-mse with sigma^2/n = tau^2 (1 - w)/w the error is tau^2 {(1 - k)^2 + k^2 (1 - w)/w}. At k = sqrt(w) it
    is tau^2 {1 - 2 sqrt(w) + w + 1 - w} = 2 tau^2 (1 - sqrt(w)); at k = w it is tau^2 (1 - w) = tau^2 (1 - sqrt(w))(1 +
    sqrt(w)). The ratio is 2/(1 + sqrt(w)), between 1 (w = 1) and 2 (w = 0). The own mean has tau^2 (1 - w)/w = tau^2 (1
    - sqrt(w))(1 + sqrt(w))/w, which is larger than 2 tau^2 (1 - sqrt(w)) as 1 + sqrt(w) > 2 w for all w < 1.

    (c) w = 6 * 0.3/(1 + 5 * 0.3) = 1.8/2.5 = 0.72 and 2/(1 + sqrt(0.72)) = 1.082: 8 % more error buys the right spread.
    """
    n, rho = 6, 0.3
    w = n * rho / (1 + (n - 1) * rho)
    factor = np.sqrt(w)

    def error(k):  # tau^2 = rho, sigma^2 = 1 - rho
        return (1 - k) ** 2 * rho + k**2 * (1 - rho) / n

    np.testing.assert_allclose(error(factor) / error(w), 2 / (1 + factor))
    return 2 / (1 + factor)


def pr_07_1b():
    """The share of groups whose BLUP lies more than tau above the mean: Phi(-1/sqrt(w)).

    (d) b itself is above tau with probability Phi(-1) = 0.159, and so is sqrt(w) e_bar, which has the same normal
    distribution. The BLUP has the standard deviation sqrt(w) tau, so that it is above tau with probability
    Phi(-1/sqrt(w)) = 0.119: a quarter of the groups that are so far out would be missing from a list that is made by
    cutting the BLUPs at tau. For the *share* of such groups take the right spread (or better: the mean of P(b > tau |
    y), which is exact); for the effect of *one* group take the BLUP, whose error is the least. No set of point
    predictions is best for both.
    """
    w = 0.72
    share = stats.norm.sf(1 / np.sqrt(w))
    above = integrate.quad(lambda b: stats.norm.pdf(b, 0, np.sqrt(w)), 1, np.inf)[0]
    np.testing.assert_allclose(share, above, rtol=1e-8)
    # The mean of P(b > tau | y) over the distribution of y is the true share.
    mean = integrate.quad(
        lambda m: stats.norm.sf((1 - m) / np.sqrt(1 - w)) * stats.norm.pdf(m, 0, np.sqrt(w)), -np.inf, np.inf
    )[0]
    np.testing.assert_allclose(mean, stats.norm.sf(1), rtol=1e-6)
    return share


@cache
def pups():
    return lmmlib.fit("weight ~ treatment + sex + size + (1 | litter)", lmmlib.load("ratpup"))


def without(litter):
    """The GLS estimate without a litter at the variances of the fit of all, from N by N matrices."""
    fit, design = pups(), pups().design
    rest = design.take(design.group != design.group_names.index(litter))
    return dense.gls(rest, fit.D.to_numpy(), fit.sigma2)[0] - fit.beta.to_numpy()


def pr_07_2a():
    """The largest of Cook's distances of the 27 litters.

    (a) Litter 9: seventeen pups with the mean weight 5.36 g, where a control litter of this size has 6.0 g in the
    model. The next are litters 6 and 22 (0.13 and 0.12).
    """
    found = pups().influence()["cook"]
    move = without(9)
    by_hand = move @ np.linalg.solve(pups().cov_beta, move) / len(move)
    assert found.idxmax() == 9
    np.testing.assert_allclose(found.max(), by_hand, rtol=1e-7)
    return by_hand


def pr_07_2b():
    """The largest change of the high dose's effect by leaving out one litter.

    (b) Litter 22 of the high dose, ten pups of 5.4 g: without it the effect is -0.755 instead of -0.859, a change of
    0.10 or 0.57 of its standard error. Litter 9, first by Cook's distance, hardly moves it: it is a control litter
    among ten, and what it changes is the effect of the size. One number for five coefficients is not the question.
    """
    changes = [without(litter)[2] for litter in pups().design.group_names]
    assert np.argmax(np.abs(changes)) == pups().design.group_names.index(22)
    np.testing.assert_allclose(changes, pups().influence()["treatmenthigh"], atol=1e-9)
    return max(changes, key=abs)


def pr_07_2c():
    """The standardised conditional residual of the pup that is farthest from its fitted value.

    (c) The pup of 3.68 g in litter 6, whose eight siblings weigh 6.1 to 8.3 g: -8.0. The second is in litter 5, -4.1.
    Litter 6 is not first by Cook's distance, as one pup in nine moves the mean of its litter by a ninth; but sigma
    falls from 0.40 to 0.34 without it. (d) The residuals spread more in the control litters (standard deviation 1.29)
    than under the doses (0.73 and 0.83): with one sigma the pups of the doses are given too large an error, and those
    of the controls too small a one. Part of this is the wild pup, but without it the controls still have 1.08.
    """
    fit = pups()
    P = dense.projection(fit.design, fit.D.to_numpy(), fit.sigma2)
    e = P @ fit.design.y / np.sqrt(np.diag(P))  # e = sigma^2 P y, its variance sigma^4 P_jj
    np.testing.assert_allclose(e, fit.residuals(kind="standardised"), rtol=1e-6, atol=1e-8)
    worst = np.argmax(np.abs(e))
    assert fit.design.y[worst] == 3.68 and fit.design.group_names[fit.design.group[worst]] == 6
    return e[worst]


@cache
def grouse():
    """The chicks that are not hidden, the hidden ones, and the fit of the former."""
    frame = lmmlib.load("ticks")
    frame["log"], frame["up"] = np.log(frame["ticks"] + 1), (frame["height"] - 460) / 100
    many = frame.groupby("brood", observed=True)["log"].transform("size") > 1
    hidden = many & ~frame.duplicated("brood", keep="last")
    seen = frame[~hidden]
    return seen, frame[hidden], lmmlib.fit("log ~ year + up + (1 | brood)", seen)


def pr_07_3a():
    """The weight of the own deviation of a brood of which one chick has been caught.

    (a) tau^2/(tau^2 + sigma^2) = 0.392/(0.392 + 0.314) = 0.555, the intraclass correlation; with nine chicks it is
    0.92. Broods differ more than the chicks of one brood do.
    """
    _, _, fit = grouse()
    weights, n_i = fit.blups().shrinkage[:, 0, 0], fit.design.n_i
    tau2, sigma2 = fit.D.iloc[0, 0], fit.sigma2
    np.testing.assert_allclose(weights[n_i == 1], tau2 / (tau2 + sigma2))
    return tau2 / (tau2 + sigma2)


def pr_07_3b():
    """The root mean squared error of the predictions for 100 hidden chicks.

    (b) 0.85 for the mean of the year and height, 0.68 for the mean of the siblings, 0.65 for x'beta + b. (c) With one
    sibling caught: 0.78, 0.75 and 0.67: one chick alone says about as much as year and height do, and the two together
    more. With five siblings or more, 18 chicks, it is 0.79, 0.62 and 0.60: the last two come together, as w tends to 1.
    (d) 95 of the 100 intervals hold. They are on
    the scale of log(ticks + 1), where zeros pile up: for a brood that is expected to have few ticks the interval
    reaches below 0, where no count is. Chapter 11 has the model for counts.
    """
    seen, hidden, fit = grouse()
    tau2, sigma2, beta = fit.D.iloc[0, 0], fit.sigma2, fit.beta.to_numpy()

    def mean(rows):
        years = [(rows["year"] == year).to_numpy(float) for year in (1996, 1997)]
        return np.column_stack([np.ones(len(rows)), *years, rows["up"]]) @ beta

    left = (seen["log"] - mean(seen)).groupby(seen["brood"], observed=True).agg(["mean", "size"]).loc[hidden["brood"]]
    guess = mean(hidden) + tau2 / (tau2 + sigma2 / left["size"]).to_numpy() * left["mean"].to_numpy()
    np.testing.assert_allclose(guess, fit.predict(hidden)["estimate"], rtol=1e-7)
    return np.sqrt(np.mean((hidden["log"] - guess) ** 2))


def pr_07_4():
    """The correlation of neighbouring conditional residuals when the errors are independent.

    (a) The residuals are not the errors. They are what is left of them after a line has been fitted, more or less, to
    each child's own five values; a line that lies between the points has its neighbours on alternate sides more often
    than by chance. By residual-covariances, beta known, Cov(e_i) = sigma^4 V_i^{-1}, whose entries beside the diagonal
    are not zero.

    (b) The program averages products over squares: sum of the four entries beside the diagonal of V^{-1} over four,
    divided by the trace over five. At D = diag(4, 1), sigma^2 = 1 and times 0 to 4 this is -3/7 = -0.429. It is not
    exactly the number that it prints, which has estimates, and chance, in it.

    (c) Compare with what the model itself gives: with this number, or with the residuals of data simulated from the
    fit. An autocorrelation of the errors would show as a difference from that, not from zero.
    """
    Z = np.column_stack([np.ones(5), np.arange(5.0)])
    W = np.linalg.inv(Z @ np.diag([4.0, 1.0]) @ Z.T + np.eye(5))
    value = np.diag(W, 1).mean() / np.diag(W).mean()
    # By the shrunken line: e = y - Z (Z'Z + D^{-1})^{-1} Z'y is (I - H) y, of variance (I - H) V (I - H)'.
    H = Z @ np.linalg.solve(Z.T @ Z + np.diag([0.25, 1.0]), Z.T)
    C = (np.eye(5) - H) @ np.linalg.inv(W) @ (np.eye(5) - H).T
    np.testing.assert_allclose(np.diag(C, 1).mean() / np.diag(C).mean(), value)
    np.testing.assert_allclose(value, -3 / 7)
    return value


INSTRUMENTS, SHOWN = np.array([[1, 0, 0], [0, 9, 4.5], [0, 4.5, 9]]), np.array([1.0, 4.0, 3.0])


def pr_07_5a():
    """The level, from a good measurement and two poor ones that are correlated.

    (a) 1'E^-1 is 1 for the good one, and for each of the poor ones 1/{9 (1 + 0.5)} = 0.074: the eigenvalue of their
    block for (1, 1) is 13.5. The sum is 1.148; with 1/tau^2 = 0.25 the weights are 1/1.398 = 0.715 and 0.053, and the
    prediction is 0.715 + 0.053 * 7 = 1.086. The variance of the error is 1/1.398 = 0.715.

    (b) With independent errors each poor one counts 1/9: (1 + 7/9)/(0.25 + 1 + 2/9) = 1.208, with the stated variance
    1/1.472 = 0.679: too small. The pair says less than two, and more than one.
    """
    V = 4 + INSTRUMENTS
    told = np.linalg.solve(INSTRUMENTS, np.ones(3))
    level = told @ SHOWN / (1 / 4 + told.sum())
    np.testing.assert_allclose(level, 4 * np.ones(3) @ np.linalg.solve(V, SHOWN))
    np.testing.assert_allclose(1 / (1 / 4 + told.sum()), 4 - 16 * np.linalg.solve(V, np.ones(3)).sum())
    return level


def pr_07_5b():
    """What the poor instrument will show once more on that day.

    (c) c = (4, 4 + 4.5, 4 + 4.5), and c'V^-1 r. In two steps: the level of (a), and of the residual errors of the two
    poor measurements, 4 - 1.086 and 3 - 1.086, the regression 4.5 (1, 1) [9, 4.5; 4.5, 9]^-1 = (1/3, 1/3): 1.086 +
    (2.914 + 1.914)/3 = 2.695. Its error of this day is not zero in expectation any more: the two that were seen say
    that the instrument is set too high.

    (d) On another day its error is independent of those: 1.086, the level.
    """
    c = 4 + np.array([0, 4.5, 4.5])
    value = c @ np.linalg.solve(4 + INSTRUMENTS, SHOWN)
    level = pr_07_5a()
    np.testing.assert_allclose(value, level + (SHOWN[1:] - level).sum() / 3)
    return value
