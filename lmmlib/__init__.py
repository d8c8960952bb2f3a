"""Linear mixed-effects models: the equations of the book as functions, each naming its equation.

Data flow one way: ``load`` or your own frame, ``build_design``, ``cross_products``, then estimates
(``gls``), likelihoods and inference; ``fit`` does it all for REML and ML. ``dense`` holds the same formulas as printed.
"""

from lmmlib import errors, laplace
from lmmlib.bayes.draws import Draws
from lmmlib.bayes.priors import (
    Flat,
    HalfCauchy,
    HuangWand,
    InverseGamma,
    InverseWishart,
    Normal,
    Priors,
    Reciprocal,
    Zellner,
)
from lmmlib.bayes.sample import sample
from lmmlib.bayes.unit_priors import unit_information
from lmmlib.book import cloning_plots, plots, report, simulate
from lmmlib.book.datasets import load
from lmmlib.cloning.clone import clone
from lmmlib.cloning.cloned import Cloned
from lmmlib.cloning.with_pymc import clone_pymc
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.design import Design
from lmmlib.design.formula import build_design, fixed_matrix
from lmmlib.equations import dense, moments
from lmmlib.equations.anova import anova_estimates, two_stage_estimates
from lmmlib.equations.degrees import kenward_roger, satterthwaite
from lmmlib.equations.generalised_least_squares import gls, predict_mean
from lmmlib.equations.information import information_beta, information_variance, score_beta, score_variance
from lmmlib.equations.likelihood import loglik, profile_loglik, restricted_loglik
from lmmlib.equations.moments import icc
from lmmlib.equations.ordinary_least_squares import ols, ols_covariance, sandwich
from lmmlib.equations.wald_tests import wald
from lmmlib.fitting.batch import Fits, fit_many
from lmmlib.glmm.fit import PoissonFit, fit_poisson
from lmmlib.inference.compare import Comparison, aic_table, compare
from lmmlib.lmm.fit import Fit, fit, fit_design

__version__ = "0.1.0"

__all__ = [
    "Cloned",
    "Comparison",
    "CrossProducts",
    "Design",
    "Draws",
    "Fit",
    "Fits",
    "Flat",
    "HalfCauchy",
    "HuangWand",
    "InverseGamma",
    "InverseWishart",
    "Normal",
    "PoissonFit",
    "Priors",
    "Reciprocal",
    "Zellner",
    "aic_table",
    "anova_estimates",
    "build_design",
    "clone",
    "clone_pymc",
    "cloning_plots",
    "compare",
    "cross_products",
    "dense",
    "errors",
    "fit",
    "fit_design",
    "fit_many",
    "fit_poisson",
    "fixed_matrix",
    "gls",
    "icc",
    "information_beta",
    "information_variance",
    "kenward_roger",
    "laplace",
    "load",
    "loglik",
    "moments",
    "ols",
    "ols_covariance",
    "plots",
    "predict_mean",
    "profile_loglik",
    "report",
    "restricted_loglik",
    "sample",
    "sandwich",
    "satterthwaite",
    "score_beta",
    "score_variance",
    "simulate",
    "two_stage_estimates",
    "unit_information",
    "wald",
]
