"""Solutions of the problems of chapter 5: instruments, what a covariate explains, equal at birth, residuals, sexes."""

from functools import cache

import numpy as np
from scipy import optimize

import lmmlib
from lmmlib import equations

DECIMALS = {
    "pr-05-1a": 3,
    "pr-05-1b": 3,
    "pr-05-2a": 2,
    "pr-05-2b": 3,
    "pr-05-3a": 2,
    "pr-05-3b": 2,
    "pr-05-4": 2,
    "pr-05-5a": 2,
    "pr-05-5b": 3,
}


def icc_of_pairs(sums, differences):
    """The intraclass correlation by REML of pairs with these sums and differences: one mean, and two."""
    first, second = (sums + differences) / 2, (sums - differences) / 2
    y, group = np.column_stack([first, second]).ravel(), np.repeat(np.arange(len(sums)), 2)
    one, instrument = np.ones((len(y), 1)), np.tile([1.0, 0.0], len(sums))[:, None]
    found = []
    for X in (one, np.hstack([one, instrument])):
        fit = lmmlib.fit_design(lmmlib.Design.from_arrays(y, X, one, group))
        found.append(equations.icc(fit.D.iloc[0, 0], fit.sigma2))
    return found


@cache
def pairs():
    """Six pairs whose sums have S = 240, whose differences have the squares 40 and the mean 1."""
    s = np.array([1.0, -1, 2, -2, 3, -3])
    d = np.array([1.0, 1, -1, -1, 0, 0])
    return icc_of_pairs(50 + s * np.sqrt(240 / (s @ s)), 1 + d * np.sqrt(34 / (d @ d)))


def pr_05_1a():
    """The intraclass correlation with a mean for each instrument.

    (a) s_i and d_i are linear in the normal (y_i1, y_i2). Var(s_i) = 4 tau^2 + 2 sigma^2, Var(d_i) = 2 sigma^2 and
    Cov(s_i, d_i) = Var(y_i1) - Var(y_i2) = 0: independent.

    (b) The two means of s and d are free, mu_1 + mu_2 and mu_1 - mu_2. The contrasts of the data are those of the s_i
    and those of the d_i, n - 1 each. REML: A = 4 tau^2 + 2 sigma^2 = S/(n - 1) and B = 2 sigma^2 = D/(n - 1); ML has
    n for n - 1 in both, as the profile likelihood has all n sums and n differences. sigma^2 = B/2, tau^2 = (A - B)/4,
    tau^2 + sigma^2 = (A + B)/4, so rho = (A - B)/(A + B) = (S - D)/(S + D) by either method: the factor n/(n - 1)
    multiplies every variance, and a ratio does not notice. (S >= D, or tau^2 is zero.)

    (d) D = 40 - 6 * 1 = 34, and rho = (240 - 34)/(240 + 34) = 0.752.
    """
    rho = (240 - 34) / (240 + 34)
    np.testing.assert_allclose(pairs()[1], rho, rtol=1e-6)
    return rho


def pr_05_1b():
    """The intraclass correlation by REML with one mean for both instruments.

    (c) E(d_i) = 0 is known now: all n differences are contrasts, and B = D_0/n with D_0 = sum d_i^2, by REML and by
    ML. The sums have a mean that was estimated, so A = S/(n - 1) by REML and S/n by ML. ML's rho, (S - D_0)/(S +
    D_0), is smaller: it makes the variance between too small, and leaves the one within alone. That is the rule of
    the chapter (27/26 in Omega, nothing in sigma^2); in (b) the mean of the differences was estimated too.

    (d) A = 240/5 = 48, B = 40/6 = 6.667, and rho = 41.33/54.67 = 0.756. (ML: 200/280 = 0.714.)
    """
    A, B = 240 / 5, 40 / 6
    np.testing.assert_allclose(pairs()[0], (A - B) / (A + B), rtol=1e-6)
    return (A - B) / (A + B)


