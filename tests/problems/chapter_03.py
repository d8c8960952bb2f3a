"""Solutions of the problems of chapter 3: the worst of least squares, a trial to plan, schools, a forgotten column."""

from functools import cache

import numpy as np
from scipy import optimize

import lmmlib
from lmmlib import equations

DECIMALS = {
    "pr-03-1": 3,
    "pr-03-2a": 4,
    "pr-03-2b": 4,
    "pr-03-3a": 3,
    "pr-03-3b": 2,
    "pr-03-3c": 3,
    "pr-03-4": 3,
}


def pr_03_1():
    """The least efficiency of least squares in groups of ten with an intraclass correlation of 0.3.

    (a) Let g = sigma^2 + m tau^2. Write x = w + u, u the group means repeated and w = x - u. In each group 1'w = 0, so
    V_i w_i = sigma^2 w_i, and V_i u_i = g u_i, because u_i is a multiple of 1 (thm-cs-eigen). The column of ones is an
    eigenvector with g as well, since all groups have size m, and 1'x = 0 overall; hence 1'x = 1'Vx = 1'V^{-1}x = 0, and
    the intercept does not disturb the slope in either method: the estimates are x'y/x'x and x'V^{-1}y/x'V^{-1}x. With S
    = x'x, w'w = (1 - p) S, u'u = p S and w'u = 0, ols-covariance and gls-covariance become Var(OLS) = x'Vx/S^2 = {(1 -
    p) sigma^2 + p g}/S and Var(GLS) = 1/x'V^{-1}x = 1/[S {(1 - p)/sigma^2 + p/g}].

    (b) 1/e = {(1 - p) sigma^2 + p g}{(1 - p)/sigma^2 + p/g} = (1 - p)^2 + p^2 + p (1 - p)(kappa + 1/kappa) with kappa =
    g/sigma^2, and since (1 - p)^2 + p^2 = 1 - 2p(1 - p), 1/e = 1 + p (1 - p)(kappa - 1)^2/kappa. For p = 0 and p = 1,
    the two kinds of columns of cor-balanced, e = 1.

    (c) p(1 - p) is largest at p = 1/2, with the value 1/4: 1/e = (4 kappa + (kappa - 1)^2)/(4 kappa), so e = 4 kappa/(1
    + kappa)^2. It depends on kappa = 1 + m rho/(1 - rho) alone and tends to 0 as kappa grows: there is no floor. (This
    is the inequality of Kantorovich for the two eigenvalues of V_i.)

    (d) kappa = 1 + 10 * 0.3/0.7 = 5.286 and e = 21.14/39.51 = 0.535: nearly a half of the groups in vain.
    """
    m, rho = 10, 0.3
    kappa = 1 + m * rho / (1 - rho)
    worst = 4 * kappa / (1 + kappa) ** 2
    # A design with p = 1/2: six groups whose means are +1 and -1, and within each five rows at +1 and five at -1.
    x = np.kron([1, -1, 1, -1, 1, -1], np.ones(m)) + np.kron(np.ones(6), np.tile([1, -1], 5))
    V = np.kron(np.eye(6), (1 - rho) * np.eye(m) + rho)
    X = np.column_stack([np.ones(60), x])
    least_squares = np.linalg.inv(X.T @ X) @ X.T
    best = np.linalg.inv(X.T @ np.linalg.solve(V, X))
    np.testing.assert_allclose(best[1, 1] / (least_squares @ V @ least_squares.T)[1, 1], worst)
    return worst


def se_of_the_difference(times, budget=700):
    """SE of the difference of the two arms' slopes, by Phi of the whole trial with 3 a child and 1 a sample."""
    D, sigma2 = np.array([[23, 0.1], [0.1, 0.16]]), 4.5
    n = budget / (3 + len(times))
    Z = np.column_stack([np.ones(len(times)), times])
    V = Z @ D @ Z.T + sigma2 * np.eye(len(times))
    information = 0
    for arm in (0, 1):
        X = np.column_stack([Z, arm * Z])  # 1, week, arm, arm * week
        information = information + n * X.T @ np.linalg.solve(V, X)
    return np.sqrt(np.linalg.inv(information)[3, 3])


