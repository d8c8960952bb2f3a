r"""Random effects after data cloning: what is known of them when the parameters are known up to N(theta_hat, I^-1).

Cloning leaves K random effects for each group, none of which is the group's own. They are predicted in a second step,
from the estimates and their covariance. The parameters there are the fixed effects, log sigma and the logarithms of
standard deviations; for a full D the entries of its Cholesky factor, with logarithms on the diagonal.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lmmlib.cloning.estimability import ESTIMABLE
from lmmlib.cloning.source import Gaussian
from lmmlib.common.arguments import checked_count, generator
from lmmlib.design.cross import CrossProducts
from lmmlib.equations.effects import labelled
from lmmlib.equations.likelihood import loglik
from lmmlib.errors import ParameterError
from lmmlib.prediction.empirical_bayes import Posterior
from lmmlib.prediction.mixture import averaged

# Covariance of the proposals of the second use of the data, over that of its answer: a half, and some room.
ROOM = 0.65


class DataTwiceWarning(UserWarning):
    """A method that uses the data twice, on request."""


@dataclass(frozen=True, eq=False, repr=False)
class ClonePrediction(Posterior):
    """Random effects of every group after cloning, as :class:`lmmlib.prediction.empirical_bayes.Posterior`.

    Attributes
    ----------
    of_parameters : DataFrame
        ``mean`` and ``sd`` of the parameters that went into it.
    """

    of_parameters: pd.DataFrame = field(default=None, repr=False)


def normal_law(source: Gaussian, verdicts: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    r"""Mean and covariance of what cloning knows of the parameters, :math:`N(\hat\theta, I^{-1})`.

    Posterior mean and K times the posterior covariance at the largest K, on scales without bounds.

    Parameters
    ----------
    source : Gaussian
    verdicts : DataFrame
        :meth:`lmmlib.cloning.cloned.Cloned.verdicts` of all parameters.

    Returns
    -------
    tuple of Series, DataFrame

    Raises
    ------
    ParameterError
        If there are no random effects, or a parameter is not estimable: at a boundary, in a direction in which the
        likelihood is flat, or because chains have not converged.
    """
    if not source.rank:
        raise ParameterError("the model has no random effects to predict")
    bad = verdicts.index[verdicts["verdict"] != ESTIMABLE]
    if len(bad):
        raise ParameterError(
            f"N(theta_hat, I^-1) does not hold for {bad[0]}: {verdicts.loc[bad[0], 'verdict']}. Predictions need "
            "estimates of all parameters in the interior; at a boundary use "
            "lmmlib.prediction.empirical_bayes.laird_louis"
        )
    K = max(source.draws)
    drawn, many = source.draws[K], source.draws[K].sigma2.size
    beta, D = drawn.beta.reshape(many, -1), drawn.D.reshape(many, source.rank, source.rank)
    free = pd.DataFrame(_unbounded(source.cross, beta, D, drawn.sigma2.ravel()), columns=free_names(source.cross))
    return free.mean(), K * free.cov()


def posterior_of_b(
    source: Gaussian, verdicts: pd.DataFrame, size: int, rng: int | np.random.Generator
) -> ClonePrediction:
    r"""Random effects, the parameters being known up to the error of their estimates.

    .. math:: p(b_i \mid y) \approx \frac1S\sum_s p(b_i \mid y, \theta_s), \qquad
        \theta_s \sim N(\hat\theta, I(\hat\theta)^{-1})

    Equation :eq:`clone-prediction` of the book, with theta on a scale without bounds (logarithms, and the Cholesky
    factor of D), as in :func:`normal_law`. Nothing flows back: the data had their say on theta in the estimates.

    Parameters
    ----------
    source, verdicts : Gaussian, DataFrame
        As for :func:`normal_law`.
    size : int
        Number of draws S.
    rng : Generator

    Returns
    -------
    ClonePrediction
        A mixture of normal distributions for each random effect.

    Raises
    ------
    ParameterError
        As :func:`normal_law`.
    """
    size = checked_count("size", size)
    rng = generator(rng)
    center, cov = normal_law(source, verdicts)
    theta = center.to_numpy() + rng.standard_normal((size, len(center))) @ np.linalg.cholesky(cov.to_numpy()).T
    return _mixture(source, theta, np.ones(size), f"data cloning, {size} draws of the parameters")


def data_twice(source: Gaussian, verdicts: pd.DataFrame, size: int, rng: int | np.random.Generator) -> ClonePrediction:
    r"""The prediction of document 000: :math:`N(\hat\theta, I^{-1})` as the prior of a new analysis of the same data.

    .. math:: p(\theta) \propto N(\theta;\, \hat\theta, I(\hat\theta)^{-1})\,L(\theta; y)
        \approx N(\hat\theta, \tfrac12I(\hat\theta)^{-1})

    The data that gave the estimates are used again, equation :eq:`data-twice` of the book, so that the standard
    deviations of the parameters shrink by the root of two, and intervals are too short. It is here to be compared with
    :func:`posterior_of_b`, which is right. Computed with weights for draws from a normal distribution near the one
    above.

    Parameters
    ----------
    source, verdicts : Gaussian, DataFrame
    size : int
    rng : Generator

    Returns
    -------
    ClonePrediction

    Warns
    -----
    DataTwiceWarning
        Always.
    """
    text = "the data are used twice: intervals will be too short; posterior_of_b() is right"
    warnings.warn(text, DataTwiceWarning, 3)
    size = checked_count("size", size)
    rng = generator(rng)
    center, cov = normal_law(source, verdicts)
    z = np.sqrt(ROOM) * rng.standard_normal((size, len(center)))
    theta = center.to_numpy() + z @ np.linalg.cholesky(cov.to_numpy()).T
    log_likelihood = np.array([loglik(source.cross, *at) for at in zip(*_values(source.cross, theta), strict=True)])
    # The prior N(theta_hat, I^-1) over the density of the proposals.
    log_weight = log_likelihood - (1 - 1 / ROOM) * (z**2).sum(axis=1) / 2
    weights = np.exp(log_weight - log_weight.max())
    return _mixture(source, theta, weights, f"data used twice, {size} draws of the parameters")


def free_names(cross: CrossProducts) -> list[str]:
    """Names of the parameters on scales without bounds."""
    z = cross.z_names
    if _is_diagonal(cross):
        return [*cross.x_names, *(f"log sd {name}" for name in z), "log sigma"]
    entries = [f"log chol[{z[a]}]" if a == b else f"chol[{z[a]}, {z[b]}]" for a, b in np.argwhere(np.tri(len(z)))]
    return [*cross.x_names, *entries, "log sigma"]


def _is_diagonal(cross: CrossProducts) -> bool:
    return cross.diagonal or len(cross.z_names) == 1


def _unbounded(cross: CrossProducts, beta, D, sigma2) -> np.ndarray:
    """The parameters on scales without bounds, (S, k)."""
    q = len(cross.z_names)
    if _is_diagonal(cross):
        of_D = np.log(np.diagonal(D, axis1=1, axis2=2)) / 2
    else:
        L = np.linalg.cholesky(D)
        L[:, range(q), range(q)] = np.log(L[:, range(q), range(q)])
        of_D = L[:, *np.tril_indices(q)]
    return np.column_stack([beta, of_D, np.log(sigma2) / 2])


def _values(cross: CrossProducts, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What :func:`_unbounded` came from: beta (S, p), D (S, q, q), sigma2 (S,)."""
    p, q = len(cross.x_names), len(cross.z_names)
    of_D = theta[:, p:-1]
    if _is_diagonal(cross):
        D = np.exp(2 * of_D)[:, :, None] * np.eye(q)
    else:
        L = np.zeros((len(theta), q, q))
        L[:, *np.tril_indices(q)] = of_D
        L[:, range(q), range(q)] = np.exp(L[:, range(q), range(q)])
        D = L @ L.mT
    return theta[:, :p], D, np.exp(2 * theta[:, -1])


def _mixture(source: Gaussian, theta: np.ndarray, weights: np.ndarray, method: str) -> ClonePrediction:
    """The average of p(b | y, theta) over draws of theta with weights."""
    cross, weights = source.cross, weights / weights.sum()
    b, cov, mixture = averaged(cross, *_values(cross, theta), weights)
    mean = weights @ theta
    moments = pd.DataFrame({"mean": mean, "sd": np.sqrt(weights @ (theta - mean) ** 2)}, free_names(cross))
    return ClonePrediction(labelled(source.design, b), cov, method, mixture, of_parameters=moments)
