"""How good draws are: Monte Carlo error, effective sample sizes, R-hat; by ArviZ, or without it."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from lmmlib.common.arguments import checked_level
from lmmlib.common.table import Table
from lmmlib.common.text import brief
from lmmlib.errors import ParameterError

#: Above this R-hat chains have not forgotten where they began (Vehtari et al., 2021).
R_HAT = 1.01


def described(frame: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """``mean``, ``sd`` and two quantiles, with ``level`` between them, of the columns of a frame of draws."""
    tail = (1 - checked_level(level)) / 2
    quantiles = {f"{100 * at:g} %": frame.quantile(at) for at in (tail, 1 - tail)}
    return pd.DataFrame({"mean": frame.mean(), "sd": frame.std(), **quantiles})


def intervals(frame: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """:func:`described` as estimates with equal-tailed limits: ``estimate``, ``se``, ``lower``, ``upper``."""
    return described(frame, level).set_axis(["estimate", "se", "lower", "upper"], axis=1)


def as_table(frame: pd.DataFrame, heading: str = "parameter", digits: int = 4) -> Table:
    """Rows of a frame as rounded text, each headed by its label; no number is a dash."""

    def text(value) -> str:
        if isinstance(value, str):
            return value
        return "-" if np.isnan(value) else brief(value, digits)

    rows = tuple((str(name), *map(text, row)) for name, *row in frame.itertuples(name=None))
    return Table((heading, *frame), rows, (False, *map(pd.api.types.is_numeric_dtype, frame.dtypes)))


def diagnostics(frame: pd.DataFrame, chains: int) -> pd.DataFrame:
    """Monte Carlo error, effective sample sizes and R-hat of the columns of a frame of draws, chain after chain.

    Those of ArviZ; where it is not installed, those of :func:`of_halves`.
    """
    try:
        az = arviz()
    except ParameterError:
        return of_halves(frame, chains)
    values = {str(k): frame[name].to_numpy().reshape(chains, -1) for k, name in enumerate(frame)}
    # One chain, or a parameter that does not move: NaN says it; many short chains.
    with warnings.catch_warnings(action="ignore"):
        data = az.convert_to_dataset(values)
        found = {
            "mcse": az.mcse(data),
            "ess_bulk": az.ess(data, method="bulk"),
            "ess_tail": az.ess(data, method="tail"),
            "r_hat": az.rhat(data),
        }
    return pd.DataFrame({k: [float(v[str(j)]) for j in range(frame.shape[1])] for k, v in found.items()}, frame.columns)


def of_halves(frame: pd.DataFrame, chains: int) -> pd.DataFrame:
    r"""The same from the means and variances of halves of chains, without ArviZ; rougher, and no ``ess_tail``.

    R-hat is :eq:`r-hat` of the book. The effective sample size is that for which the means of the halves would differ
    as they do: :math:`S\hat\sigma^2/B`, at most the number of draws S.
    """
    half = len(frame) // chains // 2
    values = frame.to_numpy().reshape(chains, -1, frame.shape[1])[:, : 2 * half].reshape(2 * chains, half, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        within = values.var(axis=1, ddof=1).mean(axis=0)
        between = half * values.mean(axis=1).var(axis=0, ddof=1)
        total = (half - 1) / half * within + between / half
        ess = np.minimum(2 * chains * half * total / between, len(frame))
        quality = {"mcse": np.sqrt(total / ess), "ess_bulk": ess, "ess_tail": np.nan, "r_hat": np.sqrt(total / within)}
    return pd.DataFrame(quality, frame.columns)


def arviz():
    """ArviZ, imported when it is needed."""
    try:
        with warnings.catch_warnings(action="ignore"):  # a note on its next version, once a day
            import arviz as az
    except ImportError:
        raise ParameterError('this needs ArviZ, which is not installed: pip install "arviz<1"') from None
    return az


def readable(size: float) -> str:
    """A number of bytes in the unit that leaves three digits."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
