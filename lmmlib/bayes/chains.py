r"""Markov chains of the Gibbs sampler: one sweep of all chains, where they start, and how they go on.

The blocks are :mod:`lmmlib.bayes.conditionals`; here is their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from lmmlib.bayes.conditionals import (
    Effects,
    Model,
    State,
    at_beta,
    beta_given_b,
    beta_given_data,
    beta_given_gamma,
    draw_beta,
    draw_D,
    draw_effects,
    draw_sigma2,
    half,
    residual_squares,
)
from lmmlib.bayes.diagnostics import readable
from lmmlib.bayes.noncentred import redraw_D
from lmmlib.bayes.priors import Priors
from lmmlib.bayes.rotation import rotate
from lmmlib.common.arguments import checked_choice, checked_count, checked_limit
from lmmlib.design.cross import CrossProducts
from lmmlib.design.responses import Responses
from lmmlib.errors import ParameterError

SCHEMES = ("standard", "centred")
# Bytes of draws above which a run is refused before it starts.
MAX_MEMORY = 2_000_000_000
# Sweeps between two steps of the progress bar.
STRIDE = 50
LOST = (
    "a chain left the range of floating-point numbers: the ratio of D to sigma2, or a prior, is beyond what squares "
    "can hold; are the priors in squared units of the response?"
)


# Entries of Z_i'[X_i, y_i] of all rotated groups up to which a sweep of 400 chains takes at most four of 4 chains.
CHEAP = 100


@dataclass(frozen=True)
class Length:
    """Draws that are kept of each chain, chains, sweeps before, sweeps for each draw, and where chains start."""

    draws: int
    chains: int
    warmup: int
    thin: int
    starts: int


# Many short chains where they are cheap; few long ones elsewhere.
SHORT, LONG = Length(50, 400, 100, 4, 20), Length(1000, 4, 500, 1, 4)


@dataclass(frozen=True)
class Plan:
    """How the blocks are drawn: with beta and b jointly, or one given the other; b centred or not; D once more."""

    centred: bool
    blocked: bool
    interweave: bool = False

    @classmethod
    def of(cls, parametrisation: str, blocked: bool | None, interweave: bool = True) -> Plan:
        """From the arguments of :func:`sample`."""
        checked_choice("parametrisation", parametrisation, SCHEMES)
        checked_choice("blocked", blocked, (None, True, False))
        checked_choice("interweave", interweave, (True, False))
        centred = parametrisation == "centred"
        if centred and blocked:
            raise ParameterError(
                "when beta and b are drawn jointly, centring changes nothing: the draws of beta, D and sigma2 have one "
                "distribution either way. Leave blocked out, or use the standard parametrisation"
            )
        return cls(centred, not centred if blocked is None else bool(blocked), bool(interweave))


def beta_and_effects(rng, model: Model, state: State, plan: Plan) -> tuple[State, Effects]:
    """The first block of a sweep: a state with a new beta, and random effects."""
    H = half(model.data.ZtZ, state.F, state.sigma2)
    if plan.blocked:
        state = draw_beta(rng, beta_given_data(model, state, H), state)
        return state, draw_effects(rng, model, state, H)
    effects = draw_effects(rng, model, state, H)
    if not plan.centred:
        return draw_beta(rng, beta_given_b(model, state, effects.b), state), effects
    own = model.data.own
    before = at_beta(own, state.beta)
    state = draw_beta(rng, beta_given_gamma(model, state, effects.b + own[:, -1] - before), state)
    # The centred effects stay; b is what beta leaves of them.
    return state, replace(effects, b=effects.b + at_beta(own, state.beta) - before)


def sweep(rng, model: Model, state: State, plan: Plan) -> State:
    """One sweep of all chains: beta and b, then sigma2, then D given b, and D given the standardised effects."""
    state, effects = beta_and_effects(rng, model, state, plan)
    state = draw_sigma2(rng, model, state, residual_squares(model, state.beta, effects))
    if not len(state.F):
        return state
    state = draw_D(rng, model, state, effects.sum_of_squares())
    # For several random columns the second draw costs as much as the sweep, and half of the time does as well.
    again = plan.interweave and (len(state.F) == 1 or rng.random() < 0.5)
    return redraw_D(rng, model, state) if again else state


def start(rng, cross: CrossProducts, model: Model, chains: int, each: int = 1) -> State:
    """Starting points that differ, variances over two orders of magnitude around what the response has.

    ``each`` chains begin at each of them, side by side.
    """
    p, q, data = len(cross.x_names), len(cross.z_names), model.data
    total = np.maximum(data.WtW[:, p, p] / data.n_obs, np.finfo(float).tiny)
    unit = np.broadcast_to(total, (chains,))
    sigma2 = unit * np.exp(rng.uniform(-2.5, 0.5, chains))
    d = unit * np.exp(rng.uniform(-4, 1, (q, chains)))
    F = np.sqrt(d) * np.eye(q)[..., None]
    if model.diagonal and q:
        F = model.Rz[..., None] * (np.sqrt(d) / np.linalg.norm(model.Rz, axis=0)[:, None])
    spread = 2 * np.sqrt(unit / cross.n_obs + unit / max(cross.n_groups, 1))
    beta = spread * rng.standard_normal((p, chains))
    state = State(beta, F, sigma2, np.zeros((1, chains)), np.zeros((q, chains)))
    rates_D = np.zeros((q, chains))
    if q:
        inverse = np.linalg.inv(model.columns)
        rates_D = model.D.draw_rates(rng, 1 / (np.einsum("ka,abc->kbc", inverse, F) ** 2).sum(axis=1), 1)
    state = replace(state, rates_sigma=model.sigma.draw_rates(rng, 1 / sigma2[None], 1), rates_D=rates_D)
    return State(*(np.repeat(getattr(state, f.name), each, axis=-1) for f in fields(state))) if each > 1 else state


def advance(
    rng,
    model: Model,
    state: State,
    plan: Plan,
    sweeps: int,
    thin: int = 1,
    warmup: int = 0,
    update: Callable[[int], object] | None = None,
    then: Callable[[State, int], State] | None = None,
) -> tuple[State, np.ndarray, np.ndarray, np.ndarray]:
    """Run all chains and keep every ``thin``-th state after the warmup.

    ``then`` is what follows a sweep: from a state and the number of the sweep, 0 for the first after the warmup, to a
    state. ``update`` is told how many sweeps are done since it was told last.

    Returns
    -------
    tuple
        The last state, and the kept beta (T, p, C), F (T, q, q, C) and sigma2 (T, C).
    """
    beta, F, sigma2 = (np.empty((sweeps // thin, *M.shape)) for M in (state.beta, state.F, state.sigma2))
    for k in range(-warmup, sweeps):
        try:
            state = sweep(rng, model, state, plan)
            state = then(state, k) if then else state
        except np.linalg.LinAlgError:
            raise ParameterError(LOST) from None
        if k >= 0 and (k + 1) % thin == 0:
            t = k // thin
            beta[t], F[t], sigma2[t] = state.beta, state.F, state.sigma2
        done = k + warmup + 1
        if update and (done % STRIDE == 0 or k + 1 == sweeps):
            update((done - 1) % STRIDE + 1)
    if not all(np.isfinite(M).all() for M in (beta, F, sigma2, state.beta, state.F, state.sigma2)):
        raise ParameterError(LOST)
    return state, beta, F, sigma2


def model_of(cross: CrossProducts, priors: Priors, data: Responses | None = None, n_clones: int = 1) -> Model:
    """What sweeps need, for clones of the data or a response for each chain; priors that are resolved."""
    return Model.of(cross, priors, rotate(cross, data, n_clones))


def checked_run(
    usual: Length, draws=None, chains=None, warmup=None, thin=None, starts=None, several: bool = False
) -> Length:
    """The counts of a run, those left out as ``usual``, and each chain from a point of its own.

    ``several`` chains at least, where one could not show that it is stuck.
    """
    given = {"draws": draws, "chains": chains, "warmup": warmup, "thin": thin}
    counts = {
        name: getattr(usual, name) if value is None else checked_count(name, value, least=int(name != "warmup"))
        for name, value in given.items()
    }
    draws, chains = counts["draws"], counts["chains"]
    if several and (chains < 2 or draws < 4):
        raise ParameterError(
            f"cloning needs 2 chains of 4 draws at least, to see whether they agree; got {chains} of {draws}"
        )
    starts = chains if starts is None else checked_count("starts", starts)
    if chains % starts:
        raise ParameterError(f"chains must be a multiple of starts; got {chains} chains and {starts} starts")
    return Length(**counts, starts=starts)


def cheap(model: Model) -> bool:
    """Whether hundreds of chains cost little more than four: few groups, or groups that ``rotate`` made few."""
    return model.data.ZtW[:, :, 0].size <= CHEAP


def memory(model: Model, length: Length) -> int:
    """Bytes that a run takes: two copies of the draws while they are made, and what a sweep forms for its groups."""
    q, width, _, groups = model.data.ZtW.shape
    kept = 2 * length.draws * (width + q * q)
    sweep = groups * q * width + len(model.data.spare) * 2 * q * q
    return 8 * length.chains * (kept + sweep)


def require_memory(
    model: Model,
    length: Length,
    limit: float,
    remedy: str = "use fewer draws or chains, keep every tenth sweep with thin=10",
) -> None:
    """Raise before a run that would take more memory than the limit."""
    need, limit = memory(model, length), checked_limit("max_memory", limit)
    if need > limit:
        raise ParameterError(
            f"{length.chains:,} chains of {length.draws:,} draws would take {readable(need)} of memory, more than "
            f"max_memory = {readable(limit)}; {remedy}, or raise max_memory"
        )
