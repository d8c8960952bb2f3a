"""Linear mixed-effects models: the equations of the book as functions, each naming its equation.

Data flow one way: :func:`load` or your own frame, ``build_design``, ``cross_products``, then the equations of the book
(``equations.gls``), likelihoods and inference; ``fit`` does it all for REML and ML. ``dense`` holds the same formulas
as printed.
"""

from importlib import import_module

from lmmlib import equations, errors, laplace, residual
from lmmlib.bayes import priors
from lmmlib.bayes.draws import Draws
from lmmlib.bayes.sample import sample
from lmmlib.bayes.unit_priors import unit_information
from lmmlib.book import report, simulate
from lmmlib.book.datasets import load
from lmmlib.cloning.clone import clone
from lmmlib.cloning.cloned import Cloned
from lmmlib.cloning.with_pymc import clone_pymc
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.design import Design
from lmmlib.design.formula import build_design
from lmmlib.equations import dense
from lmmlib.fitting.batch import Fits, fit_many
from lmmlib.glmm.fit import GlmmFit, fit_glmm
from lmmlib.inference.compare import Comparison, aic_table
from lmmlib.laplace import MarginalFit
from lmmlib.lmm.comparisons import compare
from lmmlib.lmm.fit import Fit, fit, fit_design
from lmmlib.residual.fit import ResidualFit
from lmmlib.several.fit import SeveralFit

__version__ = "0.1.0"

__all__ = [
    "Cloned",
    "Comparison",
    "CrossProducts",
    "Design",
    "Draws",
    "Fit",
    "Fits",
    "MarginalFit",
    "GlmmFit",
    "ResidualFit",
    "SeveralFit",
    "aic_table",
    "build_design",
    "clone",
    "clone_pymc",
    "compare",
    "cross_products",
    "dense",
    "equations",
    "errors",
    "fit",
    "fit_design",
    "fit_glmm",
    "fit_many",
    "laplace",
    "load",
    "plots",
    "priors",
    "report",
    "residual",
    "sample",
    "simulate",
    "unit_information",
]


def __getattr__(name: str):
    """Figures are imported when they are first asked for: matplotlib takes as long as all the rest."""
    if name == "plots":
        return import_module("lmmlib.book.plots")
    raise AttributeError(f"module 'lmmlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names of the face, without the rooms behind them."""
    return [*__all__, "__version__"]
