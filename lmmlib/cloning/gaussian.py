"""Clones of a Gaussian model: what linear algebra knows of them, before and beside their draws.

Which K have a posterior at all; the directions in which the likelihood is flat; and the eigenvalues of D that vanish.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from lmmlib.bayes.priors import Priors
from lmmlib.bayes.propriety import require_proper
from lmmlib.cloning import estimability, prediction
from lmmlib.cloning.cloned import Cloned
from lmmlib.cloning.prediction import ClonePrediction
from lmmlib.cloning.source import Gaussian
from lmmlib.design.basis import Sums, vectors_back
from lmmlib.design.cross import CrossProducts
from lmmlib.design.dependent import left_out
from lmmlib.design.design import Design
from lmmlib.equations.information import directions
from lmmlib.equations.weighted import weigh
from lmmlib.errors import ParameterError

# Groups of the clones that are formed to see whether their posterior is proper.
MANY = 20_000
# An eigenvalue of a scaled information matrix that is zero up to rounding.
FLAT = 1e-10


@dataclass(frozen=True, eq=False, repr=False)
class GaussianClones(Cloned):
    """Clones of a Gaussian model; what :class:`lmmlib.cloning.cloned.Cloned` holds, and the random effects.

    Attributes
    ----------
    source : Gaussian
        What the draws were made from.
    """

    source: Gaussian = field(repr=False, kw_only=True)

    @property
    def design(self) -> Design:
        """The design of the formula."""
        return self.source.design

    def fixed_effects(self, level: float = 0.95) -> pd.DataFrame:
        """The limits of all fixed effects: ``estimate``, ``se``, ``lower``, ``upper``."""
        return replace(self, about={name: name for name in self.source.cross.x_names}).confint(level)

    def random_effects(self, level: float = 0.95, *, size: int = 1000, rng: int | np.random.Generator) -> pd.DataFrame:
        """:meth:`posterior_of_b` as a frame: ``group``, ``term``, ``estimate``, ``se``, ``lower``, ``upper``."""
        return self.posterior_of_b(size, rng).frame(level)

    def normal_law(self) -> tuple[pd.Series, pd.DataFrame]:
        """:func:`lmmlib.cloning.prediction.normal_law`: what cloning knows of the parameters."""
        return prediction.normal_law(self.source, self._of_all())

    def posterior_of_b(self, size: int, rng: int | np.random.Generator) -> ClonePrediction:
        """:func:`lmmlib.cloning.prediction.posterior_of_b`: random effects, with the error of the estimates in them."""
        return prediction.posterior_of_b(self.source, self._of_all(), size, rng)

    def data_twice(self, size: int, rng: int | np.random.Generator) -> ClonePrediction:
        """:func:`lmmlib.cloning.prediction.data_twice`: the same, wrong on request."""
        return prediction.data_twice(self.source, self._of_all(), size, rng)

    def _of_all(self) -> pd.DataFrame:
        """Verdicts of fixed effects, entries of D and sigma2, whatever this result is about."""
        cross = self.source.cross
        return self.on(*cross.x_names, *cross.variance_names).verdicts()

    def _on_the_edge(self) -> np.ndarray:
        """Those that change with a D that is not diagonal: all its entries feel that it tends to be singular."""
        cross, frame = self.source.cross, self.frames[self.n_clones[-1]].copy()
        if not cross.diagonal:
            of_D = [c for c in frame if c not in cross.x_names and c not in ("sigma", "sigma2")]
            frame[of_D] = frame[of_D].to_numpy()[::-1]
        return (self._values(frame) != self.draws()).any().to_numpy()

    def _remarks(self) -> list[str]:
        remarks = super()._remarks()
        if self.edge and not remarks:
            rank = self.source.rank - self.edge
            remarks.append(f"D tends to a matrix of rank {rank}: it has no standard errors there")
        return [*left_out(self.design), *remarks]


def result(source: Gaussian, improper: dict[int, str]) -> GaussianClones:
    """The draws as frames, and what linear algebra knows of the model."""
    edge, first = vanishing(source), next(iter(source.draws.values()))
    return GaussianClones(
        title=source.design.formula or source.design.response,
        frames={K: drawn.frame() for K, drawn in source.draws.items()},
        about={name: name for name in (*source.cross.x_names, *source.cross.variance_names)},
        chains=first.chains,
        starts=first.starts,
        improper=improper,
        lines=tuple(flat_lines(source)),
        edge=edge,
        away=distance(source, edge),
        source=source,
    )


def distance(source: Gaussian, edge: int = 0) -> float:
    r"""How far the estimates are from the maximum of the likelihood, in standard errors.

    .. math:: \sqrt{s'I^{-1}s}

    with the score s and the expected information I of one data set at the posterior means for the most clones: zero up
    to the terms in 1/K that cloning leaves, unless the prior still rules. Directions in which the likelihood is flat
    have no part in it; nor does D where it tends to a singular matrix, since the score need not vanish there.
    ``edge`` is :func:`vanishing`.
    """
    cross, (beta, D, sigma2) = source.cross, source.center
    w, (there, gone) = weigh(cross, D, sigma2), _combinations(cross)
    score = w.XtVy - w.XtVX @ cross.basis.beta_work(beta)
    squared = _squared(there.T @ score, there.T @ w.XtVX @ there)
    if gone.size:
        return float(np.sqrt(squared))
    d, first = directions(cross, D, sigma2, beta, working=True), -1 if edge else 0
    score = (d.P[:, -1, -1] - d.trace1) / 2
    return float(np.sqrt(squared + _squared(score[first:], d.trace2[first:, first:] / 2)))


def _squared(score: np.ndarray, information: np.ndarray) -> float:
    """s'I^-1 s, in the directions in which there is information."""
    unit = np.sqrt(np.where(np.diag(information) > 0, np.diag(information), 1.0))
    values, vectors = np.linalg.eigh(information / np.outer(unit, unit))
    along = (score / unit) @ vectors
    return float(np.sum(along[values > FLAT] ** 2 / values[values > FLAT]))


def vanishing(source: Gaussian) -> int:
    """How many eigenvalues of D, relative to sigma2, tend to zero: those whose logarithm does not settle as K grows.

    Where the likelihood is flat or the clones are too few to tell, none.
    """
    K_all = tuple(source.draws)
    before, q, Rz = estimability.reference(K_all), source.rank, source.cross.basis.Rz
    if before is None or not q or source.flat:
        return 0
    inverse, logs = np.linalg.inv(Rz), []
    for K in (before, K_all[-1]):
        drawn = source.draws[K]
        D = drawn.D.reshape(-1, q, q) / drawn.sigma2.reshape(-1, 1, 1)
        diagonal = np.diagonal(D, axis1=1, axis2=2) / (inverse**2).sum(axis=1)
        values = diagonal if source.cross.diagonal else np.linalg.eigvalsh(Rz @ D @ Rz.T)
        logs.append(np.log(np.maximum(values, np.finfo(float).tiny)))
    few, many = map(estimability.spread, logs)
    rate = estimability.falling(few, many, K_all[-1] / before)
    return int(((rate < estimability.FALLING) & (many > 0.25)).sum())


def flat_lines(source: Gaussian) -> Iterator[pd.DataFrame]:
    """For each direction in which the likelihood does not change, two points on it beside the estimates.

    First directions of D and sigma2, then combinations of beta that X turns into zero.
    """
    cross, (beta, D, sigma2), ends = source.cross, source.center, np.array([-0.5, 0.5])
    for ridge in source.flat:
        change, root = cross.basis.D_back(ridge.D), np.linalg.inv(np.linalg.cholesky(D))
        steepest = max(np.abs(np.linalg.eigvalsh(root @ change @ root.T)).max(), abs(ridge.sigma2) / sigma2)
        t = ends / steepest
        yield source.points(beta, D + t[:, None, None] * change, sigma2 + t * ridge.sigma2)
    for v in _combinations(cross)[1].T:
        yield source.points(beta + np.outer(ends, vectors_back(cross.basis.Rx, v)), D, sigma2)


def _combinations(cross: CrossProducts) -> tuple[np.ndarray, np.ndarray]:
    """Combinations (p, any number) of the working columns of X, orthogonal: those that are there, those that vanish."""
    values, vectors = np.linalg.eigh(cross.work.XtX / cross.n_obs)
    return vectors[:, values >= FLAT], vectors[:, values < FLAT]


def improper_clones(cross: CrossProducts, priors: Priors, K_all: tuple[int, ...]) -> dict[int, str]:
    """The K for which the posterior is improper, with the reason: more clones may mend what one lacks.

    Raises
    ------
    ParameterError
        If it is improper for all of them.
    """
    found = {}
    for K in K_all:
        try:
            require_proper(copies(cross, min(K, max(2, MANY // max(cross.n_groups, 1)))), priors)
        except ParameterError as error:
            found[K] = str(error)
        else:
            return found  # and so it is for more
    raise ParameterError(f"for n_clones = {', '.join(f'{K:,}' for K in K_all)}: {found[K_all[0]]}")


def copies(cross: CrossProducts, n_clones: int) -> CrossProducts:
    """Cross-products of K copies of the data, each with groups of its own: what cloning by hand would form."""
    if n_clones == 1:
        return cross
    K, places = n_clones, np.arange(n_clones * cross.n_groups).reshape(n_clones, -1)
    names = tuple((k, name) for k in range(K) for name in cross.group_names)
    many = Sums.joined([cross.work] * K, list(places), places.size)
    return replace(cross, work=many, n_i=np.tile(cross.n_i, K), group_names=names)
