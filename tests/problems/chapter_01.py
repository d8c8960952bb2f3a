"""Solutions of the problems of chapter 1: own intercepts and a lagged value, worth of rows, litters, duplicate runs."""

import numpy as np

import lmmlib
from lmmlib import equations

DECIMALS = {
    "pr-01-1": 2,
    "pr-01-2a": 2,
    "pr-01-2b": 2,
    "pr-01-3a": 3,
    "pr-01-3b": 2,
    "pr-01-3c": 2,
    "pr-01-4a": 3,
    "pr-01-4b": 2,
}


def least_squares(columns, response):
    """Coefficients and their standard errors by ordinary least squares, with N less the columns in the divisor."""
    A = np.column_stack(columns)
    inverse = np.linalg.inv(A.T @ A)
    coefficients = inverse @ A.T @ response
    rss = np.sum((response - A @ coefficients) ** 2)
    return coefficients, np.sqrt(rss / (len(response) - A.shape[1]) * np.diag(inverse))


def two_samples(a, b):
    """Difference of the means of a and b and Student's standard error, from the pooled variance."""
    squares = np.sum((a - a.mean()) ** 2) + np.sum((b - b.mean()) ** 2)
    return a.mean() - b.mean(), np.sqrt(squares / (len(a) + len(b) - 2) * (1 / len(a) + 1 / len(b)))


def pr_01_1():
    """The value of phi that is behind a reported estimate of -0.12.

    (a) For fixed phi the best intercept of child i is the mean of y_i1 - phi y_i0 and y_i2 - phi y_i1. What is left of
    these two numbers, less their mean, is plus and minus half of d_i2 - phi d_i1, with d_i1 = y_i1 - y_i0 and d_i2 =
    y_i2 - y_i1. So the residual sum of squares is sum_i (d_i2 - phi d_i1)^2 / 2, least squares of d_i2 on d_i1 through
    the origin, and phi_hat = sum_i d_i1 d_i2 / sum_i d_i1^2. The intercepts are gone: only differences occur.

    (b) Write y_ij = alpha_i / (1 - phi) + u_ij. Then u_ij = phi u_i,j-1 + eps_ij with Var(u) = v at all three times,
    Cov(u_i0, u_i1) = Cov(u_i1, u_i2) = phi v and Cov(u_i0, u_i2) = phi^2 v. Hence E(d_i1^2) = 2 v (1 - phi) and E(d_i1
    d_i2) = phi v - phi^2 v - v + phi v = -v (1 - phi)^2. The children are independent and the d_i identically
    distributed, so by the law of large numbers phi_hat -> -v (1 - phi)^2 / (2 v (1 - phi)) = -(1 - phi)/2.

    (c) The limit is negative for every phi below 1, and the error (1 + phi)/2 is the same for ten children and for ten
    million. The culprit is an estimated mean again: y_i1 is in both differences, with opposite signs, and so is its
    error, which is the incidental parameter's way of being estimated from two rows.

    (d) -0.12 = -(1 - phi)/2 gives phi = 1 - 0.24 = 0.76: what was last seen persists, the opposite of what was
    reported.
    """
    reported = -0.12
    phi = 1 + 2 * reported
    # The moments at this phi, from the 3 x 3 covariance of u, give the reported number back.
    covariance = phi ** np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    first, second = np.array([-1, 1, 0]), np.array([0, -1, 1])
    np.testing.assert_allclose(first @ covariance @ second / (first @ covariance @ first), reported)
    return phi


def dental_ratios():
    """Honest over printed standard error, of the product of age and sex and of sex at age 11."""
    dental = lmmlib.load("dental")
    male, age = (dental["Sex"] == "Male").to_numpy(float), dental["age"].to_numpy() - 11
    _, printed = least_squares([np.ones(108), age, male, age * male], dental["distance"].to_numpy())
    wide = dental.pivot(index="Subject", columns="age", values="distance")
    boys = np.array([name.startswith("M") for name in wide.index])
    x = wide.columns.to_numpy() - 11
    Y = wide.to_numpy()
    honest = [two_samples(v[boys], v[~boys])[1] for v in (Y @ x / (x @ x), Y.mean(axis=1))]
    return honest[0] / printed[3], honest[1] / printed[2]


