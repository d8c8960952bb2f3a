r"""Simulated data: the examples whose truth the book knows, and new responses for any design.

Every function draws from the ``numpy.random.Generator`` that it is given, the random effects
first, then the residuals. :data:`RECIPES` are the simulated data sets that chapters share, each
with its seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from lmmlib.common.arguments import (
    checked_at_least_zero,
    checked_finite,
    checked_sigma2,
    checked_sizes,
    generator,
    numbers,
    require_known,
)
from lmmlib.equations.drawing import lmm as lmm  # new responses of any design: for a reader they belong here
from lmmlib.equations.drawing import responses


def neyman_scott(
    rng: np.random.Generator | int, *, n_groups: int, n_i: int | Sequence[int], mu: float, sigma2: float, tau2: float
) -> pd.DataFrame:
    r"""One mean per group.

    .. math:: y_{ij} = \mu + \alpha_i + \varepsilon_{ij}, \quad
        \alpha_i \sim N(0, \tau^2), \quad \varepsilon_{ij} \sim N(0, \sigma^2)

    Equation :eq:`neyman-scott-model` of the book, with random alpha_i.

    Parameters
    ----------
    rng : Generator, or int, its seed
    n_groups : int
        Number of groups, >= 1.
    n_i : int, or (n_groups,) ints
        Observations in every group, or in each, >= 1.
    mu : float
        Overall mean.
    sigma2, tau2 : float
        Variances of the errors (> 0) and of the alpha_i (>= 0).

    Returns
    -------
    DataFrame
        ``group`` (0, 1, ...), ``y``, and ``alpha``, the true alpha_i of the row's group; groups together.

    Raises
    ------
    ParameterError
        If a parameter is outside its domain; names it.
    """
    sizes = checked_sizes(n_groups, n_i)
    rng, sd = generator(rng), np.sqrt(checked_sigma2(sigma2))
    alpha = rng.standard_normal(len(sizes)) * np.sqrt(checked_at_least_zero("tau2", tau2))
    group = np.repeat(np.arange(len(sizes)), sizes)
    y = checked_finite("mu", mu, ()) + alpha[group] + sd * rng.standard_normal(len(group))
    return pd.DataFrame({"group": group, "y": y, "alpha": alpha[group]})


def growth_curves(
    rng: np.random.Generator | int, *, n_groups: int, times: Sequence[float], beta, D, sigma2: float
) -> pd.DataFrame:
    r"""One straight line per group.

    .. math:: y_{ij} = (\beta_0 + b_{i0}) + (\beta_1 + b_{i1}) t_j + \varepsilon_{ij}, \quad
        b_i \sim N(0, D), \quad \varepsilon_{ij} \sim N(0, \sigma^2)

    Equation :eq:`lmm` of the book with the columns 1 and t in both X_i and Z_i.

    Parameters
    ----------
    rng : Generator, or int, its seed
    n_groups : int
        Number of groups, >= 1.
    times : (n_i,) floats
        The times at which every group is measured.
    beta : (2,) floats
        Mean intercept and slope.
    D : (2, 2) array
        Covariance of (b_i0, b_i1), positive semidefinite; may be singular.
    sigma2 : float
        Residual variance, > 0.

    Returns
    -------
    DataFrame
        ``group`` (0, 1, ...), ``time``, ``y``; groups together, times in the given order.

    Raises
    ------
    ParameterError
        If a parameter is outside its domain or of the wrong shape; names it.
    """
    each = numbers(times, "times")
    sizes = checked_sizes(n_groups, each.size)
    group = np.repeat(np.arange(len(sizes)), sizes)
    t = np.tile(checked_finite("times", each, (each.size,)), len(sizes))
    X = np.column_stack([np.ones_like(t), t])
    y = responses(rng, X, X, group, n_groups, beta, D, sigma2, 1)[:, 0]
    return pd.DataFrame({"group": group, "time": t, "y": y})


def counts(
    rng: np.random.Generator | int, *, n_groups: int, n_i: int | Sequence[int], mu: float, sigma: float
) -> pd.DataFrame:
    r"""Counts at sites of different abundance.

    .. math:: c_{ij} \sim \mathrm{Poisson}(d_i), \quad \log d_i \sim N(\mu, \sigma^2)

    Parameters
    ----------
    rng : Generator, or int, its seed
    n_groups : int
        Number of sites, >= 1.
    n_i : int, or (n_groups,) ints
        Counts at every site, or at each, >= 1.
    mu, sigma : float
        Mean and standard deviation (>= 0) of the log abundance.

    Returns
    -------
    DataFrame
        ``site`` (0, 1, ...) and ``count``; sites together.

    Raises
    ------
    ParameterError
        If a parameter is outside its domain; names it.
    """
    rng, sizes = generator(rng), checked_sizes(n_groups, n_i)
    log_d = checked_finite("mu", mu, ()) + checked_at_least_zero("sigma", sigma) * rng.standard_normal(len(sizes))
    site = np.repeat(np.arange(len(sizes)), sizes)
    return pd.DataFrame({"site": site, "count": rng.poisson(np.exp(log_d[site]))})


@dataclass(frozen=True)
class Recipe:
    """A named simulated data set: ``function(default_rng(seed), **parameters)``."""

    name: str
    function: Callable
    parameters: Mapping
    seed: int
    description: str


_NEYMAN_SCOTT = {"n_groups": 100, "mu": 2.5, "sigma2": 0.04, "tau2": 0.25}
_GROWTH = {"n_groups": 30, "times": (0, 1, 2, 3, 4), "beta": (20.0, 5.0), "D": ((9.0, 1.5), (1.5, 1.0)), "sigma2": 4.0}
_COUNTS = {"mu": 2.0, "sigma": 1.0}
_TOLD = "100 groups with one observation each: sigma2 and tau2 cannot be told apart"
_MADE = (
    Recipe("neyman-scott-m1", neyman_scott, {**_NEYMAN_SCOTT, "n_i": 1}, 1948, _TOLD),
    Recipe("neyman-scott-m2", neyman_scott, {**_NEYMAN_SCOTT, "n_i": 2}, 1948, "100 groups with two observations each"),
    Recipe("growth", growth_curves, _GROWTH, 1982, "heights in cm of 30 seedlings, weeks 0 to 4"),
    Recipe("counts-4x2", counts, {**_COUNTS, "n_groups": 4, "n_i": 2}, 1993, "two counts at each of 4 sites"),
    Recipe("counts-50x10", counts, {**_COUNTS, "n_groups": 50, "n_i": 10}, 1993, "ten counts at each of 50 sites"),
)
#: The simulated data sets of the book, by name.
RECIPES = MappingProxyType({made.name: made for made in _MADE})


def recipe(name: str) -> pd.DataFrame:
    """The data set of a recipe, the same at every call; ParameterError lists the names if there is none."""
    require_known("recipe", name, RECIPES)
    made = RECIPES[name]
    return made.function(np.random.default_rng(made.seed), **made.parameters)