@cache
def litter_variance(mean):
    """tau^2 by REML of the weights of the rat pups, also by the restricted likelihood of one ratio."""
    pups = lmmlib.load("ratpup")
    fit = lmmlib.fit(f"weight ~ {mean} + (1 | litter)", pups)
    X, y, group = fit.design.X, fit.design.y, fit.design.group
    same, df = (group[:, None] == group) * 1.0, len(y) - X.shape[1]

    def at(ratio):
        V = np.eye(len(y)) + ratio * same
        A = np.column_stack([X, y])
        inner = A.T @ np.linalg.solve(V, A)
        G, h = inner[:-1, :-1], inner[:-1, -1]
        square = inner[-1, -1] - h @ np.linalg.solve(G, h)
        return df * np.log(square) + np.linalg.slogdet(V)[1] + np.linalg.slogdet(G)[1], square / df

    ratio = optimize.minimize_scalar(lambda r: at(r)[0], bounds=(0.05, 5), method="bounded", options={"xatol": 1e-7}).x
    np.testing.assert_allclose(ratio * at(ratio)[1], fit.D.iloc[0, 0], rtol=1e-4)
    return fit.D.iloc[0, 0]


def pr_05_2a():
    """The share of the variance between litters that goes when the treatment enters beside sex.

    (a) With k between columns MSB_0 has nu + k degrees of freedom and (nu + k) MSB_0 = nu MSB_1 + S. So (nu +
    k)(MSB_0 - MSB_1) = S - k MSB_1, and with F = S/(k MSB_1) tau_0^2 - tau_1^2 = k (F - 1) MSB_1 / {m (nu + k)}. It
    falls exactly if F > 1.

    (b) tau^2 is 0.335 with sex alone, and 0.326 with sex and treatment: 3 per cent. The F of the two columns is 1.24,
    a little above one. sigma^2 goes from 0.1635 to 0.1636. The design is not balanced: neither litters nor the shares
    of the sexes are alike, so the sums of squares between and within do not separate, and sigma^2 moves, in the
    fourth digit.
    """
    return 1 - litter_variance("sex + treatment") / litter_variance("sex")


def pr_05_2b():
    """The share of the variance between litters that goes when the treatment enters beside sex and size.

    tau^2 is 0.193 with sex and size, and 0.097 with the treatment as well: one half. The mothers with the high dose
    have smaller litters (9.3 pups instead of 13.1), and pups of small litters are heavier: that hides the effect of
    the dose, until the size is in the mean. So what a covariate "explains" depends on its company, and shares do not
    add: 3 per cent for the treatment and 42 for the size, each alone, and 71 for both. And none of this says what the
    dose *does*: if it makes litters smaller, the size is on its way to the weight (problem 1.3).
    """
    return 1 - litter_variance("sex + treatment + size") / litter_variance("sex + size")


@cache
def equal_at_birth():
    """Effect of diet 4 at day 20, its standard error, with equal means at day 0: the iteration of the chapter."""
    chicks = lmmlib.load("chicks")
    wide = chicks.pivot(index="chick", columns="day", values="weight")
    diet = chicks.groupby("chick", observed=True)["diet"].first().astype(str)
    y = wide.loc[diet.isin(["1", "4"]), [0.0, 10.0, 20.0]].dropna()
    four = (diet[y.index] == "4").to_numpy()
    y = y.to_numpy()
    assert (len(y), four.sum()) == (26, 9)
    X = np.zeros((26, 3, 5))
    X[:, :, :3] = np.eye(3)
    X[four, 1:, 3:] = np.eye(2)
    V = {a: np.cov(y[four == a].T) for a in (False, True)}
    for _ in range(50):
        W = np.array([np.linalg.inv(V[a]) for a in four])
        Phi = np.linalg.inv(np.einsum("ivp,ivw,iwq->pq", X, W, X))
        beta = Phi @ np.einsum("ivp,ivw,iw->p", X, W, y)
        r = y - X @ beta
        parts = r[:, :, None] * r[:, None, :] + X @ Phi @ X.transpose(0, 2, 1)
        V = {a: parts[four == a].mean(axis=0) for a in V}
    without_day_10(y[:, ::2], four, beta[4], np.sqrt(Phi[4, 4]))
    return beta[4], np.sqrt(Phi[4, 4])