def pr_01_2a():
    """Honest over printed standard error of the product of age and sex.

    The product compares how fast boys and girls grow. Sex is a property of whole children, and so it is tempting to
    expect a claim that is too sure. But the number that is compared between children is a slope, a contrast of the four
    distances of one child, from which the child's level drops out. By the second part of prop-effective-size the slope
    of a child has the variance sigma^2/S = (1 - rho) v/S, where least squares on the rows claims v/S, and the
    difference of two means of independent slopes inherits the factor. So the printed standard error is too large.

    The honest one: a slope for each child, sum_j (x_j - 11) y_ij / 20, and Student's two-sample comparison of 16 slopes
    with 11, on 25 degrees of freedom: 0.1347. The rows give 0.1977 on 104. The ratio is 0.68. (If children have slopes
    of their own, the factor is larger than 1 - rho, but here it is still far below one.)
    """
    return dental_ratios()[0]


def pr_01_2b():
    """Honest over printed standard error of sex at age 11.

    At the mean age the coefficient of sex is the difference of the means of all rows of boys and of girls, because the
    ages are the same for all. It is a difference of levels, between children: by the first part of prop-effective-size
    the variance is 1 + 3 rho times what independent rows would have. Student's comparison of 27 child means gives the
    standard error 0.7614, the rows 0.4420, the ratio is 1.72. One printout, one factor of each kind: what decides is
    not whether the covariate belongs to the child, but whether the number that is compared is a level or a change.
    """
    ratio = dental_ratios()[1]
    # A second route: the ratio of variances is (16 + 11 - 2)-based mean square between over the residual mean square.
    frame = lmmlib.load("dental")
    design = lmmlib.build_design("distance ~ age * Sex + (1 | Subject)", frame)
    rss = equations.ols(lmmlib.cross_products(design)).rss
    children = frame.groupby("Subject", observed=True)["distance"].mean()
    sex = frame.groupby("Subject", observed=True)["Sex"].first()
    within_sex = np.sum((children - children.groupby(sex, observed=True).transform("mean")) ** 2)
    np.testing.assert_allclose(ratio, np.sqrt((4 * within_sex / 25) / (rss / 104)))
    return ratio


def litters():
    """One row for each of the 27 litters: mean weight, size, and treatment."""
    pups = lmmlib.load("ratpup")
    by_litter = pups.groupby("litter", observed=True)
    return by_litter.agg(weight=("weight", "mean"), size=("size", "first"), treatment=("treatment", "first"))


def pr_01_3a():
    """Standard error of high less control, with litters as units.

    The dose was given to the mother. Two pups of a litter share her, her dose and the womb, so the number of units that
    were assigned is 27 and not 322, and the 322 rows understate the standard error of the difference (0.094) by a
    factor of three. Reduce each litter to its mean weight, which counts once, and regress the 27 means on the
    treatment: the difference is -0.381 with the standard error sqrt(s^2 (1/7 + 1/10)) = 0.285 on 24 degrees of freedom,
    s^2 pooled over the three arms. t = -1.3: alone, this comparison shows nothing. (Litter means rest on 2 to 18 pups;
    since the differences between litters are the larger part of their variance, equal weights lose little, and chapter
    3 finds the best ones.)
    """
    frame = litters()
    arm = frame["treatment"]
    within = np.sum((frame["weight"] - frame.groupby("treatment", observed=True)["weight"].transform("mean")) ** 2)
    se = np.sqrt(within / 24 * (1 / np.sum(arm == "high") + 1 / np.sum(arm == "control")))
    dummies = [np.ones(27), (arm == "low").to_numpy(float), (arm == "high").to_numpy(float)]
    np.testing.assert_allclose(least_squares(dummies, frame["weight"].to_numpy())[1][2], se)
    return se