def pr_03_2a():
    """The smallest standard error of the difference of the slopes that a budget of 700 an arm can buy.

    (a) Within one arm X_i = Z is the same for all its n children. By cor-balanced, second design, GLS is OLS, the mean
    of the children's own lines, whose covariance is D + sigma^2 (Z'Z)^{-1}. (With a pencil: V_i Z = Z (D Z'Z + sigma^2
    I) gives Z'V_i^{-1}Z = {D + sigma^2 (Z'Z)^{-1}}^{-1}, to be summed over n children and inverted.) The lower right
    entry of (Z'Z)^{-1} is 1/S with S = sum_j (t_j - mean)^2. The arms are independent, and so the difference of the
    slopes has the variance 2 (D22 + sigma^2/S)/n. D11, D12 and the data y are not in it: a trial can be planned before
    it begins.

    (b) Design 1: n = 100, S = 22.75, SE 0.0846. Design 2: n = 140, S = 18, SE 0.0765. Design 3: n = 100, S = 36, SE
    0.0755. Design 4: n = 70, S = 28, SE 0.0957. The best is design 3, two samples at each end, barely before design 2.
    Weekly visits are the worst: a child costs ten units, and five of its seven samples lie where they tell less about a
    slope than one at an end would.

    (d) Designs 2 and 3 buy their precision with the assumption that the mean is a straight line. With samples in two
    weeks it cannot be tested at all, and the succimer arm of this chapter, which falls and rebounds, would pass for a
    straight line. The smallest standard error answers the question only if the model asks the right one.
    """
    designs = {1: [0, 1, 4, 6], 2: [0, 6], 3: [0, 0, 6, 6], 4: range(7)}
    values = {}
    for name, weeks in designs.items():
        t = np.array(weeks, dtype=float)
        S = np.sum((t - t.mean()) ** 2)
        values[name] = np.sqrt(2 * (0.16 + 4.5 / S) * (3 + len(t)) / 700)
        np.testing.assert_allclose(values[name], se_of_the_difference(t))
    assert min(values, key=values.get) == 3
    return values[3]


def pr_03_2b():
    """The slope variance D22 at which designs 2 and 3 are equally good.

    (D22 + 4.5/18)/140 = (D22 + 4.5/36)/100 gives 100 D22 + 25 = 140 D22 + 17.5, so D22 = 7.5/40 = 0.1875. Above it more
    children (design 2) are better, below it more samples of each (design 3): repeated samples reduce sigma^2/S and
    cannot reduce D22, which is averaged over children and nothing else. It is the exercise on the worth of a visit
    again, for a slope.
    """
    equal = optimize.brentq(lambda d: (d + 4.5 / 18) / 140 - (d + 4.5 / 36) / 100, 0, 1)
    np.testing.assert_allclose(equal, 7.5 / 40)
    return 7.5 / 40


@cache
def schools():
    """The pupils, with the mean of ses of the pupils of the school and the deviation from it."""
    frame = lmmlib.load("schools")
    frame["mean"] = frame.groupby("school", observed=True)["ses"].transform("mean")
    frame["dev"] = frame["ses"] - frame["mean"]
    return frame


def pr_03_3a():
    """The weight of the slope between schools in the single slope of ses.

    (a) Let x_i = u_i + w_i in school i, u_i the school's mean of ses repeated, w_i the deviations. 1'w_i = 0, so
    V_i^{-1} w_i = w_i/sigma^2, which is orthogonal to 1 and to u_i: in the model with three columns 1, dev and mean the
    normal equations fall apart. dev has b_W = sum w'y / sum w'w, whatever the variances (this is the slope of one free
    intercept per school), with the information I_W = sum w'w/sigma^2. The column mean has the slope b_B of a weighted
    regression of the school means of math on those of ses, with the weights 1/(tau^2 + sigma^2/n_i), and the
    information I_B, the weighted sum of squares of the school means of ses about their weighted mean. The model with
    ses alone is the model with equal coefficients of dev and mean, so its score for the slope beta, intercept
    eliminated, is the sum of the two: I_W (b_W - beta) + I_B (b_B - beta) = 0, and beta = (I_W b_W + I_B b_B)/(I_W +
    I_B): a mean weighted by the precisions of the two.

    (b) At tau^2 = 4.8 and sigma^2 = 37, near the REML estimates of math ~ ses + (1 | school), b_W = 2.191, b_B = 5.881
    and the weight of b_B is 0.054, which makes 2.389. The single slope is a mixture that answers nobody's question: its
    weights are set by the variances and by how many pupils and schools happen to be in the sample.
    """
    frame = schools()
    tau2, sigma2 = 4.8, 37.0
    means = frame.groupby("school", observed=True).agg(x=("ses", "mean"), y=("math", "mean"), n=("ses", "size"))
    weight = 1 / (tau2 + sigma2 / means["n"])
    x = means["x"] - weight @ means["x"] / weight.sum()
    between, within = weight @ x**2, np.sum(frame["dev"] ** 2) / sigma2
    slopes = (weight * x) @ means["y"] / between, frame["dev"] @ frame["math"] / np.sum(frame["dev"] ** 2)
    share = between / (between + within)
    cross = lmmlib.cross_products(lmmlib.build_design("math ~ ses + (1 | school)", frame))
    np.testing.assert_allclose(share * slopes[0] + (1 - share) * slopes[1], equations.gls(cross, tau2, sigma2).beta[1])
    return share