def without_day_10(y, four, effect, se):
    """The other route: days 0 and 20 alone (day 10, with a mean of its own in each diet, adds nothing); a minimiser."""
    X = np.zeros((26, 2, 3))
    X[:, :, :2] = np.eye(2)
    X[four, 1, 2] = 1

    def at(v):
        L = np.zeros((2, 2, 2))
        L[:, 0, 0], L[:, 1, 0], L[:, 1, 1] = np.exp(v[[0, 3]]), v[[1, 4]], np.exp(v[[2, 5]])
        W = np.linalg.inv(L @ L.transpose(0, 2, 1))[four.astype(int)]
        G = np.einsum("ivp,ivw,iwq->pq", X, W, X)
        beta = np.linalg.solve(G, np.einsum("ivp,ivw,iw->p", X, W, y))
        r = y - X @ beta
        ell = 0.5 * (np.linalg.slogdet(W)[1].sum() - np.linalg.slogdet(G)[1] - np.einsum("iv,ivw,iw->", r, W, r))
        return -ell, beta[2], np.sqrt(np.linalg.inv(G)[2, 2])

    start = np.array([0.0, 0, 4, 0, 0, 4])
    run = optimize.minimize(lambda v: at(v)[0], start, method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(at(run.x)[1:], [effect, se], rtol=1e-4)


def pr_05_3a():
    """The effect of diet 4 at day 20, in grams, with equal means at birth.

    (a) The means are 233.9 g and 170.4 g: 63.5 g with a standard error of 18.4.

    (b) 51.3 g with a standard error of 17.0.

    (c) At birth diet 4 is 0.70 g behind. The slope of the weight at day 20 on the weight at day 0 is about -19 g for
    each gram in diet 4 (a correlation of -0.53, from nine chicks) and -12 in diet 1 (-0.19). The estimate says: the
    nine were lighter at birth by chance, light ones became heavy ones here, so a part of the 63.5 g is the work of
    that chance. It moves the estimate by these slopes times some tenths of a gram, 12 g. But nobody knows why a
    lighter chick should become the heavier one, and nine chicks do not establish a slope; the standard error takes
    the slopes as known. Both numbers lie within a standard error of each other. Decide *before* seeing the data which
    one you report.

    (d) Day 2 is not "before treatment": the chicks had eaten their diets for two days, and those of diet 4 were 3.9 g
    heavier already (Welch's t is 3.7). To call the means equal there is to take a part of the effect for chance. That
    the two means "hardly differ" is no argument: at day 0 they are equal by design, at day 2 they are not. And four
    chicks had no weight at day 20. They are left out as if by lot; with their early weights in the likelihood the
    assumption would be weaker, missing at random (chapter 2).
    """
    return equal_at_birth()[0]


def pr_05_3b():
    """Its standard error, in grams: see pr_05_3a."""
    return equal_at_birth()[1]


def pr_05_4():
    """The REML estimate of the variance between children with a mean for each centre.

    (a) The residuals `left` are handed over as if they were data. The fit sees one mean, and pays for one: it divides
    the sum of squares between children, SSB, by 15. But eight means had been fitted to the sixteen children, and with
    two children in a centre only 8 degrees of freedom are left. REML cannot know what was subtracted before it was
    called.

    (b) The centres are constant within children. Subtracting them changes no difference between two visits of a
    child, so MSW is the same in both, and it is sigma^2 (prop-between-column).

    (c) SSB = 15 (8.6246 + 4 * 17.5804) = 1184.2, MSB = SSB/8 = 148.0, and tau^2 = (148.0 - 8.6)/4 = 34.85: twice the
    printed number. `lmmlib.fit("lead ~ C(centre) + (1 | id)", some)` finds the same.

    (d) The t interval of a difference of two centres would have been too short by the root of 8/15 and more, and the
    lesson is general: "adjust first, then fit" hides the degrees of freedom that the adjustment cost.
    """
    tlc = lmmlib.load("tlc")
    placebo = tlc[tlc["treatment"] == "placebo"]
    some = placebo[placebo["id"].isin(placebo["id"].unique()[:16])].copy()
    some["centre"] = np.repeat(np.arange(8), 8)
    Y = some["lead"].to_numpy().reshape(8, 2, 4)  # centre, child, visit
    MSB = 4 * np.sum((Y.mean(axis=2) - Y.mean(axis=(1, 2))[:, None]) ** 2) / 8
    MSW = np.sum((Y - Y.mean(axis=2, keepdims=True)) ** 2) / 48
    fit = lmmlib.fit("lead ~ C(centre) + (1 | id)", some)
    np.testing.assert_allclose(fit.D.iloc[0, 0], (MSB - MSW) / 4, rtol=1e-6)
    some["left"] = some["lead"] - some.groupby("centre")["lead"].transform("mean")
    wrong = lmmlib.fit("left ~ 1 + (1 | id)", some)
    np.testing.assert_allclose([wrong.D.iloc[0, 0], wrong.sigma2], [(8 / 15 * MSB - MSW) / 4, MSW], rtol=1e-6)
    return (MSB - MSW) / 4


@cache
def covariances_of_the_sexes():
    """Fits of the dental data with compound symmetry, for all and for each sex."""
    dental = lmmlib.load("dental")
    formula, compound = "distance ~ age * Sex + (0 | Subject)", lmmlib.residual.compound
    return [lmmlib.fit(formula, dental, residual=compound("age", by=by)) for by in (None, "Sex")]


def pr_05_5a():
    """The likelihood ratio of one covariance against one for each sex.

    (a) Both have the same X, so that REML may judge: two parameters more. Equal variances and equal correlations are no
    edge of the larger model, in which a correlation of compound symmetry may be negative as well; so chi-square with 2.
    Both criteria are checked here with a matrix of all rows.
    """
    one, two = covariances_of_the_sexes()

    def criterion(fit):
        """Minus twice the restricted log-likelihood, from a matrix of all rows."""
        d, model = fit.design, fit.model
        V = np.zeros((d.n_obs, d.n_obs))
        for i in range(d.n_groups):
            rows = d.rows(i)
            code = model.visits.code[rows]
            V[np.ix_(rows, rows)] = fit.R()[model.visits.cell[i]][np.ix_(code, code)]
        W = np.linalg.inv(V)
        A = d.X.T @ W @ d.X
        r = d.y - d.X @ np.linalg.solve(A, d.X.T @ W @ d.y)
        return np.linalg.slogdet(V)[1] + np.linalg.slogdet(A)[1] + r @ W @ r

    ratio = criterion(one) - criterion(two)
    np.testing.assert_allclose(ratio, lmmlib.compare(one, two).statistic, rtol=1e-6)
    return ratio


def pr_05_5b():
    """The standard error of the difference of the slopes, with a covariance for each sex.

    (b) All children of a sex have the same ages, so that GLS is least squares in each sex, and the slope of a sex is
    the mean of its children's slopes. A child's slope is a contrast, sum_j a_j y_ij with sum a_j = 0, in which the
    common covariance rho sigma^2 cancels: its variance is sigma_a^2 (1 - rho_a)/S with S = sum (t - mean t)^2 = 20. So
    the variance of the difference is s_F^2/(11 S) + s_M^2/(16 S).

    (c) With one covariance s^2 is a mean of the two, weighted by degrees of freedom, 32 and 47, and the sum s^2 (1/11 +
    1/16)/S. There are more boys, and they have the larger variance, 2.82 for 0.61, so that the second fit's is smaller,
    by a ninth: in the sum the variances are divided by 11 and 16, not multiplied. For equal numbers nothing would
    change. The slope of girls alone, or of boys alone, has a much smaller, or larger, standard error than before.

    (d) Changes within children: 3 * 27 - 2 = 79 in the first fit. In the second they are Welch's, of two variances with
    32 and 47, of which that of boys dominates: 71.
    """
    one, two = covariances_of_the_sexes()
    name = [n for n in two.beta.index if n.startswith("age:")][0]
    p = two.parameters()
    n_of = {"Female": 11, "Male": 16}
    s2 = {sex: p[f"sigma {sex}"] ** 2 * (1 - p[f"rho {sex}"]) for sex in n_of}
    by_pencil = np.sqrt(sum(s2[sex] / (20 * n) for sex, n in n_of.items()))
    np.testing.assert_allclose(two.se[name], by_pencil, rtol=1e-6)
    df = [fit.contrasts({"d": {name: 1}}, df="kenward-roger")["df"].iloc[0] for fit in (one, two)]
    np.testing.assert_allclose(df[0], 79, rtol=1e-6)
    assert 70 < df[1] < df[0] and 0.85 < two.se[name] / one.se[name] < 1
    return by_pencil
