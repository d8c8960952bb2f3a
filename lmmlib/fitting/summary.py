"""What the summaries of all fits have in common: the table of the random effects, and the notes at the end."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lmmlib.common.table import Table
from lmmlib.common.text import brief, fixed
from lmmlib.design.dependent import left_out
from lmmlib.equations.moments import correlation
from lmmlib.fitting.fitted import Criteria


def variance_rows(names: Iterable[str], D: np.ndarray, diagonal: bool = False) -> list[tuple[str, ...]]:
    """Name, variance, standard deviation and, where D (q, q) is not diagonal, correlations with those before it."""
    r = correlation(D) if len(D) > 1 and not diagonal else np.empty((len(D), 0))
    beside = [" ".join(fixed(x, 3) for x in row[:k]) for k, row in enumerate(r)]
    return [(name, brief(v), brief(np.sqrt(v)), c) for name, v, c in zip(names, np.diag(D), beside, strict=True)]


def variance_table(heads: tuple[str, ...], rows: list[tuple[str, ...]], width: int) -> Table:
    """The rows under these heads, which are names, without the column of correlations if there is none."""
    columns, n = (*heads, "variance", "sd", "corr"), len(heads)
    if not any(row[-1] for row in rows):
        rows, columns = [row[:-1] for row in rows], columns[:-1]
    numeric = (*[False] * n, True, True, False)[: len(columns)]
    return Table(columns, tuple(rows), numeric, widths=(width, *[0] * (n - 1), 12, 10))


def width_of(fit: Criteria, *names: str) -> int:
    """Characters of the first column, as long as the longest of names and fixed effects."""
    return max(map(len, [*names, "Random effects", *fit.beta.index]))


def notes(fit: Criteria, singular: str, more: Iterable[str] = ()) -> tuple[str, ...]:
    """What a reader should know: columns that were left out, ``singular`` if it is so, and why there is no optimum."""
    found = [*left_out(fit.design), *([singular] if fit.is_singular else []), *more]
    return (*found, *([] if fit.converged else [f"not converged, so no standard errors: {fit.reason}"]))
