r"""The Gibbs sampler of the Bayesian mixed model: many chains at once, from cross-products alone.

.. math:: y_i \mid b_i \sim N(X_i\beta + Z_ib_i, \sigma^2I), \qquad b_i \mid D \sim N(0, D), \qquad
    p(\beta, \sigma^2, D)

A sweep draws beta and b jointly given D and sigma2 (beta first, with b integrated out), then sigma2, then D. Of b the
other conditionals need sums over groups only, and these are drawn (:mod:`lmmlib.bayes.rotation`); b itself can be drawn
afterwards, see :meth:`lmmlib.bayes.draws.Draws.b`. Last, D is drawn once more in another way
(:mod:`lmmlib.bayes.noncentred`), so that chains do not stay where it is small.
"""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd

from lmmlib.bayes.chains import (
    LONG,
    MAX_MEMORY,
    SHORT,
    Plan,
    advance,
    cheap,
    checked_run,
    memory,
    model_of,
    require_memory,
    start,
)
from lmmlib.bayes.diagnostics import readable
from lmmlib.bayes.draws import Draws, Run
from lmmlib.bayes.priors import Priors
from lmmlib.bayes.propriety import require_proper
from lmmlib.bayes.rotation import Rotated
from lmmlib.common.arguments import generator
from lmmlib.common.progress import progress_bar
from lmmlib.design.cross import CrossProducts, cross_products
from lmmlib.design.design import Design
from lmmlib.design.formula import build_design
from lmmlib.design.identify import require_allowed
from lmmlib.errors import DesignError, ParameterError


