"""Draws from a posterior distribution: labelled arrays, summaries, and what ArviZ makes of them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from lmmlib.bayes.chains import MAX_MEMORY, Length, Plan, advance, model_of, require_memory
from lmmlib.bayes.conditionals import State
from lmmlib.bayes.diagnostics import R_HAT, arviz, as_table, described, diagnostics, intervals, readable
from lmmlib.bayes.predict import predict
from lmmlib.bayes.priors import Priors
from lmmlib.bayes.random_effects import draws_of_b, limits_of_b, moments_of_b
from lmmlib.common.arguments import checked_choice, checked_count, checked_level, require_known, several
from lmmlib.common.progress import progress_bar
from lmmlib.common.summary import Shown, Summary
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


@dataclass(frozen=True, eq=False, repr=False)
class Draws(Shown):
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
    starts : int
        Starting points; the chains of one stand side by side.
    """

    beta: np.ndarray
    D: np.ndarray
    sigma2: np.ndarray
    priors: Priors
    parametrisation: str
    warmup: int
    thin: int
    starts: int
    design: Design = field(repr=False)
    cross: CrossProducts = field(repr=False)
    run: Run = field(repr=False)

    @classmethod
    def of_work(cls, design, cross, priors, parametrisation, length: Length, run, beta, F, sigma2) -> Draws:
        """From draws in the working basis, chains last: beta (T, p, C), factors of D (T, q, q, C), sigma2 (T, C)."""
        basis, (T, p, chains) = cross.basis, beta.shape
        beta = beta.transpose(1, 0, 2).reshape(p, T * chains)
        beta = (solve_triangular(basis.Rx, beta) if p else beta).reshape(p, T, chains)
        beta = np.ascontiguousarray(beta.transpose(2, 1, 0)) + basis.beta0
        root = F.transpose(3, 0, 1, 2)
        root = np.linalg.solve(basis.Rz, root) if root.size else root
        D, sigma2 = root @ root.mT, np.ascontiguousarray(sigma2.T)
        at = (length.warmup, length.thin, length.starts)
        return cls(beta, D, sigma2, priors, parametrisation, *at, design, cross, run)

    @property
    def chains(self) -> int:
        """Number of chains."""
        return self.sigma2.shape[0]

    @property
    def draws(self) -> int:
        """Number of draws that are kept of each chain."""
        return self.sigma2.shape[1]

    @property
    def grouping(self) -> str:
        """The grouping factor."""
        return self.design.grouping

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return self.cross.n_obs

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return self.cross.n_groups

    @property
    def nbytes(self) -> int:
        """Bytes that the draws take."""
        return self.beta.nbytes + self.D.nbytes + self.sigma2.nbytes

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
        length = Length(self.draws + draws, self.chains, self.warmup, self.thin, self.starts)
        require_memory(model, length, max_memory, "add fewer draws")
        with progress_bar(draws * self.thin, "sampling", progress) as update:
            state, *kept = advance(rng, model, run.state, run.plan, draws * self.thin, self.thin, update=update)
        run = replace(run, state=state, rng=rng)
        more = Draws.of_work(self.design, self.cross, self.priors, self.parametrisation, length, run, *kept)
        return replace(
            more,
            beta=np.concatenate([self.beta, more.beta], axis=1),
            D=np.concatenate([self.D, more.D], axis=1),
            sigma2=np.concatenate([self.sigma2, more.sigma2], axis=1),
        )

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

    def _main(self) -> pd.DataFrame:
        """The columns of :meth:`frame` that are parameters: fixed effects, sd, corr and sigma."""
        return self.frame()[list(parameter_names(self.design))]

    def parameters(self) -> pd.Series:
        """Posterior means of the fixed effects, standard deviations, correlations and sigma."""
        return self._main().mean().rename("estimate")

    def cov_parameters(self) -> pd.DataFrame:
        """Posterior covariance of :meth:`parameters`."""
        return self._main().cov()

    def fixed_effects(self, level: float = 0.95) -> pd.DataFrame:
        """Posterior mean, sd and quantiles of each fixed effect: ``estimate``, ``se``, ``lower``, ``upper``."""
        return intervals(self._main()[list(self.cross.x_names)], level)

    def confint(self, level: float = 0.95, *, parameters: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Equal-tailed posterior intervals: ``estimate``, ``se``, ``lower``, ``upper``.

        Parameters
        ----------
        level : float
            Coverage.
        parameters : str or sequence of str, optional
            Columns of :meth:`frame`; by default those of :meth:`parameters`.
        """
        if parameters is None:
            return intervals(self._main(), level)
        return intervals(pd.DataFrame({name: self[name].ravel() for name in several("parameters", parameters)}), level)

    def diagnostics(self) -> pd.DataFrame:
        """Monte Carlo error of the mean, effective sample sizes and R-hat of each column of :meth:`frame`.

        Equations :eq:`mcmc-effective-sample-size` and :eq:`r-hat` of the book, as ArviZ computes them: of ranks, chains
        split. Where chains share starting points R-hat is nested, which ArviZ 0.23 has not: it compares the means of
        all chains from one point, :func:`lmmlib.bayes.diagnostics.r_hat`.
        """
        return diagnostics(self.frame(), self.chains, self.starts)

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """``mean``, ``sd``, two quantiles with ``level`` between them, and :meth:`diagnostics`, a row for each column
        of :meth:`frame`.
        """
        frame = self.frame()
        return described(frame, level).join(diagnostics(frame, self.chains, self.starts))

    def summary(self, level: float = 0.95) -> Summary:
        """The run, :meth:`table` of the parameters, and whether the chains agree."""
        frame = self._main()
        quality = diagnostics(frame, self.chains, self.starts)
        starts = f" from {self.starts} starts" if self.starts < self.chains else ""
        head = (
            f"Draws: {self.design.formula or self.design.response}",
            f"  {self.chains} chains of {self.draws} draws{starts}, {self.parametrisation}, {readable(self.nbytes)}; "
            f"{self.n_obs} observations in {self.n_groups} groups",
        )
        notes, r_hat = [f"  {line}" for line in left_out(self.design)], quality["r_hat"]
        if self.chains > 1 and self.draws > 3 and (r_hat > R_HAT).any():
            notes += [
                f"  the chains disagree: R-hat of {r_hat.idxmax()} is {r_hat.max():.3g}, above {R_HAT}",
                "  draw on with extend(), or begin later with a longer warmup",
            ]
        return Summary(head, {"parameters": as_table(described(frame, level).join(quality))}, tuple(notes))

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
        dims, az = {k: dims[k] for k in posterior if k in dims}, arviz()
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that there are more chains than draws
            return az.from_dict(posterior=posterior, coords=coords, dims=dims)

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

    def random_effects(self, level: float | None = 0.95) -> pd.DataFrame:
        """Posterior mean, sd and quantiles of the effects of every group, a row for each group and term.

        Means and standard deviations average the conditional ones (:func:`lmmlib.bayes.random_effects.moments_of_b`),
        the limits are quantiles of :meth:`b`: with ``level=None`` there are none, and nothing is drawn.

        Returns
        -------
        DataFrame
            ``group``, ``term``, ``estimate``, ``se``, ``lower``, ``upper``.
        """
        of, names = (self.cross, self.beta, self.D, self.sigma2), self.cross.group_names
        columns = dict(zip(("estimate", "se"), moments_of_b(*of), strict=True))
        if level is not None:
            limits = limits_of_b(*of, np.random.default_rng(self.run.effects_seed), checked_level(level))
            columns |= zip(("lower", "upper"), limits, strict=True)
        index = pd.MultiIndex.from_product([names, self.cross.z_names], names=["group", "term"])
        return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index).reset_index()

    def predict(
        self,
        new: pd.DataFrame,
        *,
        of: str = "group",
        new_groups: str = "population",
        interval: str | None = None,
        level: float = 0.95,
        weights=None,
        offset=None,
    ) -> pd.DataFrame:
        r"""Posterior means, standard deviations and quantiles for new rows, each by itself.

        .. math:: x'\beta_s + z'b_{is} \quad (+\; \varepsilon_s), \qquad
            b_{is} \sim p(b_i \mid y, \beta_s, D_s, \sigma_s^2)

        For a group that is not known b is drawn from N(0, D). The same call has the same draws.

        Parameters
        ----------
        new : DataFrame
            The columns of the formula but for the response; the grouping column is needed for ``of="group"`` alone.
        of : {"group", "typical", "population"}
            Of each row's group, :math:`x'\beta + z'b_i`; or of a group with b = 0, or of the mean of the population,
            which are the same here.
        new_groups : {"population", "error"}
            What to do, for ``of="group"``, with groups that the data have not.
        interval : {"confidence", "prediction"}, optional
            For the mean, or for a new observation, which adds the residual, and for the population the effects of a
            group that is not known.
        level : float
            Coverage of each interval by itself.
        weights, offset : str, Series or array, optional
            Of the new rows: by default the columns that the data had.

        Returns
        -------
        DataFrame
            Indexed as ``new``: ``estimate``, ``se``, ``lower`` and ``upper`` if an interval is asked for,
            ``known_group``.

        Raises
        ------
        DataError
            If a column is missing or has missing, infinite or unknown values, there are no rows, or a group is unknown
            and ``new_groups="error"``.
        """
        rng, at = np.random.default_rng(self.run.effects_seed), (self.beta, self.D, self.sigma2)
        return predict(self.design, self.cross, at, new, rng, of, new_groups, interval, level, weights, offset)
