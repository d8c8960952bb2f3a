"""The equations of the book, a function each, at given beta, D and sigma2."""

from lmmlib.equations.anova import anova_estimates, two_stage_estimates
from lmmlib.equations.blup import conditional_covariance, estimation_error, random_effects
from lmmlib.equations.degrees import kenward_roger, satterthwaite
from lmmlib.equations.generalised_least_squares import gls, predict_mean
from lmmlib.equations.information import information_beta, information_variance, score_beta, score_variance
from lmmlib.equations.likelihood import loglik, profile_loglik, restricted_loglik
from lmmlib.equations.mixed_model_equations import henderson
from lmmlib.equations.moments import icc
from lmmlib.equations.ordinary_least_squares import ols, ols_covariance, sandwich
from lmmlib.equations.shrinkage import james_stein
from lmmlib.equations.wald_tests import wald

__all__ = [
    "anova_estimates",
    "conditional_covariance",
    "estimation_error",
    "gls",
    "henderson",
    "icc",
    "information_beta",
    "information_variance",
    "james_stein",
    "kenward_roger",
    "loglik",
    "ols",
    "ols_covariance",
    "predict_mean",
    "profile_loglik",
    "random_effects",
    "restricted_loglik",
    "sandwich",
    "satterthwaite",
    "score_beta",
    "score_variance",
    "two_stage_estimates",
    "wald",
]
