"""Solutions of the problems of chapter 12: twice significant, broods at locations, the price of a sample, 72 plots."""

from functools import cache

import numpy as np
from scipy import stats

import lmmlib

DECIMALS = {
    "pr-12-1a": 3,
    "pr-12-1b": 3,
    "pr-12-2a": 3,
    "pr-12-2b": 3,
    "pr-12-2c": 3,
    "pr-12-3a": 1,
    "pr-12-3b": 1,
    "pr-12-4a": 3,
    "pr-12-4b": 2,
}


def pr_12_1a():
    """p of min F'.

    (a) 1/min F' = 1/F_1 + 1/F_2. The larger of the two reciprocals, that of the smaller F, is less than the sum, and at
    least half of it. For f put v_k = 1/F_k, so that f = (v_1 + v_2)^2/(v_1^2/f_1 + v_2^2/f_2), Satterthwaite's formula;
    with the share s = v_1/(v_1 + v_2), 1/f = s^2/f_1 + (1 - s)^2/f_2. It is convex in s, so largest at an end, 1/f_1 or
    1/f_2, whence f >= min(f_1, f_2); and least at s = f_1/(f_1 + f_2), where f = f_1 + f_2.

    (b) min F' = 9.6 * 5.2/14.8 = 3.37 on 1 and 34.8 degrees of freedom: p = 0.075.
    """
    F1, F2, f1, f2 = 9.6, 5.2, 23, 18
    least = F1 * F2 / (F1 + F2)
    assert min(F1, F2) / 2 <= least <= min(F1, F2)
    f = (F1 + F2) ** 2 / (F1**2 / f2 + F2**2 / f1)
    assert min(f1, f2) <= f <= f1 + f2
    return stats.f.sf(least, 1, f)


def pr_12_1b():
    """p by REML, which counts the residuals once.

    (c) The denominators are v_1 = 31^2/9.6 = 100.1 and v_2 = 31^2/5.2 = 184.8; both hold 4 sigma^2/(n_s n_w) = 4 *
    100^2/480 = 83.3. The REML variance is 100.1 + 184.8 - 83.3 = 201.6 (no variance is zero, as both exceed 83.3), the
    standard error 14.2 ms. Satterthwaite: 201.6^2/(100.1^2/23 + 184.8^2/18 + 83.3^2/414) = 17.3 degrees of freedom, t =
    2.18, p = 0.043. min F' is conservative by the 83.3; the mixed model is near its level. But 0.043 from ten words in
    each condition is weak evidence, whichever side one takes, and one of two tests was chosen.
    """
    beta, n_s, n_w = 31.0, 24, 20
    v = np.array([beta**2 / 9.6, beta**2 / 5.2, 4 * 100.0**2 / (n_s * n_w)])
    assert v[2] < v[:2].min()
    total = v[0] + v[1] - v[2]
    f = total**2 / (v**2 @ (1 / np.array([n_s - 1, n_w - 2, (n_s - 1) * (n_w - 2)])))
    return 2 * stats.t.sf(beta / np.sqrt(total), f)


@cache
def ticks():
    """The chicks, and the fits with and without locations."""
    frame = lmmlib.load("ticks")
    frame["up"], frame["logged"] = (frame["height"] - 460) / 100, np.log(frame["ticks"] + 1)
    fixed = "logged ~ C(year) + up + "
    return frame, lmmlib.fit(fixed + "(1 | location/brood)", frame), lmmlib.fit(fixed + "(1 | brood)", frame)


def own_criterion(tau2, sigma2):
    """The REML criterion of the fit with locations and broods, from V (403, 403)."""
    frame, fit, _ = ticks()
    V, X, y = sigma2 * np.eye(403), fit.design.X, frame["logged"].to_numpy()
    for name, one in zip(("location", "brood"), tau2, strict=True):
        codes = frame[name].cat.codes.to_numpy()
        V += one * (codes[:, None] == codes)
    Vi = np.linalg.inv(V)
    XVX = X.T @ Vi @ X
    r = y - X @ np.linalg.solve(XVX, X.T @ Vi @ y)
    return np.linalg.slogdet(V)[1] + np.linalg.slogdet(XVX)[1] + r @ Vi @ r + (403 - 4) * np.log(2 * np.pi)


def pr_12_2a():
    """The correlation of two chicks of different broods of one location.

    (a) Each brood has one location, and location is crossed with year in part: 21 locations were used in more than one
    year. With year fixed the blocks are the 63 locations. With (1 | year) locations are chained by years, and all rows
    are one block. A variance of three years can hardly be estimated, and these three years are those of the study.

    (b) What they share is the location: 0.125/(0.125 + 0.285 + 0.314) = 0.173.
    """
    frame, fit, _ = ticks()
    assert (frame.groupby("brood", observed=True)["location"].nunique() == 1).all()
    assert (frame.groupby("location", observed=True)["year"].nunique() > 1).sum() == 21
    tau2 = [fit.D[t].iloc[0, 0] for t in range(2)]
    np.testing.assert_allclose(own_criterion(tau2, fit.sigma2), fit.criterion, rtol=1e-9)
    for k in range(2):  # a minimum, by a criterion of our own
        step = np.eye(2)[k] * 0.01
        assert min(own_criterion(tau2 + sign * step, fit.sigma2) for sign in (-1, 1)) > fit.criterion
    return tau2[0] / (sum(tau2) + fit.sigma2)


