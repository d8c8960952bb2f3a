r"""Directions in which D and sigma2 change and the likelihood does not, and moves along them.

The variance of the data is linear, :math:`V = \sum_r\alpha_r\dot V_r` with
:math:`\alpha = (\mathrm{vech}\,D, \sigma^2)`, so whether alpha can be estimated is a question of linear algebra, not of
the values: a direction c with :math:`\sum_rc_r\dot V_r = 0` leaves V as it is. One observation in each group is the
plainest case: sigma2 goes up, tau2 comes down. On the line alpha + tc the posterior is proportional to the prior,
however many clones there are. So a move along the whole of the line is possible, where the steps of other samplers
shrink with the clones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lmmlib.bayes.conditionals import Model, State, draw_rates_D, entries_of
from lmmlib.bayes.noncentred import log_prior, lower
from lmmlib.design.cross import CrossProducts
from lmmlib.design.identify import unseen


@dataclass(frozen=True, eq=False)
class Ridge:
    """One direction: ``D`` (q, q) in the working basis and ``sigma2``."""

    D: np.ndarray
    sigma2: float


def ridges(cross: CrossProducts) -> list[Ridge]:
    r"""All directions in which V does not change, independent of each other; usually there are none.

    .. math:: \sum_rc_r\dot V_r = 0 \iff \sum_{r,s}c_rc_s\operatorname{tr}(\dot V_r\dot V_s) = 0
    """
    E = cross.D_directions(working=True)
    found = []
    for c in unseen(cross, fixed=False) if len(E) else ():
        c = c / np.abs(c).max() * (-1 if c[-1] < 0 else 1)
        found.append(Ridge(np.einsum("r,rab->ab", c[:-1], E), float(c[-1])))
    return found


def slide(rng: np.random.Generator, model: Model, state: State, ridge: Ridge) -> State:
    r"""The state moved along a ridge: to a place with an arcsine distribution on it, taken with the ratio of priors.

    The random effects, and the scales of the priors, are integrated out.
    """
    F = state.F if model.diagonal else lower(state.F)
    rates, at = _line(model, F, ridge)
    low, high = _stretch(rates, ridge.sigma2 / state.sigma2)
    bounded = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    # Near an end one of the variances is near zero, where priors of standard deviations have an infinite density.
    t = np.where(bounded, low + (high - low) * np.sin(np.pi / 2 * rng.random(len(low))) ** 2, 0.0)
    new, sigma2 = at(t), state.sigma2 + t * ridge.sigma2
    ratio = _log_density(model, replace(state, F=new, sigma2=sigma2)) - _log_density(model, replace(state, F=F))
    with np.errstate(divide="ignore"):
        ratio += (np.log((t - low) * (high - t)) - np.log(-low * high)) / 2
    accept = bounded & (np.log(rng.random(len(t))) < ratio)
    state = replace(state, F=np.where(accept, new, F), sigma2=np.where(accept, sigma2, state.sigma2))
    rates_sigma = model.sigma.draw_rates(rng, 1 / state.sigma2[None], 1)
    return replace(state, rates_sigma=rates_sigma, rates_D=draw_rates_D(rng, model, state.F))


def _line(model: Model, F: np.ndarray, ridge: Ridge) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Shares (C, q) by which D + tC changes with t, along its principal axes, and the function from t to its factor."""
    if model.diagonal:
        # The direction in the formula's basis, over the variances there.
        inverse = np.linalg.inv(model.Rz)
        c = np.diag(inverse @ ridge.D @ inverse.T)
        rates = (c[:, None] / entries_of(model, F) ** 2).T
    else:
        inverse = np.linalg.inv(F.transpose(2, 0, 1))
        rates, vectors = np.linalg.eigh(inverse @ ridge.D @ inverse.mT)

    def at(t: np.ndarray) -> np.ndarray:
        root = np.sqrt(np.maximum(1 + t[:, None] * rates, 0))
        return F * root.T if model.diagonal else lower(np.einsum("abc,cbd,cd->adc", F, vectors, root))

    return rates, at


def _stretch(rates: np.ndarray, of_sigma2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The t between which all 1 + t rate are positive, for rates (C, q) and those of sigma2 (C,)."""
    rates = np.concatenate([rates, of_sigma2[:, None]], axis=1)
    with np.errstate(divide="ignore"):
        low = np.where(rates > 0, -1 / rates, -np.inf).max(axis=1)
        high = np.where(rates < 0, -1 / rates, np.inf).min(axis=1)
    return low, high


def _log_density(model: Model, state: State) -> np.ndarray:
    """Log density (C,) of D and sigma2 under the priors, and of beta where that depends on sigma2."""
    with np.errstate(divide="ignore", invalid="ignore"):
        of_D = log_prior(model, entries_of(model, state.F)) - _log_jacobian(model, state.F)
        density = of_D + model.sigma.log_density(state.sigma2[None])[0]
        if model.has_zellner:
            away = state.beta - model.prior_mean
            square = np.einsum("xc,xy,yc->c", away, model.relative, away)
            density -= len(away) / 2 * np.log(state.sigma2) + square / (2 * state.sigma2)
    return np.where(np.isfinite(density), density, -np.inf)


def _log_jacobian(model: Model, F: np.ndarray) -> np.ndarray:
    """Logarithm of the volume of D in that of the entries of Lambda, up to a constant."""
    if model.diagonal:
        return np.log(np.abs(entries_of(model, F))).sum(axis=0)
    pivots = np.log(np.abs(np.diagonal(F.transpose(2, 0, 1), axis1=1, axis2=2)))
    return pivots @ np.arange(len(F), 0, -1)
