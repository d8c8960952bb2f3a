r"""Data cloning: maximum likelihood by a sampler of posteriors, at a cost that does not depend on the clones.

The posterior of K independent copies of the data,

.. math:: p(\theta \mid y^{(K)}) \propto L(\theta; y)^K\,p(\theta),

closes on the estimate by maximum likelihood as K grows, and its covariance times K on the inverse information:
equations :eq:`cloned-posterior` and :eq:`cloned-limit` of the book; Lele, Dennis and Lutscher (2007). Given the
parameters the K copies of :math:`b_i` are independent with one covariance C. The sweeps need no more of them than their
average, which has the covariance C/K, and their scatter, a Wishart matrix with K - 1 degrees of freedom: equations
:eq:`cloned-mean` and :eq:`cloned-scatter`, see :mod:`lmmlib.bayes.rotation`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lmmlib.bayes.chains import (
    MAX_MEMORY,
    Length,
    Plan,
    advance,
    cheap,
    checked_run,
    memory,
    model_of,
    require_memory,
    start,
)
from lmmlib.bayes.conditionals import Model, State
from lmmlib.bayes.diagnostics import readable
from lmmlib.bayes.draws import Draws
from lmmlib.bayes.noncentred import redraw_D
from lmmlib.bayes.priors import Priors
from lmmlib.bayes.sample import prepared
from lmmlib.cloning.gaussian import Gaussian, GaussianClones, improper_clones, result
from lmmlib.cloning.ridge import Ridge, ridges, slide
from lmmlib.common.arguments import checked_count, generator
from lmmlib.common.progress import progress_bar
from lmmlib.design.design import Design
from lmmlib.errors import ParameterError

PLAN = Plan(centred=False, blocked=True)
# Sweeps for each move that brings chains to a D near zero or near singular.
EVERY = 2
# As for samples: many short chains, from few starts, where they are cheap.
SHORT, LONG = Length(50, 200, 100, 4, 20), Length(500, 40, 300, 1, 40)


def clone(
    formula: str | Design,
    data: pd.DataFrame | None = None,
    n_clones: int | Sequence[int] = (1, 10, 25),
    priors: Priors | None = None,
    *,
    draws: int | None = None,
    chains: int | None = None,
    warmup: int | None = None,
    thin: int | None = None,
    starts: int | None = None,
    rng: int | np.random.Generator | None = None,
    missing: str = "error",
    drop: str | None = None,
    unidentified: str = "error",
    progress: bool | None = None,
    max_memory: float = MAX_MEMORY,
) -> GaussianClones:
    r"""Maximum likelihood, not REML, of a mixed model by data cloning.

    .. math:: \hat\theta \approx E(\theta \mid y^{(K)}), \qquad
        \operatorname{Var}(\hat\theta) \approx K\operatorname{Var}(\theta \mid y^{(K)})

    Equation :eq:`cloned-limit` of the book. A million clones cost what one costs. The chains start as far apart for
    many clones as for one, so that R-hat can see it if they do not find each other. If nothing is said of the length of
    the run, and chains are cheap as for :func:`lmmlib.sample`, there are for each K 200 chains of 50 draws, every
    fourth sweep after the first 100, 10 chains from each of 20 starting points, and R-hat is nested. Otherwise, and as
    soon as one of these numbers is given, the others are those of 40 longer chains.

    Parameters
    ----------
    formula : str or Design
        lme4 syntax with one grouping factor; see :func:`lmmlib.build_design`. Or a design, which has its data.
    data : DataFrame
    n_clones : int or sequence of int
        The K; two or more, from few to many, show whether the posterior shrinks as it should.
    priors : Priors, optional
        Their influence vanishes as 1/K. By default weakly informative, see :class:`lmmlib.priors.Priors`.
    draws, chains : int, optional
        Draws that are kept of each chain, 500, and chains, 40, for each K; two chains or more.
    warmup : int, optional
        Sweeps before the first that counts, 300.
    thin : int, optional
        Keep every so many-th, 1.
    starts : int, optional
        Starting points, of which each has as many chains; by default every chain has its own.
    rng : int or Generator, optional
        A whole number is the seed of a new generator.
    missing : {"error", "drop"}
    drop : {"dependent"}, optional
        Leave out columns of the fixed effects that are linear combinations of earlier ones, which are not
        estimable; the result names them as ``dropped``.
    unidentified : {"error", "allow"}
        Whether to go on when the data do not tell D and sigma2 apart, so that no number of clones will.
    progress : bool, optional
    max_memory : float
        Bytes that the draws for one K may take.

    Returns
    -------
    GaussianClones
        About the fixed effects, the entries of D and sigma2; :meth:`lmmlib.cloning.cloned.Cloned.on` chooses others.

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`.
    DesignError
        If the data, once the fixed effects are taken out, do not identify D and sigma2.
    ParameterError
        If a number is out of range, or the posterior is improper for every K; says which, and why.
    """
    K_all = checked_clones(n_clones)
    rng = np.random.default_rng() if rng is None else generator(rng)
    asked = (draws, chains, warmup, thin, starts)
    length = checked_run(LONG, *asked, several=True)
    design, cross, priors = prepared(formula, data, priors, missing, drop, unidentified)
    improper = improper_clones(cross, priors, K_all)
    kept, flat, model = {}, ridges(cross), model_of(cross, priors)
    proper = [K for K in K_all if K not in improper]
    length = SHORT if asked == (None,) * 5 and cheap(model) else length
    require_memory(model, length, max_memory)
    label, sweeps = f"cloning, {readable(memory(model, length))}", length.draws * length.thin
    with progress_bar((length.warmup + sweeps) * len(proper), label, progress) as update:
        for K in proper:
            model = model_of(cross, priors, n_clones=K)
            state = start(rng, cross, model, length.starts, length.chains // length.starts)
            taken = run(rng, model, state, flat, length.warmup, sweeps, length.thin, update)
            kept[K] = Draws.of_work(design, cross, priors, "cloned", length, None, *taken)
    return result(Gaussian(design, cross, priors, kept, flat), improper)


def run(rng, model: Model, state: State, flat: list[Ridge], warmup: int, sweeps: int, thin: int = 1, update=None):
    """Kept beta (T, p, C), F (T, q, q, C) and sigma2 (T, C) of all chains.

    A sweep is one of :func:`lmmlib.bayes.chains.sweep`; every other one is followed by a move of D to where it may be
    near zero, all of them by moves along the directions in which the likelihood is flat.
    """

    def moves(state: State, k: int) -> State:
        if len(state.F) and k % EVERY == 0:
            state = redraw_D(rng, model, state)
        for ridge in flat:
            state = slide(rng, model, state, ridge)
        return state

    return advance(rng, model, state, PLAN, sweeps, thin, warmup, update, moves)[1:]


def checked_clones(n_clones) -> tuple[int, ...]:
    """Numbers of clones in rising order, each once."""
    many = list(n_clones) if np.iterable(n_clones) and not isinstance(n_clones, str) else [n_clones]
    if not many:
        raise ParameterError("n_clones must be a whole number of at least 1, or several; got none")
    return tuple(sorted({checked_count("n_clones", K) for K in many}))