def pr_12_2b():
    """The test of locations.

    (c) The likelihood ratio is 2.12, and p = 0.073 by half a point mass at zero and half a chi-square on one degree of
    freedom: an approximation for many locations, with the variance of broods not zero. With few effective groups the
    share of zeros is larger than a half, so that the mixture errs on the side of too large a p; many locations have a
    single brood and say nothing here.
    """
    _, large, small = ticks()
    statistic = small.criterion - large.criterion
    assert abs(lmmlib.compare(small, large).p - stats.chi2.sf(statistic, 1) / 2) < 1e-9
    return stats.chi2.sf(statistic, 1) / 2


def pr_12_2c():
    """The standard error of the height with locations over that without.

    (d) 0.2197/0.1902 = 1.155. Height belongs to the location, so broods of one location are no independent evidence on
    its slope: the levels of location count (thm-levels), not those of brood. For the same reason the degrees of freedom
    fall from 116 to 39.
    """
    _, large, small = ticks()
    return large.se["up"] / small.se["up"]


@cache
def taus():
    """Standard deviations of plates and samples, by the mean squares of the two-way table."""
    table = lmmlib.load("penicillin").pivot(index="plate", columns="sample", values="diameter").to_numpy()
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + table.mean()
    error = (rest**2).sum() / (23 * 5)
    found = np.sqrt([rows.var(ddof=1) - error / 6, columns.var(ddof=1) - error / 24])
    fit = lmmlib.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", lmmlib.load("penicillin"))
    np.testing.assert_allclose(found, np.sqrt([fit.D[t].iloc[0, 0] for t in range(2)]), rtol=1e-6)
    return found


def numbers():
    """Plates and samples of the cheapest design."""
    tau, root_price = taus(), np.sqrt([1.0, 9.0])
    return tau / root_price * (tau @ root_price) / 0.25


def pr_12_3a():
    """Samples of the cheapest design.

    (a) tau_2^2/n_2 <= 0.25 needs n_2 >= 3.731/0.25 = 14.9, so 15.

    (b) Minimise c_1 n_1 + c_2 n_2 subject to tau_1^2/n_1 + tau_2^2/n_2 = v. With a multiplier m: c_t = m tau_t^2/n_t^2,
    so n_t = sqrt(m) tau_t/sqrt(c_t), and the constraint gives sqrt(m) = (tau_1 sqrt(c_1) + tau_2 sqrt(c_2))/v. Here
    sqrt(m) = (0.847 + 3 * 1.932)/0.25 = 26.57: n_2 = 17.1 samples and n_1 = 22.5 plates.

    (c) The residuals add 0.302/(17.1 * 22.5) = 0.0008 to 0.25: nothing. 24 plates and 6 samples cost 78 in the place of
    176, and have the standard error 0.81.
    """
    n = numbers()
    tau = taus()
    np.testing.assert_allclose(tau**2 @ (1 / n), 0.25)
    cost = n @ [1, 9]
    for other in (0.9, 1.1):  # on the same curve all else is dearer
        plates = n[0] * other
        assert plates + 9 * tau[1] ** 2 / (0.25 - tau[0] ** 2 / plates) > cost
    return n[1]


def pr_12_3b():
    """Plates of the cheapest design: see the solution of the samples."""
    return numbers()[0]


def mean_squares():
    """Of varieties, of whole plots within blocks, and of subplots, with the degrees of freedom of the last two."""
    cube = lmmlib.load("oats").set_index(["block", "variety", "nitrogen"])["grain"].unstack().to_numpy()
    cube = cube.reshape(6, 3, 4)
    plot = cube.mean(axis=2)
    of_plots = plot - plot.mean(axis=1, keepdims=True) - plot.mean(axis=0) + plot.mean()
    rest = cube - plot[:, :, None] - cube.mean(axis=0) + plot.mean(axis=0)[:, None]
    return 24 * plot.mean(axis=0).var(ddof=1), 4 * (of_plots**2).sum() / 10, (rest**2).sum() / 45


def pr_12_4a():
    """p of the varieties with plots.

    (a) Varieties were allotted to 18 whole plots. The student's model gives two subplots of one plot the covariance of
    any two of the block; they have the plot in common besides.

    (b) grain ~ variety * C(nitrogen) + (1 | block/variety): F = 893.2/601.3 = 1.49 on 2 and 10 degrees of freedom, p =
    0.272.

    (d) The student's residual, 254.2, pools plots (601.3, 10 df) and subplots (177.1, 45 df). Nitrogen was compared
    within plots, where the noise is that of subplots alone: its F should be 37.7, not 26.3.
    """
    varieties, plots, _ = mean_squares()
    p = stats.f.sf(varieties / plots, 2, 10)
    fit = lmmlib.fit("grain ~ variety * C(nitrogen) + (1 | block/variety)", lmmlib.load("oats"))
    np.testing.assert_allclose(fit.anova().loc["variety", "p"], p, rtol=1e-4)
    return p


def pr_12_4b():
    """The factor of the standard errors.

    (c) The squared standard error of a difference of two varieties is 2/24 of the mean square against which it is
    tested: the root of 601.3/254.2, where 254.2 = (10 * 601.3 + 45 * 177.1)/55, is 1.54.
    """
    _, plots, rest = mean_squares()
    pooled = (10 * plots + 45 * rest) / 55
    row = np.zeros(12)  # golden rain less victory, averaged over nitrogen
    row[[1, 6, 8, 10]] = [1, 0.25, 0.25, 0.25]
    fits = [
        lmmlib.fit(f"grain ~ variety * C(nitrogen) + (1 | {g})", lmmlib.load("oats"))
        for g in ("block/variety", "block")
    ]
    right, wrong = (float(np.ravel(fit.contrast(row).se)[0]) for fit in fits)
    np.testing.assert_allclose(right / wrong, np.sqrt(plots / pooled), rtol=1e-5)
    return np.sqrt(plots / pooled)
