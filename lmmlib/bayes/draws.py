"""Draws from a posterior distribution: labelled arrays, summaries, and what ArviZ makes of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from lmmlib.bayes.chains import MAX_MEMORY, Plan, advance, model_of, require_memory
from lmmlib.bayes.conditionals import State
from lmmlib.bayes.diagnostics import R_HAT, arviz, diagnostics, readable
from lmmlib.bayes.priors import Priors
from lmmlib.bayes.random_effects import draws_of_b, moments_of_b
from lmmlib.common.arguments import checked_choice, checked_count, checked_level, checked_made, require_known
from lmmlib.common.progress import progress_bar
from lmmlib.design.cross import CrossProducts
from lmmlib.design.dependent import left_out, require_kept
from lmmlib.design.design import Design
from lmmlib.equations.names import derived, parameter_names


@dataclass(frozen=True, eq=False)
class Run:
    """What it takes to go on: how blocks are drawn, where the chains are, the generator, and the seed of draws of b."""

    plan: Plan
    state: State
    rng: np.random.Generator
    effects_seed: int


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws from the posterior of a mixed model, first axis the chain, second the draw.

    ``drawn["week"]`` is the (chains, draws) array of one parameter; the names are those of :meth:`frame`.

    Attributes
    ----------
    beta : (chains, draws, p) array
        Fixed effects.
    D : (chains, draws, q, q) array
        Covariance of the random effects.
    sigma2 : (chains, draws) array
        Residual variance.
    priors : Priors
        With the default scales filled in.
    parametrisation : str
    warmup, thin : int
        Sweeps before the first that counts, and sweeps for each draw.
    """

    beta: np.ndarray
    D: np.ndarray
    sigma2: np.ndarray
    priors: Priors
    parametrisation: str
    warmup: int
    thin: int
    design: Design = field(repr=False)
    cross: CrossProducts = field(repr=False)
    run: Run = field(repr=False)

    @classmethod
    def of_work(cls, design, cross, priors, parametrisation, warmup, thin, run, beta, F, sigma2) -> Draws:
        """From draws in the working basis, chains last: beta (T, p, C), factors of D (T, q, q, C), sigma2 (T, C)."""
        basis, (T, p, chains), q = cross.basis, beta.shape, F.shape[1]
        moved = solve_triangular(basis.Rx, np.moveaxis(beta, 1, 0).reshape(p, -1)) if p else np.empty((0, T * chains))
        moved = np.ascontiguousarray(moved.reshape(p, T, chains).transpose(2, 1, 0)) + basis.beta0
        root = np.linalg.solve(basis.Rz, F.transpose(3, 0, 1, 2)) if q else F.transpose(3, 0, 1, 2)
        D = root @ np.swapaxes(root, -1, -2)
        return cls(moved, D, np.ascontiguousarray(sigma2.T), priors, parametrisation, warmup, thin, design, cross, run)

    @property
    def chains(self) -> int:
        """Number of chains."""
        return self.sigma2.shape[0]

    @property
    def draws(self) -> int:
        """Number of draws that are kept of each chain."""
        return self.sigma2.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that the draws take."""
        return self.beta.nbytes + self.D.nbytes + self.sigma2.nbytes

    def followed_by(self, later: Draws) -> Draws:
        """These draws and later ones of the same chains."""
        checked_made("later", later, Draws, "sample")
        joined = {name: np.concatenate([getattr(self, name), getattr(later, name)], 1) for name in ("beta", "D")}
        return replace(later, sigma2=np.concatenate([self.sigma2, later.sigma2], 1), **joined)

    def extend(self, draws: int, progress: bool | None = None, max_memory: float = MAX_MEMORY) -> Draws:
        """The same chains, continued: what a longer run from the start would have been.

        Parameters
        ----------
        draws : int
            How many more of each chain.
        progress : bool, optional
        max_memory : float

        Returns
        -------
        Draws
            All of them, old and new.
        """
        draws, run = checked_count("draws", draws), self.run
        model, rng = model_of(self.cross, self.priors), copy.deepcopy(run.rng)
        require_memory(model, self.chains, self.draws + draws, max_memory, "add fewer draws")
        with progress_bar(draws * self.thin, "sampling", progress) as update:
            state, *kept = advance(rng, model, run.state, run.plan, draws * self.thin, self.thin, update=update)
        run = replace(run, state=state, rng=rng)
        how = (self.priors, self.parametrisation, self.warmup, self.thin)
        return self.followed_by(Draws.of_work(self.design, self.cross, *how, run, *kept))

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns of the formula that were left out because they depend on others (``drop="dependent"``)."""
        return self.design.dropped

    def frame(self) -> pd.DataFrame:
        """One row for each chain and draw: fixed effects, standard deviations, correlations, sigma, entries of D,
        sigma2.
        """
        many = self.chains * self.draws
        beta, D, sigma2 = self.beta.reshape(many, -1), self.D.reshape(many, *self.D.shape[2:]), self.sigma2.ravel()
        columns, z = dict(derived(parameter_names(self.design), beta, D, sigma2)), self.cross.z_names
        for b, second in enumerate(z):
            for a in range(b, b + 1 if self.cross.diagonal else len(z)):
                columns[f"D[{z[a]}, {second}]"] = D[:, a, b]
        columns["sigma2"] = sigma2
        index = pd.MultiIndex.from_product([range(self.chains), range(self.draws)], names=["chain", "draw"])
        return pd.DataFrame({name: np.asarray(values) for name, values in columns.items()}, index)

    def __getitem__(self, name: str) -> np.ndarray:
        frame = self.frame()
        require_kept(self.design, name)
        require_known("parameter", name, frame)
        return frame[name].to_numpy().reshape(self.chains, self.draws)

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Mean, sd, quantiles, Monte Carlo error of the mean, effective sample sizes and R-hat of each parameter.

        Equations :eq:`mcmc-effective-sample-size` and :eq:`r-hat` of the book, as ArviZ computes them: of ranks, chains
        split. Without ArviZ they are rougher, and there is no ``ess_tail``: :func:`of_halves`.

        Parameters
        ----------
        level : float
            Coverage of the interval between the quantiles.

        Returns
        -------
        DataFrame
        """
        tail, frame = (1 - checked_level(level)) / 2, self.frame()
        table = pd.DataFrame({"mean": frame.mean(), "sd": frame.std()})
        for quantile in (tail, 1 - tail):
            table[f"{100 * quantile:g} %"] = frame.quantile(quantile)
        return table.join(diagnostics(frame, self.chains))

    def to_arviz(self, b: bool = False, thin: int = 1):
        """An ArviZ ``InferenceData`` with labelled beta, D, sigma2, and the random effects if asked for.

        Parameters
        ----------
        b : bool
            Draw the random effects too: :meth:`b`.
        thin : int
            Take every so many-th draw.
        """
        checked_choice("b", b, (True, False))
        z, thin = list(self.cross.z_names), checked_count("thin", thin)
        posterior = {"beta": self.beta[:, ::thin], "D": self.D[:, ::thin], "sigma2": self.sigma2[:, ::thin]}
        dims = {"beta": ["effect"], "D": ["term", "term_of_column"], "b": ["group", "term"]}
        coords = {"effect": list(self.cross.x_names), "term": z, "term_of_column": z}
        coords["group"] = list(self.cross.group_names)
        if b:
            posterior["b"] = self.b(thin=thin)
        posterior = {name: values for name, values in posterior.items() if values.size}
        return arviz().from_dict(posterior=posterior, coords=coords, dims={k: dims[k] for k in posterior if k in dims})

    def b(self, groups=None, thin: int = 1, max_memory: float = MAX_MEMORY) -> np.ndarray:
        """:func:`lmmlib.bayes.random_effects.draws_of_b`: draws of the random effects, (chains, draws, groups, q).

        The same call gives the same draws.

        Parameters
        ----------
        groups : sequence, optional
            Labels of groups; all by default.
        thin : int
            Take every so many-th draw of the parameters.
        max_memory : float
            Bytes that they may take.
        """
        thin, rng = checked_count("thin", thin), np.random.default_rng(self.run.effects_seed)
        beta, D, sigma2 = self.beta[:, ::thin], self.D[:, ::thin], self.sigma2[:, ::thin]
        return draws_of_b(self.cross, beta, D, sigma2, rng, groups, max_memory)

    def random_effects(self) -> pd.DataFrame:
        """:func:`lmmlib.bayes.random_effects.moments_of_b`: ``mean`` and ``sd`` for every group and random effect."""
        mean, sd = moments_of_b(self.cross, self.beta, self.D, self.sigma2)
        names = [self.design.grouping, "term"]
        index = pd.MultiIndex.from_product([self.cross.group_names, self.cross.z_names], names=names)
        return pd.DataFrame({"mean": mean.ravel(), "sd": sd.ravel()}, index)

    def __repr__(self) -> str:
        frame = self.frame()
        lines = [
            f"Draws: {self.design.formula or self.design.response}",
            f"  {self.chains} chains of {self.draws} draws, {self.parametrisation}, {readable(self.nbytes)}; "
            f"{self.cross.n_obs} observations in {self.cross.n_groups} groups",
        ]
        shown = frame[list(parameter_names(self.design))]
        rows = pd.DataFrame({"mean": shown.mean(), "sd": shown.std()})
        lines += ["  " + line for line in rows.to_string(float_format=lambda v: f"{v:.4g}").splitlines()]
        lines += [f"  {line}" for line in left_out(self.design)]
        return "\n".join(lines + self._not_mixed(shown))

    def _not_mixed(self, frame: pd.DataFrame) -> list[str]:
        """A line that says so where R-hat is above 1.01."""
        if self.chains < 2 or self.draws < 4:
            return []
        r_hat = diagnostics(frame, self.chains)["r_hat"]
        if not (r_hat > R_HAT).any():
            return []
        return [
            f"  the chains disagree: R-hat of {r_hat.idxmax()} is {r_hat.max():.3g}, above {R_HAT}",
            "  draw on with extend(), or begin later with a longer warmup",
        ]
