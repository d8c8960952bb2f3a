"""How close is close enough: the tolerances against other programs by name, and why others may be loose.

A literal of at most 1e-6 may stand in a test: it is rounding. A looser one is named here, or its test is listed in
``tolerances.csv`` with its values and one of the reasons below; ``python -m tests.tolerances_scan`` adds the lines of
new ones. ``tests/project/test_tolerances.py`` sees to both. Monte Carlo comparisons are best written as multiples of a
standard error, such as :func:`monte_carlo`: these are never loose.
"""

import numpy as np

REASONS = {
    "draws": "Monte Carlo error of draws with a fixed seed",
    "differences": "a derivative by differences, or a second one",
    "optimum": "two ways to a flat optimum, each of which stops where its criterion no longer changes",
    "integral": "a numerical integral or a grid",
    "program": "the stopping rule of another program, or its derivatives by differences",
    "printed": "digits as they are printed",
    "limit": "holds in a limit only: many clones, large groups, a variance near zero",
    "digits": "digits that units, an origin far away or a badly conditioned design have cost",
}

# --- against 60-digit optima (tests/reference/exact) ---

# A function of the stored D and sigma2, which have 16 digits, and other closed forms: estimates, standard errors; also
# the same by other sums, with QR or Cholesky on columns with a condition number near 10.
CLOSED_FORM = 1e-11
# The log-likelihood there: sums of up to 400 terms, of size 1e3.
LOGLIK = 1e-10
# Fits of a million rows, whose sums keep 1e-12; lme4's default stop is 1e-6 away.
BIG = 1e-8
# Merging sums changes the basis of a chunk, which costs the digits of its condition number, and chunks of two or three
# rows are nearly singular: 9 digits are asked of sums and 8 of log-likelihoods (tests/property).
SUMS = 1e-9
LIKELIHOOD = 1e-8
# Where Newton's method stops in theta, and what depends on theta as smoothly.
OPTIMUM = 1e-7
# Inverse Hessians and df, which lose the digits of a condition number.
HESSIAN = 1e-6

# --- against other programs ---

# lme4 with tightened rules: 2e-7 in theta, and df, covariances and p-values inherit it.
LME4 = 1e-6
# A p-value of a t of 20 multiplies the relative error of t by some hundreds, that of df too.
LME4_TAIL = 1e-4
# lme4 at its default stop, as shares of a standard error or of the largest entry: theta.
LME4_DEFAULT = 3e-3
# The same for standard errors and sigma.
LME4_DEFAULT_SE = 4e-4
# Limits from lme4's profiles are interpolated by splines.
SPLINE = 2e-4
# nlme's default stop.
NLME = 1e-4
# nlme's intervals of variances: its Hessian is made of differences.
NLME_HESSIAN = 5e-3
# glmmTMB stops when its gradient is 1e-3 or so.
GLMMTMB = 1e-4
# Hessians of TMB's sdreport are differences of gradients.
SDREPORT = 2e-6
# glmer's own standard errors, with a Hessian by differences in theta and beta.
GLMER_HESSIAN = 2e-3
# dclone's largest eigenvalue is the variance of mu but for covariances with the others.
LARGEST_VARIANCE = 5e-3


def monte_carlo(*errors: float, multiple: float = 4.5) -> float:
    """The largest difference that chance explains: 4.5 joint standard errors, once in 150,000."""
    return multiple * float(np.sqrt(np.sum(np.square(errors))))