def pr_03_3b():
    """The number for the minister: the coefficient of mean in math ~ dev + mean + (1 | school).

    With the columns dev and mean the coefficient of mean is the slope *between* schools, 5.87 (SE 0.36): by so much do
    the average scores of two schools differ whose average ses differs by one. dev has 2.19, the difference of two
    pupils of one school, whose ses differs by one: the teacher's number. The parents ask for the difference of two
    pupils of the *same* ses in schools whose means differ by one: dev is lower by one in the school with the higher
    mean, so it is 5.87 - 2.19 = 3.68, the coefficient of mean in math ~ ses + mean + (1 | school), with z = 9.7. It
    says that the slopes within and between differ, and so that the model with ses alone, 2.39, has a wrong mean, which
    no V repairs. Whether *sending* a child there would raise its score by 3.68 is another question: families choose
    schools, so what the families of such a school have in common beside ses is in that number too.
    """
    fit = lmmlib.fit("math ~ dev + mean + (1 | school)", schools())
    contextual = lmmlib.fit("math ~ ses + mean + (1 | school)", schools())
    np.testing.assert_allclose(fit.beta["mean"], contextual.beta["ses"] + contextual.beta["mean"], rtol=1e-7)
    return fit.beta["mean"]


def pr_03_3c():
    """The standard error of the slope within schools that allows the schools to have slopes of their own.

    The random intercept claims 0.109, the sandwich around the same estimate says 0.129: the variance is 1.4 times the
    claimed one. The mean is not to blame, as the slope of dev is 2.19 in either model. The covariance is: if schools
    have slopes of their own, the pupils of a school share its departure from the common slope, which a random intercept
    takes for independent noise. With (dev | school) the model's own standard error is 0.128, close to the sandwich; the
    variance of the slopes is 0.69 (SD 0.83 around 2.19), and -2 l_R falls by 10.9 with two parameters more. With 160
    schools both can be trusted: report 2.19 with 0.128. (Chapter 6 has the degrees of freedom: some 155, near the
    number of schools, where the random intercept claims 7000.)
    """
    frame = schools()
    fit = lmmlib.fit("math ~ dev + mean + (dev | school)", frame)
    plain = lmmlib.fit("math ~ dev + mean + (1 | school)", frame)
    robust = equations.sandwich(plain.design, plain.beta, plain.D, plain.sigma2)
    assert plain.se["dev"] < 0.11 < 0.127 < fit.se["dev"] < np.sqrt(robust[1, 1]) < 0.130
    return fit.se["dev"]


def pr_03_4():
    """The GLS coefficient of the size of the litter.

    lem-quasi-demeaning is applied to two of three columns. Whitening multiplies the whole model by W_i, and the column
    of ones is a column of X: less the share 1 - lambda_i of its mean it becomes lambda_i, not 1. In litters of one size
    that is a constant, and using 1 for it changes nothing but the name of the intercept; the slope would be right. Here
    lambda_i = sqrt(0.2/(0.2 + 0.3 n_i)) falls from 0.50 in the litter of two to 0.19 in the litter of eighteen.

    Why so wrong: a litter that has no larger or lighter pups than another, but more of them, has a smaller lambda_i,
    and thus a smaller whitened weight, lambda_i times its mean. The whitened weight of 6 g pups is 3.0 in a litter of
    two and 1.1 in one of eighteen. With ones for an intercept there is nothing to take up this fall but the slope of
    size, -0.789. With the column lambda_i it is -0.093: a pup is lighter by a tenth of a gram for each sibling more.
    """
    pups = lmmlib.load("ratpup")
    tau2, sigma2 = 0.3, 0.2
    cross = lmmlib.cross_products(lmmlib.build_design("weight ~ size + (1 | litter)", pups))
    slope = equations.gls(cross, tau2, sigma2).beta[1]
    by_litter = pups.groupby("litter", observed=True)
    share = 1 - np.sqrt(sigma2 / (sigma2 + by_litter["weight"].transform("size") * tau2))
    weight = pups["weight"] - share * by_litter["weight"].transform("mean")
    X = np.column_stack([1 - share, pups["size"] - share * by_litter["size"].transform("mean")])
    np.testing.assert_allclose(np.linalg.lstsq(X, weight, rcond=None)[0][1], slope)
    return slope
