"""How good draws are: Monte Carlo error, effective sample sizes, R-hat."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri

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


def diagnostics(frame: pd.DataFrame, chains: int, starts: int | None = None) -> pd.DataFrame:
    """Monte Carlo error, effective sample sizes and R-hat of the columns of a frame of draws, chain after chain.

    Those of Vehtari et al. (2021), as ArviZ has them; R-hat is :func:`r_hat`, which knows of chains that share one of
    ``starts`` starting points. NaN for fewer than four draws of a chain, and for what no draws can tell.
    """
    values = [frame[name].to_numpy(float).reshape(chains, -1) for name in frame]
    rows = [_quality(x, starts or chains) for x in values]
    return pd.DataFrame(rows, frame.columns, ["mcse", "ess_bulk", "ess_tail", "r_hat"])


def _quality(x: np.ndarray, starts: int) -> tuple[float, float, float, float]:
    """The row of :func:`diagnostics` of one parameter (chains, draws)."""
    half = x.shape[1] // 2
    if half < 2 or not np.isfinite(x).all():
        return np.nan, np.nan, np.nan, np.nan
    if x.max() == x.min():
        return 0.0, x.size, x.size, np.nan
    halves = np.stack([x[:, :half], x[:, -half:]])
    flat, ordered = halves.reshape(-1, half), np.argsort(halves, axis=None)
    z = _scores(halves, ordered)
    tail = [ess(flat <= limit) for limit in np.quantile(x, (0.05, 0.95))]
    r = max(r_hat(z, starts), r_hat(_folded(halves, ordered), starts)) if len(x) > 1 else np.nan
    return x.std(ddof=1) / np.sqrt(ess(flat)), ess(z.reshape(-1, half)), min(tail), r


def _scores(x: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks, equal values sharing the mean of theirs; ``ordered`` sorts the values."""
    values = x.ravel()[ordered]
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    ends = np.append(first[1:], x.size)
    scores = np.empty(x.size)
    scores[ordered] = np.repeat(ndtri(((first + ends + 1) / 2 - 0.375) / (x.size + 0.25)), ends - first)
    return scores.reshape(x.shape)


def _folded(x: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """The same of distances from the median, which are two sorted runs already."""
    away = np.abs(x - np.median(x))
    runs = np.concatenate([ordered[: x.size // 2][::-1], ordered[x.size // 2 :]])
    return _scores(away, runs[np.argsort(away.ravel()[runs], kind="stable")])


def ess(x: np.ndarray) -> float:
    r"""Effective sample size of the mean of draws (chains, draws), equation :eq:`mcmc-effective-sample-size`.

    Autocorrelations are summed in pairs, as long as a pair is positive, and no pair counts for more than the one
    before it (Geyer, 1992). What the means of the chains differ by counts as correlation at every lag.
    """
    chains, n = x.shape
    means = x.mean(axis=1)
    power = np.abs(rfft(x - means[:, None], next_fast_len(2 * n, real=True))) ** 2
    covariance = irfft(power.sum(axis=0), next_fast_len(2 * n, real=True))[:n] / (chains * n)
    total = covariance[0] + (means.var(ddof=1) if chains > 1 else 0.0)
    if total <= 0:
        return float(x.size)
    rho = 1 - (covariance[0] * n / (n - 1) - covariance) / total
    rho[0] = 1.0
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)[: max(1, (n - 1) // 2)]
    last = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs) - 1
    tau = 2 * np.minimum.accumulate(pairs[:last]).sum() - 1 + max(rho[2 * last], 0.0)
    return float(x.size / max(tau, 1 / np.log10(x.size)))


def r_hat(x: np.ndarray, starts: int) -> float:
    r"""R-hat of the halves (2, chains, draws) of chains, :eq:`r-hat`; nested where chains share their starts.

    .. math:: \hat R = \sqrt{\frac{T - 1}T + \frac BW}, \qquad \hat R_\nu = \sqrt{1 + \frac{B_\nu}{W_\nu}}

    Chains from one starting point, one after the other in ``x``, are a superchain. :math:`B_\nu` is the variance of the
    means of superchains, and :math:`W_\nu` the mean of the variances within them: equation :eq:`nested-r-hat` of the
    book; Margossian et al. (2025). So many short chains need not each be long enough to agree with the others. Halves
    in time are superchains of their own, so that a drift is seen.
    """
    n, each = x.shape[-1], x.shape[1] // starts
    means, within = x.mean(axis=-1), x.var(axis=-1, ddof=1).mean()
    if each == 1:
        return float(np.sqrt((n - 1) / n + means.var(ddof=1) / within)) if within > 0 else np.nan
    of_starts = means.reshape(-1, each)
    within += of_starts.var(axis=1, ddof=1).mean()
    return float(np.sqrt(1 + of_starts.mean(axis=1).var(ddof=1) / within))


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