def pr_01_3b():
    """High less control at the same litter size, with litters as units.

    Add the size of the litter to the regression of the 27 means. A litter that is larger by one pup is lighter by 0.123
    g a pup, and the litters of the high dose are small (9.3 pups on average, against 13.1). At the same size the
    difference is -0.851, with the standard error 0.164: more than twice the difference without size, which hid a loss
    of weight behind a gain from having few siblings.

    Which one to report depends on the question. Size was settled after the dose, and the dose may be why it is small.
    Whoever asks what the dose does to the weight of the pups, by whatever way, must not hold size fixed: -0.38,
    standard error 0.29, undecided. Whoever asks whether the dose harms a pup in other ways than through the number of
    its siblings holds it fixed: -0.85, clear. A fair report gives both, says which was planned, and adds that three of
    the ten mothers with the high dose have no litter in the data at all, so that even the first comparison is one of
    the litters that are there.
    """
    frame = litters()
    arm = frame["treatment"]
    columns = [np.ones(27), (arm == "low").to_numpy(float), (arm == "high").to_numpy(float), frame["size"].to_numpy()]
    return least_squares(columns, frame["weight"].to_numpy())[0][2]


def pr_01_3c():
    """Female less male, within litters.

    Males and females live in the same litters, so this is a comparison within litters, which the level of a litter must
    not enter: one intercept for each litter, as in child-intercepts. The sexes are not equally frequent in all litters,
    so the rows without litters give another number, -0.27, into which differences between litters have found their way.
    By the argument of prop-same-slope (own intercepts), the estimate is the slope of weight, less the mean of the
    litter, on the indicator of a female less its mean in the litter: -0.371, standard error 0.048, on 322 - 27 - 1
    degrees of freedom. Here, unlike in (a), it is the pups that count.
    """
    pups = lmmlib.load("ratpup")
    pups["female"] = (pups["sex"] == "female").astype(float)
    pair = pups[["weight", "female"]]
    centred = pair - pair.groupby(pups["litter"], observed=True).transform("mean")
    slope = centred["female"] @ centred["weight"] / (centred["female"] @ centred["female"])
    indicators = (pups["litter"].to_numpy()[:, None] == pups["litter"].unique().to_numpy()).astype(float)
    np.testing.assert_allclose(least_squares([pups["female"], indicators], pups["weight"].to_numpy())[0][0], slope)
    return slope


def pr_01_4a():
    """Limit of the reported number, divided by sigma.

    The standard deviation of two numbers, with divisor 1, is |y_i1 - y_i2| / sqrt(2). The difference is normal with
    variance 2 sigma^2, so this is sigma |z| with a standard normal z, and E|z| = 2 int_0^oo z phi(z) dz = sqrt(2/pi).
    The average over the samples tends to sigma sqrt(2/pi) = 0.798 sigma by the law of large numbers, however many
    samples there are: the bias is that of one pair, since averages keep a bias and reduce only the variance. ddof = 1
    makes the *variance* of each pair unbiased; the root of an unbiased estimate is not unbiased (Jensen's inequality:
    the mean of roots is below the root of the mean). With more runs for each sample it does go away; that is the
    difference between n and m of this chapter.
    """
    limit = np.sqrt(2 / np.pi)
    z = np.linspace(0, 12, 200_001)
    np.testing.assert_allclose(2 * np.trapezoid(z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), z), limit, rtol=1e-6)
    return limit


def pr_01_4b():
    """The right estimate: average the variances, then take one root.

    sqrt(RSS/(n (m - 1))) = sqrt(sum_i (y_i1 - y_i2)^2 / (2 n)). The average of n unbiased variances tends to sigma^2,
    and the root of the average to sigma. With these numbers it is 3.02 (the truth is 3), where the code reports 2.42.
    """
    rng = np.random.default_rng(114)
    runs = rng.normal(50, 10, size=(500, 1)) + 3 * rng.standard_normal((500, 2))
    estimate = np.sqrt(np.mean(np.var(runs, axis=1, ddof=1)))
    np.testing.assert_allclose(estimate, np.sqrt(np.sum((runs[:, 0] - runs[:, 1]) ** 2) / 1000))
    return estimate
