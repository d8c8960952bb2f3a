"""The summary of a fit of a linear model: its head, the fixed effects and their correlations, and notes."""

from __future__ import annotations

import numpy as np

from lmmlib.common.summary import Summary
from lmmlib.common.table import Table, written
from lmmlib.common.text import brief, fixed, p, short
from lmmlib.equations.moments import correlation
from lmmlib.errors import DesignError
from lmmlib.fitting.fitted import Linear
from lmmlib.fitting.summary import notes
from lmmlib.inference.contrasts import fixed_effects

# With more fixed effects than this their correlations are left out.
WIDEST = 8
# From so many values on a quantile is looked for near that of some of them: four times as fast.
MANY = 100_000


def _statistic(x: float) -> str:
    return short(fixed(x, 3), x)


# How the numbers of the fixed effects are written, and how wide.
COLUMNS = {
    "estimate": (brief, 12),
    "se": (brief, 10),
    "df": (lambda x: fixed(x, 2), 9),
    "t": (_statistic, 9),
    "z": (_statistic, 9),
    "p": (p, 8),
}


def fixed_table(fit: Linear, width: int) -> Table:
    """Estimates, se, df, t or z, and p, written; NaN where the information gives no df."""
    try:
        frame = fixed_effects(fit)
    except DesignError:  # there are no df; fit.fixed_effects() says why
        frame = fixed_effects(fit, df="z").rename(columns={"z": "t"}).assign(df=np.nan, p=np.nan)
    shown = {name: how for name, how in COLUMNS.items() if name in frame}
    rows = written(frame[list(shown)], [show for show, _ in shown.values()])
    widths = (width, *(w for _, w in shown.values()))
    return Table(("Fixed effects", *shown), rows, (False, *[True] * len(shown)), widths=widths)


def correlation_table(fit: Linear, width: int) -> Table:
    """Correlations of the estimates of the fixed effects, below the diagonal."""
    names = list(fit.beta.index)
    r, columns = correlation(fit.cov_beta.to_numpy()), [name[:11] for name in names[:-1]]
    blank = [""] * len(columns)
    rows = [(names[k], *[*(fixed(x, 3) for x in r[k, :k]), *blank][: len(columns)]) for k in range(1, len(names))]
    numeric = (False, *[True] * len(columns))
    return Table(("Correlations", *columns), tuple(rows), numeric, widths=(width, *[11] * len(columns)))


def linear_summary(
    fit: Linear, random: dict[str, Table], width: int, *, groups: str, singular: str, about=(), scaled=None
) -> Summary:
    """The attributes of a fit as text, HTML and LaTeX.

    Parameters
    ----------
    fit : Linear
    random : dict
        Tables of the random part.
    width : int
        Characters of the first column of the tables of fixed effects.
    groups : str
        What the observations are in, after their number.
    singular : str
        The note if the fit is so.
    about : tuple of str
        More lines, after the formula.
    scaled : optional
        Scaled residuals, of which quartiles are shown.
    """
    reml, d = fit.method == "REML", fit.design
    known = [("weights", d.weights, d.weights_column), ("offset", d.offset, d.offset_column)]
    given = "".join(f", {name} {column or 'given'}" for name, values, column in known if values is not None)
    head = [
        f"Linear mixed model fit by {'REML' if reml else 'maximum likelihood'}: {fit.formula}",
        *about,
        f"{'REML criterion' if reml else 'deviance'} {fixed(fit.criterion, 4)}, "
        f"{fit.n_obs} observations{groups}{given}",
    ]
    if scaled is not None:
        low, *quartiles, high = (fixed(quantile(scaled, at), 4) for at in (0, 0.25, 0.5, 0.75, 1))
        head.append(f"scaled residuals: min {low}, quartiles {' '.join(quartiles)}, max {high}")
    tables = {**random, "fixed": fixed_table(fit, width)}
    if fit.converged and 1 < len(fit.beta) <= WIDEST:
        tables["correlations"] = correlation_table(fit, width)
    return Summary(tuple(head), tables, notes(fit, singular))


def quantile(x: np.ndarray, at: float) -> float:
    """``np.quantile(x, at)``; of many values only those are put in order that lie near this quantile of some."""
    if len(x) < MANY:
        return float(np.quantile(x, at))
    if at in (0, 1):
        return float(x.max() if at else x.min())
    some = np.sort(x[:: len(x) // 10_000])
    low, high = some[[max(int(at * len(some)) - 200, 0), min(int(at * len(some)) + 200, len(some) - 1)]]
    near = x[(x >= low) & (x <= high)]
    place = (at * (len(x) - 1) - np.count_nonzero(x < low)) / max(len(near) - 1, 1)
    return float(np.quantile(near, place) if 0 <= place <= 1 else np.quantile(x, at))
