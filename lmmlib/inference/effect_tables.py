"""The fixed effects of a fit, and their correlations, as the tables of a summary."""

from __future__ import annotations

import numpy as np

from lmmlib.common.table import Table, written
from lmmlib.common.text import brief, fixed, p, short
from lmmlib.equations.moments import correlation
from lmmlib.errors import DesignError
from lmmlib.fitting.fitted import Linear
from lmmlib.inference.contrasts import fixed_effects

# With more fixed effects than this their correlations are left out.
WIDEST = 8


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
