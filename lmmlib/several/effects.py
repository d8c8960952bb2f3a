r"""Random effects of every grouping, and the errors of whatever is a combination of them and the fixed effects.

The effects of the grouping that is eliminated and of the columns that remain, X among them, have errors with covariance
:math:`\sigma^2` times the inverse of the coefficients of the mixed model equations. Of a combination with weights
:math:`a_1` and :math:`a` this leaves

.. math:: \sigma^2\big(a_1'Ga_1 + v'Hv\big), \qquad v = a - C_1'Ga_1

in the letters of :mod:`lmmlib.several.criterion`. With H less what X adds to it, beta is taken as known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from lmmlib.common.arguments import checked_choice
from lmmlib.common.tails import half_width
from lmmlib.several.criterion import State
from lmmlib.several.fitted import SeveralFitted
from lmmlib.several.sums import Grouping

ERRORS = ("known", "pev")


def predictions(state: State) -> list[np.ndarray]:
    """(A x D)Z'V^-1(y - X beta) of each grouping in its working basis, (n q, 1)."""
    return [g.times(D, v, True) for g, D, v in zip(state.sums.groupings, state.D, state.Zr, strict=True)]


def as_weights(state: State, rows: list[sparse.csr_array], X: np.ndarray) -> tuple[sparse.csr_array, sparse.csr_array]:
    """a_1 (rows, n q) and a (rows, m) from the weights of the effects of each grouping, and of beta (rows, p)."""
    x = sparse.csr_array(state.sums.cross.basis.x_work(X))
    return rows[0].tocsr(), sparse.hstack([*rows[1:], x], format="csr")


def error_variances(state: State, first: sparse.csr_array, rest: sparse.csr_array, known: bool = False) -> np.ndarray:
    """Variances over sigma2 of the errors of combinations (rows,); ``known``: beta is. Equation :eq:`several-error`."""
    aG = first @ state.sums.block_diagonal(state.G)
    v = (rest - aG @ state.sums.C1).tocsr()
    found = np.asarray(aG.multiply(first).sum(axis=1)).ravel()
    return np.maximum(found + state.forms(v, known), 0.0)


def effect_rows(g: Grouping, columns: slice, Z: np.ndarray, group: np.ndarray) -> sparse.csr_array:
    """The weights (rows, n q) of rows Z in the working basis of one term; a group of -1 has none."""
    seen = group >= 0
    index = np.where(seen, group, 0)[:, None] * g.q + np.arange(columns.start, columns.stop)
    pointer = np.arange(len(Z) + 1) * Z.shape[1]
    return sparse.csr_array(((Z * seen[:, None]).ravel(), index.ravel(), pointer), (len(Z), g.n * g.q))


def random_effects(fit: SeveralFitted, level: float = 0.95, *, error: str = "pev") -> pd.DataFrame:
    r"""Best linear unbiased predictions of the random effects of every term, with their errors.

    .. math:: \hat b_t = (A_t \otimes D_t)Z_t'V^{-1}(y - X\hat\beta)

    Parameters
    ----------
    fit : SeveralFit
    level : float
        Coverage of each interval by itself.
    error : {"pev", "known"}
        By which of the errors the limits are: with beta estimated, or with all parameters known.

    Returns
    -------
    DataFrame
        Columns ``grouping``, ``group``, ``term``, ``estimate``, ``se_known``, ``se_pev``, ``lower``, ``upper``.
    """
    checked_choice("error", error, ERRORS)
    state, reach = fit.state, half_width(level)
    tables = {}
    for j, (g, b) in enumerate(zip(state.sums.groupings, predictions(state), strict=True)):
        for number, basis, columns in zip(g.numbers, g.bases, g.slices, strict=True):
            names, q = fit.terms.terms[number].design.z_names, columns.stop - columns.start
            group, Z = np.repeat(np.arange(g.n), q), np.tile(basis.z_back, (g.n, 1))
            rows = [sparse.csr_array((len(group), one.n * one.q)) for one in state.sums.groupings]
            rows[j] = effect_rows(g, columns, Z, group)
            first, rest = as_weights(state, rows, np.zeros((len(group), state.sums.p)))
            se = {f"se_{name}": fit.sigma2 * error_variances(state, first, rest, name == "known") for name in ERRORS}
            frame = pd.DataFrame({"grouping": g.name, "group": pd.Series(list(g.names), dtype=object).repeat(q).array})
            frame["term"], frame["estimate"] = np.tile(np.array(names, object), g.n), rows[j] @ b[:, 0]
            tables[number] = frame.assign(**{name: np.sqrt(v) for name, v in se.items()})
    table = pd.concat([tables[number] for number in sorted(tables)], ignore_index=True)
    width = reach * table[f"se_{error}"]
    return table.assign(lower=table["estimate"] - width, upper=table["estimate"] + width)