def sample(
    formula: str | Design,
    data: pd.DataFrame | None = None,
    priors: Priors | None = None,
    *,
    draws: int | None = None,
    chains: int | None = None,
    warmup: int | None = None,
    thin: int | None = None,
    starts: int | None = None,
    parametrisation: str = "standard",
    blocked: bool | None = None,
    interweave: bool = True,
    rng: int | np.random.Generator | None = None,
    missing: str = "error",
    drop: str | None = None,
    unidentified: str = "error",
    progress: bool | None = None,
    max_memory: float = MAX_MEMORY,
) -> Draws:
    r"""Draws from the posterior distribution of a mixed model, by Gibbs sampling.

    .. math:: p(\beta, b, D, \sigma^2 \mid y)

    Equation :eq:`joint-posterior` of the book for the model :eq:`three-stage-model`. Chains share each operation, so
    hundreds cost little more than four where groups are few or alike. The length of the run is then, if nothing is said
    of it, 400 chains of 50 draws, every fourth sweep after the first 100, 20 chains from each of 20 starting points far
    apart. Such chains are too short to agree one by one; whether the *starts* are forgotten is what the nested R-hat
    says, see :meth:`lmmlib.bayes.draws.Draws.diagnostics`. Otherwise, and as soon as one of these numbers is given, the
    others are those of four long chains. The same ``rng`` gives the same draws.

    Parameters
    ----------
    formula : str or Design
        lme4 syntax with one grouping factor; see :func:`lmmlib.build_design`. Or a design, which has its data.
    data : DataFrame
    priors : Priors, optional
        By default weakly informative, see :class:`lmmlib.priors.Priors`.
    draws, chains : int, optional
        Draws that are kept of each chain, 1000, and chains, 4.
    warmup : int, optional
        Sweeps before the first that counts, 500.
    thin : int, optional
        Keep every so many-th, 1.
    starts : int, optional
        Starting points, of which each has as many chains; by default every chain has its own.
    parametrisation : {"standard", "centred"}
        Centred: the sampler of :eq:`centred-model`, that draws group coefficients :math:`A_i\beta + b_i` given beta
        and beta given these; the columns of X must be in the span of those of Z in each group.
    blocked : bool, optional
        Draw beta and b jointly: the default when not centred. False draws b given beta and beta given b.
    interweave : bool
        Draw D a second time, given the standardised effects (:func:`lmmlib.bayes.noncentred.redraw_D`), in each sweep;
        in half of them with several random columns. Chains then pass through a D near zero or near singular. False is
        the textbook's sampler.
    rng : int or Generator, optional
        A whole number is the seed of a new generator.
    missing : {"error", "drop"}
    drop : {"dependent"}, optional
        Leave out columns of the fixed effects that are linear combinations of earlier ones, for which only
        proper priors have an answer; the result names them as ``dropped``.
    unidentified : {"error", "allow"}
        Whether to go on when the data do not tell D and sigma2 apart, so that the priors alone decide.
    progress : bool, optional
        Show a bar; by default when a person watches and it takes a while.
    max_memory : float
        Bytes that the run may take.

    Returns
    -------
    Draws

    Raises
    ------
    FormulaError, DataError
        As :func:`lmmlib.build_design`.
    DesignError
        If the data, once the fixed effects are taken out, do not identify D and sigma2.
    ParameterError
        If the posterior is improper, centring is impossible, or the draws would not fit into memory; says which.
    """
    plan = Plan.of(parametrisation, blocked, interweave)
    rng = np.random.default_rng() if rng is None else generator(rng)
    asked = (draws, chains, warmup, thin, starts)
    length = checked_run(LONG, *asked)
    design, cross, priors = prepared(formula, data, priors, missing, drop, unidentified)
    require_proper(cross, priors)
    model = model_of(cross, priors)
    if plan.centred:
        require_spanned(cross, model.data)
    length = SHORT if asked == (None,) * 5 and cheap(model) else length
    require_memory(model, length, max_memory)
    effects_seed = int(rng.integers(2**63))
    state = start(rng, cross, model, length.starts, length.chains // length.starts)
    label, sweeps = f"sampling, {readable(memory(model, length))}", length.draws * length.thin
    with progress_bar(length.warmup + sweeps, label, progress) as update:
        state, *kept = advance(rng, model, state, plan, sweeps, length.thin, length.warmup, update)
    run = Run(plan, state, copy.deepcopy(rng), effects_seed)
    return Draws.of_work(design, cross, priors, parametrisation, length, run, *kept)


def prepared(
    formula: str | Design, data, priors: Priors | None, missing: str, drop: str | None, unidentified: str
) -> tuple[Design, CrossProducts, Priors]:
    """What a sampler works with: the design, its cross-products, and priors that are resolved."""
    design = formula if isinstance(formula, Design) else build_design(formula, data, missing=missing, drop=drop)
    if not design.z_names and design.grouping == "all":
        raise DesignError(
            "the formula has no random term, such as + (1 | g); (0 | g) keeps the groups without random effects"
        )
    if not isinstance(priors, Priors | None):
        raise ParameterError(f"priors must be lmmlib.priors.Priors(beta=..., sigma=..., D=...); got {priors!r}")
    cross = cross_products(design)
    require_allowed(cross, design.grouping, unidentified)
    return design, cross, (priors or Priors()).resolved(cross)


def require_spanned(cross: CrossProducts, data: Rotated) -> None:
    """Raise unless the columns of X are combinations of those of Z in each group, as centring needs."""
    p, total = len(cross.x_names), np.diagonal(data.WtW, axis1=1, axis2=2)
    left = np.diagonal(data.within, axis1=1, axis2=2)
    outside = [x for j, x in enumerate(cross.x_names) if (left[:, j] > 1e-9 * total[:, j]).any()]
    if p == 0 or not cross.z_names:
        raise DesignError("the centred parametrisation needs fixed effects and random effects")
    if outside:
        raise DesignError(
            f"the centred parametrisation needs X_i = Z_i A_i, and {', '.join(outside)} is no combination of "
            f"{', '.join(cross.z_names)} within the groups; add it to the random columns, or use "
            'parametrisation="standard"'
        )
