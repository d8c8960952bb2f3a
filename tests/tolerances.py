"""How close is close enough: every tolerance that is looser than 1e-6, by name, with its reason.

Tighter literals may stand in a test, for they are rounding. Monte Carlo comparisons use multiples of a standard error
(:func:`monte_carlo`). ``tests/unit/test_tolerances.py`` fixes the values.
"""

import numpy as np

# --- against 60-digit optima (tests/reference/exact) ---

# A function of the stored D and sigma2, which have 16 digits: estimates, standard errors, predictions.
CLOSED_FORM = 1e-11
# The log-likelihood there: sums of up to 400 terms, of size 1e3.
LOGLIK = 1e-10
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
