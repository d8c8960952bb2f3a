"""The result of data cloning: draws for each number of clones, and the estimates and diagnostics that they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from lmmlib.bayes.diagnostics import as_table, described, diagnostics
from lmmlib.cloning import estimability
from lmmlib.common.arguments import checked_count, require_known, several
from lmmlib.common.summary import Shown, Summary
from lmmlib.design.dependent import require_kept
from lmmlib.design.design import Design
from lmmlib.equations.limits import normal_limits
from lmmlib.errors import ParameterError
from lmmlib.prediction.empirical_bayes import Posterior


@dataclass(frozen=True, eq=False, repr=False)
class Cloned(Shown):
    """Draws of parameters from the posterior of K copies of the data, for several K.

    Estimates are posterior means at the largest K, standard errors are posterior standard deviations times the root of
    K; both tend to those of maximum likelihood. ``n_clones`` holds the K in rising order.

    Attributes
    ----------
    title : str
        Formula, or name of the model.
    frames : dict
        For each K a frame with one row for each chain and draw, of all columns that can be asked for.
    about : dict
        What this result is about: the name of each parameter, and the column or function of the frame that it is.
    chains : int
    starts : int or None
        Starting points, the chains of one side by side; None if every chain has its own.
    improper : dict
        The K for which the posterior is no distribution, and why; they have no draws.
    lines : tuple of DataFrame
        For each direction in which the likelihood of the model does not change, two points on it, as rows of such a
        frame; None if that is not known.
    edge : int or None
        How many eigenvalues of D tend to zero as K grows; None if that is not known.
    away : float or None
        Standard errors between the estimates and the maximum of the likelihood, by its score; None if that is not
        known.
    """

    title: str
    frames: dict[int, pd.DataFrame] = field(repr=False)
    about: dict[str, str | Callable] = field(repr=False)
    chains: int
    starts: int | None = None
    improper: dict[int, str] = field(default_factory=dict)
    lines: tuple[pd.DataFrame, ...] | None = field(default=None, repr=False)
    edge: int | None = None
    away: float | None = None

    @property
    def design(self) -> Design | None:
        """The design of a model that was given as a formula, None for others."""
        return None

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns of the formula that were left out because they depend on others (``drop="dependent"``)."""
        return self.design.dropped if self.design is not None else ()

    @property
    def n_clones(self) -> tuple[int, ...]:
        """The K that have draws."""
        return tuple(self.frames)

    def on(self, *names: str, **functions: Callable) -> Cloned:
        """The same draws, other parameters: columns by name, and functions of the frame by keyword.

        ``cloned.on("sigma", total=lambda f: f["sigma2"] + f["D[(Intercept), (Intercept)]"])``.

        Parameters
        ----------
        *names : str
            Columns; all are listed in the error that an unknown one raises.
        **functions : callable
            From a frame to a series or an array, one number for each row.

        Returns
        -------
        Cloned
        """
        known = self.frames[self.n_clones[-1]]
        for name in names:
            if self.design is not None:
                require_kept(self.design, name)
            require_known("parameter", name, known)
        if not names and not functions:
            raise ParameterError("on() needs at least one parameter, such as on('sigma2')")
        chosen = replace(self, about={name: name for name in names} | functions)
        chosen.draws()
        return chosen

    def draws(self, n_clones: int | None = None) -> pd.DataFrame:
        """Draws of the parameters at one K, by default the largest; a row for each chain and draw."""
        return self._values(self.frames[self._checked(n_clones)])

    def _values(self, frame: pd.DataFrame) -> pd.DataFrame:
        columns = {}
        for name, what in self.about.items():
            values = np.asarray(frame[what] if isinstance(what, str) else what(frame), float)
            if values.shape != (len(frame),) or not np.isfinite(values).all():
                raise ParameterError(
                    f"{name} must be one finite number for each of {len(frame)} draws; got shape {values.shape} with "
                    f"{int((~np.isfinite(values)).sum())} that are not finite"
                )
            columns[name] = values
        return pd.DataFrame(columns, frame.index)

    def _checked(self, n_clones: int | None) -> int:
        if n_clones is None:
            return self.n_clones[-1]
        checked_count("n_clones", n_clones)
        if n_clones in self.improper:
            raise ParameterError(f"there are no draws for n_clones = {n_clones}: {self.improper[n_clones]}")
        if n_clones not in self.frames:
            raise ParameterError(f"n_clones is one of {', '.join(map(str, self.n_clones))}; got {n_clones!r}")
        return n_clones

    @cached_property
    def _quality(self) -> dict[int, pd.DataFrame]:
        """For each K mcse, effective sample sizes and R-hat of the parameters."""
        return {K: diagnostics(self.draws(K), self.chains, self.starts) for K in self.n_clones}

    def parameters(self) -> pd.Series:
        """Posterior means at the largest K: estimates by maximum likelihood, up to 1/K and Monte Carlo error."""
        return self.draws().mean().rename("estimate")

    @property
    def se(self) -> pd.Series:
        """Standard errors, the roots of the diagonal of :meth:`cov_parameters`."""
        return pd.Series(np.sqrt(np.diag(self.cov_parameters())), list(self.about), name="se")

    def cov_parameters(self, n_clones: int | None = None) -> pd.DataFrame:
        r"""Covariance of the estimates: K times the posterior covariance.

        .. math:: K\operatorname{Var}(\theta \mid y^{(K)}) \to I(\hat\theta)^{-1}

        Equation :eq:`dc-standard-error` of the book.

        Parameters
        ----------
        n_clones : int, optional
            By default the largest K.
        """
        return self._checked(n_clones) * self.draws(n_clones).cov()

    def confint(self, level: float = 0.95, *, parameters: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Estimates plus and minus a normal quantile times standard errors: ``estimate``, ``se``, ``lower``, ``upper``.

        Of all that this result is about, or of the named ``parameters``, which may be others that it can be :meth:`on`.
        """
        if parameters is not None:
            return self._named(parameters).confint(level)
        return normal_limits(self.parameters(), self.se, level)

    def _named(self, names: str | Sequence[str]) -> Cloned:
        """The same draws, about these; what it is about already keeps its meaning."""
        names = several("parameters", names)
        others = [name for name in names if not isinstance(name, str) or name not in self.about]
        about = self.about | (self.on(*others).about if others else {})
        return replace(self, about={name: about[name] for name in names})

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """One row for each parameter and K: estimate, standard error, quantiles, and how good the draws are.

        Parameters
        ----------
        level : float
            Coverage of the interval between the quantiles of the cloned posterior, which shrinks as K grows.

        Returns
        -------
        DataFrame
            ``estimate``, ``se`` (posterior sd times the root of K), ``sd``, two quantiles, ``mcse`` (of the estimate),
            ``ess_bulk``, ``ess_tail``, ``r_hat``.
        """
        parts = {}
        for K in self.n_clones:
            parts[K] = described(self.draws(K), level).rename(columns={"mean": "estimate"})
            parts[K].insert(1, "se", parts[K]["sd"] * np.sqrt(K))
            parts[K] = parts[K].join(self._quality[K])
        table = pd.concat(parts, names=["n_clones", "parameter"]).swaplevel()
        return table.reindex(pd.MultiIndex.from_product([self.about, parts], names=table.index.names))

    def diagnostics(self) -> pd.DataFrame:
        """One row for each K: does the posterior shrink as 1/K, is it normal, did the chains mix.

        Returns
        -------
        DataFrame
            ``lambda_max`` (:func:`lmmlib.cloning.estimability.lambda_max`), ``standardised`` (over its value at the
            first K), ``expected`` (the first K over this K), ``ms_error`` and ``r_squared``
            (:func:`lmmlib.cloning.estimability.chi_square_fit`), ``r_hat`` (the largest of the parameters),
            ``r_hat_multivariate``, ``ess`` (the smallest).
        """
        rows, first = {}, self.n_clones[0]
        for K in self.n_clones:
            draws, quality = self.draws(K), self._quality[K]
            ms_error, r_squared = estimability.chi_square_fit(draws)
            rows[K] = {
                "lambda_max": estimability.lambda_max(draws.cov()),
                "standardised": np.nan,
                "expected": first / K,
                "ms_error": ms_error,
                "r_squared": r_squared,
                "r_hat": quality["r_hat"].max(skipna=False),
                "r_hat_multivariate": estimability.multivariate_r_hat(
                    draws.to_numpy().reshape(self.starts or self.chains, -1, draws.shape[1])
                ),
                "ess": quality["ess_bulk"].min(skipna=False),
            }
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("n_clones")
        table["standardised"] = table["lambda_max"] / table.loc[first, "lambda_max"]
        return table

    def verdicts(self) -> pd.DataFrame:
        """What the draws say of each parameter, and why.

        Returns
        -------
        DataFrame
            ``estimate``, ``se``; ``r_hat`` and ``ess``, the worse of the two K that are compared; ``rate``, the power
            of 1/K by which the spread fell, 1 in theory; ``skewness``, by quantiles; and ``verdict``, as
            :func:`lmmlib.cloning.estimability.verdict`. Where the score of the model says that the prior still rules,
            there are too few clones for all parameters; where D tends to a singular matrix, all its entries are at a
            boundary.
        """
        last, before = self.n_clones[-1], estimability.reference(self.n_clones)
        compared = [self._quality[K] for K in (before, last) if K is not None]
        table = pd.DataFrame({"estimate": self.parameters(), "se": self.se})
        table["r_hat"] = np.maximum.reduce([quality["r_hat"] for quality in compared])
        table["ess"] = np.minimum.reduce([quality["ess_bulk"] for quality in compared])
        table["rate"] = np.nan
        if before is not None:
            few, many = (estimability.spread(self.draws(K)) for K in (before, last))
            table["rate"] = estimability.falling(few, many, last / before)
        table["skewness"] = estimability.skewness(self.draws())
        moving = None if self.lines is None else self._model_directions().ne(0).any()
        null = [None if moving is None else bool(moving[name]) for name in self.about]
        boundary = None if self.edge is None else self.edge > 0
        table["verdict"] = [
            estimability.verdict(row.r_hat, row.ess, row.rate, row.skewness, flat, boundary)
            for flat, (_, row) in zip(null, table.iterrows(), strict=True)
        ]
        good, edge = table["verdict"].eq(estimability.ESTIMABLE), table["verdict"].eq(estimability.BOUNDARY)
        if self._ruled():
            table.loc[good | edge, "verdict"] = estimability.TOO_FEW
        elif self.edge:
            table.loc[good & self._on_the_edge(), "verdict"] = estimability.BOUNDARY
        table["se"] = table["se"].where(table["verdict"] != estimability.NOT_CONVERGED)
        return table.rename_axis("parameter")

    def _ruled(self) -> bool:
        """Whether the prior still rules: then no estimate is one of maximum likelihood, whatever shrank."""
        return self.away is not None and not self.away < estimability.FAR

    def _on_the_edge(self) -> np.ndarray:
        """Which parameters feel that D tends to be singular: all, unless more is known of the model."""
        return np.ones(len(self.about), bool)

    def _model_directions(self) -> pd.DataFrame:
        """Change of the parameters along each line of the model, oriented; lines that change none are left out."""
        rows = []
        for line in self.lines or ():
            points = self._values(line).to_numpy()
            change = points[1] - points[0]
            change = np.where(np.abs(change) > 1e-9 * np.abs(points).max(axis=0), change, 0.0)
            if change.any():
                rows.append(estimability.oriented(change, 1e-9))
        return pd.DataFrame(rows, columns=list(self.about), dtype=float)

    def null_directions(self) -> pd.DataFrame:
        """Directions in which the parameters cannot be estimated, a row each; the largest change is one.

        Those of the model where they are known. Otherwise those in which the draws spread as widely with many clones as
        with few: draws of chains that have not converged show such directions too.
        """
        if self.lines is not None:
            return self._model_directions()
        last, before = self.n_clones[-1], estimability.reference(self.n_clones)
        if before is None:
            return pd.DataFrame(columns=list(self.about), dtype=float)
        return estimability.wide_directions(self.draws(before), self.draws(last), last / before)

    def posterior_of_b(self, size: int, rng: int | np.random.Generator) -> Posterior:
        """Random effects; :class:`lmmlib.cloning.gaussian.GaussianClones` alone knows them."""
        raise ParameterError(f"predictions are for what lmmlib.clone returns; got {self.title}, another model")

    def summary(self) -> Summary:
        """The run, estimates with the verdict on each, and what else is to be said."""
        table, clones = self.verdicts(), ", ".join(f"{K:,}" for K in self.n_clones)
        head = [f"Cloned: {self.title}", f"  K = {clones}; {self.chains} chains of {len(self.draws()) // self.chains}"]
        head += [f"  no draws for K = {K}: {why}" for K, why in self.improper.items()]
        shown = table[["estimate", "se", "r_hat", "verdict"]]
        shown = shown.assign(se=shown["se"].where(shown["verdict"] == estimability.ESTIMABLE))  # elsewhere it is none
        notes = [f"  {remark}" for remark in (*self._flat(table), *self._remarks())]
        return Summary(tuple(head), {"parameters": as_table(shown)}, tuple(notes))

    def _remarks(self) -> list[str]:
        """What else is to be said, in lines."""
        if not self._ruled():
            return []
        return [f"too few clones: by the score, the likelihood is largest {self.away:.2g} standard errors from here"]

    def _flat(self, table: pd.DataFrame) -> list[str]:
        """Lines that say in which directions the likelihood is flat; where only draws tell, what they show."""
        flat = table.index[table["verdict"] == estimability.NOT_ESTIMABLE]
        if not len(flat):
            return []
        if self.lines is not None:
            said = [estimability.said(direction) for _, direction in self.null_directions().iterrows()]
            return [f"the likelihood does not change with {direction}" for direction in said]
        return [
            f"more clones do not narrow {', '.join(flat)}: the likelihood is flat there, or the prior still rules;",
            "if it is the prior, the other estimates are not those of maximum likelihood either",
        ]
